package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cipp-ninjaone/handler/internal/retry"
)

// simulate runs a test in which time passes by itself whenever everyone waits.
func simulate(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// pass lets simulated time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := retry.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// script answers the first calls with its steps and all later ones with an
// empty list.
type script struct {
	steps []http.HandlerFunc
	n     atomic.Int32
	at    []time.Time // when each call came
	mu    sync.Mutex
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	n := int(s.n.Add(1))
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	s.mu.Unlock()
	if n <= len(s.steps) {
		s.steps[n-1](w, r)
		return
	}
	answer(w, 200, `[]`)
}

func throttle(header string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		answer(w, 429, `{"message":"slow down"}`)
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { answer(w, code, body) }
}

func times(n int, h http.HandlerFunc) (steps []http.HandlerFunc) {
	for range n {
		steps = append(steps, h)
	}
	return steps
}

func TestRetry(t *testing.T) {
	rateLimitPage := func(w http.ResponseWriter, r *http.Request) { page(w, 200, "<html>Rate limit exceeded</html>") }
	dated := func(w http.ResponseWriter, r *http.Request) {
		server := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC) // a clock of its own
		w.Header().Set("Date", server.Format(http.TimeFormat))
		w.Header().Set("Retry-After", server.Add(20*time.Second).Format(http.TimeFormat))
		answer(w, 503, "")
	}
	for _, tt := range []struct {
		name     string
		method   string // GET if empty
		steps    []http.HandlerFunc
		calls    int
		wait     [2]time.Duration // least and most time spent
		want     error            // nil means success
		status   int              // of the error
		retryMin time.Duration    // least RetryAfter of the error
	}{
		{name: "429 with seconds", steps: times(1, throttle("7")), calls: 2, wait: [2]time.Duration{7 * time.Second, 8 * time.Second}},
		{name: "429 with a decimal", steps: times(1, throttle("1.5")), calls: 2, wait: [2]time.Duration{1500 * time.Millisecond, 2 * time.Second}},
		{name: "503 with a date by the server's clock", steps: times(1, dated), calls: 2, wait: [2]time.Duration{20 * time.Second, 21 * time.Second}},
		{name: "429 without Retry-After", steps: times(2, throttle("")), calls: 3, wait: [2]time.Duration{5 * time.Second, 7 * time.Second}},
		{name: "429 with nonsense", steps: times(1, throttle("soon")), calls: 2, wait: [2]time.Duration{time.Second, 2 * time.Second}},
		{name: "rate-limit page with 200", steps: times(1, rateLimitPage), calls: 2, wait: [2]time.Duration{time.Second, 2 * time.Second}},
		{name: "PATCH after a rate-limit page", method: "PATCH", steps: times(1, rateLimitPage), calls: 2, wait: [2]time.Duration{time.Second, 2 * time.Second}},
		{name: "throttled without end", steps: times(99, throttle("")), calls: maxThrottled, wait: [2]time.Duration{30 * time.Second, 50 * time.Second},
			want: ErrThrottled, status: 429, retryMin: 8 * time.Second},
		{name: "throttled for long", steps: times(99, throttle("50")), calls: 3, wait: [2]time.Duration{100 * time.Second, maxWaiting},
			want: ErrThrottled, status: 429, retryMin: 50 * time.Second},
		{name: "Retry-After beyond patience", steps: times(1, throttle("3600")), calls: 1, want: ErrThrottled, status: 429, retryMin: time.Hour},
		{name: "Retry-After beyond reason", steps: times(1, throttle("1e300")), calls: 1, want: ErrThrottled, status: 429, retryMin: retry.Longest},
		{name: "502 passes", steps: times(2, status(502, "")), calls: 3, wait: [2]time.Duration{1500 * time.Millisecond, 2 * time.Second}},
		{name: "502 stays", steps: times(9, status(502, "")), calls: maxFailed, wait: [2]time.Duration{time.Second, 2 * time.Second}, want: errAny, status: 502},
		{name: "500 without code", steps: times(1, status(500, `{}`)), calls: 2, wait: [2]time.Duration{500 * time.Millisecond, time.Second}},
		{name: "500 with a result code is permanent", steps: times(9, status(500, `{"resultCode":"FAILURE"}`)), calls: 1, want: errAny, status: 500},
		{name: "400 is permanent", steps: times(9, status(400, `{}`)), calls: 1, want: errAny, status: 400},
		{name: "403 is permanent", steps: times(9, status(403, `{}`)), calls: 1, want: ErrForbidden, status: 403},
		{name: "404 is permanent", steps: times(9, status(404, `{}`)), calls: 1, want: ErrNotFound, status: 404},
		{name: "POST after 429", method: "POST", steps: times(1, throttle("2")), calls: 2, wait: [2]time.Duration{2 * time.Second, 3 * time.Second}},
		{name: "POST after 503 with Retry-After", method: "POST", steps: times(1, dated), calls: 2, wait: [2]time.Duration{20 * time.Second, 21 * time.Second}},
		{name: "no POST after 503 without", method: "POST", steps: times(1, status(503, "")), calls: 1, want: ErrThrottled, status: 503},
		{name: "no POST after 502", method: "POST", steps: times(1, status(502, "")), calls: 1, want: errAny, status: 502},
		{name: "no POST after a rate-limit page", method: "POST", steps: times(1, rateLimitPage), calls: 1, want: ErrThrottled, status: 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				s := &script{steps: tt.steps}
				method := tt.method
				if method == "" {
					method = http.MethodGet
				}
				start := time.Now()
				err := call(t.Context(), inProcess(t, newFake(t, s.serve)), method, nil)
				spent := time.Since(start)
				if got := int(s.n.Load()); got != tt.calls {
					t.Errorf("%d calls, want %d", got, tt.calls)
				}
				if most := max(tt.wait[1], 0); spent < tt.wait[0] || spent > most {
					t.Errorf("took %s, want %s to %s", spent, tt.wait[0], most)
				}
				if tt.want == nil {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				var e *APIError
				if !errors.As(err, &e) || e.Status != tt.status || tt.want != errAny && !errors.Is(err, tt.want) || e.RetryAfter < tt.retryMin {
					t.Errorf("got %#v", err)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// brokenTransport fails the first times and then works.
type brokenTransport struct {
	http.RoundTripper
	failures *atomic.Int32
	err      error
}

func (b brokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != tokenPath && b.failures.Add(-1) >= 0 {
		return nil, b.err
	}
	return b.RoundTripper.RoundTrip(r)
}

func TestRetryAfterConnectionFailure(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name, method string
		err          error
		failures     int32
		wantErr      bool
	}{
		{"GET after a reset", "GET", reset, 2, false},
		{"PATCH after a reset", "PATCH", reset, 2, false},
		{"too many resets", "GET", reset, 3, true},
		{"GET after an early end", "GET", io.ErrUnexpectedEOF, 1, false},
		{"POST never reached NinjaOne", "POST", dial, 1, false},
		{"POST may have reached NinjaOne", "POST", reset, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				var failures atomic.Int32
				failures.Store(tt.failures)
				c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }), func(cfg *Deps) {
					cfg.Transport = brokenTransport{cfg.Transport, &failures, tt.err}
				})
				err := call(t.Context(), c, tt.method, nil)
				if (err != nil) != tt.wantErr || err != nil && !errors.Is(err, tt.err) {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

func TestConnectionCutInTheMiddleOfAPage(t *testing.T) {
	var n atomic.Int32
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `[{"id":1,"name":"Contoso"},`)
			panic(http.ErrAbortHandler)
		}
		answer(w, 200, `[{"id":1,"name":"Contoso"},{"id":2,"name":"Fabrikam"}]`)
	})
	list, err := serve(t, fake).Organizations(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != 1 || n.Load() != 2 {
		t.Fatalf("got %v, %v after %d calls", list, err, n.Load())
	}
}

func TestTimeoutOfOneAttempt(t *testing.T) {
	simulate(t, func(t *testing.T) {
		s := &script{steps: times(1, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		start := time.Now()
		if err := get(t.Context(), inProcess(t, newFake(t, s.serve))); err != nil {
			t.Fatal(err)
		}
		if spent := time.Since(start); spent < requestTimeout || spent > requestTimeout+time.Second {
			t.Errorf("took %s", spent)
		}
	})
	simulate(t, func(t *testing.T) {
		s := &script{steps: times(9, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		err := get(t.Context(), inProcess(t, newFake(t, s.serve)))
		if err == nil || errors.Is(err, context.DeadlineExceeded) || s.n.Load() != maxFailed {
			t.Errorf("got %v after %d calls; it must not look like the caller's deadline", err, s.n.Load())
		}
	})
}

func TestContextEndsCall(t *testing.T) {
	t.Run("while waiting for an answer", func(t *testing.T) {
		simulate(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			s := &script{steps: times(9, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
			err := get(ctx, inProcess(t, newFake(t, s.serve)))
			if !errors.Is(err, context.DeadlineExceeded) || s.n.Load() != 1 {
				t.Errorf("got %v after %d calls", err, s.n.Load())
			}
		})
	})
	t.Run("while NinjaOne's pause lasts", func(t *testing.T) {
		simulate(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(3*time.Second, cancel)
			s := &script{steps: times(9, throttle("30"))}
			err := get(ctx, inProcess(t, newFake(t, s.serve)))
			if !errors.Is(err, context.Canceled) || s.n.Load() != 1 {
				t.Errorf("got %v after %d calls", err, s.n.Load())
			}
		})
	})
	t.Run("before NinjaOne's pause would", func(t *testing.T) {
		simulate(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			s := &script{steps: times(9, throttle("30"))}
			err := get(ctx, inProcess(t, newFake(t, s.serve)))
			var e *APIError
			if !errors.Is(err, ErrThrottled) || !errors.As(err, &e) || e.Status != 429 || time.Since(start) > time.Second {
				t.Errorf("got %v after %s; want ErrThrottled at once", err, time.Since(start))
			}
		})
	})
	t.Run("while waiting for a free call", func(t *testing.T) {
		simulate(t, func(t *testing.T) {
			c := inProcess(t, newFake(t, (&script{}).serve), func(cfg *Deps) { cfg.Rate = 0.5 })
			if err := get(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := get(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestLongPauseFailsOthersWithoutACall(t *testing.T) {
	simulate(t, func(t *testing.T) {
		s := &script{steps: times(1, throttle("900"))}
		c := inProcess(t, newFake(t, s.serve))
		if err := get(t.Context(), c); !errors.Is(err, ErrThrottled) {
			t.Fatalf("got %v", err)
		}
		err := get(t.Context(), c)
		var e *APIError
		if !errors.As(err, &e) || !errors.Is(err, ErrThrottled) || e.Status != 0 || e.RetryAfter < 14*time.Minute {
			t.Errorf("got %v", err)
		}
		if s.n.Load() != 1 {
			t.Errorf("%d calls, want 1", s.n.Load())
		}
		pass(t, 15*time.Minute)
		if err := get(t.Context(), c); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request reached another host: %s %s with token %v", r.Method, r.URL, r.Header.Get("Authorization") != "")
	}))
	defer other.Close()
	var written atomic.Bool
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/away/7":
			http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
		case "/v2/here/7":
			http.Redirect(w, r, "/api/v2/there", http.StatusFound)
		case "/v2/loop/7":
			http.Redirect(w, r, "/api/v2/loop/7", http.StatusFound)
		case "/v2/there":
			written.Store(r.Method != http.MethodGet)
			answer(w, 200, `{}`)
		}
	})
	c := serve(t, fake)
	for _, tt := range []struct {
		method, template string
		ok               bool
	}{
		{"GET", "/v2/away/{id}", false},
		{"PATCH", "/v2/away/{id}", false},
		{"GET", "/v2/here/{id}", true},
		{"PATCH", "/v2/here/{id}", false},
		{"GET", "/v2/loop/{id}", false},
	} {
		t.Run(fmt.Sprint(tt.method, tt.template), func(t *testing.T) {
			r := newRequest(tt.method, tt.template, []any{7}, nil, nil)
			err := c.do(t.Context(), r, nil)
			var e *APIError
			if tt.ok != (err == nil) || err != nil && (!errors.As(err, &e) || e.Status < 300 || e.Status > 399) {
				t.Errorf("got %v", err)
			}
		})
	}
	if written.Load() {
		t.Error("a redirected write was followed")
	}
}

func TestTokenRequestIsNotRedirected(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the secret reached another host") }))
	defer other.Close()
	fake := newFake(t, nil)
	fake.onToken = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}
	if err := serve(t, fake).Test(t.Context()); err == nil {
		t.Fatal("no error")
	}
}
