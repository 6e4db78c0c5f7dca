package stack

import (
	"fmt"
	"strings"
	"unicode"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// Check compares what NinjaOne holds of the given tenants with what their
// Microsoft 365 says, by rules of its own that are simpler than the handler's,
// and returns what is wrong. It looks at every organization field, and at each
// device that one serial number identifies beyond doubt on both sides.
func (s *Stack) Check(tenantIDs ...string) []string {
	var wrong []string
	for _, v := range s.Violations() {
		wrong = append(wrong, "a request broke the contract: "+v)
	}
	bySerial := map[string][]ninjasim.Device{}
	for _, o := range s.NinjaOne.Organizations() {
		for _, d := range s.NinjaOne.Devices(o.ID) {
			bySerial[plainSerial(d.SerialNumber)] = append(bySerial[plainSerial(d.SerialNumber)], d)
		}
	}
	for _, id := range tenantIDs {
		wrong = append(wrong, s.checkTenant(id, bySerial)...)
	}
	return wrong
}

func (s *Stack) checkTenant(id string, ninja map[string][]ninjasim.Device) []string {
	var wrong []string
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("tenant %s: ", id)+fmt.Sprintf(format, args...))
	}
	organization := s.Seed.Organization(id)
	for _, field := range []string{"TenantLinks", "TenantSummary", "UsersSummary"} {
		name := s.Seed.FieldMapping[field]
		v, ok := s.NinjaOne.OrganizationField(organization, name)
		if !ok || strings.TrimSpace(v.Text) == "" {
			say("organization %d shows nothing in %s", organization, field)
		}
		if len(v.Removed) > 0 {
			say("NinjaOne stripped %v from %s of organization %d", v.Removed, field, organization)
		}
	}
	intune := map[string][]m365sim.Entity{}
	s.M365.Tenant(id).View(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			serial := plainSerial(d.String("serialNumber"))
			intune[serial] = append(intune[serial], d)
		}
	})
	checked := 0
	for serial, records := range intune {
		devices := ninja[serial]
		// Eight characters with a digit among them are no placeholder.
		if len(serial) < 8 || !strings.ContainsFunc(serial, unicode.IsDigit) || len(records) != 1 || len(devices) != 1 || devices[0].OrganizationID != organization {
			continue
		}
		checked++
		d := devices[0]
		for _, field := range []string{"DeviceLinks", "DeviceSummary"} {
			v, ok := s.NinjaOne.DeviceField(d.ID, s.Seed.FieldMapping[field])
			if !ok || v.Text == "" {
				say("device %d shows nothing in %s", d.ID, field)
			}
			if len(v.Removed) > 0 {
				say("NinjaOne stripped %v from %s of device %d", v.Removed, field, d.ID)
			}
		}
		want := complianceOf(records[0].String("complianceState"))
		if v, _ := s.NinjaOne.DeviceField(d.ID, s.Seed.FieldMapping["DeviceCompliance"]); v.Text != want {
			say("device %d shows %q, and Intune's state %q means %q", d.ID, v.Text, records[0].String("complianceState"), want)
		}
	}
	if checked == 0 && len(intune) > 0 && s.hasIntune(id) {
		say("none of %d managed devices could be checked", len(intune))
	}
	return wrong
}

func (s *Stack) hasIntune(id string) (has bool) {
	s.M365.Tenant(id).View(func(t *m365sim.Tenant) { has = !t.NoIntune })
	return has
}

// complianceOf is the rule of the compliance field, written down once more.
func complianceOf(state string) string {
	switch state {
	case "compliant":
		return "Compliant"
	case "noncompliant", "conflict", "error", "inGracePeriod":
		return "Non-Compliant"
	}
	return ""
}

func plainSerial(s string) string {
	return strings.ToUpper(strings.Join(strings.Fields(s), ""))
}
