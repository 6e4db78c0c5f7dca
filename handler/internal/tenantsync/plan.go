package tenantsync

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// Plan is what a run is going to do, and what a preview shows. It follows from
// inputs alone: making it reads and writes nothing.
type Plan struct {
	compose  compose.Input // what everything is composed from, documents too
	devices  bool          // which devices both have is known, so they are written
	result   match.Result
	matches  devicematch.Matches // to be kept
	section  section             // this tenant's
	cuts     string              // how it is cut down in a shared organization; see runs.Run.Cuts
	remapped []ledger.Remapped
	claims   []*ledger.Record // devices that other tenants' devices match too
	forget   []ledger.Target
	former   map[ledger.Target][]string // fields that are not mapped any more, to be cleared
	changes  []*change                  // in the order in which they are written
	problems *problems.Collector
	notes    []string // lines for the logbook that are no problems
}

// change is a target with what it should hold. The values are composed when they are
// looked at. Those of all devices together would take more memory than everything else.
type change struct {
	target    ledger.Target
	name      string // of a device
	unmatched bool   // the device is not matched any more, so that it is cleared
	fields    func() []field
}

// field is one field with the value that it should have.
type field struct {
	name  string // CIPP's; "" of one that is not mapped any more
	ninja string // NinjaOne's custom field; "" when none is mapped
	value ninjaone.Value
}

// values returns what the target should hold, by NinjaOne custom field name.
func (c *change) values() ninjaone.Fields {
	values := ninjaone.Fields{}
	for _, f := range c.fields() {
		if f.ninja != "" {
			values[f.ninja] = f.value
		}
	}
	return values
}

// plan decides what a run that reads in is going to do. It corrects the records
// in memory by what NinjaOne and the field mapping say.
func (in *inputs) plan(now time.Time) *Plan {
	p := &Plan{problems: in.problems}
	in.tellStrays()
	in.heal()
	p.remap(in)
	for reason, names := range absentParts(in.snapshot) {
		in.problems.Add("part:"+reason, "Not read: %s, because %s", strings.Join(names, ", "), words.End(reason))
	}
	p.devices = in.snapshot.DevicesKnown() && !in.roster.Unusable
	switch {
	case p.devices:
		p.match(in)
	case in.roster.Unusable:
		p.result = in.formerPairs()
	}
	p.compose = compose.Input{
		Snapshot: in.snapshot, Matches: p.result,
		NinjaHost: in.organization.Instance, CIPPHost: in.portal,
		LicensedOnly: in.config.LicensedOnly,
		ExcludedSKUs: in.excluded, SKUNames: in.skuNames, Standards: in.standards,
		Exposure: in.exposure,
		Shared:   len(in.sharing) > 1,
		Today:    now.UTC(),

		SettingsLimit: compose.SettingsLimit(in.definitions[strings.ToLower(in.fields[deviceSettings])].Type),
	}
	byTarget := map[ledger.Target]*change{}
	p.planOrganization(in, byTarget)
	// Without Intune's list, or NinjaOne's, nothing is known of the devices, so
	// nothing of theirs is written or cleared.
	if p.devices {
		p.planDevices(in, byTarget)
	}
	p.clearFormer(in, byTarget)
	for _, c := range byTarget {
		p.changes = append(p.changes, c)
	}
	slices.SortFunc(p.changes, func(a, b *change) int { return ledger.Compare(a.target, b.target) })
	return p
}

// absentParts names the parts of a snapshot that should have been readable, by
// the reason why they were not.
func absentParts(s *tenant.Snapshot) map[string][]string {
	byReason := map[string][]string{}
	for _, p := range s.Absent() {
		if !p.Expected {
			reason := strings.TrimPrefix(p.Reason, "Not available: ")
			byReason[reason] = append(byReason[reason], p.Name)
		}
	}
	return byReason
}

// section is one tenant's part of its organization's fields. A blob keeps it so that
// tenants that share an organization can be shown together. It is kept whole, and in the
// shorter forms for where there is not room for all.
type section struct {
	TenantID string                     `json:"tenantId"`
	Fields   compose.OrganizationFields `json:"fields"`
	Shorter  compose.Forms              `json:"shorter"`
}

// organizationFields are the organization's fields, by CIPP's names.
var organizationFields = []struct {
	name  string
	whole func(compose.OrganizationFields) string
	forms func(compose.Forms) []compose.Form
}{
	{tenantLinks, func(f compose.OrganizationFields) string { return f.TenantLinks }, func(f compose.Forms) []compose.Form { return f.TenantLinks }},
	{tenantSummary, func(f compose.OrganizationFields) string { return f.TenantSummary }, func(f compose.Forms) []compose.Form { return f.TenantSummary }},
	{usersSummary, func(f compose.OrganizationFields) string { return f.UsersSummary }, func(f compose.Forms) []compose.Form { return f.UsersSummary }},
}

// planOrganization composes the organization's fields: this tenant's section,
// joined with the kept sections of the tenants that share it.
func (p *Plan) planOrganization(in *inputs, changes map[ledger.Target]*change) {
	p.section.TenantID = in.ref.ID
	p.section.Fields, p.section.Shorter = compose.Sections(p.compose)
	sections, at := []section{}, 0
	for _, id := range slices.Sorted(slices.Values(in.sharing)) {
		if id == in.ref.ID {
			at = len(sections)
			sections = append(sections, p.section)
		} else if s, kept := in.sections[id]; kept {
			sections = append(sections, s)
		}
	}
	var fields []field
	var cuts []string
	for _, f := range organizationFields {
		whole := f.whole(p.section.Fields)
		if len(sections) > 1 {
			var forms [][]compose.Form
			for _, s := range sections {
				all := compose.Form{HTML: s.Shorter.Heading + f.whole(s.Fields)}
				forms = append(forms, append([]compose.Form{all}, f.forms(s.Shorter)...))
			}
			var cut []compose.Cut
			if whole, cut = compose.Join(ninjaone.MaxHTML, forms...); in.fields[f.name] != "" && cut[at] != compose.Whole {
				cuts = append(cuts, f.name+" "+cut[at].String())
			}
		}
		fields = append(fields, field{f.name, in.fields[f.name], ninjaone.HTML(whole)})
	}
	p.tellCuts(in, strings.Join(cuts, ", "))
	target := in.organization.Target()
	changes[target] = &change{target: target, fields: func() []field { return fields }}
}

// tellCuts notes how the tenant's section is cut down in the organization's fields, when
// that differs from the last run.
func (p *Plan) tellCuts(in *inputs, cuts string) {
	switch p.cuts = cuts; {
	case cuts == in.lastCuts:
	case cuts == "":
		p.notes = append(p.notes, fmt.Sprintf("The fields of NinjaOne organization %d show this tenant whole again.", in.organization.ID))
	default:
		p.notes = append(p.notes, fmt.Sprintf("%d tenants share the fields of NinjaOne organization %d, which have no room for all of this one. They show it so: %s.",
			len(in.sharing), in.organization.ID, cuts))
	}
}
