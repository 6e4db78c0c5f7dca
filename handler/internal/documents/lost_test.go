package documents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestLostAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path string
		n            int
		change       func(*model, []string)
	}{
		"creation":              {method: http.MethodPost, path: "/organization/documents", n: 1},
		"creation, twice":       {method: http.MethodPost, path: "/organization/documents", n: 2},
		"relations":             {method: http.MethodPost, path: "/relations", n: 3},
		"update":                {method: http.MethodPatch, path: "/organization/documents", n: 1, change: func(m *model, u []string) { m.users[u[0]].title = "New" }},
		"archive":               {method: http.MethodPost, path: "/archive", n: 1, change: func(m *model, u []string) { delete(m.users, u[0]); delete(m.users, u[1]) }},
		"removal of a relation": {method: http.MethodDelete, path: "/related-items", n: 1, change: func(m *model, u []string) { m.users[u[1]].skus = nil }},
		"creation of one more":  {method: http.MethodPost, path: "/organization/documents", n: 1, change: func(m *model, _ []string) { m.join("Dora") }},
		"relations of one more": {method: http.MethodPost, path: "/relations", n: 1, change: func(m *model, u []string) { m.users[u[2]].skus = m.users[u[0]].skus }},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			if tt.change != nil {
				w.sync(m)
				tt.change(m, users)
			}
			w.wire.loseFirst(tt.n, tt.method, tt.path)
			w.sync(m)
			w.verify(m)
			w.verifyMap(m)
			w.ResetCounters()
			w.sync(m)
			if len(w.DocumentWrites()) > 0 {
				t.Errorf("the next run wrote %v", w.actions())
			}
		})
	}
}

func TestLostRestore(t *testing.T) {
	for _, listed := range []bool{false, true} {
		w, m, users := small(t)
		w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{ListArchived: listed})
		w.sync(m)
		ada, ben := m.users[users[0]], m.users[users[1]]
		delete(m.users, users[0])
		delete(m.users, users[1])
		w.sync(m)
		m.users[users[0]], m.users[users[1]] = ada, ben
		ada.title = "New"
		w.wire.loseFirst(1, http.MethodPost, "/restore")
		w.sync(m)
		w.verify(m)
	}
}

// TestBehaviours runs through what NinjaOne leaves open.
func TestBehaviours(t *testing.T) {
	for name, b := range map[string]ninjasim.DocumentationBehaviour{
		"small batches":        {MaxBatch: 3},
		"small bodies":         {MaxBytes: 12_000},
		"archived ones listed": {ListArchived: true},
		"names are unique":     {UniqueNames: true},
		"relations duplicated": {ExistingRelation: ninjasim.RelationDuplicated},
		"relations ignored":    {ExistingRelation: ninjasim.RelationIgnored},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			m := w.tenants[0]
			sku := m.buy("SPE_E3")
			for range 20 {
				w.enrol(m, m.join("User", sku))
			}
			w.SetDocumentationBehaviour(b)
			w.sync(m)
			w.verify(m)
			w.wire.loseFirst(2, http.MethodPost, "/")
			ids := slices.Sorted(maps.Keys(m.users))
			delete(m.users, ids[0])
			delete(m.users, ids[1])
			m.users[ids[2]].title = "New"
			m.join("Joiner", sku)
			w.sync(m, forced)
			w.verify(m)
			w.now = w.now.Add(relistAfter)
			w.sync(m)
			w.verify(m)
		})
	}
}

// TestNameBecomesFree has NinjaOne want names to be unique.
func TestNameBecomesFree(t *testing.T) {
	w, m, users := small(t)
	w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{UniqueNames: true})
	for _, id := range users {
		m.users[id].account = "account-" + m.users[id].name
	}
	w.sync(m)

	// An account is replaced by another of the same name.
	anew := func(old string) string {
		id := m.join(m.users[old].name)
		m.users[id].account = m.users[old].account
		delete(m.users, old)
		return id
	}
	cleo := anew(users[2])
	if r := w.sync(m); r.Created != 1 || r.Archived != 1 {
		t.Errorf("replaced: %+v", r)
	}
	w.verify(m)

	// A user gets the name that another one gives up.
	ada, ben := m.users[users[0]], m.users[users[1]]
	ada.name, ada.account, ben.name, ben.account = ben.name, ben.account, "Zoe", "account-Zoe"
	w.sync(m)
	w.verify(m)

	// A name that is taken by somebody else's document, until it is free.
	dora := m.join("Dora")
	other := ninjasim.Document{OrganizationID: organization, TemplateID: w.template(userBlueprint), Name: "Dora (" + m.upn(dora) + ")"}
	other.ID = w.AddDocument(other)
	for range 2 {
		if r, err := w.run(t.Context(), m); err != nil || r.Refused != 1 || w.problems["documents:content:user"] == "" {
			t.Errorf("a name that is taken: %+v, %v, %v", r, err, w.problems)
		}
	}
	// It is one of ours, of a user who leaves now.
	must(t, w.syncer.CIPP.SaveUserMap(t.Context(), m.id, []cipp.UserMapEntry{{UserID: "33333333-aaaa-4000-8000-000000000000", DocumentID: other.ID}}))
	w.now = w.now.Add(relistAfter)
	if r := w.sync(m); r.Archived != 1 || r.Created != 1 {
		t.Errorf("a name that became free: %+v", r)
	}
	delete(m.users, cleo)
	w.sync(m)
	w.verify(m)
}

