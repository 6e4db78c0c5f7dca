package ninjasim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// instance is a served simulator with some content, and a client of it.
type instance struct {
	*Server
	t     *testing.T
	clock *clock
	token string
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)}
	s := New(Config{ClientID: "sync-app", ClientSecret: "not-a-real-secret", Now: c.Now})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.AddOrganization(Organization{ID: 1, Name: "Alder Clinics"})
	s.AddOrganization(Organization{ID: 2, Name: "Birch Freight"})
	s.AddOrganization(Organization{ID: 5, Name: "Cedar Schools"})
	s.AddDevice(Device{ID: 11, OrganizationID: 1, SystemName: "ALD-LT-01", SerialNumber: "SN11", BIOSSerialNumber: "BIOS11", OSName: "Windows 11 Pro",
		Manufacturer: "Example Works", Model: "Book 14", ChassisType: "LAPTOP", LastContact: c.now})
	s.AddDevice(Device{ID: 12, OrganizationID: 1, SystemName: "ALD-SRV-01", NodeClass: "WINDOWS_SERVER", Offline: true})
	s.AddDevice(Device{ID: 13, OrganizationID: 1, SystemName: "ALD-NEW-01", ApprovalStatus: "PENDING"})
	s.AddDevice(Device{ID: 21, OrganizationID: 2, SystemName: "BIR-MAC-01", NodeClass: "MAC"})
	for _, field := range []CustomField{
		{Name: "tenantSummary", Type: "WYSIWYG", APIPermission: "READ_WRITE", DefinitionScope: []string{"ORGANIZATION"}},
		{Name: "tenantNote", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"ORGANIZATION", "NODE"}},
		{Name: "deviceSummary", Type: "WYSIWYG", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}},
		{Name: "deviceCompliance", Label: "Compliance", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}},
		{Name: "readOnly", Type: "TEXT", APIPermission: "READ_ONLY", DefinitionScope: []string{"NODE"}},
		{Name: "hidden", Type: "TEXT", DefinitionScope: []string{"NODE"}},
		{Name: "flag", Type: "CHECKBOX", APIPermission: "READ_WRITE"},
		{Name: "count", Type: "NUMERIC", APIPermission: "READ_WRITE"},
		{Name: "portal", Type: "URL", APIPermission: "READ_WRITE"},
	} {
		s.AddCustomField(field)
	}
	i := &instance{Server: s, t: t, clock: c}
	i.token = i.newToken("monitoring management")
	return i
}

func (i *instance) newToken(scope string) string {
	i.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"sync-app"}, "client_secret": {"not-a-real-secret"}, "scope": {scope}}
	a := i.send("POST", "/ws/oauth/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	if a.status != http.StatusOK {
		i.t.Fatalf("token: %d %s", a.status, a.body)
	}
	return a.object(i.t)["access_token"].(string)
}

type received struct {
	status int
	header http.Header
	body   []byte
}

func (r received) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(r.body, &object); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return object
}

func (r received) list(t *testing.T) []map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal(r.body, &list); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return list
}

func ids(list []map[string]any, name string) []int {
	numbers := []int{}
	for _, element := range list {
		numbers = append(numbers, int(element[name].(float64)))
	}
	return numbers
}

// request builds a request with the token. Header names and values follow; an empty value takes the header away.
func (i *instance) request(method, target, body string, headers ...string) *http.Request {
	i.t.Helper()
	request, err := http.NewRequestWithContext(i.t.Context(), method, i.URL()+target, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+i.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for n := 0; n+1 < len(headers); n += 2 {
		if headers[n+1] == "" {
			request.Header.Del(headers[n])
		} else {
			request.Header.Set(headers[n], headers[n+1])
		}
	}
	return request
}

// send makes one call, and holds a successful answer to the contract.
func (i *instance) send(method, target, body string, headers ...string) received {
	i.t.Helper()
	response, err := http.DefaultClient.Do(i.request(method, target, body, headers...))
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	if response.Header.Get("X-Nj-Request-Id") == "" {
		i.t.Errorf("%s %s: answer without x-nj-request-id", method, target)
	}
	if response.StatusCode < 300 && strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		i.checkAnswer(method, target, response, content)
	}
	return received{response.StatusCode, response.Header, content}
}

