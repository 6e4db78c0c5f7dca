package m365sim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

const managedFilter = "/v1.0/deviceManagement/managedDevices?$filter="

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
		{"unknown option", "/v1.0/users?$skip=10", nil, 400, "'$skip' is not supported"},
		{"option without dollar", "/v1.0/users?select=id", nil, 400, "'select' is not supported"},
		{"repeated option", "/v1.0/users?$top=1&$top=2", nil, 400, "repeated"},
		{"top too large", "/v1.0/users?$top=1000", nil, 400, "between 1 and 999"},
		{"top zero", "/v1.0/users?$top=0", nil, 400, "between 1 and 999"},
		{"top where there is none", "/v1.0/subscribedSkus?$top=5", nil, 400, "'$top' is not supported"},
		{"top in delta", "/v1.0/groups/delta?$top=5", nil, 400, "'$top' is not supported"},
		{"filter where there is none", "/v1.0/users?$filter=" + url.QueryEscape("displayName eq 'a'"), nil, 400, "'$filter' is not supported"},
		{"filter of an unsupported property", managedFilter + url.QueryEscape("faxNumber eq '1'"), nil, 400, "invalid query filter"},
		{"filter with an unsupported operator", managedFilter + url.QueryEscape("azureADDeviceId gt 'a'"), nil, 400, "Invalid filter"},
		{"broken filter", managedFilter + url.QueryEscape("azureADDeviceId eq 'a"), nil, 400, "Invalid filter"},
		{"delta without a selection", "/v1.0/users/delta", nil, 400, "Could not find a property named ''"},
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

// TestRefusedLinks: a link of the service is followed as it was given, by the
// tenant that got it, and for as long as it holds.
func TestRefusedLinks(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 5})
	token, other := s.token(s.tenant, m365sim.GraphResource), s.token(s.seed.Tenant(seed.Large), m365sim.GraphResource)
	next := s.get("/v1.0/users?$select=id,mail&$top=5").json(t)["@odata.nextLink"].(string)
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
	link := ""
	for next := s.Graph + "/v1.0/groups/delta?$select=id"; link == ""; {
		page := s.do(http.MethodGet, next, token, "").json(t)
		next, _ = page["@odata.nextLink"].(string)
		link, _ = page["@odata.deltaLink"].(string)
	}
	if a := s.do(http.MethodGet, link+"&$select=id", token, ""); a.status != http.StatusBadRequest {
		t.Errorf("an altered delta link: %d", a.status)
	}
	s.violated()

	download := s.get("/v1.0/reports/getMailboxUsageDetail(period='D7')").header.Get("Location")
	if a := s.do(http.MethodGet, download, token, ""); a.status != http.StatusForbidden {
		t.Errorf("a download with a token: %d", a.status)
	}
	s.violated()
	for i, want := range []int{200, 200, 403} {
		if a := s.do(http.MethodGet, download, "", ""); a.status != want {
			t.Errorf("download %d: %d, want %d", i+1, a.status, want)
		}
	}
	download = s.get("/beta/reports/getOneDriveUsageAccountDetail(period='D30')").header.Get("Location")
	s.clock.move(6 * time.Minute)
	if a := s.do(http.MethodGet, download, "", ""); a.status != http.StatusForbidden {
		t.Errorf("a download that has expired: %d", a.status)
	}
	s.noViolations()
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

func command(cmdlet, parameters string) string {
	return `{"CmdletInput":{"CmdletName":"` + cmdlet + `","Parameters":` + parameters + `}}`
}

func (s *sim) exchange(url, body string, headers ...string) answer {
	s.t.Helper()
	h := append([]string{"Content-Type", "application/json; charset=utf-8", "Prefer", "odata.maxpagesize=1000",
		"X-AnchorMailbox", "APP:SystemMailbox{0}@" + s.tenant.ID}, headers...)
	return s.do(http.MethodPost, url, s.token(s.tenant, m365sim.ExchangeResource), body, h...)
}

func (s *sim) invoke(cmdlet, parameters string, headers ...string) answer {
	s.t.Helper()
	return s.exchange(s.Exchange+"/adminapi/beta/"+s.tenant.ID+"/InvokeCommand", command(cmdlet, parameters), headers...)
}

