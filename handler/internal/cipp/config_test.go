package cipp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
)

func TestParseExtensionConfig(t *testing.T) {
	full := ExtensionConfig{Configured: true, Enabled: true, Instance: "eu.ninjarmm.com", ClientID: "client", LicenseDocuments: true, UserDocuments: true, LicensedOnly: true, CVESync: true, CVESyncPrefix: "CIPP-"}
	tests := []struct {
		name, json string
		want       ExtensionConfig
		err        bool
	}{
		{"as the present page saves it", `{"Hudu":{"Enabled":true},"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"client","APIKey":"SentToKeyVault","LicenseDocumentsEnabled":true,"UserDocumentsEnabled":true,"LicensedOnly":true,"CveSyncEnabled":true,"CveSyncPrefix":"CIPP-"}}`, full, false},
		{"names in other case", `{"ninjaone":{"ENABLED":true,"instance":"eu.ninjarmm.com","ClientId":"client","licensedocumentsenabled":true,"userDocumentsEnabled":true,"licensedonly":true,"CVESyncEnabled":true,"cvesyncprefix":"CIPP-"}}`, full, false},
		{"booleans as text and number", `{"NinjaOne":{"Enabled":"True","Instance":"eu.ninjarmm.com","ClientID":"client","LicenseDocumentsEnabled":"true","UserDocumentsEnabled":1,"LicensedOnly":{"label":"Yes","value":true},"CveSyncEnabled":{"label":"true","value":"true"},"CveSyncPrefix":"CIPP-"}}`,
			ExtensionConfig{Configured: true, Enabled: true, Instance: "eu.ninjarmm.com", ClientID: "client", LicenseDocuments: true, UserDocuments: true, CVESync: true, CVESyncPrefix: "CIPP-"}, false},
		{"instance as a choice", `{"NinjaOne":{"Enabled":true,"Instance":{"label":"Europe","value":"eu.ninjarmm.com"}}}`, ExtensionConfig{Configured: true, Enabled: true, Instance: "eu.ninjarmm.com"}, false},
		{"instance as a choice with a label only", `{"NinjaOne":{"Enabled":true,"Instance":{"label":"eu.ninjarmm.com"}}}`, ExtensionConfig{Configured: true, Enabled: true, Instance: "eu.ninjarmm.com"}, false},
		{"instance raw with scheme and path", `{"NinjaOne":{"Enabled":false,"Instance":" https://EU.ninjarmm.com/ws "}}`, ExtensionConfig{Configured: true, Instance: "https://EU.ninjarmm.com/ws"}, false},
		{"values absent or null", `{"NinjaOne":{"Enabled":null,"Instance":null,"ClientID":null}}`, ExtensionConfig{}, false},
		{"values of strange types", `{"NinjaOne":{"Enabled":[],"Instance":["x"],"ClientID":17,"LicensedOnly":"maybe"}}`, ExtensionConfig{Configured: true, ClientID: "17"}, false},
		{"never configured", `{"NinjaOne":{}}`, ExtensionConfig{}, false},
		{"only other extensions", `{"Hudu":{}}`, ExtensionConfig{}, false},
		{"null", `{"NinjaOne":null}`, ExtensionConfig{}, false},
		{"empty", ` `, ExtensionConfig{}, false},
		{"cut off", `{"NinjaOne":{"APIKey":"hunter2`, ExtensionConfig{}, true},
		{"text in place of an object", `{"NinjaOne":"hunter2"}`, ExtensionConfig{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseExtensionConfig(tt.json)
			if (err != nil) != tt.err {
				t.Fatalf("error is %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the settings: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseExtensionConfig(f *testing.F) {
	f.Add(`{"NinjaOne":{"Enabled":{"value":{"value":true}},"Instance":1e999}}`)
	f.Add(`{"NINJAONE":{"enabled":"1","ClientId":[]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseExtensionConfig(text)
		if err != nil && c != (ExtensionConfig{}) {
			t.Errorf("settings %+v beside the error %v", c, err)
		}
		if c.Enabled && !c.Configured {
			t.Error("enabled, but never configured")
		}
	})
}

func TestNinjaOneConfig(t *testing.T) {
	config := func(client string, padding int) string {
		return `{"Other":{"Note":"` + strings.Repeat("x", padding) + `"},"NinjaOne":{"Enabled":true,"ClientID":"` + client + `"}}`
	}
	whole := config("split", 70000)
	for name, rows := range map[string][]storage.Entity{
		"plain":                   {row("CippExtensions", "Config", "config", config("plain", 0))},
		"foreign keys":            {row("Other", "Row", "config", config("foreign keys", 0))},
		"the standard row counts": {row("Another", "Row", "config", config("x", 0)), row("CippExtensions", "Config", "config", config("the standard row counts", 0))},
		"split": {row("CippExtensions", "Config", "config_Part0", whole[:30720], "config_Part1", whole[30720:61440], "config_Part2", whole[61440:],
			"SplitOverProps", `{"OriginalHeader":"config","SplitHeaders":["config_Part0","config_Part1","config_Part2"]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			s.seed(t, tableExtensionsConfig, rows...)
			got, err := s.NinjaOneConfig(t.Context())
			must(t, err)
			if got.ClientID != name || !got.Enabled {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestPortalHost(t *testing.T) {
	for text, want := range map[string]string{
		"cipp.contoso.example": "cipp.contoso.example", " CIPP.Contoso.Example ": "cipp.contoso.example", "https://cipp.contoso.example/login?x=1": "cipp.contoso.example",
		"cipp.contoso.example/": "cipp.contoso.example", "http://localhost:4280": "localhost:4280",
		"": "", "not a host": "", "javascript:alert(1)": "", "ftp://cipp.contoso.example": "", "https://user:pw@cipp.contoso.example": "", `"><script>`: "", "-x.example": "", strings.Repeat("a.", 200) + "example": "",
	} {
		if got := cleanHost(text); got != want {
			t.Errorf("%q gave %q, want %q", text, got, want)
		}
	}
	s, _ := newStore(t, Deps{})
	s.seed(t, tableConfig, row("InstanceProperties", "CIPPURL", "Value", "cipp.contoso.example"), row("Elsewhere", "CIPPURL", "Value", "wrong.example"))
	got, err := s.portalHost(t.Context())
	must(t, err)
	if got != "cipp.contoso.example" {
		t.Errorf("got %q", got)
	}
}

func FuzzCleanHost(f *testing.F) {
	f.Add("https://a.example/x")
	f.Add("//a\\@b")
	f.Fuzz(func(t *testing.T, text string) {
		if host := cleanHost(text); strings.ContainsAny(host, "<>\"'/\\@ \n?#&") {
			t.Errorf("%q gave %q", text, host)
		}
	})
}

func TestExcludedSKUs(t *testing.T) {
	s, _ := newStore(t, Deps{})
	id := func(n string) string { return "bbbbbbbb-0000-4000-8000-00000000000" + n }
	s.seed(t, tableExcludedLicenses,
		row("License", strings.ToUpper(id("1")), "GUID", id("1"), "Product_Display_Name", "Absent means everywhere"),
		row("License", id("2"), "ExcludedEverywhere", true),
		row("License", id("3"), "ExcludedEverywhere", false),
		row("License", id("4"), "ExcludedEverywhere", "False"),
		row("License", "By name", "GUID", id("5")),
		row("License", "junk"),
		row("Other", id("6")))
	got, err := s.excludedSKUs(t.Context())
	must(t, err)
	if diff := cmp.Diff(map[string]bool{id("1"): true, id("2"): true, id("5"): true}, got); diff != "" {
		t.Error(diff)
	}
}
