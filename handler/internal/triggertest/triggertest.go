// Package triggertest puts the packages notify, subscriptions and compliance to
// work together, between real storage and strict simulators, for their tests.
package triggertest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/notify/notifytest"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

var must = fail.If

// World is the packages at work between real storage and strict simulators. A
// Process is one life of the handler; all state survives it in storage.
type World struct {
	*stack.Stack
	T       testing.TB
	Clock   *notifytest.Clock
	App     *storage.Account // CIPP's
	Own     *storage.Account
	Store   *cipp.Store
	Queue   *notifytest.Queue[notify.Message]
	Looks   *notifytest.Queue[changes.Message]
	Syncs   *notifytest.Queue[tenantsync.Message]
	Door    *Door
	Front   *httptest.Server
	Process *Process

	endpoints m365sim.Endpoints
	GivenBack bool         // CIPP's own engine does the work again
	Logged    bytes.Buffer // lines of the level error; to be read when nothing runs
	Patched   func()       // called after each write that NinjaOne answered
}

// Process is what one handler process holds in memory.
type Process struct {
	Receiver *notify.Receiver
	Worker   *compliance.Worker
	Keeper   *subscriptions.Keeper
	Syncer   *tenantsync.Syncer
	Watcher  *changes.Watcher
}

// New starts a world with the data, and a first process.
func New(t testing.TB, data *seed.Seed) *World {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{Seed: data, Storage: azuritetest.ForTest(t).Apart()})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &World{Stack: s, T: t, Clock: &notifytest.Clock{}, Queue: &notifytest.Queue[notify.Message]{Parse: notify.ParseMessage},
		Looks: &notifytest.Queue[changes.Message]{Parse: changes.ParseMessage}, Syncs: &notifytest.Queue[tenantsync.Message]{Parse: tenantsync.ParseMessage}}
	w.simulate()
	w.Own = storagetest.Open(t, w.getenv(storage.Own))
	w.App = storagetest.Open(t, w.getenv(storage.CIPP))
	w.Store = cipptest.Store(w.App)
	w.Door = &Door{}
	w.Front = httptest.NewServer(w.Door)
	t.Cleanup(w.Front.Close)
	w.Restart()
	return w
}

// simulate puts a Microsoft 365 in place that lives by the test's clock.
func (w *World) simulate() {
	w.T.Helper()
	must(w.T, w.M365.Close())
	config := w.Seed.Config()
	config.Now = w.Clock.Now
	var err error
	if w.M365, err = m365sim.New(config, w.Seed.Tenants...); err != nil {
		w.T.Fatal(err)
	}
	if w.endpoints, err = w.M365.Start(); err != nil {
		w.T.Fatal(err)
	}
}

func (w *World) getenv(name string) string {
	switch name {
	case "GRAPH_ENDPOINT":
		return w.endpoints.Graph
	case "LOGIN_ENDPOINT":
		return w.endpoints.Login
	case "EXCHANGE_ENDPOINT":
		return w.endpoints.Exchange
	}
	return w.Settings()[name]
}

