// Package cipptest opens CIPP's storage account for tests.
package cipptest

import (
	"context"
	"log/slog"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
)

// Store returns the Store of an account. It acts for nobody and discards its log, unless
// change says otherwise.
func Store(account *storage.Account, change ...func(*cipp.Deps)) *cipp.Store {
	d := cipp.Deps{Account: account, User: func(context.Context) string { return "" }, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&d)
	}
	return cipp.New(d)
}
