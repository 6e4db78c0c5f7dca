package compliance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// world is the package at work between real storage and strict simulators. A
// process is one life of the handler; all state survives it in storage.
type world struct {
	*stack.Stack
	t       testing.TB
	clock   *clock
	app     *storage.Account
	own     *storage.Account
	store   *cipp.Store
	queue   *memoryQueue
	door    *door
	front   *httptest.Server
	process *process

	endpoints m365sim.Endpoints
	givenBack bool         // CIPP's own engine does the work again
	log       bytes.Buffer // lines of the level error; to be read when nothing runs
	patched   func()       // called after each write that NinjaOne answered
}

// process is what one handler process holds in memory.
type process struct {
	receiver *Receiver
	worker   *Worker
	keeper   *Keeper
	sweeper  *Sweeper
	syncer   *tenantsync.Syncer
}

// clock is real time, moved ahead.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// memoryQueue keeps messages in place of the queue service, without delays.
type memoryQueue struct {
	mu       sync.Mutex
	messages []Message
	delays   []time.Duration
	down     error
	sent     int
}

func (q *memoryQueue) Send(_ context.Context, v any, delay time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return q.down
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	m, err := ParseMessage(text)
	if err != nil {
		return err
	}
	q.messages, q.delays = append(q.messages, m), append(q.delays, delay)
	q.sent++
	return nil
}

func (q *memoryQueue) take() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.messages
	q.messages, q.delays = nil, nil
	return m
}

func (q *memoryQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = err
}

func newWorld(t testing.TB, data *seed.Seed) *world {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{Seed: data, Storage: azuritetest.ForTest(t).Apart()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Stack: s, t: t, clock: &clock{}, queue: &memoryQueue{}}
	w.simulate()
	w.own = account(t, w.getenv, storage.Own)
	w.app = account(t, w.getenv, storage.CIPP)
	w.store = cipp.New(w.app, cipp.Options{})
	w.door = &door{}
	w.front = httptest.NewServer(w.door)
	t.Cleanup(w.front.Close)
	w.restart()
	return w
}

func account(t testing.TB, getenv func(string) string, prefix string) *storage.Account {
	t.Helper()
	a, err := storage.Open(getenv, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// simulate puts a Microsoft 365 in place that lives by the test's clock.
func (w *world) simulate() {
	w.t.Helper()
	if err := w.M365.Close(); err != nil {
		w.t.Fatal(err)
	}
	config := w.Seed.Config()
	config.Now = w.clock.now
	var err error
	if w.M365, err = m365sim.New(config, w.Seed.Tenants...); err != nil {
		w.t.Fatal(err)
	}
	if w.endpoints, err = w.M365.Start(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) getenv(name string) string {
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

// restart begins a new process, which remembers nothing.
func (w *world) restart() {
	w.t.Helper()
	secrets, err := cipp.OpenSecrets(w.getenv, w.app)
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelError}))
	reader, err := m365.NewReader(m365.Config{
		GraphEndpoint: w.getenv("GRAPH_ENDPOINT"), LoginEndpoint: w.getenv("LOGIN_ENDPOINT"), ExchangeEndpoint: w.getenv("EXCHANGE_ENDPOINT"),
		Credentials: secrets, Logger: log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	pool := ninjaone.NewPool(ninjaone.Config{
		Endpoint: w.getenv("NINJAONE_ENDPOINT"), Rate: math.Inf(1), Logger: log, Transport: w,
		Secret: func(ctx context.Context, fresh bool) (string, error) {
			return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
		},
	})
	client := func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return pool.Client(c.Instance, c.ClientID) }
	table, blobs := w.own.Table(TableName), w.own.Container(tenantsync.ContainerName)
	state := ledger.New(w.own.Table(layout.TableName))
	assignments := &Assignments{CIPP: w.store, Off: func(context.Context) (bool, error) { return w.givenBack, nil }, Now: w.clock.now}
	p := &process{receiver: NewReceiver(table, w.queue, w.clock.now, log)}
	p.keeper = &Keeper{CIPP: w.store, Assignments: assignments, Graph: reader, Table: table, Blobs: blobs, Queue: w.queue, Problems: &problems.Book{Table: w.own.Table(layout.TableName), Log: w.store.Log, API: LogbookName},
		BaseURL: w.front.URL, Now: w.clock.now, Log: log}
	p.worker = &Worker{CIPP: w.store, Assignments: assignments, Devices: reader, NinjaOne: client, Ledger: state, Blobs: blobs, Table: table,
		Queue: w.queue, Keeper: p.keeper, Now: w.clock.now, Log: log}
	p.sweeper = &Sweeper{Assignments: assignments, Table: table, Queue: w.queue, Every: 15 * time.Minute, Now: w.clock.now, Log: log}
	p.syncer = &tenantsync.Syncer{CIPP: w.store, Reader: reader, NinjaOne: client, SKUNames: func(context.Context) map[string]string { return nil }, Ledger: state, Table: w.own.Table(layout.TableName), Runs: runs.New(w.own.Table(layout.TableName)), Blobs: blobs,
		Queue: w.own.Queue(tenantsync.QueueName), Within: context.WithCancel, Now: time.Now, Log: log}
	w.process = p
	w.door.open(p.receiver)
}

// RoundTrip is how the package's clients reach NinjaOne.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if r.Method == http.MethodPatch && w.patched != nil {
		w.patched()
	}
	return res, err
}

