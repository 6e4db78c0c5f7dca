package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// cleared are the writes that clear every device field that holds a value.
func cleared(w *world, id int) []string {
	var all []string
	for _, f := range deviceFields {
		if v, ok := w.NinjaOne.DeviceField(id, f); ok && v.Sent != "" {
			all = append(all, "-"+f)
		}
	}
	return all
}

// TestDevicesThatLeave follows devices that one side does not know any more.
func TestDevicesThatLeave(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	first, second := data.Tenants[0].DefaultDomain, data.Tenants[1].DefaultDomain
	w.sync(first).completed()
	w.sync(second).completed()
	device := func(i int) ninjasim.Device { return w.NinjaOne.Devices(100)[i] }

	t.Run("removed from Intune", func(t *testing.T) {
		d := device(0)
		w.changeDevice(first, d.SerialNumber, func(e m365sim.Entity) { e["complianceState"] = "compliant" })
		w.NinjaOne.SetDeviceField(d.ID, "warrantyEnd", "2027-01-31")
		w.sync(first).completed()
		w.unenrol(first, d.SerialNumber)
		want := cleared(w, d.ID)
		o := w.sync(first).completed().quiet()
		if got := o.devices(); len(want) != 3 || len(got) != 1 || !slices.Equal(got[d.ID], want) {
			t.Errorf("devices written: %v, want device %d with %q", got, d.ID, want)
		}
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("device %d still shows %q", d.ID, got)
		}
		if v, _ := w.NinjaOne.DeviceField(d.ID, "warrantyEnd"); v.Text != "2027-01-31" {
			t.Errorf("a field that is not ours shows %q", v.Text)
		}
		// Once only: what a technician writes there now is not ours.
		w.NinjaOne.SetDeviceField(d.ID, "cippDeviceCompliance", "by hand")
		w.sync(first).completed().wroteNothing().quiet()
		w.force(first).completed()
		if got := w.deviceText(d.ID, "DeviceCompliance"); got != "by hand" {
			t.Errorf("the technician's value became %q", got)
		}
	})
	t.Run("removed from Intune while its state said nothing", func(t *testing.T) {
		d := device(1)
		w.changeDevice(first, d.SerialNumber, func(e m365sim.Entity) { e["complianceState"] = "unknown" })
		w.sync(first).completed()
		w.unenrol(first, d.SerialNumber)
		want := []string{"-cippDeviceLinks", "-cippDeviceSummary"}
		if got := w.sync(first).completed().devices(); len(got) != 1 || !slices.Equal(got[d.ID], want) {
			t.Errorf("devices written: %v, want device %d with %q", got, d.ID, want)
		}
		w.sync(first).completed().wroteNothing().quiet()
	})
	t.Run("removed from Intune, and enrolled again", func(t *testing.T) {
		d := device(2)
		gone := w.unenrol(first, d.SerialNumber)
		w.sync(first).completed()
		w.tenant(first).Change(func(tn *m365sim.Tenant) { tn.ManagedDevices = append(tn.ManagedDevices, gone...) })
		if got := w.sync(first).completed().devices(); len(got) != 1 || got[d.ID] == nil {
			t.Errorf("devices written: %v, want device %d", got, d.ID)
		}
		w.correct(first)
		w.sync(first).completed().wroteNothing()
	})
	t.Run("removed from Intune, and its write fails", func(t *testing.T) {
		d := device(3)
		w.unenrol(first, d.SerialNumber)
		mend := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("^/v2/device/%d/custom-fields$", d.ID), Status: 500, Body: `{"resultCode":"FAILURE"}`})
		w.sync(first).completed().line("Warn: One target could not be written")
		mend()
		w.sync(first).completed()
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("device %d still shows %q", d.ID, got)
		}
		w.sync(first).completed().wroteNothing().quiet()
	})
	t.Run("moved to an organization of no tenant", func(t *testing.T) {
		d := device(4)
		w.NinjaOne.AddOrganization(ninjasim.Organization{ID: 500, Name: "Spare parts"})
		w.NinjaOne.MoveDevice(d.ID, 500)
		want := cleared(w, d.ID)
		if got := w.sync(first).completed().quiet().devices(); len(got) != 1 || !slices.Equal(got[d.ID], want) {
			t.Errorf("devices written: %v, want device %d with %q", got, d.ID, want)
		}
		o := w.sync(first).completed().wroteNothing().quiet()
		if n := o.calls["GET /v2/device/{id}"]; n != 0 {
			t.Errorf("the device is still looked up: %d calls", n)
		}
	})
	t.Run("moved to another tenant's organization, unknown to its Intune", func(t *testing.T) {
		d := device(4)
		w.NinjaOne.MoveDevice(d.ID, 101)
		w.sync(second).completed().wroteNothing()
		if got := cleared(w, d.ID); got == nil {
			t.Fatalf("device %d shows nothing", d.ID)
		}
		w.sync(first).completed().quiet()
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("device %d shows %q in an organization whose tenant does not manage it", d.ID, got)
		}
	})
	t.Run("moved to another tenant in both services", func(t *testing.T) {
		d := device(4)
		w.NinjaOne.MoveDevice(d.ID, 101)
		record := w.unenrol(first, d.SerialNumber)
		// Enrolment there makes a record of its own.
		record[0]["id"], record[0]["azureADDeviceId"] = "7d0c4b1e-7a52-4be1-9f0f-20f1c8c1f3aa", "7d0c4b1e-7a52-4be1-9f0f-20f1c8c1f3ab"
		record[0]["userId"], record[0]["complianceState"] = "", "noncompliant"
		delete(record[0], "usersLoggedOn")
		w.tenant(second).Change(func(tn *m365sim.Tenant) { tn.ManagedDevices = append(tn.ManagedDevices, record...) })
		if got := w.sync(second).completed().devices(); len(got) != 1 || got[d.ID] == nil {
			t.Errorf("devices written by the new tenant: %v, want device %d", got, d.ID)
		}
		w.sync(first).completed().quiet()
		if got := w.deviceText(d.ID, "DeviceCompliance"); got != "Non-Compliant" {
			t.Errorf("the former tenant's run left %q", got)
		}
		w.sync(second).completed().wroteNothing()
		w.correct(second)
	})
	t.Run("deleted in NinjaOne", func(t *testing.T) {
		d := device(4)
		w.NinjaOne.RemoveDevice(d.ID)
		o := w.sync(first).completed().quiet()
		if len(o.devices()) != 0 {
			t.Errorf("devices written: %v", o.devices())
		}
		o = w.sync(first).completed().wroteNothing().quiet()
		if n := o.calls["GET /v2/device/{id}"]; n != 0 {
			t.Errorf("the device is still looked up: %d calls", n)
		}
	})
	t.Run("deleted in NinjaOne between the list and the write", func(t *testing.T) {
		d := device(4)
		w.changeDevice(first, d.SerialNumber, func(e m365sim.Entity) { e["osVersion"] = "10.0.26200.7" })
		w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("^/v2/device/%d/custom-fields$", d.ID), Count: 1,
			Status: 404, Body: `{"resultCode":"NOT_FOUND"}`})
		w.sync(first).completed().quiet()
		// It was a false alarm: the device is still listed, and written in full.
		if got := w.sync(first).completed().quiet().devices(); len(got) != 1 || len(got[d.ID]) < 2 {
			t.Errorf("devices written: %v, want device %d in full", got, d.ID)
		}
		w.correct(first)
	})
	t.Run("awaiting approval", func(t *testing.T) {
		d := device(5)
		d.ApprovalStatus = "PENDING"
		w.NinjaOne.AddDevice(d)
		w.sync(first).completed()
		d.ApprovalStatus = "APPROVED"
		w.NinjaOne.AddDevice(d)
		w.sync(first).completed()
		w.correct(first)
		w.sync(first).completed().wroteNothing()
	})
	t.Run("a technician's value where nothing was written", func(t *testing.T) {
		w.NinjaOne.AddDevice(ninjasim.Device{ID: 9001, OrganizationID: 100, SystemName: "UNMANAGED-1", SerialNumber: "ZZ99XX11"})
		w.NinjaOne.SetDeviceField(9001, "cippDeviceSummary", "<p>Kept by hand</p>")
		w.sync(first).completed().wroteNothing()
		w.force(first).completed()
		if got := w.deviceText(9001, "DeviceSummary"); got != "Kept by hand" {
			t.Errorf("the technician's value became %q", got)
		}
	})
}

