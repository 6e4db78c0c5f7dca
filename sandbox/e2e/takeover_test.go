package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// nowhere is the listener of a command, which serves nothing.
type nowhere struct{ net.Listener }

// handler runs one of the bundle's commands with the settings of the app, and
// returns its status and what it printed.
func (w *world) handler(args ...string) (status int, out string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(appRoot, "handler"), args...)
	config := funchost.Config{Settings: w.Settings(), Listener: nowhere{}}
	for _, o := range w.options {
		o(&config)
	}
	for name, value := range config.Settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var printed, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &failed
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	w.checkPrivacy(printed.String() + failed.String())
	return cmd.ProcessState.ExitCode(), printed.String() + failed.String()
}

// served is what CIPP's own engine has left of a tenant.
type served struct {
	users     map[string]int // documents by user id
	licenses  map[string][]int
	departed  int            // document of a user who left
	gone      []int          // documents of a licence that the tenant has no more
	devices   map[string]int // NinjaOne devices by Entra device id
	undecided int            // NinjaOne device whose state Intune does not know
	left      int            // NinjaOne device that Intune has no more
	cached    []map[string]any
	documents int
}

// serve leaves behind what CIPP's engine leaves when it has synced a tenant for
// long: maps, documents (its licences threefold), working rows, and values.
func (w *world) serve(t *m365sim.Tenant) served {
	w.t.Helper()
	for _, table := range []string{"NinjaOneDeviceMap", "NinjaOneUserMap", "CacheNinjaOneParsedDevices", "CacheNinjaOneParsedUsers", "CacheNinjaOneUsersUpdate"} {
		if _, err := w.Tables.CreateTable(w.t.Context(), table, nil); err != nil && !strings.Contains(err.Error(), "TableAlreadyExists") {
			w.t.Fatal(err)
		}
	}
	organization := w.Seed.Organization(t.ID)
	item := func(name, kind string) ninjasim.TemplateItem {
		return ninjasim.TemplateItem{Name: name, Type: kind, APIPermission: "READ_WRITE", TechnicianPermission: "READ_ONLY"}
	}
	template := func(name string, items ...ninjasim.TemplateItem) int {
		for _, have := range w.NinjaOne.Templates() {
			if have.Name == name {
				return have.ID
			}
		}
		return w.NinjaOne.AddTemplate(ninjasim.Template{Name: name, AllowMultiple: true, AllTechnicians: true, Items: items})
	}
	users := template("CIPP - Microsoft 365 Users", item("cippUserLinks", "WYSIWYG"), item("cippUserSummary", "WYSIWYG"), item("cippUserDevices", "WYSIWYG"),
		item("cippUserGroups", "WYSIWYG"), item("cippUserID", "TEXT"), item("cippUserUPN", "TEXT"))
	licenses := template("CIPP - Microsoft 365 Licenses", item("cippLicenseSummary", "WYSIWYG"), item("cippLicenseUsers", "WYSIWYG"), item("cippLicenseID", "TEXT"))
	s := served{users: map[string]int{}, licenses: map[string][]int{}, devices: map[string]int{}}
	mapUser := func(id string, document int) {
		w.merge("NinjaOneUserMap", t.ID, id, map[string]any{"NinjaOneID": document, "M365ID": id})
	}
	t.View(func(t *m365sim.Tenant) {
		for _, u := range t.Users {
			s.users[u.ID()] = w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: users, Name: u.String("displayName"),
				Fields: map[string]string{"cippUserID": u.ID(), "cippUserUPN": u.String("userPrincipalName"), "cippUserSummary": "<p>of CIPP</p>"}})
			mapUser(u.ID(), s.users[u.ID()])
		}
		for _, sku := range t.SKUs {
			for range 3 {
				id := w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: licenses, Name: sku.String("skuPartNumber"),
					Fields: map[string]string{"cippLicenseID": sku.String("skuId"), "cippLicenseSummary": "<p>of CIPP</p>"}})
				s.licenses[sku.String("skuId")] = append(s.licenses[sku.String("skuId")], id)
			}
		}
		for _, d := range t.ManagedDevices {
			for _, n := range w.NinjaOne.Devices(organization) {
				if id := d.String("azureADDeviceId"); id != "" && n.SerialNumber == d.String("serialNumber") {
					s.devices[id] = n.ID
					w.merge("NinjaOneDeviceMap", t.ID, id, map[string]any{"NinjaOneID": n.ID, "M365ID": d.ID()})
					w.written(n.ID)
				}
			}
		}
	})
	t.Change(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			if id := s.devices[d.String("azureADDeviceId")]; id != 0 {
				d["complianceState"], s.undecided = "configManager", id
				break
			}
		}
	})
	s.left = 700000 + organization
	w.NinjaOne.AddDevice(ninjasim.Device{ID: s.left, OrganizationID: organization, SystemName: "LEFT-LONG-AGO", SerialNumber: "LEFT-LONG-AGO"})
	w.written(s.left)
	w.merge("NinjaOneDeviceMap", t.ID, "9d9d9d9d-0000-4000-8000-000000000002", map[string]any{"NinjaOneID": s.left, "M365ID": "9d9d9d9d-0000-4000-8000-000000000003"})
	const left = "9d9d9d9d-0000-4000-8000-000000000001"
	s.departed = w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: users, Name: "Left Long Ago",
		Fields: map[string]string{"cippUserID": left, "cippUserSummary": "<p>of CIPP</p>"}})
	mapUser(left, s.departed)
	for range 3 {
		s.gone = append(s.gone, w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: licenses, Name: "GONE LONG AGO",
			Fields: map[string]string{"cippLicenseID": "9d9d9d9d-0000-4000-8000-000000000004", "cippLicenseSummary": "<p>of CIPP</p>"}}))
		w.NinjaOne.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: s.gone[len(s.gone)-1], RelatedType: "DOCUMENT", RelatedID: s.departed})
	}
	w.NinjaOne.SetOrganizationField(organization, w.Seed.FieldMapping["TenantSummary"], "<p>of CIPP</p>")
	w.merge("CacheNinjaOneParsedDevices", t.ID, "left-over", map[string]any{"RawDevice": "{}"})
	w.merge("CacheNinjaOneParsedUsers", t.ID, "left-over", map[string]any{"Name": "n"})
	w.merge("CacheNinjaOneUsersUpdate", t.ID, "left-over", map[string]any{"Action": "Create", "Body": "{}"})
	s.cached, s.documents = w.cache(t.ID), len(w.NinjaOne.Documents(organization))
	return s
}

