package check

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

func firstOf(l *lab) *m365sim.Tenant { return l.Seed.Tenants[0] }

// faults are what may be wrong with a deployment, one at a time.
var faults = map[string]struct {
	fault   func(*lab)
	section string
	level   Level
	what    string // part of a finding's What
	means   string // part of its Meaning or Action
	tenant  bool   // the finding is of the first tenant alone
	more    bool   // others may suffer from it too
}{
	"setting malformed":   {func(l *lab) { l.env["NINJAONE_RATE"] = "fast" }, "settings", Problem, "NINJAONE_RATE must be", "does not start", false, false},
	"setting missing":     {func(l *lab) { delete(l.env, "AzureWebJobsStorage") }, "settings", Problem, "AzureWebJobsStorage is missing", "Correct", false, true},
	"settings contradict": {func(l *lab) { l.env["CIPP_STORAGE__accountName"] = "contosocipp" }, "settings", Problem, "Both CIPP_STORAGE and", "not used", false, true},
	"vault beside development storage": {func(l *lab) { l.env["CIPP_KEY_VAULT_URI"] = "https://contoso.vault.azure.net" },
		"settings", Problem, "CIPP_KEY_VAULT_URI is set", "DevSecrets", false, false},
	"clouds mixed": {func(l *lab) {
		l.wrongScope = true // as Microsoft itself would find
		l.env["GRAPH_ENDPOINT"], l.env["LOGIN_ENDPOINT"] = "https://graph.microsoft.us", "https://login.microsoftonline.com"
	}, "settings", Problem, "GRAPH_ENDPOINT is of the US", "No tenant gives a token", false, true},
	"Defender's cloud mixed": {func(l *lab) {
		l.wrongScope = true
		l.env["GRAPH_ENDPOINT"], l.env["DEFENDER_ENDPOINT"] = "https://graph.microsoft.us", "https://api-gcc.securitycenter.microsoft.us"
	}, "settings", Problem, "DEFENDER_ENDPOINT of the public", "Vulnerabilities are not read", false, true},
	"no way for compliance changes": {func(l *lab) { delete(l.env, "PUBLIC_BASE_URL"); l.env["COMPLIANCE_SWEEP_MINUTES"] = "0" },
		"settings", Problem, "PUBLIC_BASE_URL is not known", "daily sync only", false, true},
	"another runtime": {func(l *lab) { l.onPlatform(); l.env["FUNCTIONS_WORKER_RUNTIME"] = "dotnet-isolated" },
		"settings", Problem, "not custom", "does not start the handler", false, false},
	"no platform authentication": {func(l *lab) { l.onPlatform(); delete(l.env, "WEBSITE_AUTH_ENABLED") },
		"settings", Notice, "authentication is off", "closed", false, false},

	"own tables refused": {func(l *lab) { l.limit(storage.Own, "q", "b") }, "storage", Problem, "app's own tables", "Storage Table Data Contributor", false, true},
	"own queues refused": {func(l *lab) { l.limit(storage.Own, "t", "b") }, "storage", Problem, "app's own queues", "Storage Queue Data Contributor", false, true},
	"own blobs refused":  {func(l *lab) { l.limit(storage.Own, "t", "q") }, "storage", Problem, "app's own blobs", "Storage Blob Data Contributor", false, false},
	"state of a newer version": {func(l *lab) { l.merge(layout.TableName, "layout", "version", map[string]any{"Version": 2}) },
		"storage", Problem, "A newer version", "Deploy the newer version", false, false},

	"CIPP's tables read only": {func(l *lab) { l.readOnly() }, "cipp", Problem, "CippMapping",
		"look at the account's firewall as well. Where a deployment ended with AuthorizationFailed or RoleAssignmentExists, Troubleshooting in the guide", false, true},
	"CIPP's table missing": {func(l *lab) { l.drop("CippMapping") }, "cipp", Problem, "no table CippMapping", "nothing is synced", false, true},
	"another storage account": {func(l *lab) {
		for _, table := range []string{"CippMapping", "Extensionsconfig", "Tenants"} {
			l.drop(table)
		}
	}, "cipp", Problem, "no table Extensionsconfig", "CIPP_STORAGE is CIPP's account", false, true},
	"settings of CIPP broken": {func(l *lab) {
		l.merge("Extensionsconfig", "CippExtensions", "Config", map[string]any{"config": "{not JSON"})
	}, "cipp", Problem, "not a JSON object", "Nothing is synced", false, true},

	"secret missing": {func(l *lab) {
		l.merge("DevSecrets", "NinjaOne", "NinjaOne", map[string]any{"APIKey": ""})
	}, "secrets", Problem, "NinjaOne", "Save the NinjaOne settings", false, true},
	"CIPP not set up": {func(l *lab) {
		l.merge("DevSecrets", "Secret", "Secret", map[string]any{"RefreshToken": "RefreshToken"})
	}, "secrets", Problem, "placeholder", "setup wizard", false, true},

	"vault refuses": {func(l *lab) { l.vault = http.HandlerFunc(forbidden) }, "secrets", Problem, "CIPP's Key Vault answered 403",
		"Key Vault Secrets User on CIPP's Key Vault (cippKeyVaultPermissions in the deployment)", false, true},

	"clock ahead":  {func(l *lab) { l.ahead = 10 * time.Minute }, "clock", Problem, "ahead of the clock of", "Tokens and signatures", false, false},
	"clock behind": {func(l *lab) { l.ahead = -10 * time.Minute }, "clock", Problem, "behind the clock of", "Tokens and signatures", false, false},

	"CIPP's engine runs": {func(l *lab) {
		l.merge("NinjaOneSettings", "NinjaConfig", "NinjaLastRunTime", map[string]any{"SettingValue": time.Now().UTC().Format(time.RFC3339)})
	}, "engine", Problem, "not held off", "Two engines", false, false},
	"CIPP's engine given back": {func(l *lab) { must(l.t, l.hold.GiveBack(l.t.Context())) }, "engine", Notice, "given back", "syncs nothing by itself", false, false},
	"CIPP subscribes": {func(l *lab) {
		_, err := seed.WriteCIPPSubscriptions(l.t.Context(), l.Storage.ConnectionString(), l.Seed)
		must(l.t, err)
	}, "engine", Problem, "CIPP has 3 Graph subscriptions", "by another rule", false, false},
	"no scan groups": {func(l *lab) { l.configure("CveSyncEnabled", true) }, "ninjaone", Problem, "no scan group", "default domain", false, true},

	"never set up":         {func(l *lab) { l.drop("Extensionsconfig") }, "ninjaone", Problem, "never set up", "Enter the settings", false, true},
	"turned off":           {func(l *lab) { l.configure("Enabled", false) }, "ninjaone", Problem, "turned off", "Nothing is synced", false, false},
	"no NinjaOne instance": {func(l *lab) { l.configure("Instance", "ninja.example") }, "ninjaone", Problem, "not a NinjaOne instance", "Correct instance", false, false},
	"wrong client ID":      {func(l *lab) { l.configure("ClientID", "other") }, "ninjaone", Problem, "does not know the client ID", "instance", false, false},
	"wrong client secret": {func(l *lab) {
		l.merge("DevSecrets", "NinjaOne", "NinjaOne", map[string]any{"APIKey": "another-secret"})
	}, "ninjaone", Problem, "does not accept the client secret", "make a new one", false, false},
	"scope not granted": {func(l *lab) {
		l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/ws/oauth/token", Status: 400, Body: `{"error":"invalid_scope"}`})
	}, "ninjaone", Problem, "lacks a scope", "Monitoring and Management", false, false},
	"NinjaOne down": {func(l *lab) {
		l.env["NINJAONE_ENDPOINT"] = "http://127.0.0.1:1"
	}, "ninjaone", Problem, "NinjaOne", "network", false, false},
	"organization gone": {func(l *lab) { l.NinjaOne.RemoveOrganization(l.Seed.Organization(firstOf(l).ID)) },
		"ninjaone", Problem, "does not exist", "Map the tenant to another", true, false},
	"mapping broken": {func(l *lab) {
		l.merge("CippMapping", "NinjaOneMapping", firstOf(l).ID, map[string]any{"IntegrationId": "seventeen"})
	}, "ninjaone", Problem, "mapping cannot be used", "Map it again", true, false},
	"field gone": {func(l *lab) { l.NinjaOne.RemoveCustomField(l.Seed.FieldMapping["DeviceLinks"]) },
		"ninjaone", Problem, "DeviceLinks is not written", "other fields", false, false},
	"field of another type": {func(l *lab) { l.field("TenantLinks", "TEXT", "ORGANIZATION", "READ_WRITE") },
		"ninjaone", Problem, "must be WYSIWYG", "other fields", false, false},
	"field of another scope": {func(l *lab) { l.field("TenantLinks", "WYSIWYG", "NODE", "READ_WRITE") },
		"ninjaone", Problem, "not defined for the scope Organization", "other fields", false, false},
	"field read only": {func(l *lab) { l.field("TenantLinks", "WYSIWYG", "ORGANIZATION", "READ_ONLY") },
		"ninjaone", Problem, "API permission is READ_ONLY", "other fields", false, false},
	"no field mapped": {func(l *lab) {
		for field := range l.Seed.FieldMapping {
			l.merge("CippMapping", "NinjaOneFieldMapping", field, map[string]any{"IntegrationId": ""})
		}
	}, "ninjaone", Problem, "No field is mapped", "Map the fields", false, false},
	"no Documentation": {func(l *lab) {
		l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/document-templates", Status: 403})
	}, "ninjaone", Problem, "Documentation is not enabled", "Administration", false, false},

	"address unknown": {func(l *lab) { delete(l.env, "PUBLIC_BASE_URL") }, "address", Notice, "not known here", "PUBLIC_BASE_URL", false, false},
	"address wants a login": {func(l *lab) { l.answers(http.RedirectHandler("https://login.example/", http.StatusFound)) },
		"address", Problem, "wants a login", "App Service authentication leaves the path out", false, false},
	"console closed": {func(l *lab) {
		l.env["PUBLIC_BASE_URL"] = "https://" + publicHost
		l.console(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "This app is closed", http.StatusForbidden)
		})
	}, "address", Problem, "App Service authentication is off", "step 4 of the guide", false, false},
	"redirect URI not registered": {func(l *lab) {
		l.asks("<html>AADSTS50011: The redirect URI specified in the request does not match</html>", "{}")
	}, "address", Problem, "AADSTS50011", "this redirect URI: https://" + publicHost + "/.auth/login/aad/callback", false, false},
	"login's app gone": {func(l *lab) { l.asks("<html>AADSTS700016: Application was not found</html>", "{}") },
		"address", Problem, "AADSTS700016", "authClientId", false, false},
	"login trusts another identity": {func(l *lab) {
		l.asks("<html>Sign in</html>", `{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found"}`)
	}, "address", Problem, "does not trust the app's identity (AADSTS700213)", "step 5 of the guide", false, false},
	"address refuses": {func(l *lab) {
		l.answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	}, "address", Problem, "closed to strangers", "IP restriction", false, false},
	"another app answers": {func(l *lab) {
		l.answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") }))
	}, "address", Problem, "Something else than this app", "PUBLIC_BASE_URL", false, false},
	"nothing answers": {func(l *lab) { l.public.Close() }, "address", Problem, "does not answer", "internet", false, false},
	"address without https": {func(l *lab) { l.env["GRAPH_ENDPOINT"] = "https://graph.microsoft.com" },
		"address", Problem, "of this machine only", "https address", false, true},

	"consent lost": {func(l *lab) { l.login(m365sim.ConsentMissing) }, "tenants", Problem, "no consent", "CPV refresh", true, false},
	"GDAP ended":   {func(l *lab) { l.login(m365sim.NoGDAP) }, "tenants", Problem, "GDAP relation", "GDAP relation", true, false},
	"permission missing": {func(l *lab) { firstOf(l).Deny("SecurityEvents.Read.All") },
		"tenants", Problem, "lacks SecurityEvents.Read.All of Microsoft Graph", "secure score on the Tenant Summary", true, false},
	"Exchange permission missing": {func(l *lab) { firstOf(l).Deny("Exchange.Manage") },
		"tenants", Problem, "lacks Exchange.Manage of Exchange Online", "mailbox settings", true, false},
	"tokens tell nothing": {func(l *lab) { l.M365.OpaqueTokens() }, "tenants", Notice, "does not tell which permissions", "-tenant", false, false},
	"role missing (GDAP)": {func(l *lab) {
		l.o.Tenant = firstOf(l).DefaultDomain
		firstOf(l).Change(func(t *m365sim.Tenant) { t.NoExchangeRole = true })
	},
		"tenants", Problem, "Not read: mailboxes. Not available: the app has Exchange.Manage, but CIPP's service account has no role", "GDAP roles", true, true},
	"licence missing": {func(l *lab) {
		l.o.Tenant = firstOf(l).ID
		firstOf(l).Change(func(t *m365sim.Tenant) { t.NoIntune = true })
	},
		"tenants", Notice, "Not read: Intune devices. Intune is not licensed", "not of permissions", true, true},
	"excluded tenant asked for": {func(l *lab) {
		l.o.Tenant = firstOf(l).ID
		l.merge("Tenants", "Tenants", firstOf(l).ID, map[string]any{"Excluded": true})
	}, "tenants", Notice, "excluded in CIPP", "Include it", true, true},
	"unmapped tenant asked for": {func(l *lab) {
		l.o.Tenant = firstOf(l).ID
		l.merge("CippMapping", "NinjaOneMapping", firstOf(l).ID, map[string]any{"IntegrationId": ""})
	}, "tenants", Problem, "mapped to no NinjaOne organization", "Map it", true, true},

	"poison": {func(l *lab) {
		must(l.t, l.own.Queue(automap.QueueName+"-poison").Send(l.t.Context(), map[string]string{}, 0))
	}, "work", Problem, automap.QueueName + "-poison holds messages: 1", "five tries", false, false},
	"never ran": {func(l *lab) {
		must(l.t, l.own.Table(layout.TableName).Delete(l.t.Context(), "timers", "ScheduleTenants"))
	},
		"work", Problem, "No function of the app has run yet", `publishing that ends with 403 or 503, no function listed, "permission denied" for the handler, a handler that ended with exit code 1`, false, false},
	"runs no more":   {func(l *lab) { l.fired(3*time.Hour, false) }, "work", Problem, "No function of the app has run since", "exit code 1", false, false},
	"timers stopped": {func(l *lab) { l.fired(time.Minute, true) }, "work", Problem, "Timers no longer fire: ScheduleTenants", "Heartbeats do their work", false, false},
	"overdue":        {func(l *lab) { l.ran(runs.Completed, "", 30*time.Hour) }, "work", Problem, "more than 26 hours", "old data", true, false},
	"failing":        {func(l *lab) { l.ran(runs.Failed, "NinjaOne was down", 2*time.Hour) }, "work", Problem, "last sync failed: NinjaOne was down.", "tried again", true, false},
	"never synced": {func(l *lab) {
		must(l.t, l.history.Save(l.t.Context(), runs.Run{TenantID: firstOf(l).ID}))
	}, "work", Notice, "never synced", "quarter of an hour", true, false},
	"problem of the last sync": {func(l *lab) {
		at := time.Now().Add(-time.Hour)
		must(l.t, l.history.Save(l.t.Context(), runs.Run{TenantID: firstOf(l).ID, Status: runs.Completed, Start: at, End: at, LastSuccess: at,
			Problems: []problems.Problem{{Key: "k", Message: "two devices have one serial number."}, {Key: "n", Message: "on purpose", Notice: true}}}))
	}, "work", Problem, "At the last sync: two devices", "rest of the tenant", true, false},
	"subscription failing": {func(l *lab) {
		must(l.t, l.own.Table(assignments.TableName).Merge(l.t.Context(), storage.Entity{"PartitionKey": "status", "RowKey": firstOf(l).ID,
			"SubscriptionKind": "unreachable", "SubscriptionProblem": "Graph could not reach this app"}))
	}, "work", Problem, "Graph could not reach this app", "late", true, false},
}

