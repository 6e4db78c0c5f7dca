package documents

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/draw"
)

// preview makes a preview, and checks that nothing at all was written for it.
func (w *world) preview(m *model, options ...option) *Preview {
	w.t.Helper()
	rows := func() string {
		var b strings.Builder
		for _, e := range storagetest.Rows(w.t, w.table, "") {
			fmt.Fprintln(&b, e.PartitionKey(), e.RowKey(), e.ETag())
		}
		mapped, err := w.syncer.CIPP.UserMap(w.t.Context(), m.id)
		must(w.t, err)
		fmt.Fprintln(&b, mapped)
		return b.String() + strings.Join(storagetest.Blobs(w.t, w.syncer.Blobs, ""), "\n")
	}
	before := rows()
	w.wire.set(func(r *http.Request) error {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/oauth/") {
			w.t.Errorf("the preview sent %s %s", r.Method, r.URL.Path)
		}
		return nil
	})
	defer w.wire.set(nil)
	in := w.inputOf(m, options...)
	p, err := w.syncer.Preview(w.t.Context(), in)
	must(w.t, err)
	if diff := cmp.Diff(before, rows()); diff != "" {
		w.t.Errorf("the preview wrote into our own state: %s", diff)
	}
	return p
}

// foretold is what a preview says that a sync would do.
func foretold(p *Preview) Result {
	r := Result{Duplicates: p.Surplus, Unrelated: p.SurplusRelations, Templates: len(p.Notes)}
	for _, it := range p.Items {
		r.Related += it.Relate
		r.Unrelated += it.Unrelate
		switch it.Outcome {
		case OutcomeCreated:
			r.Created++
		case OutcomeUpdated:
			r.Updated++
		case OutcomeUnchanged:
			r.Unchanged++
		case OutcomeRefused:
			r.Refused++
		case OutcomeArchived:
			if !p.Held {
				r.Archived++
			}
		case OutcomeRestored:
			r.Restored++
			if len(it.Changes) > 0 {
				r.Updated++
			} else {
				r.Unchanged++
			}
		}
	}
	return r
}

// TestPreviewForetells lets two tenants of one organization change at random,
// and compares each sync with what its preview said. Each day tries some sequences.
func TestPreviewForetells(t *testing.T) {
	var seen Result
	for _, seed := range draw.Below(t, 3, uint64(6)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			w := newWorld(t, 2)
			for _, m := range w.tenants {
				for _, part := range []string{"SPE_E3", "VISIO", m.domain} {
					m.buy(part)
				}
				for range 12 {
					w.mutate(r, m)
				}
			}
			if seed%2 == 0 {
				fromCIPP(w, w.tenants[0])
			}
			gone := map[*model]map[string]*person{w.tenants[0]: {}, w.tenants[1]: {}}
			for range 12 {
				m := w.tenants[r.IntN(2)]
				for range r.IntN(4) {
					w.mutate(r, m)
				}
				for _, id := range slices.Sorted(maps.Keys(m.users)) { // one leaves, and may be back next time
					gone[m][id] = m.users[id]
					delete(m.users, id)
					break
				}
				if r.IntN(2) == 0 {
					maps.Copy(m.users, gone[m])
					clear(gone[m])
				}
				if documents := w.Documents(organization); len(documents) > 0 && r.IntN(4) == 0 { // a document is there twice
					twice := documents[r.IntN(len(documents))]
					twice.ID = 0
					w.AddDocument(twice)
					w.now = w.now.Add(relistAfter)
				}
				var options []option
				switch r.IntN(6) {
				case 0:
					options = append(options, forced)
				case 1:
					w.now = w.now.Add(relistAfter)
				case 2:
					must(t, w.syncer.Ledger.Confirm(t.Context(), m.id))
				}
				p := w.preview(m, options...)
				got, err := w.run(t.Context(), m, options...)
				must(t, err)
				got.Notes = nil
				if diff := cmp.Diff(got, foretold(p)); diff != "" {
					t.Fatalf("the sync (-) differs from its preview (+): %s", diff)
				}
				if held := w.problems()["documents:brake"] != ""; held != p.Held {
					t.Errorf("the brake is on: %v; the preview said %v", held, p.Held)
				}
				seen.Created, seen.Updated, seen.Unchanged = seen.Created+got.Created, seen.Updated+got.Updated, seen.Unchanged+got.Unchanged
				seen.Archived, seen.Restored, seen.Duplicates = seen.Archived+got.Archived, seen.Restored+got.Restored, seen.Duplicates+got.Duplicates
				seen.Related, seen.Unrelated = seen.Related+got.Related, seen.Unrelated+got.Unrelated
			}
		})
	}
	t.Logf("in all %+v", seen)
	if _, whole := draw.Day(t); whole && seen.Created*seen.Updated*seen.Unchanged*seen.Archived*seen.Restored*seen.Related*seen.Unrelated*seen.Duplicates == 0 {
		t.Errorf("the sequences are too tame: %+v", seen)
	}
}