// written leaves behind what CIPP's engine writes on a device.
func (w *world) written(device int) {
	for field, value := range map[string]string{"DeviceSummary": "<p>of CIPP</p>", "DeviceLinks": "<p>of CIPP</p>", "DeviceCompliance": "Non-Compliant"} {
		w.NinjaOne.SetDeviceField(device, w.Seed.FieldMapping[field], value)
	}
}

// cache is what is in CIPP's working tables for a tenant.
func (w *world) cache(tenantID string) (rows []map[string]any) {
	for _, table := range []string{"CacheNinjaOneParsedDevices", "CacheNinjaOneParsedUsers", "CacheNinjaOneUsersUpdate"} {
		rows = append(rows, w.rows(table, "PartitionKey eq '"+tenantID+"'")...)
	}
	return rows
}

// schedule is what CIPP's scheduler looks at.
func (w *world) schedule() (syncTime float64, lastRun time.Time) {
	w.t.Helper()
	for _, r := range w.rows("NinjaOneSettings", "PartitionKey eq 'NinjaConfig'") {
		switch r["RowKey"] {
		case "NinjaSyncTime":
			syncTime, _ = r["SettingValue"].(float64)
		case "NinjaLastRunTime":
			lastRun, _ = time.Parse(time.RFC3339, fmt.Sprint(r["SettingValue"]))
		}
	}
	return syncTime, lastRun
}

