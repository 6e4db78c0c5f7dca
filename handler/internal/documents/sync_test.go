package documents

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// small returns a world with one tenant of three users, two licences and three
// devices.
func small(t *testing.T) (*world, *model, []string) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	e3, visio := m.buy("SPE_E3"), m.buy("VISIO")
	users := []string{m.join("Ada", e3, visio), m.join("Ben", e3), m.join("Cleo")}
	w.enrol(m, users[0])
	w.enrol(m, users[0])
	w.enrol(m, users[1])
	return w, m, users
}

func TestConsecutiveRuns(t *testing.T) {
	w, m, users := small(t)
	first := w.sync(m)
	w.verify(m)
	w.verifyMap(m)
	if first.Created != 5 || first.Related != 6 {
		t.Errorf("the first run: %+v", first)
	}
	if got := w.Calls()["GET /v2/related-items/with-entity-type/{entityType}"]; got != 0 {
		t.Errorf("relations were read %d times although no document was there before", got)
	}
	if got := w.Calls()["POST /v2/related-items/entity/{entityType}/{entityId}/relations"]; got != 5 {
		t.Errorf("%d calls related documents, want one for each of three devices and two licences", got)
	}

	w.ResetCounters()
	if again := w.sync(m); again.Unchanged != 5 || len(w.DocumentWrites()) > 0 {
		t.Errorf("the second run wrote: %+v, %v", again, w.actions())
	}
	calls := w.Calls()
	delete(calls, "POST /ws/oauth/token")
	if diff := cmp.Diff(map[string]int{"GET /v2/document-templates": 1}, calls); diff != "" {
		t.Errorf("calls of an unchanged run: %s", diff)
	}

	// A typical day: one joins, one leaves, one moves to another device and job.
	w.ResetCounters()
	m.users[users[1]].title = "Head of stores"
	dora := m.join("Dora", slices.Sorted(maps.Keys(m.skus))[0])
	delete(m.users, users[2])
	for id, d := range m.devices {
		if d.user == users[1] {
			m.devices[id] = gadget{d.ninja, dora}
		}
	}
	day := w.sync(m)
	w.verify(m)
	w.verifyMap(m)
	if day.Created != 1 || day.Archived != 1 || day.Unrelated != 1 || day.Related != 2 {
		t.Errorf("a day: %+v", day)
	}
	if n := w.Calls()["GET /v2/organization/documents"]; n != 0 {
		t.Errorf("the documents were listed %d times", n)
	}

	// Forced, and a week later: read, compared, and in the second case nothing
	// to write.
	w.ResetCounters()
	if r := w.sync(m, forced); r.Updated != 5 || r.Created+r.Archived+r.Related+r.Unrelated != 0 {
		t.Errorf("forced: %+v", r)
	}
	w.verify(m)
	w.now = w.now.Add(relistAfter)
	w.ResetCounters()
	if r := w.sync(m); r.Unchanged != 5 || len(w.DocumentWrites()) > 0 || w.Calls()["GET /v2/organization/documents"] != 2 {
		t.Errorf("a week later: %+v, %v", r, w.Calls())
	}
}

func TestLeaveAndReturn(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	before := w.live(m, userBlueprint)[users[0]].ID
	ada := m.users[users[0]]
	sku, part := ada.skus[1], m.skus[ada.skus[1]]
	delete(m.users, users[0])
	delete(m.skus, sku)
	if r := w.sync(m); r.Archived != 2 {
		t.Errorf("leaving: %+v", r)
	}
	w.verify(m)
	ada.title = "Back again"
	m.users[users[0]] = ada
	m.skus[sku] = part
	if r := w.sync(m); r.Restored != 2 || r.Created != 0 {
		t.Errorf("returning: %+v", r)
	}
	w.verify(m)
	if now := w.live(m, userBlueprint)[users[0]].ID; now != before {
		t.Errorf("the document was %d and is %d", before, now)
	}
	// One that was deleted meanwhile is created anew.
	delete(m.users, users[0])
	w.sync(m)
	w.RemoveDocument(before)
	m.users[users[0]] = ada
	if r := w.sync(m); r.Created != 1 {
		t.Errorf("returning to a deleted document: %+v", r)
	}
	w.verify(m)
}

