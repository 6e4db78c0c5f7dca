package console

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

const hostile = `<script>alert(1)</script>"'>&`

func TestStatus(t *testing.T) {
	w := newWorld(t)
	first, second := w.tenantID(1), w.tenantID(2)

	page := w.get("/")
	w.has(page, "Tenant 001", "tenant-001.example", "Never synced", "Within 15 minutes", "<strong>3</strong> never synced")

	w.sync(first)
	page = w.get("")
	w.has(page, "In sync", "3 organization fields, 6 devices written", "6 matched, 0 only in Intune", "took ")

	// A problem is shown with what to do, as text.
	run, err := w.console.Runs.Last(t.Context(), first)
	must(t, err)
	run.Problems = []problems.Problem{{Key: "x", Message: "Do this: " + hostile, Since: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}}
	must(t, w.console.Runs.Save(t.Context(), run))
	page = w.get("/?show=problems")
	w.has(page, "Do this: &lt;script&gt;", `Since <time datetime="2026-11-02T00:00:00Z" title="2026-11-02 00:00 UTC">`)
	w.hasNot(page, hostile, "Tenant 002")

	run.Status, run.Reason, run.Failures, run.Problems = runs.Failed, "no", 1, nil
	must(t, w.console.Runs.Save(t.Context(), run))
	w.has(w.get("/?show=failed"), "Failed", "Tenant 001")
	w.hasNot(w.get("/?show=failed"), "Tenant 002", "Tenant 003")
	w.hasNot(w.get("/?q=tenant-002"), "Tenant 001", "Tenant 003")
	w.has(w.get("/?q=nothing"), "No tenant is mapped that fits the filter")

	// Notifications of compliance changes that do not arrive are a problem too.
	w.updates = map[string]assignments.Status{second: {Missed: 4, MissedSince: time.Now().Add(-3 * time.Hour)}}
	page = w.get("/?show=problems")
	w.has(page, "Tenant 002", "Notifications of compliance changes do not arrive", "found 4 changes")
	w.hasNot(page, "Tenant 003")
	w.updates = nil

	// How fast NinjaOne is called.
	w.pace = pacing.View{Limits: pacing.Limits{Start: 5, Max: 20}, Now: 7.84, TurnedAway: time.Now().Add(-3 * time.Minute)}
	w.has(w.get("/"), "NinjaOne is called 7.8 times a second at most now", "up to 20", "last asked for fewer calls", "3 minutes ago")
	w.pace = pacing.View{Limits: pacing.Limits{Start: 5, Max: 20}, Now: 20}
	w.has(w.get("/"), "NinjaOne is called 20 times a second", "NINJAONE_RATE_MAX")
	w.hasNot(w.get("/"), "fewer calls")

	// What the last look found, and what became of it.
	now := time.Now()
	light := func(l runs.Light) {
		l.TenantID, l.Start = second, now.Add(-time.Minute)
		must(t, w.console.Runs.SaveLight(t.Context(), l))
	}
	found := changes.State{Found: "users 2", FoundAt: now.Add(-2 * time.Minute), Looked: now.Add(-2 * time.Minute)}
	watched := func(s changes.State) { w.watched = map[string]changes.State{second: s} }
	watched(found)
	w.has(w.get("/"), "Changed: users 2, on its way", "2 minutes ago")
	light(runs.Light{Status: runs.Completed, Devices: 1, Fresh: now.Add(-time.Minute)})
	w.has(w.get("/"), "Changed: users 2, shown", "As of <time", "1 minute ago")
	light(runs.Light{Status: runs.Completed})
	w.has(w.get("/"), "Changed: users 2, nothing that NinjaOne shows")
	light(runs.Light{Status: runs.Failed, Reason: "the <door> is locked"})
	w.has(w.get("/"), "Changed: users 2, not shown yet: the &lt;door&gt; is locked.")
	found.Due, found.Damped, found.Problem = now.Add(50*time.Minute), true, "the app lacks Device.Read.All."
	watched(found)
	w.has(w.get("/"), "to be shown in 50 minutes, since the tenant changes all the time", "Changes are not all found: the app lacks Device.Read.All.")
	w.watched = nil

	w.hasNot(w.get("/"), "no longer fire")
	w.stopped = []string{"ScheduleTenants", "SweepCompliance"}
	w.has(w.get("/"), "2 timers of the app no longer fire: <code>ScheduleTenants</code>, <code>SweepCompliance</code>. A heartbeat does the work", "Deploy the package again")
	w.stopped = nil

	// Sync now.
	w.has(w.post("/sync", "tenant", second), "The sync was asked for", "Waiting", "Under way", "data-live")
	if got, want := w.message(w.syncs), fmt.Sprintf(`{"tenantId":%q,"force":true}`, second); got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	w.has(w.refused("/sync", "tenant", "9d0b1c00-0000-4000-8000-000000000009"), "no mapped tenant")
	w.has(w.refused("/sync"), "choose a tenant")
	w.has(w.post("/sync", "tenant", "all"), "Syncs of all tenants were asked for")

	// Pause one, then everyone with a pilot.
	w.has(w.post("/pause", "tenant", second, "paused", "true"), "The tenant is paused", `data-label="Next"><span class="next">Paused<`)
	w.has(w.get("/?show=paused"), "Tenant 002")
	w.hasNot(w.get("/?show=paused"), "Tenant 001")
	w.has(w.post("/pause", "tenant", second, "paused", "false"), "The tenant is resumed")
	w.has(w.post("/pause", "tenant", "everyone", "paused", "true"), "paused for all tenants", "Resume the schedule for all", "<strong>2</strong> paused")
	pauses, err := w.console.Runs.Pauses(t.Context())
	must(t, err)
	if !pauses.Paused(first) || pauses.Paused(second) {
		t.Errorf("pauses %v: everyone must be, and the pilot must not", pauses)
	}
	w.has(w.post("/pause", "tenant", "everyone", "paused", "false"), "resumed for all tenants")
	w.has(w.refused("/pause", "tenant", "nobody", "paused", "true"), "no such tenant")
	w.has(w.lines(), "The tenant was paused", "The schedule was resumed for all tenants")
}