// wantHeld checks whether CIPP's scheduler would ever start its engine.
func (w *world) wantHeld(held bool) {
	w.t.Helper()
	syncTime, lastRun := w.schedule()
	never := syncTime > 95 && lastRun.After(time.Now().AddDate(1, 0, 0))
	if soon := syncTime >= 1 && syncTime <= 94 && !lastRun.After(time.Now()); held && !never || !held && !soon {
		w.t.Errorf("the rows of CIPP's scheduler are %v and %v; want them held off: %v", syncTime, lastRun, held)
	}
}

// cippSubscribes leaves CIPP's subscriptions on devices in its table and at
// Graph.
func (w *world) cippSubscribes() (rows int) {
	w.t.Helper()
	list, err := seed.WriteCIPPSubscriptions(w.t.Context(), w.Storage.ConnectionString(), w.Seed)
	must(w.t, err)
	for _, s := range list {
		w.M365.AddSubscription(m365sim.Subscription{ID: s.SubscriptionID, TenantID: s.TenantID, Resource: "devices", ChangeType: "updated",
			NotificationURL: "https://" + w.Seed.CIPPHost + "/API/PublicWebhooks?CIPPID=" + s.CIPPID, Expires: time.Now().Add(20 * time.Hour)})
	}
	return len(w.rows("webhookTable", "PartitionKey ne ''"))
}

