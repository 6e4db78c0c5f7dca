package automap

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/ninjasim"
)

// world is what an automap works on: CIPP's tables in a real storage emulator,
// a simulated NinjaOne, and made-up Intune devices.
type world struct {
	*Mapper
	t       testing.TB
	account *storage.Account
	ninja   *ninjasim.Server
	intune  *intune
	logged  *bytes.Buffer
	now     time.Time
}

// intune gives serial numbers by tenant id.
type intune struct {
	mu      sync.Mutex
	serials map[string][]string
	errors  map[string]error
	asked   map[string]int
	hook    func(ctx context.Context, id string) error // called without the lock; nil for none
}

func (i *intune) Serials(ctx context.Context, ref tenant.Ref) ([]string, error) {
	i.mu.Lock()
	i.asked[ref.ID]++
	hook, serials, err := i.hook, i.serials[ref.ID], i.errors[ref.ID]
	i.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, ref.ID); err != nil {
			return nil, err
		}
	}
	return serials, err
}

// reads returns how often each tenant was read, as "0001:2".
func (i *intune) reads() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []string{}
	for _, id := range slices.Sorted(maps.Keys(i.asked)) {
		out = append(out, fmt.Sprintf("%s:%d", id[len(id)-4:], i.asked[id]))
	}
	return out
}

func newWorld(t testing.TB) *world {
	t.Helper()
	connection := azuritetest.ForTest(t).Apart().ConnectionString()
	account := storagetest.Open(t, connection)
	w := &world{
		t: t, account: account, logged: &bytes.Buffer{}, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		ninja:  ninjasim.New(ninjasim.Config{ClientID: "sync-app", ClientSecret: "not-a-real-secret"}),
		intune: &intune{serials: map[string][]string{}, errors: map[string]error{}, asked: map[string]int{}},
	}
	must(t, w.ninja.Start())
	t.Cleanup(func() { _ = w.ninja.Close() })
	log := slog.New(slog.NewTextHandler(w.logged, nil))
	clients := ninjaone.NewPool(ninjaonetest.Deps(w.ninja.URL(), ninjaonetest.Secret("not-a-real-secret")))
	name := azuritetest.UniqueName(t)
	w.Mapper = &Mapper{
		CIPP: cipptest.Store(account), Intune: w.intune,
		NinjaOne: func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return clients.Client(c.Instance, c.ClientID) },
		Blobs:    account.Container(name), Queue: account.Queue(name),
		Unmatched: func(context.Context, string) ([]string, bool, error) { return nil, false, nil },
		Budget:    10 * time.Minute, Within: context.WithTimeout, Now: func() time.Time { return w.now }, Log: log,
	}
	w.row("Extensionsconfig", "CippExtensions", "Config",
		"config", `{"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"sync-app","APIKey":"SentToKeyVault"}}`)
	return w
}

var must = fail.If

func (w *world) empty(table string) {
	w.t.Helper()
	var ops []storage.Operation
	for _, e := range w.rows(table) {
		ops = append(ops, storage.DeleteOp(e.PartitionKey(), e.RowKey()))
	}
	must(w.t, w.account.Table(table).WriteBatch(w.t.Context(), ops))
}

func (w *world) rows(table string) []storage.Entity {
	w.t.Helper()
	return storagetest.Rows(w.t, w.account.Table(table), "")
}

func (w *world) row(table, partition, key string, columns ...any) {
	w.t.Helper()
	e := storage.Entity{"PartitionKey": partition, "RowKey": key}
	for i := 0; i < len(columns); i += 2 {
		e[columns[i].(string)] = columns[i+1]
	}
	must(w.t, w.account.Table(table).Replace(w.t.Context(), e))
}

// id is the id of the n-th tenant.
func id(n int) string { return fmt.Sprintf("5d0b1c00-0000-4000-8000-%012d", n) }

// tenant adds a tenant to CIPP, with Intune devices.
func (w *world) tenant(n int, name string, serials ...string) {
	w.t.Helper()
	w.row("Tenants", "Tenants", id(n), "customerId", id(n), "displayName", name,
		"defaultDomainName", fmt.Sprintf("t%d.example", n), "Excluded", false, "GraphErrorCount", int32(0))
	w.intune.serials[id(n)] = serials
}

