package documents

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/sandbox/ninjasim"
)

// leave adds what CIPP's engine leaves of a tenant in the organization: users'
// documents with their map, and so many of each licence, related to its holders.
func (w *world) leave(m *model, times int) (users map[string]int, licenses map[string][]int) {
	w.t.Helper()
	users, licenses = map[string]int{}, map[string][]int{}
	var entries []cipp.UserMapEntry
	for _, id := range slices.Sorted(maps.Keys(m.users)) {
		users[id] = w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(userBlueprint), Name: m.users[id].name,
			Fields: map[string]string{compose.FieldUserID: id}})
		entries = append(entries, cipp.UserMapEntry{UserID: id, DocumentID: users[id]})
	}
	must(w.t, w.syncer.CIPP.SaveUserMap(w.t.Context(), m.id, entries))
	for _, sku := range slices.Sorted(maps.Keys(m.skus)) {
		for range times {
			d := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(licenseBlueprint), Name: m.skus[sku],
				Fields: map[string]string{compose.FieldLicenseID: sku}})
			licenses[sku] = append(licenses[sku], d)
			for _, id := range slices.Sorted(maps.Keys(m.users)) {
				if slices.Contains(m.users[id].skus, sku) {
					w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: d, RelatedType: "DOCUMENT", RelatedID: users[id]})
				}
			}
		}
	}
	return users, licenses
}

// takenOver is a world with the templates, and tenants that CIPP served: so many
// users of each have both of two licences, which all tenants have.
func takenOver(t *testing.T, tenants, users int) *world {
	t.Helper()
	w := newWorld(t, tenants)
	_, _ = fromCIPP(w, &model{})
	for i, m := range w.tenants {
		skus := []string{m.buy("SPE_E3"), m.buy("EMS")}
		for n := range users {
			m.join(fmt.Sprintf("User %d of %d", n, i), skus...)
		}
	}
	return w
}

// shown are the documents of a licence that people see, whosever they are.
func (w *world) shown(sku string) (ids []int) {
	for _, d := range w.Documents(organization) {
		if !d.Archived && strings.Contains(d.Fields[compose.FieldLicenseID], sku) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// TestLicencesOfTwoTenants takes over an organization that two tenants with the same
// licences share. CIPP's documents of them name no tenant; their relations do.
func TestLicencesOfTwoTenants(t *testing.T) {
	w := takenOver(t, 2, 3)
	a, b := w.tenants[0], w.tenants[1]
	old := map[string]map[string][]int{}
	for _, m := range w.tenants {
		_, old[m.id] = w.leave(m, 4)
	}
	mixed := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(licenseBlueprint), Name: "of both",
		Fields: map[string]string{compose.FieldLicenseID: slices.Sorted(maps.Keys(a.skus))[0]}})
	for _, m := range w.tenants {
		maps, err := w.syncer.CIPP.UserMap(t.Context(), m.id)
		must(t, err)
		for _, document := range maps {
			w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: mixed, RelatedType: "DOCUMENT", RelatedID: document, MadeByTechnician: true})
		}
	}
	for _, m := range w.tenants {
		if r := w.sync(m); r.Created != 0 || r.Duplicates != 6 || r.Archived != 0 {
			t.Errorf("%s: %+v", m.domain, r)
		}
		w.verify(m)
		for sku, d := range w.live(m, licenseBlueprint) {
			if d.ID != old[m.id][sku][0] {
				t.Errorf("%s: the document of %s is %d, not the oldest of %v", m.domain, sku, d.ID, old[m.id][sku])
			}
		}
	}
	for _, d := range w.Documents(organization) {
		if d.ID == mixed && d.Archived {
			t.Error("a document that is related to users of both was archived")
		}
	}
	w.RemoveDocument(mixed)
	w.verifyRelisted(a)
	w.verifyRelisted(b)
}

