package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// TestTenantsThatCannotBeSynced changes what a sync needs, each in a tenant of
// its own or undone afterwards; the others go on as if nothing were.
func TestTenantsThatCannotBeSynced(t *testing.T) {
	t.Parallel()
	data := generated(6)
	w := start(t, data)
	domains := make([]string, 6)
	for i, tn := range data.Tenants {
		domains[i] = tn.DefaultDomain
		w.sync(domains[i]).completed()
	}
	shown := func(domain string) string {
		return w.organizationText(domain, "TenantSummary") + w.organizationText(domain, "UsersSummary")
	}
	unharmed := func(t *testing.T) {
		t.Helper()
		w.sync(domains[5]).completed().wroteNothing().quiet()
	}

	t.Run("organization deleted", func(t *testing.T) {
		w.NinjaOne.RemoveOrganization(100)
		w.sync(domains[0]).failed("NinjaOne organization 100 (Tenant 001) does not exist any more", "map the tenant").wroteNothing()
		if lines := w.sync(domains[0]).wroteNothing().lines; len(lines) != 0 {
			t.Errorf("the same failure is told again:\n%s", strings.Join(lines, "\n"))
		}
		unharmed(t)
	})
	t.Run("excluded", func(t *testing.T) {
		id, before := w.tenant(domains[1]).ID, shown(domains[1])
		w.merge("Tenants", "Tenants", id, map[string]any{"Excluded": true})
		o := w.sync(domains[1]).wroteNothing().line("Warn: Not synced: the tenant is excluded in CIPP")
		if o.status != "Completed" || len(o.lines) != 1 {
			t.Errorf("status %q, lines\n%s", o.status, strings.Join(o.lines, "\n"))
		}
		if shown(domains[1]) != before {
			t.Error("what NinjaOne shows changed")
		}
		w.merge("Tenants", "Tenants", id, map[string]any{"Excluded": false})
		w.sync(domains[1]).completed().wroteNothing().quiet()
	})
	t.Run("consent lost and given again", func(t *testing.T) {
		before := shown(domains[2])
		w.tenant(domains[2]).SetLogin(m365sim.ConsentMissing)
		w.M365.RevokeTokens()
		w.sync(domains[2]).failed("AADSTS65001", w.tenant(domains[2]).ID, "no consent").wroteNothing()
		if shown(domains[2]) != before {
			t.Error("what NinjaOne shows changed")
		}
		unharmed(t)
		w.tenant(domains[2]).SetLogin(m365sim.LoginOK)
		w.sync(domains[2]).completed().wroteNothing().line("Info: No longer a problem: The sync to NinjaOne failed")
	})
	for name, fault := range map[string]func(){
		"Graph is down": func() {
			w.M365.AddFault(m365sim.Fault{Service: "graph", Status: 503, RetryAfter: "0", Tenant: w.tenant(domains[2]).ID})
		},
		"NinjaOne is down": func() { w.NinjaOne.InjectFault(ninjasim.Fault{Status: 500}) },
	} {
		t.Run(name, func(t *testing.T) {
			// Something to write and something to clear, if the run came that far.
			w.tenant(domains[2]).Change(func(tn *m365sim.Tenant) {
				tn.ManagedDevices[0]["osVersion"] = name
				tn.ManagedDevices = slices.Delete(tn.ManagedDevices, 1, 2)
			})
			fault()
			calls := 0
			for _, n := range w.sync(domains[2]).failed().wroteNothing().calls {
				calls += n
			}
			if calls > 20 {
				t.Errorf("%d calls of NinjaOne by a run that cannot succeed", calls)
			}
			w.M365.ClearFaults()
			w.NinjaOne.ClearFaults()
			if n := len(w.sync(domains[2]).completed().devices()); n != 2 {
				t.Errorf("the next run wrote %d devices, want 2", n)
			}
			w.correct(domains[2])
		})
	}
	t.Run("not mapped any more", func(t *testing.T) {
		id := w.tenant(domains[3]).ID
		row := w.mapping(id)
		w.remove("CippMapping", "NinjaOneMapping", id)
		w.sync(domains[3]).wroteNothing().line("Warn: Not synced: the tenant is not mapped to a NinjaOne organization")
		if w.mapping(id) != nil {
			t.Error("the mapping is back")
		}
		w.merge("CippMapping", "NinjaOneMapping", id, map[string]any{"IntegrationId": row["IntegrationId"], "IntegrationName": row["IntegrationName"]})
		w.sync(domains[3]).completed().wroteNothing().quiet()
	})
	t.Run("mapped to another organization", func(t *testing.T) {
		id := w.tenant(domains[3]).ID
		w.NinjaOne.AddOrganization(ninjasim.Organization{ID: 300, Name: "Elsewhere"})
		w.merge("CippMapping", "NinjaOneMapping", id, map[string]any{"IntegrationId": "300", "IntegrationName": "Elsewhere"})
		o := w.sync(domains[3]).completed()
		if len(o.organization()) != 3 || len(o.devices()) != 0 {
			t.Errorf("wrote %q and devices %v, want the organization's fields only", o.organization(), o.devices())
		}
		if v, _ := w.NinjaOne.OrganizationField(300, "cippTenantSummary"); v.Text == "" {
			t.Error("the new organization shows nothing")
		}
		w.merge("CippMapping", "NinjaOneMapping", id, map[string]any{"IntegrationId": "103", "IntegrationName": "Tenant 004"})
		w.sync(domains[3]).completed().wroteNothing()
	})
	t.Run("integration turned off", func(t *testing.T) {
		w.configure(map[string]any{"Enabled": false})
		o := w.sync(domains[4]).wroteNothing().line("Warn: Not synced: the NinjaOne integration is turned off in CIPP.")
		for call, n := range o.calls {
			t.Errorf("%d calls of %s", n, call)
		}
		w.configure(map[string]any{"Enabled": true})
		unharmed(t)
	})
	t.Run("instance that is not NinjaOne's", func(t *testing.T) {
		w.configure(map[string]any{"Instance": "ninja.evil.example"})
		o := w.sync(domains[4]).failed(`"ninja.evil.example" is not a NinjaOne instance`)
		for call, n := range o.calls {
			t.Errorf("%d calls of %s", n, call)
		}
		w.configure(map[string]any{"Instance": "EU.ninjarmm.com/ws"})
		w.sync(domains[4]).completed().wroteNothing().line("Info: No longer a problem: The sync to NinjaOne failed")
	})
	t.Run("wrong NinjaOne secret, then the right one", func(t *testing.T) {
		w.NinjaOne.SetClientSecret("renewed-in-ninjaone-only")
		w.NinjaOne.RevokeTokens()
		o := w.sync(domains[4]).failed("NinjaOne does not accept the API application's credentials", "401").wroteNothing()
		if n := o.calls["POST /ws/oauth/token"]; n > 3 {
			t.Errorf("%d token requests with a secret that was refused", n)
		}
		w.merge("DevSecrets", "NinjaOne", "NinjaOne", map[string]any{"APIKey": "renewed-in-ninjaone-only"})
		w.restart() // a running handler reads a refused secret again after ten seconds
		w.sync(domains[4]).completed().wroteNothing().line("Info: No longer a problem: The sync to NinjaOne failed")
		unharmed(t)
	})
	t.Run("wrong secret of CIPP's app, then the right one", func(t *testing.T) {
		w.M365.SetClientSecret("renewed-in-entra-only")
		w.M365.SetRefreshToken("renewed-refresh-token")
		w.M365.RevokeTokens()
		w.sync(domains[4]).failed("AADSTS7000215", "setup wizard").wroteNothing()
		w.merge("DevSecrets", "Secret", "Secret", map[string]any{"ApplicationSecret": "renewed-in-entra-only", "RefreshToken": "renewed-refresh-token"})
		w.restart()
		w.sync(domains[4]).completed().wroteNothing()
	})
	t.Run("unknown tenant", func(t *testing.T) {
		const id = "6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f"
		before := len(w.logbookRows("None"))
		if i := w.send(syncQueue, `{"tenantId":"`+id+`","force":false}`); i.Err != nil {
			t.Errorf("the invocation failed: %v", i.Err)
		}
		rows := w.logbookRows("None")
		if len(rows) != before+1 {
			t.Fatalf("%d new lines", len(rows)-before)
		}
		row := rows[len(rows)-1]
		if row["TenantID"] != id || !strings.Contains(row["Message"].(string), "CIPP knows no tenant with this id") {
			t.Errorf("the logbook has %v", row)
		}
	})
	if n := w.waiting(syncQueue); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
}

