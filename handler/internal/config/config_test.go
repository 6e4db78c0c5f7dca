package config

import (
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// environment is a valid set of settings with some of them replaced.
func environment(t *testing.T, hostJSON string, changes map[string]string) func(string) string {
	t.Helper()
	root := t.TempDir()
	if hostJSON != "" {
		if err := os.WriteFile(filepath.Join(root, "host.json"), []byte(hostJSON), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{
		"AzureWebJobsStorage":          "UseDevelopmentStorage=true",
		"FUNCTIONS_CUSTOMHANDLER_PORT": "43210",
		"FUNCTIONS_APP_ROOT_PATH":      root,
	}
	maps.Copy(env, changes)
	return func(name string) string { return env[name] }
}

// inAzure is what a deployed app has in place of development storage.
var inAzure = map[string]string{
	"AzureWebJobsStorage":              "",
	"AzureWebJobsStorage__accountName": "fabrikamsync",
	"CIPP_STORAGE__tableServiceUri":    "https://fabrikamcipp.table.core.windows.net",
	"CIPP_KEY_VAULT_URI":               "https://fabrikamcipp.vault.azure.net/",
	"WEBSITE_HOSTNAME":                 "fabrikam-sync.azurewebsites.net",
	"IDENTITY_ENDPOINT":                "http://127.0.0.1:8081/msi/token",
}

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDefaults(t *testing.T) {
	got, err := FromEnvironment(environment(t, `{"version":"2.0","functionTimeout":"00:30:00"}`, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Development:   true,
		GraphEndpoint: address(t, "https://graph.microsoft.com"), LoginEndpoint: address(t, "https://login.microsoftonline.com"),
		ExchangeEndpoint: address(t, "https://outlook.office365.com"),
		DefenderEndpoint: address(t, "https://api.securitycenter.microsoft.com"),
		NinjaOneRate:     5, NinjaOneRateMax: 20, SyncSlots: 4, ComplianceSweep: 15 * time.Minute, Watch: 5 * time.Minute,
		FunctionTimeout: 30 * time.Minute, SyncTimeBudget: 27 * time.Minute,
		LogLevel: slog.LevelInfo, Port: 43210,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// TestRateMax lets a beginning beyond the usual most be the most.
func TestRateMax(t *testing.T) {
	for rate, want := range map[string]float64{"0.5": 20, "20": 20, "35": 35} {
		got, err := FromEnvironment(environment(t, `{"functionTimeout":"00:30:00"}`, map[string]string{"NINJAONE_RATE": rate}))
		if err != nil {
			t.Fatal(err)
		}
		if got.NinjaOneRateMax != want {
			t.Errorf("the most is %g from a beginning at %s, want %g", got.NinjaOneRateMax, rate, want)
		}
	}
}

func TestSweepTurnedOff(t *testing.T) {
	got, err := FromEnvironment(environment(t, `{"functionTimeout":"00:30:00"}`, map[string]string{"COMPLIANCE_SWEEP_MINUTES": "0", "WATCH_MINUTES": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	if got.ComplianceSweep != 0 || got.Watch != 0 {
		t.Errorf("ComplianceSweep = %s, Watch = %s, want none", got.ComplianceSweep, got.Watch)
	}
}

func TestEverythingSet(t *testing.T) {
	env := maps.Clone(inAzure)
	maps.Copy(env, map[string]string{
		"CIPP_TIMEZONE": "Europe/Lisbon", "GRAPH_AUTH": " Application ", "PUBLIC_BASE_URL": "https://sync.fabrikam.example/ninja/",
		"GRAPH_ENDPOINT": "https://graph.microsoft.us", "LOGIN_ENDPOINT": "https://login.microsoftonline.us/",
		"EXCHANGE_ENDPOINT": "http://localhost:9003", "DEFENDER_ENDPOINT": "http://localhost:9005", "NINJAONE_ENDPOINT": "http://127.0.0.1:9004/",
		"SKU_NAMES_URL": "https://files.fabrikam.example/products.csv",
		"NINJAONE_RATE": "2.5", "NINJAONE_RATE_MAX": "12", "SYNC_SLOTS": "8", "COMPLIANCE_SWEEP_MINUTES": "120", "WATCH_MINUTES": "1", "SYNC_TIME_BUDGET": "00:09:30", "LOG_LEVEL": "DEBUG",
		"AzureFunctionsJobHost__functionTimeout": "00:10:00",
	})
	got, err := FromEnvironment(environment(t, `{"functionTimeout":"00:05:00"}`, env))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		KeyVaultURI: "https://fabrikamcipp.vault.azure.net", CIPPTimezone: "Europe/Lisbon", Application: true,
		PublicBaseURL: "https://sync.fabrikam.example/ninja",
		GraphEndpoint: address(t, "https://graph.microsoft.us"), LoginEndpoint: address(t, "https://login.microsoftonline.us"),
		ExchangeEndpoint: address(t, "http://localhost:9003"), DefenderEndpoint: address(t, "http://localhost:9005"),
		NinjaOneEndpoint: "http://127.0.0.1:9004",
		SKUNamesURL:      "https://files.fabrikam.example/products.csv",
		NinjaOneRate:     2.5, NinjaOneRateMax: 12, SyncSlots: 8, ComplianceSweep: 2 * time.Hour, Watch: time.Minute,
		FunctionTimeout: 10 * time.Minute, SyncTimeBudget: 9*time.Minute + 30*time.Second,
		LogLevel: slog.LevelDebug, Port: 43210,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	const secret = "hunter2-hunter2"
	tests := []struct {
		name, setting, value string
		want                 string
	}{
		{"port missing", "FUNCTIONS_CUSTOMHANDLER_PORT", "", "is missing"},
		{"port no number", "FUNCTIONS_CUSTOMHANDLER_PORT", secret, "from 1 to 65535"},
		{"port zero", "FUNCTIONS_CUSTOMHANDLER_PORT", "0", "from 1 to 65535"},
		{"port too large", "FUNCTIONS_CUSTOMHANDLER_PORT", "65536", "from 1 to 65535"},
		{"rate zero", "NINJAONE_RATE", "0", "above 0"},
		{"rate negative", "NINJAONE_RATE", "-1", "above 0"},
		{"rate no number", "NINJAONE_RATE", secret, "above 0"},
		{"rate NaN", "NINJAONE_RATE", "NaN", "above 0"},
		{"rate infinite", "NINJAONE_RATE", "Inf", "above 0"},
		{"most below the beginning", "NINJAONE_RATE_MAX", "4.9", "no smaller than NINJAONE_RATE"},
		{"most infinite", "NINJAONE_RATE_MAX", "Inf", "above 0"},
		{"slots zero", "SYNC_SLOTS", "0", "from 1 to 100"},
		{"slots a fraction", "SYNC_SLOTS", "2.5", "from 1 to 100"},
		{"slots too many", "SYNC_SLOTS", "101", "from 1 to 100"},
		{"sweep faster than its timer", "COMPLIANCE_SWEEP_MINUTES", "5", "15 to 1440"},
		{"sweep slower than a day", "COMPLIANCE_SWEEP_MINUTES", "1441", "15 to 1440"},
		{"sweep negative", "COMPLIANCE_SWEEP_MINUTES", "-15", "15 to 1440"},
		{"looks more often than the timer", "WATCH_MINUTES", "0.5", "1 to 1440"},
		{"looks negative", "WATCH_MINUTES", "-1", "1 to 1440"},
		{"sweep with a unit", "COMPLIANCE_SWEEP_MINUTES", "15m", "15 to 1440"},
		{"budget no time", "SYNC_TIME_BUDGET", secret, "above zero"},
		{"budget without unit", "SYNC_TIME_BUDGET", "90", "above zero"},
		{"budget negative", "SYNC_TIME_BUDGET", "-5m", "above zero"},
		{"budget zero", "SYNC_TIME_BUDGET", "00:00:00", "above zero"},
		{"budget as long as the function's time", "SYNC_TIME_BUDGET", "30m", "shorter than functionTimeout"},
		{"level unknown", "LOG_LEVEL", "verbose", "debug, info, warn or error"},
		{"level above errors", "LOG_LEVEL", "error+4", "debug, info, warn or error"},
		{"auth unknown", "GRAPH_AUTH", "certificate", "delegated or application"},
		{"zone unknown", "CIPP_TIMEZONE", "Mars/Olympus", "tz database"},
		{"zone of the machine", "CIPP_TIMEZONE", "Local", "tz database"},
		{"zone outside the database", "CIPP_TIMEZONE", "../../etc/passwd", "tz database"},
		{"endpoint without scheme", "GRAPH_ENDPOINT", "graph.microsoft.com", "absolute URL"},
		{"endpoint with another scheme", "LOGIN_ENDPOINT", "ftp://login.example", "absolute URL"},
		{"endpoint broken", "EXCHANGE_ENDPOINT", "https://[::1", "absolute URL"},
		{"endpoint without host", "NINJAONE_ENDPOINT", "https://:443", "absolute URL"},
		{"endpoint in clear text", "NINJAONE_ENDPOINT", "http://eu.ninjarmm.com", "must use https"},
		{"endpoint that only looks like loopback", "NINJAONE_ENDPOINT", "http://127.0.0.1.fabrikam.example", "must use https"},
		{"origin with a path", "EXCHANGE_ENDPOINT", "https://outlook.example/api", "scheme and host only"},
		{"endpoint with a password", "GRAPH_ENDPOINT", "https://me:" + secret + "@graph.example", "no user name, password"},
		{"endpoint with a query", "PUBLIC_BASE_URL", "https://sync.example?code=" + secret, "query"},
		{"public URL in clear text", "PUBLIC_BASE_URL", "http://sync.example", "must use https"},
		{"Key Vault in clear text", "CIPP_KEY_VAULT_URI", "http://vault.example", "must use https"},
		{"host name with a path", "WEBSITE_HOSTNAME", "sync.example/" + secret, "set PUBLIC_BASE_URL"},
		{"function timeout no time", "AzureFunctionsJobHost__functionTimeout", secret, "00:30:00"},
		{"function timeout zero", "AzureFunctionsJobHost__functionTimeout", "00:00:00", "00:30:00"},
		{"storage missing", "AzureWebJobsStorage", "", "is missing"},
		{"storage without key", "AzureWebJobsStorage", "AccountName=" + secret, "AzureWebJobsStorage"},
		{"CIPP's storage broken", "CIPP_STORAGE", secret, "CIPP_STORAGE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := FromEnvironment(environment(t, `{"functionTimeout":"00:30:00"}`, map[string]string{tt.setting: tt.value}))
			if err == nil {
				t.Fatalf("no error: %+v", s)
			}
			if s != (Settings{}) {
				t.Error("settings came with the error")
			}
			if text := err.Error(); !strings.Contains(text, tt.setting) || !strings.Contains(text, tt.want) {
				t.Errorf("the error names neither setting nor rule: %v", err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the value: %v", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := FromEnvironment(func(string) string { return "" })
	if err == nil {
		t.Fatal("no error")
	}
	for _, setting := range []string{"AzureWebJobsStorage", "CIPP_STORAGE", "CIPP_KEY_VAULT_URI", "FUNCTIONS_CUSTOMHANDLER_PORT"} {
		if !strings.Contains(err.Error(), "setting "+setting+" is missing") {
			t.Errorf("the error does not say that %s is missing:\n%v", setting, err)
		}
	}
}

func TestPublicBaseURL(t *testing.T) {
	tests := []struct {
		name, setting, hostname, want string
	}{
		{"of the platform", "", "fabrikam-sync.azurewebsites.net", "https://fabrikam-sync.azurewebsites.net"},
		{"set", "https://sync.fabrikam.example", "fabrikam-sync.azurewebsites.net", "https://sync.fabrikam.example"},
		{"set, whatever the platform says", "https://sync.fabrikam.example", "no host name/", "https://sync.fabrikam.example"},
		{"of the local host", "", "localhost:7071", "http://localhost:7071"},
		{"of the local host, as an address", "", "127.0.0.1:7071", "http://127.0.0.1:7071"},
		{"unknown", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := FromEnvironment(environment(t, "", map[string]string{"PUBLIC_BASE_URL": tt.setting, "WEBSITE_HOSTNAME": tt.hostname}))
			if err != nil || s.PublicBaseURL != tt.want {
				t.Errorf("got %q, %v; want %q", s.PublicBaseURL, err, tt.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		name, hostJSON  string
		env             map[string]string
		timeout, budget time.Duration
	}{
		{"long", `{"functionTimeout":"02:00:00"}`, nil, 2 * time.Hour, 117 * time.Minute},
		{"ten minutes", `{"functionTimeout":"00:10:00"}`, nil, 10 * time.Minute, 8 * time.Minute},
		{"short", `{"functionTimeout":"00:01:00"}`, nil, time.Minute, 30 * time.Second},
		{"days", `{"functionTimeout":"1.00:00:00"}`, nil, 24 * time.Hour, 24*time.Hour - 3*time.Minute},
		{"hours and minutes", `{"functionTimeout":"00:10"}`, nil, 10 * time.Minute, 8 * time.Minute},
		{"never", `{"functionTimeout":"-1"}`, nil, 0, 27 * time.Minute},
		{"never, as a number", `{"functionTimeout":-1}`, nil, 0, 27 * time.Minute},
		{"setting before file", `{"functionTimeout":"00:10:00"}`, map[string]string{"AzureFunctionsJobHost__functionTimeout": "00:30:00"}, 30 * time.Minute, 27 * time.Minute},
		{"host.json says nothing", `{}`, nil, 5 * time.Minute, 3 * time.Minute},
		{"no host.json", "", nil, 5 * time.Minute, 3 * time.Minute},
		{"no host.json, Consumption", "", map[string]string{"WEBSITE_SKU": "Dynamic"}, 5 * time.Minute, 3 * time.Minute},
		{"no host.json, Flex Consumption", "", map[string]string{"WEBSITE_SKU": "FlexConsumption"}, 30 * time.Minute, 27 * time.Minute},
		{"next to the executable", "", map[string]string{"FUNCTIONS_APP_ROOT_PATH": ""}, 5 * time.Minute, 3 * time.Minute},
		{"budget in Go's form", `{"functionTimeout":"00:10:00"}`, map[string]string{"SYNC_TIME_BUDGET": "9m30s"}, 10 * time.Minute, 9*time.Minute + 30*time.Second},
		{"budget longer than 30 minutes, no timeout", `{"functionTimeout":"-1"}`, map[string]string{"SYNC_TIME_BUDGET": "2h"}, 0, 2 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := FromEnvironment(environment(t, tt.hostJSON, tt.env))
			if err != nil {
				t.Fatal(err)
			}
			if s.FunctionTimeout != tt.timeout || s.SyncTimeBudget != tt.budget {
				t.Errorf("timeout %v, budget %v; want %v, %v", s.FunctionTimeout, s.SyncTimeBudget, tt.timeout, tt.budget)
			}
		})
	}
}

func TestBrokenHostJSON(t *testing.T) {
	for name, content := range map[string]string{
		"not JSON": `{"functionTimeout":`, "no time": `{"functionTimeout":"soon"}`, "object": `{"functionTimeout":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := FromEnvironment(environment(t, content, nil)); err == nil || !strings.Contains(err.Error(), "host.json") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "host.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := FromEnvironment(environment(t, "", map[string]string{"FUNCTIONS_APP_ROOT_PATH": root}))
		if err == nil || !strings.Contains(err.Error(), "host.json") {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"", "00:30:00", "1.02:03:04.5", "-1", "99:99", "9999.99:99:99", ":::", "1.1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseSpan(s)
		if d < 0 || (!ok && d != 0) || (ok && !strings.Contains(s, ":")) {
			t.Errorf("%q: %v, %v", s, d, ok)
		}
	})
}
