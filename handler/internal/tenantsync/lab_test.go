package tenantsync

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
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
	traffic *azuritetest.Traffic
	ninja   *ninjasim.Server
	client  *ninjaone.Client
	ledger  *ledger.Ledger
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
	connection, traffic := azuritetest.Watched(t)
	account := storagetest.Open(t, connection)
	l := &lab{t: t, account: account, traffic: traffic, clock: &clock{at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)},
		table: account.Table(azuritetest.UniqueName(t))}
	l.ledger, l.store = ledger.New(l.table), runs.New(l.table)
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
	calls := ninjaonetest.Deps(l.ninja.URL(), ninjaonetest.Secret("not-a-real-secret"))
	calls.Instance, calls.ClientID = labInstance, "sync-app"
	var err error
	l.client, err = ninjaone.New(calls)
	must(t, err)
	return l
}

var must = fail.If

func (l *lab) define(f ninjasim.CustomField, permission string) {
	f.APIPermission, f.TechnicianPermission = permission, "READ_ONLY"
	l.ninja.AddCustomField(f)
}

// job returns a run of the lab's tenant.
func (l *lab) job() *job {
	return &job{
		Syncer: &Syncer{Ledger: l.ledger, Policies: policies.New(l.table), Runs: l.store, Table: l.table, Now: l.now, Log: slog.New(slog.DiscardHandler)},
		assignment: assignment{ref: tenant.Ref{ID: labTenant, DefaultDomain: "ostholm.example"}, organization: labOrg,
			mapping: cipp.OrganizationMapping{TenantID: labTenant, OrganizationID: labOrganization, OrganizationName: "Ostholm Printing"},
			sharing: []string{labTenant}},
		client: l.client, log: slog.New(slog.DiscardHandler), cleared: map[string]int{},
	}
}

// records reads what is noted.
func (l *lab) records() map[ledger.Target]*ledger.Record {
	l.t.Helper()
	records, err := l.ledger.Load(l.t.Context(), labOrg)
	must(l.t, err)
	return records
}

// inputs are those of a run that has read what is noted, and nothing else.
func (l *lab) inputs(j *job, devices ...ninjaone.Device) *inputs {
	l.t.Helper()
	return &inputs{assignment: j.assignment, problems: &j.problems, snapshot: snapshot(nil), records: l.records(),
		fields: mappedFields{deviceLinks: "links", deviceSummary: "details", deviceCompliance: "compliance"},
		roster: &devicematch.Roster{Devices: devices}}
}

// wanted is what targets are to hold.
type wanted map[ledger.Target]ninjaone.Fields

func (w wanted) changes() []*change {
	var all []*change
	for t, values := range w {
		all = append(all, &change{target: t, fields: func() (fields []field) {
			for name, v := range values {
				fields = append(fields, field{ninja: name, value: v})
			}
			return fields
		}})
	}
	slices.SortFunc(all, func(a, b *change) int { return ledger.Compare(a.target, b.target) })
	return all
}

// writing is a run of its own that is about to write.
func (l *lab) writing(desired wanted) *writing {
	l.t.Helper()
	j := l.job()
	in := l.inputs(j)
	in.snapshot.ReadAt = time.Now()
	return &writing{job: j, in: in, plan: &Plan{changes: desired.changes()}, refusals: refusals{}}
}

// mark is the first half of write for all that is wanted.
func (w *writing) mark(ctx context.Context) ([]*ledger.Send, *ledger.Batch, error) {
	sends, moved := w.due(w.plan.changes)
	batch, err := w.Ledger.Mark(ctx, w.organization, ledger.Reading{TenantID: w.ref.ID, Fields: ledger.Shared{Compliance: "compliance", Settings: "failing"}, Began: w.in.snapshot.ReadAt}, sends, moved...)
	return sends, batch, err
}

// write runs the write phase of a run of its own.
func (l *lab) write(desired wanted) (*job, error) {
	l.t.Helper()
	w := l.writing(desired)
	return w.job, w.write(l.t.Context())
}

// wrote is write that succeeds.
func (l *lab) wrote(desired wanted) {
	l.t.Helper()
	_, err := l.write(desired)
	must(l.t, err)
}

// sent is the value a target's field has in NinjaOne, as it was sent; "" for
// none.
func (l *lab) sent(t ledger.Target, field string) string {
	if t.Kind == ledger.KindOrganization {
		v, _ := l.ninja.OrganizationField(t.ID, field)
		return v.Sent
	}
	v, _ := l.ninja.DeviceField(t.ID, field)
	return v.Sent
}

func device(id int) ledger.Target { return ledger.Device(id) }

var (
	labOrg       = ledger.Organization{Instance: labInstance, ID: labOrganization}
	organization = labOrg.Target()
)

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