// TestNoTables runs against a storage account in which CIPP has never written,
// and then with one table after the other missing.
func TestNoTables(t *testing.T) {
	t.Parallel()
	data := generated(1)
	w := start(t, data)
	domain, id := data.Tenants[0].DefaultDomain, data.Tenants[0].ID
	message := fmt.Sprintf(`{"tenantId":%q}`, id)
	drop := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := w.Tables.NewClient(name).Delete(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	restore := func() {
		t.Helper()
		must(t, seed.WriteCIPPTables(context.Background(), w.Storage.ConnectionString(), data))
	}
	var all []string
	pager := w.Tables.NewListTablesPager(nil)
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		must(t, err)
		for _, table := range page.Tables {
			all = append(all, *table.Name)
		}
	}
	drop(all...)
	if i := w.send(syncQueue, message); i.Err != nil {
		t.Errorf("without any table the invocation failed: %v", i.Err)
	}
	if lines := w.logbook("None"); len(lines) != 1 || !strings.Contains(lines[0], "CIPP knows no tenant with this id") {
		t.Errorf("without any table the logbook got\n%s", strings.Join(lines, "\n"))
	}
	if err := w.Host.Invoke(context.Background(), "ScheduleTenants", ""); err != nil {
		t.Errorf("without any table the timer failed: %v", err)
	}
	if n := w.waiting(syncQueue); n != 0 {
		t.Errorf("%d tenants were queued without any table", n)
	}

	for _, tt := range []struct{ table, line string }{
		{"Extensionsconfig", "Warn: Not synced: the NinjaOne integration is turned off in CIPP."},
		{"CippMapping", "Warn: Not synced: the tenant is not mapped"},
		{"DevSecrets", "Error: The sync to NinjaOne failed"},
	} {
		restore()
		drop(tt.table)
		w.syncMessage(domain, message).wroteNothing().line(tt.line)
	}
	restore()
	drop("ExcludedLicenses", "templates", "Config", "CippReportingDB", "NinjaOneSettings")
	w.syncMessage(domain, message).completed().line("Info: Synced to NinjaOne organization 100")
	w.correct(domain)
	restore()

	// A table of ours that is lost costs a full rewrite and nothing else.
	drop("NinjaOneSyncState", "NinjaOneDeviceMap")
	o := w.syncMessage(domain, message).completed()
	if n := len(o.devices()); n != 12 {
		t.Errorf("%d devices were rewritten, want 12", n)
	}
	if n := len(w.rows("NinjaOneDeviceMap", "PartitionKey eq '"+id+"'")); n != 12 {
		t.Errorf("the device map has %d rows, want 12", n)
	}
	w.sync(domain).completed().wroteNothing()
}