func TestFailedMessages(t *testing.T) {
	w := newWorld(t)
	first := w.tenantID(1)
	w.hasNot(w.get("/"), "failed too often")
	for range 2 {
		must(t, w.failed.Send(t.Context(), tenantsync.Message{TenantID: first}, 0))
	}
	must(t, w.failed.Send(t.Context(), hostile, 0))
	page := w.get("/")
	w.has(page, "3 messages failed too often", "The sync of tenant-001.example was not done.", w.syncs.Name()+"-poison", "It is done again tomorrow.", "just now", "cannot be read")
	w.hasNot(page, hostile, "alert(1)")
	if n := strings.Count(page, `value="back"`); n != 2 {
		t.Errorf("%d messages can be put back, want 2", n)
	}
	ids := func() []string {
		messages, err := w.failed.Peek(t.Context(), 32)
		must(t, err)
		var ids []string
		for _, m := range messages {
			ids = append(ids, m.ID)
		}
		return ids
	}
	at := ids()
	w.hasNot(page, "data-live")
	// The page says that the tenant waits, and renews itself.
	w.has(w.post("/poison", "queue", w.syncs.Name(), "message", at[0], "do", "back"), "The message was put back", "2 messages failed too often",
		"Waiting", "data-live", "<strong>1</strong> running or waiting")
	if got, want := w.message(w.syncs), fmt.Sprintf(`{"tenantId":%q,"force":false}`, first); got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	w.has(w.refused("/poison", "queue", w.syncs.Name(), "message", at[0], "do", "back"), "The message is gone")
	w.has(w.refused("/poison", "queue", w.syncs.Name(), "message", at[2], "do", "back"), "cannot be read")
	w.has(w.refused("/poison"), "The message is gone")
	for _, id := range ids() {
		w.has(w.post("/poison", "queue", w.syncs.Name(), "message", id, "do", "remove"), "The message was removed.")
	}
	w.hasNot(w.get("/"), "failed too often")
	w.has(w.lines(), "A message that had failed too often was put back: The sync of tenant-001.example was not done.", "too often was removed")
}

