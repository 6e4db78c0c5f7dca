package compliance_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// shown are all values that NinjaOne shows on the machines.
func (w *world) shown(pairs []triggertest.Pair) map[string]string {
	w.T.Helper()
	all := map[string]string{}
	for _, p := range pairs {
		for _, name := range w.Seed.FieldMapping {
			if v, ok := w.NinjaOne.DeviceField(p.Ninja, name); ok {
				all[fmt.Sprint(p.Ninja, " ", name)] = v.Sent
			}
		}
	}
	return all
}

// problems are the problems of a tenant's last run.
func (w *world) problems(tenantID string) string {
	w.T.Helper()
	run, err := w.Process.Syncer.Runs.Last(w.T.Context(), tenantID)
	must(w.T, err)
	if run.Status != "Completed" {
		w.T.Errorf("the sync ended as %s: %s", run.Status, run.Reason)
	}
	var lines []string
	for _, p := range run.Problems {
		lines = append(lines, p.Message)
	}
	return strings.Join(lines, "\n")
}

// TestARefusalIsNoProofThatThereIsNoIntune lets Intune refuse its list in every
// way, in a tenant whose licences name no Intune. Sync, preview, sweep and
// notification judge alike: only Intune's own words prove that there is none.
func TestARefusalIsNoProofThatThereIsNoIntune(t *testing.T) {
	w, all := running(t, 1, 3)
	pairs := all[0]
	p := pairs[0]
	sub := w.Subscription(p.TenantID)
	tn := w.M365.Tenant(p.TenantID)
	tn.Change(func(tn *m365sim.Tenant) {
		tn.SKUs = []m365sim.Entity{{"id": "x_1", "skuId": "f245ecc8-75af-4f8e-b61f-27d8114de5f3", "skuPartNumber": "O365_BUSINESS_PREMIUM", "appliesTo": "User",
			"capabilityStatus": "Enabled", "consumedUnits": 1, "prepaidUnits": map[string]any{"enabled": 5, "suspended": 0, "warning": 0}, "servicePlans": []any{}}}
	})
	before := w.shown(pairs)
	refusals := []struct {
		status        int
		code, message string
		told          string
	}{
		{http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", "DeviceManagementManagedDevices.Read.All"},
		{http.StatusForbidden, "Forbidden", "An error has occurred. The tenant is not licensed for this.", "refused the request (Forbidden)"},
		{http.StatusBadRequest, "BadRequest", "The tenant is not applicable.", "refused the request"},
		{http.StatusNotFound, "ResourceNotFound", "Resource not found for the segment 'deviceManagement'.", "refused the request"},
		{http.StatusUnauthorized, "UnknownError", "", "does not accept the app's token"},
	}
	for _, r := range refusals {
		t.Run(fmt.Sprint(r.status, " ", r.code), func(t *testing.T) {
			w.M365.AddFault(m365sim.Fault{Service: "graph", Path: regexp.MustCompile("/deviceManagement/managedDevices"), Status: r.status, Code: r.code, Message: r.message})
			defer w.M365.ClearFaults()
			w.Sync(p.TenantID)
			if told := w.problems(p.TenantID); !strings.Contains(told, "Intune devices") || !strings.Contains(told, r.told) {
				t.Errorf("told: %s", told)
			}
			preview, err := w.Process.Syncer.Preview(t.Context(), p.TenantID)
			must(t, err)
			if len(preview.Targets) != 1 {
				t.Errorf("the preview would touch %d devices", len(preview.Targets)-1)
			}
			w.Sweep(p.TenantID)
			if s := w.Status(p.TenantID); s.Kind != assignments.KindFailed {
				t.Errorf("the sweep judged %q: %s", s.Kind, s.Problem)
			}
			_ = w.Process.Worker.Update(t.Context(), notify.Message{TenantID: p.TenantID, DeviceIDs: []string{p.Object}}, 1)
			w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
			w.Queue.Take()
			w.same(before, pairs)
		})
	}
	// Intune's own words do prove it.
	tn.Change(func(tn *m365sim.Tenant) { tn.NoIntune = true })
	w.Sweep(p.TenantID)
	if s := w.Status(p.TenantID); s.Kind != assignments.KindNoIntune {
		t.Errorf("the sweep judged %q: %s", s.Kind, s.Problem)
	}
	w.Sync(p.TenantID)
	w.same(map[string]string{}, pairs)
	w.NoViolations()
}

// same wants NinjaOne to show what it showed before.
func (w *world) same(before map[string]string, pairs []triggertest.Pair) {
	w.T.Helper()
	now := w.shown(pairs)
	for field, value := range before {
		if now[field] != value {
			w.T.Errorf("%s shows %.40q, and showed %.40q before", field, now[field], value)
		}
	}
	for field, value := range now {
		if _, had := before[field]; !had {
			w.T.Errorf("%s shows %.40q, and showed nothing before", field, value)
		}
	}
}

// enrol adds a machine to Intune that NinjaOne does not have, so that the next
// sweep matches the tenant anew.
func (w *world) enrol(tenantID string) {
	w.M365.Tenant(tenantID).Change(func(tn *m365sim.Tenant) {
		added := maps.Clone(tn.ManagedDevices[0])
		added["id"], added["serialNumber"], added["deviceName"] = uuid.NewString(), "NEW-"+uuid.NewString(), "NEW-"+uuid.NewString()
		added["azureADDeviceId"] = uuid.NewString()
		tn.ManagedDevices = append(tn.ManagedDevices, added)
	})
	w.Clock.Advance(time.Hour)
}

// TestASweepDoesNotBelieveAListThatNinjaOneContradicts matches a tenant anew in
// sweeps while NinjaOne's list lacks its devices.
func TestASweepDoesNotBelieveAListThatNinjaOneContradicts(t *testing.T) {
	empty := ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/devices-detailed$", Status: http.StatusOK, Body: "[]"}
	for name, tt := range map[string]struct {
		machines int
		problem  string
	}{
		"a few":         {4, ""},
		"more than ten": {16, "the list is not believed"},
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, tt.machines)
			pairs := all[0]
			if tt.problem != "" && len(pairs) <= 10 {
				t.Fatalf("the seed gives %d machines", len(pairs))
			}
			tenantID := pairs[0].TenantID
			w.Sweep(tenantID)
			before := w.shown(pairs)
			remove := w.NinjaOne.InjectFault(empty)
			w.enrol(tenantID)
			w.NinjaOne.ResetCounters()
			w.Sweep(tenantID)
			if n := w.NinjaOne.Calls()["GET /v2/devices-detailed"]; n != 1 {
				t.Fatalf("the list was read %d times", n)
			}
			w.same(before, pairs)
			if s := w.Status(tenantID); (s.Problem != "") != (tt.problem != "") || !strings.Contains(s.Problem, tt.problem) {
				t.Errorf("the status tells %q, want %q", s.Problem, tt.problem)
			}
			remove()
			w.NinjaOne.Ignore("df")
			w.enrol(tenantID)
			w.Sweep(tenantID)
			w.same(before, pairs)
			w.NinjaOne.Ignore()
			w.enrol(tenantID)
			w.Sweep(tenantID)
			w.same(before, pairs)
			if s := w.Status(tenantID); s.Problem != "" {
				t.Errorf("the status still tells %q", s.Problem)
			}
			w.NoViolations()
		})
	}
}

