package documents

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestForcedInParts lets the time of a forced run end after each batch: the runs
// that follow go on where it ended.
func TestForcedInParts(t *testing.T) {
	w := newWorld(t, 1)
	m := w.tenants[0]
	m.buy("SPE_E3")
	for range 3*ninjaone.MaxBatchDocuments + 20 {
		m.join("User")
	}
	w.sync(m)

	w.ResetCounters()
	force, lists := true, 0
	for part := 1; ; part++ {
		if part > 20 {
			t.Fatalf("it does not end: %v", w.actions())
		}
		ctx, cancel := context.WithCancel(t.Context())
		sent := false
		w.wire.set(func(r *http.Request) error {
			sent = sent || r.Method == http.MethodPatch
			return nil
		})
		w.endedWhen(func() bool {
			if sent { // and now it is noted
				cancel()
			}
			return false
		})
		_, err := w.run(ctx, m, func(in *Input) {
			in.Force, in.ForceNoted = force, func(context.Context) error { force = false; return nil }
		})
		cancel()
		lists = w.Calls()["GET /v2/organization/documents"]
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	w.wire.set(nil)
	w.endedWhen(nil)

	times := map[int]int{}
	for _, c := range w.DocumentWrites() {
		if c.Action != "updated" || len(c.Fields) < 4 {
			t.Errorf("written: %+v", c)
		}
		times[c.ID]++
	}
	for _, d := range w.Documents(organization) {
		if times[d.ID] != 1 {
			t.Errorf("document %d was written %d times, want once", d.ID, times[d.ID])
		}
	}
	if force || lists != 2 {
		t.Errorf("it is still forced: %v; documents were read %d times, want once for each template", force, lists)
	}
	w.verify(m)
	w.ResetCounters()
	if w.sync(m); len(w.DocumentWrites()) > 0 {
		t.Errorf("the next run wrote %v", w.actions())
	}
}

// TestForcedWithoutReading forces a run that cannot read the documents: the next
// run reads them, and writes them again, although nobody forces it.
func TestForcedWithoutReading(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	w.ChangeDocument(w.live(m, userBlueprint)[users[0]].ID, func(d *ninjasim.Document) { d.Name = "Changed by hand" })
	remove := w.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "organization/documents$", Status: 400, Body: `{"resultCode":"FAILURE"}`})
	noted := 0
	_, err := w.run(t.Context(), m, func(in *Input) {
		in.Force, in.ForceNoted = true, func(context.Context) error { noted++; return nil }
	})
	must(t, err)
	if noted != 1 || w.problems()["documents:list:user"] == "" {
		t.Errorf("noted %d times; problems: %v", noted, w.problems())
	}
	remove()
	w.ResetCounters()
	if r := w.sync(m); r.Updated != 5 {
		t.Errorf("the next run: %+v", r)
	}
	w.verify(m)
}

// TestForcedAfterRefusal sends a document again that NinjaOne refused, because
// it may take it by now.
func TestForcedAfterRefusal(t *testing.T) {
	w, m, users := small(t)
	mend := w.refuse(`"cippUserID":"` + users[1])
	_, err := w.run(t.Context(), m)
	must(t, err)
	mend()
	p := w.preview(m, forced)
	if i := slices.IndexFunc(p.Items, func(it PreviewItem) bool { return strings.EqualFold(it.ID, users[1]) }); p.Items[i].Outcome != OutcomeCreated {
		t.Errorf("its preview: %+v", p.Items[i])
	}
	if r := w.sync(m, forced); r.Created != 1 || r.Refused != 0 {
		t.Errorf("forced: %+v", r)
	}
	w.verify(m)
}