// TestFaults seeds one fault after the other into a healthy deployment. Each
// must be found, under its section, for its tenant, with what it means and what
// to do; and nothing else may be. Each day seeds one in three.
func TestFaults(t *testing.T) {
	for _, name := range draw.Of(t, 3, slices.Sorted(maps.Keys(faults))) {
		tt := faults[name]
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			tt.fault(l)
			r := l.check()
			var found *Finding
			for _, s := range r.Sections {
				for i, f := range s.Findings {
					fits := s.Name == tt.section && f.Level == tt.level && strings.Contains(f.What, tt.what) && strings.Contains(f.Meaning+" "+f.Action, tt.means)
					if fits && found == nil {
						found = &s.Findings[i]
					} else if !fits && !tt.more {
						t.Errorf("besides, section %s says %+v", s.Name, f)
					}
				}
			}
			if found == nil {
				t.Fatalf("the fault is not found:\n%s", text(t, r))
			}
			if want := []string{firstOf(l).DefaultDomain}; tt.tenant && !slices.Equal(found.Tenants, want) {
				t.Errorf("the finding is of %q, want %q", found.Tenants, want)
			}
			if r.Problems == 0 && tt.level == Problem {
				t.Error("the report counts no problem")
			}
			l.private(r)
		})
	}
}