// TestASweepKeepsDevicesWhoseSerialsNinjaOneDoesNotTell matches a tenant anew while
// NinjaOne tells no serial number, and calls its devices by other names than Intune.
func TestASweepKeepsDevicesWhoseSerialsNinjaOneDoesNotTell(t *testing.T) {
	w, all := running(t, 1, 4)
	pairs, tenantID := all[0], all[0][0].TenantID
	for _, d := range w.NinjaOne.Devices(w.Seed.Organization(tenantID)) {
		d.SerialNumber, d.BIOSSerialNumber = "", ""
		d.SystemName, d.DisplayName, d.DNSName = fmt.Sprint("OTHER-", d.ID), "", ""
		w.NinjaOne.AddDevice(d)
	}
	before := w.shown(pairs)
	w.enrol(tenantID)
	w.Sweep(tenantID)
	w.same(before, pairs)
	w.Set(pairs[0], "noncompliant")
	w.notify(pairs[0])
	w.WantField(pairs[0], "Non-Compliant")
	w.NoViolations()
}

// TestASweepLeavesWhatASyncWasNotSureOf lets a sync not find out what became of a
// device: the sweeps after it leave the device's compliance as it is.
func TestASweepLeavesWhatASyncWasNotSureOf(t *testing.T) {
	w, all := running(t, 1, 4)
	pairs := all[0]
	p := pairs[0]
	before := w.shown(pairs)
	w.NinjaOne.Hide(p.Ninja)
	w.NinjaOne.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: fmt.Sprintf("^/v2/device/%d$", p.Ninja), Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
	w.Sync(p.TenantID)
	if told := w.problems(p.TenantID); !strings.Contains(told, "could not be looked up") {
		t.Errorf("told %q", told)
	}
	w.Sweep(p.TenantID)
	w.same(before, pairs)
	w.Set(p, "noncompliant") // what Intune says of it is still brought to it
	w.Clock.Advance(time.Hour)
	w.Sweep(p.TenantID)
	w.WantField(p, "Non-Compliant")
	w.NoViolations()
}

