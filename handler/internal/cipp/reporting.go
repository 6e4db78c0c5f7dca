package cipp

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// ReportingItem is one object of CIPP's cache of Microsoft 365.
type ReportingItem struct {
	Data    json.RawMessage // the object, as CIPP keeps it
	Written time.Time       // when CIPP last wrote it, UTC
}

// ReportingCount returns how many objects of a type CIPP counted when it last filled the
// tenant's cache. It is false when CIPP did not say.
func (s *Store) ReportingCount(ctx context.Context, domain, typ string) (int, bool, error) {
	row, err := s.table(tableReporting).Find(ctx, domain, typ+"-Count")
	if err != nil {
		return 0, false, fmt.Errorf("read the size of CIPP's cache of %s: %w", typ, err)
	}
	return int(row.Int("DataCount")), row.Has("DataCount"), nil
}

// Reporting gives the tenant's cached objects of one type, for example "DefenderCVEs"
// (table CippReportingDB). The partition is the tenant's default domain. CIPP fills it
// once a night and leaves what is gone for up to 30 days. Reporting logs an object that
// is not JSON and leaves it out. The sequence ends after an error.
func (s *Store) Reporting(ctx context.Context, domain, typ string) iter.Seq2[ReportingItem, error] {
	filter := storage.And(storage.Eq("PartitionKey", domain),
		storage.Ge("RowKey", typ+"-"), storage.Lt("RowKey", typ+".")) // "." is the character after "-"
	return func(yield func(ReportingItem, error) bool) {
		for e, err := range s.rows(ctx, tableReporting, filter) {
			if err != nil {
				yield(ReportingItem{}, fmt.Errorf("read CIPP's cache of %s: %w", typ, err))
				return
			}
			if strings.HasSuffix(e.RowKey(), "-Count") && !e.Has("Data") {
				continue
			}
			data := json.RawMessage(e.String("Data"))
			if !json.Valid(data) {
				s.deps.Log.WarnContext(ctx, "an object of CIPP's cache is not JSON and is left out", "tenant", domain, "type", typ)
				continue
			}
			if !yield(ReportingItem{Data: data, Written: e.Timestamp()}, nil) {
				return
			}
		}
	}
}
