package tenantsync

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/ninjasim"
)

const (
	labTenant       = "5d0b1c00-0000-4000-8000-000000000001"
	labInstance     = "eu.ninjarmm.com"
	labOrganization = 7
)

// lab is what a job works on: our state in a real storage emulator, and a
// simulated NinjaOne with one organization, its devices and four fields.
type lab struct {
	t       testing.TB
	account *storage.Account
	traffic *traffic
	ninja   *ninjasim.Server
	client  *ninjaone.Client
	state   *State
	table   *storage.Table
	store   *runs.Store
	*clock
}

// clock is the time of a lab: that of its runs and of its NinjaOne.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

func newLab(t testing.TB, devices int, options ...func(*ninjasim.Config)) *lab {
	t.Helper()
	connection, traffic := watched(t)
	account, err := storage.Open(func(name string) string {
		return map[string]string{storage.Own: connection}[name]
	}, storage.Own)
	must(t, err)
	l := &lab{t: t, account: account, traffic: traffic, clock: &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)},
		table: account.Table(azuritetest.UniqueName(t))}
	l.state, l.store = NewState(l.table), runs.New(l.table)
	config := ninjasim.Config{ClientID: "sync-app", ClientSecret: "not-a-real-secret", Now: l.now, TokenLifetime: 1000 * time.Hour}
	for _, option := range options {
		option(&config)
	}
	l.ninja = ninjasim.New(config)
	must(t, l.ninja.Start())
	t.Cleanup(func() {
		for _, v := range l.ninja.Violations() {
			t.Errorf("a request broke NinjaOne's contract: %s", v)
		}
		_ = l.ninja.Close()
	})
	l.ninja.AddOrganization(ninjasim.Organization{ID: labOrganization, Name: "Ostholm Printing"})
	for i := range devices {
		l.ninja.AddDevice(ninjasim.Device{ID: 100 + i, OrganizationID: labOrganization, SystemName: fmt.Sprintf("OP-%03d", i), SerialNumber: fmt.Sprintf("5CG100%04d", i)})
	}
	for _, f := range []ninjasim.CustomField{
		{Name: "summary", Type: "WYSIWYG", DefinitionScope: []string{"ORGANIZATION"}},
		{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}},
		{Name: "details", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}},
		{Name: "compliance", Type: "TEXT", DefinitionScope: []string{"NODE"}},
	} {
		l.define(f, "READ_WRITE")
	}
	l.client, err = ninjaone.New(ninjaone.Config{Instance: labInstance, Endpoint: l.ninja.URL(), ClientID: "sync-app", Rate: math.Inf(1),
		Secret: func(context.Context, bool) (string, error) { return "not-a-real-secret", nil },
		Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	return l
}

// traffic counts what passes between a lab and its tables.
type traffic struct {
	calls atomic.Int64
	bytes atomic.Int64 // of answers
	// between is called once, before the next update of a row is handed on; it
	// reports whether the answer to that is lost. nil for nothing.
	between atomic.Pointer[func() (lost bool)]
}

// isUpdate reports whether a request changes a row that exists.
func isUpdate(r *http.Request) bool {
	return r.Header.Get("If-Match") != "" && (r.Method == http.MethodPatch || r.Method == http.MethodPut || r.Method == "MERGE")
}

// watched returns a connection to the storage emulator's tables, and counts what
// passes over it.
func watched(t testing.TB) (connection string, seen *traffic) {
	t.Helper()
	emulator := azuritetest.ForTest(t)
	service, err := url.Parse(emulator.TableEndpoint())
	must(t, err)
	seen = &traffic{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: service.Scheme, Host: service.Host})
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // calls that a test cuts short
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.calls.Add(1)
		lost := false
		if isUpdate(r) {
			if happens := seen.between.Swap(nil); happens != nil {
				lost = (*happens)()
			}
		}
		if lost {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(&counting{w, seen}, r)
	}))
	t.Cleanup(server.Close)
	return "DefaultEndpointsProtocol=http;AccountName=" + azurite.AccountName + ";AccountKey=" + azurite.AccountKey +
		";QueueEndpoint=" + emulator.QueueEndpoint() + ";BlobEndpoint=" + emulator.BlobEndpoint() +
		";TableEndpoint=" + server.URL + "/" + azurite.AccountName + ";", seen
}

type counting struct {
	http.ResponseWriter
	seen *traffic
}

func (c *counting) Write(b []byte) (int, error) {
	c.seen.bytes.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) define(f ninjasim.CustomField, permission string) {
	f.APIPermission, f.TechnicianPermission = permission, "READ_ONLY"
	l.ninja.AddCustomField(f)
}

// job returns a run that has read everything and is about to write.
func (l *lab) job() *job {
	return &job{
		Syncer: &Syncer{State: l.state, Runs: l.store, Now: l.now, Log: slog.New(slog.DiscardHandler)},
		ref:    tenant.Ref{ID: labTenant, DefaultDomain: "ostholm.example"}, instance: labInstance,
		mapping: cipp.OrganizationMapping{TenantID: labTenant, OrganizationID: labOrganization, OrganizationName: "Ostholm Printing"},
		sharing: []string{labTenant}, client: l.client, log: slog.New(slog.DiscardHandler),
		compliance: "compliance", readAt: time.Now(), roster: &Roster{},
	}
}

// records reads what is noted.
func (l *lab) records() map[target]*record {
	l.t.Helper()
	records, err := l.state.load(l.t.Context(), labInstance, labOrganization)
	must(l.t, err)
	return records
}

// wanted is what targets are to hold.
type wanted map[target]ninjaone.Fields

func (w wanted) wants() wants {
	all := wants{}
	for t, f := range w {
		all[t] = known(f)
	}
	return all
}

// write runs the write phase of a job of its own.
func (l *lab) write(desired wanted) (*job, error) {
	l.t.Helper()
	j := l.job()
	return j, j.write(l.t.Context(), l.records(), desired.wants())
}

// sent is the value a target's field has in NinjaOne, as it was sent; "" for
// none.
func (l *lab) sent(t target, field string) string {
	if t.kind == kindOrganization {
		v, _ := l.ninja.OrganizationField(t.id, field)
		return v.Sent
	}
	v, _ := l.ninja.DeviceField(t.id, field)
	return v.Sent
}

func device(id int) target { return target{kindDevice, id} }

var organization = target{kindOrganization, labOrganization}

// approve gives a device of the lab another status of approval.
func (l *lab) approve(id int, status string) {
	l.t.Helper()
	for _, d := range l.ninja.Devices(labOrganization) {
		if d.ID == id {
			d.ApprovalStatus = status
			l.ninja.AddDevice(d)
		}
	}
}
