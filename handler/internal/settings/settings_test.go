package settings

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
)

// TestSetUp follows a technician through CIPP's pages, from nothing to a sync.
func TestSetUp(t *testing.T) {
	i := install(t)
	type page = map[string]map[string]any

	if got := i.get("ListExtensionsConfig"); got.text != "{}" {
		t.Fatalf("before, the settings are %s", got.text)
	}
	if got := i.get("ExecExtensionTest?extensionName=NinjaOne").results(t); !strings.HasPrefix(got, "Failed to connect to NinjaOne: the NinjaOne instance is not set") {
		t.Errorf("before, the test says %q", got)
	}

	// Settings tab.
	saved := i.post("ExecExtensionsConfig", `{"NinjaOne":{"Enabled":true,"Instance":" https://EU.ninjarmm.com/ws ","ClientID":"`+clientID+`","APIKey":"`+clientSecret+`","LicensedOnly":false}}`).results(t)
	if saved != "Successfully saved the NinjaOne settings." {
		t.Errorf("the save says %q", saved)
	}
	settings := decode[page](t, i.get("ListExtensionsConfig"))
	want := page{"NinjaOne": {"Enabled": true, "Instance": "eu.ninjarmm.com", "ClientID": clientID, "APIKey": "SentToKeyVault", "LicensedOnly": false}}
	if diff := cmp.Diff(want, settings); diff != "" {
		t.Error(diff)
	}
	if i.secret() != clientSecret || strings.Contains(i.config(), clientSecret) {
		t.Error("the secret is not where it belongs")
	}
	// The page sends everything back when a switch is turned.
	settings["NinjaOne"]["LicensedOnly"] = true
	body, _ := json.Marshal(settings)
	i.post("ExecExtensionsConfig", string(body))
	if i.secret() != clientSecret || !strings.Contains(i.config(), `"LicensedOnly":true`) {
		t.Error("saving again lost the secret or the switch")
	}
	if got := i.get("ExecExtensionTest?extensionName=NinjaOne").results(t); got != "Successfully Connected to NinjaOne" {
		t.Errorf("the test says %q", got)
	}

	// Tenant mapping tab.
	type list struct {
		Companies []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		}
		Mappings []map[string]any
	}
	first := decode[list](t, i.get("ExecExtensionMapping?List=NinjaOne"))
	if len(first.Mappings) != 0 || len(first.Companies) != 3 || first.Companies[0].Name != "alpine" || first.Companies[1].Value != 17 {
		t.Fatalf("the first list is %+v", first)
	}
	tenants := decode[[]map[string]any](t, i.get("ListTenants?AllTenantSelector=false"))
	if len(tenants) != 3 || tenants[0]["customerId"] != contoso || tenants[0]["displayName"] != "Contoso" || tenants[0]["defaultDomainName"] != "contoso.example" {
		t.Fatalf("the tenants are %v", tenants)
	}
	if got := i.browser("editor", http.MethodPost, "ExecExtensionMapping?AutoMapping=NinjaOne", ""); got.status != http.StatusOK || !strings.HasPrefix(got.contentType, "text/plain") || got.text != "AutoMapping Request has been queued. Tenants mapped by their names: 2. Matches by devices follow in the background. CIPP's Logbook tells when it is done; refresh this page then." {
		t.Errorf("automap says %+v", got)
	}
	if diff := cmp.Diff([]string{"{}"}, messages(t, i.automap)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{contoso: "17 Contoso Ltd", fabrikam: "18 Fabrikam"}, i.mapped()); diff != "" {
		t.Errorf("mapped before the answer: %s", diff)
	}
	// The page, which is older, shows one of them alone.
	if got := i.post("ExecExtensionMapping?AddMapping=NinjaOne", `[{"TenantId":"`+contoso+`","Tenant":"Contoso","TenantDomain":"contoso.example","IntegrationId":17,"IntegrationName":"Contoso Ltd"}]`).results(t); got != "Successfully edited mapping table. 0 added, 0 changed, 0 removed." {
		t.Errorf("the mapping says %q", got)
	}
	second := decode[list](t, i.get("ExecExtensionMapping?List=NinjaOne"))
	for _, m := range second.Mappings {
		delete(m, "Listed")
	}
	wantRows := []map[string]any{
		{"TenantId": contoso, "Tenant": "Contoso", "TenantDomain": "contoso.example", "IntegrationId": "17", "IntegrationName": "Contoso Ltd"},
		{"TenantId": fabrikam, "Tenant": "Fabrikam", "TenantDomain": "fabrikam.example", "IntegrationId": "18", "IntegrationName": "Fabrikam"},
	}
	if diff := cmp.Diff(wantRows, second.Mappings); diff != "" {
		t.Error(diff)
	}

	// Field mapping tab.
	type fields struct {
		CIPPFields        []map[string]any
		CIPPFieldHeaders  []map[string]string
		IntegrationFields []map[string]any
		Mappings          []map[string]string
	}
	f := decode[fields](t, i.get("ExecExtensionMapping?List=NinjaOneFields"))
	wantFields := []map[string]any{
		{"name": "--- Do not synchronize ---", "value": nil, "type": "unset"},
		{"name": "Both", "value": "cippBoth", "type": "WYSIWYG", "FieldType": "Organization"},
		{"name": "Links", "value": "cippTenantLinks", "type": "WYSIWYG", "FieldType": "Organization"},
		{"name": "Both", "value": "cippBoth", "type": "WYSIWYG", "FieldType": "Device"},
		{"name": "Compliance", "value": "cippCompliance", "type": "TEXT", "FieldType": "Device"},
		{"name": "Failing", "value": "cippFailing", "type": "TEXT_MULTILINE", "FieldType": "Device"},
	}
	if diff := cmp.Diff(wantFields, f.IntegrationFields); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"FieldName": "DeviceNonCompliantSettings", "FieldType": "Device", "Type": []any{"TEXT_MULTILINE", "TEXT"},
		"FieldLabel": "Intune Non-Compliant Settings: those that fail compliance policies, one a line"}, f.CIPPFields[len(f.CIPPFields)-1]); diff != "" {
		t.Error(diff)
	}
	if len(f.CIPPFields) != 7 || len(f.CIPPFieldHeaders) != 2 || f.Mappings == nil || len(f.Mappings) != 0 ||
		f.CIPPFields[5]["FieldName"] != "DeviceCompliance" || f.CIPPFields[5]["Type"] != "TEXT" || f.CIPPFields[5]["FieldType"] != "Device" {
		t.Errorf("the fields are %+v", f)
	}
	if got := i.post("ExecExtensionMapping?AddMapping=NinjaOneFields", `{"TenantLinks":{"label":"Links","value":"cippTenantLinks"},"DeviceCompliance":{"label":"Compliance","value":"cippCompliance"},"DeviceLinks":{"label":"--- Do not synchronize ---","value":null}}`).results(t); got != "Successfully edited mapping table." {
		t.Errorf("the field mapping says %q", got)
	}
	f = decode[fields](t, i.get("ExecExtensionMapping?List=NinjaOneFields"))
	wantMappings := []map[string]string{
		{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "DeviceCompliance", "IntegrationId": "cippCompliance", "IntegrationName": "Compliance"},
		{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "DeviceLinks", "IntegrationId": "", "IntegrationName": "--- Do not synchronize ---"},
		{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "TenantLinks", "IntegrationId": "cippTenantLinks", "IntegrationName": "Links"},
	}
	if diff := cmp.Diff(wantMappings, f.Mappings); diff != "" {
		t.Error(diff)
	}

	// Force Sync, for one and for all.
	if got := i.get("ExecExtensionSync?Extension=NinjaOne&TenantID=" + contoso).results(t); got != "NinjaOne Synchronization Queued for Contoso Ltd" {
		t.Errorf("the sync of one says %q", got)
	}
	one := `{"tenantId":"` + contoso + `","force":true}`
	if diff := cmp.Diff([]string{one}, messages(t, i.sync)); diff != "" {
		t.Error(diff)
	}
	if got := i.get("ExecExtensionSync?Extension=NinjaOne").results(t); got != "NinjaOne Synchronization Queuing 2 Tenants" {
		t.Errorf("the sync of all says %q", got)
	}
	queued := messages(t, i.sync)
	slices.Sort(queued)
	if diff := cmp.Diff([]string{one, one, `{"tenantId":"` + fabrikam + `","force":true}`}, queued); diff != "" {
		t.Error(diff)
	}
	tasks := decode[[]map[string]any](t, i.get("ListExtensionSync"))
	if len(tasks) != 2 || tasks[0]["Tenant"] != "contoso.example" || tasks[0]["SyncType"] != "NinjaOne" || tasks[0]["ExecutedTime"] != nil {
		t.Errorf("the syncs are %v", tasks)
	}

	// Logbook.
	lines := decode[[]map[string]any](t, i.get("ListLogs?Filter=true&API=NinjaOne"))
	if len(lines) != 8 {
		t.Errorf("%d lines: %v", len(lines), lines)
	}
	for _, v := range i.ninja.Violations() {
		t.Error(v)
	}
}

