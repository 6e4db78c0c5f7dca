package cipp

import (
	"context"
	"fmt"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// LicenseMap returns the tenant's rows of table NinjaOneLicenseMap, which versions of
// CIPP since September 2026 keep: NinjaOne's document id by SKU id in lower case.
// Nothing is written there.
func (s *Store) LicenseMap(ctx context.Context, tenantID string) (map[string]int, error) {
	documents := map[string]int{}
	for e, err := range s.table(tableLicenseMap).List(ctx, storage.Eq("PartitionKey", tenantID), "NinjaOneID") {
		if err != nil {
			return nil, fmt.Errorf("read the license map of tenant %s: %w", tenantID, err)
		}
		if id := int(e.Int("NinjaOneID")); id > 0 {
			documents[guid.Fold(e.RowKey())] = id
		}
	}
	return documents, nil
}
