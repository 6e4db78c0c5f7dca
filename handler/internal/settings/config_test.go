package settings

import (
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"
)

func TestSaveConfig(t *testing.T) {
	const stored = `{"Hudu":{"Enabled":true,"N":1.50},"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x"}}`
	same := func(part string) string { return `{"Hudu":{"Enabled":true,"N":1.50},"NinjaOne":` + part + `}` }
	for _, tt := range []struct {
		name, body string
		says       string // begins with
		config     string // "" for unchanged
		secret     string // "" for unchanged
	}{
		{"a switch", `{"NinjaOne":{"LicensedOnly":true}}`, "Successfully saved",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x","LicensedOnly":true}`), ""},
		{"names in other cases", `{"ninjaone":{"clientid":" new ","ENABLED":false}}`, "Successfully saved",
			same(`{"Enabled":false,"Instance":"eu.ninjarmm.com","ClientID":"new","APIKey":"SentToKeyVault","Own":"x"}`), ""},
		{"a host with scheme and path", `{"NinjaOne":{"Instance":"https://US2.ninjarmm.com/ws/"}}`, "Successfully saved",
			same(`{"Enabled":true,"Instance":"us2.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x"}`), ""},
		{"a host from a select control", `{"NinjaOne":{"Instance":{"label":"Canada","value":"ca.ninjarmm.com"}}}`, "Successfully saved",
			same(`{"Enabled":true,"Instance":"ca.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x"}`), ""},
		{"a prefix that ends in a space", `{"NinjaOne":{"CveSyncPrefix":"CIPP "}}`, "Successfully saved",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x","CveSyncPrefix":"CIPP "}`), ""},
		{"a new secret", `{"NinjaOne":{"APIKey":" ` + clientSecret + ` "}}`, "Successfully saved",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x"}`), clientSecret},
		{"the placeholder is no secret", `{"NinjaOne":{"APIKey":"SentToKeyVault"}}`, "Successfully saved", stored, ""},
		{"an empty secret is none", `{"NinjaOne":{"APIKey":"","ResetPassword":true,"CveSyncPrefix":null}}`, "Successfully saved", stored, ""},
		{"others' changes are told and not saved", `{"Hudu":{"Enabled":false},"HaloPSA":{},"Enabled":true,"NinjaOne":{"LicensedOnly":false}}`,
			"Successfully saved the NinjaOne settings. Warning: the changes to other extensions' settings were not saved",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x","LicensedOnly":false}`), ""},
		{"others that are the same are not worth a word", `{"Hudu":{"Enabled":true},"NinjaOne":{"LicensedOnly":false}}`, "Successfully saved the NinjaOne settings.",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x","LicensedOnly":false}`), ""},
		{"properties that are not known are named and left out", `{"NinjaOne":{"LicensedOnly":false,"Mode":"x","__proto__":{"a":[1]},"Own":"y"}}`,
			"Successfully saved the NinjaOne settings. Warning: these failed to be saved, since this app does not take over what they set: \"Mode\", \"__proto__\", \"Own\".",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientId":"old","APIKey":"SentToKeyVault","Own":"x","LicensedOnly":false}`), ""},
		{"all that CIPP's page sends", `{"cippapi":{"Enabled":false,"ResetPassword":null},"Hudu":{"Enabled":true},"HaloPSA":{"":1,"a":1,"A":2},"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"old","APIKey":"SentToKeyVault","LicenseDocumentsEnabled":false,"UserDocumentsEnabled":true,"LicensedOnly":false,"CveSyncEnabled":true,"CveSyncPrefix":"CIPP-"}}`,
			"Successfully saved the NinjaOne settings. Warning: the changes to other extensions' settings were not saved. Error: ",
			same(`{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"old","APIKey":"SentToKeyVault","Own":"x","LicenseDocumentsEnabled":false,"UserDocumentsEnabled":true,"LicensedOnly":false,"CveSyncEnabled":true,"CveSyncPrefix":"CIPP-"}`), ""},

		{"an empty name", `{"NinjaOne":{"LicensedOnly":true,"":"x"}}`, "Failed to save the extensions configuration: CIPP would not be able to read the NinjaOne settings: one of its properties has an empty name", "", ""},
		{"an empty name within", `{"NinjaOne":{"LicensedOnly":true,"Mode":[{"":"x"}]}}`, "Failed to save the extensions configuration: CIPP would not", "", ""},
		{"names that differ in case", `{"NinjaOne":{"Enabled":true,"ENABLED":true}}`, "Failed to save the extensions configuration: CIPP would not be able to read the NinjaOne settings: the property names \"Enabled\" and \"ENABLED\" differ", "", ""},
		{"names that differ in case within", `{"NinjaOne":{"Instance":{"value":"eu.ninjarmm.com","Value":"eu.ninjarmm.com"}}}`, "Failed to save the extensions configuration: CIPP would not", "", ""},
		{"two spellings of the extension", `{"ninjaone":{"Enabled":false},"NinjaOne":{"Enabled":true}}`, "Failed to save the extensions configuration: the request holds the NinjaOne settings twice", "", ""},
		{"too deep", `{"NinjaOne":{"Mode":` + strings.Repeat(`[`, 8) + strings.Repeat(`]`, 8) + `}}`, "Failed to save the extensions configuration: CIPP would not be able to read the NinjaOne settings: objects and lists are more than 8 levels", "", ""},
		{"far too deep", `{"NinjaOne":{"Mode":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000) + `}}`, "Failed to save the extensions configuration: CIPP would not", "", ""},
		{"a bad host", `{"NinjaOne":{"Instance":"ninja.evil.example","APIKey":"` + clientSecret + `"}}`, "Failed to save the extensions configuration: the NinjaOne instance is not allowed", "", ""},
		{"a bad host while turned off", `{"NinjaOne":{"Enabled":false,"Instance":"ninja.evil.example"}}`, "Failed to save", "", ""},
		{"a host that only ends right", `{"NinjaOne":{"Instance":"evil-eu.ninjarmm.com.evil.example"}}`, "Failed to save", "", ""},
		{"a host with a user", `{"NinjaOne":{"Instance":"eu.ninjarmm.com@evil.example"}}`, "Failed to save", "", ""},
		{"no host though turned on", `{"NinjaOne":{"Instance":""}}`, "Failed to save", "", ""},
		{"a secret in the wrong place", `{"NinjaOne":{"Instance":"` + clientSecret + `"}}`, "Failed to save the extensions configuration: the NinjaOne instance is not allowed", "", ""},
		{"no text", `{"NinjaOne":{"ClientID":[1]}}`, "Failed to save the extensions configuration: one of the settings", "", ""},
		{"no switch", `{"NinjaOne":{"Enabled":"perhaps"}}`, "Failed to save the extensions configuration: the setting Enabled must be true or false", "", ""},
		{"too long", `{"NinjaOne":{"APIKey":"` + strings.Repeat("x", 1001) + `"}}`, "Failed to save the extensions configuration: one of the settings", "", ""},
		{"a part that is not an object", `{"NinjaOne":"x"}`, "Failed to save the extensions configuration: the NinjaOne settings must be", "", ""},
		{"no part", `{"Hudu":{"Enabled":false}}`, "Failed to save the extensions configuration: the request holds no NinjaOne settings", "", ""},
		{"no object", `[1]`, "Failed to save the extensions configuration: the request must be the JSON object", "", ""},
		{"broken", `{"NinjaOne":{"Enabled":`, "Failed to save the extensions configuration: the request must be the JSON object", "", ""},
		{"nothing", ``, "Failed to save the extensions configuration: the request has no body", "", ""},
		{"too large", `{"Hudu":"` + strings.Repeat("x", 3<<20) + `"}`, "Failed to save the extensions configuration: the request is larger", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := install(t)
			i.configure(stored, wrongSecret)
			got := i.post("ExecExtensionsConfig", tt.body)
			if got.status != http.StatusOK || !strings.HasPrefix(got.results(t), tt.says) {
				t.Errorf("it says %+v", got)
			}
			if strings.HasSuffix(tt.says, ".") && got.results(t) != tt.says {
				t.Errorf("it says %q", got.results(t))
			}
			config, secret := tt.config, tt.secret
			if config == "" {
				config = stored
			}
			if secret == "" {
				secret = wrongSecret
			}
			if now := i.config(); now != config {
				t.Errorf("stored is %s, want %s", now, config)
			}
			if i.secret() != secret {
				t.Error("the secret is not the one that was to be there")
			}
			if lines := i.lines("NinjaOne"); len(lines) != strings.Count(tt.says, "Successfully") {
				t.Errorf("the logbook says %v", lines)
			}
		})
	}
}

// TestSecretsAreNotListed lists settings in which secrets were left.
func TestSecretsAreNotListed(t *testing.T) {
	i := install(t)
	i.configure(`{"NinjaOne":{"Enabled":true,"APIKey":["`+clientSecret+`"]}}`, "")
	if got := i.get("ListExtensionsConfig").text; got != `{"NinjaOne":{"APIKey":"SentToKeyVault","Enabled":true}}` {
		t.Errorf("listed is %s", got)
	}
	// Where the settings do not say that there is a secret, it is looked for.
	i.configure(`{"ninjaone":{"Enabled":true,"apikey":""}}`, clientSecret)
	if got := i.get("ListExtensionsConfig").text; got != `{"ninjaone":{"APIKey":"SentToKeyVault","Enabled":true}}` {
		t.Errorf("listed is %s", got)
	}
	i = install(t)
	i.configure(`{"NinjaOne":{"Enabled":true}}`, "")
	if got := i.get("ListExtensionsConfig").text; got != `{"NinjaOne":{"Enabled":true}}` {
		t.Errorf("listed without a secret is %s", got)
	}
}

func TestConnection(t *testing.T) {
	config := func(change ...string) string { return strings.NewReplacer(change...).Replace(working) }
	for _, tt := range []struct {
		name   string
		config string
		secret string
		scopes []string
		fault  ninjasim.Fault
		want   string // contained
	}{
		{name: "all is well", config: working, secret: clientSecret, want: "Successfully Connected to NinjaOne"},
		{name: "never set up", want: "the NinjaOne instance is not set"},
		{name: "a host that CIPP let through", config: config("eu.ninjarmm.com", "ninja.evil.example"), secret: clientSecret, want: "is not a NinjaOne instance"},
		{name: "a host as CIPP stores it", config: config("eu.ninjarmm.com", "https://eu.ninjarmm.com/ws"), secret: clientSecret, want: "Successfully"},
		{name: "no client id", config: config(clientID, ""), secret: clientSecret, want: "the client ID is not set"},
		{name: "another client id", config: config(clientID, "client-other"), secret: clientSecret, want: "does not know the client ID on the instance eu.ninjarmm.com"},
		{name: "no secret", config: working, want: "save the NinjaOne API client's secret"},
		{name: "another secret", config: working, secret: wrongSecret, want: "does not accept the client secret"},
		{name: "a scope is missing", config: working, secret: clientSecret, scopes: []string{"monitoring"}, want: "lacks a scope"},
		{name: "organizations are forbidden", config: working, secret: clientSecret, fault: ninjasim.Fault{Path: "/v2/organizations", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`}, want: "may not read organizations or custom fields"},
		{name: "custom fields are forbidden", config: working, secret: clientSecret, fault: ninjasim.Fault{Path: "custom-fields", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`}, want: "reading custom fields"},
		{name: "throttled for long", config: working, secret: clientSecret, fault: ninjasim.Fault{Path: "/v2/organizations", Status: 429, Header: http.Header{"Retry-After": {"900"}}}, want: "asks for fewer calls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := install(t)
			if tt.config != "" {
				i.configure(tt.config, tt.secret)
			}
			ninja := i.ninja
			if tt.scopes != nil {
				ninja = ninjasim.New(ninjasim.Config{ClientID: clientID, ClientSecret: clientSecret, Scopes: tt.scopes})
				must(t, ninja.Start())
				t.Cleanup(func() { _ = ninja.Close() })
				i.serve(i.cipp, ninja.URL())
			}
			if tt.fault.Path != "" {
				ninja.InjectFault(tt.fault)
			}
			got := i.get("ExecExtensionTest?extensionName=NinjaOne")
			text := got.results(t)
			if got.status != http.StatusOK || !strings.Contains(text, tt.want) {
				t.Errorf("it says %q, want %q", text, tt.want)
			}
			if !strings.HasPrefix(text, "Successfully Connected") && !strings.HasPrefix(text, "Failed to connect to NinjaOne: ") {
				t.Errorf("it says %q", text)
			}
		})
	}
}

// TestConnectionIsNotKept changes the secret after a good test: the next test
// must see it, though the old token would still do.
func TestConnectionIsNotKept(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	test := func() string { return i.get("ExecExtensionTest?extensionName=NinjaOne").results(t) }
	if got := test(); got != "Successfully Connected to NinjaOne" {
		t.Fatal(got)
	}
	i.post("ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"`+wrongSecret+`"}}`)
	if got := test(); !strings.Contains(got, "does not accept the client secret") {
		t.Error(got)
	}
	i.post("ExecExtensionsConfig", `{"NinjaOne":{"APIKey":"`+clientSecret+`"}}`)
	if got := test(); got != "Successfully Connected to NinjaOne" {
		t.Error(got)
	}
	if got := i.get("ExecExtensionTest?extensionName=Hudu").results(t); !strings.HasPrefix(got, "Failed: this app can test NinjaOne only.") {
		t.Error(got)
	}
}
