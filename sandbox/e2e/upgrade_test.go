package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/stack"
)

const stateTable = "NinjaOneSyncState"

// ownState is all that the app keeps: rows and blobs, byte for byte. Leases are
// no content.
func (w *world) ownState() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, table := range []string{stateTable, "NinjaOneSubscriptions"} {
		for _, r := range w.rows(table, "PartitionKey ne ''") {
			b, err := json.Marshal(r)
			must(w.t, err)
			all[fmt.Sprintf("%s %v %v", table, r["PartitionKey"], r["RowKey"])] = string(b)
		}
	}
	c := w.blobs.ServiceClient().NewContainerClient(syncQueue)
	for pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{}); pager.More(); {
		page, err := pager.NextPage(context.Background())
		must(w.t, err)
		for _, item := range page.Segment.BlobItems {
			resp, err := c.NewBlobClient(*item.Name).DownloadStream(context.Background(), nil)
			must(w.t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			must(w.t, err)
			all["blob "+*item.Name] = string(*resp.ETag) + " " + string(body)
		}
	}
	return all
}

// replace writes a row whole.
func (w *world) replace(table string, row map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(row)
	must(w.t, err)
	_, err = w.Tables.NewClient(table).UpsertEntity(context.Background(), body, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeReplace})
	must(w.t, err)
}

// TestOtherVersions: the state and the messages of a newer version are left alone, and
// rows of before there were versions are read as they are.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	w := start(t, generated(2))
	for _, tenant := range w.Seed.Tenants {
		w.sync(tenant.DefaultDomain).completed()
	}
	for _, part := range []struct {
		name string
		test func(t *testing.T, w *world, first, second *m365sim.Tenant)
	}{
		{"rows without versions", testRowsWithoutVersions}, {"state of a newer version", testStateOfNewerVersion},
		{"messages of a newer version", testMessagesOfNewerVersion}, {"rows of a newer version", testRowsOfNewerVersion},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, w, w.Seed.Tenants[0], w.Seed.Tenants[1]) })
		for _, queue := range []string{syncQueue, complianceQueue, "ninjaone-automap"} {
			w.empty(queue)
		}
	}
}

// Once a newer handler has stamped the state, this one
// leaves rows and blobs byte for byte as they are, loses no message, writes
// nothing to NinjaOne, and says so.
func testStateOfNewerVersion(t *testing.T, w *world, first, second *m365sim.Tenant) {
	w.run("RenewSubscriptions")

	w.merge(stateTable, "layout", "version", map[string]any{"Version": 2, "Later": "a column of the newer version"})
	w.merge(stateTable, "run", second.ID, map[string]any{"Version": 2, "Status": "Paused by moonlight"})
	w.merge(stateTable, "engine", "hold", map[string]any{"Version": 2, "Holders": "two"})
	before, writes := w.ownState(), len(w.NinjaOne.Writes())
	for _, timer := range []string{"ScheduleTenants", "SweepCompliance", "RenewSubscriptions", "WatchTenants"} {
		w.run(timer)
	}
	texts := map[string]string{
		syncQueue:          fmt.Sprintf(`{"tenantId":%q,"force":true}`, first.ID),
		complianceQueue:    fmt.Sprintf(`{"tenantId":%q}`, first.ID),
		"ninjaone-automap": `{ "tenantId" : "` + second.ID + `" }`,
	}
	for queue, text := range texts {
		if i := w.send(queue, text); i.Err != nil {
			t.Errorf("the message on %s failed: %v", queue, i.Err)
		}
	}
	for path, method := range map[string]string{"/api/ExecExtensionSync?Extension=NinjaOne": http.MethodGet, "/api/ninjaone/console/pause": http.MethodPost} {
		if status, body := w.call(method, path, "tenant=everyone&paused=true"); status != http.StatusServiceUnavailable || !strings.Contains(body, "newer version") {
			t.Errorf("%s is answered %d %s", path, status, body)
		}
	}
	// A process tells of its pace a while after the calls: of those before the stamp too.
	pace := cmpopts.IgnoreMapEntries(func(key, _ string) bool { return strings.HasPrefix(key, stateTable+" pace ") })
	if diff := cmp.Diff(before, w.ownState(), pace); diff != "" {
		t.Errorf("the newer version's state was changed (-before +after):\n%s", diff)
	}
	if n := len(w.NinjaOne.Writes()) - writes; n > 0 {
		t.Errorf("%d writes to NinjaOne", n)
	}
	for queue := range texts {
		if n := w.waiting(queue); n != 1 {
			t.Errorf("%d messages are on %s, want the one that was put back", n, queue)
		}
		if n := w.waiting(queue + "-poison"); n > 0 {
			t.Errorf("%d messages were given up on %s", n, queue)
		}
	}
	lines := slices.DeleteFunc(w.logbook("None"), func(l string) bool { return !strings.Contains(l, "newer version") })
	if len(lines) != 1 || !strings.Contains(lines[0], "Error: ") || !strings.Contains(lines[0], "Deploy the newer version again") {
		t.Errorf("the logbook says %q", lines)
	}

	// The newer version is deployed again, or what it wrote was put back.
	w.merge(stateTable, "layout", "version", map[string]any{"Version": 1})
	w.merge(stateTable, "engine", "hold", map[string]any{"Version": 1})
	w.merge(stateTable, "run", second.ID, map[string]any{"Version": 1, "Status": "Completed"})
	w.sync(first.DefaultDomain).completed()
}

