package compliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// settingsLife is how long CIPP's settings count before they are read again.
	settingsLife = 30 * time.Second
	// fieldLife is the same for the definition of the field in NinjaOne.
	fieldLife = time.Hour
)

// assignment says where a tenant's compliance goes.
type assignment struct {
	ref            tenant.Ref
	config         cipp.ExtensionConfig
	instance       string // normalised NinjaOne host
	organizationID int
	mapped         string // NinjaOne custom field as CIPP's mapping names it
}

// organization is the NinjaOne organization that the tenant is mapped to.
func (a assignment) organization() ledger.Organization {
	return ledger.Organization{Instance: a.instance, ID: a.organizationID}
}

// Assignments knows which tenants have their compliance field written: those
// that are mapped to an organization and not excluded, while the field is
// mapped and the extension is on. It is safe for concurrent use.
type Assignments struct {
	CIPP *cipp.Store
	// Off reports that CIPP's own engine does the work again, so that there are
	// no assignments.
	Off func(context.Context) (bool, error)
	Now func() time.Time

	mu     sync.Mutex
	read   time.Time
	byID   map[string]assignment
	doubt  doubt
	fields map[string]definition // by instance and mapped name
}

// all returns the assignments by tenant id, read from CIPP's tables at most
// settingsLife ago.
func (a *Assignments) all(ctx context.Context) (map[string]assignment, error) {
	// Never from memory: after a give-back not one more value may be written.
	if off, err := a.Off(ctx); err != nil || off {
		return map[string]assignment{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID != nil && a.Now().Sub(a.read) < settingsLife {
		return a.byID, nil
	}
	now := a.Now()
	byID, doubt, err := a.load(ctx)
	if err != nil {
		return nil, err
	}
	a.byID, a.doubt, a.read = byID, doubt, now
	return byID, nil
}

// doubt tells of which tenants CIPP's tables do not say that their compliance
// goes nowhere, although they have no assignment: a table without rows, a row
// that cannot be read or a tenant that a list lacks are no evidence.
type doubt struct {
	all     bool
	tenants map[string]bool
}

// doubtful reports whether it is not known if a tenant without assignment has
// one, by what all read last.
func (a *Assignments) doubtful(tenantID string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.doubt.all || a.doubt.tenants[tenantID]
}

func (a *Assignments) load(ctx context.Context) (map[string]assignment, doubt, error) {
	byID, none := map[string]assignment{}, doubt{}
	config, err := a.CIPP.NinjaOneConfig(ctx)
	if err != nil || !config.Enabled {
		return byID, doubt{all: !config.Configured}, err
	}
	instance, err := ninjaone.NormalizeInstance(config.Instance)
	if err != nil {
		return byID, doubt{all: true}, nil // the sync explains it
	}
	fields, err := a.CIPP.FieldMapping(ctx)
	if err != nil {
		return nil, none, err
	}
	if fields[fieldName] == "" {
		said, err := a.CIPP.FieldsUnmapped(ctx)
		return byID, doubt{all: !said}, err
	}
	mappings, err := a.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return nil, none, err
	}
	tenants, err := a.CIPP.Tenants(ctx)
	if err != nil {
		return nil, none, err
	}
	known, excluded := map[string]tenant.Ref{}, map[string]bool{}
	for _, t := range tenants {
		if excluded[t.ID] = t.Excluded; !t.Excluded {
			known[t.ID] = t.Ref
		}
	}
	doubts := doubt{all: len(mappings) == 0, tenants: map[string]bool{}}
	for _, m := range mappings {
		ref, ok := known[m.TenantID]
		if !ok || m.Problem != "" || m.OrganizationID == 0 {
			doubts.all = doubts.all || m.TenantID == ""
			doubts.tenants[m.TenantID] = !excluded[m.TenantID]
			continue
		}
		byID[m.TenantID] = assignment{ref: ref, config: config, instance: instance, organizationID: m.OrganizationID, mapped: fields[fieldName]}
	}
	return byID, doubts, nil
}

// definition is what NinjaOne says of the field.
type definition struct {
	name    string // as NinjaOne spells it
	problem string // why it cannot be written; "" when it can
	read    time.Time
}

// fieldError says that the field cannot be written as it is set up.
type fieldError struct{ problem string }

func (e *fieldError) Error() string { return e.problem }

// field returns the NinjaOne field that the assignment's values go to, by the
// definitions that NinjaOne has, which are asked for now and then. The error is
// a *fieldError when it cannot be written.
func (a *Assignments) field(ctx context.Context, to assignment, definitions func(context.Context) ([]ninjaone.CustomField, error)) (string, error) {
	key := to.instance + " " + to.mapped
	a.mu.Lock()
	have, ok := a.fields[key]
	a.mu.Unlock()
	if !ok || a.Now().Sub(have.read) >= fieldLife {
		all, err := definitions(ctx)
		if err != nil {
			return "", fmt.Errorf("read NinjaOne's custom fields: %w", err)
		}
		have = define(to.mapped, all)
		have.read = a.Now()
		a.mu.Lock()
		if a.fields == nil {
			a.fields = map[string]definition{}
		}
		a.fields[key] = have
		a.mu.Unlock()
	}
	if have.problem != "" {
		return "", &fieldError{have.problem}
	}
	return have.name, nil
}

func define(mapped string, definitions []ninjaone.CustomField) definition {
	i := slices.IndexFunc(definitions, func(d ninjaone.CustomField) bool { return strings.EqualFold(d.Name, mapped) })
	if i < 0 {
		return definition{problem: fmt.Sprintf("the NinjaOne custom field %q does not exist: create it, or map another one in CIPP", mapped)}
	}
	d := definitions[i]
	switch {
	case d.Type != ninjaone.TypeText:
		return definition{problem: fmt.Sprintf("the NinjaOne custom field %q has the type %s, and must have the type %s", d.Name, d.Type, ninjaone.TypeText)}
	case !slices.Contains(d.DefinitionScope, "NODE"):
		return definition{problem: fmt.Sprintf("the NinjaOne custom field %q is not defined for devices", d.Name)}
	case d.APIPermission != "READ_WRITE":
		return definition{problem: fmt.Sprintf("the NinjaOne custom field %q has the API permission %s: set it to Read/Write", d.Name, d.APIPermission)}
	}
	return definition{name: d.Name}
}
