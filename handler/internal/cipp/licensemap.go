package cipp

import "context"

// LicenseMap returns the tenant's rows of table NinjaOneLicenseMap, which versions of
// CIPP since September 2026 keep: NinjaOne's document id by SKU id in lower case.
// Nothing is written there.
func (s *Store) LicenseMap(ctx context.Context, tenantID string) (map[string]int, error) {
	return s.documentMap(ctx, tableLicenseMap, "license", tenantID)
}
