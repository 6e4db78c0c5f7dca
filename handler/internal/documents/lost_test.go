package documents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/draw"
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
			w.loseFirst(tt.n, tt.method, tt.path)
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

// TestLostCreationThatCannotBeRead loses the answer to a creation, and then the
// documents cannot be read: the next run reads them before it creates any.
func TestLostCreationThatCannotBeRead(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	for _, name := range []string{"Dora", "Emil"} {
		m.join(name)
	}
	m.users[users[0]].title = "New"
	w.ResetCounters()
	w.loseFirst(1, http.MethodPost, "/organization/documents")
	broken := w.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "organization/documents$", Status: 400, Body: `{"resultCode":"FAILURE"}`})
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 0 || r.Updated != 1 || w.problems()["documents:write:user"] == "" {
		t.Errorf("%+v, %v", r, w.problems())
	}
	broken()
	w.sync(m)
	w.verify(m)
	if n := w.actions()["created"]; n != 2 {
		t.Errorf("%d documents were created for two users", n)
	}
}

// late carries out the first request that matches only after the second one, and
// loses its answer.
type late struct {
	http.RoundTripper
	method, path string
	n            int
	first        *http.Request
}

func (l *late) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != l.method || !strings.HasSuffix(r.URL.Path, l.path) {
		return l.RoundTripper.RoundTrip(r)
	}
	l.n++
	if l.n == 1 {
		body, err := io.ReadAll(r.Body)
		l.first = r.Clone(context.WithoutCancel(r.Context()))
		l.first.Body = io.NopCloser(bytes.NewReader(body))
		return nil, errors.Join(errLost, err)
	}
	resp, err := l.RoundTripper.RoundTrip(r)
	if l.n == 2 {
		if resp, err := l.RoundTripper.RoundTrip(l.first); err == nil {
			_ = resp.Body.Close()
		}
	}
	return resp, err
}

// slow gives no answer in time to batches of more documents than it can do, which
// it carries out or not. A gateway says so with its status.
type slow struct {
	http.RoundTripper
	most    int
	written bool
	gateway int // its answer; 0: the client gives up
	calls   int
}

func (s *slow) late() (*http.Response, error) {
	if s.gateway == 0 {
		return nil, ninjaone.ErrTimedOut
	}
	return &http.Response{StatusCode: s.gateway, Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader("<h1>Time-out</h1>"))}, nil
}

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || !strings.HasSuffix(r.URL.Path, "/organization/documents") {
		return s.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.calls++
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	late := bytes.Count(body, []byte(`"fields":`)) > s.most
	if late && !s.written {
		return s.late()
	}
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && late {
		_ = resp.Body.Close()
		return s.late()
	}
	return resp, err
}

// TestSlowBatches has NinjaOne take too long for large batches: what was written is
// looked for, and the rest is sent in parts.
func TestSlowBatches(t *testing.T) {
	for name, how := range map[string]slow{
		"written": {written: true}, "not written": {},
		"written, behind a gateway": {written: true, gateway: http.StatusGatewayTimeout}, "not written, behind a gateway": {gateway: http.StatusGatewayTimeout},
		"not written, behind another": {gateway: 524},
	} {
		for may, behaviour := range map[string]ninjasim.DocumentationBehaviour{"names unique": {}, "names given twice": {DuplicateNames: true}} {
			t.Run(name+"/"+may, func(t *testing.T) {
				w := newWorld(t, 1)
				m := w.tenants[0]
				w.SetDocumentationBehaviour(behaviour)
				m.buy("SPE_E3")
				for range 40 {
					m.join("User")
				}
				wire := &slow{RoundTripper: w.wire.base, most: 10, written: how.written, gateway: how.gateway}
				w.wire.base = wire
				w.sync(m)
				w.verify(m)
				for _, p := range m.users {
					p.title = "New"
				}
				w.sync(m)
				w.verify(m)
				if wire.calls > 30 {
					t.Errorf("%d calls wrote 40 documents twice, ten at a time", wire.calls)
				}
				if n := len(w.Documents(organization)); n != 41 {
					t.Errorf("%d documents for 40 users and a licence", n)
				}
				w.sync(m)
				w.ResetCounters()
				w.sync(m)
				if len(w.DocumentWrites()) > 0 || w.Calls()["GET /v2/organization/documents"] > 0 {
					t.Errorf("an unchanged run: %v, %v", w.actions(), w.Calls())
				}
			})
		}
	}
}