// TestRelationsOfArchivedDocumentsEnd archives documents without their relations
// having been removed before.
func TestRelationsOfArchivedDocumentsEnd(t *testing.T) {
	t.Run("NinjaOne did not remove them", func(t *testing.T) {
		w, m, users := small(t)
		w.sync(m)
		delete(m.users, users[0])
		remove := w.InjectFault(ninjasim.Fault{Method: http.MethodDelete, Path: "related-items", Status: 400, Body: `{"resultCode":"FAILURE"}`})
		if r, err := w.run(t.Context(), m); err != nil || r.Archived != 1 || w.problems()["documents:relations:write"] == "" {
			t.Errorf("%+v, %v, %v", r, err, w.problems())
		}
		remove()
		p := foretold(w.preview(m))
		if r := w.sync(m); r.Unrelated != 4 || p.Unrelated != 4 {
			t.Errorf("%+v; foretold: %+v", r, p)
		}
		w.verify(m)
	})
	t.Run("a technician archived it, and then the user left", func(t *testing.T) {
		w, m, users := small(t)
		w.sync(m)
		w.ChangeDocument(w.live(m, userBlueprint)[users[0]].ID, func(d *ninjasim.Document) { d.Archived = true })
		delete(m.users, users[0])
		w.now = w.now.Add(relistAfter)
		w.sync(m)
		w.verify(m)
	})
}

func TestOnlyLicensed(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	m.licensedOnly = true
	if r := w.sync(m); r.Archived != 1 {
		t.Errorf("only licensed users: %+v", r)
	}
	w.verify(m)
	m.users[users[2]].skus = slices.Collect(maps.Keys(m.skus))
	if r := w.sync(m); r.Restored != 1 {
		t.Errorf("licensed again: %+v", r)
	}
	w.verify(m)
}

func TestOptions(t *testing.T) {
	w, m, users := small(t)
	off := func(in *Input) { in.Users, in.Licenses = false, false }
	if r := w.sync(m, off); !cmp.Equal(r, Result{}) || len(w.Calls()) > 0 {
		t.Errorf("with everything off: %+v, %v", r, w.Calls())
	}
	if r := w.sync(m, licensesOnly); r.Created != 2 || r.Related != 0 {
		t.Errorf("licences only: %+v", r)
	}
	if r := w.sync(m); r.Created != 3 || r.Related != 6 {
		t.Errorf("users too: %+v", r)
	}
	w.verify(m)
	w.ResetCounters()
	if r := w.sync(m, usersOnly); r.Unchanged != 3 || len(w.DocumentWrites()) > 0 {
		t.Errorf("licences turned off: %+v, %v", r, w.actions())
	}
	// Turned off, documents and relations stay as they are.
	delete(m.users, users[0])
	before := w.Documents(organization)
	w.ResetCounters()
	if r := w.sync(m, off); !cmp.Equal(r, Result{}) || !cmp.Equal(before, w.Documents(organization)) {
		t.Errorf("turned off: %+v", r)
	}
	if r := w.sync(m, licensesOnly); r.Archived != 0 || w.actions()["unrelated"] != 0 {
		t.Errorf("users turned off: %+v", r)
	}
	m.users[users[0]] = &person{name: "Ada"}
	w.sync(m)
	w.verify(m)
}

func TestPartsThatWereNotRead(t *testing.T) {
	w, m, _ := small(t)
	w.sync(m)
	before := w.Relations()
	w.ResetCounters()
	unread := func(in *Input) {
		in.Compose.Snapshot.Users = tenant.Absent[[]tenant.User]("no permission")
		in.Compose.Snapshot.SKUs = tenant.Absent[[]tenant.SKU]("no permission")
	}
	if r := w.sync(m, unread); !cmp.Equal(r, Result{}) || len(w.DocumentWrites()) > 0 {
		t.Errorf("nothing was read: %+v", r)
	}
	w.sync(m, func(in *Input) {
		in.Compose.Snapshot.ManagedDevices = tenant.Absent[[]tenant.ManagedDevice]("no permission")
		in.Compose.Snapshot.SKUs = tenant.Absent[[]tenant.SKU]("no permission")
	})
	if diff := cmp.Diff(before, w.Relations()); diff != "" {
		t.Errorf("relations changed although devices and licences were not read: %s", diff)
	}
	w.sync(m, func(in *Input) { // nobody knows who logged on, so no device has a user
		in.Compose.Snapshot.Unknown = map[tenant.Detail]tenant.Unknown{tenant.DetailLoggedOn: {Reason: "Not available: down"}}
		for i := range in.Compose.Snapshot.ManagedDevices.Value {
			in.Compose.Snapshot.ManagedDevices.Value[i].UserID = ""
		}
	})
	if diff := cmp.Diff(before, w.Relations()); diff != "" {
		t.Errorf("relations changed although who logged on to devices was not read: %s", diff)
	}
	w.sync(m)
	w.verify(m)
}

