package documents

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// ids returns the ids of a tenant's documents that people see.
func (w *world) ids(m *model) []int {
	var ids []int
	for _, b := range []blueprint{userBlueprint, licenseBlueprint} {
		for _, d := range w.live(m, b) {
			ids = append(ids, d.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestListThatLacksDocuments has NinjaOne's list of documents say that there are
// none, although there are.
func TestListThatLacksDocuments(t *testing.T) {
	w, m, users := small(t)
	for range 20 {
		m.join("User")
	}
	w.sync(m)
	before := w.ids(m)
	m.users[users[0]].title = "New"
	leaver := m.users[users[1]]
	delete(m.users, users[1])
	m.join("Joiner")
	w.now = w.now.Add(relistAfter)
	mend := w.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "organization/documents$", Status: 200, Body: `[]`})
	w.ResetCounters()
	for range 2 {
		if r, err := w.run(t.Context(), m); err != nil || r.Created+r.Archived+r.Restored+r.Duplicates+r.Refused != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		for _, b := range []blueprint{userBlueprint, licenseBlueprint} {
			if w.problems()["documents:contradiction:"+string(b.kind)] == "" {
				t.Errorf("it is not told of the %ss' documents: %v", b.kind, w.problems())
			}
		}
		if diff := cmp.Diff(before, w.ids(m)); diff != "" {
			t.Errorf("the documents: %s", diff)
		}
	}
	if d := w.live(m, userBlueprint)[users[0]]; !strings.Contains(d.Fields[compose.FieldUserSummary], "New") {
		t.Error("a document that is known was not kept up to date")
	}
	if n := w.Calls()["POST /v2/organization/document/{id}/restore"]; n > 4 {
		t.Errorf("%d documents were asked for", n)
	}
	mend()
	if r := w.sync(m); r.Created != 1 || r.Archived != 1 {
		t.Errorf("when the list is right again: %+v", r)
	}
	w.verify(m)
	m.users[users[1]] = leaver
	w.sync(m)
	w.verify(m)
	w.verifyRelisted(m)
}

// TestListThatLacksOne lacks a document in one list; it is there, and stays.
func TestListThatLacksOne(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	before := w.ids(m)
	w.now = w.now.Add(relistAfter)
	w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{Unlisted: w.live(m, userBlueprint)[users[0]].ID})
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created+r.Archived+r.Restored != 0 || w.problems()["documents:unlisted:user"] == "" {
		t.Errorf("%+v, %v", r, w.problems())
	}
	if diff := cmp.Diff(before, w.ids(m)); diff != "" {
		t.Errorf("the documents: %s", diff)
	}
	w.verify(m)
}

// TestEverythingDeleted has technicians delete all documents: that is no
// contradiction, and they are made anew.
func TestEverythingDeleted(t *testing.T) {
	w, m, _ := small(t)
	w.sync(m)
	for _, d := range w.Documents(organization) {
		w.RemoveDocument(d.ID)
	}
	w.now = w.now.Add(relistAfter)
	if r := w.sync(m); r.Created != 5 {
		t.Errorf("%+v", r)
	}
	w.verify(m)
}

// unfiltered carries lists out as a server does that does not understand their
// filters.
type unfiltered struct{ http.RoundTripper }

func (u unfiltered) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return u.RoundTripper.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	if strings.HasSuffix(r.URL.Path, "/organization/documents") {
		r.URL.RawQuery = ""
	}
	at := strings.LastIndex(r.URL.Path, "/with-entity")
	if at < 0 {
		return u.RoundTripper.RoundTrip(r)
	}
	var lists []string
	var resp *http.Response
	for _, of := range []string{"NODE", "DOCUMENT"} {
		r.URL.Path, r.URL.RawQuery = r.URL.Path[:at]+"/with-entity-type/"+of, ""
		var err error
		if resp, err = u.RoundTripper.RoundTrip(r); err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if list := strings.Trim(string(body), "[]\n "); list != "" {
			lists = append(lists, list)
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader("["+strings.Join(lists, ",")+"]")), -1
	resp.Header.Del("Content-Length")
	return resp, nil
}

// TestFiltersThatAreNotApplied: what NinjaOne answers of other organizations,
// templates and hosts is never adopted, written, archived or removed.
func TestFiltersThatAreNotApplied(t *testing.T) {
	w, m, users := small(t)
	w.wire.base = unfiltered{w.wire.base}
	_, template := fromCIPP(w, m)
	contracts := w.AddTemplate(ninjasim.Template{Name: "Contracts", AllowMultiple: true, Items: []ninjasim.TemplateItem{{Name: compose.FieldUserID, Type: "TEXT", APIPermission: "READ_WRITE"}}})
	var foreign []int
	for _, d := range []ninjasim.Document{
		{OrganizationID: organization + 1, TemplateID: template, Fields: map[string]string{compose.FieldUserID: users[0], compose.FieldTenantID: m.id}},
		{OrganizationID: organization + 1, TemplateID: template, Fields: map[string]string{compose.FieldUserID: "33333333-aaaa-4000-8000-000000000000", compose.FieldTenantID: m.id}},
		{OrganizationID: organization, TemplateID: contracts, Fields: map[string]string{compose.FieldUserID: users[0]}},
	} {
		d.ID, d.Name = len(foreign)+1, "Foreign" // lower than any of ours
		foreign = append(foreign, w.AddDocument(d))
	}
	before := append(w.Documents(organization+1), w.Documents(organization)...)
	for i := range 3 {
		r, err := w.run(t.Context(), m)
		must(t, err)
		if r.Archived != 0 || w.problems()["documents:odd:user"] == "" || len(w.problems()) != 2 {
			t.Errorf("%+v, %v", r, w.problems())
		}
		if i > 0 && r.Changes() > 0 {
			t.Errorf("an unchanged run: %+v", r)
		}
		w.now = w.now.Add(relistAfter)
	}
	w.verify(m)
	for _, d := range append(w.Documents(organization+1), w.Documents(organization)...) {
		i := slices.IndexFunc(before, func(b ninjasim.Document) bool { return b.ID == d.ID })
		if slices.Contains(foreign, d.ID) && !cmp.Equal(before[i], d) {
			t.Errorf("a document that is not ours is %+v, was %+v", d, before[i])
		}
	}
}

// TestListsOfMicrosoftThatCannotBe: nothing is archived because Microsoft 365 lists
// no users, or no licences that users have.
func TestListsOfMicrosoftThatCannotBe(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(m *model, users []string)
		problem string
	}{
		"no users":                     {func(m *model, users []string) { clear(m.users) }, ""},
		"no licences, and users have":  {func(m *model, users []string) { clear(m.skus) }, "documents:licences"},
		"one licence less, users have": {func(m *model, users []string) { delete(m.skus, m.users[users[0]].skus[0]) }, "documents:licences"},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			w.sync(m)
			before := w.ids(m)
			relations := w.Relations()
			tt.change(m, users)
			r, err := w.run(t.Context(), m)
			must(t, err)
			if r.Archived != 0 || !cmp.Equal(before, w.ids(m)) || !cmp.Equal(relations, w.Relations()) {
				t.Errorf("%+v", r)
			}
			if (tt.problem != "") != (len(w.problems()) == 1) || tt.problem != "" && w.problems()[tt.problem] == "" {
				t.Errorf("problems: %v", w.problems())
			}
		})
	}
}

