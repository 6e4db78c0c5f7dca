package m365sim_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

func TestRefusedReads(t *testing.T) {
	s := start(t, m365sim.Config{})
	for _, tt := range []struct {
		name, path string
		headers    []string
		status     int
		message    string
	}{
		{"unknown property", "/v1.0/users?$select=id,nickname", nil, 400, "Could not find a property named 'nickname'"},
		{"property in another case", "/v1.0/users?$select=displayname", nil, 400, "Could not find a property named 'displayname'"},
		{"beta property on v1.0", "/v1.0/deviceManagement/managedDevices?$select=id,joinType", nil, 400, "Could not find a property named 'joinType'"},
		{"beta property in v1.0 delta", "/v1.0/groups/delta?$select=creationOptions", nil, 400, "Could not find a property named"},
		{"property that lists do not have", "/v1.0/users?$select=aboutMe", nil, 501, "cannot be selected"},
		{"unknown option", "/v1.0/users?$skip=10", nil, 400, "'$skip' is not supported"},
		{"option without dollar", "/v1.0/users?select=id", nil, 400, "'select' is not supported"},
		{"repeated option", "/v1.0/users?$top=1&$top=2", nil, 400, "repeated"},
		{"top too large", "/v1.0/users?$top=1000", nil, 400, "between 1 and 999"},
		{"top zero", "/v1.0/users?$top=0", nil, 400, "between 1 and 999"},
		{"top where there is none", "/v1.0/subscribedSkus?$top=5", nil, 400, "'$top' is not supported"},
		{"top in delta", "/v1.0/groups/delta?$top=5", nil, 400, "'$top' is not supported"},
		{"filter of an unsupported property", "/v1.0/users?$filter=" + url.QueryEscape("faxNumber eq '1'"), nil, 400, "invalid query filter"},
		{"filter with an unsupported operator", "/v1.0/users?$filter=" + url.QueryEscape("displayName gt 'a'"), nil, 400, "operator"},
		{"broken filter", "/v1.0/users?$filter=" + url.QueryEscape("displayName eq 'a"), nil, 400, "Invalid filter"},
		{"advanced filter without count", "/v1.0/users?$filter=" + url.QueryEscape("assignedLicenses/$count ne 0"), []string{"ConsistencyLevel", "eventual"}, 400, "ConsistencyLevel"},
		{"advanced filter without the header", "/v1.0/users?$count=true&$filter=" + url.QueryEscape("assignedLicenses/$count ne 0"), nil, 400, "ConsistencyLevel"},
		{"count without the header", "/v1.0/users?$count=true", nil, 400, "ConsistencyLevel"},
		{"unsupported sorting", "/v1.0/users?$orderby=jobTitle", nil, 400, "Sorting"},
		{"unsupported expansion", "/v1.0/deviceManagement/managedDevices/x/deviceCompliancePolicyStates?$expand=owner", nil, 400, "Could not find a property named 'owner'"},
		{"unknown path", "/v1.0/userz", nil, 404, "Resource not found for the segment 'userz'"},
		{"unknown version", "/v2.0/users", nil, 404, "Resource not found"},
		{"per-policy status list", "/v1.0/deviceManagement/deviceCompliancePolicies/1/deviceStatuses", nil, 404, "Resource not found"},
		{"invalid period", "/v1.0/reports/getMailboxUsageDetail(period='D9')", nil, 400, "Invalid period"},
		{"JSON report on v1.0", "/v1.0/reports/getMailboxUsageDetail(period='D7')?$format=application/json", nil, 400, "format"},
		{"made up skip token", "/v1.0/users?$skiptoken=abc", nil, 400, "skip token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.get(tt.path, tt.headers...)
			code, message := a.code()
			if a.status != tt.status || !strings.Contains(message, tt.message) || code == "" {
				t.Errorf("answered %d %s: %s", a.status, code, message)
			}
			s.violated()
		})
	}
	token := s.token(s.tenant, m365sim.GraphResource)
	if a := s.do(http.MethodGet, s.Graph+"/v1.0/users", token, "{}"); a.status != http.StatusBadRequest {
		t.Errorf("GET with a body: answered %d", a.status)
	}
	s.violated()
	if a := s.do(http.MethodPatch, s.Graph+"/v1.0/users", token, "{}"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("PATCH: answered %d", a.status)
	}
	s.violated()
}