// TestRelationsEndWithIntune lets a tenant have no Intune any more. That is known, so
// users' documents are not related to devices any more.
func TestRelationsEndWithIntune(t *testing.T) {
	w, m, _ := small(t)
	w.sync(m)
	devices := func() (n int) {
		for _, r := range w.Relations() {
			if r.EntityType == ninjaone.EntityDevice && !r.MadeByTechnician {
				n++
			}
		}
		return n
	}
	all, before := len(w.Relations()), devices()
	if before == 0 {
		t.Fatal("no document is related to a device")
	}
	w.sync(m, func(in *Input) {
		in.Compose.Snapshot.ManagedDevices = tenant.Part[[]tenant.ManagedDevice]{Unknown: tenant.Unknown{Reason: "Intune is not licensed in this tenant", Expected: true}}
	})
	if left, others := devices(), len(w.Relations()); left != 0 || others != all-before {
		t.Errorf("%d relations to devices are left, and %d of %d others", left, others-left, all-before)
	}
	w.sync(m)
	w.verify(m)
}

func TestTwoTenants(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.tenants[0], w.tenants[1]
	for _, m := range w.tenants {
		sku := m.buy("SPE_E3")
		w.enrol(m, m.join("Ada", sku))
		m.join("Ben", sku)
	}
	clash := slices.Sorted(maps.Keys(a.users))[0]
	b.users[clash] = &person{name: "The same id"}
	for _, m := range []*model{a, b, a, b} {
		w.sync(m)
	}
	for _, m := range w.tenants {
		w.verify(m)
		w.verifyMap(m)
	}
	for id := range a.users {
		if id != clash {
			delete(a.users, id)
		}
	}
	w.sync(a)
	w.verify(b)
	if len(w.live(a, userBlueprint)) != 1 || len(w.live(a, licenseBlueprint)) != 1 {
		t.Error("users who left are still documented")
	}
}

// fromCIPP puts into NinjaOne what CIPP's own integration leaves there.
func fromCIPP(w *world, m *model) (users map[string]int, template int) {
	item := func(name, kind string) ninjasim.TemplateItem {
		return ninjasim.TemplateItem{Name: name, Type: kind, APIPermission: "READ_WRITE", TechnicianPermission: "READ_ONLY"}
	}
	template = w.AddTemplate(ninjasim.Template{Name: userBlueprint.name, AllowMultiple: true, AllTechnicians: true, Items: []ninjasim.TemplateItem{
		item(compose.FieldUserLinks, "WYSIWYG"), item(compose.FieldUserSummary, "WYSIWYG"), item(compose.FieldUserDevices, "WYSIWYG"),
		item(compose.FieldUserGroups, "WYSIWYG"), item(compose.FieldUserID, "TEXT"), item(compose.FieldUserUPN, "TEXT"), item("technicians", "TEXT"),
	}})
	licenses := w.AddTemplate(ninjasim.Template{Name: licenseBlueprint.name, AllowMultiple: true, AllTechnicians: true, Items: []ninjasim.TemplateItem{
		item(compose.FieldLicenseSummary, "WYSIWYG"), item(compose.FieldLicenseUsers, "WYSIWYG"), item(compose.FieldLicenseID, "TEXT"),
	}})
	users = map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(m.users)) {
		users[id] = w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: m.users[id].name,
			Fields: map[string]string{compose.FieldUserID: strings.ToUpper(id), compose.FieldUserSummary: "<p>old</p>"}})
	}
	for _, sku := range slices.Sorted(maps.Keys(m.skus)) {
		for range 3 {
			d := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: licenses, Name: m.skus[sku],
				Fields: map[string]string{compose.FieldLicenseID: sku}})
			for _, id := range slices.Sorted(maps.Keys(m.users))[:min(1, len(m.users))] {
				w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: d, RelatedType: "DOCUMENT", RelatedID: users[id]})
			}
		}
	}
	var entries []cipp.DeviceMapEntry
	for _, id := range slices.Sorted(maps.Keys(m.devices)) {
		entries = append(entries, cipp.DeviceMapEntry{EntraDeviceID: id, NinjaOneID: m.devices[id].ninja, ManagedDeviceID: id})
		if document := users[m.devices[id].user]; document != 0 {
			w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: m.devices[id].ninja, RelatedType: "DOCUMENT", RelatedID: document})
		}
	}
	must(w.t, w.syncer.CIPP.SaveDeviceMap(w.t.Context(), m.id, entries, nil))
	return users, template
}

