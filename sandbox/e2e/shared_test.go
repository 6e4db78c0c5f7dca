package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// share maps a tenant to the organization of another one, and moves its devices there.
func share(data *seed.Seed, owner, guest int) {
	to, from := data.Mappings[owner].OrganizationID, data.Mappings[guest].OrganizationID
	data.Mappings[guest].OrganizationID = to
	for i := range data.NinjaDevices {
		if d := &data.NinjaDevices[i]; d.OrganizationID == from {
			d.OrganizationID = to
		}
	}
}

// TestSharedOrganization runs two tenants of one organization, in both orders.
func TestSharedOrganization(t *testing.T) {
	t.Parallel()
	data := seed.Generate(seed.Size{Tenants: 4, Users: 10, Devices: 6, Groups: 2})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	share(data, 0, 1)
	share(data, 2, 3)
	w := start(t, data)
	for name, tenants := range map[string][2]int{"in order": {0, 1}, "the other way on": {3, 2}} {
		t.Run(name, func(t *testing.T) {
			order := [2]string{data.Tenants[tenants[0]].DefaultDomain, data.Tenants[tenants[1]].DefaultDomain}
			w.sync(order[0]).completed().quiet()
			w.sync(order[1]).completed().quiet()
			both := func(t *testing.T) {
				t.Helper()
				for _, field := range []string{"TenantLinks", "TenantSummary", "UsersSummary"} {
					text := w.organizationText(order[0], field)
					for _, tenant := range order {
						if !strings.Contains(text, w.tenant(tenant).DisplayName) {
							t.Errorf("%s does not name %s: %.300s", field, tenant, text)
						}
					}
				}
				for _, tenant := range order {
					w.tenant(tenant).View(func(tn *m365sim.Tenant) {
						for _, u := range tn.Users {
							if !strings.Contains(w.organizationText(tenant, "UsersSummary"), u.String("userPrincipalName")) {
								t.Errorf("a user of %s is not listed", tenant)
							}
						}
					})
				}
				w.correct(order[0], order[1])
			}
			both(t)
			for _, tenant := range []string{order[0], order[1], order[1], order[0], order[0]} {
				w.sync(tenant).completed().wroteNothing().quiet()
			}

			// One tenant changes: its part changes, once.
			w.tenant(order[0]).Change(func(tn *m365sim.Tenant) { tn.Users[3]["displayName"] = "Renamed Person" })
			if got := w.sync(order[1]).completed().wroteNothing(); len(got.lines) != 1 {
				t.Errorf("the other tenant's run: %q", got.lines)
			}
			if got := w.sync(order[0]).completed().organization(); len(got) != 1 || got[0] != "cippUsersSummary" {
				t.Errorf("the tenant's own run wrote %q", got)
			}
			both(t)
			w.sync(order[1]).completed().wroteNothing()

			// One tenant cannot be read: its part stays.
			w.tenant(order[1]).SetLogin(m365sim.ConsentMissing)
			w.M365.RevokeTokens()
			w.sync(order[1]).failed("AADSTS65001").wroteNothing()
			w.sync(order[0]).completed().wroteNothing()
			both(t)
			w.tenant(order[1]).SetLogin(m365sim.LoginOK)
			w.sync(order[1]).completed().wroteNothing()

			w.unmapOne(order[0], order[1])
		})
	}
}