// forbidden is how a Key Vault refuses.
// https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
func forbidden(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource."}}`)
}

// asks has the console send strangers to a login, and says what Microsoft answers
// there.
func (l *lab) asks(authorize, exchange string) {
	l.env["PUBLIC_BASE_URL"] = "https://" + publicHost
	l.asksLogin, l.authorize, l.exchange = "cccccccc-0000-4000-8000-000000000001", authorize, exchange
	l.console(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, l.env["LOGIN_ENDPOINT"]+"/provider/oauth2/v2.0/authorize?"+url.Values{"client_id": {l.asksLogin},
			"redirect_uri": {"https://" + publicHost + "/.auth/login/aad/callback"}}.Encode(), http.StatusFound)
	})
}

// TestLoginIsNoFinding: a console that asks strangers to log in is as it should
// be, and whatever else Microsoft answers.
func TestLoginIsNoFinding(t *testing.T) {
	l := newLab(t)
	l.asks("<html>AADSTS50058: Nobody is signed in</html>", `{"access_token":"eyJ"}`)
	if r := l.check(); r.Problems+r.Notices > 0 {
		t.Errorf("it is found fault with:\n%s", text(t, r))
	}
}

// TestGuide: what the guide's table of troubles says that a check finds, it finds,
// by those words; and only what Microsoft tells nobody but the person who logs in
// is left out.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../deploy/README.md")
	must(t, err)
	_, table, ok := strings.Cut(string(guide), "| what you see | what to do | *Checks* and `handler check` say |\n|---|---|---|\n")
	if !ok {
		t.Fatal("the guide has no table of troubles")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	titles := map[string]string{}
	for _, s := range sections {
		titles[s.title] = s.name
	}
	rows, told := strings.Split(table, "\n"), 0
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 3 {
			t.Errorf("not of three cells: %s", row)
			continue
		}
		if reason, left := strings.CutPrefix(cells[2], "nothing: "); left {
			if !strings.Contains(cells[0], "AADSTS") || reason != "Microsoft tells only the person who logs in" {
				t.Errorf("no check finds %q, for the reason %q", cells[0], reason)
			}
			continue
		}
		told++
		title, words, _ := strings.Cut(strings.TrimPrefix(cells[2], "*"), "*: ")
		found := false
		for _, f := range faults {
			found = found || f.section == titles[title] && words != "" && (strings.Contains(f.what, words) || strings.Contains(f.means, words))
		}
		if !found {
			t.Errorf("of %q the guide says that section %q says %q: no fault shows that", cells[0], title, words)
		}
	}
	if told < 15 {
		t.Errorf("only %d of %d troubles are found by a check", told, len(rows))
	}
}