func TestProperties(t *testing.T) {
	s := start(t, m365sim.Config{})
	keys := func(path string) string {
		t.Helper()
		a := s.get(path)
		row := a.json(t)
		if list, ok := row["value"].([]any); ok {
			row = list[0].(map[string]any)
		}
		delete(row, "@odata.context")
		return strings.Join(slices.Sorted(maps.Keys(row)), " ")
	}
	for path, want := range map[string]string{
		"/v1.0/users":                           "businessPhones displayName givenName id jobTitle mail mobilePhone officeLocation preferredLanguage surname userPrincipalName",
		"/v1.0/users?$select=id,accountEnabled": "accountEnabled id",
		"/v1.0/directoryRoles":                  "deletedDateTime description displayName id roleTemplateId",
		"/v1.0/deviceManagement/managedDevices?$select=id,physicalMemoryInBytes": "id physicalMemoryInBytes",
	} {
		if got := keys(path); got != want {
			t.Errorf("%s: properties %s, want %s", path, got, want)
		}
	}
	id := s.tenant.ManagedDevices[0].ID()
	list := s.get("/beta/deviceManagement/managedDevices").rows(t)[0]
	if list["physicalMemoryInBytes"] != 0.0 || list["hardwareInformation"] != nil || list["chassisType"] != nil {
		t.Errorf("a list shows %v %v %v without being asked", list["physicalMemoryInBytes"], list["hardwareInformation"], list["chassisType"])
	}
	selected := s.get("/beta/deviceManagement/managedDevices?$select=id,joinType,hardwareInformation,usersLoggedOn").rows(t)[0]
	if selected["hardwareInformation"] == nil || selected["joinType"] == nil || selected["id"] != id {
		t.Errorf("selected beta properties are missing: %v", selected)
	}
	if a := s.get("/v1.0/policies/authorizationPolicy").json(t); a["defaultUserRolePermissions"] == nil {
		t.Errorf("v1.0 gives the policy as %v", a)
	}
	if rows := s.get("/beta/policies/authorizationPolicy").rows(t); len(rows) != 1 {
		t.Errorf("beta gives %d policies", len(rows))
	}
	scores := s.get("/v1.0/security/secureScores?$top=1").rows(t)
	if len(scores) != 1 || scores[0]["createdDateTime"] != "2031-05-13T00:00:00Z" {
		t.Errorf("the newest score is %v", scores)
	}
	s.noViolations()
}

func TestFilters(t *testing.T) {
	s := start(t, m365sim.Config{})
	licensed := 0
	for _, u := range s.tenant.Users {
		if u["assignedLicenses"] != nil {
			licensed++
		}
	}
	a := s.get("/v1.0/users?$top=999&$count=true&$filter="+url.QueryEscape("assignedLicenses/$count ne 0"), "ConsistencyLevel", "eventual")
	if n := len(a.rows(t)); n != licensed || a.json(t)["@odata.count"] != float64(licensed) {
		t.Errorf("%d licensed users, want %d", n, licensed)
	}
	d := s.tenant.Devices[3]
	rows := s.get("/v1.0/devices?$filter=" + url.QueryEscape("deviceId eq '"+d.String("deviceId")+"'")).rows(t)
	if len(rows) != 1 || rows[0]["id"] != d.ID() {
		t.Errorf("the device is not found by its device id: %v", rows)
	}
	var states int
	for _, m := range s.tenant.ManagedDevices {
		if m["complianceState"] == "noncompliant" || m["complianceState"] == "error" {
			states++
		}
	}
	rows = s.get("/v1.0/deviceManagement/managedDevices?$filter=" + url.QueryEscape("complianceState eq 'noncompliant' or complianceState eq 'error'")).rows(t)
	if len(rows) != states {
		t.Errorf("%d devices do not comply, want %d", len(rows), states)
	}
	s.noViolations()
}

