package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
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
	t.Run("lost answers", func(t *testing.T) {
		for i, fault := range []ninjasim.Fault{
			{Method: "POST", Path: "^/v2/organization/documents$", Count: 1, AfterHandling: true, Reset: true},
			{Method: "POST", Path: "^/v2/organization/documents$", Count: 1, Reset: true},
			{Method: "POST", Path: "/relations$", Count: 1, AfterHandling: true, Reset: true},
			{Method: "POST", Path: "/relations$", Count: 1, AfterHandling: true, Malformed: true},
			{Method: "PATCH", Path: "^/v2/organization/documents$", Count: 1, AfterHandling: true, Status: http.StatusBadGateway},
		} {
			mend := w.NinjaOne.InjectFault(fault)
			join(tn, users[3].ID(), fmt.Sprintf("0a1b2c3d-0000-4000-8000-00000000001%d", i), fmt.Sprint("Lost Answer ", i))
			// A new user changes the licence's document, too.
			if n := w.documentWrites(func() { day(t).quiet() }); n["created"] != 1 || n["related"] != 1 || len(n) != 3 {
				t.Errorf("%+v: %v", fault, n)
			}
			mend()
		}
		steady(t)
	})
	t.Run("a name that another document has", func(t *testing.T) {
		const bad = "0a1b2c3d-0000-4000-8000-0000000000bd"
		foreign := w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: data.Organization(tn.ID), TemplateID: first[users[0].ID()].TemplateID,
			Name: "Taken Name (taken.name@" + domain + ")"})
		join(tn, users[0].ID(), "0a1b2c3d-0000-4000-8000-0000000000a1", "Good One")
		join(tn, users[0].ID(), bad, "Taken Name")
		join(tn, users[0].ID(), "0a1b2c3d-0000-4000-8000-0000000000a2", "Good Two")
		if n := w.documentWrites(func() {
			w.sync(domain).completed().line("Warn: NinjaOne refuses the name of the document of a user", bad, "document_exists")
		})["created"]; n != 3 {
			t.Errorf("%d documents were created, want one by another name and those of the two others", n)
		}
		w.wrote(map[string]int{}, func() {
			if o := w.sync(domain).completed(); len(o.lines) != 1 || o.calls["POST /v2/organization/documents"]+o.calls["PATCH /v2/organization/documents"] != 0 {
				t.Errorf("the next run sent it again, or said so again: %v, %q", o.calls, o.lines)
			}
		})
		tn.Change(func(tn *m365sim.Tenant) { tn.Users[len(tn.Users)-2]["displayName"] = "Another Name" })
		day(t)
		if d := w.NinjaOne.Documents(data.Organization(tn.ID)); !slices.ContainsFunc(d, func(d ninjasim.Document) bool { return d.ID == foreign && !d.Archived }) {
			t.Error("the document that is not ours is gone")
		}
	})
	t.Run("the brake", func(t *testing.T) {
		var ids []string
		for _, u := range tn.Users[1:12] {
			ids = append(ids, u.ID())
		}
		gone := leave(tn, ids...)
		w.wrote(map[string]int{"updated": 1}, func() { // the licence's document lists fewer users
			w.sync(domain).completed().line("Warn: 11 of ", "would be archived", "confirm it on the console")
		})
		form := url.Values{"tenant": {tn.ID}, "archive": {"11"}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Host.URL()+"/api/ninjaone/console/confirmations", strings.NewReader(form.Encode()))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Dev-Token", w.DevToken())
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		if n := w.documentWrites(func() { day(t) })["archived"]; n != 11 {
			t.Errorf("%d documents were archived once that was confirmed", n)
		}
		tn.Change(func(tn *m365sim.Tenant) { tn.Users = append(tn.Users, gone...) })
		if n := w.documentWrites(func() { day(t).quiet() })["restored"]; n != 11 {
			t.Errorf("%d documents were restored", n)
		}
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

// TestDocumentsOfCIPP takes over a tenant that CIPP's own integration synced.
func TestDocumentsOfCIPP(t *testing.T) {
	t.Parallel()
	data := documented(1)
	w := start(t, data)
	tn, n := data.Tenants[0], w.NinjaOne
	organization := data.Organization(tn.ID)
	item := func(name, kind string) ninjasim.TemplateItem {
		return ninjasim.TemplateItem{Name: name, Type: kind, APIPermission: "READ_WRITE", TechnicianPermission: "READ_ONLY"}
	}
	n.AddTemplate(ninjasim.Template{Name: "CIPP - Microsoft 365 Users", AllowMultiple: true, Archived: true})
	people := n.AddTemplate(ninjasim.Template{Name: "CIPP - Microsoft 365 Users", AllowMultiple: true, AllTechnicians: true, Items: []ninjasim.TemplateItem{
		item("cippUserLinks", "WYSIWYG"), item("cippUserSummary", "WYSIWYG"), item("cippUserDevices", "WYSIWYG"), item("cippUserGroups", "WYSIWYG"),
		item("cippUserID", "TEXT"), item("cippUserUPN", "TEXT"), item("badgeNumber", "TEXT"),
	}})
	products := n.AddTemplate(ninjasim.Template{Name: "CIPP - Microsoft 365 Licenses", AllowMultiple: true, AllTechnicians: true, Items: []ninjasim.TemplateItem{
		item("cippLicenseSummary", "WYSIWYG"), item("cippLicenseUsers", "WYSIWYG"), item("cippLicenseID", "TEXT"),
	}})
	for _, table := range []string{"NinjaOneUserMap", "NinjaOneDeviceMap"} {
		if _, err := w.Tables.CreateTable(t.Context(), table, nil); err != nil {
			t.Fatal(err)
		}
	}
	was := map[string]int{}
	for _, u := range tn.Users {
		was[u.ID()] = n.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: people, Name: u.String("displayName"),
			Fields: map[string]string{"cippUserID": u.ID(), "cippUserSummary": "<p>of CIPP</p>", "badgeNumber": "17"}})
		w.merge("NinjaOneUserMap", tn.ID, u.ID(), map[string]any{"NinjaOneID": was[u.ID()], "M365ID": u.ID()})
	}
	// CIPP's engine made licence documents anew with each run.
	for _, sku := range tn.SKUs {
		for run := range 3 {
			id := n.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: products, Name: sku.String("skuPartNumber"),
				Fields: map[string]string{"cippLicenseID": sku.String("skuId")}})
			if run == 0 {
				was[sku.String("skuId")] = id
			}
			n.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: id, RelatedType: "DOCUMENT", RelatedID: was[tn.Users[0].ID()]})
		}
	}
	// Its relations never end: one of a device that changed hands.
	device := data.NinjaDevices[0].ID
	w.merge("NinjaOneDeviceMap", tn.ID, tn.ManagedDevices[0].String("azureADDeviceId"), map[string]any{"NinjaOneID": device, "M365ID": tn.ManagedDevices[0].ID()})
	ended := n.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: was[tn.Users[19].ID()]})
	// A technician's own work.
	server := 9000
	n.AddDevice(ninjasim.Device{ID: server, OrganizationID: organization, SystemName: "SERVER"})
	own := n.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: server, RelatedType: "DOCUMENT", RelatedID: was[tn.Users[1].ID()], MadeByTechnician: true})

	writes := w.documentWrites(func() {
		w.sync(tn.DefaultDomain).completed().
			line(fmt.Sprintf("Info: Archived %d surplus documents", 2*len(tn.SKUs)), "CIPP - Microsoft 365 Licenses", "the oldest documents were kept")
	})
	if writes["created"] != 0 || writes["template created"] != 0 || writes["archived"] != 2*len(tn.SKUs) {
		t.Errorf("written: %v", writes)
	}
	w.correct(tn.DefaultDomain)
	w.userMap(tn.DefaultDomain)
	for _, documents := range []map[string]ninjasim.Document{w.UserDocuments(tn.ID), w.LicenseDocuments(tn.ID)} {
		for id, d := range documents {
			if d.ID != was[id] {
				t.Errorf("the document of %s was %d, and is %d", id, was[id], d.ID)
			}
			if d.TemplateID == people && d.Fields["badgeNumber"] != "17" {
				t.Errorf("the technicians' own field of document %d is %q", d.ID, d.Fields["badgeNumber"])
			}
		}
	}
	there := map[int]bool{}
	for _, r := range n.Relations() {
		there[r.ID] = true
	}
	if there[ended] || !there[own] {
		t.Errorf("of the relations from before, the one that ended is there: %v; the technician's: %v", there[ended], there[own])
	}
	w.wrote(map[string]int{}, func() { w.sync(tn.DefaultDomain).completed().quiet() })
}

