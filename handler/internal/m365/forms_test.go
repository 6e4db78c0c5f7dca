package m365

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

// deadline is a context whose deadline passes when it is told to.
type deadline struct {
	context.Context
	once   sync.Once
	passed chan struct{}
}

func (d *deadline) pass()                       { d.once.Do(func() { close(d.passed) }) }
func (d *deadline) Done() <-chan struct{}       { return d.passed }
func (d *deadline) Deadline() (time.Time, bool) { return time.Now().Add(time.Hour), true }
func (d *deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// failing answers with the fault where the request's address holds the word, and
// else as before.
func (c *cloud) failing(route, word string, fault http.HandlerFunc) {
	c.mu.Lock()
	before := c.routes[route]
	c.mu.Unlock()
	c.on(route, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Query().Get("$select"), word) {
			fault(w, r)
			return
		}
		before(w, r)
	})
}

// usersAsSelected answers with the properties that were asked for.
func (c *cloud) usersAsSelected(w http.ResponseWriter, r *http.Request) {
	row := `{"id":"` + userAda + `","userPrincipalName":"ada@tailspin.example","displayName":"Ada","assignedLicenses":[{"skuId":"` + skuMain + `"}]`
	if strings.Contains(r.URL.Query().Get("$select"), "licenseAssignmentStates") {
		row += `,"licenseAssignmentStates":[{"skuId":"` + skuMain + `","state":"Active","lastUpdatedDateTime":"2024-05-06T00:00:00Z"}]`
	}
	if strings.Contains(r.URL.Query().Get("$select"), "signInActivity") {
		row += `,"signInActivity":{"lastSignInDateTime":"2026-11-20T00:00:00Z"}`
	}
	c.value(row+`},{"id":"`+userBen+`","assignedLicenses":[]}`)(w, r)
}

// TestOptionalDetailsFailAlone has each optional property, beta list and delta
// list fail in every way while the rest works: it takes only itself away, and the
// snapshot says so.
func TestOptionalDetailsFailAlone(t *testing.T) {
	type detail = tenant.Detail
	for _, tt := range []struct {
		name, route, word string
		lost              []detail
		kept              func(*tenant.Snapshot) bool
	}{
		{"sign-in activity", routeUsers, "signInActivity", []detail{tenant.DetailSignIns}, func(s *tenant.Snapshot) bool {
			return len(s.Users.Value) == 2 && s.Users.Value[0].LastSignIn.IsZero() && !s.Users.Value[0].Licenses[0].Assigned.IsZero()
		}},
		{"licence assignments", routeUsers, "licenseAssignmentStates", []detail{tenant.DetailAssigned}, func(s *tenant.Snapshot) bool {
			return len(s.Users.Value) == 2 && !s.Users.Value[0].LastSignIn.IsZero() && s.Users.Value[0].Licenses[0].Assigned.IsZero()
		}},
		{"physical ids", routeDevices, "physicalIds", []detail{tenant.DetailAutopilot}, func(s *tenant.Snapshot) bool { return len(s.EntraDevices.Value) == 1 }},
		{"hardware", routeManaged, "hardwareInformation", []detail{tenant.DetailHardware}, func(s *tenant.Snapshot) bool {
			d := s.ManagedDevices.Value[0]
			return d.JoinType != "" && len(d.UsersLogged) == 1
		}},
		{"logged on users", routeManaged, "usersLoggedOn", []detail{tenant.DetailLoggedOn}, func(s *tenant.Snapshot) bool {
			d := s.ManagedDevices.Value[0]
			return d.JoinType != "" && d.Hardware != nil
		}},
		{"join type", routeManaged, "joinType", []detail{tenant.DetailEnrolment}, func(s *tenant.Snapshot) bool {
			d := s.ManagedDevices.Value[0]
			return len(d.UsersLogged) == 1 && d.Hardware != nil
		}},
		{"the beta list", routeManaged, "", []detail{tenant.DetailHardware, tenant.DetailEnrolment, tenant.DetailLoggedOn}, func(s *tenant.Snapshot) bool {
			return len(s.ManagedDevices.Value) == 2 && !s.ManagedDevices.Value[0].FromBetaList
		}},
		{"groups delta", routeGroups, "", nil, func(s *tenant.Snapshot) bool { return len(s.Groups.Value) == 1 && len(s.Groups.Value[0].Members) == 1 }},
		{"roles delta", routeRoles, "", nil, func(s *tenant.Snapshot) bool { return len(s.Roles.Value) == 1 && len(s.Roles.Value[0].Members) == 1 }},
		{"score titles", "GET /v1.0/security/secureScoreControlProfiles", "", []detail{tenant.DetailTitles}, func(s *tenant.Snapshot) bool {
			return s.SecureScore.Value.Current == 40.5
		}},
	} {
		for _, status := range []int{400, 403, 404, 429, 500, 501, 502, 503, 504, 200} {
			t.Run(fmt.Sprintf("%s answers %d", tt.name, status), func(t *testing.T) {
				c := newCloud(t)
				body := `{"error":{"code":"UnknownError","message":"no"}}`
				if status == 200 {
					body = "<html>"
				}
				c.on(routeManagedV1, c.value(`{"id":"m1","azureADDeviceId":"dev1","complianceState":"noncompliant"},{"id":"m2","complianceState":"compliant"}`))
				c.on("GET /v1.0/groups", c.value(`{"id":"`+groupOne+`","displayName":"All staff"}`))
				c.on("GET /v1.0/groups/"+groupOne+"/members", c.value(`{"@odata.type":"#microsoft.graph.user","id":"`+userAda+`"}`))
				c.on("GET /v1.0/directoryRoles", c.value(`{"id":"`+roleGlobal+`","roleTemplateId":"`+tenant.GlobalAdministrator+`"}`))
				c.on("GET /v1.0/directoryRoles/"+roleGlobal+"/members", c.value(`{"@odata.type":"#microsoft.graph.user","id":"`+userAda+`"}`))
				c.on(routeUsers, c.usersAsSelected)
				c.failing(tt.route, tt.word, c.says(status, body))
				s := c.read()
				for _, d := range s.Absent() {
					known := false
					for _, l := range tt.lost {
						known = known || string(l) == d.Name
					}
					if !known || !strings.HasPrefix(d.Reason, "Not available: ") {
						t.Errorf("lost: %+v", d)
					}
				}
				if len(s.Unknown) != len(tt.lost) {
					t.Errorf("the snapshot does not know %v, want %v", s.Unknown, tt.lost)
				}
				if !tt.kept(s) {
					t.Errorf("more was lost: %+v, %+v", s.Users, s.ManagedDevices)
				}
			})
		}
	}
}