// private checks that a report, in both its forms, holds no secret.
func (l *lab) private(r *Report) {
	l.t.Helper()
	var b strings.Builder
	must(l.t, r.WriteJSON(&b))
	if !json.Valid([]byte(b.String())) {
		l.t.Error("the report is not JSON")
	}
	all := b.String() + text(l.t, r)
	for _, secret := range []string{l.Seed.SAM.ApplicationSecret, l.Seed.SAM.RefreshToken, l.Seed.Ninja.Secret, "another-secret", "eyJ", "AccountKey", "sig="} {
		if strings.Contains(all, secret) {
			l.t.Errorf("the report holds a secret: %q", secret)
		}
	}
	for _, t := range l.Seed.Tenants {
		t.View(func(t *m365sim.Tenant) {
			for _, u := range t.Users {
				if strings.Contains(all, u.String("userPrincipalName")) {
					l.t.Errorf("the report names a person: %s", u.String("userPrincipalName"))
				}
			}
		})
	}
}

// onPlatform gives the app what the platform gives it.
func (l *lab) onPlatform() {
	for name, value := range map[string]string{"WEBSITE_INSTANCE_ID": "i", "WEBSITE_AUTH_ENABLED": "True", "FUNCTIONS_WORKER_RUNTIME": "custom"} {
		l.env[name] = value
	}
}

