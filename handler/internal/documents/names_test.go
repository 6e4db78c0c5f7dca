package documents

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/sandbox/ninjasim"
)

// whatNamesMay is what NinjaOne leaves open about the names of documents.
var whatNamesMay = map[string]ninjasim.DocumentationBehaviour{
	"unique":                             {},
	"unique, archived ones too":          {ArchivedNames: true},
	"unique, whatever their case":        {LooseNames: true},
	"unique, archived ones too, loosely": {ArchivedNames: true, LooseNames: true, RestoreLive: true},
	"given twice":                        {DuplicateNames: true},
}

// misnamed runs a tenant's sync, in which nothing may go wrong but names.
func (w *world) misnamed(m *model, options ...option) Result {
	w.t.Helper()
	r, err := w.run(w.t.Context(), m, options...)
	must(w.t, err)
	for key, text := range w.problems() {
		if !strings.HasPrefix(key, "documents:name:") {
			w.t.Errorf("%s: %s", key, text)
		}
	}
	return r
}

// TestNamesThatAreTaken has names collide in every way that they can. In each
// everybody has one document in the end, with the right content.
func TestNamesThatAreTaken(t *testing.T) {
	// technicians adds a document that is not ours with the name of a user's.
	technicians := func(w *world, m *model, id string, archived bool) int {
		return w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: w.template(userBlueprint), Archived: archived,
			Name: m.users[id].name + " (" + m.upn(id) + ")", Fields: map[string]string{compose.FieldUserLinks: "<p>mine</p>"}})
	}
	anew := func(m *model, old string) string {
		id := m.join(m.users[old].name, m.users[old].skus...)
		m.users[id].account = "same"
		delete(m.users, old)
		return id
	}
	// Each happens after a first sync of three users; it returns whether the names
	// are right as well.
	for name, happen := range map[string]func(w *world, m *model, users []string) (named bool){
		"deleted and made anew": func(w *world, m *model, users []string) bool {
			anew(m, users[0])
			return true
		},
		"deleted, and made anew the next day": func(w *world, m *model, users []string) bool {
			ada := m.users[users[0]]
			delete(m.users, users[0])
			w.sync(m)
			m.users[m.join("")] = ada
			delete(m.users, users[0])
			for id, p := range m.users { // the same person by another id
				if p.name == "" {
					m.users[id] = ada
				}
			}
			return true
		},
		"deleted and made anew with another case": func(w *world, m *model, users []string) bool {
			m.users[anew(m, users[0])].name = "ADA "
			return false
		},
		"a technician's document": func(w *world, m *model, users []string) bool {
			technicians(w, m, m.join("Dora"), false)
			return false
		},
		"a technician's archived document": func(w *world, m *model, users []string) bool {
			technicians(w, m, m.join("Dora"), true)
			return false
		},
		"renamed to a technician's document": func(w *world, m *model, users []string) bool {
			m.users[users[0]].name, m.users[users[0]].title = "Renamed", "New"
			technicians(w, m, users[0], false)
			return false
		},
		"back, and a technician's document has the name": func(w *world, m *model, users []string) bool {
			ada := m.users[users[0]]
			delete(m.users, users[0])
			w.sync(m)
			m.users[users[0]] = ada
			technicians(w, m, users[0], false)
			return false
		},
		"two swap": func(w *world, m *model, users []string) bool {
			a, b := m.users[users[0]], m.users[users[1]]
			a.name, a.account, b.name, b.account = b.name, b.account, a.name, a.account
			return true
		},
		"three in a circle": func(w *world, m *model, users []string) bool {
			a, b, c := m.users[users[0]], m.users[users[1]], m.users[users[2]]
			a.name, a.account, b.name, b.account, c.name, c.account = b.name, b.account, c.name, c.account, a.name, a.account
			return true
		},
		"each takes the next one's": func(w *world, m *model, users []string) bool {
			a, b, c := m.users[users[0]], m.users[users[1]], m.users[users[2]]
			a.name, a.account, b.name, b.account, c.name, c.account = b.name, b.account, c.name, c.account, "Zoe", "zoe"
			return true
		},
		"another case, and a space": func(w *world, m *model, users []string) bool {
			for _, name := range []string{"ada", "Ada ", "ADA"} {
				m.users[m.join(name)].account = m.users[users[0]].account
			}
			return false
		},
		"only its own case changes": func(w *world, m *model, users []string) bool {
			m.users[users[0]].name = "ADA"
			return true
		},
		"many of one name": func(w *world, m *model, users []string) bool {
			for range 25 {
				m.users[m.join("Shared Mailbox")].account = "info"
			}
			return false
		},
		"the answer to a creation is lost": func(w *world, m *model, users []string) bool {
			technicians(w, m, m.join("Dora"), false)
			m.join("Emil")
			w.loseFirst(1, http.MethodPost, "/organization/documents")
			return false
		},
	} {
		for may, behaviour := range whatNamesMay {
			t.Run(name+"/"+may, func(t *testing.T) {
				t.Parallel()
				w, m, users := small(t)
				w.SetDocumentationBehaviour(behaviour)
				for i, id := range users {
					m.users[id].account = fmt.Sprint("account", i)
				}
				m.users[users[0]].account = "same"
				w.sync(m)
				named := happen(w, m, users)
				before := map[int]ninjasim.Document{}
				for _, d := range w.Documents(organization) {
					if d.Fields[compose.FieldUserID] == "" && d.Fields[compose.FieldLicenseID] == "" {
						before[d.ID] = d
					}
				}
				if named || behaviour.DuplicateNames {
					w.sync(m)
				} else {
					w.misnamed(m)
					w.othernames = true
				}
				for range 2 { // the lost answer leaves the next run in doubt
					w.misnamed(m)
				}
				w.verify(m)
				w.verifyMap(m)
				for day := range 2 { // on the same day nothing is sent, on the next what was refused, and nothing is taken
					w.now = w.now.Add(time.Duration(day) * 24 * time.Hour)
					w.ResetCounters()
					w.misnamed(m)
					if n := w.Calls()["PATCH /v2/organization/documents"] + w.Calls()["POST /v2/organization/documents"]; len(w.DocumentWrites()) > 0 || day == 0 && n > 0 {
						t.Errorf("day %d: %v, %v", day, w.actions(), w.Calls())
					}
				}
				for _, d := range w.Documents(organization) {
					if was, is := before[d.ID]; is && !cmp.Equal(was, d) {
						t.Errorf("the technician's document is %+v, was %+v", d, was)
					}
				}
				// Once the technicians give the names up, everything is as it is to be.
				for id := range before {
					w.RemoveDocument(id)
				}
				w.now = w.now.Add(24 * time.Hour)
				w.misnamed(m)
				if held := behaviour.ArchivedNames && strings.HasPrefix(name, "back"); len(before) > 0 && !held { // by the document that was given up
					w.othernames = false
				}
				w.verify(m)
			})
		}
	}
}

