package tenantsync

import (
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
)

// CIPP's names of the fields, from its table CippMapping.
const (
	tenantLinks      = "TenantLinks"
	tenantSummary    = "TenantSummary"
	usersSummary     = "UsersSummary"
	deviceLinks      = "DeviceLinks"
	deviceSummary    = "DeviceSummary"
	deviceCompliance = "DeviceCompliance"
	deviceSettings   = "DeviceNonCompliantSettings"
)

// requirement says what a NinjaOne custom field must be to hold one of ours.
type requirement struct {
	field, scope string
	types        []string // one of them
}

var requirements = []requirement{
	{tenantLinks, ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}},
	{tenantSummary, ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}},
	{usersSummary, ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}},
	{deviceLinks, ninjaone.ScopeNode, []string{ninjaone.TypeWYSIWYG}},
	{deviceSummary, ninjaone.ScopeNode, []string{ninjaone.TypeWYSIWYG}},
	{deviceCompliance, ninjaone.ScopeNode, []string{ninjaone.TypeText}},
	{deviceSettings, ninjaone.ScopeNode, []string{ninjaone.TypeLines, ninjaone.TypeText}},
}

// target is the kind of target that has the field.
func (r requirement) target() ledger.Kind {
	if r.scope == ninjaone.ScopeNode {
		return ledger.KindDevice
	}
	return ledger.KindOrganization
}

// mappedFields holds the NinjaOne custom field for each of our fields that is
// mapped and usable.
type mappedFields map[string]string

// FieldProblems says which mapped fields cannot be written, why, and what to do. It goes
// by NinjaOne's definitions of custom fields.
func FieldProblems(mapping map[string]string, definitions []ninjaone.CustomField) []problems.Problem {
	_, faults := usableFields(mapping, definitions)
	return faults
}

func usableFields(mapping map[string]string, definitions []ninjaone.CustomField) (usable mappedFields, faults []problems.Problem) {
	usable = mappedFields{}
	byName := definitionsByName(definitions)
	taken := map[string]string{}
	for _, r := range requirements {
		name := mapping[r.field]
		if name == "" {
			continue
		}
		d, ok := byName[strings.ToLower(name)]
		fault := ""
		switch place := r.scope + d.Name; {
		case !ok:
			fault = fmt.Sprintf("its NinjaOne custom field %q does not exist. Create it, or map another one in CIPP.", name)
		case d.Unfit(r.scope, r.types...) != "":
			fault = fmt.Sprintf("the NinjaOne custom field %q cannot hold it, because %s. Correct it in NinjaOne, or map another one in CIPP.", name, d.Unfit(r.scope, r.types...))
		case taken[place] != "":
			fault = fmt.Sprintf("the NinjaOne custom field %q is already mapped to %s.", name, taken[place])
		default:
			taken[place], usable[r.field] = r.field, d.Name
		}
		if fault != "" {
			faults = append(faults, problems.Problem{Key: "field:" + r.field, Message: r.field + " is not written: " + fault})
		}
	}
	return usable, faults
}

func definitionsByName(definitions []ninjaone.CustomField) map[string]ninjaone.CustomField {
	byName := map[string]ninjaone.CustomField{}
	for _, d := range definitions {
		byName[strings.ToLower(d.Name)] = d
	}
	return byName
}

// shared are the fields that package compliance writes too.
func (f mappedFields) shared() ledger.Shared {
	return ledger.Shared{Compliance: f[deviceCompliance], Settings: f[deviceSettings]}
}

// names returns the NinjaOne fields of those of ours that are usable.
func (f mappedFields) names(ours ...string) []string {
	var names []string
	for _, o := range ours {
		if f[o] != "" {
			names = append(names, f[o])
		}
	}
	return names
}