// limit gives the app a signature for some services of a storage account: t, q
// or b.
func (l *lab) limit(setting string, services ...string) {
	l.t.Helper()
	l.env[setting] = l.signed("rwdlacup", strings.Join(services, ""))
	l.open()
}

// readOnly gives the app a signature that only reads CIPP's tables.
func (l *lab) readOnly() {
	l.t.Helper()
	l.env[storage.CIPP] = l.signed("rl", "t")
	l.open()
}

func (l *lab) tables() *aztables.ServiceClient {
	l.t.Helper()
	c, err := aztables.NewServiceClientFromConnectionString(l.Storage.ConnectionString(), nil)
	must(l.t, err)
	return c
}

func (l *lab) drop(table string) {
	l.t.Helper()
	_, err := l.tables().DeleteTable(l.t.Context(), table, nil)
	must(l.t, err)
}

func (l *lab) merge(table, partition, row string, columns map[string]any) {
	l.t.Helper()
	columns["PartitionKey"], columns["RowKey"] = partition, row
	b, err := json.Marshal(columns)
	must(l.t, err)
	_, err = l.tables().NewClient(table).UpsertEntity(l.t.Context(), b, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge})
	must(l.t, err)
}

// configure changes one of CIPP's NinjaOne settings.
func (l *lab) configure(name string, value any) {
	l.t.Helper()
	b, err := json.Marshal(value)
	must(l.t, err)
	must(l.t, l.store.SaveNinjaOneSettings(l.t.Context(), []cipp.Property{{Name: name, Value: b}}, func(cipp.ExtensionConfig) error { return nil }))
}