// Even without the stamp, no row of a newer version is
// misread or written over; other tenants go on.
func testRowsOfNewerVersion(t *testing.T, w *world, first, second *m365sim.Tenant) {
	for _, r := range w.rows(stateTable, "PartitionKey ne ''") {
		if strings.Contains(fmt.Sprint(r["PartitionKey"]), fmt.Sprintf("|%d", w.Seed.Organization(first.ID))) || r["RowKey"] == first.ID {
			w.merge(stateTable, r["PartitionKey"].(string), r["RowKey"].(string), map[string]any{"Version": 2, "Fields": `{"field":{"digest":"of another kind"}}`})
		}
	}
	newer := func() map[string]string {
		state := w.ownState()
		for name, row := range state {
			if !strings.Contains(row, `"Version":2`) {
				delete(state, name)
			}
		}
		return state
	}
	before, writes := newer(), len(w.NinjaOne.Writes())
	if len(before) < 3 {
		t.Fatalf("only %d rows are of a newer version", len(before))
	}
	if i := w.send(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":true}`, first.ID)); i.Err != nil {
		t.Errorf("the message failed: %v", i.Err)
	}
	if n := w.waiting(syncQueue); n != 1 {
		t.Errorf("%d messages are on the queue, want the one that was put back", n)
	}
	if diff := cmp.Diff(before, newer()); diff != "" {
		t.Errorf("rows of the newer version were changed (-before +after):\n%s", diff)
	}
	if n := len(w.NinjaOne.Writes()) - writes; n > 0 {
		t.Errorf("%d writes to NinjaOne", n)
	}
	if !slices.ContainsFunc(w.logbook("None"), func(l string) bool {
		return strings.Contains(l, "a newer version of this app wrote it; deploy that version again")
	}) {
		t.Errorf("the logbook does not say why: %q", w.logbook("None"))
	}
	w.sync(second.DefaultDomain).completed()
}

// What a message holds beside what is known is
// tolerated; one that says that it needs a newer handler goes back unread.
func testMessagesOfNewerVersion(t *testing.T, w *world, tenant, _ *m365sim.Tenant) {
	w.syncMessage(tenant.DefaultDomain, fmt.Sprintf(`{"tenantId":%q,"force":false,"colour":"blue","parts":["users"]}`, tenant.ID)).completed()
	w.syncMessage(tenant.DefaultDomain, fmt.Sprintf(`{"tenantId":%q,"force":true,"version":2}`, tenant.ID)).wroteNothing()
	if n := w.waiting(syncQueue); n != 1 {
		t.Errorf("%d messages are on the queue, want the one that was put back", n)
	}
	if !slices.ContainsFunc(w.logbook("None"), func(l string) bool {
		return strings.Contains(l, "message on the queue "+syncQueue+" is of a newer version") && strings.Contains(l, "Deploy the newer version again")
	}) {
		t.Errorf("the logbook does not say so: %q", w.logbook("None"))
	}
}

