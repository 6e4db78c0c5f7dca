// Package runs keeps how each tenant's last sync ended and which tenants are paused. It
// says how long the schedule waits after a failure.
//
// It decides nothing about a sync, and calls neither Microsoft nor NinjaOne.
package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
)

// Store keeps the tenants' runs and pauses. It is safe for concurrent use.
type Store struct {
	table *storage.Table
}

// New returns the store in the table NinjaOneSyncState.
func New(table *storage.Table) *Store { return &Store{table: table} }

// What a forced sync can owe.
const (
	OwedAll       = "all"
	OwedDocuments = "documents" // the fields are marked, and so are sent in any case
)

// Status words of a run, as CIPP's mapping rows use them.
const (
	Running   = "Running"
	Completed = "Completed"
	Failed    = "Failed"
)

// Run is one run of a tenant's sync: what it did and what it could not do.
type Run struct {
	TenantID       string
	OrganizationID int
	Status         string // Running, Completed or Failed
	Reason         string // why the run failed; "" otherwise
	Queued         time.Time
	Start, End     time.Time // UTC; End is zero while the run lasts
	Begun          time.Time // when the first of the runs started that go on from one another
	LastSuccess    time.Time // end of the last completed run
	Failures       int       // failed runs since then

	OrganizationFields int // organization fields written
	Devices            int // devices written, cleared ones included
	Documents          int // documents created, updated, archived or restored
	Unchanged          int // organizations and devices that already held their values
	Matched            int // devices matched
	IntuneOnly         int // Intune devices without NinjaOne device
	NinjaOnly          int // NinjaOne devices without Intune device

	Problems []problems.Problem

	// Owed is what a forced sync has still to write again, whatever became of
	// its runs: OwedAll, OwedDocuments or "".
	Owed string

	// Cuts says how the fields of a shared organization cut the tenant's section; "" when
	// it is whole.
	Cuts string

	// Of the stored matches, section and inventory, to write them only when they change.
	// They are "" while a run lasts, since a killed one may have stored others.
	MatchesDigest, SectionDigest, InventoryDigest string
}

// All returns the last run of each tenant that has had one, by tenant id.
func (s *Store) All(ctx context.Context) (map[string]Run, error) {
	all, err := storage.ReadPartition(ctx, s.table, runPartition, func(row storage.Entity) Run { return runOf(row.RowKey(), row) })
	return all, storage.Doing(err, "read the tenants' last runs")
}

// Last returns the tenant's last run; the zero Run if it has had none.
func (s *Store) Last(ctx context.Context, tenantID string) (Run, error) {
	row, err := s.table.Find(ctx, runPartition, tenantID)
	if err != nil {
		return Run{}, fmt.Errorf("read the tenant's last run: %w", err)
	}
	return runOf(tenantID, row), nil
}

func runOf(tenantID string, row storage.Entity) Run {
	r := Run{
		TenantID:           tenantID,
		OrganizationID:     int(row.Int("OrganizationId")),
		Status:             row.String("Status"),
		Reason:             row.String("Reason"),
		Queued:             row.Time("Queued"),
		Start:              row.Time("Start"),
		Begun:              row.Time("Begun"),
		End:                row.Time("End"),
		LastSuccess:        row.Time("LastSuccess"),
		Failures:           int(row.Int("Failures")),
		OrganizationFields: int(row.Int("OrganizationFields")),
		Devices:            int(row.Int("Devices")),
		Documents:          int(row.Int("Documents")),
		Unchanged:          int(row.Int("Unchanged")),
		Matched:            int(row.Int("Matched")),
		IntuneOnly:         int(row.Int("IntuneOnly")),
		NinjaOnly:          int(row.Int("NinjaOnly")),
		Owed:               row.String("Owed"),
		Cuts:               row.String("Cuts"),
		MatchesDigest:      row.String("MatchesDigest"),
		SectionDigest:      row.String("SectionDigest"),
		InventoryDigest:    row.String("InventoryDigest"),
	}
	// An unreadable list only means that its problems are announced again.
	r.Problems = problems.Of(row)
	return r
}

// MarkQueued notes that a message for the tenant was put on the queue.
func (s *Store) MarkQueued(ctx context.Context, tenantID string, at time.Time) error {
	row := storage.Entity{"PartitionKey": runPartition, "RowKey": tenantID, "Queued": at.UTC()}
	// A row that is there keeps its version, which may be another one.
	err := s.table.MergeIfMatch(ctx, row, storage.AnyETag)
	if errors.Is(err, storage.ErrNotFound) {
		if err = s.table.Insert(ctx, row); errors.Is(err, storage.ErrExists) {
			err = nil // a run has begun meanwhile
		}
	}
	return storage.Doing(err, "note that the tenant is queued")
}

// Unqueue takes back what MarkQueued noted: nothing came of the message.
func (s *Store) Unqueue(ctx context.Context, tenantID string) error {
	row, err := s.table.Get(ctx, runPartition, tenantID)
	if err == nil && row.Has("Queued") {
		delete(row, "Queued")
		err = s.table.ReplaceIfMatch(ctx, row, row.ETag())
	}
	// Whatever was noted meanwhile is newer.
	if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("note that the tenant is not queued any more: %w", err)
	}
	return nil
}

// Save records a run.
func (s *Store) Save(ctx context.Context, r Run) error {
	told, err := json.Marshal(r.Problems)
	if err != nil {
		return err
	}
	row := storage.Entity{
		"PartitionKey":       runPartition,
		"RowKey":             r.TenantID,
		"OrganizationId":     int32(r.OrganizationID),
		"Status":             r.Status,
		"Reason":             r.Reason,
		"Failures":           int32(r.Failures),
		"OrganizationFields": int32(r.OrganizationFields),
		"Devices":            int32(r.Devices),
		"Documents":          int32(r.Documents),
		"Unchanged":          int32(r.Unchanged),
		"Matched":            int32(r.Matched),
		"IntuneOnly":         int32(r.IntuneOnly),
		"NinjaOnly":          int32(r.NinjaOnly),
		"Problems":           string(told),
		"Owed":               r.Owed,
		"Cuts":               r.Cuts,
		"MatchesDigest":      r.MatchesDigest,
		"SectionDigest":      r.SectionDigest,
		"InventoryDigest":    r.InventoryDigest,
	}
	row.SetTimes(map[string]time.Time{"Queued": r.Queued, "Start": r.Start, "Begun": r.Begun, "End": r.End, "LastSuccess": r.LastSuccess})
	return storage.Doing(s.table.Replace(ctx, row), "record the tenant's run")
}

// ForgetStored lets the next run of a tenant store its blobs again.
func (s *Store) ForgetStored(ctx context.Context, tenantID string) error {
	row := storage.Entity{"PartitionKey": runPartition, "RowKey": tenantID, "MatchesDigest": "", "SectionDigest": "", "InventoryDigest": ""}
	if err := s.table.MergeIfMatch(ctx, row, storage.AnyETag); !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}