func TestExchangeRefusals(t *testing.T) {
	s := start(t, m365sim.Config{})
	other := s.seed.Tenant(seed.Large).ID
	invoke := s.Exchange + "/adminapi/beta/" + s.tenant.ID + "/InvokeCommand"
	good := command("Get-Mailbox", "{}")
	for name, c := range map[string]struct {
		a         answer
		status    int
		message   string
		violation bool
	}{
		"unknown cmdlet":    {s.invoke("Get-Nothing", "{}"), 400, "'Get-Nothing' is not recognized", true},
		"unknown parameter": {s.invoke("Get-Mailbox", `{"Size":1}`), 400, "matches parameter name 'Size'", true},
		"bad result size":   {s.invoke("Get-Mailbox", `{"ResultSize":"all"}`), 400, "ResultSize", true},
		"no anchor":         {s.invoke("Get-Mailbox", "{}", "X-AnchorMailbox", ""), 400, "X-AnchorMailbox", true},
		"foreign anchor":    {s.invoke("Get-Mailbox", "{}", "X-AnchorMailbox", "APP:x@"+other), 400, "X-AnchorMailbox", true},
		"content type":      {s.invoke("Get-Mailbox", "{}", "Content-Type", "text/plain"), 400, "Content-Type", true},
		"no charset":        {s.invoke("Get-Mailbox", "{}", "Content-Type", "application/json"), 400, "Content-Type", true},
		"unknown member":    {s.exchange(invoke, `{"Cmdlet":"Get-Mailbox"}`), 400, "unknown field", true},
		"unknown selection": {s.exchange(invoke+"?$select=Nothing", good), 400, "'Nothing'", true},
		"unknown option":    {s.exchange(invoke+"?$top=1", good), 400, "$top", true},
		"entity set":        {s.exchange(s.Exchange+"/adminapi/beta/"+s.tenant.ID+"/CasMailbox", good), 404, "not found", true},
		"another tenant":    {s.exchange(s.Exchange+"/adminapi/beta/"+other+"/InvokeCommand", good), 403, "another tenant", true},
		"GET":               {s.do("GET", invoke, s.token(s.tenant, m365sim.ExchangeResource), ""), 405, "POST", true},
	} {
		var body struct {
			Error struct {
				Details    []struct{ Message string }
				InnerError struct{ InternalException struct{ Message string } }
			}
		}
		if err := json.Unmarshal(c.a.body, &body); err != nil {
			t.Fatalf("%s: %v: %.200s", name, err, c.a.body)
		}
		if c.a.status != c.status || !strings.Contains(body.Error.InnerError.InternalException.Message, c.message) || len(body.Error.Details) != 1 {
			t.Errorf("%s: %d %s", name, c.a.status, c.a.body)
		}
	}
	if n := len(s.Violations()); n != 13 {
		t.Errorf("%d violations, want 13: %q", n, s.Violations())
	}
	s.ResetViolations()
	graph := s.token(s.tenant, m365sim.GraphResource)
	if a := s.do(http.MethodPost, invoke, graph, good); a.status != http.StatusUnauthorized {
		t.Errorf("with a token of Graph: %d", a.status)
	}
	s.violated()
	s.tenant.Change(func(t *m365sim.Tenant) { t.NoExchangeRole = true })
	if a := s.invoke("Get-Mailbox", "{}"); a.status != http.StatusForbidden {
		t.Errorf("without a role: %d", a.status)
	}
	s.noViolations()
}

func (s *sim) batch(body string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, s.Graph+"/v1.0/$batch", s.token(s.tenant, m365sim.GraphResource), body,
		append([]string{"Content-Type", "application/json"}, headers...)...)
}

func TestRefusedBatches(t *testing.T) {
	s := start(t, m365sim.Config{})
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf(`{"id":"%d","method":"GET","url":"/domains"}`, i))
	}
	for name, body := range map[string]string{
		"too many":             `{"requests":[` + strings.Join(many, ",") + `]}`,
		"none":                 `{"requests":[]}`,
		"equal ids":            `{"requests":[{"id":"a","method":"GET","url":"/domains"},{"id":"A","method":"GET","url":"/domains"}]}`,
		"no id":                `{"requests":[{"method":"GET","url":"/domains"}]}`,
		"no method":            `{"requests":[{"id":"1","url":"/domains"}]}`,
		"absolute url":         `{"requests":[{"id":"1","method":"GET","url":"https://graph.microsoft.com/v1.0/domains"}]}`,
		"batch in a batch":     `{"requests":[{"id":"1","method":"POST","url":"/$batch"}]}`,
		"body":                 `{"requests":[{"id":"1","method":"POST","url":"/groups","body":{}}]}`,
		"token in a part":      `{"requests":[{"id":"1","method":"GET","url":"/domains","headers":{"authorization":"x"}}]}`,
		"unknown member":       `{"requests":[{"id":"1","method":"GET","uri":"/domains"}]}`,
		"depends on another":   `{"requests":[{"id":"1","method":"GET","url":"/domains","dependsOn":["2"]}]}`,
		"no JSON":              `requests`,
		"more than one object": `{"requests":[{"id":"1","method":"GET","url":"/domains"}]}{}`,
	} {
		if a := s.batch(body); a.status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, a.status)
		}
		s.violated()
	}
	if a := s.batch("{}", "Content-Type", "text/plain"); a.status != http.StatusBadRequest {
		t.Errorf("wrong type: answered %d", a.status)
	}
	s.violated()
}

