package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// unmappedPartition holds, for each blob of a tenant that is not mapped,
	// since when that is known.
	unmappedPartition = "unmapped"
	columnFound       = "Found"
	// unmappedFor is how long a tenant must have been unmapped before what is
	// kept of it goes: CIPP's table may have been empty, or another one, for a
	// while, and people change their minds.
	unmappedFor = 24 * time.Hour
)

// kept names what is kept of a tenant's part of an organization. Of the matches
// of a tenant, which are kept for all organizations, only the tenant is set.
type kept struct {
	instance       string
	organizationID int
	tenantID       string
}

const sectionPrefix, matchesPrefix = "sections/", "matches/"

func (k kept) sectionName() string {
	return fmt.Sprintf(sectionPrefix+"%s/%d/%s.json", k.instance, k.organizationID, k.tenantID)
}

func matchesName(tenantID string) string { return matchesPrefix + tenantID + ".json" }

// keptOf reads the name of a blob; false for one that a later handler wrote.
func keptOf(name string) (kept, bool) {
	if tenant, ok := strings.CutPrefix(name, matchesPrefix); ok {
		k := kept{tenantID: strings.TrimSuffix(tenant, ".json")}
		return k, matchesName(k.tenantID) == name
	}
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return kept{}, false
	}
	organization, _ := strconv.Atoi(parts[2])
	k := kept{parts[1], organization, strings.TrimSuffix(parts[3], ".json")}
	return k, k.sectionName() == name
}

// ForgetUnmapped deletes what is kept of tenants that have not been mapped for a
// day and that only people look at: names of users and devices. What NinjaOne
// accepted stays noted by its digests, in case they are mapped again. It does
// nothing unless it knows all mappings.
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
	if err != nil {
		return err
	}
	mapped := map[kept]bool{}
	for _, m := range mappings {
		if m.TenantID == "" || m.OrganizationID == 0 {
			return nil // a row is about a tenant or an organization that it does not name
		}
		mapped[kept{tenantID: m.TenantID}] = true
		mapped[kept{instance, m.OrganizationID, m.TenantID}] = true
		mapped[kept{instance: instance, organizationID: m.OrganizationID}] = true
	}
	found, err := s.State.unmapped(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, prefix := range []string{sectionPrefix, matchesPrefix} {
		for blob, err := range s.Blobs.List(ctx, prefix) {
			if err != nil {
				return errors.Join(append(errs, fmt.Errorf("look for what is kept of tenants that are not mapped: %w", err))...)
			}
			k, ok := keptOf(blob.Name)
			if !ok || mapped[k] {
				continue
			}
			since, known := found[blob.Name]
			delete(found, blob.Name)
			switch {
			case !known:
				err = s.State.markUnmapped(ctx, blob.Name, s.Now())
			case s.Now().Sub(since) >= unmappedFor:
				err = s.forgetKept(ctx, blob.Name, k, mapped)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("delete what is kept of tenant %s, which is not mapped any more: %w", k.tenantID, err))
			}
		}
	}
	for name := range found { // mapped again, or gone
		errs = append(errs, s.State.unmarkUnmapped(ctx, name))
	}
	return errors.Join(errs...)
}

// forgetKept deletes one blob, and with a section the values that the
// organization and its devices are noted to hold of the tenant. The blob goes
// last: as long as it is there, the rest is looked for.
func (s *Syncer) forgetKept(ctx context.Context, name string, k kept, mapped map[kept]bool) error {
	if k.organizationID != 0 {
		lease, err := s.lease(ctx, k.instance, k.organizationID)
		if errors.Is(err, storage.ErrLeaseTaken) {
			return nil // a run may be writing; next time
		}
		if err != nil {
			return err
		}
		defer lease.Release()
		ctx = lease.Context()
		if err := s.State.dropValues(ctx, k, mapped[kept{instance: k.instance, organizationID: k.organizationID}]); err != nil {
			return err
		}
	}
	if err := s.Runs.ForgetStored(ctx, k.tenantID); err != nil {
		return err
	}
	if err := s.Blobs.Delete(ctx, name); err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "what was kept of a tenant that is not mapped any more is deleted", "tenant", k.tenantID)
	return s.State.unmarkUnmapped(ctx, name)
}

// dropValues takes the values that only people look at out of the records of a
// tenant's devices, and out of the organization's own unless other tenants share
// it, whose next run writes it without this one.
func (s *State) dropValues(ctx context.Context, k kept, shared bool) error {
	var ops []storage.Operation
	filter := storage.Eq("PartitionKey", partition(k.instance, k.organizationID))
	for row, err := range s.table.List(ctx, filter, recordColumns...) {
		if err != nil {
			return err
		}
		if row.String("TenantId") != k.tenantID && (shared || row.RowKey() != string(kindOrganization)) {
			continue
		}
		e := storage.Entity{"PartitionKey": row.PartitionKey(), "RowKey": row.RowKey()}
		for field := range fieldsOf(row) {
			accepted.Drop(e, field)
		}
		ops = append(ops, storage.MergeOp(e))
	}
	return s.table.WriteBatch(ctx, ops)
}

// The names of blobs have slashes, which a row's key may not have.
func unmappedKey(name string) string { return strings.ReplaceAll(name, "/", "|") }

// unmapped returns since when each blob is known to be of a tenant that is not
// mapped.
func (s *State) unmapped(ctx context.Context) (map[string]time.Time, error) {
	found := map[string]time.Time{}
	for row, err := range s.table.List(ctx, storage.Eq("PartitionKey", unmappedPartition)) {
		if err != nil {
			return nil, fmt.Errorf("read which tenants are not mapped any more: %w", err)
		}
		found[strings.ReplaceAll(row.RowKey(), "|", "/")] = row.Time(columnFound)
	}
	return found, nil
}

func (s *State) markUnmapped(ctx context.Context, name string, at time.Time) error {
	return s.table.Replace(ctx, storage.Entity{"PartitionKey": unmappedPartition, "RowKey": unmappedKey(name), "Version": int32(layout.Version), columnFound: at.UTC()})
}

func (s *State) unmarkUnmapped(ctx context.Context, name string) error {
	return s.table.Delete(ctx, unmappedPartition, unmappedKey(name))
}