// Restart begins a new process, which remembers nothing.
func (w *World) Restart() {
	w.T.Helper()
	secrets, err := cipp.OpenSecrets(w.getenv, w.App)
	must(w.T, err)
	log := slog.New(slog.NewJSONHandler(&w.Logged, &slog.HandlerOptions{Level: slog.LevelError}))
	reader := m365test.Reader(w.T, w.endpoints, m365.Deps{Credentials: secrets, Log: log})
	calls := ninjaonetest.Deps(w.getenv("NINJAONE_ENDPOINT"), func(ctx context.Context, fresh bool) (string, error) {
		return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
	})
	calls.Transport, calls.Log = w, log
	pool := ninjaone.NewPool(calls)
	client := func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return pool.Client(c.Instance, c.ClientID) }
	own, blobs := w.Own.Table(layout.TableName), w.Own.Container(tenantsync.ContainerName)
	statuses, held := assignments.Statuses{Table: w.Own.Table(assignments.TableName)}, ledger.New(own)
	assigned := assignments.New(assignments.Deps{CIPP: w.Store, Off: func(context.Context) (bool, error) { return w.GivenBack, nil }, Now: w.Clock.Now})
	p := &Process{Receiver: notify.New(notify.Deps{Subscriptions: subscriptions.Known(statuses.Table), Queue: w.Queue, Now: w.Clock.Now, Log: log})}
	p.Keeper = subscriptions.New(subscriptions.Deps{
		CIPP: w.Store, Assignments: assigned, Graph: reader, Table: statuses.Table, Blobs: blobs, Queue: w.Queue,
		Problems: &problems.Book{Table: own, Log: w.Store.Log, API: cipp.LogbookCompliance}, BaseURL: w.Front.URL, Now: w.Clock.Now, Log: log,
	})
	p.Watcher = changes.New(changes.Deps{
		CIPP: w.Store, Runs: runs.New(own), Off: func(context.Context) (bool, error) { return w.GivenBack, nil }, Microsoft365: reader, NinjaOne: client, Ledger: held,
		Table: w.Own.Table(changes.TableName), Blobs: blobs, Queue: w.Looks, Syncs: w.Syncs, Compliance: w.Queue, Every: 5 * time.Minute, Now: w.Clock.Now, Log: log,
	})
	p.Worker = compliance.New(compliance.Deps{
		Assignments: assigned, Statuses: statuses, Devices: reader, Seen: p.Watcher.DevicesSince, NinjaOne: client, Pace: AnySlot, Ledger: held, Policies: policies.New(own),
		Books: devicematch.NewBooks(w.Store, blobs, w.Clock.Now), Queue: w.Queue, OnEvent: p.Keeper.Handle,
		SweepEvery: 15 * time.Minute, Now: w.Clock.Now, Log: log,
	})
	p.Syncer = &tenantsync.Syncer{
		CIPP: w.Store, Reader: reader, NinjaOne: client, SKUNames: func(context.Context) map[string]string { return nil }, KeepNames: func(context.Context, map[string]string) {}, Ledger: held, Policies: policies.New(own), Table: own, Runs: runs.New(own), Blobs: blobs,
		Exposures: vulnerabilities.Files{Table: w.Own.Table(vulnerabilities.TableName), Blobs: blobs},
		Queue:     w.Own.Queue(tenantsync.QueueName), Subscribe: p.Keeper.AfterSync, Within: context.WithCancel, Now: w.Clock.Now, Log: log,
	}
	w.Process = p
	w.Door.Open(p.Receiver)
}

// AnySlot is a pace that has slots for all.
func AnySlot(ctx context.Context, _ time.Duration) (context.Context, func(), error) {
	return context.WithoutCancel(ctx), func() {}, nil
}

// RoundTrip is how the clients reach NinjaOne.
func (w *World) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if r.Method == http.MethodPatch && w.Patched != nil {
		w.Patched()
	}
	return res, err
}

// Sync runs one tenant's sync.
func (w *World) Sync(tenantID string) {
	w.T.Helper()
	must(w.T, w.Process.Syncer.Run(w.T.Context(), tenantsync.Message{TenantID: tenantID}))
}

// Reconcile looks after all subscriptions.
func (w *World) Reconcile() {
	w.T.Helper()
	must(w.T, w.Process.Keeper.Reconcile(w.T.Context()))
}

// Settle runs the timer, and once more when what nobody wants is removed.
func (w *World) Settle() {
	w.T.Helper()
	w.Reconcile()
	w.Clock.Advance(10 * time.Minute)
	w.Reconcile()
}

// Work handles what is in the queue.
func (w *World) Work() {
	w.T.Helper()
	for _, m := range w.Queue.Take() {
		if err := w.Process.Worker.Update(w.T.Context(), m, 1); err != nil {
			w.T.Fatalf("%+v: %v", m, err)
		}
	}
}

// Sweep sweeps one tenant.
func (w *World) Sweep(tenantID string) {
	w.T.Helper()
	must(w.T, w.Process.Worker.Update(w.T.Context(), notify.Message{TenantID: tenantID}, 1))
}

// Subscription returns the one subscription that Graph has of the tenant.
func (w *World) Subscription(tenantID string) m365sim.Subscription {
	w.T.Helper()
	all := w.M365.Subscriptions(tenantID)
	if len(all) != 1 {
		w.T.Fatalf("Graph has %d subscriptions of tenant %s, want one", len(all), tenantID)
	}
	return all[0]
}

// Deliver posts notifications as Graph does and wants 202.
func (w *World) Deliver(address string, items ...m365sim.Notification) {
	w.T.Helper()
	if status, err := w.M365.Deliver(w.T.Context(), address, items...); err != nil || status != 202 {
		w.T.Fatalf("the receiver answered %d (%v), want 202", status, err)
	}
}

// Pair is one machine that both services know, identified by its serial number.
type Pair struct {
	TenantID string
	Managed  string // Intune's id
	Object   string // directory object id
	Ninja    int
}

