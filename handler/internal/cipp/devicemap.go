package cipp

import (
	"context"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
)

// DeviceMapEntry says which NinjaOne device a Microsoft 365 device is.
type DeviceMapEntry struct {
	EntraDeviceID   string // the Entra deviceId, not the directory object id
	NinjaOneID      int    // NinjaOne's device id
	ManagedDeviceID string // Intune's id
}

const zeroGUID = "00000000-0000-0000-0000-000000000000"

// DeviceMap returns the tenant's rows of table NinjaOneDeviceMap by Entra
// device id in lower case. Rows of devices that are gone are among them.
func (s *Store) DeviceMap(ctx context.Context, tenantID string) (map[string]DeviceMapEntry, MapRows, error) {
	rows, err := s.mapRows(ctx, tableDeviceMap, "device", tenantID)
	entries := map[string]DeviceMapEntry{}
	for key, e := range rows {
		if id := int(e.Int("NinjaOneID")); id > 0 && key != zeroGUID {
			entries[key] = DeviceMapEntry{EntraDeviceID: key, NinjaOneID: id, ManagedDeviceID: strings.ToLower(e.String("M365ID"))}
		}
	}
	return entries, rows, err
}

// SaveDeviceMap brings the tenant's rows of table NinjaOneDeviceMap up to date. It reads
// the rows where present is nil, and writes only those that differ. Like CIPP it lets the
// rows of devices that are gone stay. An entry without an Entra device id has no row. Of
// two entries with the same id the first counts.
func (s *Store) SaveDeviceMap(ctx context.Context, tenantID string, entries []DeviceMapEntry, present MapRows) error {
	rows := make([]mapRow, 0, len(entries))
	for _, entry := range entries {
		rows = append(rows, mapRow{
			key:     guid.Fold(entry.EntraDeviceID),
			ninjaID: entry.NinjaOneID,
			m365ID:  entry.ManagedDeviceID,
		})
	}
	return s.saveMap(ctx, tableDeviceMap, "device", tenantID, rows, present)
}