// unmapOne unmaps one of two tenants that share an organization. Its part and the fields of its devices go with the next run of the
// other, except of a machine that moved to the other meanwhile; documents stay.
func (w *world) unmapOne(stays, leaves string) {
	w.t.Helper()
	before := w.holdingOf(leaves)
	if len(before.devices) < 2 || len(before.documents) == 0 || len(w.holdingOf(stays).documents) == 0 {
		w.t.Fatalf("%s has %d devices and %d documents, too few for the test", leaves, len(before.devices), len(before.documents))
	}
	var moved int
	for id := range before.devices {
		moved = max(moved, id)
	}
	machine := w.unenrol(leaves, before.devices[moved])
	w.tenant(stays).Change(func(t *m365sim.Tenant) { t.ManagedDevices = append(t.ManagedDevices, machine[0]) })
	row := w.mapping(w.tenant(leaves).ID)
	w.remove("CippMapping", row["PartitionKey"].(string), row["RowKey"].(string))

	// Neither goes the part, nor are the devices cleared, before the timer has found
	// the tenant unmapped for some minutes: CIPP removes all mappings to save them.
	w.sync(stays).completed()
	if text := w.organizationText(stays, "TenantSummary"); !strings.Contains(text, w.tenant(leaves).DisplayName) {
		w.t.Errorf("the part of %s went as soon as its mapping was not there: %.300s", leaves, text)
	}
	for id := range before.devices {
		if id != moved && w.deviceText(id, "DeviceSummary") == "" {
			w.t.Errorf("device %d was cleared as soon as its mapping was not there", id)
		}
	}
	w.noteUnmapped(leaves)

	o := w.sync(stays).completed()
	if !slices.Equal(o.organization(), organizationFields) {
		w.t.Errorf("after the other tenant was unmapped: wrote %q", o.organization())
	}
	for _, field := range []string{"TenantLinks", "TenantSummary", "UsersSummary"} {
		text := w.organizationText(stays, field)
		if text == "" || strings.Contains(text, w.tenant(leaves).DisplayName) {
			w.t.Errorf("%s after the other tenant was unmapped: %.300s", field, text)
		}
	}
	for id := range before.devices {
		for _, field := range []string{"DeviceLinks", "DeviceSummary"} {
			if shown := w.deviceText(id, field) != ""; shown != (id == moved) {
				w.t.Errorf("device %d of the tenant that was unmapped shows %s: %v", id, field, shown)
			}
		}
		if id != moved && w.deviceText(id, "DeviceCompliance") != "" {
			w.t.Errorf("device %d of the tenant that was unmapped still shows %q", id, w.deviceText(id, "DeviceCompliance"))
		}
	}
	if got := w.holdingOf(leaves).documents; !slices.Equal(got, before.documents) {
		w.t.Errorf("the documents of the tenant that was unmapped are %q, and were %q", got, before.documents)
	}
	w.correct(stays)
	w.sync(stays).completed().wroteNothing().quiet()

	// Mapped again, it shows what it showed, and its documents are its own still.
	w.merge("CippMapping", "NinjaOneMapping", w.tenant(leaves).ID, map[string]any{
		"IntegrationId": strconv.Itoa(w.Seed.Organization(w.tenant(leaves).ID)), "IntegrationName": "Riverbend"})
	w.sync(leaves).completed()
	w.sync(stays).completed() // its part gets a heading, and its documents say whose they are
	for _, tenant := range []string{stays, leaves} {
		if !strings.Contains(w.organizationText(stays, "TenantSummary"), w.tenant(tenant).DisplayName) {
			w.t.Errorf("%s is not shown after the other tenant was mapped again", tenant)
		}
	}
	if got := w.holdingOf(leaves).documents; !slices.Equal(got, before.documents) {
		w.t.Errorf("the documents of the tenant that was mapped again are %q, and were %q", got, before.documents)
	}
	w.correct(stays, leaves)
	for _, tenant := range []string{leaves, stays, leaves} {
		w.sync(tenant).completed().wroteNothing()
	}
}

// noteUnmapped makes the timer's note that a tenant is not mapped any more, an
// hour ago.
func (w *world) noteUnmapped(domain string) {
	w.t.Helper()
	id := w.tenant(domain).ID
	w.merge("NinjaOneSyncState", "unmapped", "matches|"+id+".json", map[string]any{
		"Found": time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "Found@odata.type": "Edm.DateTime"})
}

// part is what NinjaOne holds of one of several tenants of an organization.
type part struct {
	devices   map[int]string // the serial number of each device that shows a value and that Intune has once
	documents []string       // names of documents that are not archived
}

func (w *world) holdingOf(domain string) part {
	w.t.Helper()
	p := part{devices: map[int]string{}}
	records := map[string]int{}
	w.tenant(domain).View(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			records[d.String("serialNumber")]++
		}
	})
	organization := w.Seed.Organization(w.tenant(domain).ID)
	for _, d := range w.NinjaOne.Devices(organization) {
		if records[d.SerialNumber] == 1 && w.deviceText(d.ID, "DeviceSummary") != "" {
			p.devices[d.ID] = d.SerialNumber
		}
	}
	for _, d := range w.NinjaOne.Documents(organization) {
		if !d.Archived && d.Fields["cippTenantID"] == w.tenant(domain).ID {
			p.documents = append(p.documents, d.Name)
		}
	}
	slices.Sort(p.documents)
	return p
}
