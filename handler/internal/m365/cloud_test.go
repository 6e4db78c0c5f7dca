package m365

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	testTenant = "7d1f0a34-52bb-4c1e-9c55-0c4a6b7f1e01"
	userAda    = "a0000000-0000-4000-8000-000000000001"
	userBen    = "a0000000-0000-4000-8000-000000000002"
	skuMain    = "b0000000-0000-4000-8000-00000000000a"
	groupOne   = "c0000000-0000-4000-8000-000000000001"
	roleGlobal = "d0000000-0000-4000-8000-000000000001"
)

var testRef = tenant.Ref{ID: testTenant, DisplayName: "Tailspin", DefaultDomain: "tailspin.example"}

// cloud stands in for Microsoft's sign-in service, Graph and Exchange, all on
// one loopback server. Answers are given per path, and may be replaced.
type cloud struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	routes   map[string]http.HandlerFunc
	calls    map[string]int
	minted   int
	valid    map[string]bool // tokens that are accepted
	sleeps   []time.Duration
	secrets  map[string]string
	fresh    map[string]string // what a fresh read of a secret gives; moves to secrets
	problems []string
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{t: t, routes: map[string]http.HandlerFunc{}, calls: map[string]int{}, valid: map[string]bool{},
		secrets: map[string]string{secretApplicationID: "app", secretApplicationSecret: "hush", secretRefreshToken: "refresh-1",
			testTenant: "refresh-direct"}, fresh: map[string]string{}}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.server.Close)
	t.Cleanup(func() {
		for _, p := range c.problems {
			t.Error(p)
		}
	})
	c.seed()
	return c
}

// Secret implements Credentials.
func (c *cloud) Secret(_ context.Context, name string, fresh bool) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls["secret "+name]++
	if v, ok := c.fresh[name]; ok && fresh {
		c.secrets[name] = v
	}
	return c.secrets[name], nil
}

func (c *cloud) reader(change ...func(*Deps)) *Reader {
	c.t.Helper()
	at := address(c.t, c.server.URL)
	return newReader(c.t, Deps{GraphEndpoint: at, LoginEndpoint: at, ExchangeEndpoint: at, Credentials: c,
		Sleep: func(ctx context.Context, d time.Duration) error {
			c.mu.Lock()
			c.sleeps = append(c.sleeps, d)
			c.mu.Unlock()
			return ctx.Err()
		}}, change...)
}

// newReader is New with what a test leaves out.
func newReader(t testing.TB, d Deps, change ...func(*Deps)) *Reader {
	t.Helper()
	d.Transport, d.Now, d.Log = http.DefaultTransport, time.Now, slog.New(slog.DiscardHandler)
	for _, f := range change {
		f(&d)
	}
	d.GraphEndpoint = cmp.Or(d.GraphEndpoint, address(t, "https://graph.microsoft.com"))
	d.LoginEndpoint = cmp.Or(d.LoginEndpoint, address(t, "https://login.microsoftonline.com"))
	d.ExchangeEndpoint = cmp.Or(d.ExchangeEndpoint, address(t, "https://outlook.office365.com"))
	d.DefenderEndpoint = cmp.Or(d.DefenderEndpoint, address(t, "https://api.securitycenter.microsoft.com"))
	return New(d)
}

func address(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (c *cloud) read() *tenant.Snapshot {
	c.t.Helper()
	s, err := c.reader().Read(c.t.Context(), testRef, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cloud) graph(change ...func(*Deps)) *graph {
	c.t.Helper()
	g, err := c.reader(change...).newGraph(testRef)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := g.open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	return g
}

func (c *cloud) on(route string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.routes[route] = h
}

func (c *cloud) count(route string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[route]
}

func (c *cloud) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	route := r.Method + " " + r.URL.Path
	c.mu.Lock()
	c.calls[route]++
	h := c.routes[route]
	ok := c.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	c.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token"):
	case strings.HasPrefix(r.URL.Path, "/download/"):
		if r.Header.Get("Authorization") != "" {
			c.problem("%s was sent a token", route)
		}
	case !ok:
		answer401(w, r)
		return
	case r.Header.Get("x-ms-throttle-priority") != "Low" && !strings.Contains(r.URL.Path, "/adminapi/") && !strings.HasPrefix(r.URL.Path, "/api/"):
		c.problem("%s lacks the low priority", route)
	}
	if h == nil {
		http.Error(w, `{"error":{"code":"NotFound","message":"no such route in the test"}}`, http.StatusNotFound)
		return
	}
	h(w, r)
}