func TestAdoptsWhatCIPPLeft(t *testing.T) {
	w, m, ids := small(t)
	users, template := fromCIPP(w, m)
	// A user who left long ago, whose document CIPP never archives.
	gone := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: "Gone", Fields: map[string]string{compose.FieldUserID: "11111111-aaaa-4000-8000-000000000000"}})
	must(t, w.syncer.CIPP.SaveUserMap(t.Context(), m.id, []cipp.UserMapEntry{{UserID: "11111111-aaaa-4000-8000-000000000000", DocumentID: gone}, {UserID: ids[2], DocumentID: users[ids[2]]}}))
	// One whose own id was cleared: only the map knows.
	w.ChangeDocument(users[ids[2]], func(d *ninjasim.Document) { d.Fields = nil })
	// Documents of nobody that is known, and of another organization.
	stranger := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: "Ada", Fields: map[string]string{compose.FieldUserID: "22222222-aaaa-4000-8000-000000000000"}})
	foreign := w.AddDocument(ninjasim.Document{OrganizationID: organization + 1, TemplateID: template, Name: "Ada", Fields: map[string]string{compose.FieldUserID: ids[0]}})
	untouched := map[int]bool{stranger: true, foreign: true}
	// Relations: one that ended, and technicians' own.
	device := m.devices[slices.Sorted(maps.Keys(m.devices))[0]].ninja
	server := 900 + organization
	w.AddDevice(ninjasim.Device{ID: server, OrganizationID: organization, SystemName: "SERVER-1"})
	w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: users[ids[1]]})
	own := []int{
		w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: server, RelatedType: "DOCUMENT", RelatedID: users[ids[0]], MadeByTechnician: true}),
		w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: stranger, MadeByTechnician: true}),
		w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: users[ids[0]], RelatedType: "DOCUMENT", RelatedID: stranger, MadeByTechnician: true}),
		w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: users[ids[1]], RelatedType: "NODE", RelatedID: device, MadeByTechnician: true}),
		w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: users[ids[1]], Attachment: "contract.pdf", MadeByTechnician: true}),
	}
	before := map[int]ninjasim.Document{}
	for _, d := range slices.Concat(w.Documents(organization), w.Documents(organization+1)) {
		before[d.ID] = d
	}

	r := w.sync(m)
	w.verify(m)
	w.verifyMap(m)
	if r.Created != 0 || r.Duplicates != 4 || r.Archived != 1 || len(r.Notes) != 1 || w.actions()["archived"] != 5 {
		t.Errorf("adopting: %+v, %v", r, w.actions())
	}
	for id, d := range w.live(m, userBlueprint) {
		if d.ID != users[id] {
			t.Errorf("%s got another document", id)
		}
	}
	for id, d := range w.live(m, licenseBlueprint) {
		for _, other := range w.Documents(organization) {
			if other.Fields[compose.FieldLicenseID] == id && other.ID < d.ID {
				t.Errorf("of the documents of %s, %d was kept although %d is older", id, d.ID, other.ID)
			}
		}
	}
	for _, d := range slices.Concat(w.Documents(organization), w.Documents(organization+1)) {
		if untouched[d.ID] && !cmp.Equal(d, before[d.ID]) {
			t.Errorf("document %d, which is not ours, was changed", d.ID)
		}
	}
	for _, id := range own {
		if !slices.ContainsFunc(w.Relations(), func(n ninjasim.Relation) bool { return n.ID == id }) {
			t.Errorf("the technicians' relation %d is gone", id)
		}
	}
	for _, tmpl := range w.Templates() {
		if tmpl.ID == template && (len(tmpl.Items) != 8 || !slices.ContainsFunc(tmpl.Items, func(i ninjasim.TemplateItem) bool { return i.Name == "technicians" })) {
			t.Errorf("the template's fields are %v", tmpl.Items)
		}
	}
	w.ResetCounters()
	if again := w.sync(m); again.Unchanged != 5 || len(w.DocumentWrites()) > 0 {
		t.Errorf("once more: %+v", again)
	}
}

