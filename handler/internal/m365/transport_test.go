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
)

func TestRetryDelay(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, value string
		least, most time.Duration
	}{
		{"seconds", "7", 7 * time.Second, 7 * time.Second},
		{"decimals are not cut", "1.5", 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"a date", "Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second, 30 * time.Second},
		{"a date gone by", "Mon, 23 Nov 2026 11:00:00 GMT", 0, 0},
		{"negative", "-4", 0, 0},
		{"beyond reason", "1e300", 24 * time.Hour, 24 * time.Hour},
		{"none", "", 2 * time.Second, 3 * time.Second},
		{"nonsense", "soon", 2 * time.Second, 3 * time.Second},
		{"not a number", "NaN", 2 * time.Second, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := retryDelay(test.value, 2, now); got < test.least || got > test.most {
				t.Errorf("got %v, want %v to %v", got, test.least, test.most)
			}
		})
	}
}

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
				rt := &retrier{sleep: sleep, next: transportFunc(func(r *http.Request) (*http.Response, error) {
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

func TestServicesThatStopAnswering(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := &retrier{sleep: sleep, next: transportFunc(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service.example", nil)
			if _, err := rt.RoundTrip(req); err != errStalled {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("within the body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rt := &retrier{sleep: sleep, next: transportFunc(func(r *http.Request) (*http.Response, error) {
				in, out := io.Pipe()
				context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
				go func() { _, _ = io.WriteString(out, "half") }()
				return &http.Response{StatusCode: 200, Body: in}, nil
			})}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service.example", nil)
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != errStalled || string(body) != "half" {
				t.Errorf("got %q, %v", body, err)
			}
			_ = res.Body.Close()
		})
	})
	t.Run("cancelled while waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			rt := &retrier{sleep: sleep, next: transportFunc(func(*http.Request) (*http.Response, error) {
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

// TestTrickle has a service send one byte a second for ever, or nothing more.
func TestTrickle(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		want  error
	}{"one byte a second": {time.Second, errSlow}, "nothing": {24 * time.Hour, errStalled}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				rt := transportFunc(func(req *http.Request) (*http.Response, error) {
					r, w := io.Pipe()
					context.AfterFunc(req.Context(), func() { _ = w.CloseWithError(context.Canceled) })
					go func() {
						for {
							if err := sleep(req.Context(), test.every); err != nil {
								return
							}
							if _, err := w.Write([]byte(" ")); err != nil {
								return
							}
						}
					}()
					return &http.Response{StatusCode: 200, Body: r, Header: http.Header{}}, nil
				})
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service.example", nil)
				res, err := attemptOnce(rt, req)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if took := time.Since(began); !errors.Is(err, test.want) || took > bodyTimeout+stallTimeout {
					t.Errorf("got %v after %s", err, took)
				}
			})
		})
	}
}