func TestPutAllBack(t *testing.T) {
	w := newWorld(t)
	w.has(w.refused("/poison", "queue", w.syncs.Name(), "do", "all"), "The messages are gone")
	w.has(w.refused("/poison", "queue", "another", "do", "all"), "The messages are gone")
	must(t, w.failed.Send(t.Context(), hostile, 0))
	w.hasNot(w.get("/"), "Put all back")
	w.has(w.refused("/poison", "queue", w.syncs.Name(), "do", "all"), "cannot be read")
	for n := range 3 {
		must(t, w.failed.Send(t.Context(), tenantsync.Message{TenantID: w.tenantID(n + 1)}, 0))
	}
	w.has(w.get("/"), "Put all back: queue "+w.syncs.Name()+", 4 messages")
	w.has(w.post("/poison", "queue", w.syncs.Name(), "do", "all"), "3 messages were put back. They are tried again within a minute. About 1 message is left.",
		"1 message failed too often", "<strong>3</strong> running or waiting")
	if n, err := w.syncs.Length(t.Context()); n != 3 || err != nil {
		t.Errorf("%d messages are on the queue, %v", n, err)
	}
	w.has(w.lines(), "3 messages that had failed too often were put back on the queue "+w.syncs.Name()+".")
}

func TestEngine(t *testing.T) {
	w := newWorld(t)
	w.has(w.get("/"), "Held off", "Give the syncs back now")
	w.has(w.refused("/engine", "to", "somebody"), "choose who does the syncs")
	page := w.post("/engine", "to", "cipp")
	w.has(page, "CIPP&#39;s own sync was given back", "Given back", "Take over from CIPP", `<span class="next">By CIPP</span>`, "CIPP syncs by its own schedule")
	w.hasNot(page, "The schedule syncs each tenant")
	w.hasNot(page, "Give the syncs back now")
	if given, err := w.console.Engine.GivenBack(t.Context()); err != nil || !given {
		t.Errorf("given back: %v, %v", given, err)
	}
	w.has(w.get("/settings"), "does none of what is turned on here")
	page = w.post("/engine", "to", "app")
	w.has(page, "is held off again", "Held off")
	w.hasNot(w.get("/settings"), "does none of what is turned on here")
	if n, err := w.syncs.Length(t.Context()); n != 3 || err != nil {
		t.Errorf("%d syncs were asked for, want 3; %v", n, err)
	}
	w.has(w.lines(), "was given back", "is held off")
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", -59 * time.Second: "just now", -time.Minute: "1 minute ago", -90 * time.Minute: "1 hour ago",
		-47 * time.Hour: "47 hours ago", -49 * time.Hour: "2 days ago", time.Second: "in a moment", 5 * time.Hour: "in 5 hours", 72 * time.Hour: "in 3 days",
	} {
		if got := ago(now.Add(d), now); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "" {
		t.Errorf("no time is %q", got)
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	page := w.get("/settings")
	w.has(page, "A secret is stored", `value="eu.ninjarmm.com"`, `name="secret"`)
	w.hasNot(page, w.Seed.Ninja.Secret, cipp.SecretSent)

	w.has(w.post("/settings", "enabled", "true", "instance", "https://EU.ninjarmm.com/ws", "client", w.Seed.Ninja.ClientID, "licensed", "true"), "The settings were saved.")
	config, err := w.console.CIPP.NinjaOneConfig(t.Context())
	must(t, err)
	if !config.Enabled || config.Instance != "eu.ninjarmm.com" || !config.LicensedOnly || config.UserDocuments || config.ClientID != w.Seed.Ninja.ClientID {
		t.Errorf("stored %+v", config)
	}
	if got, err := w.console.Secrets.Secret(t.Context(), cipp.SecretNinjaOne, true); err != nil || got != w.Seed.Ninja.Secret {
		t.Errorf("an empty field changed the secret (%v)", err)
	}
	page = w.refused("/settings", "enabled", "true", "instance", "evil.example", "client", "other", "secret", "do-not-show")
	w.has(page, "The settings were not saved. The NinjaOne instance is not allowed", `value="evil.example"`)
	w.hasNot(page, "do-not-show")
	if got, _ := w.console.Secrets.Secret(t.Context(), cipp.SecretNinjaOne, true); got != w.Seed.Ninja.Secret {
		t.Error("a refused save changed the secret")
	}

	a := w.do(http.MethodGet, "/settings?test=now", nil)
	w.has(w.get(a.location[strings.Index(a.location, "/settings"):]), "Connected to NinjaOne")
	page = w.refused("/settings", "enabled", "true", "instance", "eu.ninjarmm.com", "client", w.Seed.Ninja.ClientID, "secret", "a-wrong-secret", "then", "test")
	w.has(page, "The settings were saved, but", "does not accept the client secret")
	w.hasNot(page, "a-wrong-secret")
	w.has(w.get("/settings?test=now"), "Not connected to NinjaOne")
	w.has(w.post("/settings", "enabled", "true", "instance", "eu.ninjarmm.com", "client", w.Seed.Ninja.ClientID, "secret", w.Seed.Ninja.Secret, "then", "test"), "Connected to NinjaOne")
}

func TestFields(t *testing.T) {
	w := newWorld(t)
	page := w.get("/fields")
	w.has(page, "Intune compliance (cippDeviceCompliance)", "Microsoft 365 users (cippUsersSummary)")
	// Neither the wrong scope, nor type, nor permission is offered.
	w.hasNot(page, "accountManager", "contractNotes", "warrantyEnd", "Create the fields for me")

	w.has(w.post("/fields", "UsersSummary", ""), "The field mapping was saved", "Create the fields for me")
	all, err := w.console.CIPP.Mappings(t.Context())
	must(t, err)
	if len(all.Fields) != 6 || all.Fields["UsersSummary"] != "" {
		t.Errorf("mapping %v", all.Fields)
	}
	for name, tt := range map[string]struct{ field, value, want string }{
		"unknown":           {"UsersSummary", "nothingLikeThis", "no custom field"},
		"wrong type":        {"UsersSummary", "accountManager", "its type is TEXT"},
		"wrong scope":       {"UsersSummary", "cippDeviceLinks", "not defined for the scope Organization"},
		"no permission":     {"UsersSummary", "contractNotes", "API permission is NONE"},
		"none of the seven": {"Nonsense", "x", "the form was empty"},
	} {
		t.Run(name, func(t *testing.T) { w.has(w.refused("/fields", tt.field, tt.value), tt.want) })
	}
	w.has(w.refused("/fields", "TenantLinks", "cippTenantLinks", "TenantSummary", "cippTenantLinks"), "chosen for both")

	// A custom field that is gone from NinjaOne is named.
	w.NinjaOne.RemoveCustomField("cippDeviceSummary")
	w.has(w.get("/fields"), `The custom field &#34;cippDeviceSummary&#34; is mapped, but does not exist`)
}

// custom are the custom fields of NinjaOne, "name type scope permission".
func (w *world) custom() map[string]string {
	out := map[string]string{}
	for _, f := range w.NinjaOne.CustomFields() {
		out[f.Name] = fmt.Sprint(f.Type, f.DefinitionScope, f.APIPermission, f.TechnicianPermission, f.ScriptPermission)
	}
	return out
}

func TestCreateFields(t *testing.T) {
	w := newWorld(t)
	for _, f := range w.NinjaOne.CustomFields() {
		if strings.HasPrefix(f.Name, "cipp") && f.Name != "cippTenantLinks" {
			w.NinjaOne.RemoveCustomField(f.Name)
		}
	}
	w.has(w.get("/fields"), "Create the fields for me", "does not exist in NinjaOne")

	w.has(w.post("/fields/create"), "6 custom fields were created in NinjaOne, and all seven fields are mapped.")
	custom := w.custom()
	for name, want := range map[string]string{
		"cippTenantLinks":      "WYSIWYG[ORGANIZATION]READ_WRITEREAD_ONLYNONE",
		"cippTenantSummary":    "WYSIWYG[ORGANIZATION]READ_WRITEREAD_ONLYNONE",
		"cippUsersSummary":     "WYSIWYG[ORGANIZATION]READ_WRITEREAD_ONLYNONE",
		"cippDeviceLinks":      "WYSIWYG[NODE]READ_WRITEREAD_ONLYNONE",
		"cippDeviceSummary":    "WYSIWYG[NODE]READ_WRITEREAD_ONLYNONE",
		"cippDeviceCompliance": "TEXT[NODE]READ_WRITEREAD_ONLYREAD_ONLY",

		"cippDeviceNonCompliantSettings": "TEXT_MULTILINE[NODE]READ_WRITEREAD_ONLYREAD_ONLY",
	} {
		if custom[name] != want {
			t.Errorf("%s is %q, want %q", name, custom[name], want)
		}
	}
	all, err := w.console.CIPP.Mappings(t.Context())
	must(t, err)
	if len(all.Fields) != 7 {
		t.Errorf("mapping %v", all.Fields)
	}
	w.hasNot(w.get("/fields"), "Create the fields for me")
	// Again: nothing is created twice.
	w.has(w.post("/fields/create"), "0 custom fields were created")
	// And the sync can write them.
	w.sync(w.tenantID(1))
	w.has(w.get("/"), "3 organization fields, 6 devices written")
}

func TestCreateFieldsRefused(t *testing.T) {
	t.Run("the instance lacks the call", func(t *testing.T) {
		w := newWorld(t)
		w.NinjaOne.RemoveCustomField("cippTenantLinks")
		w.NinjaOne.InjectFault(ninjasim.Fault{Method: "POST", Path: "^/v2/custom-fields$", Status: 404, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"resultCode":"FAILURE","errorMessage":"No such path"}`})
		page := w.refused("/fields/create")
		w.has(page, "cannot create custom fields through its API", "<details open>", "Expand large value on render", "<code>cippTenantLinks</code>")
	})
	t.Run("the name is taken by another kind", func(t *testing.T) {
		w := newWorld(t)
		w.NinjaOne.RemoveCustomField("cippTenantLinks")
		w.NinjaOne.AddCustomField(ninjasim.CustomField{Name: "CippTenantLinks", Label: "X", Type: "TEXT", APIPermission: "READ_WRITE", TechnicianPermission: "READ_ONLY", DefinitionScope: []string{"ORGANIZATION"}})
		w.has(w.refused("/fields/create"), "NinjaOne has a custom field &#34;cippTenantLinks&#34; already, but its type is TEXT")
	})
	t.Run("the answer is lost", func(t *testing.T) {
		w := newWorld(t)
		w.NinjaOne.RemoveCustomField("cippTenantLinks")
		w.NinjaOne.InjectFault(ninjasim.Fault{Method: "POST", Path: "^/v2/custom-fields$", Reset: true, AfterHandling: true})
		w.has(w.post("/fields/create"), "all seven fields are mapped")
	})
	t.Run("it may not", func(t *testing.T) {
		w := newWorld(t)
		w.NinjaOne.RemoveCustomField("cippTenantLinks")
		w.NinjaOne.InjectFault(ninjasim.Fault{Method: "POST", Path: "^/v2/custom-fields$", Status: 403, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"insufficient_scope"}`})
		w.has(w.refused("/fields/create"), "was not created", "403", "<details open>")
	})
}