func (i *instance) checkAnswer(method, target string, response *http.Response, content []byte) {
	i.t.Helper()
	request := httptest.NewRequest(method, strings.TrimPrefix(target, "/api"), nil)
	route, parameters, err := i.router.FindRoute(request)
	if err != nil {
		i.t.Fatal(err)
	}
	err = openapi3filter.ValidateResponse(i.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route},
		Status:                 response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(content)),
	})
	if err != nil {
		i.t.Errorf("%s %s: answer breaks the contract: %v", method, target, err)
	}
}

func TestTokenService(t *testing.T) {
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {"sync-app"}, "client_secret": {"not-a-real-secret"}}
	with := func(name, value string) string {
		form := url.Values{}
		for key, values := range good {
			form[key] = values
		}
		form.Set(name, value)
		return form.Encode()
	}
	const formType = "application/x-www-form-urlencoded"
	tests := []struct {
		name, target, body, contentType, authorization string
		status                                         int
		member, value                                  string
		violation                                      bool
	}{
		{name: "all scopes", body: good.Encode(), contentType: formType, status: 200, member: "scope", value: "monitoring management"},
		{name: "one scope", body: with("scope", "monitoring"), contentType: formType, status: 200, member: "scope", value: "monitoring"},
		{name: "scope not granted", body: with("scope", "monitoring control"), contentType: formType, status: 400, member: "error", value: "invalid_scope"},
		{name: "unknown client", body: with("client_id", "other"), contentType: formType, status: 404, member: "resultCode", value: "Client app not exist"},
		{name: "wrong secret", body: with("client_secret", "other"), contentType: formType, status: 401, member: "error", value: "invalid_client"},
		{name: "other grant", body: with("grant_type", "password"), contentType: formType, status: 400, member: "error", value: "unsupported_grant_type", violation: true},
		{name: "JSON", body: `{"grant_type":"client_credentials"}`, contentType: "application/json", status: 415, violation: true},
		{name: "basic authentication", body: good.Encode(), contentType: formType, authorization: "Basic eA==", status: 400, member: "error", value: "invalid_request", violation: true},
		{name: "missing secret", body: "grant_type=client_credentials&client_id=sync-app", contentType: formType, status: 400, violation: true},
		{name: "unknown form field", body: with("audience", "x"), contentType: formType, status: 400, violation: true},
		{name: "secret in the address", target: "?client_secret=x", body: good.Encode(), contentType: formType, status: 400, violation: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t)
			i.t = t
			a := i.send("POST", "/ws/oauth/token"+test.target, test.body, "Content-Type", test.contentType, "Authorization", test.authorization)
			if a.status != test.status {
				t.Fatalf("status %d, want %d: %s", a.status, test.status, a.body)
			}
			if test.member != "" && a.object(t)[test.member] != test.value {
				t.Errorf("answer %s, want %s %q", a.body, test.member, test.value)
			}
			if got := len(i.Violations()) > 0; got != test.violation {
				t.Errorf("violations %q", i.Violations())
			}
			if test.status == 404 && !strings.HasPrefix(a.object(t)["incidentId"].(string), "WEB_MGMT_SERVICE-") {
				t.Errorf("answer %s has no incident", a.body)
			}
		})
	}
}

