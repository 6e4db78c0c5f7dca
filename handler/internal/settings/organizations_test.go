package settings

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/ninjasim"
)

// mapped returns the tenants' mappings as stored, "organization name status".
func (i *installation) mapped() map[string]string {
	i.t.Helper()
	rows := map[string]string{}
	for e, err := range i.cipp.Table("CippMapping").List(i.t.Context(), storage.Eq("PartitionKey", "NinjaOneMapping")) {
		must(i.t, err)
		rows[e.RowKey()] = strings.TrimSpace(e.String("IntegrationId") + " " + e.String("IntegrationName") + " " + e.String("lastStatus"))
	}
	return rows
}

func mappingEntity(tenant, id, name string, columns ...any) storage.Entity {
	e := storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": tenant, "IntegrationId": id, "IntegrationName": name}
	for n := 0; n < len(columns); n += 2 {
		e[columns[n].(string)] = columns[n+1]
	}
	return e
}

// openPage reads the mapping page's table, as it would be sent back.
func (i *installation) openPage() []map[string]any {
	i.t.Helper()
	return decode[struct{ Mappings []map[string]any }](i.t, i.get("ExecExtensionMapping?List=NinjaOne")).Mappings
}

func (i *installation) submit(rows []map[string]any) string {
	i.t.Helper()
	body, err := json.Marshal(rows)
	must(i.t, err)
	return i.post("ExecExtensionMapping?AddMapping=NinjaOne", string(body)).results(i.t)
}

func chosen(tenant string, id any, name string) map[string]any {
	return map[string]any{"TenantId": tenant, "Tenant": "x", "TenantDomain": "x", "IntegrationId": id, "IntegrationName": name}
}