// TestManyBadDocuments has more bad documents at the start of a batch than a
// client would look at one by one if all were bad.
func TestManyBadDocuments(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	m.buy("SPE_E3")
	for n := range 30 {
		name := "Good"
		if n < 7 {
			name = "Bad"
		}
		m.join(name)
	}
	w.wire.refuse(`"documentName":"Bad`)
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 24 || r.Refused != 7 {
		t.Errorf("%+v, %v", r, w.problems)
	}
	w.ResetCounters()
	if r, err = w.run(t.Context(), m); err != nil || r.Refused != 7 || w.Calls()["POST /v2/organization/documents"] > 0 {
		t.Errorf("sent again: %+v, %v, %v", r, err, w.Calls())
	}
	w.wire.refuse("")
	w.sync(m, forced)
	w.verify(m)
}

func TestNinjaOneTakesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		fault   ninjasim.Fault
		problem string
		failed  bool
	}{
		"no permission": {ninjasim.Fault{Method: http.MethodPost, Path: "organization/documents$", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`}, "documents:refused:user", false},
		"all refused":   {ninjasim.Fault{Method: http.MethodPost, Path: "organization/documents$", Status: 400, Body: `{"resultCode":"FAILURE"}`}, "documents:refused:user", false},
		"list broken":   {ninjasim.Fault{Method: http.MethodGet, Path: "organization/documents$", Status: 400, Body: `{"resultCode":"FAILURE"}`}, "documents:list:user", false},
		"relations":     {ninjasim.Fault{Method: http.MethodPost, Path: "relations$", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`}, "documents:relations:write", false},
		"templates":     {ninjasim.Fault{Method: http.MethodGet, Path: "document-templates$", Status: 400, Body: `{"resultCode":"FAILURE"}`}, "documents:templates", false},
		"throttled":     {ninjasim.Fault{Method: http.MethodPost, Path: "organization/documents$", Status: 429, Header: http.Header{"Retry-After": {"3600"}}}, "", true},
		"unauthorized":  {ninjasim.Fault{Method: http.MethodPost, Path: "organization/documents$", Status: 401, Body: `{"error":"not_authenticated","error_code":10}`}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			m := w.tenants[0]
			for range 12 {
				w.enrol(m, m.join("User"))
			}
			m.buy("SPE_E3")
			remove := w.InjectFault(tt.fault)
			r, err := w.run(t.Context(), m)
			if (err != nil) != tt.failed {
				t.Fatalf("%+v, %v, %v", r, err, w.problems)
			}
			if tt.problem != "" && w.problems[tt.problem] == "" {
				t.Errorf("%+v, problems: %v", r, w.problems)
			}
			if n := w.Calls()["POST /v2/organization/documents"]; n > 40 {
				t.Errorf("%d calls", n)
			}
			remove()
			if name == "throttled" {
				return // the client keeps to the hour it was told to wait
			}
			w.sync(m, forced)
			w.verify(m)
		})
	}
}

// errEnded stands for the end of the process: nothing is written after it.
var errEnded = errors.New("the process ended")

// TestAnySequence applies random joiners, movers and leavers to two tenants of
// one organization, with answers lost and runs cut short at random, and checks
// that NinjaOne ends as a fresh sync would leave it.
func TestAnySequence(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t, 2)
			w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{
				MaxBatch:         []int{0, 0, 4}[r.IntN(3)],
				ListArchived:     r.IntN(3) == 0,
				UniqueNames:      r.IntN(2) == 0,
				ExistingRelation: []ninjasim.ExistingRelation{ninjasim.RelationRefused, ninjasim.RelationDuplicated, ninjasim.RelationIgnored}[r.IntN(3)],
			})
			for _, m := range w.tenants {
				for _, part := range []string{"SPE_E3", "VISIO", m.domain} {
					m.buy(part)
				}
				for range 14 {
					w.mutate(r, m)
				}
			}
			if r.IntN(2) == 0 {
				fromCIPP(w, w.tenants[0])
				for _, n := range w.Relations() {
					w.RemoveRelation(n.ID)
				}
			}
			own := w.technicians()
			for range 6 {
				m := w.tenants[r.IntN(2)]
				for range 1 + r.IntN(4) {
					w.mutate(r, m)
				}
				w.disturb(r, m)
			}
			w.wire.set(nil)
			for _, m := range w.tenants {
				if _, err := w.run(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range w.tenants {
				w.confirmed(m)
				w.verify(m)
				w.verifyMap(m)
			}
			own()
			w.ResetCounters()
			for _, m := range w.tenants {
				w.sync(m)
			}
			if len(w.DocumentWrites()) > 0 {
				t.Errorf("an unchanged run wrote %v", w.actions())
			}
		})
	}
}