func TestTokenLifetime(t *testing.T) {
	i := newInstance(t)
	i.SetTokenLifetime(90 * time.Second)
	i.token = i.newToken("")
	i.clock.advance(89 * time.Second)
	if a := i.send("GET", "/v2/organizations", ""); a.status != 200 {
		t.Fatalf("fresh token: %d", a.status)
	}
	i.clock.advance(time.Second)
	if a := i.send("GET", "/v2/organizations", ""); a.status != 401 || a.object(t)["error"] != "not_authenticated" || a.object(t)["error_code"] != 10.0 {
		t.Fatalf("expired token: %d %s", a.status, a.body)
	}
	i.token = i.newToken("")
	i.RevokeTokens()
	if a := i.send("GET", "/v2/organizations", ""); a.status != 401 {
		t.Fatalf("revoked token: %d", a.status)
	}
	i.SetClientSecret("rotated")
	form := "grant_type=client_credentials&client_id=sync-app&client_secret=not-a-real-secret"
	if a := i.send("POST", "/ws/oauth/token", form, "Content-Type", "application/x-www-form-urlencoded", "Authorization", ""); a.status != 401 {
		t.Fatalf("old secret: %d", a.status)
	}
	if v := i.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

func TestAuthorization(t *testing.T) {
	tests := []struct {
		name, header string
		status       int
		failure      string
		code         float64
	}{
		{"missing", "", 400, "missing_header", 2},
		{"no prefix", "abc", 400, "invalid_header", 1},
		{"other scheme", "Basic abc", 400, "invalid_header", 1},
		{"empty token", "Bearer ", 400, "invalid_header", 1},
		{"unknown token", "Bearer abc", 401, "not_authenticated", 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t)
			a := i.send("GET", "/v2/organizations", "", "Authorization", test.header)
			if o := a.object(t); a.status != test.status || o["error"] != test.failure || o["error_code"] != test.code {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	t.Run("scopes", func(t *testing.T) {
		i := newInstance(t)
		i.token = i.newToken("monitoring")
		if a := i.send("PATCH", "/v2/device/11/custom-fields", `{"deviceCompliance":"Compliant"}`); a.status != 403 {
			t.Errorf("write with monitoring: %d", a.status)
		}
		i.token = i.newToken("management")
		if a := i.send("GET", "/v2/organizations", ""); a.status != 403 {
			t.Errorf("read with management: %d", a.status)
		}
		if a := i.send("PATCH", "/v2/device/11/custom-fields", `{"deviceCompliance":"Compliant"}`); a.status != 204 {
			t.Errorf("write with management: %d", a.status)
		}
	})
}

func TestContractIsEnforced(t *testing.T) {
	tests := []struct {
		name, method, target, body, contentType string
		status                                  int
		violations                              int
	}{
		{"right", "GET", "/v2/organizations?pageSize=2&after=1", "", "", 200, 0},
		{"other base", "GET", "/api/v2/organizations", "", "", 200, 0},
		{"unknown path", "GET", "/v2/organizations/1", "", "", 404, 1},
		{"base on the token path", "POST", "/api/ws/oauth/token", "a=b", "application/x-www-form-urlencoded", 404, 1},
		{"unknown method", "DELETE", "/v2/organization/1", "", "", 405, 1},
		{"unknown query parameter", "GET", "/v2/organizations?size=2", "", "", 400, 1},
		{"query parameter twice", "GET", "/v2/organizations?after=1&after=2", "", "", 400, 1},
		{"query parameter of wrong type", "GET", "/v2/organizations?after=x", "", "", 400, 1},
		{"page too large", "GET", "/v2/organizations?pageSize=100000", "", "", 400, 1},
		{"page of nothing", "GET", "/v2/organizations?pageSize=0", "", "", 400, 1},
		{"report page too small", "GET", "/v2/queries/custom-fields?pageSize=9", "", "", 400, 1},
		{"identifier of wrong type", "GET", "/v2/device/x", "", "", 400, 1},
		{"identifier too large", "GET", "/v2/device/4294967296", "", "", 400, 1},
		{"body on a read", "GET", "/v2/device/11", "{}", "application/json", 400, 1},
		{"spaces as plus", "GET", "/v2/devices?df=org+=+1", "", "", 400, 1},
		{"spaces encoded", "GET", "/v2/devices?df=org%20=%201", "", "", 200, 0},
		{"secure values", "GET", "/v2/queries/custom-fields?showSecureValues=true", "", "", 403, 1},
		{"scopes", "GET", "/v2/device-custom-fields?scopes=node,organization", "", "", 200, 0},
		{"scopes with encoded commas", "GET", "/v2/device-custom-fields?scopes=all%2Cnode%2Clocation%2Corganization", "", "", 200, 0},
		{"unknown scope", "GET", "/v2/device-custom-fields?scopes=nodes", "", "", 400, 1},
		{"write without type", "PATCH", "/v2/device/11/custom-fields", `{"tenantNote":"x"}`, "text/plain", 415, 1},
		{"write of nothing", "PATCH", "/v2/device/11/custom-fields", `{}`, "application/json", 400, 1},
		{"write of an array", "PATCH", "/v2/device/11/custom-fields", `[]`, "application/json", 400, 1},
		{"unknown organization", "GET", "/v2/organization/9", "", "", 404, 0},
		{"devices of an unknown organization", "GET", "/v2/organization/9/devices", "", "", 404, 0},
		{"unknown device", "GET", "/v2/device/9", "", "", 404, 0},
		{"fields of an unknown device", "GET", "/v2/device/9/custom-fields", "", "", 404, 0},
		{"write to an unknown organization", "PATCH", "/v2/organization/9/custom-fields", `{"tenantNote":"x"}`, "application/json", 404, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t)
			a := i.send(test.method, test.target, test.body, "Content-Type", test.contentType)
			if a.status != test.status {
				t.Errorf("status %d, want %d: %s", a.status, test.status, a.body)
			}
			if v := i.Violations(); len(v) != test.violations {
				t.Errorf("violations %q, want %d", v, test.violations)
			}
			if refused := len(i.Refusals()) > 0; refused != (test.status >= 400) {
				t.Errorf("refusals %v", i.Refusals())
			}
		})
	}
}

func TestOperationsCoverTheContract(t *testing.T) {
	var described []string
	for path, item := range contractDocument().Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
			if operations[method+" "+path] == nil {
				t.Errorf("%s %s has no operation", method, path)
			}
		}
	}
	for operation := range operations {
		if !slices.Contains(described, operation) {
			t.Errorf("%s is not in the contract", operation)
		}
	}
}

