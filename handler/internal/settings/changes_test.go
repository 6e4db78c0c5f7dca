package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestWhatChanged tells the logbook what was saved, and who saved it.
func TestWhatChanged(t *testing.T) {
	many := make([]string, 0, maxToldChanges+5)
	for n := range maxToldChanges + 5 {
		many = append(many, fmt.Sprintf(`{"TenantId":"bbbbbbbb-0000-4000-8000-%012d","IntegrationId":17,"IntegrationName":"Contoso Ltd"}`, n))
	}
	for name, tt := range map[string]struct{ path, body, want string }{
		"a field taken off": {"ExecExtensionMapping?AddMapping=NinjaOneFields", `{"DeviceLinks":null,"TenantLinks":{"label":"Links","value":"cippTenantLinks"}}`,
			"The field mapping was saved: DeviceLinks: cippDeviceLinks → not synchronized."},
		"a field chosen": {"ExecExtensionMapping?AddMapping=NinjaOneFields", `{"UsersSummary":{"label":"Users","value":"cippUsers"},"DeviceLinks":{"label":"x","value":"other"}}`,
			"The field mapping was saved: UsersSummary: not synchronized → cippUsers; DeviceLinks: cippDeviceLinks → other."},
		"no field": {"ExecExtensionMapping?AddMapping=NinjaOneFields", `{"UsersSummary":null}`, "The field mapping was saved: nothing changed."},
		"settings": {"ExecExtensionsConfig", `{"NinjaOne":{"Enabled":false,"Instance":"us2.ninjarmm.com","ClientID":"hunter2-the-wrong-place","CveSyncPrefix":"CIPP-","UserDocumentsEnabled":false}}`,
			"The NinjaOne settings were saved: Enabled: on → off; Instance: eu.ninjarmm.com → us2.ninjarmm.com; ClientID: changed; CveSyncPrefix: not set → CIPP-."},
		"a secret":             {"ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"` + wrongSecret + `"}}`, "The NinjaOne settings were saved: a new client secret."},
		"no setting":           {"ExecExtensionsConfig", `{"NinjaOne":{"Enabled":true}}`, "The NinjaOne settings were saved: nothing changed."},
		"tenants":              {"ExecExtensionMapping?AddMapping=NinjaOne", `[{"TenantId":"` + contoso + `","IntegrationId":19,"IntegrationName":"alpine"},{"TenantId":"` + tailspin + `","IntegrationId":18,"IntegrationName":"Fabrikam"}]`, "The tenant mapping was saved: contoso.example: Contoso Ltd (17) → alpine (19); tailspin.example: not mapped → Fabrikam (18); fabrikam.example: Fabrikam (18) → not mapped."},
		"more than a line has": {"ExecExtensionMapping?AddMapping=NinjaOne", "[" + strings.Join(many, ",") + "]", "; and 7 more."},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t)
			i.configure(working, clientSecret)
			i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd", "lastStartTime", "2026-08-01T02:45:10.120Z"), mappingEntity(fabrikam, "18", "Fabrikam", "lastStartTime", "2026-08-01T02:45:10.120Z"),
				storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "DeviceLinks", "IntegrationId": "cippDeviceLinks", "IntegrationName": "Device links"},
				storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "TenantLinks", "IntegrationId": "cippTenantLinks", "IntegrationName": "Links"})
			for n := range many {
				i.put("Tenants", aTenant(fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", n), fmt.Sprint("T", n), fmt.Sprintf("t%d.example", n)))
			}
			i.post(tt.path, tt.body)
			if lines := i.lines("NinjaOne"); len(lines) != 1 || lines[0] != tt.want && (!strings.HasPrefix(tt.want, ";") || !strings.HasSuffix(lines[0], tt.want)) {
				t.Errorf("the logbook says %q, want %q", lines, tt.want)
			}
			if strings.Contains(strings.Join(i.lines("NinjaOne"), ""), "hunter2") {
				t.Error("a line holds what may be a secret")
			}
		})
	}
}

// TestWhoAsked puts a sync, an automap, and what that maps, down to the person.
func TestWhoAsked(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	i.post("ExecExtensionMapping?AutoMapping=NinjaOne", "")
	if lines := i.lines(cipp.LogbookAutomap); len(lines) != 3 || !slices.Contains(lines, "An automap was asked for.") {
		t.Errorf("the logbook says %q", lines)
	}
	i.get("ExecExtensionSync?Extension=NinjaOne&TenantID=" + contoso)
	if lines := i.lines(cipp.LogbookSync); len(lines) != 1 || lines[0] != "A sync to NinjaOne was asked for." {
		t.Errorf("the logbook says %q", lines)
	}
}

// TestWarnings warns who turns on what does not happen.
func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		body  string
		given bool
		want  string
	}{
		"what is done":              {`{"NinjaOne":{"LicensedOnly":true}}`, false, ""},
		"vulnerabilities":           {`{"NinjaOne":{"CveSyncEnabled":true}}`, false, ""},
		"another extension":         {`{"NinjaOne":{"LicensedOnly":true},"Hudu":{"Enabled":true}}`, false, "Warning: the changes to other extensions' settings were not saved. Error: this app saves NinjaOne's alone"},
		"what is on already":        {`{"NinjaOne":{"Enabled":true}}`, true, ""},
		"what CIPP does at present": {`{"NinjaOne":{"UserDocumentsEnabled":true,"LicensedOnly":true}}`, true, "Warning: the syncs were given back to CIPP's own engine. This app does none of what was turned on (LicensedOnly, UserDocumentsEnabled)"},
		"what nobody knows":         {`{"NinjaOne":{"NewEnabled":true}}`, false, `Warning: these failed to be saved, since this app does not take over what they set: "NewEnabled".`},
	} {
		i := install(t)
		i.configure(working, clientSecret)
		i.given = tt.given
		got := i.post("ExecExtensionsConfig", tt.body).results(t)
		if rest, ok := strings.CutPrefix(got, "Successfully saved the NinjaOne settings."); !ok || (tt.want == "") != (rest == "") || !strings.Contains(rest, tt.want) {
			t.Errorf("%s: it says %q", name, got)
		}
	}
}