func TestSharedOrganizationAdoptsByTenant(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.tenants[0], w.tenants[1]
	sku := a.buy("SPE_E3")
	b.buy("SPE_E3")
	ada, bob := a.join("Ada", sku), b.join("Bob", sku)
	users, template := fromCIPP(w, a)
	bobs := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: "Bob", Fields: map[string]string{compose.FieldUserID: bob}})
	for _, n := range w.Relations() {
		w.RemoveRelation(n.ID) // of licences' documents that may be either tenant's
	}
	r := w.sync(a)
	if r.Duplicates != 0 || r.Archived != 0 {
		t.Errorf("documents that may be another tenant's were archived: %+v", r)
	}
	w.sync(b)
	// Only one tenant has this licence, which is known once both were synced.
	visio := a.buy("VISIO")
	old := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(licenseBlueprint), Name: "VISIO",
		Fields: map[string]string{compose.FieldLicenseID: visio}})
	w.now = w.now.Add(relistAfter)
	if r := w.sync(a); r.Created != 0 || w.live(a, licenseBlueprint)[visio].ID != old {
		t.Errorf("a licence that only one tenant has: %+v", r)
	}
	if got := w.live(a, userBlueprint)[ada].ID; got != users[ada] {
		t.Errorf("Ada's document is %d, not %d", got, users[ada])
	}
	if got := w.live(b, userBlueprint)[bob].ID; got != bobs {
		t.Errorf("Bob's document is %d, not %d", got, bobs)
	}
	w.verify(a)
	w.verify(b)
}

func TestBrake(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	m.buy("SPE_E3")
	for range 39 {
		m.join("User")
	}
	w.sync(m)
	leave := func(n int) {
		for _, id := range slices.Sorted(maps.Keys(m.users))[:n] {
			delete(m.users, id)
		}
	}
	leave(8) // a fifth
	if r := w.sync(m); r.Archived != 8 {
		t.Errorf("a fifth: %+v", r)
	}
	for range 8 {
		m.join("User")
	}
	w.now = w.now.Add(brakeDay)
	w.sync(m)
	leave(11)
	for range 2 {
		r, err := w.run(t.Context(), m)
		must(t, err)
		if r.Archived != 0 || !strings.Contains(w.problems()["documents:brake"], "11 of 40 documents") {
			t.Errorf("the brake: %+v, %v", r, w.problems())
		}
	}
	brakes, err := w.syncer.Ledger.Brakes(t.Context())
	must(t, err)
	want := map[string]ledger.Brake{m.id: {TenantID: m.id, OrganizationID: organization, Archive: 11, Of: 40, Since: w.now}}
	if diff := cmp.Diff(want, brakes); diff != "" {
		t.Error(diff)
	}
	must(t, w.syncer.Ledger.Confirm(t.Context(), strings.ToUpper(m.id)))
	leave(1) // one more since
	if r := w.sync(m); r.Archived != 12 {
		t.Errorf("confirmed: %+v", r)
	}
	w.verify(m)
	if brakes, err = w.syncer.Ledger.Brakes(t.Context()); err != nil || len(brakes) > 0 {
		t.Errorf("the brake is still on: %v, %v", brakes, err)
	}
	must(t, w.syncer.Ledger.Confirm(t.Context(), m.id))
	leave(20)
	if r, err := w.run(t.Context(), m); err != nil || r.Archived != 0 {
		t.Errorf("an old confirmation was used again: %+v, %v", r, err)
	}
	if brakes, err = w.syncer.Ledger.Brakes(t.Context()); err != nil || brakes[m.id].Confirmed {
		t.Errorf("a confirmation of nothing counts: %v, %v", brakes, err)
	}
}

