package e2e

import (
	"fmt"
	"slices"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
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

// TestDevices follows devices through their states, and those that one side does not know any
// more.
func TestDevices(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	first, second := data.Tenants[0].DefaultDomain, data.Tenants[1].DefaultDomain
	t.Run("states of compliance", func(t *testing.T) { testComplianceChanges(t, w, first, data.NinjaDevices[0]) })
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

// testComplianceChanges takes one device through every state of Intune.
func testComplianceChanges(t *testing.T, w *world, domain string, device ninjasim.Device) {
	w.changeDevice(domain, device.SerialNumber, func(d m365sim.Entity) { d["complianceState"] = "unknown" })
	w.NinjaOne.SetDeviceField(device.ID, "cippDeviceCompliance", "by hand")
	w.sync(domain).completed()
	if got := w.deviceText(device.ID, "DeviceCompliance"); got != "by hand" {
		t.Fatalf("a state that says nothing changed the field, which was never ours, to %q", got)
	}
	for _, step := range []struct{ state, text, write string }{
		{"compliant", "Compliant", "cippDeviceCompliance"},
		{"noncompliant", "Non-Compliant", "cippDeviceCompliance"},
		{"conflict", "Non-Compliant", ""},
		{"error", "Non-Compliant", ""},
		{"inGracePeriod", "Non-Compliant", ""},
		{"unknown", "", "-cippDeviceCompliance"},
		{"configManager", "", ""},
		{"compliant", "Compliant", "cippDeviceCompliance"},
		{"configManager", "", "-cippDeviceCompliance"},
	} {
		w.changeDevice(domain, device.SerialNumber, func(d m365sim.Entity) { d["complianceState"] = step.state })
		o := w.sync(domain).completed().quiet()
		if got := w.deviceText(device.ID, "DeviceCompliance"); got != step.text {
			t.Errorf("%s: the field shows %q, want %q", step.state, got, step.text)
		}
		var wrote string
		for _, field := range o.devices()[device.ID] {
			if field == "cippDeviceCompliance" || field == "-cippDeviceCompliance" {
				wrote = field
			}
		}
		if wrote != step.write {
			t.Errorf("%s: %q was written, want %q", step.state, wrote, step.write)
		}
		if n := len(o.devices()); n != 1 {
			t.Errorf("%s: %d devices were written, want 1", step.state, n)
		}
	}
}
