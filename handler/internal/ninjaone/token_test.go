package ninjaone

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func emptyList(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `[]`) }

func TestTokenIsSharedByConcurrentCallers(t *testing.T) {
	fake := newFake(t, emptyList)
	c := serve(t, fake)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := get(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := fake.tokens(); got != 1 {
		t.Errorf("%d tokens for 20 callers, want 1", got)
	}
}

func TestTokenIsRenewedEarly(t *testing.T) {
	for _, tt := range []struct {
		name      string
		expiresIn int
		good, old time.Duration // ages at which the token is kept and replaced
	}{
		{"an hour", 3600, 58*time.Minute + 50*time.Second, 59*time.Minute + 5*time.Second},
		{"shorter than the margin", 30, 14 * time.Second, 16 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				fake := newFake(t, emptyList)
				fake.expiresIn = tt.expiresIn
				c := inProcess(t, fake)
				check := func(want int) {
					t.Helper()
					if err := get(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					if got := fake.tokens(); got != want {
						t.Errorf("%d tokens, want %d", got, want)
					}
				}
				check(1)
				pass(t, tt.good)
				check(1)
				pass(t, tt.old-tt.good)
				check(2)
			})
		})
	}
}

func TestTokenWithoutLifetimeIsKept(t *testing.T) {
	simulate(t, func(t *testing.T) {
		fake := newFake(t, emptyList)
		var asked atomic.Int32
		fake.onToken = func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			fake.token = "token-for-ever"
			answer(w, 200, `{"access_token":"token-for-ever","token_type":"Bearer"}`)
		}
		c := inProcess(t, fake)
		for range 2 {
			if err := get(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			pass(t, 48*time.Hour)
		}
		if asked.Load() != 1 {
			t.Errorf("%d token requests, want 1", asked.Load())
		}
	})
}

func TestRevokedTokenIsRenewedOnce(t *testing.T) {
	fake := newFake(t, emptyList)
	c := serve(t, fake)
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	fake.mu.Lock()
	fake.token = "something else"
	fake.mu.Unlock()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := get(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := fake.tokens(); got != 2 {
		t.Errorf("%d tokens, want 2: the first, and one that replaces it", got)
	}
}

func TestTokenThatIsNeverAccepted(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 401, `{"error":"not_authenticated","error_code":10}`)
	})
	err := get(t.Context(), serve(t, fake))
	if !errors.Is(err, ErrUnauthorized) {
		t.Fatalf("got %v", err)
	}
	if calls := len(fake.made()); calls != 2 || fake.tokens() != 2 {
		t.Errorf("%d calls with %d tokens, want 2 with 2", calls, fake.tokens())
	}
}