func TestPaging(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 7})
	rows, pages, _ := s.all("/v1.0/users?$top=999&$select=id")
	if len(rows) != len(s.tenant.Users) || pages != (len(rows)+6)/7 {
		t.Errorf("%d users on %d pages, want %d", len(rows), pages, len(s.tenant.Users))
	}
	token := s.token(s.tenant, m365sim.GraphResource)
	first := s.do(http.MethodGet, s.Graph+"/v1.0/users?$select=id,mail&$top=5", token, "").json(t)
	next := first["@odata.nextLink"].(string)
	if !strings.HasPrefix(next, s.Graph+"/v1.0/users?") || !strings.Contains(next, "$skiptoken=") {
		t.Fatalf("next link %s", next)
	}
	for range 2 { // a page can be asked for again
		if a := s.do(http.MethodGet, next, token, ""); len(a.rows(t)) != 5 || len(a.rows(t)[0]) != 2 {
			t.Errorf("the next page is %s", a.body)
		}
	}
	s.noViolations()
	other := s.token(s.seed.Tenant(seed.Large), m365sim.GraphResource)
	for name, c := range map[string]struct{ url, token string }{
		"an option added":   {next + "&$count=true", token},
		"an option removed": {strings.Replace(next, "$top=5", "", 1), token},
		"an option changed": {strings.Replace(next, "$top=5", "$top=6", 1), token},
		"another path":      {strings.Replace(next, "/users?", "/devices?", 1), token},
		"another tenant":    {next, other},
	} {
		if a := s.do(http.MethodGet, c.url, c.token, ""); a.status != http.StatusBadRequest {
			t.Errorf("next link with %s: answered %d", name, a.status)
		}
		s.violated()
	}
	// A list does not change under way.
	s.tenant.Change(func(t *m365sim.Tenant) { t.Users = t.Users[:1] })
	if a := s.do(http.MethodGet, next, token, ""); len(a.rows(t)) != 5 {
		t.Errorf("the list changed between its pages: %s", a.body)
	}
}

func TestPermissions(t *testing.T) {
	s := start(t, m365sim.Config{})
	for _, tt := range []struct {
		path   string
		deny   []string
		status int
		code   string
	}{
		{"/v1.0/identity/conditionalAccess/policies", []string{"Policy.Read.All"}, 403, "AccessDenied"},
		{"/v1.0/policies/authorizationPolicy", []string{"Policy.Read.All"}, 403, "Authorization_RequestDenied"},
		{"/v1.0/users", []string{"User.Read.All"}, 200, ""},
		{"/v1.0/users", []string{"User.Read.All", "Directory.Read.All"}, 403, "Authorization_RequestDenied"},
		{"/v1.0/users?$select=id,signInActivity", []string{"AuditLog.Read.All"}, 403, "Authentication_MSGraphPermissionMissing"},
		{"/v1.0/deviceManagement/managedDevices", []string{"DeviceManagementManagedDevices.Read.All"}, 403, "Forbidden"},
		{"/v1.0/security/secureScores", []string{"SecurityEvents.Read.All"}, 403, "UnknownError"},
		{"/v1.0/reports/getMailboxUsageDetail(period='D7')", []string{"Reports.Read.All"}, 403, "S2SUnauthorized"},
	} {
		s.tenant.Deny(tt.deny...)
		a := s.get(tt.path)
		if code, _ := a.code(); a.status != tt.status || code != tt.code {
			t.Errorf("%s without %v: answered %d %s", tt.path, tt.deny, a.status, code)
		}
		s.tenant.Grant(tt.deny...)
	}
	basic := s.token(s.seed.Tenant(seed.Restricted), m365sim.GraphResource)
	s.seed.Tenant(seed.Restricted).Grant("AuditLog.Read.All")
	a := s.do(http.MethodGet, s.Graph+"/v1.0/users?$select=signInActivity", basic, "")
	if code, _ := a.code(); code != "Authentication_RequestFromNonPremiumTenantOrB2CTenant" {
		t.Errorf("sign-in activity without a premium licence: %d %s", a.status, code)
	}
	a = s.do(http.MethodGet, s.Graph+"/v1.0/deviceManagement/managedDevices", basic, "")
	if _, message := a.code(); a.status != http.StatusBadRequest || !strings.Contains(message, "not applicable to target tenant") {
		t.Errorf("Intune that is not there: %d %s", a.status, message)
	}
	s.noViolations()
}

func TestMembers(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 4})
	var outer m365sim.Entity
	for _, g := range s.tenant.Groups {
		if g.String("displayName") == "Head office" {
			outer = g
		}
	}
	direct, _, _ := s.all("/v1.0/groups/" + outer.ID() + "/members?$select=id,displayName,userPrincipalName")
	if len(direct) != len(s.tenant.Members[outer.ID()]) || direct[0]["@odata.type"] != "#microsoft.graph.user" || direct[0]["userPrincipalName"] == nil {
		t.Errorf("direct members: %v", direct)
	}
	transitive, _, _ := s.all("/v1.0/groups/" + outer.ID() + "/transitiveMembers?$select=id")
	if len(transitive) <= len(direct) {
		t.Errorf("%d transitive members, but %d direct ones", len(transitive), len(direct))
	}
	if a := s.get("/v1.0/groups/33333333-3333-4333-8333-333333333333/members"); a.status != http.StatusNotFound {
		t.Errorf("an unknown group: %d", a.status)
	}
	s.noViolations()
}