// TestTakeOverAndGiveBack rehearses what a provider does whose tenants CIPP's
// own engine has served: take over, live with a Force Sync, give back, take
// over again. docs/takeover.md is the guide that it follows.
func TestTakeOverAndGiveBack(t *testing.T) {
	t.Parallel()
	data := generated(2)
	data.Quirks = seed.Quirks{UserDocuments: true, LicenseDocuments: true, InstanceAsTyped: "https://eu.ninjarmm.com/ws", LegacyFieldPartition: true}
	for i := range data.Mappings {
		m := &data.Mappings[i]
		m.LastStart, m.LastEnd, m.LastStatus = time.Now().Add(-22*time.Hour), time.Now().Add(-21*time.Hour), "Completed"
	}
	data.Mappings[0].StartAsDateTime, data.Mappings[1].ByDomain = true, true
	w := start(t, data, reachable(t))
	before := map[string]served{}
	for _, tenant := range data.Tenants {
		before[tenant.ID] = w.serve(tenant)
	}
	newest := data.Tenants[1] // served by CIPP as it is today
	newer := w.serveNewer(newest, before[newest.ID])
	left := before[newest.ID]
	left.documents++
	before[newest.ID] = left
	webhooks := w.cippSubscribes()
	mapped := w.rows("CippMapping", "PartitionKey ne ''")
	syncTimeOfCIPP, _ := w.schedule()

	// What would go wrong, before anything was started.
	status, out := w.handler("check", "-json")
	var report struct {
		Sections []struct {
			Name     string
			Findings []struct{ Level, What string }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 1 {
		t.Fatalf("check ended with %d: %v\n%s", status, err, out)
	}
	for _, want := range []string{"CIPP's own NinjaOne sync is not held off.", "CIPP has 2 Graph subscriptions on devices of its own."} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q", want)
		}
	}

	w.restart() // all timers are on from here

	// The first minute.
	if n := w.tick(); n != 2 {
		t.Fatalf("%d tenants were queued, want both", n)
	}
	w.wantHeld(true)
	for _, tenant := range data.Tenants {
		if slices.ContainsFunc(w.M365.Subscriptions(tenant.ID), func(s m365sim.Subscription) bool { return strings.Contains(s.NotificationURL, "PublicWebhooks") }) {
			t.Errorf("CIPP still has a subscription on the devices of %s", tenant.DefaultDomain)
		}
	}
	if rows := w.rows("webhookTable", "PartitionKey ne ''"); len(rows) != webhooks-2 ||
		slices.ContainsFunc(rows, func(r map[string]any) bool { return r["EventType"] == "DeviceUpdate" }) {
		t.Errorf("of CIPP's %d subscriptions, these rows are left: %v", webhooks, rows)
	}
	w.synced(2)
	for _, tenant := range data.Tenants {
		w.adopted(tenant, before[tenant.ID])
	}
	w.adoptedNewer(newer, before[newest.ID])
	w.correct(data.Tenants[0].DefaultDomain, data.Tenants[1].DefaultDomain)
	if now := w.rows("CippMapping", "PartitionKey ne ''"); len(now) != len(mapped) {
		t.Errorf("CIPP's mappings were %d rows, and are %d", len(mapped), len(now))
	}
	for _, action := range w.NinjaOne.DocumentWrites() {
		if action.Action == "created" || action.Action == "template created" {
			t.Errorf("something was created although CIPP had made it: %+v", action)
		}
	}

	// Subscriptions of our own, and a clean bill.
	w.run("RenewSubscriptions")
	for _, tenant := range data.Tenants {
		w.subscription(tenant.ID)
	}
	if status, out := w.handler("check"); status != 0 {
		t.Errorf("check ended with %d after the take-over:\n%s", status, out)
	}

	// Somebody presses Force Sync in CIPP.
	w.merge("NinjaOneSettings", "NinjaConfig", "NinjaLastRunTime", map[string]any{"SettingValue": time.Now().UTC().Format("2006-01-02T15:04:05.000Z")})
	w.tick()
	w.wantHeld(true)
	for _, i := range w.synced(4)[2:] {
		if !strings.Contains(i.Message, `"force":true`) {
			t.Errorf("the Force Sync was answered with %s", i.Message)
		}
	}
	forced := time.Now()

	// Given back.
	if status, out := w.handler("give-back"); status != 0 || !strings.Contains(out, "given back") {
		t.Fatalf("give-back ended with %d: %s", status, out)
	}
	w.wantHeld(false)
	w.givenBackNewer(newer)
	if now, last := w.schedule(); now != syncTimeOfCIPP || last.After(forced) {
		t.Errorf("CIPP's schedule is given back as %v and %v; it was %v", now, last, syncTimeOfCIPP)
	}
	w.run("RenewSubscriptions")
	writes, documents := len(w.NinjaOne.Writes()), len(w.NinjaOne.DocumentWrites())
	for _, timer := range []string{"ScheduleTenants", "SweepCompliance", "RenewSubscriptions", "WatchTenants"} {
		w.run(timer)
	}
	for _, tenant := range data.Tenants {
		if n := len(w.M365.Subscriptions(tenant.ID)); n != 0 {
			t.Errorf("%d subscriptions of ours are left in %s", n, tenant.DefaultDomain)
		}
		w.merge(stateTable, "run", tenant.ID, map[string]any{"Queued": time.Now().UTC().Format(time.RFC3339), "Queued@odata.type": "Edm.DateTime"})
		w.send(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, tenant.ID))
		for _, run := range w.rows(stateTable, "PartitionKey eq 'run' and RowKey eq '"+tenant.ID+"'") {
			if run["Queued"] != nil {
				t.Errorf("%s waits for a message that nothing came of: %v", tenant.DefaultDomain, run)
			}
		}
		w.send(complianceQueue, fmt.Sprintf(`{"tenantId":%q}`, tenant.ID))
	}
	if n := len(w.NinjaOne.Writes()) - writes + len(w.NinjaOne.DocumentWrites()) - documents; n > 0 {
		t.Errorf("%d writes to NinjaOne after CIPP's engine was given back", n)
	}
	w.wantHeld(false)

	// CIPP's engine runs, subscribes and writes; then it is held off again.
	w.merge("NinjaOneSettings", "NinjaConfig", "NinjaLastRunTime", map[string]any{"SettingValue": time.Now().UTC().Format("2006-01-02T15:04:05.000Z")})
	w.cippSubscribes()
	device := w.anyDevice(before[data.Tenants[0].ID])
	w.NinjaOne.SetDeviceField(device, data.FieldMapping["DeviceSummary"], "<p>of CIPP again</p>")
	if status, out := w.handler("hold-off"); status != 0 || !strings.Contains(out, "held off") {
		t.Fatalf("hold-off ended with %d: %s", status, out)
	}
	w.wantHeld(true)
	if rows := w.rows("webhookTable", "EventType eq 'DeviceUpdate'"); len(rows) > 0 {
		t.Errorf("CIPP's subscriptions are left: %v", rows)
	}
	w.await("the syncs after the second take-over", func() bool {
		forced := map[string]bool{}
		for _, i := range w.done {
			if i.Function == "SyncTenant" && strings.Contains(i.Message, `"force":true`) {
				forced[i.ID] = true
			}
		}
		return len(forced) >= 4
	})
	if text := w.deviceText(device, "DeviceSummary"); strings.Contains(text, "of CIPP") {
		t.Errorf("the device still shows what CIPP wrote: %s", text)
	}
	w.correct(data.Tenants[0].DefaultDomain, data.Tenants[1].DefaultDomain)
}

