package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// Check compares what NinjaOne holds of the given tenants with their Microsoft 365, and
// returns what is wrong. Its rules are its own, and simpler than the handler's. It looks
// at every organization field, and at each device that one serial number clearly
// identifies on both sides. Where the seed turns documents on, it looks at every document
// and its relations. Where the seed turns the upload of vulnerabilities on, it looks at
// every scan group.
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
	var certain []certainDevice
	managed := 0
	s.M365.Tenant(id).View(func(t *m365sim.Tenant) {
		certain, managed = certainDevices(t, ninja, organization), len(t.ManagedDevices)
	})
	for _, c := range certain {
		d := c.ninja
		for _, field := range []string{"DeviceLinks", "DeviceSummary"} {
			v, ok := s.NinjaOne.DeviceField(d.ID, s.Seed.FieldMapping[field])
			if !ok || v.Text == "" {
				say("device %d shows nothing in %s", d.ID, field)
			}
			if len(v.Removed) > 0 {
				say("NinjaOne stripped %v from %s of device %d", v.Removed, field, d.ID)
			}
		}
		state := c.intune.String("complianceState")
		if v, _ := s.NinjaOne.DeviceField(d.ID, s.Seed.FieldMapping["DeviceCompliance"]); v.Text != complianceOf(state) {
			say("device %d shows %q, and Intune's state %q means %q", d.ID, v.Text, state, complianceOf(state))
		}
	}
	if len(certain) == 0 && managed > 0 && s.hasIntune(id) {
		say("none of %d managed devices could be checked", managed)
	}
	for _, text := range s.checkDocuments(id, ninja) {
		say("%s", text)
	}
	for _, text := range s.checkVulnerabilities(id) {
		say("%s", text)
	}
	return wrong
}

// certainDevice is a device that one serial number identifies beyond doubt on
// both sides.
type certainDevice struct {
	intune m365sim.Entity
	ninja  ninjasim.Device
}

// certainDevices are the devices of a tenant that are beyond doubt; ninja holds
// NinjaOne's by serial number.
func certainDevices(t *m365sim.Tenant, ninja map[string][]ninjasim.Device, organization int) (list []certainDevice) {
	if t.NoIntune {
		return nil
	}
	intune := map[string][]m365sim.Entity{}
	for _, d := range t.ManagedDevices {
		serial := plainSerial(d.String("serialNumber"))
		intune[serial] = append(intune[serial], d)
	}
	for _, serial := range slices.Sorted(maps.Keys(intune)) {
		records, devices := intune[serial], ninja[serial]
		// Eight characters with a digit among them are not a placeholder.
		if len(serial) >= 8 && strings.ContainsFunc(serial, unicode.IsDigit) && len(records) == 1 && len(devices) == 1 && devices[0].OrganizationID == organization {
			list = append(list, certainDevice{records[0], devices[0]})
		}
	}
	return list
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
