package tenantsync

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/storageproxy"
)

// untold is an Unrecorded whose logbook lies behind a proxy that can refuse it.
type untold struct {
	*Unrecorded
	*clock
	t      *testing.T
	proxy  *storageproxy.Proxy
	own    *storage.Account
	tenant string
	seen   int
}

func newUntold(t *testing.T) *untold {
	t.Helper()
	emulator := azuritetest.ForTest(t)
	proxy, err := storageproxy.Start(emulator)
	must(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	u := &untold{t: t, proxy: proxy, own: storagetest.Open(t, emulator.ConnectionString()), tenant: uuid.NewString(), clock: &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}}
	store, table := cipptest.Store(storagetest.Open(t, proxy.ConnectionString())), u.own.Table(azuritetest.UniqueName(t))
	u.Unrecorded = &Unrecorded{CIPP: store, Runs: runs.New(table), Problems: &problems.Book{Table: table, Log: store.Log, API: apiName},
		Now: u.now, Log: slog.New(slog.DiscardHandler)}
	must(t, u.own.Table("Tenants").Merge(t.Context(), storage.Entity{"PartitionKey": "Tenants", "RowKey": u.tenant, "customerId": u.tenant,
		"displayName": "Fabrikam", "defaultDomainName": u.tenant + ".example", "Excluded": false, "GraphErrorCount": int32(0)}))
	return u
}

// run lets a message of a tenant end so, and returns the new lines of the
// logbook about the untold tenant.
func (u *untold) run(tenantID string, err error) []string {
	u.t.Helper()
	got := u.Watch(func(context.Context, Message) error { return err })(u.t.Context(), Message{TenantID: tenantID})
	if !errors.Is(got, err) {
		u.t.Errorf("the run's error became %v", got)
	}
	return u.lines()
}

func (u *untold) lines() []string {
	u.t.Helper()
	all := storagetest.Rows(u.t, u.own.Table("CippLogs"), storage.Eq("TenantID", u.tenant))
	slices.SortFunc(all, func(a, b storage.Entity) int { return a.Time("Timestamp").Compare(b.Time("Timestamp")) })
	var lines []string
	for _, e := range all[u.seen:] {
		if e.String("Tenant") != u.tenant+".example" {
			u.t.Errorf("the line is of the tenant %q", e.String("Tenant"))
		}
		lines = append(lines, e.String("Severity")+": "+e.String("Message"))
	}
	u.seen = len(all)
	return lines
}

func (u *untold) said(lines []string, texts ...string) {
	u.t.Helper()
	if len(lines) != 1 {
		u.t.Fatalf("the logbook got %d lines, want 1: %q", len(lines), lines)
	}
	for _, text := range texts {
		if !strings.Contains(lines[0], text) {
			u.t.Errorf("the line does not say %q: %s", text, lines[0])
		}
	}
}

var errLease = errors.New("lease NinjaOne organization 7: storage answered 403")

func TestRunThatCouldNotBeginIsToldOncePerDayAndKind(t *testing.T) {
	u := newUntold(t)
	u.said(u.run(u.tenant, errLease), "Warn: The sync could not begin: lease NinjaOne organization 7: storage answered 403.", "Nothing was sent to NinjaOne.", "tried again by itself", "put aside")
	u.set(u.now().Add(time.Hour))
	if lines := u.run(u.tenant, errLease); len(lines) != 0 {
		t.Errorf("it is told again an hour later: %q", lines)
	}
	u.said(u.run(u.tenant, unended{errLease}), "Warn: How the sync ended could not be recorded: ", "What NinjaOne accepted stays")
	why, err := u.Why(t.Context(), u.tenant)
	if err != nil || !strings.Contains(why, "could not begin") || !strings.Contains(why, "could not be recorded") || strings.Contains(why, "put aside") {
		t.Errorf("why its message failed: %q, %v", why, err)
	}
	u.set(u.now().Add(24 * time.Hour))
	u.said(u.run(u.tenant, errLease), "Warn: The sync could not begin")

	// It is over when the tenant has been synced, and not before.
	must(t, u.Tick(t.Context()))
	if lines := u.lines(); len(lines) != 0 {
		t.Errorf("told although nothing changed: %q", lines)
	}
	must(t, u.Runs.Save(t.Context(), runs.Run{TenantID: u.tenant, Status: runs.Completed, LastSuccess: u.now().Add(time.Minute)}))
	u.set(u.now().Add(time.Hour))
	must(t, u.Tick(t.Context()))
	lines := u.lines()
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "Info: No longer a problem: ") || !strings.HasPrefix(lines[1], "Info: No longer a problem: ") {
		t.Errorf("once it is over, the logbook says %q", lines)
	}
	if why, err := u.Why(t.Context(), u.tenant); why != "" || err != nil {
		t.Errorf("why its message failed, once that is over: %q, %v", why, err)
	}
}

func TestRunThatCouldNotBeginIsToldWhenTheLogbookIsBack(t *testing.T) {
	for name, later := range map[string]func(u *untold){
		"before another tenant's message": func(u *untold) {
			must(u.t, u.Watch(func(context.Context, Message) error { return nil })(u.t.Context(), Message{TenantID: uuid.NewString()}))
		},
		"at the schedule's tick": func(u *untold) { must(u.t, u.Tick(u.t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			u := newUntold(t)
			u.proxy.Inject(storageproxy.Fault{Service: storageproxy.Table, Path: regexp.MustCompile("/CippLogs"), Status: http.StatusForbidden, Code: "AuthorizationFailure"})
			if lines := u.run(u.tenant, errLease); len(lines) != 0 {
				t.Fatalf("the logbook was to be out of reach: %q", lines)
			}
			u.proxy.ClearFaults()
			later(u)
			u.said(u.lines(), "Warn: The sync could not begin: lease NinjaOne organization 7")
			later(u)
			if lines := u.lines(); len(lines) != 0 {
				t.Errorf("it is told twice: %q", lines)
			}
		})
	}
}

// What is recorded or told elsewhere is not told here.
func TestRunThatStopsIsNotToldAsUnrecorded(t *testing.T) {
	u := newUntold(t)
	for _, err := range []error{nil, storage.ErrLeaseLost, storage.ErrNewer} {
		if lines := u.run(u.tenant, err); len(lines) != 0 {
			t.Errorf("%v: %q", err, lines)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := u.Watch(func(ctx context.Context, _ Message) error { return ctx.Err() })(ctx, Message{TenantID: u.tenant})
	if lines := u.lines(); len(lines) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("a handler that stops: %v, %q", err, lines)
	}
}