func TestAllFormsDown(t *testing.T) {
	c := newCloud(t)
	c.on(routeUsers, c.says(503, ""))
	s := c.read()
	if s.Users.Reason != "Not available: Microsoft Graph was not able to answer"+nextSync || len(s.Unknown) != 0 {
		t.Errorf("%q, %v", s.Users.Reason, s.Unknown)
	}
	if n := c.count(routeUsers); n != 3*sparingAttempts+maxAttempts {
		t.Errorf("%d attempts", n)
	}
}

// TestSettingsFromBeta has v1.0 refuse the settings of a failing policy.
func TestSettingsFromBeta(t *testing.T) {
	const path = "/deviceManagement/managedDevices/m1/deviceCompliancePolicyStates"
	for name, beta := range map[string]bool{"beta has them": true, "beta refuses too": false} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on("GET /v1.0"+path, c.value(`{"id":"p1","displayName":"Baseline","state":"nonCompliant","settingCount":1}`))
			c.on("GET /v1.0"+path+"/p1/settingStates", c.says(400, `{"error":{"code":"BadRequest"}}`))
			c.on("POST /beta/$batch", c.batch)
			c.on("GET /beta"+path+"/p1/settingStates", c.says(400, ""))
			if beta {
				c.on("GET /beta"+path+"/p1/settingStates", c.value(`{"setting":"S1","state":"nonCompliant"}`))
			}
			s := c.read()
			states := s.PolicyStates.Value["m1"]
			if len(states) != 1 || (len(states[0].Settings) == 1) != beta || (s.Unknown[tenant.DetailSettings].Reason == "") != beta {
				t.Errorf("%+v, %v", states, s.Unknown)
			}
			if n := c.count("GET /beta" + path + "/p1/settingStates"); n != 1 {
				t.Errorf("beta was asked %d times", n)
			}
		})
	}
}
