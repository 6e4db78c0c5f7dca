package m365sim_test

import (
	"net/http"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

const vulnerabilities = "/api/machines/SoftwareVulnerabilitiesByMachine"

// defender reads Defender's export with a token of the resource.
func (s *sim) defender(token, path string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, s.Defender+path, token, "")
}

func TestRefusedExports(t *testing.T) {
	s := start(t, m365sim.Config{})
	delegated := s.token(s.tenant, m365sim.DefenderResource)
	application := s.login(s.tenant.ID, s.form("grant_type", "client_credentials", "refresh_token", "",
		"scope", "fc780465-2017-40d4-a0c5-307022471b92/.default")).json(t)["access_token"].(string)
	for name, path := range map[string]string{
		"another path":         "/api/machines",
		"a page too large":     vulnerabilities + "?pageSize=200001",
		"an unknown option":    vulnerabilities + "?$filter=x",
		"a made up skip token": vulnerabilities + "?pagesize=5&$skiptoken=x",
	} {
		if a := s.defender(delegated, path); a.status < 400 {
			t.Errorf("%s: %d", name, a.status)
		}
		s.violated()
	}
	if a := s.defender(s.token(s.tenant, m365sim.GraphResource), vulnerabilities); a.status != 401 {
		t.Errorf("a token for Graph: %d", a.status)
	}
	s.violated()
	for _, c := range []struct {
		name   string
		change func(*m365sim.Tenant)
		token  string
		status int
	}{
		{"both kinds of permission", func(*m365sim.Tenant) {}, application, 200},
		{"no permission of an application", func(t *m365sim.Tenant) { t.Permissions = []string{"Vulnerability.Read"} }, application, 403},
		{"that of an account", func(*m365sim.Tenant) {}, delegated, 200},
		{"no permission of an account", func(t *m365sim.Tenant) { t.Permissions = []string{"Vulnerability.Read.All"} }, delegated, 403},
		{"no licence", func(t *m365sim.Tenant) { t.NoDefender = true }, application, 403},
	} {
		s.tenant.Change(c.change)
		if a := s.defender(c.token, vulnerabilities); a.status != c.status {
			t.Errorf("%s: %d, want %d", c.name, a.status, c.status)
		}
	}
	s.noViolations()
}

// TestExportQuota: thirty calls a minute of a tenant are answered.
func TestExportQuota(t *testing.T) {
	s := start(t, m365sim.Config{})
	token := s.token(s.tenant, m365sim.DefenderResource)
	for n := range 31 {
		a := s.defender(token, vulnerabilities+"?$top=1")
		if want := map[bool]int{true: 200, false: 429}[n < 30]; a.status != want || (a.header.Get("Retry-After") != "") != (want == 429) {
			t.Fatalf("call %d: %d", n+1, a.status)
		}
	}
	s.clock.move(time.Minute)
	if a := s.defender(token, vulnerabilities); a.status != 200 {
		t.Errorf("a minute later: %d", a.status)
	}
}
