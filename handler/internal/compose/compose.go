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
	"errors"
	"fmt"
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

	// MaxChars limits a composed value, in characters of the JSON-encoded string
	// (ninjaone.JSONLength). 0 means NinjaOne's own limit.
	MaxChars int
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

// Mistakes of the caller.
var (
	errNoSnapshot = errors.New("composing fields: there is no snapshot of the tenant")
	errNoUser     = errors.New("the tenant has no such user")
	errNoLicence  = errors.New("the tenant has no such licence")
)

// organizationPage is the page of one of the organization's fields.
type organizationPage struct {
	name string
	page page
	of   func(*OrganizationFields) *string
}

func (x *index) organization() []organizationPage {
	all := []organizationPage{
		{"TenantLinks", tenantLinks(x.links), func(f *OrganizationFields) *string { return &f.TenantLinks }},
		{"TenantSummary", x.tenantSummary(), func(f *OrganizationFields) *string { return &f.TenantSummary }},
		{"UsersSummary", x.usersSummary(), func(f *OrganizationFields) *string { return &f.UsersSummary }},
	}
	for i := range all {
		p := &all[i].page
		if x.in.Shared {
			p.Heading = x.name()
		}
		p.Name = line{Text: x.name(), Href: x.links.admin365()}
		p.Brief = x.brief(all[i].name)
	}
	return all
}

// Devices composes the fields of one tenant's devices. It is safe for
// concurrent use.
type Devices struct{ x *deviceIndex }

// NewDevices prepares what the fields of all devices have in common.
func NewDevices(in Input) (*Devices, error) {
	if in.Snapshot == nil {
		return nil, errNoSnapshot
	}
	return &Devices{newDeviceIndex(in)}, nil
}

// Fields composes the fields of one matched device. A pair without an Intune
// device yields empty values, which clear the fields.
func (d *Devices) Fields(p match.Pair) (DeviceFields, error) {
	if p.Intune == nil {
		return DeviceFields{}, nil
	}
	f := DeviceFields{DeviceCompliance: ComplianceText(p.Intune.ComplianceState), StateUnknown: p.Intune.ComplianceState == ""}
	states, read := d.x.in.Snapshot.PolicyStates.Value[p.Intune.ID]
	settings, known := NonCompliantSettings(p.Intune.ComplianceState, states, read, d.x.in.SettingsLimit)
	f.DeviceNonCompliantSettings, f.SettingsUnknown = settings, !known
	var err error
	if f.DeviceLinks, err = d.x.deviceLinks(p).render("DeviceLinks", d.x.in.MaxChars); err == nil {
		f.DeviceSummary, err = d.x.deviceSummary(p).render("DeviceSummary", d.x.in.MaxChars)
	}
	if err != nil {
		return DeviceFields{}, fmt.Errorf("tenant %s, Intune device %s: %w", ref(d.x.in.Snapshot.Tenant), p.Intune.ID, err)
	}
	return f, nil
}
