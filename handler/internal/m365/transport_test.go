package m365

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/reply/replytest"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/tenant"
)

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerWith(status int, retryAfter string) *http.Response {
	h := http.Header{}
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("body"))}
}

func TestRetries(t *testing.T) {
	reset := errors.New("connection reset by peer")
	type step struct {
		status int
		after  string
		err    error
	}
	tests := []struct {
		name   string
		steps  []step // the last repeats
		limit  time.Duration
		status int // of the outcome; 0 = an error
		tries  int
		waited time.Duration // at least
	}{
		{"throttled, then served", []step{{status: 429, after: "4"}, {status: 503, after: "0.25"}, {status: 200}}, 0, 200, 3, 4250 * time.Millisecond},
		{"reset, then served", []step{{err: reset}, {status: 200}}, 0, 200, 2, time.Second},
		{"reset for good", []step{{err: reset}}, 0, 0, maxTransportErrors, 3 * time.Second},
		{"throttled for good", []step{{status: 429}}, 0, 429, maxAttempts, 15 * time.Second},
		{"told to wait too long", []step{{status: 429, after: "600"}}, 0, 429, 1, 0},
		{"told to wait past the deadline", []step{{status: 503, after: "30"}}, 10 * time.Second, 503, 1, 0},
		{"not worth repeating", []step{{status: 500}}, 0, 500, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				rt := &retrier{sleep: retry.Sleep, next: transportFunc(func(r *http.Request) (*http.Response, error) {
					if body, _ := io.ReadAll(r.Body); string(body) != "question" {
						t.Errorf("attempt %d sent %q", tries, body)
					}
					s := test.steps[min(tries, len(test.steps)-1)]
					tries++
					if s.err != nil {
						return nil, s.err
					}
					return answerWith(s.status, s.after), nil
				})}
				ctx := t.Context()
				if test.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.limit)
					defer cancel()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://service.example", strings.NewReader("question"))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				res, err := rt.RoundTrip(req)
				if (err == nil) != (test.status != 0) || err == nil && res.StatusCode != test.status {
					t.Fatalf("got %v, %v", res, err)
				}
				if res != nil {
					if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil {
						t.Errorf("body %q, %v", body, err)
					}
					_ = res.Body.Close()
				}
				if waited := time.Since(began); tries != test.tries || waited < test.waited {
					t.Errorf("%d tries in %v, want %d in at least %v", tries, waited, test.tries, test.waited)
				}
			})
		})
	}
}

// TestServicesThatTrickle has a service send one byte a second for ever, or let
// all calls wait for their answer: a reading gives it up after minutes, tells
// why, and reads of the others what there is.
func TestServicesThatTrickle(t *testing.T) {
	ok := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
	trickle := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			replytest.Trickle(w, r, []byte(" "), 1, time.Second, true)
		}
	}
	const graph, exchange, login = "graph.microsoft.com", "outlook.office365.com", "login.microsoftonline.com"
	for name, tt := range map[string]struct {
		broken string // host
		how    http.HandlerFunc
		most   time.Duration
		says   string // the error, or why the mailboxes are absent
	}{
		"Graph":                        {graph, trickle(200), 2 * time.Minute, "too slowly"},
		"Exchange":                     {exchange, trickle(200), 3 * time.Minute, "sent its answer too slowly"},
		"sign-in":                      {login, trickle(200), time.Minute, "too slowly"},
		"Graph's refusals":             {graph, trickle(403), 3 * time.Minute, ""},
		"Graph's failures":             {graph, trickle(503), 4 * time.Minute, "HTTP 503"},
		"Graph, before its answers":    {graph, replytest.Silence, 7 * time.Minute, "too slowly"},
		"Exchange, before its answers": {exchange, replytest.Silence, 7 * time.Minute, "too slowly"},
		"sign-in, before its answers":  {login, replytest.Silence, 4 * time.Minute, "too slowly"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := replytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.Host == tt.broken:
						tt.how(w, r)
					case r.Host == login:
						ok(w, `{"access_token":"t","expires_in":3600}`)
					default:
						ok(w, `{"value":[]}`)
					}
				}))
				reader := newReader(t, Deps{Credentials: anySecret{}, Sleep: retry.Sleep}, func(d *Deps) { d.Transport = onPlainHTTP{server} })
				ctx, cancel := context.WithTimeout(t.Context(), 13*time.Minute)
				defer cancel()
				began := time.Now()
				s, err := reader.Read(ctx, testRef, nil)
				took := time.Since(began)
				t.Logf("took %s: %v", took, err)
				if took > tt.most {
					t.Errorf("it took %s", took)
				}
				said := ""
				if tt.broken == exchange && err == nil {
					said = s.Mailboxes.Reason
				} else if err != nil {
					said = err.Error()
				}
				if !strings.Contains(said, tt.says) {
					t.Errorf("it says %q, not %q", said, tt.says)
				}
			})
		})
	}
}

// TestOneTrickle has one list or file come a byte a second: it takes away itself
// only.
func TestOneTrickle(t *testing.T) {
	for route, reason := range map[string]func(*tenant.Snapshot) string{
		routeDevices:             func(s *tenant.Snapshot) string { return s.EntraDevices.Reason },
		"GET /download/mail.csv": func(s *tenant.Snapshot) string { return s.MailboxUsage.Reason },
	} {
		t.Run(route, func(t *testing.T) {
			c := newCloud(t)
			c.on(route, func(w http.ResponseWriter, r *http.Request) {
				replytest.Trickle(w, r, []byte(" "), 1, time.Second, true)
			})
			synctest.Test(t, func(t *testing.T) {
				reader := c.reader(func(cfg *Deps) { cfg.Transport = replytest.Serve(t, http.HandlerFunc(c.serve)) })
				began := time.Now()
				s, err := reader.Read(t.Context(), testRef, nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 2*time.Minute {
					t.Errorf("it took %s", took)
				}
				if r := reason(s); !strings.Contains(r, "sent its answer too slowly") {
					t.Errorf("its reason is %q", r)
				}
				if !s.Users.OK() || !s.Roles.OK() || !s.ManagedDevices.OK() || !s.OneDriveUsage.OK() || !s.Mailboxes.OK() {
					t.Errorf("another part is absent: %+v", s)
				}
			})
		})
	}
}

// onPlainHTTP has requests for https go to a server without TLS.
type onPlainHTTP struct{ next http.RoundTripper }

func (o onPlainHTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme = "http"
	return o.next.RoundTrip(req)
}

func TestServicesThatStopAnswering(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := &retrier{sleep: retry.Sleep, next: steady(transportFunc(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}))}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service.example", nil)
			if _, err := rt.RoundTrip(req); err != reply.ErrStopped {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("cancelled while waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			rt := &retrier{sleep: retry.Sleep, next: transportFunc(func(*http.Request) (*http.Response, error) {
				time.AfterFunc(time.Second, cancel)
				return answerWith(429, "60"), nil
			})}
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://service.example", nil)
			if _, err := rt.RoundTrip(req); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	})
}
