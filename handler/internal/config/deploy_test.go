package config

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// template and guide are where the settings are named outside the code.
const (
	template = "../../../deploy/main.bicep"
	guide    = "../../../README.md"
)

// byPlatform are settings that the platform or the host sets itself.
var byPlatform = []string{"WEBSITE_HOSTNAME", "WEBSITE_SKU", "WEBSITE_RESOURCE_GROUP", "FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_APP_ROOT_PATH", "IDENTITY_ENDPOINT", functionTimeoutSetting}

// byOther are settings of the template that others than this package read: the
// Functions host, Application Insights, App Service authentication, and the
// OpenTelemetry SDK.
var byOther = []string{
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES",
	"APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "APPLICATIONINSIGHTS_CONNECTION_STRING",
	"FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME", "WEBSITE_RUN_FROM_PACKAGE",
	"OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID", "WEBSITE_AUTH_AAD_ALLOWED_TENANTS",
}

// inPlace are settings that the template leaves out, because it sets another in
// their place: an identity for a key, one address for all.
var inPlace = []string{
	"NonLocalHostAzurite", "AzureWebJobsStorage", "CIPP_STORAGE",
	"AzureWebJobsStorage__blobServiceUri", "AzureWebJobsStorage__queueServiceUri", "AzureWebJobsStorage__tableServiceUri",
	"CIPP_STORAGE__accountName", "CIPP_STORAGE__blobServiceUri", "CIPP_STORAGE__queueServiceUri",
	"CIPP_STORAGE__credential", "CIPP_STORAGE__clientId",
}

// block returns the names that are set in a block of the template.
func block(t *testing.T, text, head string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(text, head)
	end := regexp.MustCompile(`\n\s*}`).FindStringIndex(rest)
	if !ok || end == nil {
		t.Fatalf("the template has no block %q", head)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(\w+):`).FindAllStringSubmatch(rest[:end[0]], -1) {
		names = append(names, m[1])
	}
	return names
}

// TestTemplateSettings: the template sets, or lets be set, what this package
// reads, and nothing else; and what a person may set is in the README.
func TestTemplateSettings(t *testing.T) {
	text, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	optional := block(t, string(text), "type optionalSettings = {")
	set := slices.Concat(optional, block(t, string(text), "var requiredSettings = {"), block(t, string(text), "var dedicatedSettings = flex"))

	// As the template has it, and once without, so that every fallback is asked for.
	read := map[string]bool{}
	for _, env := range []map[string]string{
		{"AzureWebJobsStorage__accountName": "st", "AzureWebJobsStorage__credential": "managedidentity", "CIPP_STORAGE__tableServiceUri": "https://cipp.table.core.windows.net", "IDENTITY_ENDPOINT": "http://127.0.0.1"},
		{},
	} {
		_, _ = FromEnvironment(func(name string) string {
			read[name] = true
			return env[name]
		})
	}
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if !slices.Contains(set, name) && !slices.Contains(byPlatform, name) && !slices.Contains(inPlace, name) {
			t.Errorf("the template cannot set %s, which is read", name)
		}
	}
	for _, name := range set {
		if !read[name] && !slices.Contains(byOther, name) {
			t.Errorf("the template sets %s, which nothing reads", name)
		}
	}
	readme, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(optional, "AzureWebJobsStorage__accountName", "CIPP_STORAGE__tableServiceUri", "CIPP_KEY_VAULT_URI", "CIPP_RESOURCE_GROUP") {
		if !bytes.Contains(readme, []byte("`"+name+"`")) {
			t.Errorf("the README does not explain %s", name)
		}
	}
}
