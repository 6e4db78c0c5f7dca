package access

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestEnter opens pages over real HTTP, with a browser's memory of cookies.
func TestEnter(t *testing.T) {
	guard := newGuard(Config{Development: true, DevToken: devSecret})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if guard.Enter(w, r, "/api") {
			return
		}
		guard.Require(Reader, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.String()) })).ServeHTTP(w, r)
	}))
	defer server.Close()
	for name, tt := range map[string]struct {
		method, query string
		shown         string // "" for a refusal
	}{
		"the token":            {"GET", "?token=" + devSecret, "/api/page"},
		"among other values":   {"GET", "?a=1&token=" + devSecret + "&b=2", "/api/page?a=1&b=2"},
		"no token":             {"GET", "", ""},
		"an empty one":         {"GET", "?token=", ""},
		"another one":          {"GET", "?token=x" + devSecret, ""},
		"two":                  {"GET", "?token=" + devSecret + "&token=x", ""},
		"in another case":      {"GET", "?TOKEN=" + devSecret, ""},
		"in the address's end": {"GET", "?" + devSecret, ""},
		"a form":               {"POST", "?token=" + devSecret, ""},
	} {
		t.Run(name, func(t *testing.T) {
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			hops := 0
			client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				hops++
				if strings.Contains(r.URL.String(), devSecret) || r.Response.Header.Get("Location") != tt.shown {
					t.Errorf("the browser is sent to %s", r.Response.Header.Get("Location"))
				}
				cookies := r.Response.Cookies()
				if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].Path != "/api" || strings.Contains(cookies[0].String(), devSecret) {
					t.Errorf("the cookie is %v", cookies)
				}
				return nil
			}}
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+"/api/page"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if tt.shown == "" {
				if res.StatusCode != errToken.Status || hops > 0 || len(res.Cookies()) > 0 {
					t.Errorf("answered %d %s after %d hops", res.StatusCode, body, hops)
				}
				return
			}
			if res.StatusCode != http.StatusOK || string(body) != tt.shown || hops != 1 {
				t.Errorf("answered %d %s after %d hops", res.StatusCode, body, hops)
			}
		})
	}
}

// TestTokenCountsNowhereElse: where people log in, or nobody is let in, an
// address with the token opens nothing and none is offered.
func TestTokenCountsNowhereElse(t *testing.T) {
	for name, c := range map[string]Config{
		"closed":         {DevToken: devSecret},
		"a login":        {PlatformAuth: true, DevToken: devSecret},
		"a login beside": {PlatformAuth: true, Development: true, DevToken: devSecret},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(c)
			rec := httptest.NewRecorder()
			if g.Enter(rec, httptest.NewRequest("GET", "/api/page?token="+devSecret, nil), "/api") || len(rec.Header()) > 0 {
				t.Errorf("the token opened a page: %v", rec.Header())
			}
			if got := g.Address("/page"); got != "" {
				t.Errorf("the address %s is offered", got)
			}
		})
	}
}

// TestMadeTokens: each start has a token of its own, long enough not to be
// guessed.
func TestMadeTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		u, err := url.Parse(newGuard(Config{Development: true}).Address("/page"))
		if err != nil {
			t.Fatal(err)
		}
		token := u.Query().Get("token")
		if u.Path != "/page" || len(token) < 26 || seen[token] {
			t.Fatalf("the address is %s", u)
		}
		seen[token] = true
	}
}
