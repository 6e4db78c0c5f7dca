package main

import (
	"context"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// queueOf is the queue of a queue function.
var queueOf = map[string]string{
	"SyncTenant":       tenantsync.QueueName,
	"Automap":          automap.QueueName,
	"UpdateCompliance": compliance.QueueName,
	"Heartbeat":        heartbeat.QueueName,
}

// admit lets timers and queue functions run while the state is not a newer
// handler's.
func (a *app) admit(ctx context.Context, function string, message []byte) (bool, error) {
	return a.layout.Admit(ctx, a.own.Queue(queueOf[function]), message)
}

func (a *app) tellNewer(ctx context.Context, line string) {
	err := a.cipp.Log(ctx, cipp.LogEntry{API: "NinjaOneSync", Severity: cipp.SeverityError, Message: line})
	if err != nil {
		a.log.ErrorContext(ctx, "the logbook cannot be written", "error", err)
	}
	a.log.ErrorContext(ctx, line)
}
