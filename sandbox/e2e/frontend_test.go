package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// page is CIPP's front end as its source describes it: it sends exactly the
// requests that its pages send, and reads of the answers what they read.
type page struct {
	w   *world
	url string // where the front end's own address leads
}

type object = map[string]any

// call sends a request as the front end's HTTP client does.
func (p page) call(method, path string, body any) (status int, contentType, text string) {
	p.w.t.Helper()
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		must(p.w.t, err)
		sent = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(p.w.t.Context(), method, p.url+"/api/"+path, sent)
	must(p.w.t, err)
	r.Header.Set("Accept", "application/json, text/plain, */*")
	r.Header.Set("X-Dev-Token", p.w.DevToken())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	r.Header.Set("Cookie", "session=of-CIPP")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	must(p.w.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(p.w.t, err)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(answer)
}

// read gets a JSON answer.
func read[T any](p page, path string) T {
	p.w.t.Helper()
	status, contentType, text := p.call(http.MethodGet, path, nil)
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != http.StatusOK || !strings.HasPrefix(contentType, "application/json") {
		p.w.t.Fatalf("GET %s: %d %s %s", path, status, contentType, text)
	}
	return v
}

// results reads {"Results": …}, which a page shows as one alert or several.
func (p page) results(method, path string, body any) string {
	p.w.t.Helper()
	_, contentType, text := p.call(method, path, body)
	var v struct{ Results any }
	if err := json.Unmarshal([]byte(text), &v); err != nil || !strings.HasPrefix(contentType, "application/json") {
		p.w.t.Fatalf("%s %s: %s %s", method, path, contentType, text)
	}
	if list, ok := v.Results.([]any); ok {
		return strings.Trim(fmt.Sprint(list...), "[]")
	}
	return fmt.Sprint(v.Results)
}

// has fails the test unless an object has exactly the properties that a page
// reads, whatever else it has.
func (w *world) has(what string, o object, properties ...string) {
	w.t.Helper()
	for _, name := range properties {
		if _, ok := o[name]; !ok {
			w.t.Errorf("%s lacks %s; it has %v", what, name, slices.Sorted(maps.Keys(o)))
		}
	}
}

func (w *world) says(what, got, want string) {
	w.t.Helper()
	if !strings.Contains(got, want) {
		w.t.Errorf("%s says %q, want %q in it", what, got, want)
	}
}

// TestCIPPFrontEnd goes through CIPP's integration pages from the first look to
// a synced tenant, against the bundle as it is deployed, through the proxy that
// the guide documents.
func TestCIPPFrontEnd(t *testing.T) {
	t.Parallel()
	data := generated(3)
	data.Mappings = nil
	data.Organizations[2].Name = "Quite something else"
	w := start(t, data)
	front := behind(t, w.Host.URL())
	p := page{w, front.url}
	secret := w.Seed.Ninja.Secret
	w.merge("Extensionsconfig", "CippExtensions", "Config", map[string]any{
		"config": `{"Hudu":{"Enabled":true,"BaseURL":"https://docs.contoso.example","APIKey":"SentToKeyVault"},"HaloPSA":{"Enabled":false}}`})
	for field := range data.FieldMapping {
		w.remove("CippMapping", "NinjaOneFieldMapping", field)
	}

	// The page opens: who is there is CIPP's to say.
	if me := read[object](p, "me"); me["cipp"] != "cippabcde.azurewebsites.net" {
		t.Errorf("/api/me says %v", me)
	}
	// The card grid: NinjaOne is unconfigured, and other extensions are there.
	settings := read[object](p, "ListExtensionsConfig")
	if settings["NinjaOne"] != nil || settings["Hudu"] == nil {
		t.Fatalf("the first settings are %v", settings)
	}
	// Sync Jobs, before there is any.
	if tasks := read[[]object](p, "ListExtensionSync"); len(tasks) != 0 {
		t.Errorf("the first sync jobs are %v", tasks)
	}

	// Settings tab. The form holds every control, untouched ones without a
	// value, and is posted with all the extensions; a bad host first.
	form := object{
		"Enabled": true, "Instance": "https://evil.contoso.example", "ClientID": w.Seed.Ninja.ClientID, "APIKey": secret,
		"LicenseDocumentsEnabled": false, "UserDocumentsEnabled": false, "LicensedOnly": nil, "CveSyncEnabled": false, "CveSyncPrefix": nil, "ResetPassword": false,
	}
	settings["NinjaOne"] = form
	w.says("a bad host", p.results(http.MethodPost, "ExecExtensionsConfig", settings), "instance is not allowed")
	if after := read[object](p, "ListExtensionsConfig"); after["NinjaOne"] != nil {
		t.Errorf("a bad host was saved: %v", after["NinjaOne"])
	}
	// An autocomplete sends what was chosen as an object, with more than its
	// label and value.
	form["Instance"] = object{"label": "EU", "value": "https://eu.ninjarmm.com/ws", "addedFields": object{}, "rawData": object{"a": 1}}
	settings["Hudu"] = object{"Enabled": false, "BaseURL": "https://elsewhere.contoso.example"} // not this app's
	saved := p.results(http.MethodPost, "ExecExtensionsConfig", settings)
	w.says("a save", saved, "Successfully saved the NinjaOne settings.")
	w.says("a save", saved, "other extensions' settings were not saved")
	settings = read[object](p, "ListExtensionsConfig")
	ninja, _ := settings["NinjaOne"].(object)
	if hudu, _ := settings["Hudu"].(object); ninja["Instance"] != "eu.ninjarmm.com" || ninja["APIKey"] != "SentToKeyVault" || ninja["Enabled"] != true || hudu["Enabled"] != true {
		t.Errorf("the saved settings are %v", settings)
	}
	// The page sends the placeholder back with the next switch.
	ninja["LicensedOnly"] = true
	w.says("the next save", p.results(http.MethodPost, "ExecExtensionsConfig", settings), "Successfully saved")
	if got := p.results(http.MethodGet, "ExecExtensionTest?extensionName=NinjaOne", nil); got != "Successfully Connected to NinjaOne" {
		t.Errorf("Test says %q", got)
	}

	// Tenant Mapping tab: the selector of tenants, the companies, the table.
	tenants := read[[]object](p, "ListTenants?AllTenantSelector=false")
	if len(tenants) != 3 {
		t.Fatalf("the tenants are %v", tenants)
	}
	w.has("a tenant", tenants[0], "customerId", "displayName", "defaultDomainName", "initialDomainName", "Excluded", "GraphErrorCount", "delegatedPrivilegeStatus")
	if all := read[[]object](p, "ListTenants?AllTenantSelector=true"); len(all) != 4 || all[0]["defaultDomainName"] != "AllTenants" {
		t.Errorf("with the selector of all they are %v", all)
	}
	type mapping struct{ Companies, Mappings []object }
	list := read[mapping](p, "ExecExtensionMapping?List=NinjaOne")
	if len(list.Companies) != 3 || len(list.Mappings) != 0 {
		t.Fatalf("the first list is %+v", list)
	}
	if _, number := list.Companies[0]["value"].(float64); !number || list.Companies[0]["name"] == "" {
		t.Errorf("a company is %v", list.Companies[0])
	}
	// Automap Companies matches in the browser, and asks the server as well.
	status, contentType, text := p.call(http.MethodPost, "ExecExtensionMapping?AutoMapping=NinjaOne", object{})
	if status != http.StatusOK || !strings.HasPrefix(contentType, "text/plain") || strings.HasPrefix(text, "{") || !strings.Contains(text, "AutoMapping") {
		t.Errorf("Automap Companies: %d %s %s", status, contentType, text)
	}
	// The page loads its table again: what the names decide is there.
	if list := read[mapping](p, "ExecExtensionMapping?List=NinjaOne"); len(list.Mappings) != 2 {
		t.Errorf("right after the automap %d tenants are mapped: %v; it said %s", len(list.Mappings), list.Mappings, text)
	}
	w.await("the automap", func() bool {
		for _, i := range w.done {
			if i.Function == "Automap" {
				return true
			}
		}
		return false
	})
	row := func(tenant, company object) object {
		return object{"TenantId": tenant["customerId"], "Tenant": tenant["displayName"], "TenantDomain": tenant["defaultDomainName"],
			"IntegrationId": company["value"], "IntegrationName": company["name"]}
	}
	// Submit, with the table that was loaded before the server's job ended and
	// the row that the browser found: nothing of either is lost.
	submitted := append(slices.Clone(list.Mappings), row(tenants[0], list.Companies[slices.IndexFunc(list.Companies, func(c object) bool { return c["name"] == tenants[0]["displayName"] })]))
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOne", submitted), "Successfully edited mapping table")
	list = read[mapping](p, "ExecExtensionMapping?List=NinjaOne")
	if len(list.Mappings) != 3 {
		t.Fatalf("after automap and Submit there are %v", list.Mappings)
	}
	w.has("a mapping", list.Mappings[0], "TenantId", "Tenant", "TenantDomain", "IntegrationId", "IntegrationName")
	// Delete Mapping of one row, and Submit.
	slices.SortFunc(list.Mappings, func(a, b object) int { return strings.Compare(a["Tenant"].(string), b["Tenant"].(string)) })
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOne", list.Mappings[1:]), "1 removed")
	// A second tenant to the same company, sent as the page's table has it, with
	// a column of its own.
	both := append(slices.Clone(list.Mappings[1:]), object{"id": 0, "TenantId": list.Mappings[0]["TenantId"], "Tenant": "x", "TenantDomain": "x",
		"IntegrationId": list.Mappings[1]["IntegrationId"], "IntegrationName": list.Mappings[1]["IntegrationName"]})
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOne", both), "1 added")
	// The page loads its table again after Submit. Back to its own company:
	list = read[mapping](p, "ExecExtensionMapping?List=NinjaOne")
	shared := slices.IndexFunc(list.Mappings, func(m object) bool { return m["TenantId"] == tenants[0]["customerId"] })
	list.Mappings[shared] = row(tenants[0], list.Companies[slices.IndexFunc(list.Companies, func(c object) bool { return c["name"] == tenants[0]["displayName"] })])
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOne", list.Mappings), "1 changed")
	status, contentType, text = p.call(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOne", []object{{"TenantId": "nobody", "IntegrationId": -1, "IntegrationName": "x"}})
	if status != http.StatusInternalServerError || strings.HasPrefix(contentType, "application/json") || text == "" {
		t.Errorf("a bad mapping: %d %s %s", status, contentType, text)
	}

	// Field Mapping tab.
	type fields struct{ CIPPFields, CIPPFieldHeaders, IntegrationFields, Mappings []object }
	f := read[fields](p, "ExecExtensionMapping?List=NinjaOneFields")
	if len(f.CIPPFields) != 7 || len(f.CIPPFieldHeaders) != 2 || len(f.Mappings) != 0 {
		t.Fatalf("the fields are %+v", f)
	}
	if last := f.CIPPFields[6]; fmt.Sprint(last["Type"]) != "[TEXT_MULTILINE TEXT]" {
		t.Errorf("the seventh field is %v", last)
	}
	w.has("a field", f.CIPPFields[0], "FieldName", "FieldLabel", "FieldType", "Type")
	w.has("a header", f.CIPPFieldHeaders[0], "Title", "FieldType", "Description")
	w.has("a custom field", f.IntegrationFields[1], "name", "value", "type", "FieldType")
	if unset := f.IntegrationFields[0]; unset["value"] != nil || unset["type"] != "unset" {
		t.Errorf("the unset entry is %v", unset)
	}
	chosen := object{}
	taken := map[any]bool{nil: true}
	for _, field := range f.CIPPFields {
		for _, custom := range f.IntegrationFields { // as the page filters: same type, same scope
			if custom["type"] == field["Type"] && custom["FieldType"] == field["FieldType"] && !taken[custom["value"]] {
				taken[custom["value"]] = true
				chosen[field["FieldName"].(string)] = object{"label": custom["name"], "value": custom["value"], "type": custom["type"], "FieldType": custom["FieldType"], "addedFields": object{}}
				break
			}
		}
	}
	chosen["DeviceLinks"] = object{"label": "--- Do not synchronize ---", "value": nil}
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOneFields", chosen), "Successfully edited mapping table.")
	f = read[fields](p, "ExecExtensionMapping?List=NinjaOneFields")
	if len(f.Mappings) != 6 {
		t.Errorf("the field mappings are %v", f.Mappings)
	}
	// A field is taken off again.
	links := chosen["TenantLinks"].(object)["value"].(string)
	w.says("Submit", p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOneFields", object{"TenantLinks": nil}), "Successfully edited mapping table.")
	saves := read[[]object](p, "ListLogs?Filter=true&API=NinjaOne&User=developer")
	if !slices.ContainsFunc(saves, func(l object) bool {
		return l["Message"] == "The field mapping was saved: TenantLinks: "+links+" → not synchronized."
	}) {
		t.Errorf("the logbook does not say what was taken off, and who did it: %v", saves)
	}
	p.results(http.MethodPost, "ExecExtensionMapping?AddMapping=NinjaOneFields", object{"TenantLinks": chosen["TenantLinks"]})
	for _, m := range f.Mappings {
		w.has("a field mapping", m, "PartitionKey", "RowKey", "IntegrationId", "IntegrationName")
	}

	// Force Sync, for one tenant and for all, each a GET.
	list = read[mapping](p, "ExecExtensionMapping?List=NinjaOne")
	id := list.Mappings[0]["TenantId"].(string)
	w.says("Force Sync", p.results(http.MethodGet, "ExecExtensionSync?Extension=NinjaOne&TenantID="+id, nil), "NinjaOne Synchronization Queued for "+list.Mappings[0]["IntegrationName"].(string))
	w.says("Force Sync of all", p.results(http.MethodGet, "ExecExtensionSync?Extension=NinjaOne", nil), "NinjaOne Synchronization Queuing 3 Tenants")
	w.says("Force Sync of nobody", p.results(http.MethodGet, "ExecExtensionSync?Extension=NinjaOne&TenantID=nobody", nil), "Tenant was not found.")
	w.await("four syncs", func() bool {
		n := 0
		for _, i := range w.done {
			if i.Function == "SyncTenant" {
				n++
			}
		}
		return n >= 4
	})
	tasks := read[[]object](p, "ListExtensionSync")
	if len(tasks) != 3 {
		t.Fatalf("the sync jobs are %v", tasks)
	}
	w.has("a sync job", tasks[0], "RowKey", "PartitionKey", "Tenant", "Name", "SyncType", "ScheduledTime", "ExecutedTime", "RepeatsEvery", "Results")

	// Logbook.
	lines := read[[]object](p, "ListLogs?Filter=true&Severity=Info,Warn,Warning,Error,Critical,Alert&API=NinjaOneSync")
	if len(lines) == 0 {
		t.Fatal("the logbook has no line of the syncs")
	}
	w.has("a line", lines[0], "DateTime", "Tenant", "API", "Message", "User", "Severity", "LogData", "TenantID", "AppId", "IP", "RowKey", "Standard", "DateFilter")
	day := lines[0]["DateFilter"].(string)
	for query, some := range map[string]bool{
		"": true, "Filter=true&DateFilter=" + day: true, "Filter=true&StartDate=" + day + "&EndDate=" + day: true, "Filter=true&DateFilter=20200101": false,
		"Filter=true&User=CIPP": true, "Filter=true&Tenant=" + lines[0]["Tenant"].(string): true, "Filter=true&Severity=Critical": false,
	} {
		if got := read[[]object](p, "ListLogs?"+query); (len(got) > 0) != some {
			t.Errorf("ListLogs?%s has %d lines", query, len(got))
		}
	}
	if days := read[[]object](p, "ListLogs?ListLogs=true"); len(days) == 0 {
		t.Error("the logbook has no days")
	}
	if one := read[[]object](p, "ListLogs?logentryid="+lines[0]["RowKey"].(string)); len(one) != 1 || one[0]["Message"] != lines[0]["Message"] {
		t.Errorf("one line is %v", one)
	}

	// The switch that turns everything off posts all the settings once more.
	settings = read[object](p, "ListExtensionsConfig")
	settings["NinjaOne"].(object)["Enabled"] = false
	w.says("turning it off", p.results(http.MethodPost, "ExecExtensionsConfig", settings), "Successfully saved")
	w.says("Force Sync while off", p.results(http.MethodGet, "ExecExtensionSync?Extension=NinjaOne", nil), "turned off")
	if text := fmt.Sprint(read[object](p, "ListExtensionsConfig")); strings.Contains(text, secret) {
		t.Error("the secret came back")
	}
	if !slices.Equal(front.asked, []string{"GET /api/me"}) {
		t.Errorf("CIPP's API was asked %v", front.asked)
	}
}