// TestRecordsThatWereLeftOut has Microsoft 365 give users or licences without
// their id: who is not among the others may be one of them, and nothing of theirs
// is archived or removed until the list is whole again.
func TestRecordsThatWereLeftOut(t *testing.T) {
	for name, tt := range map[string]struct {
		detail   tenant.Detail
		change   func(m *model, users []string)
		archived int // when it is whole again
	}{
		"users": {tenant.DetailSomeUsers, func(m *model, users []string) { delete(m.users, users[0]) }, 1},
		"licences": {tenant.DetailSomeSKUs, func(m *model, users []string) {
			clear(m.skus)
			m.users[users[0]].skus = nil
			m.users[users[1]].skus = nil
			m.users[users[2]].skus = nil
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			w.sync(m)
			before, relations := w.ids(m), w.Relations()
			tt.change(m, users)
			some := func(in *Input) {
				in.Compose.Snapshot.Unknown = map[tenant.Detail]tenant.Unknown{tt.detail: {Reason: "Not available"}}
			}
			r, err := w.run(t.Context(), m, some)
			must(t, err)
			if r.Archived != 0 || !cmp.Equal(before, w.ids(m)) || name == "users" && !cmp.Equal(relations, w.Relations()) {
				t.Errorf("%+v", r)
			}
			if r := w.sync(m); r.Archived != tt.archived {
				t.Errorf("when the list is whole again: %+v", r)
			}
			w.verify(m)
		})
	}
}

