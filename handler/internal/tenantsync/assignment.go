package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// assignment is which tenant a run is about, and where its data goes.
type assignment struct {
	ref          tenant.Ref
	config       cipp.ExtensionConfig
	mapping      cipp.OrganizationMapping
	mapped       map[string]string // CIPP's field mapping, unusable fields included
	mappedSaid   bool              // CIPP's table has rows of fields
	organization ledger.Organization
	// sharing are the ids of all tenants that the organization shows, this one included.
	// They are mapped to it or, once the state is read, were mapped to it before.
	sharing []string
	known   map[string]bool // tenants that are mapped to some organization
}

// unassigned says why a tenant's data goes nowhere, in a sentence for technicians.
type unassigned string

func (u unassigned) Error() string { return string(u) }

// unusable says why the NinjaOne host that is set in CIPP cannot be used. The rest
// of the assignment is known.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// assign finds out where a run or a preview puts a tenant's data. A preview works for
// excluded tenants too. The error is unassigned or unusable where the data goes nowhere.
func (s *Syncer) assign(ctx context.Context, tenantID string, preview bool) (a assignment, err error) {
	if a.config, err = s.CIPP.NinjaOneConfig(ctx); err != nil {
		return a, err
	}
	t, err := s.CIPP.Tenant(ctx, tenantID)
	a.ref = t.Ref
	switch {
	case errors.Is(err, cipp.ErrNoTenant):
		a.ref.ID = tenantID
		return a, unassigned("CIPP knows no tenant with this id. Refresh CIPP's tenant list, or remove its mapping to NinjaOne.")
	case err != nil:
		return a, err
	case t.Excluded && !preview:
		return a, unassigned("the tenant is excluded in CIPP. What NinjaOne shows of it stays as it is.")
	case !a.config.Enabled && !preview:
		return a, unassigned("the NinjaOne integration is turned off in CIPP.")
	}
	mappings, err := s.CIPP.Mappings(ctx)
	if err != nil {
		return a, err
	}
	a.mapped, a.mappedSaid = mappings.Fields, mappings.FieldsSaid
	for _, m := range mappings.Organizations {
		if m.TenantID == t.ID {
			a.mapping = m
		}
	}
	switch {
	case a.mapping.Problem != "":
		return a, unassigned(words.End(a.mapping.Problem))
	case a.mapping.OrganizationID == 0:
		return a, unassigned("the tenant is not mapped to a NinjaOne organization. Map it in CIPP under Integrations, NinjaOne, Tenant Mapping.")
	}
	instance, err := ninjaone.NormalizeInstance(a.config.Instance)
	if err != nil {
		return a, unusable{err}
	}
	a.organization = ledger.Organization{Instance: instance, ID: a.mapping.OrganizationID}
	a.known = map[string]bool{}
	for _, m := range mappings.Organizations {
		if a.known[m.TenantID] = m.OrganizationID != 0; m.OrganizationID == a.organization.ID {
			a.sharing = append(a.sharing, m.TenantID)
		}
	}
	return a, nil
}

// longUnmapped is how long a tenant must stay unmapped before runs remove its section and
// clear its devices. CIPP saves mappings by removing all of them first.
const longUnmapped = 10 * time.Minute

// readSharing adds to sharing the tenants whose section is kept and that were unmapped
// only recently. The organization's record names all that have a section. Where it names
// none, or one that is mapped nowhere, readSharing lists the sections themselves.
func (j *job) readSharing(ctx context.Context, in *inputs) error {
	if r := in.records[j.organization.Target()]; r != nil {
		in.kept = slices.Clone(r.Claims)
	}
	if len(in.kept) > 0 && !slices.ContainsFunc(in.kept, func(id string) bool { return !j.known[id] }) {
		return nil
	}
	kept, err := j.keptSections(ctx, j.organization)
	if err != nil {
		return err
	}
	in.kept = nil
	var found map[string]time.Time
	for _, k := range kept {
		if !j.known[k.tenantID] && found == nil {
			if found, err = j.unmappedRows(ctx); err != nil {
				return err
			}
		}
		if _, long := j.foundUnmapped(found, k); !j.known[k.tenantID] && !long {
			j.sharing = append(j.sharing, k.tenantID)
		}
		in.kept = append(in.kept, k.tenantID)
	}
	in.sharing = j.sharing
	return nil
}

// keptSections lists the sections of an organization.
func (s *Syncer) keptSections(ctx context.Context, o ledger.Organization) (all []kept, err error) {
	for blob, err := range s.Blobs.List(ctx, strings.TrimSuffix(kept{organization: o}.sectionName(), ".json")) {
		if err != nil {
			return nil, fmt.Errorf("look for the sections of NinjaOne organization %d: %w", o.ID, err)
		}
		if k, ok := keptOf(blob.Name); ok {
			all = append(all, k)
		}
	}
	return all, nil
}

// foundUnmapped reports whether a tenant was found to be unmapped, and whether
// that was a while ago.
func (s *Syncer) foundUnmapped(found map[string]time.Time, k kept) (noted, long bool) {
	since, noted := found[unmappedKey(k.sectionName())]
	if !noted {
		since, noted = found[unmappedKey(devicematch.BlobName(k.tenantID))]
	}
	return noted, noted && s.Now().Sub(since) >= longUnmapped
}

// sectionName names the blob of a tenant's section of the organization.
func (a *assignment) sectionName(tenantID string) string {
	return kept{a.organization, tenantID}.sectionName()
}
