package cipp

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// AddOrganizationMapping maps a tenant to a NinjaOne organization unless it is mapped
// already; added tells which. It never changes a mapping, also not one that was made
// meanwhile. It does not look for a row under a domain in place of the id:
// OrganizationMappings resolves those.
func (s *Store) AddOrganizationMapping(ctx context.Context, tenantID string, organizationID int, name string) (added bool, err error) {
	id := guid.Parse(tenantID)
	if id == "" || organizationID <= 0 {
		return false, errors.New("map a tenant to NinjaOne: a tenant id and an organization id are needed")
	}
	doing := func(err error) error {
		return storage.Doing(err, "map tenant %s to NinjaOne organization %d", id, organizationID)
	}
	columns := mappingColumns(organizationID, name)
	columns["PartitionKey"], columns["RowKey"] = orgPartition, id
	filter := storage.And(
		storage.Or(storage.Eq("PartitionKey", orgPartition), storage.Eq("PartitionKey", legacyOrgPartition)),
		storage.Or(storage.Eq("RowKey", id), storage.Eq("RowKey", strings.ToUpper(id))))
	there, write := false, func() error { return s.table(tableMapping).Insert(ctx, columns) }
	for e, err := range s.table(tableMapping).List(ctx, filter) {
		if err != nil {
			return false, doing(err)
		}
		if _, mapped := mappingOf(id, e); mapped {
			return false, nil
		}
		if e.PartitionKey() == orgPartition {
			// The row maps to nothing, such as the entry that CIPP's page offers
			// when NinjaOne cannot be reached.
			columns["RowKey"] = e.RowKey()
			there, write = true, func() error { return s.table(tableMapping).MergeIfMatch(ctx, columns, e.ETag()) }
			break
		}
	}
	err = write()
	if errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrConflict) || there && errors.Is(err, storage.ErrNotFound) {
		return false, nil // somebody else was faster
	}
	return err == nil, doing(err)
}

// mappingColumns are the columns that say where a mapping goes, without the
// row's keys. CIPP stores the id as text.
func mappingColumns(organizationID int, name string) storage.Entity {
	return storage.Entity{"IntegrationId": strconv.Itoa(organizationID), "IntegrationName": name}
}