// TestRefusals sees that the answer to everything that is refused has one of the
// words by which CIPP's page colours it, and no other answer has.
func TestRefusals(t *testing.T) {
	i := install(t)
	i.configure(strings.Replace(working, "true", "false", 1), wrongSecret)
	bad := func(text string) bool {
		text = strings.ToLower(text)
		return strings.Contains(text, "failed") || strings.Contains(text, "error")
	}
	for _, tt := range []struct{ role, method, path, body string }{
		{"", "GET", "ListLogs", ""},
		{"reader", "GET", "ExecExtensionSync?Extension=NinjaOne", ""},
		{"editor", "DELETE", "ListLogs", ""},
		{"editor", "GET", "ExecExtensionMapping?AddMapping=NinjaOne", ""},
		{"editor", "GET", "ExecExtensionMapping?List=Hudu", ""},
		{"editor", "POST", "ExecExtensionMapping?AddMapping=NinjaOne", "{}"},
		{"editor", "POST", "ExecExtensionMapping?AddMapping=NinjaOneFields", "[]"},
		{"editor", "POST", "ExecExtensionMapping?AutoMapping=NinjaOne", ""},
		{"editor", "POST", "ExecExtensionsConfig", "{}"},
		{"editor", "POST", "ExecExtensionsConfig", `{"NinjaOne":{"Instance":"evil.example"}}`},
		{"editor", "POST", "ExecExtensionsConfig", `{"NinjaOne":{},"Hudu":{"Enabled":true}}`},
		{"editor", "GET", "ExecExtensionSync?Extension=Hudu", ""},
		{"editor", "GET", "ExecExtensionSync?Extension=NinjaOne", ""},
		{"editor", "GET", "ExecExtensionSync?Extension=NinjaOne&TenantID=nobody", ""},
		{"editor", "GET", "ExecExtensionTest?extensionName=Hudu", ""},
		{"editor", "GET", "ExecExtensionTest?extensionName=NinjaOne", ""},
		{"editor", "GET", "ListLogs?Filter=true&StartDate=x", ""},
	} {
		if tt.path == "ExecExtensionSync?Extension=NinjaOne&TenantID=nobody" {
			i.configure(working, wrongSecret)
		}
		if got := i.browser(tt.role, tt.method, tt.path, tt.body); !bad(got.text) {
			t.Errorf("%s %s: %+v", tt.method, tt.path, got)
		}
	}
	i.configure(working, clientSecret)
	i.post("ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"`+clientSecret+`"}}`)
	i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd"))
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "ExecExtensionsConfig", `{"NinjaOne":{"LicensedOnly":true}}`},
		{"GET", "ExecExtensionTest?extensionName=NinjaOne", ""},
		{"POST", "ExecExtensionMapping?AutoMapping=NinjaOne", ""},
		{"POST", "ExecExtensionMapping?AddMapping=NinjaOne", `[{"TenantId":"` + contoso + `","IntegrationId":17,"IntegrationName":"Contoso Ltd"}]`},
		{"POST", "ExecExtensionMapping?AddMapping=NinjaOneFields", `{"TenantLinks":{"label":"Links","value":"links"}}`},
		{"GET", "ExecExtensionSync?Extension=NinjaOne", ""},
		{"GET", "ExecExtensionSync?Extension=NinjaOne&TenantID=" + contoso, ""},
	} {
		if got := i.browser("editor", tt.method, tt.path, tt.body); got.status != 200 || bad(got.text) {
			t.Errorf("%s %s: %+v", tt.method, tt.path, got)
		}
	}
}

// TestOrder lists what there is in CIPP's order.
func TestOrder(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	for id, name := range map[int]string{1: "zebra", 2: "Äther", 3: "Beta", 4: "ätna"} {
		i.ninja.AddOrganization(ninjasim.Organization{ID: id, Name: name})
	}
	i.ninja.AddCustomField(ninjasim.CustomField{Name: "zzz", Label: "A label", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}})
	// By domain, the second would be the first.
	i.put("Tenants", aTenant(contoso, "Contoso", "zz.example"), aTenant(fabrikam, "Fabrikam", "aa.example"))
	i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd"), mappingEntity(fabrikam, "18", "Fabrikam"))
	list := decode[struct {
		Companies []company
		Mappings  []mappingRow
	}](t, i.get("ExecExtensionMapping?List=NinjaOne"))
	var names []string
	for _, c := range list.Companies {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"alpine", "Äther", "ätna", "Beta", "Contoso Ltd", "Fabrikam", "zebra"}, names); diff != "" {
		t.Error(diff)
	}
	if m := list.Mappings; len(m) != 2 || m[0].TenantID != contoso {
		t.Errorf("the mappings are %+v", m)
	}
	fields := decode[struct{ IntegrationFields []integrationField }](t, i.get("ExecExtensionMapping?List=NinjaOneFields")).IntegrationFields
	if last := fields[len(fields)-1]; last.Name != "A label" || !slices.ContainsFunc(fields, func(f integrationField) bool { return f.Name == "Compliance" }) {
		t.Errorf("the fields are %+v", fields)
	}
}
