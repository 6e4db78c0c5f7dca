package tenantsync

import (
	"context"
	"errors"
	"fmt"
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
	organization ledger.Organization
	sharing      []string // ids of all tenants that the organization shows, this one included
}

// unassigned says why a tenant's data goes nowhere, in a sentence for technicians.
type unassigned string

func (u unassigned) Error() string { return string(u) }

// unusable says why the NinjaOne host that is set in CIPP cannot be used. The rest
// of the assignment is known.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// assign finds out where a tenant's data goes, as a run would, or a preview, which
// works for excluded tenants too. The error is unassigned or unusable where it
// goes nowhere.
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
	mappings, err := s.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return a, err
	}
	for _, m := range mappings {
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
	a.sharing, err = s.share(ctx, a.organization, mappings)
	return a, err
}

// longUnmapped is how long a tenant must be known to be unmapped before its section
// goes and its devices are cleared: CIPP saves mappings by removing all of them
// first.
const longUnmapped = 10 * time.Minute

// share finds the tenants that an organization shows: those that are mapped to
// it, and those whose section is kept, that are mapped nowhere, and that have
// not been unmapped for a while.
func (s *Syncer) share(ctx context.Context, o ledger.Organization, mappings []cipp.OrganizationMapping) (sharing []string, err error) {
	known := map[string]bool{}
	for _, m := range mappings {
		known[m.TenantID] = m.OrganizationID != 0
		if m.OrganizationID == o.ID {
			sharing = append(sharing, m.TenantID)
		}
	}
	var doubtful []kept
	for blob, err := range s.Blobs.List(ctx, strings.TrimSuffix(kept{organization: o}.sectionName(), ".json")) {
		if err != nil {
			return nil, fmt.Errorf("look for the sections of NinjaOne organization %d: %w", o.ID, err)
		}
		if k, ok := keptOf(blob.Name); ok && !known[k.tenantID] {
			doubtful = append(doubtful, k)
		}
	}
	if len(doubtful) == 0 {
		return sharing, nil
	}
	found, err := s.unmappedRows(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range doubtful {
		if _, long := s.foundUnmapped(found, k); !long {
			sharing = append(sharing, k.tenantID)
		}
	}
	return sharing, nil
}

// foundUnmapped reports whether a tenant was found to be unmapped, and whether
// that was a while ago.
func (s *Syncer) foundUnmapped(found map[string]time.Time, k kept) (noted, long bool) {
	since, noted := found[k.sectionName()]
	if !noted {
		since, noted = found[devicematch.BlobName(k.tenantID)]
	}
	return noted, noted && s.Now().Sub(since) >= longUnmapped
}

// sectionName names the blob of a tenant's section of the organization.
func (a *assignment) sectionName(tenantID string) string {
	return kept{a.organization, tenantID}.sectionName()
}
