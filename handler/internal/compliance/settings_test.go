package compliance_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// policyCalls matches the calls that read policies of devices.
var policyCalls = regexp.MustCompile(`deviceCompliancePolicyStates`)

// fails sets what Intune says of a machine's policies: the settings that fail.
func (w *world) fails(p triggertest.Pair, settings ...string) {
	var rows []m365sim.Entity
	for _, s := range settings {
		rows = append(rows, m365sim.Entity{"setting": s, "state": "nonCompliant"})
	}
	state := "compliant"
	if len(rows) > 0 {
		state = "nonCompliant"
	}
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
		tn.PolicyStates[p.Managed] = []m365sim.Entity{{"id": "11111111-2222-4333-8444-555555555555", "displayName": "Baseline",
			"platformType": "windows10AndLater", "state": state, "settingCount": 3, "version": 1, "settingStates": rows}}
	})
}

// checksIn has a machine check in with Intune.
func (w *world) checksIn(p triggertest.Pair, at string) {
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) { m365sim.Find(tn.ManagedDevices, p.Managed)["lastSyncDateTime"] = at })
}

// notified has the machine's change notified, and handled.
func (w *world) notified(p triggertest.Pair) {
	w.T.Helper()
	must(w.T, w.Process.Worker.Update(w.T.Context(), notify.Message{TenantID: p.TenantID, DeviceIDs: []string{p.Object}}, 1))
}

func (w *world) settingsField() string { return w.Seed.FieldMapping[assignments.SettingsName] }

func (w *world) wantSettings(p triggertest.Pair, want ...string) {
	w.T.Helper()
	v, _ := w.NinjaOne.DeviceField(p.Ninja, w.settingsField())
	if text := strings.Join(want, "\n"); v.Text != text {
		w.T.Errorf("NinjaOne device %d shows the settings %q, want %q", p.Ninja, v.Text, text)
	}
}

// policyReads counts the reads of policies since the last reset.
func (w *world) policyReads() (n int) {
	for call, times := range w.M365.Calls() {
		if policyCalls.MatchString(call) && !strings.Contains(call, "settingStates") {
			n += times
		}
	}
	return n
}

// TestFailingSettings: one PATCH has both fields, and policies are read only when a
// device checked in or its state changed.
func TestFailingSettings(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.wantSettings(p)
	w.fails(p, "RequireEncryption", "OsMinimumVersion")
	w.Set(p, "noncompliant")
	before := len(w.NinjaOne.Writes())
	w.notified(p)
	w.WantField(p, "Non-Compliant")
	w.wantSettings(p, "Baseline: OsMinimumVersion", "Baseline: RequireEncryption")
	if writes := w.NinjaOne.Writes()[before:]; len(writes) != 1 || len(writes[0].Fields) != 2 {
		t.Errorf("NinjaOne was written %+v", writes)
	}

	for _, tt := range []struct {
		step   string
		change func()
		reads  int
		want   []string
	}{
		{"nothing changed", func() {}, 0, []string{"Baseline: OsMinimumVersion", "Baseline: RequireEncryption"}},
		{"it has not checked in", func() { w.fails(p, "RequireEncryption") }, 0, []string{"Baseline: OsMinimumVersion", "Baseline: RequireEncryption"}},
		{"it checked in", func() { w.checksIn(p, "2026-03-04T07:00:00Z") }, 1, []string{"Baseline: RequireEncryption"}},
		{"it complies", func() { w.Set(p, "compliant") }, 0, nil},
		{"its state changed", func() { w.Set(p, "inGracePeriod") }, 1, []string{"Baseline: RequireEncryption"}},
		{"it is not judged", func() { w.Set(p, "unknown") }, 0, nil},
		{"none fails", func() { w.Set(p, "error"); w.fails(p) }, 1, nil},
	} {
		for _, byNotification := range []bool{true, false} { // the sweep finds that all is done
			w.M365.ResetCalls()
			if want := tt.reads; byNotification {
				tt.change()
				w.notified(p)
				if n := w.policyReads(); n != want {
					t.Errorf("%s: policies were read %d times, want %d", tt.step, n, want)
				}
			} else {
				before := len(w.NinjaOne.Writes())
				w.Sweep(p.TenantID)
				if n := w.policyReads() + len(w.NinjaOne.Writes()) - before; n != 0 {
					t.Errorf("%s: the sweep read or wrote %d times", tt.step, n)
				}
			}
			w.wantSettings(p, tt.want...)
		}
	}
	w.NoViolations()
}