// TestLicenceGoneBefore takes over documents of a licence that the tenant had no
// more then.
func TestLicenceGoneBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		tenants int
		happens func(w *world, gone []int)
		stays   bool
	}{
		"one tenant":                         {tenants: 1},
		"two tenants, related to ours":       {tenants: 2},
		"related to nobody":                  {tenants: 1, happens: func(w *world, gone []int) { w.unrelate(gone) }},
		"two tenants, related to nobody":     {tenants: 2, happens: func(w *world, gone []int) { w.unrelate(gone) }, stays: true},
		"related to nobody, users of others": {tenants: 1, happens: func(w *world, gone []int) { w.unrelate(gone); w.stranger() }, stays: true},
		"relations cannot be read": {tenants: 1, happens: func(w *world, _ []int) {
			w.InjectFault(ninjasim.Fault{Path: "with-entity-type", Count: 1, Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
		}, stays: true},
		"related to others": {tenants: 1, happens: func(w *world, gone []int) { w.unrelate(gone); w.relateTo(gone, w.stranger()) }, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := takenOver(t, tt.tenants, 2)
			m := w.tenants[0]
			visio := m.buy("VISIO")
			for _, p := range m.users {
				p.skus = append(p.skus, visio)
			}
			_, old := w.leave(m, 3)
			delete(m.skus, visio)
			for _, p := range m.users {
				p.skus = p.skus[:2]
			}
			if tt.happens != nil {
				tt.happens(w, old[visio])
			}
			r := w.sync(m)
			want := 0
			if tt.stays {
				want = 3
			}
			if left := w.shown(visio); len(left) != want {
				t.Errorf("%d documents of the licence that is gone are shown, want %d: %+v", len(left), want, r)
			}
			if tt.stays {
				return
			}
			w.now = w.now.Add(relistAfter)
			if r := w.sync(m); r.Archived+r.Duplicates+r.Created+r.Updated != 0 {
				t.Errorf("a week later: %+v", r)
			}
			m.skus[visio] = "VISIO"
			if r := w.sync(m); r.Created != 0 || r.Restored != 1 || len(w.shown(visio)) != 1 {
				t.Errorf("the licence is back: %+v", r)
			}
		})
	}
}

// unrelate removes the relations of documents.
func (w *world) unrelate(documents []int) {
	for _, n := range w.Relations() {
		if slices.Contains(documents, n.EntityID) {
			w.RemoveRelation(n.ID)
		}
	}
}

// stranger adds a document of a user that nobody is known to have.
func (w *world) stranger() int {
	return w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(userBlueprint), Name: "Stranger",
		Fields: map[string]string{compose.FieldUserID: "22222222-aaaa-4000-8000-000000000000"}})
}

func (w *world) relateTo(hosts []int, document int) {
	for _, h := range hosts {
		w.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: h, RelatedType: "DOCUMENT", RelatedID: document})
	}
}