// listener answers handshakes as answer does.
type listener struct {
	*httptest.Server
	answer func(w http.ResponseWriter, token string)
}

func listen(t *testing.T) *listener {
	l := &listener{answer: func(w http.ResponseWriter, token string) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, token)
	}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.answer(w, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(l.Close)
	return l
}

// subscription is a good request with changes; an empty value removes one.
func (l *listener) subscription(changes ...string) string {
	body := map[string]string{"changeType": "updated", "resource": "devices", "notificationUrl": l.URL + "/n?a=1",
		"lifecycleNotificationUrl": l.URL + "/l?a=2", "clientState": "state", "expirationDateTime": stampAt(testDay.Add(24 * time.Hour))}
	for i := 0; i+1 < len(changes); i += 2 {
		if body[changes[i]] = changes[i+1]; changes[i+1] == "" {
			delete(body, changes[i])
		}
	}
	b, _ := json.Marshal(body)
	return string(b)
}

func stampAt(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *sim) subscribe(body string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, s.Graph+"/v1.0/subscriptions", s.token(s.tenant, m365sim.GraphResource), body, "Content-Type", "application/json")
}

func TestSubscriptionRefusals(t *testing.T) {
	s, l := start(t, m365sim.Config{}), listen(t)
	tests := map[string][]string{
		"no resource":               {"resource", ""},
		"no change type":            {"changeType", ""},
		"no address":                {"notificationUrl", ""},
		"no end":                    {"expirationDateTime", ""},
		"another resource":          {"resource", "deviceManagement/managedDevices"},
		"another change type":       {"changeType", "created"},
		"plain http":                {"notificationUrl", "http://sync.fabrikam.example/n"},
		"plain http for lifecycles": {"lifecycleNotificationUrl", "http://sync.fabrikam.example/n"},
		"too long":                  {"expirationDateTime", stampAt(testDay.Add(m365sim.MaxSubscriptionLife + time.Minute))},
		"over already":              {"expirationDateTime", stampAt(testDay.Add(-time.Minute))},
		"not UTC":                   {"expirationDateTime", "2031-05-15T00:00:00+01:00"},
		"long client state":         {"clientState", strings.Repeat("x", 129)},
		"unknown property":          {"resourceData", "true"},
	}
	for name, changes := range tests {
		t.Run(name, func(t *testing.T) {
			if a := s.subscribe(l.subscription(changes...)); a.status != http.StatusBadRequest {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			s.violated()
		})
	}
	handshakes := map[string]func(w http.ResponseWriter, token string){
		"202": func(w http.ResponseWriter, token string) { w.WriteHeader(http.StatusAccepted) },
		"html": func(w http.ResponseWriter, token string) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, token)
		},
		"other token": func(w http.ResponseWriter, token string) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, token+"\n")
		},
	}
	for name, answer := range handshakes {
		t.Run("handshake: "+name, func(t *testing.T) {
			l := listen(t)
			l.answer = answer
			a := s.subscribe(l.subscription())
			if code, message := a.code(); a.status != http.StatusBadRequest || code != "ValidationError" || !strings.Contains(message, "validation") {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
	if n := len(s.Subscriptions(s.tenant.ID)); n != 0 {
		t.Errorf("%d refused subscriptions exist", n)
	}
	s.noViolations()

	for i := range 100 {
		s.AddSubscription(m365sim.Subscription{ID: fmt.Sprint(i), TenantID: s.tenant.ID, Expires: time.Now().AddDate(90, 0, 0)})
	}
	if a := s.subscribe(l.subscription()); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "limit") {
		t.Errorf("beyond the quota: %d %s", a.status, a.body)
	}
	s.tenant.Deny("Device.Read.All", "Directory.Read.All")
	if a := s.subscribe(l.subscription()); a.status != http.StatusForbidden || strings.Contains(string(a.body), "limit") {
		t.Errorf("without permission: %d %s", a.status, a.body)
	}
}

func TestListingSubscriptionsIsThrottledHard(t *testing.T) {
	s := start(t, m365sim.Config{})
	for i := range 41 {
		a := s.get("/v1.0/subscriptions")
		if want := map[bool]int{true: 200, false: 429}[i < 40]; a.status != want {
			t.Fatalf("list %d answered %d, want %d", i+1, a.status, want)
		}
	}
	s.clock.move(20 * time.Second)
	if a := s.get("/v1.0/subscriptions"); a.status != 200 {
		t.Errorf("after the limit's time a list answered %d", a.status)
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