// TestLicencesOfAUserThatAreNotKnown has Microsoft 365 give a user without a readable list
// of licences, where only licensed users have documents: nothing of the user's ends, and
// nothing begins for another such user.
func TestLicencesOfAUserThatAreNotKnown(t *testing.T) {
	for name, known := range map[string]bool{"documents of ours": true, "documents of CIPP's": false} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			if m.licensedOnly = true; known {
				w.sync(m)
			} else {
				fromCIPP(w, m)
			}
			before, relations := w.live(m, userBlueprint), w.Relations()
			p := m.users[users[0]]
			held := p.skus
			p.title, p.skus = "New", nil
			listed := maps.Clone(m.skus)
			if known {
				delete(m.skus, held[1]) // which nobody else holds
			}
			joiner := m.join("Joiner")
			r, err := w.run(t.Context(), m, func(in *Input) {
				for i, u := range in.Compose.Snapshot.Users.Value {
					in.Compose.Snapshot.Users.Value[i].LicensesUnknown = u.ID == users[0] || u.ID == joiner
				}
			})
			must(t, err)
			after := w.live(m, userBlueprint)
			if after[users[0]].ID != before[users[0]].ID || after[joiner].ID != 0 || known && r.Archived+r.Created+r.Unrelated != 0 {
				t.Errorf("%+v", r)
			}
			if known && !cmp.Equal(relations, w.Relations()) {
				t.Errorf("the relations are %v", w.Relations())
			}
			if text := after[users[0]].Fields[compose.FieldUserSummary]; known && (!strings.Contains(text, "New") || !strings.Contains(text, "Not known")) {
				t.Errorf("the document was not kept up to date: %s", text)
			}
			m.skus = listed
			if r := w.sync(m); r.Archived != 1 {
				t.Errorf("once it is known that the user has none: %+v", r)
			}
			w.verify(m)
		})
	}
}

// TestHostThatIsGone relates many users to a licence's document that technicians
// archived or deleted: not every user is tried.
func TestHostThatIsGone(t *testing.T) {
	for name, end := range map[string]func(w *world, id int){
		"archived": func(w *world, id int) { w.ChangeDocument(id, func(d *ninjasim.Document) { d.Archived = true }) },
		"deleted":  func(w *world, id int) { w.RemoveDocument(id) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			m := w.tenants[0]
			sku := m.buy("SPE_E3")
			for range 40 {
				m.join("User")
			}
			w.sync(m)
			for _, p := range m.users {
				p.skus = []string{sku}
			}
			licence := w.live(m, licenseBlueprint)[sku].ID
			mend := w.InjectFault(ninjasim.Fault{Path: "/relations$", OnHit: func() { end(w, licence) }})
			w.ResetCounters()
			if _, err := w.run(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if n := w.Calls()["POST /v2/related-items/entity/{entityType}/{entityId}/relations"]; n > 15 || w.problems()["documents:relations:write"] == "" {
				t.Errorf("%d calls, %v", n, w.problems())
			}
			mend()
			w.sync(m)
			w.verify(m)
		})
	}
}
