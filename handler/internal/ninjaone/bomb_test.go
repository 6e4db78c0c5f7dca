package ninjaone

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/reply/replytest"
)

// TestBombs has NinjaOne answer each list with a small compressed answer that
// unpacks to gigabytes, to four readers at once. Each list is an error that says
// so, is asked for once, and the process stays small.
func TestBombs(t *testing.T) {
	bombs := map[string][2]string{
		"one string":     {`[{"id":7,"documentId":7,"name":"`, "x"},
		"nested":         {`[{"id":7,"a":`, `{"a":`},
		"tiny documents": {`[`, `{"documentId":7,"organizationId":3,"documentTemplateId":4},`},
		"one record":     {`[{`, `"documentName":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",`},
	}
	reads := map[string]func(*Client) error{
		"devices": func(c *Client) error { _, _, err := c.Devices(t.Context(), 3); return err },
		"fields":  func(c *Client) error { _, err := c.CustomFields(t.Context()); return err },
		"documents": func(c *Client) error {
			_, err := c.Documents(t.Context(), DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}})
			return err
		},
		"relations": func(c *Client) error {
			_, err := c.RelationsOfType(t.Context(), EntityDevice, func(Relation) bool { return true })
			return err
		},
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			more := strings.Repeat(bomb[1], (1<<20)/len(bomb[1]))
			fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
				_, err := io.WriteString(z, bomb[0])
				for range 4 << 10 {
					if err != nil {
						return
					}
					_, err = io.WriteString(z, more)
				}
			})
			c := serve(t, fake)
			var all sync.WaitGroup
			for what, read := range reads {
				all.Go(func() {
					if err := read(c); !errors.Is(err, reply.ErrTooLarge) || strings.Contains(err.Error(), "is not JSON") {
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			all.Wait()
			if n := len(fake.made()); n != len(reads) {
				t.Errorf("%d calls for %d lists", n, len(reads))
			}
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("the process took %d MiB at most", m.Sys>>20)
	if m.Sys > 600<<20 {
		t.Errorf("the process took %d MiB", m.Sys>>20)
	}
}

// TestTrickle has NinjaOne send one byte a second for ever, or say nothing: each
// attempt is given up soon, and a write whose answer never ended may have been
// done.
func TestTrickle(t *testing.T) {
	trickle := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		replytest.Trickle(w, r, []byte(" "), 1, time.Second, true)
	}
	for name, tt := range map[string]struct {
		call     func(context.Context, *Client) error
		attempts int
		sign     bool // signing in trickles, too
	}{
		"devices": {func(ctx context.Context, c *Client) error { _, _, err := c.Devices(ctx, 3); return err }, maxFailed, false},
		"documents": {func(ctx context.Context, c *Client) error {
			_, err := c.Documents(ctx, DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}})
			return err
		}, maxFailed, false},
		"relations": {func(ctx context.Context, c *Client) error {
			_, err := c.RelationsOfType(ctx, EntityDevice, func(Relation) bool { return true })
			return err
		}, maxFailed, false},
		"a new document": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateDocuments(ctx, []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada"}})
			if !errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("%v does not say that the outcome is not known", err)
			}
			return err
		}, 1, false},
		"signing in": {func(ctx context.Context, c *Client) error { _, _, err := c.Devices(ctx, 3); return err }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				fake := newFake(t, trickle)
				c := inProcess(t, nil, func(cfg *Deps) {
					next := replytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if tt.sign {
							trickle(w, r)
							return
						}
						fake.ServeHTTP(w, r)
					}))
					cfg.Endpoint, cfg.Transport = "http://127.0.0.1", next
				})
				began := time.Now()
				err := tt.call(t.Context(), c)
				took := time.Since(began)
				if !errors.Is(err, ErrTimedOut) || took > 2*time.Minute {
					t.Errorf("after %s: %v", took, err)
				}
				if n := len(fake.made()); n != tt.attempts {
					t.Errorf("%d attempts", n)
				}
			})
		})
	}
}