// Pairs returns the tenant's machines whose serial number one record on each
// side has, by the seed's own data.
func (w *World) Pairs(tenantID string) []Pair {
	w.T.Helper()
	ninja := map[string][]ninjasim.Device{}
	for _, d := range w.Seed.NinjaDevices {
		ninja[d.SerialNumber] = append(ninja[d.SerialNumber], d)
	}
	var out []Pair
	w.M365.Tenant(tenantID).View(func(t *m365sim.Tenant) {
		for _, m := range t.ManagedDevices {
			found := ninja[m.String("serialNumber")]
			i := slices.IndexFunc(t.Devices, func(d m365sim.Entity) bool { return d.String("deviceId") == m.String("azureADDeviceId") })
			if len(found) == 1 && i >= 0 {
				out = append(out, Pair{tenantID, m.ID(), t.Devices[i].ID(), found[0].ID})
			}
		}
	})
	return out
}

func (w *World) Field(id int) string {
	w.T.Helper()
	v, _ := w.NinjaOne.DeviceField(id, w.Seed.FieldMapping[assignments.FieldName])
	return v.Text
}

func (w *World) WantField(p Pair, want string) {
	w.T.Helper()
	if got := w.Field(p.Ninja); got != want {
		w.T.Errorf("NinjaOne device %d shows %q, want %q", p.Ninja, got, want)
	}
}

// Set changes Intune's state of a machine.
func (w *World) Set(p Pair, state string) { w.M365.ChangeCompliance(p.TenantID, p.Managed, state) }

// Writes counts the writes of the compliance field of a device.
func (w *World) Writes(id int) int {
	n := 0
	for _, wr := range w.NinjaOne.Writes() {
		if wr.Target == (ninjasim.Target{Kind: ninjasim.DeviceKind, ID: id}) && slices.Contains(append(wr.Fields, wr.Cleared...), w.Seed.FieldMapping[assignments.FieldName]) {
			n++
		}
	}
	return n
}

// Logbook returns the lines about compliance.
func (w *World) Logbook() []string {
	w.T.Helper()
	var lines []string
	for row, err := range w.App.Table("CippLogs").List(w.T.Context(), storage.Eq("API", cipp.LogbookCompliance)) {
		must(w.T, err)
		lines = append(lines, row.String("Severity")+": "+row.String("Message"))
	}
	return lines
}

func (w *World) WantLogbook(n int, texts ...string) {
	w.T.Helper()
	lines := w.Logbook()
	found := slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
	})
	if len(lines) != n || n > 0 && !found {
		w.T.Errorf("the logbook has %d lines, want %d, one with %q:\n%s", len(lines), n, texts, strings.Join(lines, "\n"))
	}
}

func (w *World) NoViolations() {
	w.T.Helper()
	for _, v := range w.Violations() {
		w.T.Error("a request broke the contract:", v)
	}
}

func (w *World) Status(tenantID string) assignments.Status {
	w.T.Helper()
	all, err := assignments.Statuses{Table: w.Own.Table(assignments.TableName)}.All(w.T.Context())
	must(w.T, err)
	return all[tenantID]
}

// Merge changes columns of a row of CIPP's.
func (w *World) Merge(table string, row storage.Entity) {
	w.T.Helper()
	must(w.T, w.App.Table(table).Merge(w.T.Context(), row))
	w.Clock.Advance(assignments.SettingsLife + time.Second)
}

// Unmap removes a tenant's mapping.
func (w *World) Unmap(tenantID string) {
	w.T.Helper()
	must(w.T, w.App.Table("CippMapping").Delete(w.T.Context(), "NinjaOneMapping", tenantID))
	w.Clock.Advance(assignments.SettingsLife + time.Second)
}

func Small(tenants, devices int) *seed.Seed {
	return seed.Generate(seed.Size{Tenants: tenants, Users: 3, Devices: devices, Groups: 1})
}

func Forge(n m365sim.Notification, changes ...string) m365sim.Notification {
	out := maps.Clone(n)
	for i := 0; i < len(changes); i += 2 {
		out[changes[i]] = changes[i+1]
	}
	return out
}

func (p Pair) String() string { return fmt.Sprintf("NinjaOne device %d", p.Ninja) }

// Door is where Graph knocks: it leads to the process that runs at present.
type Door struct {
	mu   sync.Mutex
	next http.Handler
}

func (d *Door) Open(h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = h
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	next := d.next
	d.mu.Unlock()
	if next == nil || r.URL.Path != notify.Path {
		http.NotFound(w, r)
		return
	}
	next.ServeHTTP(w, r)
}
