package m365

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/tenant"
)

func TestTokenForms(t *testing.T) {
	const scope = "https://graph.microsoft.com/.default"
	tests := []struct {
		name string
		app  bool
		ref  tenant.Ref
		want url.Values
	}{
		{"through GDAP", false, testRef, url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"},
			"client_secret": {"hush"}, "refresh_token": {"refresh-1"}, "scope": {scope}}},
		{"a direct tenant", false, tenant.Ref{ID: strings.ToUpper(testTenant), Direct: true}, url.Values{"grant_type": {"refresh_token"},
			"client_id": {"app"}, "client_secret": {"hush"}, "refresh_token": {"refresh-direct"}, "scope": {scope}}},
		{"as the application", true, testRef, url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"},
			"client_secret": {"hush"}, "scope": {scope}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			var got url.Values
			c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				got = r.PostForm
				c.token(w, r)
			})
			r := c.reader(func(cfg *Deps) { cfg.Application = test.app })
			if _, err := r.tokens.get(t.Context(), test.ref, r.graph.scope); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("form (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTokenSharedByConcurrentCallers(t *testing.T) {
	c := newCloud(t)
	r := c.reader()
	const callers = 50
	ask := func(get func() (string, error)) map[string]bool {
		t.Helper()
		var all sync.WaitGroup
		var mu sync.Mutex
		values := map[string]bool{}
		for range callers {
			all.Go(func() {
				v, err := get()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				values[v] = true
				mu.Unlock()
			})
		}
		all.Wait()
		return values
	}
	first := ask(func() (string, error) { return r.tokens.get(t.Context(), testRef, r.graph.scope) })
	if len(first) != 1 || c.count(routeToken) != 1 {
		t.Errorf("%d tokens after %d requests", len(first), c.count(routeToken))
	}
	second := ask(func() (string, error) { return r.tokens.renew(t.Context(), testRef, r.graph.scope, "token-1") })
	if len(second) != 1 || !second["token-2"] || c.count(routeToken) != 2 {
		t.Errorf("renewed to %v after %d requests", second, c.count(routeToken))
	}
}

func TestTokenKeptUntilShortlyBeforeItEnds(t *testing.T) {
	c := newCloud(t)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := c.reader(func(d *Deps) { d.Now = func() time.Time { return now } })
	steps := []struct {
		after time.Duration
		want  int
	}{{0, 1}, {3479 * time.Second, 1}, {2 * time.Second, 2}}
	for _, step := range steps {
		now = now.Add(step.after)
		if _, err := r.tokens.get(t.Context(), testRef, r.graph.scope); err != nil {
			t.Fatal(err)
		}
		if n := c.count(routeToken); n != step.want {
			t.Errorf("%d requests after another %v, want %d", n, step.after, step.want)
		}
	}
	if _, err := r.tokens.get(t.Context(), testRef, r.exchange.scope); err != nil || c.count(routeToken) != 3 {
		t.Errorf("another scope: %d requests, %v", c.count(routeToken), err)
	}
}

func TestTokenAfterRotation(t *testing.T) {
	tests := []struct {
		name   string
		secret string
		answer string
		value  string // what is refused
		field  string
	}{
		{"refresh token rotated", secretRefreshToken, `{"error":"invalid_grant","error_codes":[700082]}`, "refresh-1", "refresh_token"},
		{"secret rotated", secretApplicationSecret, `{"error":"invalid_client","error_codes":[7000215]}`, "hush", "client_secret"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			c.fresh[test.secret] = "rotated"
			c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue(test.field) == test.value {
					c.says(401, test.answer)(w, r)
					return
				}
				c.token(w, r)
			})
			r := c.reader()
			if _, err := r.tokens.get(t.Context(), testRef, r.graph.scope); err != nil || c.count(routeToken) != 2 {
				t.Errorf("%v after %d requests", err, c.count(routeToken))
			}
		})
	}
	t.Run("not rotated", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeToken, c.says(400, `{"error":"invalid_grant","error_codes":[700082]}`))
		r := c.reader()
		_, err := r.tokens.get(t.Context(), testRef, r.graph.scope)
		var refusal *AuthError
		if !errors.As(err, &refusal) || c.count(routeToken) != 1 || c.count("secret "+secretRefreshToken) != 2 {
			t.Errorf("%v after %d requests and %d reads", err, c.count(routeToken), c.count("secret "+secretRefreshToken))
		}
	})
}

