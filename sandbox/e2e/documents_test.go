package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// documented is generated with documents of users and licences switched on.
func documented(tenants int) *seed.Seed {
	data := generated(tenants)
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	return data
}

// leave takes users out of a tenant, and out of its groups and roles, and
// returns them.
func leave(t *m365sim.Tenant, ids ...string) (gone []m365sim.Entity) {
	t.Change(func(t *m365sim.Tenant) {
		t.Users = slices.DeleteFunc(t.Users, func(u m365sim.Entity) bool {
			if !slices.Contains(ids, u.ID()) {
				return false
			}
			gone = append(gone, u)
			return true
		})
		for id, members := range t.Members {
			t.Members[id] = slices.DeleteFunc(members, func(m m365sim.Member) bool { return slices.Contains(ids, m.ID) })
		}
	})
	return gone
}

// join adds a user like another one.
func join(t *m365sim.Tenant, like, id, name string) {
	t.Change(func(t *m365sim.Tenant) {
		for _, u := range t.Users {
			if u.ID() == like {
				u = maps.Clone(u)
				u["id"], u["displayName"] = id, name
				u["userPrincipalName"] = strings.ToLower(strings.ReplaceAll(name, " ", ".")) + "@" + t.DefaultDomain
				u["mail"], u["proxyAddresses"] = u["userPrincipalName"], []string{}
				t.Users = append(t.Users, u)
				return
			}
		}
	})
}

// documentWrites counts what is written of documents and relations meanwhile.
func (w *world) documentWrites(f func()) map[string]int {
	before := len(w.NinjaOne.DocumentWrites())
	f()
	n := map[string]int{}
	for _, c := range w.NinjaOne.DocumentWrites()[before:] {
		n[c.Action]++
	}
	return n
}

// wrote fails the test unless exactly that was written of documents and
// relations meanwhile.
func (w *world) wrote(want map[string]int, f func()) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.documentWrites(f)); diff != "" {
		w.t.Errorf("written of documents (-want +got):\n%s", diff)
	}
}

// userMap fails the test unless CIPP's table NinjaOneUserMap names each user's
// document as CIPP would.
func (w *world) userMap(domain string) {
	w.t.Helper()
	id := w.tenant(domain).ID
	rows := map[string]map[string]any{}
	for _, r := range w.rows("NinjaOneUserMap", fmt.Sprintf("PartitionKey eq '%s'", id)) {
		rows[r["RowKey"].(string)] = r
	}
	for user, d := range w.UserDocuments(id) {
		r := rows[user]
		if r == nil || fmt.Sprint(r["NinjaOneID"]) != fmt.Sprint(d.ID) || r["M365ID"] != user {
			w.t.Errorf("NinjaOneUserMap has %v for %s, whose document is %d", r, user, d.ID)
		}
	}
}

// TestDocuments lets users of a tenant join, move, leave and return on
// consecutive days, and things go wrong on some.
func TestDocuments(t *testing.T) {
	t.Parallel()
	data := documented(1)
	w := start(t, data)
	tn := data.Tenants[0]
	domain := tn.DefaultDomain
	day := func(t *testing.T) *outcome {
		t.Helper()
		o := w.sync(domain).completed()
		w.correct(domain)
		w.userMap(domain)
		return o
	}
	steady := func(t *testing.T) {
		t.Helper()
		w.wrote(map[string]int{}, func() {
			if o := w.sync(domain).completed().wroteNothing(); o.calls["GET /v2/document-templates"] != 1 ||
				o.calls["GET /v2/organization/documents"]+o.calls["GET /v2/related-items/with-entity-type/{entityType}"] != 0 {
				t.Errorf("calls of an unchanged run: %v", o.calls)
			}
		})
	}
	day(t).quiet()
	steady(t)
	users, devices := tn.Users, tn.ManagedDevices
	first := w.UserDocuments(tn.ID)

	t.Run("joiner, mover and leaver", func(t *testing.T) {
		leaver := users[len(users)-1].ID()
		join(tn, users[3].ID(), "0a1b2c3d-0000-4000-8000-000000000001", "Joan Joiner")
		tn.Change(func(*m365sim.Tenant) {
			users[4]["jobTitle"] = "Somewhere else"
			devices[0]["userId"], devices[0]["usersLoggedOn"] = users[5].ID(), nil
		})
		gone := leave(tn, leaver)
		writes := w.documentWrites(func() { day(t).quiet() })
		if writes["created"] != 1 || writes["archived"] != 1 || writes["restored"] != 0 {
			t.Errorf("written: %v", writes)
		}
		steady(t)
		tn.Change(func(tn *m365sim.Tenant) { tn.Users = append(tn.Users, gone...) })
		if writes := w.documentWrites(func() { day(t).quiet() }); writes["created"] != 0 || writes["restored"] != 1 {
			t.Errorf("written when a user returned: %v", writes)
		}
		if now := w.UserDocuments(tn.ID)[leaver].ID; now != first[leaver].ID {
			t.Errorf("the document of a user who returned is %d, and was %d", now, first[leaver].ID)
		}
		steady(t)
	})
	t.Run("only licensed users", func(t *testing.T) {
		for _, only := range []bool{true, false} {
			w.configure(map[string]any{"LicensedOnly": only})
			w.Seed.Quirks.LicensedOnly = only
			writes := w.documentWrites(func() { day(t).quiet() })
			if writes["archived"]+writes["restored"] != 2 || writes["created"] != 0 {
				t.Errorf("only licensed ones is %v: %v", only, writes)
			}
		}
	})
	t.Run("switched off", func(t *testing.T) {
		w.configure(map[string]any{"UserDocumentsEnabled": false, "LicenseDocumentsEnabled": false})
		gone := leave(tn, users[6].ID())
		w.wrote(map[string]int{}, func() {
			if o := w.sync(domain).completed().quiet(); o.calls["GET /v2/document-templates"] != 0 {
				t.Errorf("calls: %v", o.calls)
			}
		})
		w.configure(map[string]any{"UserDocumentsEnabled": true, "LicenseDocumentsEnabled": true})
		tn.Change(func(tn *m365sim.Tenant) { tn.Users = append(tn.Users, gone...) })
		day(t).quiet()
	})
	t.Run("without NinjaOne Documentation", func(t *testing.T) {
		w.NinjaOne.SetDocumentation(false)
		w.changeDevice(domain, data.NinjaDevices[2].SerialNumber, func(d m365sim.Entity) { d["osVersion"] = "10.0.1.2" })
		if o := w.sync(domain).completed().line("Warn: Documents are turned on in CIPP, but cannot be written", "Enable Documentation"); len(o.devices()) != 1 || len(o.lines) != 2 {
			t.Errorf("devices written: %v; logbook: %q", o.devices(), o.lines)
		}
		w.sync(domain).completed().quiet()
		w.NinjaOne.SetDocumentation(true)
		day(t).line("Info: No longer a problem: Documents are turned on in CIPP")
	})
}