// TestOneDocumentThatFails has NinjaOne fail on one document whatever else is sent
// with it: it holds back no other, neither when they are made nor when they
// change. Where what was written cannot be read, nothing is sent in parts.
func TestOneDocumentThatFails(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	m.buy("SPE_E3")
	for n := range 40 {
		m.users[m.join("User")].title = fmt.Sprintf("Title %02d.", n)
	}
	fails := func(text string) (mend func()) {
		w.ResetCounters()
		return w.InjectFault(ninjasim.Fault{Path: "organization/documents$", Holds: text, Status: http.StatusInternalServerError})
	}
	calls := func() int { return w.Calls()["POST /v2/organization/documents"] }
	mend, read := fails("Title 07."), w.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "organization/documents$", Skip: 2, Status: http.StatusInternalServerError})
	if _, err := w.run(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if n := len(w.live(m, userBlueprint)); n != 0 || calls() < 1 || calls() > 2 {
		t.Errorf("%d documents in %d calls, although what was written could not be read", n, calls())
	}
	read()
	w.ResetCounters()
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 39 || w.problems()["documents:write:user"] == "" || calls() > 30 {
		t.Errorf("%+v, %v, %d calls", r, w.problems(), calls())
	}
	mend()
	w.sync(m)
	w.verify(m)
	for _, p := range m.users {
		p.title = "New " + p.title
	}
	mend = fails("Title 31.")
	r, err = w.run(t.Context(), m)
	must(t, err)
	if r.Updated != 39 || w.problems()["documents:write:user"] == "" {
		t.Errorf("%+v, %v", r, w.problems())
	}
	mend()
	w.sync(m)
	w.verify(m)
}

// TestCreationThatComesLate has NinjaOne create documents although they were not
// there when they were looked for: the next run finds them, not one a week later.
func TestCreationThatComesLate(t *testing.T) {
	w, m, _ := small(t)
	w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{DuplicateNames: true}) // else it would be refused
	w.sync(m)
	m.join("Dora")
	m.join("Emil")
	w.wire.base = &late{RoundTripper: w.wire.base, method: http.MethodPost, path: "/organization/documents"}
	if r := w.sync(m); r.Created != 2 {
		t.Errorf("%+v", r)
	}
	w.now = w.now.Add(24 * time.Hour)
	if r := w.sync(m); r.Duplicates != 2 || r.Created+r.Archived != 0 {
		t.Errorf("a day later: %+v", r)
	}
	w.verify(m)
}

// TestKilledWhileUpdating ends the process when NinjaOne has done what it was
// sent, and then everything is as it was before: what was last noted is not what
// NinjaOne holds.
func TestKilledWhileUpdating(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	was := *m.users[users[0]]
	m.users[users[0]].title, m.users[users[0]].name = "New", "Adele"
	if err := w.dying(m, true, func(r *http.Request) bool { return r.Method == http.MethodPatch }); err == nil {
		t.Error("the run did not end")
	}
	*m.users[users[0]] = was
	w.sync(m)
	w.verify(m)
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
		w.loseFirst(1, http.MethodPost, "/restore")
		w.sync(m)
		w.verify(m)
	}
}

// TestBehaviours runs through what NinjaOne leaves open: each day some of it.
func TestBehaviours(t *testing.T) {
	all := map[string]ninjasim.DocumentationBehaviour{
		"small batches":        {MaxBatch: 3},
		"small bodies":         {MaxBytes: 12_000},
		"archived ones listed": {ListArchived: true},
		"names given twice":    {DuplicateNames: true},
		"archived names held":  {ArchivedNames: true},
		"relations duplicated": {ExistingRelation: ninjasim.RelationDuplicated},
		"relations ignored":    {ExistingRelation: ninjasim.RelationIgnored},
	}
	for _, name := range draw.Of(t, 3, slices.Sorted(maps.Keys(all))) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			m := w.tenants[0]
			sku := m.buy("SPE_E3")
			for range 20 {
				w.enrol(m, m.join("User", sku))
			}
			w.SetDocumentationBehaviour(all[name])
			w.sync(m)
			w.verify(m)
			w.loseFirst(2, http.MethodPost, "/")
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
		if r, err := w.run(t.Context(), m); err != nil || r.Refused != 0 || w.problems()["documents:name:user"] == "" {
			t.Errorf("a name that is taken: %+v, %v, %v", r, err, w.problems())
		}
	}
	// It is one of ours, of a user who leaves now.
	must(t, w.syncer.CIPP.SaveUserMap(t.Context(), m.id, []cipp.UserMapEntry{{UserID: "33333333-aaaa-4000-8000-000000000000", DocumentID: other.ID}}))
	w.now = w.now.Add(relistAfter)
	if r := w.sync(m); r.Archived != 1 || r.Updated != 1 {
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
	mend := w.refuse(`"documentName":"Bad`)
	r, err := w.run(t.Context(), m)
	must(t, err)
	if r.Created != 24 || r.Refused != 7 {
		t.Errorf("%+v, %v", r, w.problems())
	}
	w.ResetCounters()
	if r, err = w.run(t.Context(), m); err != nil || r.Refused != 7 || w.Calls()["POST /v2/organization/documents"] > 0 {
		t.Errorf("sent again: %+v, %v, %v", r, err, w.Calls())
	}
	mend()
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
				t.Fatalf("%+v, %v, %v", r, err, w.problems())
			}
			if tt.problem != "" && w.problems()[tt.problem] == "" {
				t.Errorf("%+v, problems: %v", r, w.problems())
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