func TestDevices(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(1)
	w.has(w.get("/devices"), "Choose a tenant", "Tenant 003 (tenant-003.example)")
	w.has(w.get("/devices?tenant="+id), "were not matched yet")
	w.NinjaOne.AddDevice(ninjasim.Device{ID: 77001, OrganizationID: 100, SystemName: "LONE-" + hostile, SerialNumber: "LONELY12345", NodeClass: "WINDOWS_WORKSTATION"})
	w.sync(id)
	page := w.get("/devices?tenant=" + strings.ToUpper(id))
	w.has(page, "6 matched, 0 only in Intune, 1 only in NinjaOne", "LONE-&lt;script&gt;", "LONELY12345", "Serial number ", "https://eu.ninjarmm.com/#/deviceDashboard/77001/overview")
	w.hasNot(page, hostile)
	w.hasNot(w.get("/devices?tenant="+id+"&q=LONELY"), "Serial number <")
	w.has(w.get("/devices?tenant=unknown"), "Choose a tenant to see")

	// A machine that enrolled twice counts once, and who contests one is named.
	w.M365.Tenant(id).Change(func(tn *m365sim.Tenant) {
		first := tn.ManagedDevices[0]
		for i, d := range []struct{ name, serial, seen string }{
			{"RIVAL-" + hostile, first.String("serialNumber"), first.String("lastSyncDateTime")},
			{"TWICE-1", "5CD9870ZXK", "2026-11-02T08:00:00Z"}, {"TWICE-1", "5CD9870ZXK", "2026-05-02T08:00:00Z"},
		} {
			managed := fmt.Sprintf("0a0a0a0a-0000-4000-8000-00000000000%d", i)
			tn.ManagedDevices = append(tn.ManagedDevices, m365sim.Entity{"id": managed, "azureADDeviceId": "1" + managed[1:], "deviceName": d.name,
				"serialNumber": d.serial, "operatingSystem": "Windows", "complianceState": "compliant", "lastSyncDateTime": d.seen})
		}
	})
	w.sync(id)
	page = w.get("/devices?tenant=" + id)
	w.has(page, "6 matched, 1 only in Intune, 1 only in NinjaOne", "Claimed by RIVAL-&lt;script&gt;", "an older Intune record of a machine that enrolled again")
	w.has(w.get("/devices?tenant="+id+"&q=RIVAL-"), "Claimed by")
}