func TestSyncIsRefused(t *testing.T) {
	i := install(t)
	i.configure(`{"NinjaOne":{"Enabled":false,"Instance":"eu.ninjarmm.com"}}`, "")
	i.put("CippMapping", storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": contoso, "IntegrationId": "17", "IntegrationName": "Contoso"},
		storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": excluded, "IntegrationId": "18", "IntegrationName": "Excluded"},
		storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": fabrikam, "IntegrationId": "no number"})
	for _, step := range []struct{ path, want string }{
		{"ExecExtensionSync?Extension=NinjaOne", "Could not start NinjaOne Sync: the request failed, because the NinjaOne integration is turned off: turn it on and save."},
		{"ExecExtensionSync?Extension=Hudu", "NinjaOne Sync failed to start: this app can sync NinjaOne only. Start other extensions' syncs in CIPP itself."},
		{"ExecExtensionSync", "NinjaOne Sync failed to start: this app can sync NinjaOne only. Start other extensions' syncs in CIPP itself."},
	} {
		if got := i.get(step.path); got.status != http.StatusOK || got.results(t) != step.want {
			t.Errorf("%s says %+v", step.path, got)
		}
	}
	i.configure(working, clientSecret)
	const notFound = "Tenant was not found. The sync failed to start: choose a tenant that is mapped to NinjaOne and not excluded."
	for path, want := range map[string]string{
		"ExecExtensionSync?Extension=NinjaOne&TenantID=" + tailspin:          notFound, // not mapped
		"ExecExtensionSync?Extension=NinjaOne&TenantID=" + excluded:          notFound,
		"ExecExtensionSync?Extension=NinjaOne&TenantID=" + fabrikam:          notFound, // mapped to nothing
		"ExecExtensionSync?Extension=NinjaOne&TenantID=nobody":               notFound,
		"ExecExtensionSync?extension=ninjaone&tenantid=" + "Contoso.example": "NinjaOne Synchronization Queued for Contoso",
	} {
		if got := i.get(path); got.status != http.StatusOK || got.results(t) != want {
			t.Errorf("%s says %+v", path, got)
		}
	}
	if got := messages(t, i.sync); len(got) != 1 {
		t.Errorf("queued are %v", got)
	}
}

// TestAccess asks for everything without a login, with each role, and from
// another site.
func TestAccess(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	anotherSite := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for _, tt := range []struct {
		method, path string
		change       bool // else a reader may
		costs        bool // another site may not have it done
	}{
		{"GET", "ListExtensionsConfig", false, false},
		{"POST", "ExecExtensionsConfig", true, true},
		{"GET", "ExecExtensionTest?extensionName=NinjaOne", false, true},
		{"GET", "ExecExtensionMapping?List=NinjaOne", false, true},
		{"GET", "ExecExtensionMapping?List=NinjaOneFields", false, true},
		{"POST", "ExecExtensionMapping?AddMapping=NinjaOne", true, true},
		{"POST", "ExecExtensionMapping?addmapping=ninjaonefields", true, true},
		{"POST", "ExecExtensionMapping?AutoMapping=NinjaOne", true, true},
		{"GET", "ExecExtensionMapping?AutoMapping=NinjaOne", true, true},
		{"GET", "ExecExtensionSync?Extension=NinjaOne", true, true},
		{"POST", "ExecExtensionSync?Extension=NinjaOne", true, true},
		{"GET", "ListExtensionSync", false, false},
		{"GET", "ListLogs?Filter=true&StartDate=20250801&EndDate=20260801", false, true},
		{"GET", "ListTenants", false, false},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			status := func(role string, change ...func(*http.Request)) int {
				got := i.browser(role, tt.method, tt.path, "", change...)
				if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
					got.results(t)
				}
				return got.status
			}
			if got := status(""); got != http.StatusUnauthorized {
				t.Errorf("nobody gets %d", got)
			}
			if got := status("admin"); got != http.StatusForbidden {
				t.Errorf("another role gets %d", got)
			}
			if got := status("reader"); (got == http.StatusForbidden) != tt.change {
				t.Errorf("a reader gets %d", got)
			}
			if got := status("editor", anotherSite); (got == http.StatusForbidden) != tt.costs {
				t.Errorf("another site gets %d", got)
			}
			if got := status("editor"); got == http.StatusForbidden || got == http.StatusUnauthorized {
				t.Errorf("an editor gets %d", got)
			}
		})
	}
	if got := i.browser("editor", http.MethodDelete, "ListLogs", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("another method gets %d", got.status)
	}
	if got := i.browser("editor", http.MethodGet, "ExecExtensionMapping?AddMapping=NinjaOne", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("saving by GET gets %d", got.status)
	}
}

