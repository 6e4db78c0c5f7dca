package tenantsync

import (
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// maxContested is how many contested devices a run names.
const maxContested = 10

// match matches the devices of Intune and NinjaOne, and tells what is not clear
// about them. A device that came without its serial number, from either, stays with the
// device that its serial number led to before.
func (p *Plan) match(in *inputs) {
	pairs := map[string]int{}
	for _, f := range in.former.Pairs {
		if f.Evidence.Kind == match.KindSerial {
			pairs[f.ManagedDeviceID] = f.NinjaOneID
		}
	}
	var devices []tenant.ManagedDevice
	devices, in.roster.Devices = match.WithFormerSerials(in.snapshot.ManagedDevices.Value, in.roster.Devices, pairs)
	in.snapshot.ManagedDevices.Value = devices
	if in.nameless() {
		in.problems.Add("devices:nameless", "Intune listed devices without their id and serial number. Which they are is not known, so no device's fields are cleared until Intune lists them whole.")
	}
	unjudged := 0
	for _, d := range devices {
		if d.ComplianceState == "" && !nameless(d) {
			unjudged++
		}
	}
	if unjudged > 0 {
		in.problems.Add("devices:unjudged", "Intune listed %d devices without a compliance state that can be read. What NinjaOne shows of their compliance stays as it is.", unjudged)
	}
	p.result = match.Devices(devices, in.roster.Devices)
	in.tellContested(p.result)
	p.matches = devicematch.Of(p.result)
	// The pairs of doubtful devices stay, since package compliance clears what has no
	// pair.
	for _, f := range in.former.Pairs {
		i := slices.IndexFunc(p.matches.IntuneOnly, func(l devicematch.Leftover) bool { return l.ID == f.ManagedDeviceID })
		if i >= 0 && slices.Contains(in.roster.Doubtful, f.NinjaOneID) {
			p.matches.IntuneOnly = slices.Delete(p.matches.IntuneOnly, i, i+1)
			p.matches.Pairs = append(p.matches.Pairs, f)
		}
	}
}

// nameless reports whether nothing tells which machine a record of Intune's is.
func nameless(d tenant.ManagedDevice) bool {
	return d.ID == "" && strings.TrimSpace(d.SerialNumber) == ""
}

// nameless reports whether Intune listed devices that may be any of those that
// the list otherwise lacks.
func (in *inputs) nameless() bool {
	return in.snapshot.DevicesKnown() && slices.ContainsFunc(in.snapshot.ManagedDevices.Value, nameless)
}

// tellContested tells of the NinjaOne devices that several Intune devices in use
// claim to be.
func (in *inputs) tellContested(result match.Result) {
	told := 0
	for _, p := range result.Pairs {
		if len(p.Contesting) == 0 {
			continue
		}
		if told++; told > maxContested {
			in.problems.Count("contested:more", "", func(n int, _ string) string {
				return fmt.Sprintf("Several Intune devices in use claim to be one NinjaOne device %d times more; the console's devices page lists them.", n)
			})
			continue
		}
		claims := []string{fmt.Sprintf("%q (%s)", p.Intune.DeviceName, p.Intune.ID)}
		for _, c := range p.Contesting {
			claims = append(claims, fmt.Sprintf("%q (%s)", c.DeviceName, c.ID))
		}
		in.problems.Add(fmt.Sprint("contested:", p.Ninja.ID), "NinjaOne device %d (%s): %d Intune devices in use claim to be it, by its %s: %s. "+
			"It shows the worse compliance of them. Remove from Intune the one that is not this machine.",
			p.Ninja.ID, devicematch.NameOf(p.Ninja), len(claims), map[match.Kind]string{match.KindSerial: "serial number", match.KindName: "name"}[p.Evidence.Kind], strings.Join(claims, ", "))
	}
}

// formerPairs are the pairs of the last run whose managed devices are still there. They
// are composed while NinjaOne's list cannot be believed. Which of the other records are
// older ones of a machine, Intune's list tells alone.
func (in *inputs) formerPairs() (result match.Result) {
	devices := in.snapshot.ManagedDevices.Value
	left := map[string]*tenant.ManagedDevice{}
	for i := range devices {
		left[devices[i].ID] = &devices[i]
	}
	take := func(list []*tenant.ManagedDevice, id string) []*tenant.ManagedDevice {
		if d := left[id]; d != nil {
			list = append(list, d)
			delete(left, id)
		}
		return list
	}
	for _, p := range in.former.Pairs {
		intune := take(nil, p.ManagedDeviceID)
		if intune == nil {
			continue
		}
		ninja := &ninjaone.Device{ID: p.NinjaOneID, OrganizationID: in.organization.ID, DisplayName: p.NinjaOneName}
		pair := match.Pair{Intune: intune[0], Ninja: ninja, Evidence: p.Evidence}
		for _, id := range p.Superseded {
			pair.Superseded = take(pair.Superseded, id)
		}
		for _, c := range p.Contesting {
			pair.Contesting = take(pair.Contesting, c.ManagedDeviceID)
		}
		result.Pairs = append(result.Pairs, pair)
	}
	for _, l := range match.Devices(devices, nil).IntuneOnly {
		if left[l.Device.ID] != nil {
			result.IntuneOnly = append(result.IntuneOnly, l)
		}
	}
	return result
}

// planDevices plans the matched devices' fields, and the clearing of devices
// that this tenant wrote and that no longer match.
func (p *Plan) planDevices(in *inputs, changes map[ledger.Target]*change) {
	devices := compose.NewDevices(p.compose)
	held := p.weighClaims(in)
	for i, pair := range p.matches.Pairs {
		p.matches.Pairs[i].HeldElsewhere = held[pair.NinjaOneID] != ""
	}
	for _, pair := range p.result.Pairs {
		if held[pair.Ninja.ID] != "" {
			continue
		}
		target := ledger.Device(pair.Ninja.ID)
		in.takeOver(target)
		changes[target] = &change{target: target, name: devicematch.NameOf(pair.Ninja), fields: func() []field {
			f := devices.Fields(pair)
			return slices.DeleteFunc(in.deviceFields(f), func(of field) bool { // Intune said nothing: the field stays
				return of.name == deviceCompliance && f.StateUnknown || of.name == deviceSettings && f.SettingsUnknown
			})
		}}
	}
	p.clearUnmatched(in, changes)
	p.clearAbandoned(in, changes)
}

// deviceFields are a device's fields with composed values; an empty one clears.
func (in *inputs) deviceFields(f compose.DeviceFields) []field {
	value := func(text string, of func(string) ninjaone.Value) ninjaone.Value {
		if text == "" {
			return ninjaone.Clear()
		}
		return of(text)
	}
	return []field{
		{deviceLinks, in.fields[deviceLinks], value(f.DeviceLinks, ninjaone.HTML)},
		{deviceSummary, in.fields[deviceSummary], value(f.DeviceSummary, ninjaone.HTML)},
		{deviceCompliance, in.fields[deviceCompliance], value(f.DeviceCompliance, ninjaone.Text)},
		{deviceSettings, in.fields[deviceSettings], value(f.DeviceNonCompliantSettings, ninjaone.Lines)},
	}
}

// weighClaims finds the devices that match devices of two tenants of the organization. It
// notes this tenant's claims where the holder's runs see them, and tells of both sides.
// It returns the devices that another tenant holds, and who. A device stays with its
// holder while the holder's last run matched it. The holder must still be mapped to the
// organization. Otherwise the device is free for this tenant.
func (p *Plan) weighClaims(in *inputs) map[int]string {
	held, matched := map[int]string{}, map[int]bool{}
	for _, pair := range p.result.Pairs {
		id := pair.Ninja.ID
		matched[id] = true
		r := in.records[ledger.Device(id)]
		if r == nil || r.TenantID == "" || in.clears(r) || !r.HoldsAny() || !in.others[r.TenantID].Has(id) {
			continue
		}
		held[id] = r.TenantID
		p.tellClaim(fmt.Sprintf("device %d (%s) shows what tenant %s has", id, devicematch.NameOf(pair.Ninja), in.domain(r.TenantID)))
	}
	for t, r := range in.records {
		if t.Kind != ledger.KindDevice {
			continue
		}
		if r.TenantID == in.ref.ID && matched[t.ID] {
			for _, id := range r.Claims {
				if slices.Contains(in.sharing, id) {
					p.tellClaim(fmt.Sprintf("device %d shows what this tenant has, and matches a device of tenant %s", t.ID, in.domain(id)))
				}
			}
		}
		contested := held[t.ID] != ""
		if slices.Contains(r.Claims, in.ref.ID) == contested {
			continue
		}
		r.Claims = slices.DeleteFunc(r.Claims, func(id string) bool { return id == in.ref.ID })
		if contested {
			r.Claims = append(r.Claims, in.ref.ID)
		}
		p.claims = append(p.claims, r)
	}
	return held
}

// tellClaim tells of one more device that two tenants claim.
func (p *Plan) tellClaim(what string) {
	const retire = " Retire the Intune record that is not of the machine, or correct its serial number."
	p.problems.Tally("claimed", what,
		"A NinjaOne device matches devices of two tenants of the organization, and stays with the tenant that had it first: %s"+retire,
		"%d NinjaOne devices match devices of two tenants of the organization. Each stays with the tenant that had it first: %s"+retire)
}
