package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// kept names what is kept of a tenant's part of an organization. Of the matches
// and the inventory of a tenant only the tenant is set.
type kept struct {
	organization ledger.Organization
	tenantID     string
}

func (k kept) sectionName() string {
	return fmt.Sprintf(sectionPrefix+"%s/%d/%s.json", k.organization.Instance, k.organization.ID, k.tenantID)
}

// keptOf reads the name of a blob; false for one that a later handler wrote.
func keptOf(name string) (kept, bool) {
	for _, nameOf := range []func(string) string{devicematch.BlobName, inventoryName} {
		if tenant, ok := strings.CutPrefix(name, strings.TrimSuffix(nameOf(""), ".json")); ok {
			k := kept{tenantID: strings.TrimSuffix(tenant, ".json")}
			return k, nameOf(k.tenantID) == name
		}
	}
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return kept{}, false
	}
	organization, _ := strconv.Atoi(parts[2])
	k := kept{ledger.Organization{Instance: parts[1], ID: organization}, strings.TrimSuffix(parts[3], ".json")}
	return k, k.sectionName() == name
}

// ForgetUnmapped deletes the names of users and devices of tenants that have not been
// mapped for a day. Only people look at those. What NinjaOne accepted stays noted by its
// digests, in case the tenants are mapped again. ForgetUnmapped does nothing unless it
// knows all mappings.
func (s *Syncer) ForgetUnmapped(ctx context.Context) error {
	config, err := s.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return err
	}
	instance, err := ninjaone.NormalizeInstance(config.Instance)
	if err != nil {
		return nil // what belongs to it is not known
	}
	mappings, err := s.CIPP.OrganizationMappings(ctx)
	if err != nil || !cipp.AllNamed(mappings) {
		return err
	}
	mapped := map[kept]bool{}
	for _, m := range mappings {
		mapped[kept{tenantID: m.TenantID}] = true
		mapped[kept{ledger.Organization{Instance: instance, ID: m.OrganizationID}, m.TenantID}] = true
		mapped[kept{organization: ledger.Organization{Instance: instance, ID: m.OrganizationID}}] = true
	}
	found, err := s.unmappedRows(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, prefix := range []string{sectionPrefix, devicematch.BlobPrefix, inventoryPrefix} {
		for blob, err := range s.Blobs.List(ctx, prefix) {
			if err != nil {
				return errors.Join(append(errs, fmt.Errorf("look for what is kept of tenants that are not mapped: %w", err))...)
			}
			k, ok := keptOf(blob.Name)
			if !ok || mapped[k] {
				continue
			}
			since, known := found[unmappedKey(blob.Name)]
			delete(found, unmappedKey(blob.Name))
			switch {
			case !known:
				err = s.markUnmapped(ctx, blob.Name, s.Now())
			case s.Now().Sub(since) >= cipp.UnmappedFor:
				err = s.forgetKept(ctx, blob.Name, k, mapped)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("delete what is kept of tenant %s, which is not mapped any more: %w", k.tenantID, err))
			}
		}
	}
	for key := range found { // mapped again, or gone
		errs = append(errs, s.Table.Delete(ctx, unmappedPartition, key))
	}
	return errors.Join(errs...)
}

// forgetKept deletes one blob. With a section it also deletes the tenant's values from
// the records of the organization and its devices. The blob goes last, since it leads
// ForgetUnmapped to the rest.
func (s *Syncer) forgetKept(ctx context.Context, name string, k kept, mapped map[kept]bool) error {
	if k.organization.ID != 0 {
		lease, err := s.lease(ctx, k.organization)
		if errors.Is(err, storage.ErrLeaseTaken) {
			return nil // a run may be writing; next time
		}
		if err != nil {
			return err
		}
		defer lease.Release()
		ctx = lease.Context()
		if err := s.Ledger.DropValues(ctx, k.organization, k.tenantID, mapped[kept{organization: k.organization}]); err != nil {
			return err
		}
	}
	if err := s.Runs.ForgetStored(ctx, k.tenantID); err != nil {
		return err
	}
	if err := s.Policies.ForgetTenant(ctx, k.tenantID); err != nil {
		return err
	}
	if err := s.Blobs.Delete(ctx, name); err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "what was kept of a tenant that is not mapped any more is deleted", "tenant", k.tenantID)
	return s.Table.Delete(ctx, unmappedPartition, unmappedKey(name))
}

// The names of blobs have slashes, which a row's key may not have.
func unmappedKey(name string) string { return strings.ReplaceAll(name, "/", "|") }

// unmappedRows returns, by unmappedKey, since when each blob is known to be of a tenant
// that is not mapped.
func (s *Syncer) unmappedRows(ctx context.Context) (map[string]time.Time, error) {
	found, err := storage.ReadPartition(ctx, s.Table, unmappedPartition, func(row storage.Entity) time.Time { return row.Time(columnFound) })
	return found, storage.Doing(err, "read which tenants are not mapped any more")
}

func (s *Syncer) markUnmapped(ctx context.Context, name string, at time.Time) error {
	return s.Table.Replace(ctx, storage.Entity{"PartitionKey": unmappedPartition, "RowKey": unmappedKey(name), columnFound: at.UTC()})
}
