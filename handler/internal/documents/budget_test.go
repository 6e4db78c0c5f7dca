package documents

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestRelationsOfArchivedDocumentsWait leaves relations of documents of users who
// left for later runs, when there is no time for them: everything else is done,
// so the run has done its work and says what is left.
func TestRelationsOfArchivedDocumentsWait(t *testing.T) {
	for name, stop := range map[string]func(w *world, n int) context.Context{
		"the time is over": func(w *world, n int) context.Context {
			ctx, cancel := context.WithCancel(w.t.Context())
			w.t.Cleanup(cancel)
			w.InjectFault(ninjasim.Fault{Method: http.MethodDelete, Path: "related-items", Skip: n - 1, Hang: true, OnHit: cancel})
			return ctx
		},
		"NinjaOne wants fewer calls": func(w *world, n int) context.Context {
			w.InjectFault(ninjasim.Fault{Method: http.MethodDelete, Path: "related-items", Skip: n - 1, Count: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}})
			return w.t.Context()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= 4; n++ {
				w, m, users := small(t)
				w.sync(m)
				delete(m.users, users[0]) // who has two devices and two licences
				m.users[users[2]].title = "Head of all"
				r, err := w.run(stop(w, n), m)
				w.ClearFaults()
				if err != nil || r.Archived != 1 || r.Updated == 0 || len(w.problems()) > 0 {
					t.Fatalf("%d: %+v, %v, %v", n, r, err, w.problems())
				}
				left := len(r.Notes) == 1 && strings.Contains(r.Notes[0], "relations of archived documents are still there")
				if !left && r.Unrelated != 4 {
					t.Errorf("%d: %d of 4 relations were removed, and the run says %q", n, r.Unrelated, r.Notes)
				}
				if name != "the time is over" {
					continue // the client keeps the pause that NinjaOne asked for
				}
				w.sync(m)
				w.verify(m)
				w.verifyRelisted(m)
			}
		})
	}
}

// TestNothingUnknownOfWhatWasNotSent throttles a run in the middle of its writes:
// what was not sent is sent by the next run, which has nothing to read before.
func TestNothingUnknownOfWhatWasNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path string
		prepare      func(w *world, m *model, users []string)
	}{
		"relations": {http.MethodPost, "related-items", func(*world, *model, []string) {}},
		"documents": {http.MethodPost, "/organization/documents$", func(*world, *model, []string) {}},
		"changes": {http.MethodPatch, "/organization/documents$", func(w *world, m *model, users []string) {
			w.sync(m)
			for _, id := range users {
				m.users[id].title = "Head of all"
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			tt.prepare(w, m, users)
			w.InjectFault(ninjasim.Fault{Method: tt.method, Path: tt.path, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}})
			if r, err := w.run(t.Context(), m); !errors.Is(err, ninjaone.ErrThrottled) || r.Updated > 0 || r.Related > 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			records, _, err := w.syncer.Ledger.Documents(ledger.Organization{Instance: instance, ID: organization}, m.id).Load(t.Context())
			must(t, err)
			for k, rec := range records {
				for field, noted := range rec.Fields.All() {
					if noted == ledger.Unknown {
						t.Errorf("%v: the field %s is noted as unknown", k, field)
					}
				}
				for _, r := range rec.Relations {
					if r.Owner == ledger.InFlight {
						t.Errorf("%v: the relation to %v is noted as unknown", k, r.Host)
					}
				}
			}
		})
	}
}