// TestOldInstallation reads tables as early versions of CIPP left them, under a
// host that encodes its envelopes as Microsoft's documentation shows them.
func TestOldInstallation(t *testing.T) {
	t.Parallel()
	data := generated(3)
	data.Quirks.LegacyFieldPartition = true
	data.Quirks.InstanceAsTyped = "https://EU.ninjarmm.com/ws"
	data.Quirks.UnmappedField = "DeviceLinks"
	data.Mappings[1].Legacy = true
	data.Mappings[2].ByDomain = true
	w := start(t, data, func(c *funchost.Config) { c.SingleEncoded = true })
	for _, tn := range data.Tenants {
		o := w.sync(tn.DefaultDomain).completed().quiet()
		for id, fields := range o.devices() {
			if strings.Contains(strings.Join(fields, " "), "cippDeviceLinks") {
				t.Errorf("device %d: a field that is not to be synchronized was written", id)
			}
		}
		w.sync(tn.DefaultDomain).completed().wroteNothing().quiet()
	}
	row, err := w.Tables.NewClient("CippMapping").GetEntity(context.Background(), "NinjaOrgsMapping", data.Tenants[1].ID, &aztables.GetEntityOptions{})
	if err != nil || !strings.Contains(string(row.Value), `"lastStatus":"Completed"`) {
		t.Errorf("the run is not recorded in the row it was read from: %s, %v", row.Value, err)
	}
	// Bad messages: no retry can help.
	bad := []string{"sync everything", "null", "[]", "{}", `{"tenantId":7}`, `{"tenantId":"`, "{\"tenantId\":\"\x00\x1b[31m\"}", `{"password":"` + data.Ninja.Secret + `"}`}
	for _, text := range bad {
		if i := w.send(syncQueue, text); i.Err != nil || i.DequeueCount != 1 {
			t.Errorf("%s: delivery %d ended with %v", text, i.DequeueCount, i.Err)
		}
	}
	lines := w.logbook("None")
	if len(lines) != len(bad) || slices.ContainsFunc(lines, func(l string) bool {
		return !strings.HasPrefix(l, "Error: A message for SyncTenant was dropped, because ")
	}) {
		t.Errorf("the logbook got\n%s", strings.Join(lines, "\n"))
	}
	if n := w.waiting(syncQueue); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
	w.sync(data.Tenants[0].DefaultDomain).completed().quiet()
}