// TestDocumentsStartTogether lets tenants begin at the same time, of which two
// share an organization.
func TestDocumentsStartTogether(t *testing.T) {
	t.Parallel()
	data := seed.MSP()
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	w := start(t, data)
	tenants := []string{seed.Direct, seed.Duplicates, seed.Restricted, seed.SharedFirst}
	var waits []func()
	for _, domain := range tenants {
		wait := w.put(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, w.tenant(domain).ID))
		waits = append(waits, func() { wait() })
	}
	for _, wait := range waits {
		wait()
	}
	w.sync(seed.SharedSecond).completed()
	tenants = append(tenants, seed.SharedSecond)
	w.correct(tenants...) // which counts the templates
	if n := len(w.NinjaOne.Templates()); n != 2 {
		t.Errorf("there are %d templates", n)
	}
	w.wrote(map[string]int{}, func() {
		for _, domain := range tenants {
			w.sync(domain).completed()
		}
	})
	// What ends in one tenant does not touch the other.
	first := w.tenant(seed.SharedFirst)
	other := w.UserDocuments(w.tenant(seed.SharedSecond).ID)
	leave(first, first.Users[0].ID())
	if writes := w.documentWrites(func() { w.sync(seed.SharedFirst).completed() }); writes["archived"] != 1 {
		t.Errorf("written: %v", writes)
	}
	w.correct(seed.SharedFirst, seed.SharedSecond)
	if diff := cmp.Diff(other, w.UserDocuments(w.tenant(seed.SharedSecond).ID)); diff != "" {
		t.Errorf("the other tenant's documents changed: %s", diff)
	}
}