func TestFaults(t *testing.T) {
	const path = "/v2/device/11/custom-fields"
	const patch = `{"deviceCompliance":"Compliant"}`
	t.Run("status with header, counted", func(t *testing.T) {
		i := newInstance(t)
		i.InjectFault(Fault{Method: "GET", Path: "^/v2/organizations$", Skip: 1, Count: 1, Status: 503, Header: http.Header{"Retry-After": {"3"}}})
		var statuses []int
		for range 3 {
			a := i.send("GET", "/api/v2/organizations", "")
			statuses = append(statuses, a.status)
			if a.status == 503 && a.header.Get("Retry-After") != "3" {
				t.Errorf("headers %v", a.header)
			}
		}
		if !slices.Equal(statuses, []int{200, 503, 200}) {
			t.Errorf("statuses %v", statuses)
		}
		if i.Calls()["GET /v2/organizations"] != 3 {
			t.Errorf("calls %v", i.Calls())
		}
	})
	t.Run("page instead of JSON", func(t *testing.T) {
		i := newInstance(t)
		remove := i.InjectFault(Fault{HTML: true})
		if a := i.send("GET", "/v2/organizations", ""); a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%d %v", a.status, a.header)
		}
		remove()
		if a := i.send("GET", "/v2/organizations", ""); len(a.list(t)) != 3 {
			t.Errorf("after removal: %s", a.body)
		}
	})
	t.Run("one organization", func(t *testing.T) {
		i := newInstance(t)
		d := i.Devices(1)[0]
		hits := 0
		i.InjectFault(Fault{Organization: 1, Status: 500, OnHit: func() { hits++ }})
		for call, want := range map[string]int{
			"/v2/organization/1": 500, "/v2/organization/2": 200, "/v2/organizations": 200,
			"/v2/devices-detailed?df=org%20%3D%201": 500, "/v2/devices-detailed?df=org%20%3D%202": 200,
			fmt.Sprint("/v2/device/", d.ID): 500, "/v2/organization/documents?organizationIds=1": 500,
		} {
			if a := i.send("GET", call, ""); a.status != want {
				t.Errorf("%s: %d, want %d", call, a.status, want)
			}
		}
		if hits != 4 {
			t.Errorf("%d hits", hits)
		}
	})
	t.Run("values that were there", func(t *testing.T) {
		i := newInstance(t)
		for range 2 {
			i.send("PATCH", path, patch)
		}
		if w := i.Writes(); len(w) != 2 || len(w[0].Repeated) != 0 || !slices.Equal(w[1].Repeated, []string{"deviceCompliance"}) || w[0].Token == 0 {
			t.Errorf("writes %+v", w)
		}
	})
	t.Run("half an answer", func(t *testing.T) {
		i := newInstance(t)
		i.InjectFault(Fault{Malformed: true, AfterHandling: true})
		response, err := http.DefaultClient.Do(i.request("GET", "/v2/organizations", ""))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != 200 || json.Valid(body) || !bytes.HasPrefix(body, []byte(`[{"id":1,`)) {
			t.Errorf("%d %s", response.StatusCode, body)
		}
	})
	t.Run("reset before and after the write", func(t *testing.T) {
		i := newInstance(t)
		i.InjectFault(Fault{Method: "PATCH", Count: 1, Reset: true})
		if _, err := http.DefaultClient.Do(i.request("PATCH", path, patch)); err == nil {
			t.Fatal("the connection was not cut")
		}
		if len(i.Writes()) != 0 {
			t.Fatalf("writes %v", i.Writes())
		}
		i.InjectFault(Fault{Method: "PATCH", Count: 1, Reset: true, AfterHandling: true})
		if _, err := http.DefaultClient.Do(i.request("PATCH", path, patch)); err == nil {
			t.Fatal("the connection was not cut")
		}
		if len(i.Writes()) != 1 {
			t.Fatalf("writes %v", i.Writes())
		}
	})
	t.Run("hang", func(t *testing.T) {
		i := newInstance(t)
		i.InjectFault(Fault{Hang: true})
		request := i.request("GET", "/v2/organizations", "")
		client := &http.Client{Timeout: 50 * time.Millisecond}
		var timeout interface{ Timeout() bool }
		if _, err := client.Do(request); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("got %v, want a timeout", err)
		}
		i.ClearFaults()
		if a := i.send("GET", "/v2/organizations", ""); a.status != 200 {
			t.Errorf("after the faults were cleared: %d", a.status)
		}
	})
	t.Run("delay only", func(t *testing.T) {
		i := newInstance(t)
		i.InjectFault(Fault{Delay: time.Millisecond})
		i.SetLatency(time.Millisecond)
		if a := i.send("GET", "/v2/organizations", ""); len(a.list(t)) != 3 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestRateLimit(t *testing.T) {
	tests := []struct {
		name       string
		limit      RateLimit
		status     int
		retryAfter string
		html       bool
	}{
		{"with Retry-After", RateLimit{PerSecond: 2, RetryAfter: 1500 * time.Millisecond}, 429, "2", false},
		{"without Retry-After", RateLimit{PerSecond: 2}, 429, "", false},
		{"page", RateLimit{PerSecond: 2, HTML: true}, 200, "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t)
			i.SetRateLimit(test.limit)
			for range 2 {
				if a := i.send("GET", "/v2/organizations", ""); a.status != 200 || len(a.list(t)) != 3 {
					t.Fatalf("within the limit: %d", a.status)
				}
			}
			a := i.send("GET", "/v2/organizations", "")
			html := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
			if a.status != test.status || a.header.Get("Retry-After") != test.retryAfter || html != test.html {
				t.Errorf("beyond the limit: %d %v", a.status, a.header)
			}
			if i.Throttled() != 1 {
				t.Errorf("throttled %d", i.Throttled())
			}
			i.clock.advance(time.Second)
			if a := i.send("GET", "/v2/organizations", ""); a.status != 200 || len(a.list(t)) != 3 {
				t.Errorf("later: %d", a.status)
			}
			if v := i.Violations(); len(v) > 0 {
				t.Errorf("violations %q", v)
			}
		})
	}
}