// TestBrakeOfADay lets users leave a few at a time, as light runs find them. A day's
// runs archive no more without a person's word than one run.
func TestBrakeOfADay(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	m.buy("SPE_E3")
	for range 39 {
		m.join("User")
	}
	w.sync(m)
	runs := func(name string, after time.Duration, archived int) {
		t.Helper()
		w.now = w.now.Add(after)
		for _, id := range slices.Sorted(maps.Keys(m.users))[:4] {
			delete(m.users, id)
		}
		if r, err := w.run(t.Context(), m); err != nil || r.Archived != archived || (w.problems()["documents:brake"] == "") != (archived > 0) {
			t.Errorf("%s: %d archived, %v, %v", name, r.Archived, err, w.problems())
		}
	}
	runs("four of forty", 0, 4)
	runs("four more", time.Hour, 4)
	runs("and four", time.Hour, 0)
	if told := w.problems()["documents:brake"]; !strings.Contains(told, "4 of 40 documents would be archived, after 8 within a day") {
		t.Error(told)
	}
	must(t, w.syncer.Ledger.Confirm(t.Context(), m.id))
	runs("confirmed", time.Hour, 8)
	runs("what was confirmed does not count", time.Hour, 4)
	runs("it adds up again", time.Hour, 4)
	runs("to the brake", time.Hour, 0)
	runs("a day later they still wait", 24*time.Hour, 0)
	must(t, w.syncer.Ledger.Confirm(t.Context(), m.id))
	runs("for that person", time.Hour, 12)
}

// TestManyRelationsEnd ends more relations than are removed at once.
func TestManyRelationsEnd(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	sku := m.buy("SPE_E3")
	for range 40 {
		w.enrol(m, m.join("User", sku))
	}
	w.sync(m)
	clear(m.devices)
	if r := w.sync(m); r.Unrelated != 40 {
		t.Errorf("%+v", r)
	}
	w.verify(m)
}

// TestLicenceOfManyEnds ends a licence that more users have than relations are
// removed in a run: its document is archived, so that nobody sees them.
func TestLicenceOfManyEnds(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	sku, stays := m.buy("SPE_E3"), m.buy("EMS")
	for range maxUnrelated + 20 {
		m.join("User", sku, stays)
	}
	w.sync(m)
	delete(m.skus, sku)
	for _, u := range m.users {
		u.skus = slices.DeleteFunc(u.skus, func(id string) bool { return id == sku })
	}
	for _, want := range []int{maxUnrelated, 20, 0} {
		foretold := foretold(w.preview(m))
		r, err := w.run(t.Context(), m)
		must(t, err)
		if r.Unrelated != want {
			t.Errorf("%d relations were removed, and %d foretold, want %d", r.Unrelated, foretold.Unrelated, want)
		}
	}
	w.verify(m)
}