// TestIntuneUnreadable keeps what was written while Intune's list cannot be
// read.
func TestIntuneUnreadable(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	domain := data.Tenants[0].DefaultDomain
	w.sync(domain).completed()
	w.tenant(domain).Deny("DeviceManagementManagedDevices.Read.All")
	w.M365.RevokeTokens() // those of before still have the permission
	o := w.sync(domain).completed().line("Warn: Not read: Intune devices, compliance policies, because the app lacks DeviceManagementManagedDevices.Read.All.")
	if got := o.devices(); len(got) != 0 {
		t.Errorf("devices written: %v", got)
	}
	for _, d := range w.NinjaOne.Devices(100) {
		if w.deviceText(d.ID, "DeviceSummary") == "" {
			t.Errorf("device %d lost its summary", d.ID)
		}
	}
	if text := w.organizationText(domain, "TenantSummary"); !strings.Contains(text, "the app lacks DeviceManagementManagedDevices.Read.All") {
		t.Errorf("TenantSummary does not say why there are no devices: %.400s", text)
	}
	w.tenant(domain).Grant("DeviceManagementManagedDevices.Read.All")
	o = w.sync(domain).completed().line("Info: No longer a problem: Not read: Intune devices")
	if got := o.devices(); len(got) != 0 {
		t.Errorf("devices written, and nothing changed: %v", got)
	}
	w.correct(domain)

	// A tenant that gives up Intune is another thing: nothing evaluates its
	// devices any more, so nothing must look as if it did.
	domain = data.Tenants[1].DefaultDomain
	w.sync(domain).completed()
	w.tenant(domain).Change(func(tn *m365sim.Tenant) { tn.NoIntune = true })
	o = w.sync(domain).completed().quiet()
	if n := len(o.devices()); n != 12 {
		t.Errorf("%d devices were written, want all 12 cleared", n)
	}
	for _, d := range w.NinjaOne.Devices(101) {
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("device %d still shows %q", d.ID, got)
		}
	}
	w.sync(domain).completed().wroteNothing().quiet()
}

