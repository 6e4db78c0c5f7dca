package cipp

import (
	"context"
	"fmt"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// UserMapEntry says which NinjaOne document a Microsoft 365 user has.
type UserMapEntry struct {
	UserID     string // Entra object id
	DocumentID int    // NinjaOne's document id
}

// SaveUserMap brings the tenant's rows of table NinjaOneUserMap up to date. It writes
// only rows that differ. Like CIPP it lets the rows of users that are gone stay.
func (s *Store) SaveUserMap(ctx context.Context, tenantID string, entries []UserMapEntry) error {
	rows := make([]mapRow, 0, len(entries))
	for _, entry := range entries {
		id := guid.Fold(entry.UserID)
		rows = append(rows, mapRow{key: id, ninjaID: entry.DocumentID, m365ID: id})
	}
	return s.saveMap(ctx, tableUserMap, "user", tenantID, rows, nil)
}

// UserMap returns the tenant's rows of table NinjaOneUserMap: NinjaOne's
// document id by Entra user id in lower case.
func (s *Store) UserMap(ctx context.Context, tenantID string) (map[string]int, error) {
	return s.documentMap(ctx, tableUserMap, "user", tenantID)
}

// documentMap reads the ids of NinjaOne's documents in a tenant's rows, by key.
func (s *Store) documentMap(ctx context.Context, table, what, tenantID string) (map[string]int, error) {
	documents := map[string]int{}
	return documents, s.eachRow(ctx, table, what, tenantID, func(key string, e storage.Entity) {
		if id := int(e.Int("NinjaOneID")); id > 0 {
			documents[key] = id
		}
	})
}

// mapRow is a row of table NinjaOneDeviceMap or NinjaOneUserMap.
type mapRow struct {
	key     string // in lower case; rows without one are left out
	ninjaID int
	m365ID  string
}

// MapRows are a tenant's rows of one of CIPP's maps, by key in lower case.
type MapRows map[string]storage.Entity

func (s *Store) mapRows(ctx context.Context, table, what, tenantID string) (MapRows, error) {
	rows := MapRows{}
	return rows, s.eachRow(ctx, table, what, tenantID, func(key string, e storage.Entity) { rows[key] = e })
}

// eachRow shows use a tenant's rows of one of CIPP's maps, with their keys in lower case. A
// key that is in lower case itself, as CIPP writes it, comes after others like it.
func (s *Store) eachRow(ctx context.Context, table, what, tenantID string, use func(key string, e storage.Entity)) error {
	for e, err := range s.table(table).List(ctx, storage.Eq("PartitionKey", tenantID), "NinjaOneID", "M365ID") {
		if err != nil {
			return fmt.Errorf("read the %s map of tenant %s: %w", what, tenantID, err)
		}
		use(guid.Fold(e.RowKey()), e)
	}
	return nil
}

// saveMap writes those of a tenant's rows that differ from what the table has.
// Of two rows with the same key the first counts.
func (s *Store) saveMap(ctx context.Context, table, what, tenantID string, rows []mapRow, present MapRows) (err error) {
	if present == nil {
		if present, err = s.mapRows(ctx, table, what, tenantID); err != nil {
			return err
		}
	}
	var ops []storage.Operation
	seen := map[string]bool{"": true, zeroGUID: true}
	for _, row := range rows {
		if seen[row.key] {
			continue
		}
		seen[row.key] = true
		key := row.key
		if old, ok := present[row.key]; ok {
			if old.Int("NinjaOneID") == int64(row.ninjaID) && old.String("M365ID") == row.m365ID {
				continue
			}
			key = old.RowKey()
		}
		ops = append(ops, storage.MergeOp(storage.Entity{
			"PartitionKey": tenantID,
			"RowKey":       key,
			"NinjaOneID":   int64(row.ninjaID), // Edm.Int64, as CIPP; rows of either kind are read
			"M365ID":       row.m365ID,
		}))
	}
	return storage.Doing(s.write(ctx, table, ops), "save the %s map of tenant %s", what, tenantID)
}
