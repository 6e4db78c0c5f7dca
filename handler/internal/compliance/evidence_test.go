package compliance

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

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// shown are all values that NinjaOne shows on the machines.
func (w *world) shown(pairs []pair) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, p := range pairs {
		for _, name := range w.Seed.FieldMapping {
			if v, ok := w.NinjaOne.DeviceField(p.ninja, name); ok {
				all[fmt.Sprint(p.ninja, " ", name)] = v.Sent
			}
		}
	}
	return all
}

// problems are the problems of a tenant's last run.
func (w *world) problems(tenantID string) string {
	w.t.Helper()
	run, err := w.process.syncer.Runs.Last(w.t.Context(), tenantID)
	if err != nil {
		w.t.Fatal(err)
	}
	if run.Status != "Completed" {
		w.t.Errorf("the sync ended as %s: %s", run.Status, run.Reason)
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
	sub := w.subscription(p.tenantID)
	tn := w.M365.Tenant(p.tenantID)
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
			w.sync(p.tenantID)
			if told := w.problems(p.tenantID); !strings.Contains(told, "Intune devices") || !strings.Contains(told, r.told) {
				t.Errorf("told: %s", told)
			}
			preview, err := w.process.syncer.Preview(t.Context(), p.tenantID)
			if err != nil {
				t.Fatal(err)
			}
			if len(preview.Targets) != 1 {
				t.Errorf("the preview would touch %d devices", len(preview.Targets)-1)
			}
			w.sweep(p.tenantID)
			if s := w.status(p.tenantID); s.Kind != kindFailed {
				t.Errorf("the sweep judged %q: %s", s.Kind, s.Problem)
			}
			_ = w.process.worker.Update(t.Context(), Message{TenantID: p.tenantID, DeviceIDs: []string{p.object}}, 1)
			w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
			w.queue.take()
			w.same(before, pairs)
		})
	}
	// Intune's own words do prove it.
	tn.Change(func(tn *m365sim.Tenant) { tn.NoIntune = true })
	w.sweep(p.tenantID)
	if s := w.status(p.tenantID); s.Kind != kindNoIntune {
		t.Errorf("the sweep judged %q: %s", s.Kind, s.Problem)
	}
	w.sync(p.tenantID)
	w.same(map[string]string{}, pairs)
	w.noViolations()
}

// same wants NinjaOne to show what it showed before.
func (w *world) same(before map[string]string, pairs []pair) {
	w.t.Helper()
	now := w.shown(pairs)
	for field, value := range before {
		if now[field] != value {
			w.t.Errorf("%s shows %.40q, and showed %.40q before", field, now[field], value)
		}
	}
	for field, value := range now {
		if _, had := before[field]; !had {
			w.t.Errorf("%s shows %.40q, and showed nothing before", field, value)
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
	w.clock.advance(time.Hour)
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
			tenantID := pairs[0].tenantID
			w.sweep(tenantID)
			before := w.shown(pairs)
			remove := w.NinjaOne.InjectFault(empty)
			w.enrol(tenantID)
			w.NinjaOne.ResetCounters()
			w.sweep(tenantID)
			if n := w.NinjaOne.Calls()["GET /v2/devices-detailed"]; n != 1 {
				t.Fatalf("the list was read %d times", n)
			}
			w.same(before, pairs)
			if s := w.status(tenantID); (s.Problem != "") != (tt.problem != "") || !strings.Contains(s.Problem, tt.problem) {
				t.Errorf("the status tells %q, want %q", s.Problem, tt.problem)
			}
			remove()
			w.NinjaOne.Ignore("df")
			w.enrol(tenantID)
			w.sweep(tenantID)
			w.same(before, pairs)
			w.NinjaOne.Ignore()
			w.enrol(tenantID)
			w.sweep(tenantID)
			w.same(before, pairs)
			if s := w.status(tenantID); s.Problem != "" {
				t.Errorf("the status still tells %q", s.Problem)
			}
			w.noViolations()
		})
	}
}