// field makes the custom field of one of ours anew.
func (l *lab) field(of, kind, scope, permission string) {
	name := l.Seed.FieldMapping[of]
	l.NinjaOne.RemoveCustomField(name)
	l.NinjaOne.AddCustomField(ninjasim.CustomField{Name: name, Label: name, Type: kind, APIPermission: permission,
		TechnicianPermission: "READ_ONLY", DefinitionScope: []string{scope}})
}

// fired leaves behind that a timer fired so long ago, or that a heartbeat did its
// work in its place.
func (l *lab) fired(ago time.Duration, inPlace bool) {
	l.t.Helper()
	must(l.t, l.own.Table(layout.TableName).Replace(l.t.Context(), storage.Entity{"PartitionKey": "timers", "RowKey": "ScheduleTenants",
		"Last": time.Now().Add(-ago).UTC(), "InPlace": inPlace, "Version": int32(1)}))
}

// console answers at the public address, but for the notifications.
func (l *lab) console(answer http.HandlerFunc) {
	notifications := l.answer
	l.answers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == notify.Path {
			notifications.ServeHTTP(w, r)
			return
		}
		answer(w, r)
	}))
}

func (l *lab) answers(h http.Handler) { l.answer = h }

func (l *lab) login(code m365sim.LoginCode) {
	l.Seed.Tenants[0].Change(func(t *m365sim.Tenant) { t.Login = code })
}

// ran leaves behind a run of the first tenant that ended so long ago.
func (l *lab) ran(status, reason string, ago time.Duration) {
	l.t.Helper()
	at := time.Now().Add(-ago)
	must(l.t, l.history.Save(l.t.Context(), runs.Run{TenantID: l.Seed.Tenants[0].ID, Status: status, Reason: reason, Queued: at, Start: at, End: at, LastSuccess: at}))
}

// signed returns a connection string of the emulator with an account signature
// of the permissions for the services.
// https://learn.microsoft.com/rest/api/storageservices/create-account-sas
func (l *lab) signed(permissions, services string) string {
	l.t.Helper()
	const version, resources, protocol = "2019-02-02", "sco", "https,http"
	ends := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z")
	key, err := base64.StdEncoding.DecodeString(azurite.AccountKey)
	must(l.t, err)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join([]string{path.Base(l.Storage.TableEndpoint()), permissions, services, resources, "", ends, "", protocol, version, ""}, "\n")))
	q := url.Values{"sv": {version}, "ss": {services}, "srt": {resources}, "sp": {permissions}, "se": {ends}, "spr": {protocol},
		"sig": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
	return "TableEndpoint=" + l.Storage.TableEndpoint() + ";QueueEndpoint=" + l.Storage.QueueEndpoint() + ";BlobEndpoint=" + l.Storage.BlobEndpoint() +
		";SharedAccessSignature=" + q.Encode()
}