// TestFunctionFolders compares the functions with what the host reads.
func TestFunctionFolders(t *testing.T) {
	for name := range New(Deps{}).Functions() {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "functions", name, "function.json"))
		must(t, err)
		var folder struct {
			Bindings []struct {
				Type, Direction, Name, AuthLevel, Route string
				Methods                                 []string
			}
		}
		must(t, json.Unmarshal(data, &folder))
		b := folder.Bindings
		if len(b) != 2 || b[0].Type != "httpTrigger" || b[0].AuthLevel != "anonymous" || b[0].Route != "" ||
			b[1].Type != "http" || b[1].Direction != "out" || b[1].Name != "res" || len(b[0].Methods) == 0 {
			t.Errorf("%s has the bindings %+v", name, b)
		}
	}
}

// TestStorageIsAway answers in CIPP's shapes when CIPP's tables cannot be read.
func TestStorageIsAway(t *testing.T) {
	i := install(t)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refuses.Close)
	away, err := storage.Open(func(name string) string {
		return map[string]string{storage.CIPP: "TableEndpoint=" + refuses.URL + ";SharedAccessSignature=sig=none"}[name]
	}, storage.CIPP)
	must(t, err)
	i.serve(away, i.ninja.URL())
	row := `{"TenantId":"` + contoso + `","IntegrationId":17,"IntegrationName":"x"}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		prefix             string
	}{
		{"GET", "ListExtensionsConfig", "", 500, `{"Results":"Failed to read the settings: `},
		{"POST", "ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"` + clientSecret + `"}}`, 200, `{"Results":"Failed to save the extensions configuration: `},
		{"GET", "ExecExtensionTest?extensionName=NinjaOne", "", 200, `{"Results":"Failed to connect to NinjaOne: `},
		{"GET", "ExecExtensionMapping?List=NinjaOne", "", 500, "Mapping API failed. "},
		{"GET", "ExecExtensionMapping?List=NinjaOneFields", "", 500, "Mapping API failed. "},
		{"POST", "ExecExtensionMapping?AddMapping=NinjaOne", "[" + row + "]", 500, "Mapping API failed. "},
		{"POST", "ExecExtensionMapping?AddMapping=NinjaOneFields", `{"TenantLinks":{"label":"a","value":"b"}}`, 500, "Mapping API failed. "},
		{"GET", "ExecExtensionSync?Extension=NinjaOne", "", 200, `{"Results":"Could not start NinjaOne Sync: `},
		{"GET", "ListExtensionSync", "", 500, `{"Results":"Failed to read the syncs: `},
		{"GET", "ListLogs", "", 500, `{"Results":"Failed to read the logbook: `},
		{"GET", "ListTenants", "", 200, `[{"customerId":"","defaultDomainName":"","displayName":"Failed to retrieve tenants.",`},
	} {
		if got := i.browser("editor", tt.method, tt.path, tt.body); got.status != tt.status || !strings.HasPrefix(got.text, tt.prefix) {
			t.Errorf("%s %s: %+v", tt.method, tt.path, got)
		}
	}
}