// sync runs one tenant's sync.
func (w *world) sync(tenantID string) {
	w.t.Helper()
	if err := w.process.syncer.Run(w.t.Context(), tenantsync.Message{TenantID: tenantID}); err != nil {
		w.t.Fatal(err)
	}
}

// reconcile looks after all subscriptions.
func (w *world) reconcile() {
	w.t.Helper()
	if err := w.process.keeper.Reconcile(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// settle runs the timer, and once more when what nobody wants is removed.
func (w *world) settle() {
	w.t.Helper()
	w.reconcile()
	w.clock.advance(settleTime)
	w.reconcile()
}

// work handles what is in the queue.
func (w *world) work() {
	w.t.Helper()
	for _, m := range w.queue.take() {
		if err := w.process.worker.Update(w.t.Context(), m, 1); err != nil {
			w.t.Fatalf("%+v: %v", m, err)
		}
	}
}

// sweep sweeps one tenant.
func (w *world) sweep(tenantID string) {
	w.t.Helper()
	if err := w.process.worker.Update(w.t.Context(), Message{TenantID: tenantID}, 1); err != nil {
		w.t.Fatal(err)
	}
}

// subscription returns the one subscription that Graph has of the tenant.
func (w *world) subscription(tenantID string) m365sim.Subscription {
	w.t.Helper()
	all := w.M365.Subscriptions(tenantID)
	if len(all) != 1 {
		w.t.Fatalf("Graph has %d subscriptions of tenant %s, want one", len(all), tenantID)
	}
	return all[0]
}

// deliver posts notifications as Graph does and wants 202.
func (w *world) deliver(address string, items ...m365sim.Notification) {
	w.t.Helper()
	if status, err := w.M365.Deliver(w.t.Context(), address, items...); err != nil || status != 202 {
		w.t.Fatalf("the receiver answered %d (%v), want 202", status, err)
	}
}

// pair is one machine that both services know, identified by its serial number.
type pair struct {
	tenantID string
	managed  string // Intune's id
	object   string // directory object id
	ninja    int
}

// pairs returns the tenant's machines whose serial number one record on each
// side has, by the seed's own data.
func (w *world) pairs(tenantID string) []pair {
	w.t.Helper()
	ninja := map[string][]seed.NinjaDevice{}
	for _, d := range w.Seed.NinjaDevices {
		ninja[d.SerialNumber] = append(ninja[d.SerialNumber], d)
	}
	var out []pair
	w.M365.Tenant(tenantID).View(func(t *m365sim.Tenant) {
		for _, m := range t.ManagedDevices {
			found := ninja[m.String("serialNumber")]
			i := slices.IndexFunc(t.Devices, func(d m365sim.Entity) bool { return d.String("deviceId") == m.String("azureADDeviceId") })
			if len(found) == 1 && i >= 0 {
				out = append(out, pair{tenantID, m.ID(), t.Devices[i].ID(), found[0].ID})
			}
		}
	})
	return out
}

func (w *world) field(id int) string {
	w.t.Helper()
	v, _ := w.NinjaOne.DeviceField(id, w.Seed.FieldMapping[fieldName])
	return v.Text
}

func (w *world) wantField(p pair, want string) {
	w.t.Helper()
	if got := w.field(p.ninja); got != want {
		w.t.Errorf("NinjaOne device %d shows %q, want %q", p.ninja, got, want)
	}
}

// set changes Intune's state of a machine.
func (w *world) set(p pair, state string) { w.M365.ChangeCompliance(p.tenantID, p.managed, state) }

// writes counts the writes of the compliance field of a device.
func (w *world) writes(id int) int {
	n := 0
	for _, wr := range w.NinjaOne.Writes() {
		if wr.Target == (ninjasim.Target{Kind: ninjasim.DeviceKind, ID: id}) && slices.Contains(append(wr.Fields, wr.Cleared...), w.Seed.FieldMapping[fieldName]) {
			n++
		}
	}
	return n
}

// logbook returns the messages under this package's name.
func (w *world) logbook() []string {
	w.t.Helper()
	var lines []string
	for row, err := range w.app.Table("CippLogs").List(w.t.Context(), storage.Eq("API", LogbookName)) {
		if err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, row.String("Severity")+": "+row.String("Message"))
	}
	return lines
}

func (w *world) wantLogbook(n int, texts ...string) {
	w.t.Helper()
	lines := w.logbook()
	found := slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
	})
	if len(lines) != n || n > 0 && !found {
		w.t.Errorf("the logbook has %d lines, want %d, one with %q:\n%s", len(lines), n, texts, strings.Join(lines, "\n"))
	}
}