func answer401(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, `{"error":{"code":"InvalidAuthenticationToken","message":"m"}}`, http.StatusUnauthorized)
}

// token is the default sign-in: a new token at each call.
func (c *cloud) token(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.minted++
	value := fmt.Sprintf("token-%d", c.minted)
	c.valid[value] = true
	c.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600,"token_type":"Bearer"}`, value)
}

// requests returns the parts of a batch.
func (c *cloud) requests(r *http.Request) []batchRequest {
	var in struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.problem("batch: %v", err)
	}
	return in.Requests
}

func (c *cloud) batch(w http.ResponseWriter, r *http.Request) {
	requests := c.requests(r)
	if len(requests) > 20 {
		c.problem("a batch of %d parts", len(requests))
	}
	var out []map[string]any
	for i := len(requests) - 1; i >= 0; i-- { // in another order, as Graph may
		part := requests[i]
		sub := httptest.NewRequest(part.Method, c.server.URL+strings.TrimSuffix(r.URL.Path, "/$batch")+part.URL, nil)
		sub.Header = r.Header.Clone()
		rec := httptest.NewRecorder()
		c.serve(rec, sub)
		headers := map[string]string{}
		for k := range rec.Header() {
			headers[k] = rec.Header().Get(k)
		}
		body := json.RawMessage(bytes.TrimSpace(rec.Body.Bytes()))
		if !json.Valid(body) {
			body = json.RawMessage("null")
		}
		out = append(out, map[string]any{"id": part.ID, "status": rec.Code, "headers": headers, "body": body})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"responses": out})
}

// says answers with a text, in which {host} stands for the server's address.
func (c *cloud) says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "{host}", c.server.URL))
	}
}

func (c *cloud) value(rows string) http.HandlerFunc { return c.says(200, `{"value":[`+rows+`]}`) }

// selected is like value, and insists on a $select and $top.
func (c *cloud) selected(top string, rows string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("$select") == "" || q.Get("$top") != top {
			c.problem("%s asked with %s", r.URL.Path, r.URL.RawQuery)
		}
		c.value(rows)(w, r)
	}
}

func (c *cloud) redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(to, "{host}", c.server.URL))
		w.WriteHeader(http.StatusFound)
	}
}

const (
	routeToken    = "POST /" + testTenant + "/oauth2/v2.0/token"
	routeBatch    = "POST /v1.0/$batch"
	routeUsers    = "GET /v1.0/users"
	routeGroups   = "GET /v1.0/groups/delta"
	routeRoles    = "GET /v1.0/directoryRoles/delta"
	routeDevices  = "GET /v1.0/devices"
	routeManaged  = "GET /beta/deviceManagement/managedDevices"
	routeMailUse  = "GET /v1.0/reports/getMailboxUsageDetail(period='D7')"
	routeDriveUse = "GET /v1.0/reports/getOneDriveUsageAccountDetail(period='D7')"
	routeExchange = "POST /adminapi/beta/" + testTenant + "/InvokeCommand"
)

// seed sets up a small tenant of which every part can be read.
func (c *cloud) seed() {
	c.on(routeToken, c.token)
	c.on(routeBatch, c.batch)
	c.on("GET /v1.0/organization", c.value(`{"displayName":"Tailspin Toys","createdDateTime":"2019-02-03T04:05:06Z","onPremisesSyncEnabled":true,"onPremisesLastSyncDateTime":"2026-11-22T10:00:00Z"}`))
	c.on("GET /v1.0/domains", c.value(`{"id":"tailspin.example","isDefault":true,"isVerified":true,"passwordValidityPeriodInDays":2147483647},{"id":"tailspin.onmicrosoft.example","isInitial":true,"isVerified":true}`))
	c.on("GET /v1.0/subscribedSkus", c.value(`{"skuId":"`+strings.ToUpper(skuMain)+`","skuPartNumber":"SPE_E3","appliesTo":"User","capabilityStatus":"Enabled","consumedUnits":7,"prepaidUnits":{"enabled":10,"suspended":1,"warning":2,"lockedOut":3},"servicePlans":[{"servicePlanId":"e0","servicePlanName":"AAD_PREMIUM","provisioningStatus":"Success","appliesTo":"User"},{"servicePlanId":"e1","servicePlanName":"INTUNE_A","provisioningStatus":"Success"}]}`))
	c.on("GET /v1.0/directory/subscriptions", c.value(`{"id":"s1","skuId":"`+skuMain+`","status":"Enabled","totalLicenses":10,"isTrial":false,"createdDateTime":"2025-01-01T00:00:00Z","nextLifecycleDateTime":"2027-01-01T00:00:00Z"}`))
	c.on("GET /v1.0/policies/authorizationPolicy", c.says(200, `{"id":"authorizationPolicy","defaultUserRolePermissions":{"permissionGrantPoliciesAssigned":["ManagePermissionGrantsForSelf.low"]}}`))
	c.on("GET /v1.0/identity/conditionalAccess/policies", c.value(`{"id":"F1","displayName":"MFA","state":"enabled","conditions":{"users":{"includeUsers":["All","None"],"excludeUsers":["`+userBen+`","GuestsOrExternalUsers"],"includeRoles":["62E90394-69f5-4237-9190-012177145e10"],"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"internalGuest,b2bCollaborationGuest","externalTenants":{"membershipKind":"enumerated"}}}}}`))
	c.on("GET /v1.0/security/secureScores", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$top") != "1" {
			c.problem("secureScores asked with %s", r.URL.RawQuery)
		}
		c.says(200, `{"@odata.nextLink":"{host}/v1.0/security/secureScores?$skip=1","value":[{"createdDateTime":"2026-11-22T00:00:00Z","currentScore":40.5,"maxScore":90,"controlScores":[{"controlCategory":"Identity","controlName":"Lock","score":3},{"controlCategory":"Data","controlName":"Old","score":0},{"controlCategory":"Data","controlName":"Bare","score":1}]}]}`)(w, r)
	})
	c.on("GET /v1.0/security/secureScoreControlProfiles", c.selected("999", `{"id":"Lock","title":"Lock the door","maxScore":9,"controlCategory":"Identity","service":"AAD","actionUrl":"https://portal.example/lock"},{"id":"Old","title":"Old","deprecated":true}`))
	c.on("GET /v1.0/admin/reportSettings", c.says(200, `{"displayConcealedNames":false}`))
	c.on(routeRoles, c.says(200, `{"@odata.deltaLink":"{host}/v1.0/directoryRoles/delta?$deltatoken=x","value":[{"id":"`+roleGlobal+`","displayName":"Company Administrator","roleTemplateId":"`+strings.ToUpper(tenant.GlobalAdministrator)+`","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"`+userAda+`"}]}]}`))
	c.on(routeUsers, c.selected("500", `{"id":"`+userAda+`","displayName":"Ada","userPrincipalName":"Ada@tailspin.example","mail":"ada@tailspin.example","userType":"Member","accountEnabled":true,"jobTitle":null,"businessPhones":["+1"],"proxyAddresses":["SMTP:ada@tailspin.example"],"createdDateTime":"2020-01-01T00:00:00Z","assignedLicenses":[{"skuId":"`+skuMain+`"}],"licenseAssignmentStates":[{"skuId":"`+skuMain+`","state":"Active","lastUpdatedDateTime":"2024-05-06T00:00:00Z"},{"skuId":"`+skuMain+`","state":"Error","lastUpdatedDateTime":"2025-05-06T00:00:00Z"}],"signInActivity":{"lastSignInDateTime":"2026-11-01T00:00:00Z","lastNonInteractiveSignInDateTime":"2026-11-20T00:00:00Z"}},{"id":"`+userBen+`","displayName":"Ben","userPrincipalName":"ben_fourthcoffee.example#EXT#@tailspin.example","userType":"Guest","accountEnabled":false,"assignedLicenses":[]}`))
	c.on(routeGroups, func(w http.ResponseWriter, r *http.Request) {
		if s := r.URL.Query().Get("$select"); !strings.Contains(s, "members") {
			c.problem("groups/delta asked with $select=%s", s)
		}
		c.says(200, `{"@odata.deltaLink":"{host}/v1.0/groups/delta?$deltatoken=x","value":[{"id":"`+groupOne+`","displayName":"All staff","mail":null,"groupTypes":["Unified"],"securityEnabled":true,"mailEnabled":false,"members@delta":[{"@odata.type":"#microsoft.graph.user","id":"`+userAda+`"},{"@odata.type":"#microsoft.graph.group","id":"`+groupOne+`"}]}]}`)(w, r)
	})
	c.on(routeDevices, c.selected("999", `{"id":"o1","deviceId":"DEV1","displayName":"TT-01","trustType":"AzureAd","accountEnabled":true,"registrationDateTime":"2023-01-02T00:00:00Z","physicalIds":["[HWID]:h:1","[ZTDID]:z"]}`))
	c.on(routeManaged, c.selected("999", `{"id":"m1","azureADDeviceId":"dev1","deviceName":"TT-01","serialNumber":"SN1","complianceState":"noncompliant","complianceGracePeriodExpirationDateTime":"9999-12-31T23:59:59Z","isEncrypted":true,"totalStorageSpaceInBytes":512,"joinType":"azureADJoined","chassisType":"laptop","autopilotEnrolled":true,"usersLoggedOn":[{"userId":"`+userAda+`","lastLogOnDateTime":"2026-11-20T00:00:00Z"}],"hardwareInformation":{"serialNumber":"SN1","deviceGuardVirtualizationBasedSecurityState":"running"}},{"id":"m2","azureADDeviceId":"`+wire.ZeroGUID+`","deviceName":"TT-02","complianceState":"compliant","hardwareInformation":{"serialNumber":null,"deviceGuardVirtualizationBasedSecurityState":"running"}}`))
	c.on("GET /v1.0/deviceManagement/managedDevices/m1/deviceCompliancePolicyStates", c.value(`{"id":"p1","displayName":"Baseline","platformType":"windows10AndLater","state":"nonCompliant","settingCount":2,"settingStates":[{"setting":"Policy.Bitlocker","settingName":"BitLocker","state":"nonCompliant","currentValue":"off","userName":"Ada"},{"setting":"Policy.Tpm","state":"compliant"}]}`))
	c.on(routeMailUse, c.redirect("{host}/download/mail.csv?secret=1"))
	c.on("GET /download/mail.csv", c.says(200, "\ufeffReport Refresh Date,User Principal Name,Is Deleted,Last Activity Date,Item Count,Storage Used (Byte),Issue Warning Quota (Byte),Prohibit Send Quota (Byte),Prohibit Send/Receive Quota (Byte),Report Period\r\n2026-11-21,ada@TAILSPIN.example,False,2026-11-20,12,3400,100,200,300,7\r\n2026-11-21,gone@tailspin.example,True,2026-11-20,12,3400,100,200,300,7\r\n"))
	c.on(routeDriveUse, c.redirect("{host}/download/drive.csv?secret=2"))
	c.on("GET /download/drive.csv", c.says(200, "Storage Allocated (Byte),Storage Used (Byte),Owner Principal Name,Site URL,Is Deleted,Last Activity Date,File Count,Report Refresh Date\n900,80,ada@tailspin.example,https://tailspin.example/personal/ada,False,,4,2026-11-21\n"))
	c.on(routeExchange, c.exchange)
}

