package m365sim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

var testDay = time.Date(2031, 5, 14, 0, 0, 0, 0, time.UTC)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sim is a started simulator with the provider's tenants.
type sim struct {
	t *testing.T
	*m365sim.Server
	m365sim.Endpoints
	seed   *seed.Seed
	clock  *clock
	tenant *m365sim.Tenant // the ordinary one
	client *http.Client    // follows no redirect
}

func start(t *testing.T, config m365sim.Config) *sim {
	t.Helper()
	s := &sim{t: t, seed: seed.MSPAt(testDay), clock: &clock{now: testDay}}
	config.Credentials = m365sim.Credentials{ClientID: s.seed.SAM.ApplicationID, ClientSecret: s.seed.SAM.ApplicationSecret,
		PartnerTenantID: s.seed.SAM.TenantID, RefreshToken: s.seed.SAM.RefreshToken}
	config.Now = s.clock.Now
	var err error
	if s.Server, err = m365sim.New(config, s.seed.Tenants...); err != nil {
		t.Fatal(err)
	}
	if s.Endpoints, err = s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.tenant = s.seed.Tenant(seed.Ordinary)
	s.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// answer is an answer with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("the answer %d is not a JSON object: %v: %.200s", a.status, err, a.body)
	}
	return v
}

// code returns the error code of Graph or Exchange, and the message.
func (a answer) code() (code, message string) {
	var v struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal(a.body, &v)
	return v.Error.Code, v.Error.Message
}

func (s *sim) do(method, url, token, body string, headers ...string) answer {
	s.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// form is a good refresh-token request with changes.
func (s *sim) form(changes ...string) url.Values {
	f := url.Values{"client_id": {s.seed.SAM.ApplicationID}, "client_secret": {s.seed.SAM.ApplicationSecret},
		"grant_type": {"refresh_token"}, "refresh_token": {s.seed.SAM.RefreshToken}, "scope": {m365sim.GraphResource + "/.default offline_access"}}
	for i := 0; i+1 < len(changes); i += 2 {
		if f.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			f.Del(changes[i])
		}
	}
	return f
}

func (s *sim) login(tenant string, form url.Values) answer {
	s.t.Helper()
	return s.do(http.MethodPost, s.Login+"/"+tenant+"/oauth2/v2.0/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (s *sim) token(tenant *m365sim.Tenant, resource string) string {
	s.t.Helper()
	a := s.login(tenant.ID, s.form("scope", resource+"/.default"))
	token, _ := a.json(s.t)["access_token"].(string)
	if token == "" {
		s.t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return token
}

// get reads a Graph path of the ordinary tenant.
func (s *sim) get(path string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, s.Graph+path, s.token(s.tenant, m365sim.GraphResource), "", headers...)
}

func (s *sim) noViolations() {
	s.t.Helper()
	if v := s.Violations(); len(v) > 0 {
		s.t.Errorf("violations: %q", v)
	}
}

// violated checks that exactly one violation was noted since the last check.
func (s *sim) violated() {
	s.t.Helper()
	if v := s.Violations(); len(v) != 1 {
		s.t.Errorf("%d violations, want one: %q", len(v), v)
	}
	s.ResetViolations()
}