// TestTwoPages has two technicians edit the same list, while a sync and an
// automap run: each one's changes stay.
func TestTwoPages(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	ran := []any{"lastStatus", "Completed", "lastStartTime", "2026-08-01T02:45:10.120Z", "lastEndTime", "2026-08-01T02:47:55.001Z"}
	i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd", ran...), mappingEntity(fabrikam, "18", "Fabrikam", ran...))
	one, two := i.openPage(), i.openPage()
	if len(one) != 2 {
		t.Fatalf("the page shows %v", one)
	}
	// The first takes Contoso off and maps it elsewhere.
	if got := i.submit([]map[string]any{chosen(contoso, 19, "alpine"), one[1]}); !strings.Contains(got, "0 added, 1 changed, 0 removed") {
		t.Error(got)
	}
	// A sync of Fabrikam ends meanwhile.
	must(t, i.cipp.Table("CippMapping").MergeIfMatch(t.Context(), storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": fabrikam, "lastStatus": "Failed"}, storage.AnyETag))
	// The second, whose page is older, adds Tailspin.
	if got := i.submit(append(two, chosen(tailspin, "18", "Fabrikam"))); !strings.Contains(got, "1 added, 0 changed, 0 removed") {
		t.Error(got)
	}
	want := map[string]string{contoso: "19 alpine", fabrikam: "18 Fabrikam Failed", tailspin: "18 Fabrikam"}
	if diff := cmp.Diff(want, i.mapped()); diff != "" {
		t.Error(diff)
	}
	// The first, with the old page still open, takes everything off that it
	// shows. Tailspin was never on it.
	if got := i.submit([]map[string]any{chosen(contoso, 17, "Contoso Ltd")}); !strings.Contains(got, "0 added, 1 changed, 1 removed") {
		t.Error(got)
	}
	want = map[string]string{contoso: "17 Contoso Ltd", tailspin: "18 Fabrikam"}
	if diff := cmp.Diff(want, i.mapped()); diff != "" {
		t.Error(diff)
	}
	// An empty table means what it says.
	if got := i.submit([]map[string]any{}); !strings.Contains(got, "2 removed") || len(i.mapped()) != 0 {
		t.Errorf("%s, left are %v", got, i.mapped())
	}
}

func TestSaveOrganizations(t *testing.T) {
	before := mappingEntity(contoso, "17", "Contoso Ltd", "lastStatus", "Completed", "lastStartTime", "2026-08-01T02:45:10.120Z")
	unchanged := map[string]string{contoso: "17 Contoso Ltd Completed"}
	one := func(tenant, id, name string) string {
		return `[{"TenantId":` + tenant + `,"IntegrationId":` + id + `,"IntegrationName":` + name + `}]`
	}
	for _, tt := range []struct {
		name, body string
		fails      string // what the failure says; "" for none
		want       map[string]string
	}{
		{"the same", one(`"`+contoso+`"`, `"17"`, `"Contoso Ltd"`), "", unchanged},
		{"numbers and texts", one(`"`+contoso+`"`, `18`, `7`), "", map[string]string{contoso: "18 7"}},
		{"no name", one(`"`+contoso+`"`, `18`, `null`), "", map[string]string{contoso: "18"}},
		{"a domain in place of the id", one(`"CONTOSO.example"`, `18`, `"Fabrikam"`), "", map[string]string{contoso: "18 Fabrikam"}},
		{"an excluded tenant, chosen all the same", one(`"`+excluded+`"`, `18`, `"Fabrikam"`), "", map[string]string{excluded: "18 Fabrikam"}},
		{"twice the same", `[` + strings.Trim(one(`"`+contoso+`"`, `18`, `"F"`), "[]") + `,` + strings.Trim(one(`"contoso.example"`, `18`, `"F"`), "[]") + `]`, "", map[string]string{contoso: "18 F"}},
		{"a mark that is none", `[{"TenantId":"` + contoso + `","IntegrationId":17,"IntegrationName":"Contoso Ltd","Listed":"x"}]`, "", unchanged},
		{"gone from CIPP, and not touched", `[{"TenantId":"` + contoso + `","IntegrationId":17,"IntegrationName":"Contoso Ltd"},{"TenantId":"aaaaaaaa-0000-4000-8000-00000000000f","IntegrationId":"5","Listed":"2026-08-01T00:00:00Z/5"}]`, "", unchanged},

		{"twice, differently", `[` + strings.Trim(one(`"`+contoso+`"`, `18`, `"F"`), "[]") + `,` + strings.Trim(one(`"contoso.example"`, `19`, `"F"`), "[]") + `]`, "mapping 2 of the list: its tenant is mapped to two organizations", unchanged},
		{"the entry that CIPP offers while NinjaOne is away", one(`"`+fabrikam+`"`, `"-1"`, `"Could not get them"`), "mapping 1 of the list: it has no NinjaOne organization", unchanged},
		{"nothing chosen", one(`"`+fabrikam+`"`, `null`, `null`), "it has no NinjaOne organization", unchanged},
		{"no number", one(`"`+fabrikam+`"`, `"x"`, `"x"`), "it has no NinjaOne organization", unchanged},
		{"an unknown tenant", one(`"nobody.example"`, `18`, `"x"`), "its tenant is not known to CIPP", unchanged},
		{"the entry that CIPP offers while the tenants are away", one(`""`, `18`, `"x"`), "its tenant is not known to CIPP", unchanged},
		{"all tenants", one(`"AllTenants"`, `18`, `"x"`), "its tenant is not known to CIPP", unchanged},
		{"an endless name", one(`"`+fabrikam+`"`, `18`, `"`+strings.Repeat("x", 501)+`"`), "too long", unchanged},
		{"an object", `{"TenantId":"x"}`, "must be a JSON list", unchanged},
		{"null", `null`, "must be a JSON list", unchanged},
		{"wrong types", `[{"TenantId":5}]`, "must be a JSON list", unchanged},
		{"broken", `[{"TenantId":`, "must be a JSON list", unchanged},
		{"nothing at all", ``, "the request has no body", unchanged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := install(t)
			i.put("CippMapping", before)
			got := i.post("ExecExtensionMapping?AddMapping=NinjaOne", tt.body)
			if tt.fails == "" {
				got.results(t)
			} else if got.status != http.StatusInternalServerError || !strings.HasPrefix(got.text, "Mapping API failed. ") || !strings.Contains(got.text, tt.fails) {
				t.Errorf("it says %+v", got)
			}
			if diff := cmp.Diff(tt.want, i.mapped()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNinjaOneIsAway lists what there is while NinjaOne cannot be read, with
// nothing in it that could be saved by mistake.
func TestNinjaOneIsAway(t *testing.T) {
	i := install(t)
	i.configure(working, wrongSecret)
	i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd"), mappingEntity(excluded, "18", "x"), mappingEntity(fabrikam, "x", "x"), mappingEntity("nobody.example", "19", "x"),
		storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "DeviceCompliance", "IntegrationId": "cippCompliance", "IntegrationName": "Compliance"},
		storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "DeviceLinks", "IntegrationId": "", "IntegrationName": "none"})
	organizations := decode[struct {
		Companies []company
		Mappings  []map[string]any
		Results   string
	}](t, i.get("ExecExtensionMapping?List=NinjaOne"))
	if len(organizations.Companies) != 1 || organizations.Companies[0] != (company{organizations.Results, -1}) || len(organizations.Mappings) != 1 || organizations.Mappings[0]["TenantId"] != contoso ||
		!strings.Contains(organizations.Results, "does not accept the client secret") {
		t.Errorf("listed is %+v", organizations)
	}
	fields := decode[struct {
		CIPPFieldHeaders  []fieldHeader
		IntegrationFields []map[string]any
		Mappings          []map[string]any
		Results           string
	}](t, i.get("ExecExtensionMapping?List=NinjaOneFields"))
	want := []map[string]any{
		{"name": "--- Do not synchronize ---", "value": nil, "type": "unset"},
		{"name": "Compliance", "value": "cippCompliance", "type": "TEXT", "FieldType": "Device"},
	}
	if diff := cmp.Diff(want, fields.IntegrationFields); diff != "" || len(fields.Mappings) != 2 || !strings.Contains(fields.Results, "does not accept the client secret") {
		t.Errorf("listed is %+v", fields)
	}
	if h := fields.CIPPFieldHeaders; len(h) != 2 || !strings.Contains(h[0].Description, fields.Results) || !strings.Contains(h[1].Description, fields.Results) {
		t.Errorf("the headers do not say why: %+v", h)
	}
	// What stands in place of the organizations cannot be saved.
	body := `[{"TenantId":"` + tailspin + `","IntegrationId":-1,"IntegrationName":"x"}]`
	if got := i.post("ExecExtensionMapping?AddMapping=NinjaOne", body); !strings.Contains(got.text, "Mapping API failed") || len(i.mapped()) != 4 {
		t.Errorf("saving it gives %+v", got)
	}
	i.ninja.InjectFault(ninjasim.Fault{Path: "custom-fields|organizations", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`})
	i.configure(working, clientSecret)
	i.post("ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"`+clientSecret+`"}}`)
	for _, list := range []string{"NinjaOne", "NinjaOneFields"} {
		if got := i.get("ExecExtensionMapping?List=" + list); got.status != http.StatusOK || !strings.Contains(got.text, "may not read organizations or custom fields") {
			t.Errorf("%s: %+v", list, got)
		}
	}
}

func TestMappingParameters(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	for _, path := range []string{"ExecExtensionMapping", "ExecExtensionMapping?List=Hudu", "ExecExtensionMapping?AddMapping=Hudu", "ExecExtensionMapping?AutoMapping=NinjaOrgs",
		"ExecExtensionMapping?List=NinjaOne&AddMapping=NinjaOne", "ExecExtensionMapping?List=&AddMapping="} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := i.browser("editor", method, path, ""); got.status != http.StatusInternalServerError || !strings.HasPrefix(got.text, "Mapping API failed. this address takes one of") {
				t.Errorf("%s %s: %+v", method, path, got)
			}
		}
	}
	if len(messages(t, i.automap)) != 0 {
		t.Error("an automap was asked for")
	}
}

func TestSaveFields(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		fails      string
		want       string // the row of TenantLinks afterwards
	}{
		{"a field", `{"TenantLinks":{"label":"Links","value":"links"}}`, "", "links|Links"},
		{"as older pages send it", `{"mappings":{"TenantLinks":{"label":"Links","value":"links"}}}`, "", "links|Links"},
		{"none", `{"TenantLinks":{"label":"x","value":null}}`, "", "|--- Do not synchronize ---"},
		{"minus one", `{"TenantLinks":{"label":"x","value":"-1"}}`, "", "|--- Do not synchronize ---"},
		{"other names are left aside", `{"Other":1,"RowKey":{"label":"x","value":"x"},"TenantLinks":{"label":"Links","value":"links"}}`, "", "links|Links"},
		{"another field", `{"UsersSummary":{"label":"U","value":"u"}}`, "", "before|Before"},
		{"null, as the page sends it", `{"TenantLinks":null}`, "", "|--- Do not synchronize ---"},
		{"null beside another field", `{"mappings":{"UsersSummary":{"label":"U","value":"u"},"TenantLinks":null}}`, "", "|--- Do not synchronize ---"},
		{"no field of CIPP's", `{"Other":{"label":"x","value":"x"}}`, "names none of CIPP's fields", "before|Before"},
		{"no choice", `{"TenantLinks":"links"}`, "must have a label and a value", "before|Before"},
		{"no text", `{"TenantLinks":{"label":"x","value":5}}`, "must have a label and a value", "before|Before"},
		{"an endless name", `{"TenantLinks":{"label":"x","value":"` + strings.Repeat("x", 501) + `"}}`, "too long", "before|Before"},
		{"a list", `[]`, "must be a JSON object", "before|Before"},
		{"a list within", `{"mappings":[]}`, "must be a JSON object", "before|Before"},
		{"null", `null`, "must be a JSON object", "before|Before"},
		{"nothing", ``, "the request has no body", "before|Before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := install(t)
			i.put("CippMapping", storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": "TenantLinks", "IntegrationId": "before", "IntegrationName": "Before"})
			got := i.post("ExecExtensionMapping?AddMapping=NinjaOneFields", tt.body)
			if tt.fails == "" {
				if got.results(t) != "Successfully edited mapping table." {
					t.Errorf("it says %+v", got)
				}
			} else if got.status != http.StatusInternalServerError || !strings.Contains(got.text, tt.fails) {
				t.Errorf("it says %+v", got)
			}
			e, err := i.cipp.Table("CippMapping").Get(t.Context(), "NinjaOneFieldMapping", "TenantLinks")
			must(t, err)
			if now := e.String("IntegrationId") + "|" + e.String("IntegrationName"); now != tt.want {
				t.Errorf("stored is %s", now)
			}
		})
	}
}

func FuzzListedMark(f *testing.F) {
	f.Add("2026-08-01T00:00:00Z/5")
	f.Add("x/5")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var m, again listedMark
		if err := m.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		written, err := m.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(written); err != nil || !again.at.Equal(m.at) || again.organization != m.organization {
			t.Errorf("%q became %q", text, written)
		}
	})
}