// exchange is the default admin API: one page for every cmdlet.
func (c *cloud) exchange(w http.ResponseWriter, r *http.Request) {
	var in struct {
		CmdletInput struct {
			CmdletName string
			Parameters map[string]any
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.problem("exchange: %v", err)
	}
	if got := r.Header.Get("X-AnchorMailbox"); !strings.HasSuffix(got, "@"+testTenant) || r.Header.Get("Prefer") == "" {
		c.problem("exchange: X-AnchorMailbox %q, Prefer %q", got, r.Header.Get("Prefer"))
	}
	c.mu.Lock()
	c.calls["cmdlet "+in.CmdletInput.CmdletName]++
	c.mu.Unlock()
	switch in.CmdletInput.CmdletName {
	case "Get-Mailbox":
		if in.CmdletInput.Parameters["ResultSize"] != "Unlimited" || r.URL.Query().Get("$select") == "" {
			c.problem("Get-Mailbox with %v and %s", in.CmdletInput.Parameters, r.URL.RawQuery)
		}
		c.value(`{"ExternalDirectoryObjectId":"`+userAda+`","UserPrincipalName":"ada@tailspin.example","RecipientTypeDetails":"UserMailbox","ForwardingAddress":null,"ForwardingSmtpAddress":"smtp:x@fourthcoffee.example","DeliverToMailboxAndForward":true,"LitigationHoldEnabled":"True","PrimarySmtpAddress":"ada@tailspin.example","ArchiveGuid":"`+wire.ZeroGUID+`","ArchiveStatus":"None"}`)(w, r)
	case "Get-CASMailbox":
		c.value(`{"ExternalDirectoryObjectId":"`+userAda+`","OWAEnabled":true,"MAPIEnabled":true,"ImapEnabled":false,"PopEnabled":"False","ActiveSyncEnabled":true,"EwsEnabled":null},
			{"ExternalDirectoryObjectId":"`+userBen+`","EwsEnabled":"False"}`)(w, r)
	case "Get-AdminAuditLogConfig":
		c.value(`{"UnifiedAuditLogIngestionEnabled":true}`)(w, r)
	case "Get-BlockedSenderAddress":
		c.value(`{"SenderAddress":"spam@tailspin.example"}`)(w, r)
	default:
		c.problem("unknown cmdlet %s", in.CmdletInput.CmdletName)
	}
}