func TestLogbook(t *testing.T) {
	w := newWorld(t)
	log := func(e cipp.LogEntry) { must(t, w.console.CIPP.Log(t.Context(), e)) }
	log(cipp.LogEntry{API: "NinjaOneSync", Tenant: "tenant-001.example", Message: "one " + hostile})
	log(cipp.LogEntry{API: "NinjaOneSync", Tenant: "tenant-002.example", Message: "two is wrong", Severity: cipp.SeverityError})
	log(cipp.LogEntry{API: "NinjaOneAutoMap_Queue", Message: "three", Severity: cipp.SeverityWarn})
	log(cipp.LogEntry{API: "Standards", Message: "not ours"})

	page := w.get("/logbook")
	w.has(page, "one &lt;script&gt;", "two is wrong", "three")
	w.hasNot(page, "not ours", hostile)
	w.post("/pause", "tenant", w.tenantID(1), "paused", "true")
	w.has(w.get("/logbook"), "The tenant was paused", ">developer<")
	for name, tt := range map[string]struct{ query, has, hasNot string }{
		"api":      {"api=NinjaOneAutoMap_Queue", "three", "two is wrong"},
		"severity": {"severity=error", "two is wrong", "three"},
		"warnings": {"severity=warn", "three", "one &lt;"},
		"tenant":   {"tenant=tenant-001", "one &lt;", "two is wrong"},
		"days":     {"from=2026-01-01&to=2026-01-02", "There is no line", "three"},
		"bad day":  {"from=yesterday", "A day must look like", "not ours"},
		"too long": {"from=2020-01-01", "At most 31 days", "not ours"},
		"hostile":  {"api=.*%28", "There is no line that fits the filter", "three"},
	} {
		t.Run(name, func(t *testing.T) {
			page := w.get("/logbook?" + tt.query)
			w.has(page, tt.has)
			w.hasNot(page, tt.hasNot)
		})
	}
}

