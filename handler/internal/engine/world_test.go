package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/seed"
)

// midnight is when the tests' time begins.
var midnight = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// world is a CIPP that has run its own engine until midnight, and a Hold.
type world struct {
	*Hold
	t          *testing.T
	connection string
	account    *storage.Account
	seed       *seed.Seed
	subs       []seed.DeviceSubscription
	graph      *graph
	now        time.Time
	tables     *aztables.ServiceClient
	queue      *azqueue.QueueClient
	mapped     []string // tenants that a sync can be queued for
	messages   int      // taken from the queue so far
}

// graph is Microsoft Graph's side of the subscriptions.
type graph struct {
	mu      sync.Mutex
	removed map[string]int   // by tenant and subscription id
	fail    map[string]error // by tenant id
}

func (g *graph) Unsubscribe(_ context.Context, ref tenant.Ref, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.fail[ref.ID]; err != nil {
		return err
	}
	g.removed[ref.ID+" "+id]++
	return nil
}

var must = fail.If

func newWorld(t *testing.T) *world {
	t.Helper()
	connection := azuritetest.ForTest(t).Apart().ConnectionString()
	account := storagetest.Open(t, connection)
	w := &world{t: t, connection: connection, account: account, seed: seed.MSPAt(midnight), graph: &graph{removed: map[string]int{}, fail: map[string]error{}}, now: midnight}
	var err error
	w.tables, err = aztables.NewServiceClientFromConnectionString(connection, nil)
	must(t, err)
	must(t, seed.WriteCIPPTables(t.Context(), connection, w.seed))
	w.subs, err = seed.WriteCIPPSubscriptions(t.Context(), connection, w.seed)
	must(t, err)
	own, queue := azuritetest.UniqueName(t), azuritetest.UniqueName(t)
	w.queue, err = azqueue.NewQueueClientFromConnectionString(connection, queue, nil)
	must(t, err)
	w.Hold = &Hold{
		CIPP:     cipptest.Store(account),
		Runs:     runs.New(account.Table(own)),
		Problems: &problems.Book{Table: account.Table(own), Log: cipptest.Store(account).Log, API: apiName},
		Table:    account.Table(own),
		Queue:    account.Queue(queue),
		Graph:    w.graph,
		Now:      func() time.Time { return w.now },
		Log:      slog.New(slog.DiscardHandler),
	}
	tenants, err := w.CIPP.Tenants(t.Context())
	must(t, err)
	for _, m := range w.mappings() {
		if m.Problem == "" && slices.ContainsFunc(tenants, func(k cipp.Tenant) bool { return k.ID == m.TenantID }) {
			w.mapped = append(w.mapped, m.TenantID)
		}
	}
	slices.Sort(w.mapped)
	if len(w.mapped) < 3 || len(w.subs) < 3 {
		t.Fatalf("the seed has only %d mapped tenants and %d subscriptions", len(w.mapped), len(w.subs))
	}
	return w
}

// through returns CIPP's tables as seen through a proxy that shows each request to
// pass before it is passed on. One that does not pass is refused.
func (w *world) through(pass func(r *http.Request, body []byte) bool) *cipp.Store {
	w.t.Helper()
	connection := w.connection
	_, endpoint, _ := strings.Cut(connection, "TableEndpoint=")
	endpoint, _, _ = strings.Cut(endpoint, ";")
	target, err := url.Parse(endpoint)
	must(w.t, err)
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		if !pass(r, body) {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(proxy.Close)
	address := strings.Replace(endpoint, target.Scheme+"://"+target.Host, proxy.URL, 1)
	return cipptest.Store(storagetest.Open(w.t, strings.Replace(connection, endpoint, address, 1)))
}

// secrets returns CIPP's secrets, from the table that holds them in development.
func (w *world) secrets() *cipp.Secrets {
	w.t.Helper()
	secrets, err := cipp.OpenSecrets(func(name string) string {
		return map[string]string{"NonLocalHostAzurite": "true"}[name]
	}, w.account)
	must(w.t, err)
	return secrets
}

func (w *world) tick() {
	w.t.Helper()
	must(w.t, w.Tick(w.t.Context()))
}

func (w *world) mappings() []cipp.OrganizationMapping {
	w.t.Helper()
	mappings, err := w.CIPP.OrganizationMappings(w.t.Context())
	must(w.t, err)
	return mappings
}

// rows reads a table as CIPP would, past our own code.
func (w *world) rows(table, filter string) []map[string]any {
	w.t.Helper()
	var list []map[string]any
	o := &aztables.ListEntitiesOptions{}
	if filter != "" {
		o.Filter = &filter
	}
	for pager := w.tables.NewClient(table).NewListEntitiesPager(o); pager.More(); {
		page, err := pager.NextPage(w.t.Context())
		var re *azcore.ResponseError
		if errors.As(err, &re) && re.StatusCode == http.StatusNotFound {
			return nil
		}
		must(w.t, err)
		for _, b := range page.Entities {
			var r map[string]any
			must(w.t, json.Unmarshal(b, &r))
			list = append(list, r)
		}
	}
	return list
}

// write merges columns into a row as CIPP would.
func (w *world) write(table, partition, key string, columns map[string]any) {
	w.t.Helper()
	e := map[string]any{"PartitionKey": partition, "RowKey": key}
	for name, v := range columns {
		e[name] = v
	}
	b, err := json.Marshal(e)
	must(w.t, err)
	_, err = w.tables.NewClient(table).UpsertEntity(w.t.Context(), b, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge})
	must(w.t, err)
}