func TestChangedSecretIsPickedUp(t *testing.T) {
	fake := newFake(t, emptyList)
	var reads []bool
	c := serve(t, fake, func(cfg *Deps) {
		cfg.Secret = func(_ context.Context, fresh bool) (string, error) {
			reads = append(reads, fresh)
			if fresh {
				return testSecret, nil
			}
			return "the secret of last year", nil
		}
	})
	if err := get(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(reads) != 2 || reads[0] || !reads[1] {
		t.Errorf("secret read with fresh = %v, want false, true", reads)
	}
}

func TestTokenFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*fakeNinja, *Deps)
		want   error
		asked  int // token requests
		text   string
	}{
		{name: "wrong secret", change: func(f *fakeNinja, c *Deps) { f.secret = "another" }, want: ErrUnauthorized, asked: 1, text: "invalid_client"},
		{name: "wrong instance or client id", change: func(f *fakeNinja, c *Deps) { c.ClientID = "unknown-client" }, want: ErrWrongInstance, asked: 1, text: "wrong instance or client ID"},
		{name: "scope not granted", want: ErrInvalidScope, asked: 1, text: "monitoring or management", change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 400, `{"error":"invalid_scope"}`) }
		}},
		{name: "page instead of a token", want: ErrNotJSON, asked: maxFailed, change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { page(w, 200, "<html>Sign in</html>") }
		}},
		{name: "answer without token", want: ErrNotJSON, asked: maxFailed, text: "no usable access token", change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 200, `{"token_type":"Bearer"}`) }
		}},
		{name: "half an answer", want: ErrNotJSON, asked: maxFailed, change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 200, `{"access_token":"abc`) }
		}},
		{name: "throttled", want: ErrThrottled, asked: maxThrottled, change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 429, `{}`) }
		}},
		{name: "server error", want: errAny, asked: maxFailed, change: func(f *fakeNinja, c *Deps) {
			f.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 502, ``) }
		}},
		{name: "no secret to be had", want: errAny, text: "key vault is closed", change: func(f *fakeNinja, c *Deps) {
			c.Secret = func(context.Context, bool) (string, error) { return "", errors.New("key vault is closed") }
		}},
		{name: "empty secret", want: errAny, text: "secret is empty", change: func(f *fakeNinja, c *Deps) {
			c.Secret = func(context.Context, bool) (string, error) { return "", nil }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				fake := newFake(t, emptyList)
				var log bytes.Buffer
				c := inProcess(t, fake, func(cfg *Deps) {
					tt.change(fake, cfg)
					cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				err := get(t.Context(), c)
				if err == nil || tt.want != errAny && !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if asked := strings.Count(log.String(), "path="+tokenPath+" "); asked != tt.asked {
					t.Errorf("%d token requests, want %d", asked, tt.asked)
				}
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%q does not say %q", err, tt.text)
				}
				if strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), testClientID) {
					t.Errorf("credentials in %q", err)
				}
				if len(fake.made()) != 0 {
					t.Errorf("calls without a token: %v", fake.made())
				}
			})
		})
	}
}

// TestAnswersThatRepeatCredentials: an answer that says again what was sent puts
// neither the secret nor the token into an error, nor the beginning of one that is
// clipped.
func TestAnswersThatRepeatCredentials(t *testing.T) {
	const accessToken = "a-token_that.NinjaOne-gave"
	clipped := strings.Repeat("x", maxErrorMessage-8)
	for name, tt := range map[string]struct {
		onToken, api http.HandlerFunc
	}{
		"the secret, where the message is clipped": {onToken: func(w http.ResponseWriter, r *http.Request) {
			answer(w, 401, `{"error":"invalid_client","error_description":"`+clipped+testSecret+`"}`)
		}},
		"the secret, encoded, in a page": {onToken: func(w http.ResponseWriter, r *http.Request) {
			page(w, 403, "<html>blocked: client_secret="+url.QueryEscape(testSecret)+"</html>")
		}},
		"the secret in an incident id": {onToken: func(w http.ResponseWriter, r *http.Request) {
			answer(w, 401, `{"resultCode":"DENIED","incidentId":"`+testSecret+`"}`)
		}},
		"the token in a message": {api: func(w http.ResponseWriter, r *http.Request) {
			answer(w, 400, `{"error":"invalid_header","error_description":"got `+r.Header.Get("Authorization")+`"}`)
		}},
		"the token in a code": {api: func(w http.ResponseWriter, r *http.Request) {
			answer(w, 403, `{"resultCode":"`+accessToken+`"}`)
		}},
		"the token in a page, where it is clipped": {api: func(w http.ResponseWriter, r *http.Request) {
			page(w, 403, "<html>"+clipped+accessToken+"</html>")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				fake := newFake(t, nil)
				fake.token = accessToken
				fake.onToken = func(w http.ResponseWriter, r *http.Request) {
					answer(w, 200, `{"access_token":"`+accessToken+`","token_type":"Bearer","expires_in":3600}`)
				}
				if tt.onToken != nil {
					fake.onToken = tt.onToken
				}
				fake.api = tt.api
				err := get(t.Context(), inProcess(t, fake))
				var answered *APIError
				if !errors.As(err, &answered) {
					t.Fatalf("got %v", err)
				}
				for _, private := range []string{testSecret[:4], url.QueryEscape(testSecret)[:4], accessToken[:4]} {
					if strings.Contains(err.Error(), private) {
						t.Errorf("a credential in %q", err)
					}
				}
				if !strings.Contains(err.Error(), "…") {
					t.Errorf("%q does not show that something was left out", err)
				}
			})
		})
	}
}