// TestDocumentsAfterACrash ends the handler when NinjaOne has done what it was
// sent and the answer is still on its way.
func TestDocumentsAfterACrash(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, action string
		skip         int
	}{
		"documents were created":  {"^/v2/organization/documents$", "created", 0},
		"relations were created":  {"/relations$", "related", 3},
		"a template was created":  {"^/v2/document-templates$", "template created", 0},
		"documents were archived": {"/archive$", "archived", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := documented(1)
			w := start(t, data, comesBackSoon)
			tn := data.Tenants[0]
			if tt.action == "archived" {
				w.sync(tn.DefaultDomain).completed()
				leave(tn, tn.Users[17].ID(), tn.Users[18].ID())
			}
			before := len(w.NinjaOne.DocumentWrites())
			w.NinjaOne.InjectFault(ninjasim.Fault{Method: "POST", Path: tt.path, Skip: tt.skip, Hang: true, AfterHandling: true})
			text := fmt.Sprintf(`{"tenantId":%q,"force":false}`, tn.ID)
			w.put(syncQueue, text)
			w.poll("NinjaOne to do it", func() bool {
				n := 0
				for _, c := range w.NinjaOne.DocumentWrites()[before:] {
					if c.Action == tt.action {
						n++
					}
				}
				return n > tt.skip
			})
			w.Host.Crash()
			w.NinjaOne.ClearFaults()
			w.expireLeases()
			w.boot()
			w.await("the run to be repeated", func() bool {
				return slices.ContainsFunc(w.done, func(i funchost.Invocation) bool {
					return i.Message == text && i.Err == nil && i.DequeueCount > 1
				})
			})
			w.correct(tn.DefaultDomain)
			w.userMap(tn.DefaultDomain)
			w.wrote(map[string]int{}, func() { w.sync(tn.DefaultDomain).completed().quiet() })
		})
	}
}
