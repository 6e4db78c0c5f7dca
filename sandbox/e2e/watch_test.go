package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

const (
	watchQueue = "ninjaone-changes"
	watchTable = "NinjaOneChanges"
)

// agedLook lets the tenant's last look and light run have been some minutes
// earlier, and looks at it.
func (w *world) agedLook(t *m365sim.Tenant) {
	w.t.Helper()
	for _, row := range w.rows(watchTable, "RowKey eq 'tenant|"+t.ID+"'") {
		columns := map[string]any{}
		for _, name := range []string{"Looked", "Due", "DevicesDue", "FoundAt"} {
			if v, _ := row[name].(string); v != "" {
				at, err := time.Parse(time.RFC3339Nano, v)
				must(w.t, err)
				columns[name], columns[name+"@odata.type"] = at.Add(-10*time.Minute).Format(time.RFC3339Nano), "Edm.DateTime"
			}
		}
		w.merge(watchTable, "watch", row["RowKey"].(string), columns)
	}
	if i := w.send(watchQueue, fmt.Sprintf(`{"tenantId":%q}`, t.ID)); i.Err != nil {
		w.t.Fatalf("the look failed: %v", i.Err)
	}
}

// TestWithinMinutes changes things in Microsoft 365 and in NinjaOne after the first
// sync. A look finds them, and a light run shows them: NinjaOne is asked for
// nothing but what the contract of light runs allows, and a full sync after it
// writes nothing.
func TestWithinMinutes(t *testing.T) {
	t.Parallel()
	data := generated(2)
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	w := start(t, data)
	tenant, other := w.Seed.Tenants[0], w.Seed.Tenants[1]
	for _, one := range w.Seed.Tenants {
		w.sync(one.DefaultDomain).completed()
	}
	organization := w.Seed.Organization(tenant.ID)
	runs := func() int { return len(w.synced(0)) }

	light := func(name string, reads int, change func(), shown func() bool) {
		t.Helper()
		before, calls, wrote := runs(), w.NinjaOne.Calls(), len(w.NinjaOne.Writes())
		change()
		w.agedLook(tenant)
		w.poll(name+": the light run", func() bool { return runs() > before })
		if !shown() {
			t.Errorf("%s: NinjaOne does not show it", name)
		}
		asked := 0
		for call, n := range w.NinjaOne.Calls() {
			if strings.HasPrefix(call, "GET ") {
				asked += n - calls[call]
			}
		}
		if asked > reads {
			t.Errorf("%s: the light run read NinjaOne %d times, want %d at most: %v", name, asked, reads, w.NinjaOne.Calls())
		}
		t.Logf("%s: %d reads, %d writes of fields", name, asked, len(w.NinjaOne.Writes())-wrote)
	}
	document := func(text string) func() bool {
		return func() bool {
			for _, d := range w.NinjaOne.Documents(organization) {
				if strings.Contains(fmt.Sprint(d.Name, d.Fields), text) && !d.Archived {
					return true
				}
			}
			return false
		}
	}
	light("the first look, which knows nothing yet", 2, func() {}, func() bool { return true })
	light("a user's title", 2, func() {
		tenant.Change(func(o *m365sim.Tenant) {
			o.Users[1] = maps.Clone(o.Users[1])
			o.Users[1]["jobTitle"] = "Keeper of the lighthouse"
		})
	}, document("Keeper of the lighthouse"))
	light("a device's name", 2, func() {
		tenant.Change(func(o *m365sim.Tenant) {
			o.ManagedDevices[0] = maps.Clone(o.ManagedDevices[0])
			o.ManagedDevices[0]["osVersion"] = "10.0.77777.1"
		})
	}, func() bool {
		for _, d := range w.NinjaOne.Devices(organization) {
			if v, _ := w.NinjaOne.DeviceField(d.ID, w.Seed.FieldMapping["DeviceSummary"]); strings.Contains(v.Sent, "10.0.77777.1") {
				return true
			}
		}
		return false
	})

	calls := w.NinjaOne.Calls()
	before := runs()
	w.agedLook(tenant) // a quiet one
	if now := w.NinjaOne.Calls(); runs() != before || !maps.Equal(now, calls) {
		t.Errorf("a quiet look made a run, or called NinjaOne: %v", now)
	}

	// A device arrives that a technician enrolled just now.
	var serial string
	tenant.View(func(o *m365sim.Tenant) { serial = o.ManagedDevices[0].String("serialNumber") })
	for _, d := range w.NinjaOne.Devices(organization) {
		if d.SerialNumber == serial {
			w.NinjaOne.RemoveDevice(d.ID)
		}
	}
	w.run("WatchTenants") // the first look at the activities, which only notes where they are
	w.NinjaOne.AddDevice(ninjasim.Device{ID: 77001, OrganizationID: organization, SystemName: "NEW-01", SerialNumber: serial})
	w.merge(watchTable, "watch", "activities|"+w.Seed.Ninja.Instance, map[string]any{
		"Looked": time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "Looked@odata.type": "Edm.DateTime"})
	w.merge(watchTable, "watch", "tenant|"+tenant.ID, map[string]any{
		"Due": time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "Due@odata.type": "Edm.DateTime"})
	before = runs()
	w.run("WatchTenants")
	w.poll("the light run for the new device", func() bool { return runs() > before })
	if v, _ := w.NinjaOne.DeviceField(77001, w.Seed.FieldMapping["DeviceSummary"]); v.Sent == "" {
		t.Error("the new device shows nothing")
	}

	for _, one := range []*m365sim.Tenant{tenant, other} {
		wrote, documented := len(w.NinjaOne.Writes()), len(w.NinjaOne.DocumentWrites())
		w.sync(one.DefaultDomain).completed()
		if n, m := len(w.NinjaOne.Writes())-wrote, len(w.NinjaOne.DocumentWrites())-documented; n+m > 0 {
			t.Errorf("the full sync of %s wrote %d targets and %d documents", one.DefaultDomain, n, m)
		}
		w.correct(one.DefaultDomain)
	}
}
