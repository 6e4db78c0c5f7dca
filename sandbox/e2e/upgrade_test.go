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

	"cipp-ninjaone/sandbox/funchost"
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
			if err != nil {
				w.t.Fatal(err)
			}
			all[fmt.Sprintf("%s %v %v", table, r["PartitionKey"], r["RowKey"])] = string(b)
		}
	}
	c := w.blobs.ServiceClient().NewContainerClient(syncQueue)
	for pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{}); pager.More(); {
		page, err := pager.NextPage(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			resp, err := c.NewBlobClient(*item.Name).DownloadStream(context.Background(), nil)
			if err != nil {
				w.t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				w.t.Fatal(err)
			}
			all["blob "+*item.Name] = string(*resp.ETag) + " " + string(body)
		}
	}
	return all
}

// replace writes a row whole.
func (w *world) replace(table string, row map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(row)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.tables.NewClient(table).UpsertEntity(context.Background(), body, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeReplace})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestStateOfNewerVersion: once a newer handler has stamped the state, this one
// leaves rows and blobs byte for byte as they are, loses no message, writes
// nothing to NinjaOne, and says so.
func TestStateOfNewerVersion(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	first, second := data.Tenants[0], data.Tenants[1]
	w.sync(first.DefaultDomain).completed()
	w.run("RenewSubscriptions")

	w.merge(stateTable, "layout", "version", map[string]any{"Version": 2, "Later": "a column of the newer version"})
	w.merge(stateTable, "run", second.ID, map[string]any{"Version": 2, "Status": "Paused by moonlight"})
	w.merge(stateTable, "engine", "hold", map[string]any{"Version": 2, "Holders": "two"})
	before, writes := w.ownState(), len(w.NinjaOne.Writes())
	for _, timer := range []string{"ScheduleTenants", "SweepCompliance", "RenewSubscriptions"} {
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
	for _, path := range []string{"/api/ExecExtensionSync?Extension=NinjaOne", "/api/ninjaone/console/pause"} {
		method := http.MethodGet
		if strings.Contains(path, "console") {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, w.Host.URL()+path, strings.NewReader("tenant=everyone&paused=true"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Dev-Token", w.DevToken())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "newer version") {
			t.Errorf("%s is answered %d %s", path, resp.StatusCode, body)
		}
	}
	if diff := cmp.Diff(before, w.ownState()); diff != "" {
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
	w.sync(first.DefaultDomain).completed()
}

// TestRowsOfNewerVersion: even without the stamp, no row of a newer version is
// misread or written over; other tenants go on.
func TestRowsOfNewerVersion(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	first, second := data.Tenants[0], data.Tenants[1]
	w.sync(first.DefaultDomain).completed()
	w.sync(second.DefaultDomain).completed()
	for _, r := range w.rows(stateTable, "PartitionKey ne ''") {
		if strings.Contains(fmt.Sprint(r["PartitionKey"]), fmt.Sprintf("|%d", data.Organization(first.ID))) || r["RowKey"] == first.ID {
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

// TestMessagesOfNewerVersion: what a message holds beside what is known is
// tolerated; one that says that it needs a newer handler goes back unread.
func TestMessagesOfNewerVersion(t *testing.T) {
	t.Parallel()
	data := generated(1)
	w := start(t, data)
	tenant := data.Tenants[0]
	w.observe(tenant.DefaultDomain, func() funchost.Invocation {
		return w.send(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false,"colour":"blue","parts":["users"]}`, tenant.ID))
	}).completed()
	text := fmt.Sprintf(`{"tenantId":%q,"force":true,"version":2}`, tenant.ID)
	w.observe(tenant.DefaultDomain, func() funchost.Invocation { return w.send(syncQueue, text) }).wroteNothing()
	if n := w.waiting(syncQueue); n != 1 {
		t.Errorf("%d messages are on the queue, want the one that was put back", n)
	}
	if !slices.ContainsFunc(w.logbook("None"), func(l string) bool {
		return strings.Contains(l, "message on the queue "+syncQueue+" is of a newer version") && strings.Contains(l, "Deploy the newer version again")
	}) {
		t.Errorf("the logbook does not say so: %q", w.logbook("None"))
	}
}

// TestRowsOfToday: the rows that were written before rows had versions, or
// before there was a stamp, are read as they are: nothing is written again.
func TestRowsOfToday(t *testing.T) {
	t.Parallel()
	data := generated(1)
	w := start(t, data)
	domain := data.Tenants[0].DefaultDomain
	w.sync(domain).completed()
	w.remove(stateTable, "layout", "version")
	rows := w.rows(stateTable, "PartitionKey ne ''")
	for _, r := range rows {
		for _, column := range []string{"Version", "Timestamp", "odata.etag"} {
			delete(r, column)
		}
		w.replace(stateTable, r)
	}
	w.sync(domain).completed().wroteNothing().quiet()
	if stamp := w.rows(stateTable, "PartitionKey eq 'layout'"); len(stamp) != 1 || fmt.Sprint(stamp[0]["Version"]) != "1" {
		t.Errorf("the stamp is %v", stamp)
	}
}
