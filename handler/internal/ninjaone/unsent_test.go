package ninjaone

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

// TestOutOfTime lets the pacer refuse a call whose turn comes after the end of
// its context: that is the end of the run's time, and nothing was sent.
func TestOutOfTime(t *testing.T) {
	for name, send := range map[string]func(context.Context, *Client) error{
		"field of a device": func(ctx context.Context, c *Client) error {
			return c.UpdateDeviceFields(ctx, 7, Fields{"a": Text("x")}, false)
		},
		"creation": func(ctx context.Context, c *Client) error {
			_, err := c.CreateDocuments(ctx, []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada Example"}})
			return err
		},
		"change": func(ctx context.Context, c *Client) error {
			_, err := c.UpdateDocuments(ctx, []DocumentUpdate{{ID: 5, Name: "Ada"}})
			return err
		},
		"archive": func(ctx context.Context, c *Client) error { _, err := c.ArchiveDocuments(ctx, []int{5, 6}); return err },
		"relation": func(ctx context.Context, c *Client) error {
			_, err := c.AddRelations(ctx, Entity{EntityDevice, 7}, []Entity{{EntityDocument, 5}})
			return err
		},
		"end of a relation": func(ctx context.Context, c *Client) error { return c.DeleteRelation(ctx, 9) },
		"list":              func(ctx context.Context, c *Client) error { _, _, err := c.Devices(ctx, 3); return err },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) }))
				if _, err := c.tokens.get(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.pacer.setRate(0.001)
				_, _ = c.pacer.wait(t.Context(), operation{}) // the call that had been saved up
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := send(ctx, c)
				if !errors.Is(err, ErrOutOfTime) || !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) ||
					errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrBatchRefused) {
					t.Errorf("got %v", err)
				}
				if ctx.Err() != nil {
					t.Error("the call waited for the end of its time")
				}
			})
		})
	}
}

// TestNotSent tells which failures say that nothing was written.
func TestNotSent(t *testing.T) {
	calls := 0
	for name, tt := range map[string]struct {
		api  func(w http.ResponseWriter, stop func())
		want bool
	}{
		"turned away for long": {func(w http.ResponseWriter, _ func()) { w.Header().Set("Retry-After", "7200"); answer(w, 429, `{}`) }, true},
		"no credentials":       {func(w http.ResponseWriter, _ func()) { answer(w, 401, `{"error":"not_authenticated"}`) }, false},
		"cut on the way":       {func(w http.ResponseWriter, stop func()) { stop() }, false},
		"broken":               {func(w http.ResponseWriter, _ func()) { answer(w, 500, `{}`) }, false},
		"broken, and then turned away": {func(w http.ResponseWriter, _ func()) {
			if calls++; calls == 1 {
				answer(w, 500, `{}`)
				return
			}
			w.Header().Set("Retry-After", "7200")
			answer(w, 429, `{}`)
		}, false},
		"one of two fields taken, and then turned away": {func(w http.ResponseWriter, _ func()) {
			switch calls++; calls {
			case 1:
				answer(w, 400, `{"resultCode":"FAILURE"}`)
			case 2:
				answer(w, 200, `{}`)
			default:
				w.Header().Set("Retry-After", "7200")
				answer(w, 429, `{}`)
			}
		}, false},
		"two fields refused together, and then turned away": {func(w http.ResponseWriter, _ func()) {
			if calls++; calls == 1 {
				answer(w, 400, `{"resultCode":"FAILURE"}`)
				return
			}
			w.Header().Set("Retry-After", "7200")
			answer(w, 429, `{}`)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				calls = 0
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) { tt.api(w, cancel) }))
				err := c.UpdateDeviceFields(ctx, 7, Fields{"a": Text("x"), "b": Text("y")}, false)
				if err == nil || errors.Is(err, ErrNotSent) != tt.want {
					t.Errorf("got %v; not sent: %v, want %v", err, errors.Is(err, ErrNotSent), tt.want)
				}
			})
		})
	}
}