// organization adds an organization to NinjaOne, with devices.
func (w *world) organization(n int, name string, serials ...string) {
	w.ninja.AddOrganization(ninjasim.Organization{ID: n, Name: name})
	for i, s := range serials {
		w.ninja.AddDevice(ninjasim.Device{ID: 1000*n + i, OrganizationID: n, SystemName: "PC-" + strconv.Itoa(1000*n+i), SerialNumber: s})
	}
}

// mapped maps a tenant as CIPP does.
func (w *world) mapped(n, organization int, name string) {
	w.t.Helper()
	w.row("CippMapping", "NinjaOneMapping", id(n), "IntegrationId", strconv.Itoa(organization), "IntegrationName", name)
}

// mappings are the rows of CIPP's mapping, as "0001=17 Contoso".
func (w *world) mappings() []string {
	w.t.Helper()
	out := []string{}
	for _, e := range w.rows("CippMapping") {
		if e.PartitionKey() != "NinjaOneMapping" {
			w.t.Errorf("a row in partition %s", e.PartitionKey())
		}
		if _, text := e["IntegrationId"].(string); !text {
			w.t.Errorf("IntegrationId of %s is a %T, and CIPP's is text", e.RowKey(), e["IntegrationId"])
		}
		out = append(out, fmt.Sprintf("%s=%s %s", e.RowKey()[32:], e.String("IntegrationId"), e.String("IntegrationName")))
	}
	return out
}

// lines are the logbook's lines, as "Info t1.example Mapped …", in
// alphabetical order.
func (w *world) lines() []string {
	w.t.Helper()
	out := []string{}
	for _, e := range w.rows("CippLogs") {
		if e.String("API") != "NinjaOneAutoMap_Queue" {
			w.t.Errorf("a line under API %s", e.String("API"))
		}
		out = append(out, e.String("Severity")+" "+e.String("Tenant")+" "+e.String("Message"))
	}
	slices.Sort(out)
	return out
}

func (w *world) run(m Message) {
	w.t.Helper()
	must(w.t, w.Run(w.t.Context(), m))
	if v := w.ninja.Violations(); len(v) > 0 {
		w.t.Errorf("NinjaOne's contract was broken: %q", v)
	}
}

func (w *world) report() Report {
	w.t.Helper()
	r, err := ReadReport(w.t.Context(), w.Blobs)
	must(w.t, err)
	return r
}

// outcome writes a report as lines: "0001=17 devices", "0002?5,17!", "0003-".
func (w *world) outcome() []string {
	w.t.Helper()
	r := w.report()
	out := []string{}
	for _, m := range r.Mapped {
		out = append(out, fmt.Sprintf("%s=%d %s", m.Tenant.ID[32:], m.OrganizationID, m.By))
	}
	slices.Sort(out)
	for _, s := range r.Suggestions {
		line := s.Tenant.ID[32:] + "?"
		for _, c := range s.Candidates {
			line += strconv.Itoa(c.OrganizationID)
			if c.Mapped {
				line += "!"
			}
			line += ","
		}
		out = append(out, line)
	}
	for _, u := range r.Unmatched {
		out = append(out, u.Tenant.ID[32:]+"-")
	}
	return out
}

func (w *world) calls(operation string) int { return w.ninja.Calls()[operation] }

const (
	callOrganizations = "GET /v2/organizations"
	callDevices       = "GET /v2/devices-detailed"
)

// underWay reports whether there is progress to go on from.
func (w *world) underWay() bool {
	w.t.Helper()
	_, found, err := ReadProgress(w.t.Context(), w.Blobs)
	must(w.t, err)
	return found
}

func (w *world) queued() []string {
	w.t.Helper()
	messages, err := w.Queue.Peek(w.t.Context(), 32)
	must(w.t, err)
	out := []string{}
	for _, m := range messages {
		out = append(out, string(m.Body))
	}
	return out
}
