package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/retry"
)

func TestBatches(t *testing.T) {
	document := func(bytes int) NewDocument {
		return NewDocument{OrganizationID: 3, TemplateID: 4, Name: "Ada Example", Fields: Fields{"summary": HTML(strings.Repeat("x", bytes))}}
	}
	repeat := func(n, bytes int) (list []NewDocument) {
		for range n {
			list = append(list, document(bytes))
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		items []NewDocument
		want  []int
	}{
		{"nothing", nil, nil},
		{"one", repeat(1, 10), []int{1}},
		{"as many as fit", repeat(MaxBatchDocuments, 10), []int{100}},
		{"one more than fit", repeat(MaxBatchDocuments+1, 10), []int{100, 1}},
		{"limited by bytes", repeat(5, MaxBatchBytes/2-200), []int{2, 2, 1}},
		{"one that is too large goes alone", slices.Concat(repeat(1, 10), repeat(1, MaxBatchBytes+1), repeat(2, 10)), []int{1, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			for batch := range Batches(slices.Values(tt.items), func(d NewDocument) any { return d }) {
				got = append(got, len(batch))
				body, err := encodeJSON(batch)
				if err != nil || len(body) > MaxBatchBytes && len(batch) > 1 {
					t.Errorf("%d bytes in a batch of %d, %v", len(body), len(batch), err)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBatchesDrawsOnlyWhatItNeeds(t *testing.T) {
	drawn := 0
	items := func(yield func(DocumentUpdate) bool) {
		for i := range 10 * MaxBatchDocuments {
			drawn++
			if !yield(DocumentUpdate{ID: i + 1}) {
				return
			}
		}
	}
	for range Batches(items, func(u DocumentUpdate) any { return u }) {
		break
	}
	if drawn != MaxBatchDocuments+1 {
		t.Errorf("%d items were drawn for one batch", drawn)
	}
}

func TestSplitRefused(t *testing.T) {
	lost := fmt.Errorf("%w: no answer", ErrOutcomeUnknown)
	for _, tt := range []struct {
		name        string
		items       int
		bad         []int
		lostAt      int // call that loses its answer
		slowAbove   int // how many items take too long; 0: none
		hangs       []int
		fails       []int // make NinjaOne answer 500
		unread      bool
		wantRest    bool // all good ones accepted that neither hang nor fail
		wantRefused []int
		wantAll     bool // all good ones accepted
		wantErr     error
		maxCalls    int
	}{
		{name: "nothing", wantAll: true, maxCalls: 0},
		{name: "all good", items: 100, wantAll: true, maxCalls: 1},
		{name: "first is bad", items: 100, bad: []int{0}, wantRefused: []int{0}, wantAll: true, maxCalls: 14},
		{name: "last is bad", items: 100, bad: []int{99}, wantRefused: []int{99}, wantAll: true, maxCalls: 9},
		{name: "middle is bad", items: 100, bad: []int{50}, wantRefused: []int{50}, wantAll: true, maxCalls: 15},
		{name: "two are bad", items: 64, bad: []int{3, 40}, wantRefused: []int{3, 40}, wantAll: true, maxCalls: 24},
		{name: "single bad one", items: 1, bad: []int{0}, wantRefused: []int{0}, wantAll: true, maxCalls: 1},
		{name: "few, all bad", items: 5, bad: []int{0, 1, 2, 3, 4}, wantRefused: []int{0, 1, 2, 3, 4}, wantAll: true, maxCalls: 9},
		{name: "many, all bad", items: 100, bad: upTo(100), wantRefused: upTo(100), wantAll: true, maxCalls: 199},
		{name: "all but the last bad", items: 100, bad: upTo(99), wantRefused: upTo(99), wantAll: true, maxCalls: 199},
		{name: "too slow for more than ten", items: 100, slowAbove: 10, wantAll: true, maxCalls: 31},
		{name: "too slow, and one is bad", items: 100, slowAbove: 60, bad: []int{70}, wantRefused: []int{70}, wantAll: true, maxCalls: 16},
		{name: "too slow for any", items: 8, slowAbove: -1, wantErr: ErrTimedOut, maxCalls: 7},
		{name: "one takes too long, wherever it is", items: 100, hangs: []int{11}, wantErr: ErrTimedOut, wantRest: true, maxCalls: 15},
		{name: "one makes NinjaOne fail", items: 100, fails: []int{0}, wantErr: ErrOutcomeUnknown, wantRest: true, maxCalls: 15},
		{name: "some make NinjaOne fail, and one is bad", items: 100, fails: []int{3, 60}, bad: []int{30}, wantRefused: []int{30}, wantErr: ErrOutcomeUnknown, wantRest: true, maxCalls: 44},
		{name: "NinjaOne fails whatever it is sent", items: 100, fails: upTo(100), wantErr: ErrOutcomeUnknown, maxCalls: 11},
		{name: "one fails, and what was written cannot be read", items: 8, fails: []int{0}, unread: true, wantErr: ErrUnread, maxCalls: 1},
		{name: "answer of the first call lost", items: 8, lostAt: 1, wantErr: ErrOutcomeUnknown, maxCalls: 1},
		{name: "answer lost while splitting", items: 8, bad: []int{0}, lostAt: 5, wantRefused: []int{0}, wantErr: ErrOutcomeUnknown, maxCalls: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			accepted, refused, err := SplitRefused(t.Context(), upTo(tt.items), func(_ context.Context, part []int) ([]int, error) {
				calls++
				switch {
				case calls == tt.lostAt:
					return nil, lost
				case tt.slowAbove != 0 && len(part) > tt.slowAbove:
					return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrTimedOut)
				}
				for _, i := range part {
					switch {
					case slices.Contains(tt.hangs, i):
						return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrTimedOut)
					case slices.Contains(tt.fails, i) && tt.unread:
						return nil, fmt.Errorf("%w: %w: %w", ErrOutcomeUnknown, &APIError{Status: 500}, ErrUnread)
					case slices.Contains(tt.fails, i):
						return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, &APIError{Status: 500})
					}
					if slices.Contains(tt.bad, i) {
						return nil, fmt.Errorf("%w: because of %d", ErrBatchRefused, i)
					}
				}
				return part, nil
			})
			if !errors.Is(err, tt.wantErr) || calls > tt.maxCalls {
				t.Errorf("got %v after %d calls", err, calls)
			}
			var got []int
			for i, reason := range refused {
				got = append(got, i)
				if !strings.HasSuffix(reason.Error(), fmt.Sprintf("because of %d", i)) {
					t.Errorf("item %d: %v", i, reason)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.wantRefused) {
				t.Errorf("refused %v, want %v", got, tt.wantRefused)
			}
			if rest := len(accepted) == tt.items-len(tt.bad)-len(tt.hangs)-len(tt.fails); tt.wantRest && !rest {
				t.Errorf("accepted %v", accepted)
			}
			if good := len(accepted) == tt.items-len(tt.bad); good != tt.wantAll {
				t.Errorf("accepted %v", accepted)
			}
		})
	}
}

func TestSplitRefusedSendsEveryGoodItemOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for range 300 {
		n := 1 + random.IntN(40)
		bad := map[int]bool{}
		for range random.IntN(5) {
			bad[random.IntN(n)] = true
		}
		written := map[int]int{}
		_, refused, err := SplitRefused(t.Context(), upTo(n), func(_ context.Context, part []int) ([]int, error) {
			for _, i := range part {
				if bad[i] {
					return nil, ErrBatchRefused
				}
			}
			for _, i := range part {
				written[i]++
			}
			return part, nil
		})
		if err != nil || len(refused) != len(bad) || len(written) != n-len(bad) {
			t.Fatalf("n=%d bad=%v: refused %v, written %v, %v", n, bad, refused, written, err)
		}
		for i, times := range written {
			if times != 1 {
				t.Fatalf("item %d was written %d times", i, times)
			}
		}
	}
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// TestOutcomeOfWrites shows what a caller learns about whether a batch was
// written, and that a creation is not repeated unless NinjaOne certainly did
// nothing.
func TestOutcomeOfWrites(t *testing.T) {
	create := func(ctx context.Context, c *Client) error {
		_, err := c.CreateDocuments(ctx, []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada Example"}})
		return err
	}
	update := func(ctx context.Context, c *Client) error {
		_, err := c.UpdateDocuments(ctx, []DocumentUpdate{{ID: 9}})
		return err
	}
	relate := func(ctx context.Context, c *Client) error {
		_, err := c.AddRelations(ctx, Entity{EntityDevice, 7}, []Entity{{EntityDocument, 9}})
		return err
	}
	newTemplate := func(ctx context.Context, c *Client) error {
		_, err := c.CreateTemplate(ctx, Template{Name: "Contoso"})
		return err
	}
	html := func(w http.ResponseWriter, r *http.Request) { page(w, 404, "<p>nothing here</p>") }
	throttled := func(w http.ResponseWriter, r *http.Request) { page(w, 200, "<h1>Rate limit exceeded</h1>") }
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"documentId":9,"documentN`)
	}
	npe := status(500, `{"resultCode":"FAILURE","errorMessage":"NullPointerException"}`)
	for _, tt := range []struct {
		name   string
		write  func(context.Context, *Client) error
		answer http.HandlerFunc
		is     []error
		not    []error
		calls  int32
	}{
		{"creation refused", create, status(400, `{"errorMessage":{"code":"invalid"}}`), []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"creation too large", create, status(413, `{}`), []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"creation names what is gone", create, status(404, `{"resultCode":"NOT_FOUND"}`), []error{ErrBatchRefused, ErrNotFound}, []error{ErrOutcomeUnknown}, 1},
		{"creation not allowed", create, status(403, `{}`), []error{ErrForbidden}, []error{ErrBatchRefused, ErrOutcomeUnknown}, 1},
		{"header lost", create, status(400, `{"error":"missing_header"}`), []error{ErrMalformedAuth}, []error{ErrBatchRefused, ErrOutcomeUnknown}, 1},
		{"creation throttled", create, throttle("1"), []error{ErrThrottled}, []error{ErrBatchRefused, ErrOutcomeUnknown}, maxThrottled},
		{"creation failed", create, status(502, `{}`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"creation timed out in between", create, status(408, `{}`), []error{ErrOutcomeUnknown, ErrTimedOut}, []error{ErrBatchRefused}, 1},
		{"creation unavailable", create, status(503, `{}`), []error{ErrOutcomeUnknown, ErrThrottled}, []error{ErrBatchRefused}, 1},
		{"creation throttled by a page", create, throttled, []error{ErrOutcomeUnknown, ErrThrottled}, []error{ErrBatchRefused}, 1},
		{"creation made NinjaOne stumble", create, npe, []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"answer cut short", create, cut, []error{ErrOutcomeUnknown, ErrNotJSON}, []error{ErrBatchRefused}, 1},
		{"answer without the document", create, status(200, `[]`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"answer without an id", create, status(200, `[{"documentName":"Ada Example"}]`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"answer empty", create, status(204, ``), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"update refused", update, status(422, `{}`), []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"update made NinjaOne stumble", update, npe, []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"creation timed out at a gateway", create, status(504, `<html>Gateway Time-out</html>`), []error{ErrOutcomeUnknown, ErrTimedOut}, []error{ErrBatchRefused}, 1},
		{"creation timed out at Cloudflare", create, status(524, `error code: 524`), []error{ErrOutcomeUnknown, ErrTimedOut}, []error{ErrBatchRefused}, 1},
		{"update failed", update, status(502, `{}`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 3},
		{"web server in between", update, html, []error{ErrNotJSON}, []error{ErrBatchRefused, ErrOutcomeUnknown, ErrNotFound}, 1},
		{"relation refused", relate, status(409, `{}`), []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"relation failed", relate, status(500, `{}`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"template refused", newTemplate, status(400, `{"resultCode":"DUPLICATE"}`), []error{ErrBatchRefused}, []error{ErrOutcomeUnknown}, 1},
		{"template failed", newTemplate, status(504, `{}`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
		{"template answered without id", newTemplate, status(200, `{}`), []error{ErrOutcomeUnknown}, []error{ErrBatchRefused}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				var calls atomic.Int32
				err := tt.write(t.Context(), inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					tt.answer(w, r)
				})))
				for _, want := range tt.is {
					if !errors.Is(err, want) {
						t.Errorf("got %v, which is not %v", err, want)
					}
				}
				for _, wrong := range tt.not {
					if errors.Is(err, wrong) {
						t.Errorf("got %v, which should not be %v", err, wrong)
					}
				}
				if calls.Load() != tt.calls {
					t.Errorf("%d calls, want %d", calls.Load(), tt.calls)
				}
			})
		})
	}
}

// TestSlowBatch: NinjaOne may take minutes for a batch. What takes longer is not
// repeated whole.
func TestSlowBatch(t *testing.T) {
	for name, tt := range map[string]struct {
		write    func(context.Context, *Client) error
		attempts int32
	}{
		"creation": {func(ctx context.Context, c *Client) error {
			_, err := c.CreateDocuments(ctx, []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada"}, {OrganizationID: 3, TemplateID: 4, Name: "Ben"}})
			return err
		}, 1},
		"change": {func(ctx context.Context, c *Client) error {
			_, err := c.UpdateDocuments(ctx, []DocumentUpdate{{ID: 8}, {ID: 9}})
			return err
		}, 1},
		"change of a single one": {func(ctx context.Context, c *Client) error {
			_, err := c.UpdateDocuments(ctx, []DocumentUpdate{{ID: 9}})
			return err
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for _, takes := range []time.Duration{4 * time.Minute, time.Hour} {
				simulate(t, func(t *testing.T) {
					var calls atomic.Int32
					c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) {
						calls.Add(1)
						if retry.Sleep(r.Context(), takes) == nil {
							answer(w, 400, `{}`)
						}
					}))
					start := time.Now()
					err := tt.write(t.Context(), c)
					late := takes > batchTimeout
					if errors.Is(err, ErrTimedOut) != late || errors.Is(err, ErrOutcomeUnknown) != late || errors.Is(err, ErrBatchRefused) == late {
						t.Errorf("%v: %v", takes, err)
					}
					if want := min(takes, 300*time.Second); time.Since(start) < want || !late && calls.Load() != 1 || late && calls.Load() != tt.attempts {
						t.Errorf("%v: %d calls, %v", takes, calls.Load(), time.Since(start))
					}
				})
			}
		})
	}
}

func TestOutcomeOfBrokenConnections(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		unknown bool
	}{
		{"NinjaOne was never reached", &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, false},
		{"cut after sending", &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				var failures atomic.Int32
				failures.Store(100)
				c := inProcess(t, newFake(t, nil), func(cfg *Deps) {
					cfg.Transport = brokenTransport{cfg.Transport, &failures, tt.err}
				})
				_, err := c.CreateDocuments(t.Context(), []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada Example"}})
				if !errors.Is(err, tt.err) || errors.Is(err, ErrOutcomeUnknown) != tt.unknown || errors.Is(err, ErrBatchRefused) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestOutcomeWhenTheCallerGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) { cancel() }))
	_, err := c.CreateDocuments(ctx, []NewDocument{{OrganizationID: 3, TemplateID: 4, Name: "Ada Example"}})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"a 500 with a code", fmt.Errorf("%w: %w", ErrOutcomeUnknown, &APIError{Status: 500, Code: "FAILURE"}), true},
		{"a bare 500", &APIError{Status: 500}, false},
		{"a refusal", &APIError{Status: 400, Code: "FAILURE"}, false},
	} {
		if got := Permanent(tt.err); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}
