package tenantsync_test

import (
	"regexp"
	"testing"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// failing has a machine fail a policy of a long name, by two settings.
func failing(w *triggertest.World, p triggertest.Pair, policy string) {
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
		tn.PolicyStates[p.Managed] = []m365sim.Entity{{"id": "11111111-2222-4333-8444-555555555555", "displayName": policy,
			"platformType": "windows10AndLater", "state": "nonCompliant", "settingCount": 2, "version": 1,
			"settingStates": []m365sim.Entity{{"setting": "B", "state": "nonCompliant"}, {"setting": "A", "state": "error"}}}}
	})
	w.Set(p, "noncompliant")
}

// TestSettingsField follows DeviceNonCompliantSettings through a field that is healed,
// moved to one of another type, and unmapped; and through runs that read policies
// only where a device checked in, but for a forced one.
func TestSettingsField(t *testing.T) {
	w := triggertest.New(t, triggertest.Small(1, 4))
	id := w.Seed.Mappings[0].TenantID
	p := w.Pairs(id)[0]
	shows := func(when, field, want string) {
		t.Helper()
		if v, _ := w.NinjaOne.DeviceField(p.Ninja, field); v.Text != want {
			t.Errorf("%s: %s shows %q, want %q", when, field, v.Text, want)
		}
	}
	reads := func() (n int) {
		for call, times := range w.M365.Calls() {
			if regexp.MustCompile(`/deviceCompliancePolicyStates$`).MatchString(call) {
				n += times
			}
		}
		return n
	}
	maps := func(field string) {
		t.Helper()
		row := storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": assignments.SettingsName, "IntegrationId": field}
		if err := w.App.Table("CippMapping").Replace(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	long := "Baseline of the branch offices in the north, for machines of people who work from home and for those that travel, which was agreed upon in spring by all of them"
	name := w.Seed.FieldMapping[assignments.SettingsName]
	failing(w, p, long)
	w.Sync(id)
	shows("first", name, long+": A (error)\n"+long+": B")

	w.M365.ResetCalls()
	w.Sync(id)
	if n := reads(); n != 0 {
		t.Errorf("policies of devices that have not checked in were read %d times", n)
	}
	shows("unchanged", name, long+": A (error)\n"+long+": B")
	w.NinjaOne.SetDeviceField(p.Ninja, name, "by hand")
	w.Sync(id)
	shows("healed", name, long+": A (error)\n"+long+": B")

	w.M365.ResetCalls()
	if err := w.Process.Syncer.Run(t.Context(), tenantsync.Message{TenantID: id, Force: true}); err != nil {
		t.Fatal(err)
	}
	if reads() == 0 {
		t.Error("a forced run read no policies")
	}

	// A TEXT field takes 200 characters.
	w.NinjaOne.AddCustomField(ninjasim.CustomField{Name: "short", Label: "Short", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}})
	maps("short")
	w.Sync(id)
	shows("moved", name, "")
	shows("moved", "short", long+": A (error)\n… and 1 more")

	maps("")
	w.Sync(id)
	shows("unmapped", "short", "")
	shows("unmapped", w.Seed.FieldMapping[assignments.FieldName], "Non-Compliant")
	w.NoViolations()
}