// TestARemappedFieldIsNotWrittenAnyMore maps the compliance to another field
// while a worker still remembers the former one: what it writes there is cleared
// with the next sync, and from then on the former field stays empty.
func TestARemappedFieldIsNotWrittenAnyMore(t *testing.T) {
	w, all := running(t, 1, 3)
	p, tenantID := all[0][0], all[0][0].TenantID
	former := w.Seed.FieldMapping[assignments.FieldName]
	w.NinjaOne.AddCustomField(ninjasim.CustomField{Name: "otherCompliance", Type: "TEXT", DefinitionScope: []string{"NODE"}, APIPermission: "READ_WRITE"})
	sub := w.Subscription(tenantID)
	notify := func(state string) {
		w.Set(p, state)
		w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
		w.Work()
	}
	notify("noncompliant") // so that the worker remembers the field
	row := storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": assignments.FieldName, "IntegrationId": "otherCompliance"}
	must(t, w.App.Table("CippMapping").Merge(t.Context(), row))
	w.Clock.Advance(2 * time.Second)
	notify("compliant")
	check := func(step, wantFormer, want string) {
		t.Helper()
		was, _ := w.NinjaOne.DeviceField(p.Ninja, former)
		is, _ := w.NinjaOne.DeviceField(p.Ninja, "otherCompliance")
		if was.Text != wantFormer || is.Text != want {
			t.Errorf("%s: the former field shows %q, want %q; the present one %q, want %q", step, was.Text, wantFormer, is.Text, want)
		}
	}
	w.Sync(tenantID)
	check("synced", "", "Compliant")
	w.Clock.Advance(assignments.SettingsLife)
	notify("noncompliant")
	check("notified", "", "Non-Compliant")
	w.Clock.Advance(time.Hour)
	w.Set(p, "compliant")
	w.Sweep(tenantID)
	check("swept", "", "Compliant")
	w.M365.Tenant(tenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(m m365sim.Entity) bool { return m.ID() == p.Managed })
	})
	w.Clock.Advance(time.Hour)
	w.Sweep(tenantID)
	check("gone from Intune", "", "")
	w.NoViolations()
}