// TestSettingsUnread: what Intune does not tell stays as it is, and the compliance is
// written all the same.
func TestSettingsUnread(t *testing.T) {
	for name, fault := range map[string]m365sim.Fault{
		"refused":             {Service: "graph", Path: policyCalls, Status: 403},
		"gone":                {Service: "graph", Path: policyCalls, Status: 404},
		"settings refused":    {Service: "graph", Path: regexp.MustCompile("settingStates"), Status: 403},
		"cut":                 {Service: "graph", Path: policyCalls, Malformed: true},
		"not what was wanted": {Service: "graph", Path: policyCalls, HTML: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 4)
			p := all[0][0]
			w.fails(p, "RequireEncryption")
			w.Set(p, "noncompliant")
			w.notified(p)
			w.wantSettings(p, "Baseline: RequireEncryption")
			w.Set(p, "compliant")
			w.M365.AddFault(fault)
			w.notified(p) // that it complies needs no policies
			w.wantSettings(p)
			w.M365.ClearFaults()
			w.Set(p, "noncompliant")
			w.notified(p)
			w.wantSettings(p, "Baseline: RequireEncryption")

			w.M365.AddFault(fault)
			w.fails(p, "OsMinimumVersion")
			w.checksIn(p, "2026-03-04T07:00:00Z")
			w.notified(p)
			w.Sweep(p.TenantID)
			w.Sync(p.TenantID)
			w.wantSettings(p, "Baseline: RequireEncryption")
			other := all[0][1]
			w.Set(other, "noncompliant")
			w.notified(other)
			w.WantField(other, "Non-Compliant")
			w.M365.ClearFaults()
			w.Sweep(p.TenantID)
			w.wantSettings(p, "Baseline: OsMinimumVersion")
		})
	}
}

// TestSettingsRefused has NinjaOne refuse the field of settings, which is gone: the
// compliance goes alone.
func TestSettingsRefused(t *testing.T) {
	w, all := running(t, 1, 4)
	p, other := all[0][0], all[0][1]
	w.notified(other) // the definitions are known from now on
	w.fails(p, "RequireEncryption")
	w.Set(p, "noncompliant")
	custom := w.NinjaOne.CustomFields()
	gone := custom[slices.IndexFunc(custom, func(f ninjasim.CustomField) bool { return f.Name == w.settingsField() })]
	w.NinjaOne.RemoveCustomField(gone.Name)
	w.notified(p)
	w.WantField(p, "Non-Compliant")
	w.NinjaOne.AddCustomField(gone)
	w.wantSettings(p)
	w.Sync(p.TenantID)
	w.wantSettings(p, "Baseline: RequireEncryption")
}

// TestOnlySettingsMapped: the field of settings alone has its subscription, and is
// written by notification and sweep.
func TestOnlySettingsMapped(t *testing.T) {
	w := newWorld(t, triggertest.Small(1, 4))
	must(t, w.App.Table("CippMapping").Replace(t.Context(), storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": assignments.FieldName, "IntegrationId": ""}))
	p := w.Pairs(w.Seed.Mappings[0].TenantID)[0]
	w.Set(p, "compliant")
	w.Sync(p.TenantID)
	w.Reconcile()
	w.Subscription(p.TenantID)
	w.fails(p, "RequireEncryption")
	w.Set(p, "noncompliant")
	w.notified(p)
	w.wantSettings(p, "Baseline: RequireEncryption")
	w.Set(p, "compliant")
	w.Sweep(p.TenantID)
	w.wantSettings(p)
	w.WantField(p, "")
	if slices.ContainsFunc(w.NinjaOne.Writes(), func(wr ninjasim.Write) bool {
		return slices.Contains(append(wr.Fields, wr.Cleared...), w.Seed.FieldMapping[assignments.FieldName])
	}) {
		t.Error("the compliance was written")
	}
	w.NoViolations()
}

// TestNoDeviceForSettings clears both fields of a device that is not enrolled any more.
func TestNoDeviceForSettings(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.fails(p, "RequireEncryption")
	w.Set(p, "noncompliant")
	w.notified(p)
	w.wantSettings(p, "Baseline: RequireEncryption")
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.Managed })
		delete(tn.PolicyStates, p.Managed)
	})
	w.Sweep(p.TenantID)
	w.WantField(p, "")
	w.wantSettings(p)
	w.NoViolations()
}
