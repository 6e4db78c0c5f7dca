package m365sim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

func TestTokenRequests(t *testing.T) {
	s := start(t, m365sim.Config{})
	ordinary, direct, lost := s.tenant.ID, s.seed.Tenant(seed.Direct), s.seed.Tenant(seed.ConsentLost).ID
	graph := m365sim.GraphResource + "/.default"
	for _, tt := range []struct {
		name, tenant string
		changes      []string
		want         string // start of the error description; "" = a token
		violation    bool
	}{
		{"refresh token", ordinary, nil, "", false},
		{"by domain", seed.Ordinary, nil, "", false},
		{"for Exchange", ordinary, []string{"scope", m365sim.ExchangeResource + "/.default"}, "", false},
		{"client credentials", ordinary, []string{"grant_type", "client_credentials", "refresh_token", ""}, "", false},
		{"direct tenant with its own token", direct.ID, []string{"refresh_token", direct.RefreshToken}, "", false},
		{"direct tenant with the partner's token", direct.ID, nil, "AADSTS500571:", false},
		{"another tenant's token", ordinary, []string{"refresh_token", direct.RefreshToken}, "AADSTS9002313:", false},
		{"consent lost", lost, nil, "AADSTS65001:", false},
		{"unknown tenant", "33333333-3333-4333-8333-333333333333", nil, "AADSTS90002:", false},
		{"wrong secret", ordinary, []string{"client_secret", "wrong"}, "AADSTS7000215:", false},
		{"wrong client", ordinary, []string{"client_id", "wrong"}, "AADSTS700016:", false},
		{"wrong refresh token", ordinary, []string{"refresh_token", "wrong"}, "AADSTS9002313:", false},
		{"no refresh token", ordinary, []string{"refresh_token", ""}, "AADSTS900144:", true},
		{"no client", ordinary, []string{"client_id", ""}, "AADSTS900144:", true},
		{"unsupported grant", ordinary, []string{"grant_type", "password"}, "AADSTS70003:", true},
		{"refresh token with client credentials", ordinary, []string{"grant_type", "client_credentials"}, "AADSTS900144:", true},
		{"no scope", ordinary, []string{"scope", ""}, "AADSTS900144:", true},
		{"only offline_access", ordinary, []string{"scope", "offline_access"}, "AADSTS900144:", true},
		{"two resources", ordinary, []string{"scope", graph + " " + m365sim.ExchangeResource + "/.default"}, "AADSTS28000:", true},
		{"scope of v1", ordinary, []string{"scope", m365sim.GraphResource}, "AADSTS70011:", true},
		{"single permission", ordinary, []string{"scope", m365sim.GraphResource + "/User.Read.All"}, "AADSTS70011:", true},
		{"another host", ordinary, []string{"scope", "https://other.example/.default"}, "AADSTS70011:", true},
		{"unknown parameter", ordinary, []string{"resource", m365sim.GraphResource}, "AADSTS900144:", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := s.login(tt.tenant, s.form(tt.changes...)).json(t)
			description, _ := body["error_description"].(string)
			if !strings.HasPrefix(description, tt.want) || (tt.want == "") != (body["access_token"] != nil) {
				t.Errorf("answered %q, want %q", description, tt.want)
			}
			if got := len(s.Violations()) == 1; got != tt.violation {
				t.Errorf("violations: %q", s.Violations())
			}
			s.ResetViolations()
		})
	}
}

func TestTokenRequestShape(t *testing.T) {
	s := start(t, m365sim.Config{})
	url := s.Login + "/" + s.tenant.ID + "/oauth2/v2.0/token"
	for name, a := range map[string]answer{
		"GET":       s.do(http.MethodGet, url, "", ""),
		"JSON body": s.do(http.MethodPost, url, "", `{"grant_type":"refresh_token"}`, "Content-Type", "application/json"),
		"in query":  s.do(http.MethodPost, url+"?"+s.form().Encode(), "", "", "Content-Type", "application/x-www-form-urlencoded"),
	} {
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, a.status)
		}
	}
	if n := len(s.Violations()); n != 3 {
		t.Errorf("%d violations, want 3", n)
	}
}

func TestRotatedCredentials(t *testing.T) {
	s := start(t, m365sim.Config{})
	s.SetRefreshToken("rotated")
	if d := s.login(s.tenant.ID, s.form()).json(t)["error_description"]; !strings.HasPrefix(d.(string), "AADSTS700082:") {
		t.Errorf("the old refresh token: %v", d)
	}
	if a := s.login(s.tenant.ID, s.form("refresh_token", "rotated")); a.status != http.StatusOK {
		t.Errorf("the new refresh token: %d", a.status)
	}
	s.SetClientSecret("changed")
	if a := s.login(s.tenant.ID, s.form("refresh_token", "rotated")); a.status != http.StatusUnauthorized {
		t.Errorf("the old secret: %d", a.status)
	}
	if a := s.login(s.tenant.ID, s.form("refresh_token", "rotated", "client_secret", "changed")); a.status != http.StatusOK {
		t.Errorf("the new secret: %d", a.status)
	}
	s.noViolations()
}

func TestAccessTokens(t *testing.T) {
	s := start(t, m365sim.Config{TokenLifetime: 10 * time.Minute})
	users := s.Graph + "/v1.0/users"
	good := s.token(s.tenant, m365sim.GraphResource)
	exchange := s.token(s.tenant, m365sim.ExchangeResource)
	check := func(name, token string, want int, violation bool) {
		t.Helper()
		a := s.do(http.MethodGet, users, token, "")
		if a.status != want {
			t.Errorf("%s: answered %d, want %d", name, a.status, want)
		}
		if code, _ := a.code(); want == http.StatusUnauthorized && (code != "InvalidAuthenticationToken" || a.header.Get("WWW-Authenticate") == "") {
			t.Errorf("%s: answered %q without what to do", name, code)
		}
		if violation {
			s.violated()
		}
		s.noViolations()
	}
	check("good", good, http.StatusOK, false)
	check("none", "", http.StatusUnauthorized, true)
	check("made up", "eyJ0eXAi", http.StatusUnauthorized, true)
	check("of Exchange", exchange, http.StatusUnauthorized, true)
	s.clock.move(10 * time.Minute)
	check("expired", good, http.StatusUnauthorized, false)
	fresh := s.token(s.tenant, m365sim.GraphResource)
	check("new", fresh, http.StatusOK, false)
	s.RevokeTokens()
	check("revoked", fresh, http.StatusUnauthorized, false)
}

func TestOpenIDConfiguration(t *testing.T) {
	s := start(t, m365sim.Config{})
	a := s.do(http.MethodGet, s.Login+"/"+seed.Ordinary+"/v2.0/.well-known/openid-configuration", "", "").json(t)
	if want := s.Login + "/" + s.tenant.ID + "/oauth2/v2.0/token"; a["token_endpoint"] != want {
		t.Errorf("token endpoint %v, want %s", a["token_endpoint"], want)
	}
}