// TestAdoptedOnceItCanBe takes over while Microsoft 365 or NinjaOne does not say all:
// the first run in which it does adopts what this one could not.
func TestAdoptedOnceItCanBe(t *testing.T) {
	for name, tt := range map[string]struct {
		tenants int
		absent  func(w *world, m *model) (back func())
		problem string
	}{
		"no licences are listed": {tenants: 1, absent: func(_ *world, m *model) func() {
			skus := m.skus
			m.skus = map[string]string{}
			return func() { m.skus = skus }
		}, problem: "documents:licences"},
		"no licences are listed, nor are users": {tenants: 1, absent: func(_ *world, m *model) func() {
			skus, users := m.skus, m.users
			m.skus, m.users = map[string]string{}, map[string]*person{}
			return func() { m.skus, m.users = skus, users }
		}},
		"relations cannot be read": {tenants: 2, absent: func(w *world, _ *model) func() {
			return w.InjectFault(ninjasim.Fault{Path: "^/v2/related-items/with-entity-type/DOCUMENT$", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
		}, problem: "documents:list:license"},
		"a user is listed later": {tenants: 1, absent: func(w *world, m *model) func() {
			id := slices.Sorted(maps.Keys(m.users))[0]
			p := m.users[id]
			delete(m.users, id)
			must(w.t, w.account.Table("NinjaOneUserMap").Delete(w.t.Context(), m.id, id))
			return func() { m.users[id] = p }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := takenOver(t, tt.tenants, 2)
			m := w.tenants[0]
			nobodys := m.buy("FLOW_FREE") // which nobody holds
			users, licenses := w.leave(m, 3)
			if tt.tenants > 1 {
				delete(m.skus, nobodys)
				delete(licenses, nobodys)
			}
			back := tt.absent(w, m)
			first, err := w.run(t.Context(), m)
			must(t, err)
			if first.Archived != 0 {
				t.Errorf("%+v", first)
			}
			if tt.problem != "" && w.problems()[tt.problem] == "" {
				t.Errorf("problems: %v", w.problems())
			}
			back()
			if r := w.sync(m); r.Created != 0 {
				t.Errorf("once all is read: %+v", r)
			}
			w.verify(m)
			for sku, d := range w.live(m, licenseBlueprint) {
				if d.ID != licenses[sku][0] {
					t.Errorf("the document of %s is %d, not the oldest of %v", sku, d.ID, licenses[sku])
				}
				if shown := w.shown(sku); len(shown) != 1 {
					t.Errorf("%d documents of %s are shown", len(shown), sku)
				}
			}
			for id, d := range w.live(m, userBlueprint) {
				if d.ID != users[id] {
					t.Errorf("the document of %s is %d, not %d", id, d.ID, users[id])
				}
			}
			w.verifyRelisted(m)
		})
	}
}

// TestManySurplusDocuments takes over what many of CIPP's runs left: the surplus
// documents go at once, and their relations by and by, after all else.
func TestManySurplusDocuments(t *testing.T) {
	deletion := ninjasim.Fault{Method: http.MethodDelete, Path: "related-items", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`}
	for name, tt := range map[string]struct {
		fault   *ninjasim.Fault
		removed []int // by the runs
		left    []int // as the runs tell

	}{
		"all goes well":            {removed: []int{100, 100, 60, 0}, left: []int{160, 60, 0, 0}},
		"relations cannot be read": {fault: &ninjasim.Fault{Path: "with-entity-type", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`}, removed: []int{0, 100, 100, 60}, left: []int{0, 160, 60, 0}},
		"no relation is removed":   {fault: &deletion, removed: []int{0, 100, 100, 60}, left: []int{260, 160, 60, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			w := takenOver(t, 1, 13)
			m := w.tenants[0]
			w.leave(m, 11)
			heal := func() {}
			if tt.fault != nil {
				heal = w.InjectFault(*tt.fault)
			}
			var mu sync.Mutex
			var calls []string
			w.wire.set(func(r *http.Request) error {
				mu.Lock()
				defer mu.Unlock()
				if r.Method != http.MethodGet {
					calls = append(calls, r.Method+" "+r.URL.Path)
				}
				return nil
			})
			for n := range tt.removed {
				r, err := w.run(t.Context(), m)
				must(t, err)
				told := 0
				for _, note := range r.Notes {
					if _, err := fmt.Sscanf(note, "%d relations of archived documents are still there.", &told); err == nil {
						break
					}
				}
				if r.Unrelated != tt.removed[n] || told != tt.left[n] {
					t.Errorf("run %d removed %d relations and told of %d, want %d and %d: %v", n, r.Unrelated, told, tt.removed[n], tt.left[n], w.problems())
				}
				if n == 0 {
					if r.Duplicates != 20 || r.Created != 0 {
						t.Errorf("%+v", r)
					}
					first := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "DELETE") })
					last := len(calls) - 1
					for last >= 0 && strings.HasPrefix(calls[last], "DELETE") {
						last--
					}
					if first >= 0 && first <= last || !slices.ContainsFunc(calls, func(c string) bool { return strings.HasSuffix(c, "/archive") }) {
						t.Errorf("relations of archived documents were removed before other work was done: %q", calls)
					}
					heal()
				}
				w.now = w.now.Add(24 * time.Hour)
			}
			w.wire.set(nil)
			w.verify(m)
			if _, err := w.syncer.Blobs.Get(t.Context(), (&run{Syncer: w.syncer, in: w.inputOf(m), tenantID: m.id}).surplusBlob()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNamesOfAdoptedLicences takes over while no source names the products: the
// documents keep their names, then and in later runs, until a source has another.
func TestNamesOfAdoptedLicences(t *testing.T) {
	w := takenOver(t, 1, 1)
	m := w.tenants[0]
	_, licenses := w.leave(m, 1)
	friendly := map[string]string{}
	for sku, ids := range licenses {
		friendly[sku] = "Friendly " + m.skus[sku]
		w.ChangeDocument(ids[0], func(d *ninjasim.Document) { d.Name = friendly[sku] })
	}
	names := map[string]string(nil)
	named := func(in *Input) { in.Compose.SKUNames = names }
	check := func(step string, want func(sku string) string) {
		t.Helper()
		w.sync(m, named)
		for sku, d := range w.live(m, licenseBlueprint) {
			if d.Name != want(sku) || !strings.Contains(d.Fields[compose.FieldLicenseSummary], want(sku)) {
				t.Errorf("%s: the document of %s is called %q, want %q", step, m.skus[sku], d.Name, want(sku))
			}
		}
		for _, d := range w.live(m, userBlueprint) {
			for sku := range licenses {
				if !strings.Contains(d.Fields[compose.FieldUserSummary], want(sku)) {
					t.Errorf("%s: the user's document does not say %q", step, want(sku))
				}
			}
		}
	}
	adopted := func(sku string) string { return friendly[sku] }
	check("adopted", adopted)
	check("a later run", adopted)
	names = map[string]string{}
	for sku := range licenses {
		names[sku] = "By Microsoft " + m.skus[sku]
	}
	known := func(sku string) string { return "By Microsoft " + m.skus[sku] }
	check("the names are known", known)
	names = nil
	check("and are out of reach again", known)
}
