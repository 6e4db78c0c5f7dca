package cipp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// ErrNoTenant says that CIPP does not know a tenant, or not well enough to
// read it.
var ErrNoTenant = errors.New("CIPP knows no such tenant")

// Tenant is a tenant of CIPP's table Tenants.
type Tenant struct {
	tenant.Ref
	Excluded   bool // by an administrator of CIPP
	ErrorCount int  // GraphErrorCount: CIPP's failed calls since the last good one

	domains []string
}

// Tenants returns the tenants that are not excluded, by default domain. Those
// with Graph errors are among them. The partner's own tenant is only when CIPP
// is set to manage it.
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error) {
	all, err := s.AllTenants(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t Tenant) bool { return t.Excluded }), nil
}

// Tenant returns one tenant by id, an excluded one too; ErrNoTenant when there
// is none.
func (s *Store) Tenant(ctx context.Context, id string) (Tenant, error) {
	// CIPP's rows are large. So Tenant reads all of them only when the filter does not
	// find the one.
	for _, which := range [][]string{{storage.Or(storage.Eq("RowKey", id), storage.Eq("customerId", id))}, nil} {
		all, err := s.AllTenants(ctx, which...)
		if err != nil {
			return Tenant{}, err
		}
		for _, t := range all {
			if strings.EqualFold(t.ID, id) {
				return t, nil
			}
		}
	}
	return Tenant{}, fmt.Errorf("tenant %s: %w", id, ErrNoTenant)
}

// AllTenants returns the tenants whose rows fulfil the conditions, by default domain,
// excluded ones too. Conditions are filters of package storage.
func (s *Store) AllTenants(ctx context.Context, conditions ...string) ([]Tenant, error) {
	var all, partner []Tenant
	filter := storage.Eq("PartitionKey", "Tenants")
	if len(conditions) > 0 {
		filter = storage.And(append(conditions, filter)...)
	}
	for e, err := range s.rows(ctx, tableTenants, filter) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's tenants: %w", err)
		}
		id := guid.Parse(e.String("customerId"))
		if id == "" {
			id = guid.Parse(e.RowKey())
		}
		domain := strings.TrimSpace(e.String("defaultDomainName"))
		if id == "" || domain == "" || strings.Contains(strings.ToLower(domain), "domain error") {
			continue
		}
		t := Tenant{
			Ref: tenant.Ref{
				ID:            id,
				DisplayName:   e.String("displayName"),
				DefaultDomain: domain,
				InitialDomain: strings.TrimSpace(e.String("initialDomainName")),
				Direct:        strings.EqualFold(e.String("delegatedPrivilegeStatus"), "directTenant"),

				SharePointAdmin: strings.TrimSpace(e.String("SharepointAdminUrl")),
			},
			Excluded:   e.Bool("Excluded"),
			ErrorCount: int(e.Int("GraphErrorCount")),
			domains: strings.FieldsFunc(e.String("domains"), func(r rune) bool {
				return strings.ContainsRune(" ,;[]{}\"'\r\n\t", r)
			}),
		}
		if t.Partner() {
			partner = append(partner, t)
		} else {
			all = append(all, t)
		}
	}
	if len(partner) > 0 {
		mode, err := s.value(ctx, tableTenantMode, "Setting", "PartnerModeSetting", "state")
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(mode, "PartnerTenantAvailable") || strings.EqualFold(mode, "owntenant") {
			all = append(all, partner...)
		}
	}
	slices.SortFunc(all, func(a, b Tenant) int {
		return strings.Compare(a.DefaultDomain+" "+a.ID, b.DefaultDomain+" "+b.ID)
	})
	return all, nil
}

// Partner reports whether the tenant is the partner's own, whose name in CIPP is not real.
func (t Tenant) Partner() bool {
	return t.DisplayName == "*Partner Tenant" || slices.Equal(t.domains, []string{"PartnerTenant"})
}

// Named reports whether the text is the tenant's id or one of its domain names.
func (t Tenant) Named(text string) bool {
	return strings.EqualFold(t.ID, strings.TrimSpace(text)) || t.has(strings.TrimSpace(text))
}

// Named returns the first tenant that a text names; false when it names none.
func Named(tenants []Tenant, text string) (Tenant, bool) {
	for _, t := range tenants {
		if t.Named(text) {
			return t, true
		}
	}
	return Tenant{}, false
}

// has reports whether a domain name is one of the tenant's.
func (t Tenant) has(domain string) bool {
	same := func(d string) bool { return d != "" && strings.EqualFold(d, domain) }
	return same(t.DefaultDomain) || same(t.InitialDomain) || slices.ContainsFunc(t.domains, same)
}