// TestManyMadeAnew replaces more accounts than the brake lets pass: they keep
// their documents, so that it does not matter.
func TestManyMadeAnew(t *testing.T) {
	for may, behaviour := range whatNamesMay {
		if behaviour.DuplicateNames {
			continue // nothing tells that they are the same
		}
		t.Run(may, func(t *testing.T) {
			w := newWorld(t, 1)
			m := w.tenants[0]
			w.SetDocumentationBehaviour(behaviour)
			m.buy("SPE_E3")
			for n := range 15 {
				m.users[m.join(fmt.Sprint("User ", n))].account = fmt.Sprint("user", n)
			}
			w.sync(m)
			for _, id := range slices.Sorted(maps.Keys(m.users)) {
				p := m.users[id]
				delete(m.users, id)
				m.users[m.join("")] = p
				for id, was := range m.users {
					if was.name == "" {
						m.users[id] = p
					}
				}
			}
			if _, err := w.run(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			w.sync(m)
			w.verify(m)
			if documents := w.Documents(organization); len(documents) != 16 {
				t.Errorf("%d documents for 15 users and a licence", len(documents))
			}
		})
	}
}

// TestLicenceOfTwoTenants has two tenants of one organization document one
// licence, and nothing tells their names apart.
func TestLicenceOfTwoTenants(t *testing.T) {
	for may, behaviour := range whatNamesMay {
		t.Run(may, func(t *testing.T) {
			w := newWorld(t, 2)
			w.SetDocumentationBehaviour(behaviour)
			for _, m := range w.tenants {
				m.domain = ""
				m.join("Ada", m.buy("SPE_E3"))
			}
			for range 2 {
				for _, m := range w.tenants {
					w.misnamed(m)
				}
			}
			w.othernames = true
			for _, m := range w.tenants {
				w.verify(m)
				w.ResetCounters()
				w.misnamed(m)
				if len(w.DocumentWrites()) > 0 {
					t.Errorf("an unchanged run wrote %v", w.actions())
				}
			}
		})
	}
}

// TestRefusedIsTriedAgain: what NinjaOne refused once is tried again the next day,
// and not before.
func TestRefusedIsTriedAgain(t *testing.T) {
	w, m, users := small(t)
	mend := w.refuse("Unwelcome")
	sent := func() int {
		calls := w.Calls()
		return calls["PATCH /v2/organization/documents"] + calls["POST /v2/organization/documents"]
	}
	for range 30 { // more than are tried again in a row
		m.users[m.join("Good")].title = "Unwelcome"
	}
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 5 || r.Refused != 30 || !strings.Contains(w.problems()["documents:content:user"], "tried again every day") {
		t.Errorf("%+v, %v", r, w.problems())
	}
	m.users[users[0]].title = "Unwelcome"
	for i, want := range []int{31, 31} {
		w.ResetCounters()
		if r, err = w.run(t.Context(), m); err != nil || r.Refused != want || i > 0 && sent() > 0 {
			t.Errorf("on the same day: %+v, %v, %d", r, err, sent())
		}
	}
	w.now = w.now.Add(24 * time.Hour)
	w.ResetCounters()
	if r, err = w.run(t.Context(), m); err != nil || r.Refused != 31 || sent() < patience || sent() > 2*patience {
		t.Errorf("the next day: %+v, %v, %d", r, err, sent())
	}
	mend()
	w.now = w.now.Add(24 * time.Hour)
	if r := w.sync(m); r.Created != 30 || r.Updated == 0 {
		t.Errorf("when NinjaOne takes them: %+v", r)
	}
	w.verify(m)
}