// The rows that were written before rows had versions, or
// before there was a stamp, are read as they are: nothing is written again.
func testRowsWithoutVersions(t *testing.T, w *world, first, _ *m365sim.Tenant) {
	w.remove(stateTable, "layout", "version")
	rows := w.rows(stateTable, "PartitionKey ne ''")
	for _, r := range rows {
		if fmt.Sprint(r["Version"]) != "1" {
			t.Errorf("a row does not say which version wrote it: %v", r)
		}
		for _, column := range []string{"Version", "Timestamp", "odata.etag"} {
			delete(r, column)
		}
		w.replace(stateTable, r)
	}
	w.sync(first.DefaultDomain).completed().wroteNothing().quiet()
	if stamp := w.rows(stateTable, "PartitionKey eq 'layout'"); len(stamp) != 1 || fmt.Sprint(stamp[0]["Version"]) != "1" {
		t.Errorf("the stamp is %v", stamp)
	}
}

// TestUpgradeAndRollback does what the guide says: the older version is stopped in
// the middle of the syncs of several tenants and the newer one started, and back.
// No message is lost, and nothing is written again but what NinjaOne accepted of
// the batches that were under way.
func TestUpgradeAndRollback(t *testing.T) {
	t.Parallel()
	data := generated(4)
	synced, swept := data.Tenants[:3], data.Tenants[3]
	older, newer := appRoot, t.TempDir()
	must(t, stack.Build(t.Context(), newer, "v2.0.0-newer")) // appRoot is of the version development
	must(t, stack.SlowTimers(newer))
	running := older
	w := start(t, data, comesBackSoon, func(c *funchost.Config) { c.AppRoot = running })
	w.sync(swept.DefaultDomain).completed()
	device := data.NinjaDevices[slices.IndexFunc(data.NinjaDevices, func(d ninjasim.Device) bool { return d.OrganizationID == data.Organization(swept.ID) })+2]
	for i, step := range []struct{ to, version, state, shows string }{
		{newer, "v2.0.0-newer", "noncompliant", "Non-Compliant"},
		{older, "development", "compliant", "Compliant"},
	} {
		for _, tenant := range synced {
			tenant.Change(func(tn *m365sim.Tenant) {
				for n, d := range tn.ManagedDevices {
					d["complianceState"] = []string{"compliant", "noncompliant"}[(n+i)%2]
				}
			})
		}
		w.changeDevice(swept.DefaultDomain, device.SerialNumber, func(d m365sim.Entity) { d["complianceState"] = step.state })
		writes, accepted := len(w.NinjaOne.Writes()), 0
		w.await("the writes so far", func() bool { accepted = w.accepted(); return true })
		w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Skip: 10, Hang: true})
		for _, tenant := range synced {
			w.put(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, tenant.ID))
		}
		w.await("10 accepted writes", func() bool { return w.accepted() == accepted+10 })

		w.Host.Stop()
		w.NinjaOne.ClearFaults()
		w.expireLeases("")
		// What comes while nothing runs waits.
		for queue, text := range map[string]string{complianceQueue: fmt.Sprintf(`{"tenantId":%q}`, swept.ID), "ninjaone-automap": `{}`} {
			w.enqueue(queue, text)
		}
		running = step.to
		w.boot()
		w.await("the log to tell the version", func() bool {
			return slices.ContainsFunc(w.lines, func(line string) bool {
				return strings.Contains(line, `"msg":"listening"`) && strings.Contains(line, `"version":"`+step.version+`"`)
			})
		})
		queues := []string{syncQueue, complianceQueue, "ninjaone-automap"}
		w.poll("all messages to be handled", func() bool {
			return !slices.ContainsFunc(queues, func(queue string) bool { return w.waiting(queue) > 0 })
		})
		for _, queue := range queues {
			if n := w.waiting(queue + "-poison"); n > 0 {
				t.Errorf("%d messages were given up on %s", n, queue)
			}
		}
		for _, tenant := range synced {
			if got := w.status(tenant.ID); got != "Completed" {
				t.Errorf("the run of %s ended as %q:\n%v", tenant.DefaultDomain, got, w.logbook(tenant.DefaultDomain))
			}
			w.correct(tenant.DefaultDomain)
		}
		// What the batches under way had not settled is sent again, and nothing else.
		again := 0
		for _, write := range w.NinjaOne.Writes()[writes:] {
			if len(write.Repeated) > 0 {
				again++
			}
		}
		if again > 10 {
			t.Errorf("%s: %d targets were written again, of 10 that NinjaOne had accepted", step.version, again)
		}
		for _, tenant := range synced {
			w.sync(tenant.DefaultDomain).completed().wroteNothing().quiet()
		}
		if got := w.deviceText(device.ID, "DeviceCompliance"); got != step.shows {
			t.Errorf("the message that waited wrote %q, want %q", got, step.shows)
		}
	}
}
