package ninjasim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"

	"cipp-ninjaone/sandbox/fail"
)

// instance is a served simulator with some content, and a client of it.
type instance struct {
	*Server
	t     *testing.T
	token string
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)
	s := New(Config{ClientID: "sync-app", ClientSecret: "not-a-real-secret", Now: func() time.Time { return now }})
	must(t, s.Start())
	t.Cleanup(func() { _ = s.Close() })
	s.AddOrganization(Organization{ID: 1, Name: "Alder Clinics"})
	s.AddOrganization(Organization{ID: 2, Name: "Birch Freight"})
	s.AddOrganization(Organization{ID: 5, Name: "Cedar Schools"})
	s.AddDevice(Device{ID: 11, OrganizationID: 1, SystemName: "ALD-LT-01", SerialNumber: "SN11", BIOSSerialNumber: "BIOS11", OSName: "Windows 11 Pro",
		Manufacturer: "Example Works", Model: "Book 14", ChassisType: "LAPTOP", LastContact: now})
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
	} {
		s.AddCustomField(field)
	}
	i := &instance{Server: s, t: t}
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

// request builds a request with the token. Header names and values follow; an empty value takes the header away.
func (i *instance) request(method, target, body string, headers ...string) *http.Request {
	i.t.Helper()
	request, err := http.NewRequestWithContext(i.t.Context(), method, i.URL()+target, strings.NewReader(body))
	must(i.t, err)
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
	must(i.t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	must(i.t, err)
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
	must(i.t, err)
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
		{"report page too small", "GET", "/v2/queries/custom-fields-detailed?pageSize=9", "", "", 400, 1},
		{"identifier of wrong type", "GET", "/v2/device/x", "", "", 400, 1},
		{"identifier too large", "GET", "/v2/device/4294967296", "", "", 400, 1},
		{"body on a read", "GET", "/v2/device/11", "{}", "application/json", 400, 1},
		{"spaces as plus", "GET", "/v2/devices-detailed?df=org+=+1", "", "", 400, 1},
		{"spaces encoded", "GET", "/v2/devices-detailed?df=org%20=%201", "", "", 200, 0},
		{"filter that is not known", "GET", "/v2/devices-detailed?df=org%20=%20x", "", "", 400, 1},
		{"call that this project does not make", "GET", "/v2/devices", "", "", 404, 1},
		{"cursor of no report", "GET", "/v2/queries/custom-fields-detailed?cursor=none", "", "", 400, 0},
		{"report since no date", "GET", "/v2/queries/custom-fields-detailed?updatedAfter=yesterday", "", "", 400, 1},
		{"field without a name", "POST", "/v2/custom-fields", `{"label":"x"}`, "application/json", 400, 1},
		{"field of an unknown type", "POST", "/v2/custom-fields", `{"label":"x","fieldName":"y","type":"HTML"}`, "application/json", 400, 1},
		{"field whose name is taken", "POST", "/v2/custom-fields", `{"label":"x","fieldName":"TENANTNOTE"}`, "application/json", 400, 0},
		{"relations of an unknown device", "GET", "/v2/related-items/with-entity/NODE/99", "", "", 404, 0},
		{"relations of an unknown type", "GET", "/v2/related-items/with-entity-type/DEVICE", "", "", 400, 1},
		{"secure values", "GET", "/v2/queries/custom-fields-detailed?showSecureValues=true", "", "", 400, 1},
		{"scopes", "GET", "/v2/device-custom-fields?scopes=node,organization", "", "", 200, 0},
		{"scopes with encoded commas", "GET", "/v2/device-custom-fields?scopes=all%2Cnode%2Clocation%2Corganization", "", "", 200, 0},
		{"unknown scope", "GET", "/v2/device-custom-fields?scopes=nodes", "", "", 400, 1},
		{"write without type", "PATCH", "/v2/device/11/custom-fields", `{"tenantNote":"x"}`, "text/plain", 415, 1},
		{"write of nothing", "PATCH", "/v2/device/11/custom-fields", `{}`, "application/json", 400, 1},
		{"write of an array", "PATCH", "/v2/device/11/custom-fields", `[]`, "application/json", 400, 1},
		{"unknown organization", "GET", "/v2/organization/9", "", "", 404, 0},
		{"unknown device", "GET", "/v2/device/9", "", "", 404, 0},
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

// TestAnswersKeepTheContract reads everything that can be read; send holds each answer to the contract.
func TestAnswersKeepTheContract(t *testing.T) {
	i := withRelations(t)
	i.SetDeviceField(11, "deviceCompliance", "Compliant")
	i.SetOrganizationField(1, "tenantSummary", "<p>x</p>")
	i.AddScanGroup(ScanGroup{ID: 31, Name: "contoso.example", DeviceHeader: "device", CVEHeader: "cve"})
	for _, target := range []string{
		"/v2/organizations", "/v2/organization/1", "/v2/organization/1/custom-fields",
		"/v2/devices-detailed", "/v2/device/11", "/v2/device-custom-fields", "/v2/queries/custom-fields-detailed",
		"/v2/document-templates?includeTechnicianRoles=true", "/v2/document-templates/7", "/v2/organization/documents",
		"/v2/related-items/with-entity-type/NODE", "/v2/related-items/with-entity/DOCUMENT/501",
		"/v2/vulnerability/scan-groups", "/v2/vulnerability/scan-groups/31", "/v2/activities?newerThan=1&pageSize=10",
	} {
		if a := i.send("GET", target, ""); a.status != 200 || len(a.body) < 10 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for operation := range operations {
		if strings.HasPrefix(operation, "GET ") && i.Calls()[operation] == 0 {
			t.Errorf("%s was not read", operation)
		}
	}
}

var must = fail.If
