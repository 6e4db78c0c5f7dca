package e2e

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// all are the names of the six NinjaOne fields of the seed.
var (
	organizationFields = []string{"cippTenantLinks", "cippTenantSummary", "cippUsersSummary"}
	deviceFields       = []string{"cippDeviceCompliance", "cippDeviceLinks", "cippDeviceSummary"}
)

// TestTypicalDay runs a tenant on consecutive days on which more and more
// happens, and holds the writes against what really changed.
func TestTypicalDay(t *testing.T) {
	t.Parallel()
	data := seed.Generate(seed.Size{Tenants: 1, Users: 100, Devices: 100, Groups: 10})
	w := start(t, data)
	domain := data.Tenants[0].DefaultDomain
	first := w.sync(domain).completed().quiet()
	if n := len(first.devices()); n != 100 {
		t.Fatalf("the first run wrote %d devices, want 100", n)
	}
	// The simulated night of handler/internal/pacing counts on these.
	if reads, writes := first.reads(), len(first.writes); reads != 3 || writes != 101 {
		t.Errorf("the first run made %d reads and %d writes in NinjaOne, want 3 and 101: %v", reads, writes, first.calls)
	}
	w.correct(domain)

	t.Run("nothing happened", func(t *testing.T) { w.sync(domain).completed().wroteNothing().quiet() })
	t.Run("one device only checked in", func(t *testing.T) {
		serial := data.NinjaDevices[7].SerialNumber
		w.changeDevice(domain, serial, func(d m365sim.Entity) { d["lastSyncDateTime"] = data.Day.Format("2006-01-02") + "T00:59:00Z" })
		w.sync(domain).completed().wroteNothing().quiet()
	})
	t.Run("a typical day", func(t *testing.T) {
		before := nonCompliant(w.tenant(domain))
		changed := data.TypicalDay(rand.New(rand.NewPCG(1, 2)))
		id := data.Tenants[0].ID
		want, settings := map[int][]string{}, map[int]string{}
		w.tenant(domain).View(func(tn *m365sim.Tenant) {
			for _, d := range tn.ManagedDevices {
				if slices.Contains(changed.ManagedDevices[id], d.ID()) {
					id := w.ninjaDevice(100, d.String("serialNumber")).ID
					want[id], settings[id] = []string{"cippDeviceCompliance", "cippDeviceSummary"}, w.deviceText(id, "DeviceNonCompliantSettings")
				}
			}
		})
		if len(want) != 2 {
			t.Fatalf("the day changed %d devices, want 2", len(want))
		}
		o := w.sync(domain).completed().quiet()
		for id, before := range settings {
			switch now := w.deviceText(id, "DeviceNonCompliantSettings"); {
			case now == before:
			case now == "":
				want[id] = append([]string{"-cippDeviceNonCompliantSettings"}, want[id]...)
			default:
				want[id] = slices.Insert(want[id], 1, "cippDeviceNonCompliantSettings")
			}
		}
		if d := cmp.Diff(want, o.devices()); d != "" {
			t.Errorf("devices written (-want +got):\n%s", d)
		}
		wantOrganization := []string{"cippUsersSummary"} // it names the users, and their devices' states
		if nonCompliant(w.tenant(domain)) != before {
			wantOrganization = []string{"cippTenantSummary", "cippUsersSummary"}
		}
		if d := cmp.Diff(wantOrganization, o.organization()); d != "" {
			t.Errorf("organization fields written (-want +got):\n%s", d)
		}
		if n := o.calls["PATCH /v2/organization/{id}/custom-fields"]; n != 1 {
			t.Errorf("the organization was written in %d calls, want 1", n)
		}
		w.correct(domain)
		w.sync(domain).completed().wroteNothing().quiet()
	})
	t.Run("force rewrites everything", func(t *testing.T) {
		o := w.force(domain).completed().quiet()
		devices := o.devices()
		if n := len(devices); n != 100 {
			t.Errorf("%d devices were rewritten, want 100", n)
		}
		for id, fields := range devices {
			want := slices.Clone(deviceFields)
			if w.deviceText(id, "DeviceNonCompliantSettings") != "" {
				want = slices.Insert(want, 2, "cippDeviceNonCompliantSettings")
			}
			if w.deviceText(id, "DeviceCompliance") == "" {
				want = want[1:]
			}
			if !slices.Equal(fields, want) {
				t.Errorf("device %d: %q were rewritten, want %q", id, fields, want)
			}
		}
		if d := cmp.Diff(organizationFields, o.organization()); d != "" {
			t.Errorf("organization fields rewritten (-want +got):\n%s", d)
		}
		if d := cmp.Diff(map[string]int{"PATCH /v2/device/{id}/custom-fields": 100, "PATCH /v2/organization/{id}/custom-fields": 1}, patches(o)); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
		w.sync(domain).completed().wroteNothing()
	})
	t.Run("force that fails before it could write is owed", func(t *testing.T) {
		remove := w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed", Status: 500})
		w.force(domain).ended("Failed")
		remove()
		if n := len(w.sync(domain).completed().devices()); n != 100 {
			t.Errorf("%d devices were rewritten by the next run, want 100", n)
		}
		w.sync(domain).completed().wroteNothing()
	})
	t.Run("force repairs what a technician broke", func(t *testing.T) {
		device := w.NinjaOne.Devices(100)[3].ID
		want := w.deviceText(device, "DeviceSummary")
		w.NinjaOne.SetDeviceField(device, "cippDeviceSummary", "<p>mine</p>")
		w.force(domain).completed()
		if got := w.deviceText(device, "DeviceSummary"); got != want {
			t.Errorf("the field shows %.80q", got)
		}
	})
}

// nonCompliant counts the devices that a tenant's summary shows as such.
func nonCompliant(t *m365sim.Tenant) (n int) {
	t.View(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			if d["complianceState"] != "compliant" && d["complianceState"] != "unknown" {
				n++
			}
		}
	})
	return n
}

// patches are the calls that write fields.
func patches(o *outcome) map[string]int {
	calls := maps.Clone(o.calls)
	maps.DeleteFunc(calls, func(name string, _ int) bool { return len(name) < 5 || name[:5] != "PATCH" })
	return calls
}
