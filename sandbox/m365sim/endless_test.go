package m365sim_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

func TestListsThatNeverEnd(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 3})
	token := s.token(s.tenant, m365sim.GraphResource)
	for _, path := range []string{"/v1.0/users?$select=id,userPrincipalName", "/v1.0/groups/delta?$select=displayName,members", "/beta/deviceManagement/managedDevices?$select=id"} {
		for _, how := range []m365sim.Endless{m365sim.EndlessLink, m365sim.EndlessEmpty, m365sim.EndlessSame, m365sim.EndlessNew} {
			s.AddFault(m365sim.Fault{Endless: how})
			next := s.Graph + path
			seen, links := map[any]int{}, map[string]bool{}
			for range 6 {
				a := s.do(http.MethodGet, next, token, "")
				for _, row := range a.rows(t) {
					seen[row["id"]]++
				}
				body := a.json(t)
				next, _ = body["@odata.nextLink"].(string)
				links[next] = true
				if next == "" || body["@odata.deltaLink"] != nil {
					t.Fatalf("%s, %s: it ends", path, how)
				}
			}
			repeated := false
			for _, n := range seen {
				repeated = repeated || n > 1
			}
			want := map[m365sim.Endless]struct {
				links    int
				repeated bool
			}{m365sim.EndlessLink: {2, true}, m365sim.EndlessEmpty: {6, false}, m365sim.EndlessSame: {6, true}, m365sim.EndlessNew: {6, false}}[how]
			if how == m365sim.EndlessLink {
				want.links = len(links) // one leads to itself
				if len(links) > 2 {
					t.Errorf("%s: %d links", path, len(links))
				}
			}
			if len(links) != want.links || repeated != want.repeated {
				t.Errorf("%s, %s: %d links, records repeated %t", path, how, len(links), repeated)
			}
			other := s.token(s.seed.Tenant(seed.Large), m365sim.GraphResource)
			s.noViolations()
			if a := s.do(http.MethodGet, next, other, ""); a.status == http.StatusOK {
				t.Errorf("%s: another tenant followed the link", path)
			}
			s.ResetViolations()
			s.ClearFaults()
		}
	}
}

func TestFaultsByQuery(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 2})
	s.AddFault(m365sim.Fault{Query: regexp.MustCompile(`\$select=[^&]*signInActivity`), Status: 504})
	s.AddFault(m365sim.Fault{Query: regexp.MustCompile(`\$skiptoken=`), Status: 400, Code: "Directory_ExpiredPageToken", Count: 1})
	if a := s.get("/v1.0/users?$select=id,signInActivity"); a.status != 504 {
		t.Errorf("with sign-in activity: %d", a.status)
	}
	a := s.get("/v1.0/users?$select=id")
	next, _ := a.json(t)["@odata.nextLink"].(string)
	if a.status != 200 || next == "" {
		t.Fatalf("without: %d, %q", a.status, next)
	}
	if a := s.get(strings.TrimPrefix(next, s.Graph)); a.status != 400 {
		t.Errorf("the expired page: %d", a.status)
	}
	s.ClearFaults()
	s.AddFault(m365sim.Fault{Empty: true, Path: regexp.MustCompile("/users$")})
	if rows, pages, _ := s.all("/v1.0/users?$select=id"); len(rows) != 0 || pages != 1 {
		t.Errorf("an empty list has %d records on %d pages", len(rows), pages)
	}
	s.ClearFaults()
	filter := "/v1.0/deviceManagement/managedDevices?$select=id,azureADDeviceId&$filter=azureADDeviceId%20eq%20'none'"
	if rows, _, _ := s.all(filter); len(rows) != 0 {
		t.Errorf("filtered: %d", len(rows))
	}
	s.AddFault(m365sim.Fault{Unfiltered: true})
	if rows, _, _ := s.all(filter); len(rows) == 0 {
		t.Error("the filter was applied")
	}
	s.noViolations()
}
