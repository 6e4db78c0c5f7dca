package cipp

import "context"

// LicenseMap returns the tenant's rows of table NinjaOneLicenseMap, which versions of
// CIPP since September 2026 keep: NinjaOne's document id by SKU id in lower case. This
// package writes nothing there.
func (s *Store) LicenseMap(ctx context.Context, tenantID string) (map[string]int, error) {
	return s.documentMap(ctx, tableLicenseMap, "license", tenantID)
}