func (w *world) noViolations() {
	w.t.Helper()
	for _, v := range w.Violations() {
		w.t.Error("a request broke the contract:", v)
	}
}

func (w *world) status(tenantID string) Status {
	w.t.Helper()
	all, err := Statuses(w.t.Context(), w.own.Table(TableName))
	if err != nil {
		w.t.Fatal(err)
	}
	return all[tenantID]
}

// merge changes columns of a row of CIPP's.
func (w *world) merge(table string, row storage.Entity) {
	w.t.Helper()
	if err := w.app.Table(table).Merge(w.t.Context(), row); err != nil {
		w.t.Fatal(err)
	}
	w.clock.advance(settingsLife + time.Second)
}

// unmap removes a tenant's mapping.
func (w *world) unmap(tenantID string) {
	w.t.Helper()
	if err := w.app.Table("CippMapping").Delete(w.t.Context(), "NinjaOneMapping", tenantID); err != nil {
		w.t.Fatal(err)
	}
	w.clock.advance(settingsLife + time.Second)
}

func small(tenants, devices int) *seed.Seed {
	return seed.Generate(seed.Size{Tenants: tenants, Users: 3, Devices: devices, Groups: 1})
}

func forge(n m365sim.Notification, changes ...string) m365sim.Notification {
	out := m365sim.Notification{}
	for k, v := range n {
		out[k] = v
	}
	for i := 0; i < len(changes); i += 2 {
		out[changes[i]] = changes[i+1]
	}
	return out
}

func (p pair) String() string { return fmt.Sprintf("NinjaOne device %d", p.ninja) }

// door is where Graph knocks: it leads to the process that runs at present.
type door struct {
	mu   sync.Mutex
	next http.Handler
}

func (d *door) open(h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = h
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	next := d.next
	d.mu.Unlock()
	if next == nil || r.URL.Path != Path {
		http.NotFound(w, r)
		return
	}
	next.ServeHTTP(w, r)
}