// confirmed runs a tenant's sync until nothing waits any more.
func (w *world) confirmed(m *model) {
	w.t.Helper()
	must(w.t, w.syncer.State.Confirm(w.t.Context(), m.id))
	w.sync(m)
}

// mutate lets something happen in a tenant.
func (w *world) mutate(r *rand.Rand, m *model) {
	users, skus, devices := slices.Sorted(maps.Keys(m.users)), slices.Sorted(maps.Keys(m.skus)), slices.Sorted(maps.Keys(m.devices))
	pick := func(from []string) string {
		if len(from) == 0 {
			return ""
		}
		return from[r.IntN(len(from))]
	}
	some := func() []string {
		return slices.DeleteFunc(slices.Clone(skus), func(string) bool { return r.IntN(2) == 0 })
	}
	user := pick(users)
	switch n := r.IntN(10); {
	case n < 3 || user == "":
		w.enrol(m, m.join(fmt.Sprintf("Person %d", r.IntN(5)), some()...))
	case n == 3:
		delete(m.users, user)
	case n == 4:
		m.users[user].title = fmt.Sprint("Title ", r.IntN(3))
	case n == 5:
		m.users[user].name = fmt.Sprint("Renamed ", r.IntN(3))
	case n == 6:
		m.users[user].skus = some()
	case n == 7:
		if d := pick(devices); d != "" {
			m.devices[d] = gadget{m.devices[d].ninja, user}
		}
	case n == 8:
		delete(m.devices, pick(devices))
	case r.IntN(2) == 0:
		delete(m.skus, pick(skus))
		for _, p := range m.users {
			p.skus = slices.DeleteFunc(slices.Clone(p.skus), func(id string) bool { return m.skus[id] == "" })
		}
	default:
		m.buy([]string{"SPE_E3", "VISIO", "FLOW_FREE", m.domain}[r.IntN(4)])
	}
}

// disturb runs a tenant's sync with something going wrong on the way: an
// answer is lost, the run is cut short, or the process ends.
func (w *world) disturb(r *rand.Rand, m *model) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	at, kind := 2+r.IntN(20), r.IntN(4)
	n := 0
	var dead atomic.Bool
	w.wire.set(func(req *http.Request) error {
		w.wire.mu.Lock()
		defer w.wire.mu.Unlock()
		if strings.Contains(req.URL.Path, "/oauth/") {
			return nil
		}
		if n++; n != at {
			return nil
		}
		switch {
		case kind == 0:
			return nil
		case kind == 1 && req.Method == http.MethodPost:
			return errLost
		case kind == 2:
			dead.Store(true)
		}
		cancel()
		return errLost
	})
	w.syncer.State.ended = func() error {
		if dead.Load() {
			return errEnded
		}
		return nil
	}
	defer func() { dead.Store(false) }()
	if r.IntN(4) == 0 {
		w.now = w.now.Add(relistAfter)
	}
	if _, err := w.run(ctx, m); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errEnded) {
		w.t.Errorf("the run failed: %v", err)
	}
}

// technicians adds documents and relations of technicians, and returns a check
// that they are still there.
func (w *world) technicians() func() {
	other := w.AddTemplate(ninjasim.Template{Name: "Contracts", AllowMultiple: true, Items: []ninjasim.TemplateItem{{Name: "number", Type: "TEXT"}}})
	contract := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: other, Name: "Contract", Fields: map[string]string{"number": "1"}})
	var mine []ninjasim.Relation
	for _, d := range w.Devices(organization) {
		mine = append(mine, ninjasim.Relation{EntityType: "NODE", EntityID: d.ID, RelatedType: "DOCUMENT", RelatedID: contract, MadeByTechnician: true})
	}
	for _, d := range w.Documents(organization) {
		if d.ID != contract {
			mine = append(mine, ninjasim.Relation{EntityType: "DOCUMENT", EntityID: d.ID, RelatedType: "DOCUMENT", RelatedID: contract, MadeByTechnician: true})
		}
	}
	for i := range mine {
		mine[i].ID = w.AddRelation(mine[i])
	}
	before := w.Documents(organization)
	return func() {
		w.t.Helper()
		for _, n := range mine {
			if !slices.Contains(w.Relations(), n) {
				w.t.Errorf("the technicians' relation %v is gone", n)
			}
		}
		for _, d := range before {
			if d.TemplateID == other && !slices.ContainsFunc(w.Documents(organization), func(now ninjasim.Document) bool {
				return now.ID == d.ID && now.Name == d.Name && !now.Archived && maps.Equal(now.Fields, d.Fields)
			}) {
				w.t.Errorf("the technicians' document %d changed", d.ID)
			}
		}
	}
}