// TestMatching looks at the specific machines of the tenant whose inventory is
// full of duplicates.
func TestMatching(t *testing.T) {
	t.Parallel()
	data := seed.MSP()
	w := start(t, data)
	domain, organization := seed.Duplicates, 15
	w.sync(domain).completed()

	intune := func(serial, name string) (list []m365sim.Entity) {
		w.tenant(domain).View(func(tn *m365sim.Tenant) {
			for _, d := range tn.ManagedDevices {
				if d.String("serialNumber") == serial && (name == "" || d.String("deviceName") == name) {
					list = append(list, d)
				}
			}
		})
		return list
	}
	named := func(name string) (list []ninjasim.Device) {
		for _, d := range w.NinjaOne.Devices(organization) {
			if d.SystemName == name {
				list = append(list, d)
			}
		}
		return list
	}
	// shows fails unless the device shows the Intune record, by the link to it.
	shows := func(t *testing.T, d ninjasim.Device, record m365sim.Entity) {
		t.Helper()
		links, _ := w.NinjaOne.DeviceField(d.ID, "cippDeviceLinks")
		if !strings.Contains(links.Sent, "mdmDeviceId/"+record.ID()) {
			t.Errorf("%s (%d) does not show the Intune record %s", d.SystemName, d.ID, record.ID())
		}
	}

	t.Run("enrolled twice: the newest check-in counts", func(t *testing.T) {
		for _, serial := range []string{"5CG9990AA1", "5CG9990AB2"} {
			records := intune(serial, "")
			if len(records) != 2 {
				t.Fatalf("the seed has %d records of %s", len(records), serial)
			}
			d := w.ninjaDevice(organization, serial)
			shows(t, d, records[1])
			if text := w.deviceText(d.ID, "DeviceSummary"); !strings.Contains(text, "Older records") {
				t.Errorf("%s does not show its older record: %.300s", d.SystemName, text)
			}
		}
		if got := w.deviceText(w.ninjaDevice(organization, "5CG9990AA1").ID, "DeviceCompliance"); got != "Compliant" {
			t.Errorf("the newest record complies, and the device shows %q", got)
		}
	})
	t.Run("the older record checks in again", func(t *testing.T) {
		d := w.ninjaDevice(organization, "5CG9990AA1")
		w.tenant(domain).Change(func(tn *m365sim.Tenant) {
			for _, e := range tn.ManagedDevices {
				if e.String("serialNumber") == "5CG9990AA1" && e.String("complianceState") == "noncompliant" {
					e["lastSyncDateTime"] = data.Day.Format("2006-01-02") + "T00:50:00Z"
				}
			}
		})
		got := w.sync(domain).completed().devices()
		if len(got) != 1 || got[d.ID] == nil {
			t.Errorf("devices written: %v, want only %d", got, d.ID)
		}
		shows(t, d, intune("5CG9990AA1", "")[0])
		if got := w.deviceText(d.ID, "DeviceCompliance"); got != "Non-Compliant" {
			t.Errorf("the newest record does not comply, and the device shows %q", got)
		}
		w.sync(domain).completed().wroteNothing()
	})
	t.Run("serials that makers never filled in match by name", func(t *testing.T) {
		for i, junk := range []string{"Default string", "0", "To be filled by O.E.M.", "", "System Serial Number", "None"} {
			name := fmt.Sprintf("CR-WS-%02d", i+1)
			devices, records := named(name), intune(junk, name)
			if len(devices) != 1 || len(records) != 1 {
				t.Fatalf("the seed has %d and %d machines %s", len(devices), len(records), name)
			}
			shows(t, devices[0], records[0])
		}
	})
	t.Run("serial in another spelling, or in one field only", func(t *testing.T) {
		shows(t, named("CR-SURVEY-110")[0], intune("7xk 2 m93", "")[0])
		shows(t, named("CR-SURVEY-111")[0], intune("8ZZ4N11", "")[0])
	})
	t.Run("one name, two serials", func(t *testing.T) {
		for _, serial := range []string{"1AB2C31", "1AB2C32"} {
			shows(t, w.ninjaDevice(organization, serial), intune(serial, "")[0])
		}
	})
	t.Run("never a wrong match", func(t *testing.T) {
		kiosks, contradicted := named("CR-KIOSK"), named("CR-LT-120")
		if len(kiosks) != 2 || len(contradicted) != 1 {
			t.Fatalf("the seed has %d kiosks and %d machines CR-LT-120", len(kiosks), len(contradicted))
		}
		for _, d := range append(kiosks, contradicted...) {
			if got := cleared(w, d.ID); got != nil {
				t.Errorf("%s (%d) was written: %q", d.SystemName, d.ID, got)
			}
		}
		// No two devices show one Intune record.
		seen := map[string]int{}
		for _, d := range w.NinjaOne.Devices(organization) {
			links, ok := w.NinjaOne.DeviceField(d.ID, "cippDeviceLinks")
			if !ok {
				continue
			}
			_, id, _ := strings.Cut(links.Sent, "mdmDeviceId/")
			id = id[:36]
			if other, twice := seen[id]; twice {
				t.Errorf("devices %d and %d show the Intune record %s", other, d.ID, id)
			}
			seen[id] = d.ID
		}
		if len(seen) != 21 {
			t.Errorf("%d devices are matched, want 21", len(seen))
		}
	})
	t.Run("the name matched, and Intune's record is gone", func(t *testing.T) {
		d := named("CR-WS-01")[0]
		w.tenant(domain).Change(func(tn *m365sim.Tenant) {
			tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(e m365sim.Entity) bool { return e.String("deviceName") == "CR-WS-01" })
		})
		if got := w.sync(domain).completed().devices(); len(got) != 1 || got[d.ID] == nil {
			t.Errorf("devices written: %v, want only %d cleared", got, d.ID)
		}
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("%s still shows %q", d.SystemName, got)
		}
	})
	t.Run("the serial's record is gone, and another machine takes the name", func(t *testing.T) {
		d := w.ninjaDevice(organization, "4DE5F61")
		old := w.unenrol(domain, "4DE5F61")[0]
		w.tenant(domain).Change(func(tn *m365sim.Tenant) {
			other := m365sim.Entity{}
			for k, v := range old {
				other[k] = v
			}
			other["id"], other["serialNumber"] = "0f4f4ad0-5b57-4e64-9d8c-1d2b1a0c9e77", "7HH8J99"
			tn.ManagedDevices = append(tn.ManagedDevices, other)
		})
		w.sync(domain).completed()
		if got := cleared(w, d.ID); got != nil {
			t.Errorf("%s shows another machine's record: %q", d.SystemName, got)
		}
		// Without a serial number that says otherwise, the name counts.
		w.changeDevice(domain, "7HH8J99", func(e m365sim.Entity) { e["serialNumber"] = "Default string" })
		w.sync(domain).completed()
		links, _ := w.NinjaOne.DeviceField(d.ID, "cippDeviceLinks")
		if !strings.Contains(links.Sent, "mdmDeviceId/0f4f4ad0-5b57-4e64-9d8c-1d2b1a0c9e77") {
			t.Errorf("%s does not show the record of its name", d.SystemName)
		}
		if text := w.deviceText(d.ID, "DeviceSummary"); !strings.Contains(text, "Matched by") || !strings.Contains(text, "Name") {
			t.Errorf("%s does not say that it was matched by name: %.300s", d.SystemName, text)
		}
	})
}
