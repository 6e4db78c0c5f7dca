// Package policies keeps what was last read of the compliance policies of devices that
// do not comply. They are read again only when a device checked in or its state changed.
//
// It calls nothing but our own table, and judges nothing.
package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// Store keeps readings of policies. It is safe for concurrent use.
type Store struct {
	table *storage.Table
}

// New returns the readings kept in the table NinjaOneSyncState.
func New(table *storage.Table) *Store { return &Store{table} }

func partition(tenantID string) string { return partitionPrefix + tenantID }

// Load returns the readings of a tenant's devices. A row that cannot be read is
// left out, so that the policies are read again.
func (s *Store) Load(ctx context.Context, tenantID string) (tenant.PolicyReadings, error) {
	readings := tenant.PolicyReadings{}
	for row, err := range s.table.List(ctx, storage.Eq("PartitionKey", partition(tenantID))) {
		if err != nil {
			return nil, fmt.Errorf("read what is known of the compliance policies of tenant %s: %w", tenantID, err)
		}
		if len(readings) == maxDevices {
			break
		}
		packed, _ := row[columnPolicies].([]byte)
		body, err := storage.Inflate(packed, maxPolicies)
		var all []tenant.PolicyState
		if err != nil || json.Unmarshal(body, &all) != nil {
			continue
		}
		readings[row.RowKey()] = tenant.PolicyReading{CheckIn: row.Time(columnCheckIn), State: row.String(columnState), Policies: all, Read: row.Time(columnRead)}
	}
	return readings, nil
}

// Save keeps readings in place of former ones of the same devices. One that is too
// large for a row is not kept.
func (s *Store) Save(ctx context.Context, tenantID string, readings tenant.PolicyReadings) error {
	var rows []storage.Operation
	for id, r := range readings {
		if strings.ContainsAny(id, "/\\#?") {
			continue // no key of a row: it is read each time
		}
		body, err := json.Marshal(r.Policies)
		if err != nil {
			return err
		}
		packed := storage.Deflate(body)
		if len(packed) > maxColumn || len(body) >= maxPolicies {
			rows = append(rows, storage.DeleteOp(partition(tenantID), id))
			continue
		}
		rows = append(rows, storage.ReplaceOp(storage.Entity{
			"PartitionKey": partition(tenantID), "RowKey": id,
			columnCheckIn: r.CheckIn.UTC(), columnState: r.State, columnRead: r.Read.UTC().Truncate(time.Millisecond), columnPolicies: packed,
		}))
	}
	return storage.Doing(s.table.WriteBatch(ctx, rows), "keep what was read of the compliance policies of tenant %s", tenantID)
}

// Forget removes what is kept of devices that comply again, or that a complete list
// lacks.
func (s *Store) Forget(ctx context.Context, tenantID string, known tenant.PolicyReadings, devices []tenant.ManagedDevice) error {
	here := map[string]bool{}
	for i := range devices {
		here[devices[i].ID] = tenant.Judge(devices[i].ComplianceState) == tenant.Violates
	}
	var rows []storage.Operation
	for id := range known {
		if !here[id] {
			rows = append(rows, storage.DeleteOp(partition(tenantID), id))
		}
	}
	return storage.Doing(s.table.WriteBatch(ctx, rows), "forget what was read of the compliance policies of tenant %s", tenantID)
}

// ForgetTenant removes all that is kept of a tenant.
func (s *Store) ForgetTenant(ctx context.Context, tenantID string) error {
	known, err := s.Load(ctx, tenantID)
	if err != nil {
		return err
	}
	return s.Forget(ctx, tenantID, known, nil)
}