func TestWithoutDocumentation(t *testing.T) {
	w, m, _ := small(t)
	w.SetDocumentation(false)
	r, err := w.run(t.Context(), m)
	if err != nil || !cmp.Equal(r, Result{}) || !strings.Contains(w.problems()["documents:unavailable"], "Enable Documentation") || len(w.problems()) != 1 {
		t.Errorf("%+v, %v, %v", r, err, w.problems())
	}
	if n := w.Calls()["GET /v2/document-templates"]; n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestTechniciansChanges(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	have := w.live(m, userBlueprint)
	w.RemoveDocument(have[users[0]].ID)
	w.ChangeDocument(have[users[1]].ID, func(d *ninjasim.Document) { d.Archived = true })
	m.users[users[0]].title, m.users[users[1]].title = "New", "New"
	r := w.sync(m)
	w.verify(m)
	if r.Created != 1 || r.Restored != 1 {
		t.Errorf("noticed on writing: %+v", r)
	}
	// Without a change of content they are noticed within a week.
	have = w.live(m, userBlueprint)
	w.RemoveDocument(have[users[0]].ID)
	w.ChangeDocument(have[users[1]].ID, func(d *ninjasim.Document) { d.Archived = true })
	w.RemoveRelation(w.Relations()[0].ID)
	w.now = w.now.Add(relistAfter)
	w.sync(m)
	w.verify(m)
}

func TestBadDocument(t *testing.T) {
	w, m, users := small(t)
	mend := w.refuse(`"cippUserID":"` + users[1])
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 4 || r.Refused != 1 || !strings.Contains(w.problems()["documents:content:user"], "not to its liking") {
		t.Errorf("%+v, %v", r, w.problems())
	}
	if row, err := w.account.Table("NinjaOneUserMap").Get(t.Context(), m.id, users[1]); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("NinjaOneUserMap has a row of a user without document: %v, %v", row, err)
	}
	w.ResetCounters()
	r, err = w.run(t.Context(), m)
	must(t, err)
	if r.Refused != 1 || w.problems()["documents:content:user"] == "" || w.Calls()["POST /v2/organization/documents"] != 0 {
		t.Errorf("it was sent again: %+v, %v", r, w.Calls())
	}
	mend()
	m.users[users[1]].title = "Changed"
	if r := w.sync(m); r.Created != 1 {
		t.Errorf("changed: %+v", r)
	}
	w.verify(m)
}

// TestBadChange has NinjaOne refuse a change of a document, and say of a
// document that is not archived that it restored it.
func TestBadChange(t *testing.T) {
	for name, b := range map[string]ninjasim.DocumentationBehaviour{
		"a live one is not restored": {},
		"a live one is restored":     {RestoreLive: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			w.sync(m)
			w.SetDocumentationBehaviour(b)
			w.refuse("Unwelcome")
			m.users[users[1]].title = "Unwelcome"
			w.ResetCounters()
			r, err := w.run(t.Context(), m)
			must(t, err)
			if r.Refused != 1 || !strings.Contains(w.problems()["documents:content:user"], "not to its liking") || w.Calls()["POST /v2/organization/document/{id}/restore"] != 1 {
				t.Errorf("%+v, %v, %v", r, w.problems(), w.Calls())
			}
			w.ResetCounters()
			r, err = w.run(t.Context(), m)
			must(t, err)
			if calls := w.Calls(); r.Refused != 1 || len(w.problems()) != 1 || calls["POST /v2/organization/document/{id}/restore"]+calls["PATCH /v2/organization/documents"] != 0 {
				t.Errorf("it was sent again: %+v, %v, %v", r, w.problems(), calls)
			}
			m.users[users[1]].title = "Welcome"
			if r := w.sync(m); r.Updated != 1 {
				t.Errorf("changed: %+v", r)
			}
			w.verify(m)
		})
	}
}

// broken fails to compose one document.
type broken struct {
	subjects
	id string
}

func (b broken) Document(id string) (compose.Document, error) {
	if id == b.id {
		return compose.Document{}, errors.New("its template is broken")
	}
	return b.subjects.Document(id)
}

// TestDocumentThatCannotBeComposed lets one user's and one licence's document fail
// while they are composed: all others are written, these stay as they are, and
// both are told.
func TestDocumentThatCannotBeComposed(t *testing.T) {
	for _, made := range []bool{false, true} {
		t.Run(fmt.Sprint("made before: ", made), func(t *testing.T) {
			w, m, users := small(t)
			if made {
				w.sync(m)
				for _, id := range users {
					m.users[id].title = "Head of all"
				}
			}
			r := newRun(w.syncer, w.inputOf(m))
			must(t, r.read(t.Context(), r.setUp))
			for _, sec := range r.sections {
				sec.subjects = broken{sec.subjects, sec.ids[0]}
			}
			before := len(w.Documents(organization))
			must(t, r.apply(t.Context()))
			if made && r.result.Updated < len(users)-1 || !made && r.result.Created != 3 || made && len(w.Documents(organization)) != before {
				t.Errorf("%+v", r.result)
			}
			if len(w.problems()) != 1 || !strings.HasPrefix(w.problems()["documents:compose"], "2 documents could not be composed") {
				t.Errorf("told %v", w.problems())
			}
			w.sync(m)
			w.verify(m)
		})
	}
}