func TestPolicyStates(t *testing.T) {
	s := start(t, m365sim.Config{})
	var id string
	for device, states := range s.tenant.PolicyStates {
		if len(states) > 1 {
			id = device
		}
	}
	base := "/v1.0/deviceManagement/managedDevices/" + id + "/deviceCompliancePolicyStates"
	settings := func(path string) int {
		list, _ := s.get(path).rows(t)[0]["settingStates"].([]any)
		return len(list)
	}
	if n := settings(base); n != 0 {
		t.Errorf("%d settings without being asked", n)
	}
	if n := settings(base + "?$expand=settingStates"); n == 0 {
		t.Error("no settings when expanded")
	}
	policy := s.get(base).rows(t)[0]["id"].(string)
	if n := len(s.get(base + "/" + policy + "/settingStates").rows(t)); n == 0 {
		t.Error("no settings of their own path")
	}
	s.noViolations()
	s.tenant.Change(func(t *m365sim.Tenant) { t.NoSettingStateExpand = true })
	if a := s.get(base + "?$expand=settingStates"); a.status != http.StatusBadRequest {
		t.Errorf("an expansion that is switched off: %d", a.status)
	}
}

func TestThrottling(t *testing.T) {
	s := start(t, m365sim.Config{})
	const path = "/v1.0/identity/conditionalAccess/policies"
	if a, b := s.get(path), s.get(path); a.status != 200 || b.status != 200 {
		t.Errorf("without limits: %d %d", a.status, b.status)
	}
	s.SetThrottling(m365sim.Throttling{ConditionalAccess: true, Reports: true})
	if a := s.get(path); a.status != 200 {
		t.Errorf("first call: %d", a.status)
	}
	if a := s.get(path); a.status != 429 || a.header.Get("Retry-After") != "" {
		t.Errorf("second call within a second: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	s.clock.move(time.Second)
	if a := s.get(path); a.status != 200 {
		t.Errorf("a second later: %d", a.status)
	}
	const report = "/v1.0/reports/getMailboxUsageDetail(period='D7')"
	for i := range 14 {
		if a := s.get(report); a.status != http.StatusFound {
			t.Fatalf("report %d: %d", i, a.status)
		}
	}
	if a := s.get(report); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("the fifteenth report: %d", a.status)
	}
	s.noViolations()
}

func TestCalls(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 30})
	s.all("/v1.0/users?$top=999")
	s.get("/v1.0/users/" + s.tenant.Users[0].ID())
	calls := s.Calls()
	if calls["graph GET /v1.0/users"] != 3 || calls["graph GET /v1.0/users/{id}"] != 1 || calls["login POST /{tenant}/oauth2/v2.0/token"] != 2 {
		t.Errorf("calls: %v", calls)
	}
	if n := s.CallsOf(s.seed.Tenant(seed.Large).ID)["graph GET /v1.0/users"]; n != 0 {
		t.Errorf("%d calls counted for a tenant that was not asked", n)
	}
	s.ResetCalls()
	if len(s.Calls()) != 0 {
		t.Error("counts are left after the reset")
	}
}

func TestTenantRefused(t *testing.T) {
	for name, change := range map[string]func(t *m365sim.Tenant){
		"unknown property": func(t *m365sim.Tenant) { t.Users[0]["nickname"] = "x" },
		"repeated id":      func(t *m365sim.Tenant) { t.Users[1]["id"] = t.Users[0]["id"] },
		"lost member": func(t *m365sim.Tenant) {
			t.Members[t.Groups[0].ID()] = []m365sim.Member{{Type: "user", ID: "nobody"}}
		},
		"no organization": func(t *m365sim.Tenant) { t.Organization = nil },
	} {
		tenant := seed.Generate(seed.Size{Tenants: 1, Users: 4, Devices: 1, Groups: 1, Day: testDay}).Tenants[0]
		change(tenant)
		if _, err := m365sim.New(m365sim.Config{}, tenant); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
