package runs

import (
	"context"

	"cipp-ninjaone/handler/internal/storage"
)

// Everyone stands for all tenants that were not paused or resumed themselves.
// Pausing it and resuming one tenant makes that tenant the pilot.
const Everyone = "everyone"

// Pauses says which tenants the schedule leaves out.
type Pauses map[string]bool

// Paused reports whether the schedule leaves the tenant out.
func (p Pauses) Paused(tenantID string) bool {
	if paused, set := p[tenantID]; set {
		return paused
	}
	return p[Everyone]
}

// Pauses returns which tenants are paused.
func (s *Store) Pauses(ctx context.Context) (Pauses, error) {
	pauses, err := storage.ReadPartition(ctx, s.table, pausePartition, func(row storage.Entity) bool { return row.Bool("Paused") })
	return pauses, storage.Doing(err, "read which tenants are paused")
}

// Pause pauses or resumes a tenant, or Everyone. The sync drops what the schedule put on
// the queue before. A forced sync of a paused tenant still runs, and so does the rest of
// one under way.
func (s *Store) Pause(ctx context.Context, tenantID string, paused bool) error {
	row := storage.Entity{"PartitionKey": pausePartition, "RowKey": tenantID, "Paused": paused}
	return storage.Doing(s.table.Replace(ctx, row), "pause or resume %s", tenantID)
}