func TestTokenRefusedByGraphIsRenewedOnce(t *testing.T) {
	c := newCloud(t)
	c.fresh[secretRefreshToken] = "rotated"
	first := true
	c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
		if first { // a token that Graph will not accept
			first = false
			c.says(200, `{"access_token":"revoked","expires_in":3600}`)(w, r)
			return
		}
		if strings.Contains(r.FormValue("scope"), "graph") && r.FormValue("refresh_token") != "rotated" {
			c.problem("renewed with the old refresh token")
		}
		c.token(w, r)
	})
	s := c.read()
	if !s.Users.OK() || !s.Groups.OK() || !s.SKUs.OK() || !s.ManagedDevices.OK() {
		t.Errorf("parts lost: %q %q %q", s.Users.Reason, s.Groups.Reason, s.SKUs.Reason)
	}
	if n := c.count(routeToken); n != 3 {
		t.Errorf("%d tokens, want two for Graph and one for Exchange", n)
	}
}

func TestTokenErrors(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		code    string // of an AuthError; "" = another error
		meaning string
	}{
		{"consent", 400, `{"error":"invalid_grant","error_codes":[65001]}`, "AADSTS65001", "no consent"},
		{"relation", 400, `{"error":"invalid_grant","error_codes":[50020]}`, "AADSTS50020", "GDAP"},
		{"MFA, code in the text only", 400, `{"error":"interaction_required","error_description":"AADSTS50076: Due to a change by Sam"}`, "AADSTS50076", "multi-factor"},
		{"expired", 400, `{"error":"invalid_grant","error_codes":[700082]}`, "AADSTS700082", "expired"},
		{"secret", 401, `{"error":"invalid_client","error_codes":[7000222]}`, "AADSTS7000222", "secret"},
		{"a general code before the telling one", 400, `{"error":"invalid_grant","error_codes":[99999,53003]}`, "AADSTS53003", "Conditional Access"},
		{"unknown code", 400, `{"error":"invalid_grant","error_codes":[123456]}`, "AADSTS123456", "refused"},
		{"no code", 400, `{"error":"unauthorized_client"}`, "unauthorized_client", "refused"},
		{"wild error name", 400, `{"error":"<b>Sam</b>","error_codes":[65001]}`, "AADSTS65001", "consent"},
		{"HTML", 200, `<html>`, "", "check LOGIN_ENDPOINT"},
		{"no token", 200, `{}`, "", "check LOGIN_ENDPOINT"},
		{"down", 503, ``, "", "HTTP 503"},
		{"throttled", 429, `{"error":"temporarily_unavailable"}`, "", "HTTP 429"},
		{"redirect", 302, ``, "", "HTTP 302"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeToken, c.says(test.status, test.body))
			r := c.reader()
			_, err := r.tokens.get(t.Context(), testRef, r.graph.scope)
			var refusal *AuthError
			if errors.As(err, &refusal) != (test.code != "") || refusal != nil && refusal.Code != test.code {
				t.Fatalf("got %#v", err)
			}
			if !strings.Contains(err.Error(), test.meaning) || strings.Contains(err.Error(), "Sam") || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("secret missing", func(t *testing.T) {
		c := newCloud(t)
		delete(c.secrets, secretRefreshToken)
		r := c.reader()
		_, err := r.tokens.get(t.Context(), testRef, r.graph.scope)
		var refusal *AuthError
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "RefreshToken is empty") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("sign-in cannot be reached", func(t *testing.T) {
		c := newCloud(t)
		r := c.reader()
		c.server.Close()
		_, err := r.tokens.get(t.Context(), testRef, r.graph.scope)
		var transport *transportError
		if !errors.As(err, &transport) || strings.Contains(err.Error(), "http://") {
			t.Errorf("got %v", err)
		}
	})
}
