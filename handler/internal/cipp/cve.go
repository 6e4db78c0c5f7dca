package cipp

import (
	"context"
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const tableCVEExceptions = "CveExceptions"

// CVEExceptions returns the CVE ids that an engineer excepted in CIPP for a
// tenant, in upper case: for all tenants, or for this one by its default
// domain or id, since CIPP's pages have written both. As in CIPP, an exception
// counts whatever its expiry says.
func (s *Store) CVEExceptions(ctx context.Context, ref tenant.Ref) (map[string]bool, error) {
	excepted := map[string]bool{}
	who := storage.Or(storage.Eq("RowKey", "ALL"), storage.Eq("RowKey", ref.DefaultDomain), storage.Eq("RowKey", ref.ID))
	for e, err := range s.rows(ctx, tableCVEExceptions, who) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's exceptions of vulnerabilities for tenant %s: %w", ref.ID, err)
		}
		if id := strings.ToUpper(strings.TrimSpace(e.PartitionKey())); id != "" {
			excepted[id] = true
		}
	}
	return excepted, nil
}