// TestASweepLeavesWhatASyncWasNotSureOf lets a sync not find out what became of a
// device: the sweeps after it leave the device's compliance as it is.
func TestASweepLeavesWhatASyncWasNotSureOf(t *testing.T) {
	w, all := running(t, 1, 4)
	pairs := all[0]
	p := pairs[0]
	before := w.shown(pairs)
	w.NinjaOne.Hide(p.ninja)
	w.NinjaOne.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: fmt.Sprintf("^/v2/device/%d$", p.ninja), Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
	w.sync(p.tenantID)
	if told := w.problems(p.tenantID); !strings.Contains(told, "could not be looked up") {
		t.Errorf("told %q", told)
	}
	w.sweep(p.tenantID)
	w.same(before, pairs)
	w.set(p, "noncompliant") // what Intune says of it is still brought to it
	w.clock.advance(time.Hour)
	w.sweep(p.tenantID)
	w.wantField(p, "Non-Compliant")
	w.noViolations()
}

// TestSubscriptionsStayWhileCIPPsTablesDoNotSay removes a subscription only when
// CIPP's tables say that nobody wants it.
func TestSubscriptionsStayWhileCIPPsTablesDoNotSay(t *testing.T) {
	w := subscribed(t, 2)
	a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
	rows := func(partition string) (keys []string) {
		for row, err := range w.app.Table("CippMapping").List(t.Context(), storage.Eq("PartitionKey", partition)) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, row.RowKey())
		}
		return keys
	}
	empty := func(partition string) func() {
		return func() {
			for _, key := range rows(partition) {
				if err := w.app.Table("CippMapping").Delete(t.Context(), partition, key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mapping := storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": a, "IntegrationId": "many"}
	for _, step := range []struct {
		name    string
		happens func()
	}{
		{"an organization that is not a number", func() { w.merge("CippMapping", mapping) }},
		{"a tenant that CIPP's list lacks", func() {
			mapping["IntegrationId"] = fmt.Sprint(w.Seed.Mappings[0].OrganizationID)
			w.merge("CippMapping", mapping)
			if err := w.app.Table("Tenants").Delete(t.Context(), "Tenants", a); err != nil {
				t.Fatal(err)
			}
		}},
		{"no row of fields", empty("NinjaOneFieldMapping")},
		{"no row of tenants", empty("NinjaOneMapping")},
	} {
		step.happens()
		w.clock.advance(settingsLife + time.Second)
		for range 3 {
			w.reconcile()
			w.clock.advance(settleTime)
		}
		for _, id := range []string{a, b} {
			if n := len(w.M365.Subscriptions(id)); n != 1 {
				t.Errorf("%s: Graph has %d subscriptions of tenant %s", step.name, n, id)
			}
		}
	}
}

// TestARemappedFieldIsNotWrittenAnyMore maps the compliance to another field
// while a worker still remembers the former one: what it writes there is cleared
// with the next sync, and from then on the former field stays empty.
func TestARemappedFieldIsNotWrittenAnyMore(t *testing.T) {
	w, all := running(t, 1, 3)
	p, tenantID := all[0][0], all[0][0].tenantID
	former := w.Seed.FieldMapping[fieldName]
	w.NinjaOne.AddCustomField(ninjasim.CustomField{Name: "otherCompliance", Type: "TEXT", DefinitionScope: []string{"NODE"}, APIPermission: "READ_WRITE"})
	sub := w.subscription(tenantID)
	notify := func(state string) {
		w.set(p, state)
		w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
		w.work()
	}
	notify("noncompliant") // so that the worker remembers the field
	row := storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": fieldName, "IntegrationId": "otherCompliance"}
	if err := w.app.Table("CippMapping").Merge(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Second)
	notify("compliant")
	check := func(step, wantFormer, want string) {
		t.Helper()
		was, _ := w.NinjaOne.DeviceField(p.ninja, former)
		is, _ := w.NinjaOne.DeviceField(p.ninja, "otherCompliance")
		if was.Text != wantFormer || is.Text != want {
			t.Errorf("%s: the former field shows %q, want %q; the present one %q, want %q", step, was.Text, wantFormer, is.Text, want)
		}
	}
	w.sync(tenantID)
	check("synced", "", "Compliant")
	w.clock.advance(settingsLife)
	notify("noncompliant")
	check("notified", "", "Non-Compliant")
	w.clock.advance(time.Hour)
	w.set(p, "compliant")
	w.sweep(tenantID)
	check("swept", "", "Compliant")
	w.M365.Tenant(tenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(m m365sim.Entity) bool { return m.ID() == p.managed })
	})
	w.clock.advance(time.Hour)
	w.sweep(tenantID)
	check("gone from Intune", "", "")
	w.noViolations()
}
