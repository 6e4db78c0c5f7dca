package compliance

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
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
	run, err := w.process.syncer.State.LastRun(w.t.Context(), tenantID)
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
		{http.StatusForbidden, "Forbidden", "An error has occurred. The tenant is not licensed for this.", "DeviceManagementManagedDevices.Read.All"},
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