func TestPreviewShows(t *testing.T) {
	w, m, users := small(t)
	p := w.preview(m)
	if len(p.Notes) != 2 || !strings.Contains(p.Notes[0], "CIPP - Microsoft 365 Users\" would be created") {
		t.Errorf("the templates: %q", p.Notes)
	}
	item := func(p *Preview, kind, id string) PreviewItem {
		t.Helper()
		i := slices.IndexFunc(p.Items, func(it PreviewItem) bool { return it.Kind == kind && it.ID == id })
		if i < 0 {
			t.Fatalf("the preview has no %s %s: %+v", kind, id, p.Items)
		}
		return p.Items[i]
	}
	ada := item(p, "user", users[0])
	if ada.Outcome != OutcomeCreated || !strings.HasPrefix(ada.Name, "Ada") || ada.Document != 0 || ada.Relate != 4 || len(ada.Changes) != 8 {
		t.Errorf("Ada: %+v", ada)
	}
	doc, err := p.Document("user", users[0])
	must(t, err)
	if !strings.Contains(doc.Fields[compose.FieldUserSummary].String(), "Ada") {
		t.Errorf("Ada's document: %v", doc)
	}
	if len(p.Items) != 5 || p.Items[0].Kind != "user" || p.Items[4].Kind != "license" {
		t.Errorf("the order: %+v", p.Items)
	}

	w.sync(m)
	m.users[users[1]].title = "Head of stores"
	delete(m.users, users[2])
	p = w.preview(m)
	if ben := item(p, "user", users[1]); ben.Outcome != OutcomeUpdated || !slices.Equal(ben.Changes, []string{compose.FieldUserSummary}) || ben.Document == 0 {
		t.Errorf("Ben: %+v", ben)
	}
	cleo := item(p, "user", users[2])
	if cleo.Outcome != OutcomeArchived || !strings.HasPrefix(cleo.Name, "Cleo") {
		t.Errorf("Cleo: %+v", cleo)
	}
	if _, err := p.Document("user", users[2]); err == nil {
		t.Error("a document that would be archived can be shown")
	}
	if _, err := p.Document("license", "nothing"); err == nil {
		t.Error("a document that is not in the preview can be shown")
	}

	w.sync(m)
	cleoBack := m.join("Cleo")
	m.users[users[2]] = m.users[cleoBack]
	delete(m.users, cleoBack)
	if it := item(w.preview(m), "user", users[2]); it.Outcome != OutcomeRestored {
		t.Errorf("Cleo is back: %+v", it)
	}

	w.SetDocumentation(false)
	in := w.inputOf(m)
	if p, err := w.syncer.Preview(t.Context(), in); err != nil || len(p.Items) > 0 || !strings.Contains(w.problems()["documents:unavailable"], "Enable Documentation") {
		t.Errorf("without Documentation: %+v, %v, %v", p, err, w.problems())
	}
}

// TestPreviewOfRefusal: what NinjaOne refused is not announced as a change.
func TestPreviewOfRefusal(t *testing.T) {
	w, m, _ := small(t)
	w.sync(m)
	bad := m.join("Unloved")
	w.refuse("Unloved")
	_, err := w.run(t.Context(), m)
	must(t, err)
	p := w.preview(m)
	i := slices.IndexFunc(p.Items, func(it PreviewItem) bool { return it.ID == bad })
	if it := p.Items[i]; it.Outcome != OutcomeRefused || !strings.Contains(it.Reason, "not to its liking") || len(it.Changes) > 0 {
		t.Errorf("the refused document: %+v", it)
	}
}