func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (w *world) setLastRun(at time.Time) {
	w.t.Helper()
	w.write("NinjaOneSettings", "NinjaConfig", "NinjaLastRunTime", map[string]any{"SettingValue": iso(at)})
}

// settings returns the scheduler's rows as they are stored.
func (w *world) settings() (syncTime, lastRun any) {
	w.t.Helper()
	for _, r := range w.rows("NinjaOneSettings", "PartitionKey eq 'NinjaConfig'") {
		switch r["RowKey"] {
		case "NinjaSyncTime":
			syncTime = r["SettingValue"]
		case "NinjaLastRunTime":
			lastRun = r["SettingValue"]
		}
	}
	return syncTime, lastRun
}

// configure changes CIPP's NinjaOne settings.
func (w *world) configure(property string, value any) {
	w.t.Helper()
	r := w.rows("Extensionsconfig", "")[0]
	var all map[string]map[string]any
	must(w.t, json.Unmarshal([]byte(r["config"].(string)), &all))
	all["NinjaOne"][property] = value
	b, err := json.Marshal(all)
	must(w.t, err)
	w.write("Extensionsconfig", "CippExtensions", "Config", map[string]any{"config": string(b)})
}

// take empties the queue and returns the tenants that a forced sync was queued
// for. A message that forces nothing is a mistake.
func (w *world) take() []string {
	w.t.Helper()
	var ids []string
	for {
		n := int32(32)
		resp, err := w.queue.DequeueMessages(w.t.Context(), &azqueue.DequeueMessagesOptions{NumberOfMessages: &n})
		var re *azcore.ResponseError
		if errors.As(err, &re) && re.StatusCode == http.StatusNotFound {
			return nil
		}
		must(w.t, err)
		if len(resp.Messages) == 0 {
			slices.Sort(ids)
			w.messages += len(ids)
			return ids
		}
		for _, m := range resp.Messages {
			message, err := tenantsync.ParseMessage(storage.DecodeMessage(*m.MessageText))
			must(w.t, err)
			if !message.Force {
				w.t.Errorf("the message for %s forces nothing", message.TenantID)
			}
			ids = append(ids, message.TenantID)
			_, err = w.queue.DeleteMessage(w.t.Context(), *m.MessageID, *m.PopReceipt, nil)
			must(w.t, err)
		}
	}
}

// sync leaves behind what a sync of ours leaves, for each of the tenants.
func (w *world) sync(ids ...string) {
	w.t.Helper()
	for _, m := range w.mappings() {
		if !slices.Contains(ids, m.TenantID) {
			continue
		}
		start := w.now.Add(1234567 * time.Nanosecond)
		r := runs.Run{TenantID: m.TenantID, Status: runs.Completed, Start: start, End: start.Add(time.Minute)}
		must(w.t, w.Runs.Save(w.t.Context(), r))
		must(w.t, w.CIPP.RecordRun(w.t.Context(), m, r.Start, time.Time{}, runs.Running))
		must(w.t, w.CIPP.RecordRun(w.t.Context(), m, time.Time{}, r.End, r.Status))
	}
}

// cippRuns writes what CIPP's engine writes about a run of a tenant. A zero
// end is one that has not come.
func (w *world) cippRuns(tenantID string, start, end time.Time) {
	w.t.Helper()
	for _, r := range w.rows("CippMapping", fmt.Sprintf("RowKey eq '%s' or RowKey eq '%s'", tenantID, w.domain(tenantID))) {
		if r["PartitionKey"] != "NinjaOneMapping" && r["PartitionKey"] != "NinjaOrgsMapping" {
			continue
		}
		columns := map[string]any{"lastStartTime": iso(start), "lastStatus": "Running"}
		if !end.IsZero() {
			columns["lastEndTime"], columns["lastStatus"] = iso(end), "Completed"
		}
		w.write("CippMapping", r["PartitionKey"].(string), r["RowKey"].(string), columns)
	}
}

func (w *world) domain(tenantID string) string {
	for _, t := range w.seed.Tenants {
		if t.ID == tenantID {
			return t.DefaultDomain
		}
	}
	return ""
}

// logbook returns the lines of CIPP's logbook that hold the text.
func (w *world) logbook(text string) []string {
	w.t.Helper()
	var lines []string
	for _, r := range w.rows("CippLogs", "") {
		if line := fmt.Sprintf("%v: %v", r["Severity"], r["Message"]); strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (w *world) wantLines(n int, text string) {
	w.t.Helper()
	if got := w.logbook(text); len(got) != n {
		w.t.Errorf("%d lines of the logbook say %q, want %d: %q", len(got), text, n, got)
	}
}

func (w *world) wantHeld(held bool) {
	w.t.Helper()
	syncTime, lastRun := w.settings()
	quarter, number := syncTime.(float64)
	at, err := time.Parse(time.RFC3339, fmt.Sprint(lastRun))
	is := number && quarter > 96 && err == nil && at.After(w.now.AddDate(50, 0, 0))
	isNot := number && quarter >= 0 && quarter <= 95 && err == nil && at.Before(w.now.Add(time.Minute))
	if held && !is || !held && !isNot {
		w.t.Errorf("the scheduler's rows are %v and %v; want them held off: %v", syncTime, lastRun, held)
	}
}
