package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/seed"
)

// TestCommands holds CIPP's engine off, gives it back, and takes it over again,
// as an administrator would.
func TestCommands(t *testing.T) {
	connection := azuritetest.ForTest(t).ConnectionString()
	settings := map[string]string{
		"AzureWebJobsStorage": connection, "CIPP_STORAGE": connection, "NonLocalHostAzurite": "true",
		"AzureFunctionsJobHost__functionTimeout": "00:10:00",
	}
	getenv := func(name string) string { return settings[name] }
	if err := seed.WriteCIPPTables(t.Context(), connection, seed.MSP()); err != nil {
		t.Fatal(err)
	}
	account, err := storage.Open(getenv, storage.CIPP)
	if err != nil {
		t.Fatal(err)
	}
	store := cipptest.Store(account)
	engine := func() cipp.EngineSettings {
		s, err := store.EngineSettings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := engine()
	for _, step := range []struct {
		command string
		held    bool
		says    string
	}{
		{"hold-off", true, "held off"}, {"give-back", false, "Its own Graph subscriptions go within the hour"}, {"give-back", false, "given back"}, {"hold-off", true, "held off"},
	} {
		var out bytes.Buffer
		if err := command(t.Context(), []string{step.command}, getenv, &out); err != nil {
			t.Fatalf("%s: %v", step.command, err)
		}
		if !strings.Contains(out.String(), step.says) {
			t.Errorf("%s says %q", step.command, out.String())
		}
		got := engine()
		if held := got.SyncTime > 95 && got.LastRun.After(time.Now().AddDate(1, 0, 0)); held != step.held || !held && got != before {
			t.Errorf("after %s the scheduler's rows are %+v; they were %+v", step.command, got, before)
		}
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	err := command(t.Context(), []string{"version"}, func(string) string { return "" }, &out)
	if err != nil || !strings.HasPrefix(out.String(), "cipp-ninjaone development (go") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestCommandRefused(t *testing.T) {
	none := func(string) string { return "" }
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown":     {[]string{"giveback"}, "usage"},
		"too many":    {[]string{"give-back", "now"}, "usage"},
		"no settings": {[]string{"give-back"}, "CIPP_KEY_VAULT_URI"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := command(context.Background(), tt.args, none, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "FUNCTIONS_CUSTOMHANDLER_PORT") {
				t.Errorf("the error is %v, want it to hold %q and not to ask for a port", err, tt.want)
			}
		})
	}
}

// TestEnd: what stops the app at its start is one line on stderr; being told to
// stop is none.
func TestEnd(t *testing.T) {
	err := serve(t.Context(), func(name string) string {
		return map[string]string{"AzureWebJobsStorage": "UseDevelopmentStorage=true", "NINJAONE_RATE": "fast", "COMPLIANCE_SWEEP_MINUTES": "never"}[name]
	})
	var out, errOut bytes.Buffer
	tellEnd(&out, &errOut, err)
	if text := errOut.String(); !strings.HasPrefix(text, "the handler cannot run: ") || strings.Count(text, "\n") != 1 ||
		!strings.Contains(text, "NINJAONE_RATE") || !strings.Contains(text, "COMPLIANCE_SWEEP_MINUTES") || !strings.Contains(out.String(), `"level":"ERROR"`) {
		t.Errorf("stderr says %q, and stdout %q", text, out.String())
	}
	errOut.Reset()
	tellEnd(&out, &errOut, fmt.Errorf("%w; invocations were cut off", customhandler.ErrStopped))
	if errOut.Len() > 0 {
		t.Errorf("after a stop stderr says %q", errOut.String())
	}
}