func (w *world) anyDevice(s served) int {
	for _, id := range s.devices {
		return id
	}
	w.t.Fatal("the tenant has no device")
	return 0
}

// adopted checks that our first sync of a tenant took what CIPP had made for
// its own.
func (w *world) adopted(tenant *m365sim.Tenant, before served) {
	w.t.Helper()
	organization := w.Seed.Organization(tenant.ID)
	documents := map[int]ninjasim.Document{}
	for _, d := range w.NinjaOne.Documents(organization) {
		documents[d.ID] = d
	}
	if len(documents) != before.documents {
		w.t.Errorf("%s had %d documents, and has %d", tenant.DefaultDomain, before.documents, len(documents))
	}
	for user, id := range before.users {
		if d := documents[id]; d.Archived || strings.Contains(d.Fields["cippUserSummary"], "of CIPP") {
			w.t.Errorf("the document of user %s was not taken over: %+v", user, d.Name)
		}
	}
	for sku, ids := range before.licenses {
		var live []int
		for _, id := range ids {
			if !documents[id].Archived {
				live = append(live, id)
			}
		}
		if len(live) != 1 {
			w.t.Errorf("of the documents of licence %s, %d are left, want one", sku, len(live))
		}
	}
	if !documents[before.departed].Archived {
		w.t.Error("the document of a user who left was not archived")
	}
	for _, id := range before.gone {
		if !documents[id].Archived {
			w.t.Error("a document of a licence that is gone was not archived")
		}
	}
	for device, fields := range map[int][]string{before.undecided: {"DeviceCompliance"}, before.left: {"DeviceCompliance", "DeviceSummary", "DeviceLinks"}} {
		for _, f := range fields {
			if text := w.deviceText(device, f); text != "" {
				w.t.Errorf("device %d of %s still shows %q as %s", device, tenant.DefaultDomain, text, f)
			}
		}
	}
	devices := map[string]int{}
	for _, r := range w.rows("NinjaOneDeviceMap", "PartitionKey eq '"+tenant.ID+"'") {
		id, _ := r["NinjaOneID"].(float64)
		devices[r["RowKey"].(string)] = int(id)
	}
	for entra, id := range before.devices {
		if devices[entra] != id {
			w.t.Errorf("device %s was mapped to %d, and is to %d", entra, id, devices[entra])
		}
	}
	for _, r := range w.rows("NinjaOneUserMap", "PartitionKey eq '"+tenant.ID+"'") {
		id, _ := r["NinjaOneID"].(float64)
		if want, ok := before.users[r["RowKey"].(string)]; ok && want != int(id) {
			w.t.Errorf("user %v was mapped to document %d, and is to %v", r["RowKey"], want, id)
		}
	}
	if diff := cmp.Diff(before.cached, w.cache(tenant.ID)); diff != "" {
		w.t.Errorf("CIPP's working rows were changed (-before +after):\n%s", diff)
	}
	if text := w.organizationText(tenant.DefaultDomain, "TenantSummary"); strings.Contains(text, "of CIPP") {
		w.t.Error("the organization still shows what CIPP wrote")
	}
	if got := w.status(tenant.ID); got != "Completed" {
		w.t.Errorf("lastStatus of %s is %q", tenant.DefaultDomain, got)
	}
}
