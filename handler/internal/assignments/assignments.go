// Package assignments knows which tenants have their compliance written, and to which
// NinjaOne fields. It keeps the status of each such tenant.
//
// It reads CIPP's tables and our own. Nothing of Graph or NinjaOne is called here.
package assignments

import (
	"context"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// FieldName and SettingsName are CIPP's names of the fields.
	FieldName    = "DeviceCompliance"
	SettingsName = "DeviceNonCompliantSettings"
	// SettingsLife is how long CIPP's settings count before they are read again.
	SettingsLife = 30 * time.Second
)

// Assignment says where a tenant's compliance goes.
type Assignment struct {
	Ref          tenant.Ref
	Config       cipp.ExtensionConfig
	Organization ledger.Organization
	Mapped       ledger.Shared // NinjaOne custom fields as CIPP's mapping names them
}

// Set are the assignments by tenant id, as CIPP's tables were at one time.
type Set struct {
	ByTenant map[string]Assignment
	// Off says that CIPP's own engine does the work again, so that there are no
	// assignments.
	Off bool

	read     time.Time
	doubtful map[string]bool // tenants
	unsure   bool            // of all tenants
}

// Doubtful reports whether a tenant may have an assignment all the same. A table without
// rows, a row that cannot be read, or a tenant that a list lacks, proves nothing.
func (s *Set) Doubtful(tenantID string) bool {
	_, assigned := s.ByTenant[tenantID]
	return !assigned && (s.unsure || s.doubtful[tenantID])
}

// Assignments knows which tenants have their compliance fields written. They are mapped
// to an organization and not excluded, one of the fields is mapped, and the extension is
// on. It is safe for concurrent use.
type Assignments struct {
	Deps
	kept lookup.Cache[struct{}, *Set]
}

// Deps are what Assignments work with.
type Deps struct {
	CIPP *cipp.Store
	Off  func(context.Context) (bool, error) // CIPP's own engine does the work again
	Now  func() time.Time
}

// New returns the assignments of CIPP's tables.
func New(d Deps) *Assignments { return &Assignments{Deps: d} }

// Read returns the assignments, read from CIPP's tables at most SettingsLife ago.
func (a *Assignments) Read(ctx context.Context) (*Set, error) {
	// Never from memory: after a give-back not one more value may be written.
	if off, err := a.Off(ctx); err != nil || off {
		return &Set{Off: off}, err
	}
	good := func(s *Set) bool { return a.Now().Sub(s.read) < SettingsLife }
	return a.kept.Get(ctx, struct{}{}, good, func(ctx context.Context, _ *Set) (*Set, error) {
		s := &Set{read: a.Now(), ByTenant: map[string]Assignment{}, doubtful: map[string]bool{}}
		return s, a.load(ctx, s)
	})
}

func (a *Assignments) load(ctx context.Context, s *Set) error {
	config, err := a.CIPP.NinjaOneConfig(ctx)
	if err != nil || !config.Enabled {
		s.unsure = !config.Configured
		return err
	}
	instance, err := ninjaone.NormalizeInstance(config.Instance)
	if err != nil {
		s.unsure = true
		return nil // the sync explains it
	}
	mappings, err := a.CIPP.Mappings(ctx)
	if err != nil {
		return err
	}
	mapped := ledger.Shared{Compliance: mappings.Fields[FieldName], Settings: mappings.Fields[SettingsName]}
	if len(mapped.Names()) == 0 {
		s.unsure = !mappings.FieldsSaid
		return nil
	}
	tenants, err := a.CIPP.AllTenants(ctx)
	if err != nil {
		return err
	}
	excluded := map[string]bool{}
	for _, t := range tenants {
		excluded[t.ID] = t.Excluded
	}
	synced, left := cipp.Join(tenants, mappings.Organizations)
	for _, t := range synced {
		s.ByTenant[t.ID] = Assignment{t.Ref, config, ledger.Organization{Instance: instance, ID: t.Mapping.OrganizationID}, mapped}
	}
	s.unsure = len(mappings.Organizations) == 0
	for _, m := range left {
		s.unsure = s.unsure || m.TenantID == ""
		s.doubtful[m.TenantID] = !excluded[m.TenantID]
	}
	return nil
}
