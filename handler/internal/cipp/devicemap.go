package cipp

import (
	"context"
	"fmt"
	"math"
	"strings"

	"cipp-ninjaone/handler/internal/storage"
)

// DeviceMapEntry says which NinjaOne device a Microsoft 365 device is.
type DeviceMapEntry struct {
	EntraDeviceID   string // the Entra deviceId, not the directory object id
	NinjaOneID      int    // NinjaOne's device id
	ManagedDeviceID string // Intune's id
}

const zeroGUID = "00000000-0000-0000-0000-000000000000"

// SaveDeviceMap brings the tenant's rows of table NinjaOneDeviceMap up to
// date. Only rows that differ are written. As CIPP does it, rows of devices
// that are gone stay. An entry without an Entra device id has no row; of two
// entries with the same id the first counts.
func (s *Store) SaveDeviceMap(ctx context.Context, tenantID string, entries []DeviceMapEntry) error {
	present := map[string]storage.Entity{}
	list := s.table(tableDeviceMap).List(ctx, storage.Eq("PartitionKey", tenantID), "NinjaOneID", "M365ID")
	for e, err := range list {
		if err != nil {
			return fmt.Errorf("read the device map of tenant %s: %w", tenantID, err)
		}
		present[strings.ToLower(e.RowKey())] = e
	}
	var ops []storage.Operation
	seen := map[string]bool{"": true, zeroGUID: true}
	for _, entry := range entries {
		key := strings.ToLower(strings.TrimSpace(entry.EntraDeviceID))
		if seen[key] {
			continue
		}
		seen[key] = true
		row := key
		if old, ok := present[key]; ok {
			if old.Int("NinjaOneID") == int64(entry.NinjaOneID) && old.String("M365ID") == entry.ManagedDeviceID {
				continue
			}
			row = old.RowKey()
		}
		ops = append(ops, storage.MergeOp(storage.Entity{
			"PartitionKey": tenantID,
			"RowKey":       row,
			"NinjaOneID":   number(entry.NinjaOneID),
			"M365ID":       entry.ManagedDeviceID,
		}))
	}
	if err := s.write(ctx, tableDeviceMap, ops); err != nil {
		return fmt.Errorf("save the device map of tenant %s: %w", tenantID, err)
	}
	return nil
}

// number is Int32 where it fits and Int64 elsewhere, as PowerShell reads JSON.
func number(n int) any {
	if n >= math.MinInt32 && n <= math.MaxInt32 {
		return int32(n)
	}
	return int64(n)
}
