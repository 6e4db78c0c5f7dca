// Package compose turns what was read of a tenant into the values of NinjaOne's fields.
// An organization has TenantLinks, TenantSummary and UsersSummary. A device has
// DeviceLinks, DeviceSummary, DeviceCompliance and DeviceNonCompliantSettings. It also
// composes the documents of the tenant's users and licences.
//
// It is pure: no I/O, no clock, no state. The same tenant gives the same bytes whatever
// the order of its parts, so that runs can compare values. Nothing that moves every day
// for its own sake enters a value. Markup comes from constants alone and stays within
// what NinjaOne keeps in a WYSIWYG field. Everything from a tenant is text.
package compose

import (
	"time"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/tenant"
)

// Input is all that the composed values depend on.
type Input struct {
	Snapshot *tenant.Snapshot
	Matches  match.Result // of the snapshot's managed devices

	NinjaHost string // NinjaOne instance, for links to devices
	CIPPHost  string // CIPP's host; "" leaves the links to CIPP out

	LicensedOnly bool                           // UsersSummary lists only users with a licence
	ExcludedSKUs map[string]bool                // SKU GUIDs in lower case, which only a user's own document and row name
	SKUNames     map[string]string              // GUID of a SKU or service plan, in lower case, to its name; may be nil
	Standards    tenant.Part[[]tenant.Standard] // CIPP standards that apply to the tenant
	Exposure     *exposure.Tenant               // of the last file of vulnerabilities; nil shows none
	Shared       bool                           // several tenants share the organization: each section names its tenant

	// SettingsLimit is how many UTF-16 units DeviceNonCompliantSettings may have:
	// see [SettingsLimit].
	SettingsLimit int
	Today         time.Time // the day (UTC) that "within 7 days" counts from
}

// OrganizationFields holds the values of the organization's fields, all HTML.
type OrganizationFields struct {
	TenantLinks   string
	TenantSummary string
	UsersSummary  string
}

// DeviceFields holds the values of a device's fields: two of HTML, and two texts. An
// empty value clears the field.
type DeviceFields struct {
	DeviceLinks                string
	DeviceSummary              string
	DeviceCompliance           string
	DeviceNonCompliantSettings string
	// StateUnknown says that Intune did not tell the state, and SettingsUnknown the
	// failing settings. Then what NinjaOne shows stays.
	StateUnknown, SettingsUnknown bool
}

// organization composes the pages of the organization's fields, by name.
func (x *index) organization() map[string]page {
	all := map[string]page{"TenantLinks": tenantLinks(x.links), "TenantSummary": x.tenantSummary(), "UsersSummary": x.usersSummary()}
	for name, p := range all {
		if x.in.Shared {
			p.Heading = x.name()
		}
		p.Name = line{Text: x.name(), Href: x.links.admin365()}
		p.Brief = x.brief(name)
		all[name] = p
	}
	return all
}

// Fields composes the fields of one matched device.
func (x *Devices) Fields(p match.Pair) DeviceFields {
	state := p.Intune.ComplianceState
	policies, read := x.snap.PolicyStates.Value[p.Intune.ID]
	settings, known := NonCompliantSettings(state, policies, read, x.in.SettingsLimit)
	return DeviceFields{
		DeviceLinks: x.deviceLinks(p).html(), DeviceSummary: x.deviceSummary(p).html(),
		DeviceCompliance: ComplianceText(state), StateUnknown: state == "",
		DeviceNonCompliantSettings: settings, SettingsUnknown: !known,
	}
}
