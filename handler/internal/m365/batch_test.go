package m365

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestBatchesAtOnce sends several batches at once, and none of them begins while
// another one was told to wait.
func TestBatchesAtOnce(t *testing.T) {
	const chunks = 2 * batchConcurrency
	c := newCloud(t)
	var (
		mu       sync.Mutex
		begun    int // batches sent
		sleeping int
		together = make(chan struct{})
		told     = make(chan struct{}) // the throttled batch waits
		all      = make(chan struct{}) // every batch under way waits
		release  = sync.OnceFunc(func() { close(all) })
	)
	c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
		requests := c.requests(r)
		mu.Lock()
		begun++
		number := begun
		if begun == batchConcurrency {
			close(together)
		}
		if begun > batchConcurrency && sleeping < batchConcurrency {
			c.problem("a batch was sent while another one was told to wait")
			release()
		}
		mu.Unlock()
		select {
		case <-together:
		case <-r.Context().Done():
			return
		}
		if number > 1 {
			select {
			case <-told:
			case <-r.Context().Done():
				return
			}
		}
		var out []map[string]any
		for i, part := range requests {
			if number == 1 && i == 0 {
				out = append(out, map[string]any{"id": part.ID, "status": 429, "headers": map[string]any{"Retry-After": "120"}})
				continue
			}
			out = append(out, map[string]any{"id": part.ID, "status": 200, "body": map[string]any{"value": []any{map[string]any{"id": part.URL}}}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"responses": out})
	})
	g := c.graph(func(deps *Deps) {
		deps.Sleep = func(ctx context.Context, d time.Duration) error {
			mu.Lock()
			if d > 0 && d < time.Minute {
				t.Errorf("waited for %s only", d)
			}
			sleeping++
			switch sleeping {
			case 1:
				close(told)
			case batchConcurrency:
				release()
			}
			mu.Unlock()
			select {
			case <-all:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	answers := g.batch(t.Context(), requestsFor(t, g, chunks*batchSize))
	failed := 0
	for _, a := range answers {
		if a.err != nil {
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d parts failed", failed, len(answers))
	}
}

// TestABatchWaitsAsLongAsAnother: parts that are sent again after a short wait
// of their own keep to the longer one that another batch was told meanwhile.
func TestABatchWaitsAsLongAsAnother(t *testing.T) {
	c := newCloud(t)
	var mu sync.Mutex
	begun := 0
	both, told := make(chan struct{}), make(chan struct{}) // both batches are under way; the first one waits
	c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
		requests := c.requests(r)
		mu.Lock()
		begun++
		number := begun
		if begun == 2 {
			close(both)
		}
		mu.Unlock()
		await := map[int]chan struct{}{1: both, 2: told}[number]
		if await != nil {
			select {
			case <-await:
			case <-r.Context().Done():
				return
			}
		}
		wait := map[int]string{1: "120", 2: "1"}[number]
		var out []map[string]any
		for i, part := range requests {
			if i == 0 && wait != "" {
				out = append(out, map[string]any{"id": part.ID, "status": 429, "headers": map[string]any{"Retry-After": wait}})
				continue
			}
			out = append(out, map[string]any{"id": part.ID, "status": 200, "body": map[string]any{}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"responses": out})
	})
	var slept []time.Duration
	g := c.graph(func(deps *Deps) {
		deps.Sleep = func(_ context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			if slept = append(slept, d); len(slept) == 1 {
				close(told)
			}
			return nil
		}
	})
	for _, a := range g.batch(t.Context(), requestsFor(t, g, 2*batchSize)) {
		if a.err != nil {
			t.Error(a.err)
		}
	}
	if len(slept) != 2 || slept[0] != 2*time.Minute || slept[1] < time.Minute {
		t.Errorf("waited %v, want two minutes and what is left of them", slept)
	}
}

// TestTokenRefusedWithinABatch answers the first batch, whose own token is
// accepted, with a part that is refused, as Graph does when the token expires or
// is revoked meanwhile.
func TestTokenRefusedWithinABatch(t *testing.T) {
	for name, lasts := range map[string]bool{"once": false, "for ever": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			var sizes []int
			c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
				requests := c.requests(r)
				sizes = append(sizes, len(requests))
				var out []map[string]any
				for _, part := range requests {
					if part.ID == "2" && (lasts || len(sizes) == 1) {
						out = append(out, map[string]any{"id": part.ID, "status": 401})
						continue
					}
					out = append(out, map[string]any{"id": part.ID, "status": 200, "body": map[string]any{}})
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"responses": out})
			})
			g := c.graph()
			answers := g.batch(t.Context(), requestsFor(t, g, 3))
			if answers[0].err != nil || (answers[1].err != nil) != lasts || answers[2].err != nil {
				t.Errorf("answers %+v", answers)
			}
			if !slices.Equal(sizes, []int{3, 1}) || c.count(routeToken) != 2 {
				t.Errorf("batches of %v parts and %d tokens, want 3, 1 and 2 tokens", sizes, c.count(routeToken))
			}
		})
	}
}