func TestConfirmations(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(2)
	w.has(w.get("/confirmations"), "Nothing waits for a confirmation")
	w.row(w.table, storage.Entity{"PartitionKey": "documents-brake", "RowKey": id, "OrganizationId": int64(101), "Archive": int32(40), "Of": int32(90), "Since": time.Now().UTC(), "Confirmed": false})
	w.has(w.get("/confirmations"), "40 of 90 would be archived", "Archive 40 documents", "Tenant 002")
	w.has(w.refused("/confirmations", "tenant", id, "archive", "39"), "the number of documents has changed")
	w.has(w.refused("/confirmations", "tenant", w.tenantID(1), "archive", "40"), "Nothing waits")
	w.has(w.refused("/confirmations", "tenant", "x"), "no such tenant")
	w.has(w.post("/confirmations", "tenant", id, "archive", "40"), "Confirmed. The tenant", "next sync archives them")
	w.has(w.lines(), "The archiving of 40 documents was confirmed.")
}

func principal(t *testing.T, role string) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"auth_typ": "aad", "claims": []map[string]string{{"typ": "roles", "val": role}}})
	must(t, err)
	return base64.StdEncoding.EncodeToString(data)
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.console.Guard = guardOf(access.Config{PlatformAuth: true})
	w.console.Check = &fixedChecker{}
	tests := []struct {
		name, role, site   string
		read, work, change int
	}{
		{"nobody", "", "same-origin", 401, 401, 401},
		{"another role", "owner", "same-origin", 403, 403, 403},
		{"reader", "reader", "same-origin", 200, 200, 403},
		{"reader from another site", "reader", "cross-site", 200, 403, 403},
		{"editor", "editor", "same-origin", 200, 200, 422},
		{"editor from another site", "editor", "cross-site", 200, 403, 403},
		{"editor from a neighbour", "editor", "same-site", 200, 403, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.header = http.Header{"Sec-Fetch-Site": {tt.site}}
			if tt.role != "" {
				w.header["X-Ms-Client-Principal"] = []string{principal(t, tt.role)}
			}
			for page := range pages {
				if page == "preview/value" {
					continue // it needs a preview: TestPreview
				}
				want := tt.read
				if page == "organizations" || page == "fields" {
					want = tt.work // they call NinjaOne
				}
				if a := w.do(http.MethodGet, "/"+page, nil); a.status != want {
					t.Errorf("GET %q: %d, want %d", page, a.status, want)
				}
			}
			for work := range works {
				if a := w.do(http.MethodPost, "/"+work, nil); a.status != tt.work {
					t.Errorf("POST %q: %d, want %d", work, a.status, tt.work)
				}
			}
			for action := range actions {
				a := w.do(http.MethodPost, "/"+action, nil)
				// An empty form is let through, and then has something to say or
				// nothing to do.
				if a.status == http.StatusSeeOther {
					a.status = http.StatusUnprocessableEntity
				}
				if a.status != tt.change {
					t.Errorf("POST %q: %d, want %d", action, a.status, tt.change)
				}
			}
		})
	}
	t.Run("a reader is offered no change", func(t *testing.T) {
		w.header = http.Header{"X-Ms-Client-Principal": {principal(t, "reader")}}
		for page := range pages {
			if !strings.Contains(page, "/") {
				w.hasNot(w.get("/"+page), `method="post" action="/api/ninjaone/console/sync"`, `<button class="main">`, "Find organizations for all")
			}
		}
	})
	t.Run("closed without login", func(t *testing.T) {
		w.console.Guard = guardOf(access.Config{})
		a := w.do(http.MethodGet, "/", nil)
		if a.status != 403 || !strings.Contains(a.body, "turn on App Service authentication") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestAddresses(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/nothing", 404}, {"GET", "/assets/../console.go", 404}, {"GET", "/sync", 405}, {"POST", "/logbook", 405},
		{"PUT", "/", 405}, {"HEAD", "/", 200}, {"GET", "/assets/console.css", 200}, {"GET", "/assets/console.js", 200},
		{"GET", "/FIELDS/", 200}, {"GET", "/preview/value?tenant=x&field=y", 404}, {"GET", "/preview/value", 404}, {"HEAD", "/preview/value", 404},
		{"GET", "/preview/value?tenant=&field=TenantSummary", 404}, {"GET", "//", 404}, {"GET", "//preview", 404}, {"GET", "/preview//value", 404},
		{"GET", "/preview/value//", 404}, {"GET", "/preview%2Fvalue", 404}, {"GET", "/preview%252Fvalue", 404}, {"GET", "/%2F", 404},
		{"GET", "logbook", 404}, {"GET", "/organizations//progress", 404}, {"POST", "//sync", 404}, {"POST", "/engine%2F", 404},
		{"PUT", "/organizations", 405}, {"DELETE", "/checks", 405}, {"OPTIONS", "/sync", 405}, {"HEAD", "/sync", 405}, {"PATCH", "/settings", 405},
	} {
		a := w.do(tt.method, tt.path, nil)
		if a.status != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, a.status, tt.want)
		}
		if allow := a.header.Get("Allow"); (allow != "") != (tt.want == 405) || strings.Contains(allow, tt.method) {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, allow)
		}
		csp := a.header.Get("Content-Security-Policy")
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s %s: headers %v", tt.method, tt.path, a.header)
		}
	}
	// No link can make a page say what it likes.
	w.hasNot(w.get("/?done=%3Cb%3Ehello&n=1"), "hello")
	page := w.get("/organizations")
	w.hasNot(page, " style=", "<style", "onclick", "javascript:")
}
