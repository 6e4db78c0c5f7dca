package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/seed"
)

// TestCheckStatus: the status of the process tells findings from a check that
// could not be made, and settings that keep the app from starting are findings.
func TestCheckStatus(t *testing.T) {
	connection := azuritetest.ForTest(t).ConnectionString()
	if err := seed.WriteCIPPTables(t.Context(), connection, seed.Generate(seed.Size{Tenants: 1, Users: 1, Devices: 1, Groups: 1})); err != nil {
		t.Fatal(err)
	}
	development := map[string]string{"AzureWebJobsStorage": connection, "NonLocalHostAzurite": "true"}
	for name, tt := range map[string]struct {
		args     []string
		settings map[string]string
		status   int
		out      string // part of what goes to stdout
		err      string // part of the error
	}{
		"unknown flag":         {[]string{"check", "-all"}, nil, 2, "", "usage"},
		"too many":             {[]string{"check", "contoso.example"}, nil, 2, "", "usage"},
		"no such tenant":       {[]string{"check", "-tenant", "nobody.example"}, development, 2, "", "CIPP knows no tenant"},
		"no settings":          {[]string{"check"}, nil, 1, "App settings: PROBLEM", "problems"},
		"no settings, as JSON": {[]string{"check", "-json"}, nil, 1, `"name": "settings"`, "problems"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := command(t.Context(), tt.args, func(name string) string { return tt.settings[name] }, &out)
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("the error is %v, want %q", err, tt.err)
			}
			if got := statusOf(tt.args, err); got != tt.status {
				t.Errorf("the status is %d, want %d", got, tt.status)
			}
			if !strings.Contains(out.String(), tt.out) || tt.out == "" && out.Len() > 0 {
				t.Errorf("the output is %q", out.String())
			}
			if strings.HasSuffix(name, "JSON") && !json.Valid(out.Bytes()) {
				t.Error("the output is not JSON")
			}
		})
	}
	if got := statusOf([]string{"give-back"}, nil); got != 0 {
		t.Errorf("a command that succeeded ends with %d", got)
	}
}
