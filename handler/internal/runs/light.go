package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// Light is a tenant's last light run: one between its full syncs, because
// something changed.
type Light struct {
	TenantID   string
	Status     string // Completed, Failed, or Running while work is left
	Reason     string // why it failed; "" otherwise
	Start, End time.Time
	Failures   int // failed ones in a row

	// Fresh is when the last completed one began to read.
	Fresh time.Time
	// Missed is when one was dropped last, because the tenant was paused or its data
	// went nowhere; MissedDevices is the same of one that reads NinjaOne's devices.
	Missed, MissedDevices time.Time

	OrganizationFields, Devices, Documents int // written
}

// LastLight returns the tenant's last light run; the zero Light if it had none.
func (s *Store) LastLight(ctx context.Context, tenantID string) (Light, error) {
	row, err := s.table.Find(ctx, lightPartition, tenantID)
	if err != nil {
		return Light{}, fmt.Errorf("read the tenant's last light run: %w", err)
	}
	return lightOf(tenantID, row), nil
}

// Lights returns the last light run of each tenant that had one, by tenant id.
func (s *Store) Lights(ctx context.Context) (map[string]Light, error) {
	all, err := storage.ReadPartition(ctx, s.table, lightPartition, func(row storage.Entity) Light { return lightOf(row.RowKey(), row) })
	return all, storage.Doing(err, "read the tenants' last light runs")
}

func lightOf(tenantID string, row storage.Entity) Light {
	return Light{
		TenantID: tenantID,
		Status:   row.String("Status"), Reason: row.String("Reason"),
		Start: row.Time("Start"), End: row.Time("End"), Fresh: row.Time("Fresh"),
		Missed: row.Time("Missed"), MissedDevices: row.Time("MissedDevices"),
		Failures:           int(row.Int("Failures")),
		OrganizationFields: int(row.Int("OrganizationFields")), Devices: int(row.Int("Devices")), Documents: int(row.Int("Documents")),
	}
}

// SaveLight records a light run. What was missed stays.
func (s *Store) SaveLight(ctx context.Context, l Light) error {
	row := storage.Entity{
		"PartitionKey": lightPartition, "RowKey": l.TenantID,
		"Status": l.Status, "Reason": l.Reason, "Failures": int32(l.Failures),
		"OrganizationFields": int32(l.OrganizationFields), "Devices": int32(l.Devices), "Documents": int32(l.Documents),
	}
	row.SetTimes(map[string]time.Time{"Start": l.Start, "End": l.End, "Fresh": l.Fresh})
	return storage.Doing(s.table.Merge(ctx, row), "record the tenant's light run")
}

// MissLight notes that a light run was dropped although something changed; devices
// says that NinjaOne's devices did.
func (s *Store) MissLight(ctx context.Context, tenantID string, devices bool, at time.Time) error {
	row := storage.Entity{"PartitionKey": lightPartition, "RowKey": tenantID, "Missed": at.UTC()}
	if devices {
		row["MissedDevices"] = at.UTC()
	}
	return storage.Doing(s.table.Merge(ctx, row), "note that a light run was dropped")
}

// NoteStored notes in the record of the tenant's last run which blobs a light run left.
// It also notes the problems that the logbook has by now.
func (s *Store) NoteStored(ctx context.Context, r Run) error {
	told, err := json.Marshal(r.Problems)
	if err != nil {
		return err
	}
	row := storage.Entity{"PartitionKey": runPartition, "RowKey": r.TenantID, "MatchesDigest": r.MatchesDigest, "SectionDigest": r.SectionDigest, "InventoryDigest": r.InventoryDigest, "Problems": string(told)}
	return storage.Doing(s.table.MergeIfMatch(ctx, row, storage.AnyETag), "note what a light run stored")
}
