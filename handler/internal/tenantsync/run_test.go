package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/ninjasim"
)

// reader gives a snapshot made by the test.
type reader struct {
	snapshot func() (*tenant.Snapshot, error)
	known    *tenant.Known // what it was told last
}

func (r *reader) Read(_ context.Context, ref tenant.Ref, known *tenant.Known) (*tenant.Snapshot, error) {
	r.known = known
	s, err := r.snapshot()
	if s != nil {
		s.Tenant = ref
	}
	return s, err
}

// bench is a lab with a whole Syncer, and CIPP's tables around it.
type bench struct {
	*lab
	*Syncer
	reader *reader
	read   int // logbook lines read so far
}

// newBench has machines in Intune as in NinjaOne.
func newBench(t testing.TB, machines int) *bench {
	t.Helper()
	read := func() (*tenant.Snapshot, error) { return snapshot(devices(machines)), nil }
	b := &bench{lab: newLab(t, machines), reader: &reader{snapshot: read}}
	store := cipptest.Store(b.account)
	name := azuritetest.UniqueName(t)
	b.Syncer = &Syncer{
		CIPP: store, Reader: b.reader, Ledger: b.ledger, Policies: policies.New(b.table), Table: b.table, Runs: b.store,
		NinjaOne: func(cipp.ExtensionConfig) (*ninjaone.Client, error) { return b.client, nil },
		SKUNames: func(context.Context) map[string]string { return nil }, KeepNames: func(context.Context, map[string]string) {},
		Blobs: b.account.Container(name), Queue: b.account.Queue(name),
		Subscribe: func(context.Context, string) {}, Within: inAMinute, Now: b.now, Log: slog.New(slog.DiscardHandler),
	}
	// CIPP's tables have fixed names, so the tests take turns with them.
	for _, table := range []string{"Tenants", "CippMapping", "CippLogs", "Extensionsconfig", "NinjaOneDeviceMap"} {
		var ops []storage.Operation
		for _, e := range storagetest.Rows(t, b.account.Table(table), "") {
			ops = append(ops, storage.DeleteOp(e.PartitionKey(), e.RowKey()))
		}
		must(t, b.account.Table(table).WriteBatch(t.Context(), ops))
	}
	b.configure("")
	b.row("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": labTenant, "customerId": labTenant,
		"displayName": "Ostholm Printing", "defaultDomainName": "ostholm.example", "Excluded": false})
	b.row("CippMapping", storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": labTenant, "IntegrationId": "7", "IntegrationName": "Ostholm Printing"})
	for field, custom := range map[string]string{tenantSummary: "summary", deviceLinks: "links", deviceSummary: "details", deviceCompliance: "compliance"} {
		b.row("CippMapping", storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": field, "IntegrationId": custom})
	}
	return b
}

func inAMinute(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Minute)
}

// configure saves CIPP's settings, with more of them as JSON.
func (b *bench) configure(more string) {
	b.t.Helper()
	b.row("Extensionsconfig", storage.Entity{"PartitionKey": "CippExtensions", "RowKey": "Config",
		"config": `{"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"sync-app"` + more + `}}`})
}

func (b *bench) row(table string, e storage.Entity) {
	b.t.Helper()
	must(b.t, b.account.Table(table).Replace(b.t.Context(), e))
}

// sync runs one message and returns the logbook lines that it added, summaries
// of completed runs left out, in alphabetical order.
func (b *bench) sync(m Message) []string {
	b.t.Helper()
	m.TenantID = labTenant
	must(b.t, b.Run(b.t.Context(), m))
	rows := storagetest.Rows(b.t, b.account.Table("CippLogs"), "")
	slices.SortFunc(rows, func(x, y storage.Entity) int { return x.Time("Timestamp").Compare(y.Time("Timestamp")) })
	var lines []string
	for _, e := range rows[b.read:] {
		if line := e.String("Severity") + ": " + e.String("Message"); !strings.HasPrefix(line, "Info: Synced to NinjaOne") {
			lines = append(lines, line)
		}
	}
	b.read = len(rows)
	slices.Sort(lines)
	return lines
}

func (b *bench) last() runs.Run {
	b.t.Helper()
	r, err := b.Runs.Last(b.t.Context(), labTenant)
	must(b.t, err)
	return r
}

// devices are the Intune records of the lab's machines.
func devices(n int) []tenant.ManagedDevice {
	var list []tenant.ManagedDevice
	for i := range n {
		list = append(list, tenant.ManagedDevice{ID: fmt.Sprintf("0f4f4ad0-5b57-4e64-9d8c-%012d", i), DeviceName: fmt.Sprintf("OP-%03d", i),
			SerialNumber: fmt.Sprintf("5CG100%04d", i), OperatingSystem: "Windows", ComplianceState: tenant.StateCompliant,
			AzureADDeviceID: fmt.Sprintf("7d0c4b1e-7a52-4be1-9f0f-%012d", i), LastSync: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)})
	}
	return list
}

// snapshot is a small tenant that was read whole.
func snapshot(list []tenant.ManagedDevice) *tenant.Snapshot {
	return &tenant.Snapshot{
		ReadAt: time.Now(), Organization: tenant.Present(tenant.Organization{DisplayName: "Ostholm Printing"}),
		Domains: tenant.Present([]tenant.Domain{{Name: "ostholm.example", IsDefault: true, IsVerified: true}}),
		Users:   tenant.Present([]tenant.User{}), Groups: tenant.Present([]tenant.Group{}), Roles: tenant.Present([]tenant.DirectoryRole{}),
		SKUs: tenant.Present([]tenant.SKU{}), Subscriptions: tenant.Present([]tenant.Subscription{}),
		ManagedDevices: tenant.Present(list), EntraDevices: tenant.Present([]tenant.EntraDevice{}), PolicyStates: tenant.Present(map[string][]tenant.PolicyState{}),
		ConditionalAccess: tenant.Present([]tenant.ConditionalAccessPolicy{}), AuthorizationPolicy: tenant.Present(tenant.AuthorizationPolicy{}),
		SecureScore: tenant.Present(tenant.SecureScore{Current: 10, Max: 100}), MailboxUsage: tenant.Present([]tenant.MailboxUsage{}),
		OneDriveUsage: tenant.Present([]tenant.OneDriveUsage{}), Mailboxes: tenant.Present([]tenant.Mailbox{}), CASMailboxes: tenant.Present([]tenant.CASMailbox{}),
		UnifiedAudit: tenant.Present(true), BlockedSenders: tenant.Present([]string{}),
	}
}

// TestLinesOverDays follows problems and failures through the logbook for
// several days.
func TestLinesOverDays(t *testing.T) {
	b := newBench(t, 2)
	whole := func() (*tenant.Snapshot, error) { return snapshot(devices(2)), nil }
	partly := func() (*tenant.Snapshot, error) {
		s := snapshot(devices(2))
		s.SecureScore = tenant.Absent[tenant.SecureScore]("Not available: the app lacks SecurityEvents.Read.All")
		return s, nil
	}
	refused := func() (*tenant.Snapshot, error) { return nil, errors.New("the door is locked; open it") }
	const (
		score    = "Not read: secure score, because the app lacks SecurityEvents.Read.All."
		failure  = "The sync to NinjaOne failed after 0 seconds: Microsoft 365 could not be read: the door is locked; open it."
		notLong  = "Info: No longer a problem: "
		complete = runs.Completed
	)
	start := b.now()
	steps := []struct {
		name     string
		after    time.Duration // since the first run
		force    bool
		read     func() (*tenant.Snapshot, error)
		lines    []string
		status   string
		failures int
		problems int
	}{
		{"all is well", 0, false, whole, nil, runs.Completed, 0, 0},
		{"a part is missing", time.Hour, false, partly, []string{"Warn: " + score}, runs.Completed, 0, 1},
		{"it is still missing", 2 * time.Hour, false, partly, nil, runs.Completed, 0, 1},
		{"and a day later", 25 * time.Hour, false, partly, []string{"Warn: " + score}, runs.Completed, 0, 1},
		{"the tenant cannot be read", 26 * time.Hour, false, refused, []string{"Error: " + failure + " The schedule tries again in about 15 minutes, unless the tenant is paused."}, runs.Failed, 1, 2},
		{"nor an hour later", 27 * time.Hour, false, refused, nil, runs.Failed, 2, 2},
		{"nor when somebody asks for it", 27 * time.Hour, true, refused, []string{"Error: " + failure + " The schedule tries again in about an hour, unless the tenant is paused."}, runs.Failed, 3, 2},
		{"and the schedule stays silent", 28 * time.Hour, false, refused, nil, runs.Failed, 4, 2},
		{"nor a day later", 52 * time.Hour, false, refused, []string{"Error: " + failure + " The schedule tries again in about 4 hours, unless the tenant is paused.", "Warn: " + score}, runs.Failed, 5, 2},
		{"it can be read again, in part", 53 * time.Hour, false, partly, []string{notLong + failure}, runs.Completed, 0, 1},
		{"and whole", 54 * time.Hour, false, whole, []string{notLong + score}, runs.Completed, 0, 0},
		{"all is well again", 55 * time.Hour, false, whole, nil, runs.Completed, 0, 0},
	}
	var succeeded time.Time
	for _, s := range steps {
		b.set(start.Add(s.after))
		b.reader.snapshot = s.read
		lines := b.sync(Message{Force: s.force})
		if d := cmp.Diff(s.lines, lines); d != "" {
			t.Errorf("%s: logbook lines (-want +got):\n%s", s.name, d)
		}
		if s.status == complete {
			succeeded = b.now()
		}
		r := b.last()
		if r.Status != s.status || r.Failures != s.failures || len(r.Problems) != s.problems || !r.LastSuccess.Equal(succeeded) || !r.Start.Equal(b.now()) || !r.End.Equal(b.now()) {
			t.Errorf("%s: the run is recorded as %+v", s.name, r)
		}
		if got := b.sent(device(100), "compliance"); got != "Compliant" {
			t.Errorf("%s: a device shows %q", s.name, got)
		}
	}
}

// TestRunRecord looks at the counts that a run leaves.
func TestRunRecord(t *testing.T) {
	b := newBench(t, 3)
	list := devices(2)
	list = append(list, tenant.ManagedDevice{ID: "0f4f4ad0-5b57-4e64-9d8c-00000000aaaa", DeviceName: "OP-PHONE", SerialNumber: "F2LX0000AAAA", OperatingSystem: "iOS"})
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(list), nil }
	counts := func(r runs.Run) [6]int {
		return [6]int{r.OrganizationFields, r.Devices, r.Unchanged, r.Matched, r.IntuneOnly, r.NinjaOnly}
	}
	b.sync(Message{})
	if got, want := counts(b.last()), [6]int{1, 2, 0, 2, 1, 1}; got != want {
		t.Errorf("first run: %v, want %v", got, want)
	}
	b.sync(Message{})
	if got, want := counts(b.last()), [6]int{0, 0, 3, 2, 1, 1}; got != want {
		t.Errorf("second run: %v, want %v", got, want)
	}
	b.sync(Message{Force: true})
	if got, want := counts(b.last()), [6]int{1, 2, 0, 2, 1, 1}; got != want {
		t.Errorf("forced run: %v, want %v", got, want)
	}
	list = list[1:]
	b.sync(Message{})
	if got, want := counts(b.last()), [6]int{1, 1, 1, 1, 1, 2}; got != want {
		t.Errorf("after a device left: %v, want %v", got, want)
	}
	kept, err := devicematch.Load(t.Context(), b.Blobs, labTenant)
	if err != nil || kept.Digest == "" || len(kept.Pairs) != 1 || kept.Pairs[0].NinjaOneID != 101 || len(kept.IntuneOnly) != 1 || len(kept.NinjaOnly) != 2 {
		t.Errorf("kept matches: %+v, %v", kept, err)
	}
	if r := b.last(); r.OrganizationID != labOrganization || r.TenantID != labTenant {
		t.Errorf("the run is recorded as %+v", r)
	}
}

// TestStopped ends the context of a run in its middle, as the host does when it
// stops: nothing is recorded as done or failed, and the message must come back.
func TestStopped(t *testing.T) {
	b := newBench(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		cancel()
		return snapshot(devices(2)), nil
	}
	if err := b.Run(ctx, Message{TenantID: labTenant}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want one that brings the message back", err)
	}
	if r := b.last(); r.Status != runs.Running {
		t.Errorf("the run is recorded as %+v", r)
	}
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(devices(2)), nil }
	if lines := b.sync(Message{}); len(lines) != 1 || !strings.HasPrefix(lines[0], "Info: The sync that began on ") || !strings.Contains(lines[0], "was stopped before its end") {
		t.Errorf("the logbook got %q", lines)
	}
	if r := b.last(); r.Status != runs.Completed || r.Devices != 2 {
		t.Errorf("the run is recorded as %+v", r)
	}
}

// TestNothingComesOfAMessage: a message that is refused or dropped leaves no
// mark that the tenant waits, and nothing of its last run changes.
func TestNothingComesOfAMessage(t *testing.T) {
	for name, happens := range map[string]func(b *bench){
		"not mapped any more": func(b *bench) { b.unmap() },
		"paused":              func(b *bench) { must(b.t, b.Runs.Pause(b.t.Context(), labTenant, true)) },
		"another run is under way": func(b *bench) {
			lease, err := b.lease(b.t.Context(), labOrg)
			must(b.t, err)
			b.t.Cleanup(lease.Release)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.sync(Message{})
			before := b.last()
			happens(b)
			must(t, b.Runs.MarkQueued(t.Context(), labTenant, b.now().Add(time.Minute)))
			if !b.last().Queued.After(before.Start) {
				t.Fatal("the tenant is not marked")
			}
			b.sync(Message{})
			if after := b.last(); !reflect.DeepEqual(after, before) {
				t.Errorf("the run is recorded as %+v, and was %+v", after, before)
			}
		})
	}
	b := newBench(t, 1)
	must(t, b.Runs.Unqueue(t.Context(), labTenant)) // nothing is noted of it
}

// TestGoesOnBesideALightRun: the message by which a run goes on finds the organization
// held by a light run, and comes again. One too many beside a run under way does not.
func TestGoesOnBesideALightRun(t *testing.T) {
	b := newBench(t, 2)
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		b.set(b.now().Add(time.Minute))
		return snapshot(devices(2)), nil
	}
	b.allow(ahead)
	remove := b.ninja.InjectFault(throttled(http.MethodPatch, 1))
	b.sync(Message{})
	remove()
	if r := b.last(); r.Status != runs.Running || !r.Queued.After(r.Start) || b.waiting() != 1 {
		t.Fatalf("the run is recorded as %+v; %d messages wait", r, b.waiting())
	}
	before := b.last()
	held, err := b.lease(t.Context(), labOrg)
	must(t, err)
	b.sync(Message{})
	if r := b.last(); b.waiting() != 2 || !reflect.DeepEqual(r, before) {
		t.Errorf("beside a light run: %d messages wait, want it put back; the run is recorded as %+v, and was %+v", b.waiting(), r, before)
	}
	held.Release()
	b.allow(ahead)
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		must(t, b.Run(t.Context(), Message{TenantID: labTenant}))
		return snapshot(devices(2)), nil
	}
	b.sync(Message{})
	if r := b.last(); r.Status != runs.Completed || b.waiting() != 2 {
		t.Errorf("beside the run that goes on: %d messages wait, want the second dropped; the run is recorded as %+v", b.waiting(), r)
	}
}

// TestQueuedKeepsTheVersion notes a message in a row that another version wrote.
func TestQueuedKeepsTheVersion(t *testing.T) {
	b := newBench(t, 0)
	row := storage.Entity{"PartitionKey": "run", "RowKey": labTenant, "Version": int32(layout.Version + 1)}
	must(t, b.table.Replace(t.Context(), row))
	known := runs.New(b.account.Upto(layout.Version).Table(b.table.Name()))
	must(t, known.MarkQueued(t.Context(), labTenant, b.now()))
	if row, err := b.table.Get(t.Context(), "run", labTenant); err != nil || row.Int("Version") != layout.Version+1 {
		t.Errorf("the row of another version is %v, %v", row, err)
	}
}

// TestOrganizationDeletedWhileWriting lets the organization go between reading
// and writing.
func TestOrganizationDeletedWhileWriting(t *testing.T) {
	b := newBench(t, 2)
	b.ninja.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "^/v2/organization/7/custom-fields$", Status: 404, Body: `{"resultCode":"NOT_FOUND"}`})
	lines := b.sync(Message{})
	if len(lines) != 1 || !strings.Contains(lines[0], "Error: The sync to NinjaOne failed") || !strings.Contains(lines[0], "organization 7 was deleted while it was written") {
		t.Errorf("the logbook got %q", lines)
	}
	if r := b.last(); r.Status != runs.Failed || r.Failures != 1 {
		t.Errorf("the run is recorded as %+v", r)
	}
}

// TestForcedRunThatGoesOn tells of a forced run that was cut short, goes on by
// itself, and then fails for a reason that was told before.
func TestForcedRunThatGoesOn(t *testing.T) {
	b := newBench(t, 2)
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return nil, errors.New("the door is locked; open it") }
	b.sync(Message{Force: true})
	for _, owed := range []string{runs.OwedAll, ""} {
		told := len(owed) / len(runs.OwedAll)
		b.set(b.now().Add(time.Hour))
		r := b.last()
		r.Status, r.Owed = runs.Running, owed
		must(t, b.Runs.Save(t.Context(), r))
		lines := b.sync(Message{})
		if n := strings.Count(strings.Join(lines, "\n"), "Error: The sync to NinjaOne failed"); n != told {
			t.Errorf("owing %q the logbook got %q", owed, lines)
		}
	}
}

// TestPanicFreesTheOrganization: the server turns a panic into an error, and the next
// run goes on.
func TestPanicFreesTheOrganization(t *testing.T) {
	b := newBench(t, 1)
	b.Runs = nil
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the run did not panic")
			}
		}()
		t.Error(b.Run(t.Context(), Message{TenantID: labTenant}))
	}()
	lease, err := b.lease(t.Context(), labOrg)
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
}

// TestEngineRanBeside lets CIPP's own engine sync the tenant around or during a run of
// ours, and write over it. The next run writes everything again, forced or not.
func TestEngineRanBeside(t *testing.T) {
	const minute = time.Minute
	for name, tt := range map[string]struct {
		during     bool // a run of ours
		start, end time.Duration
		want       bool // the next run writes all
	}{
		"before ours":                  {during: true, start: -5 * minute, end: -2 * minute},
		"from before ours, and during": {during: true, start: -5 * minute, want: true},
		"within ours":                  {during: true, start: 0, end: 0, want: true},
		"after ours":                   {start: 10 * minute, end: 15 * minute, want: true},
		"from during ours, and after":  {start: 0, end: 5 * minute, want: true},
		"it has not ended yet":         {start: 10 * minute, end: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			b.sync(Message{})
			b.set(b.now().Add(time.Hour))
			began := b.now()
			engine := func() { // CIPP saves its whole row
				b.row("CippMapping", storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": labTenant, "IntegrationId": "7", "IntegrationName": "Ostholm Printing",
					"lastStartTime": began.Add(minute + tt.start).Format("2006-01-02T15:04:05.000Z"), "lastEndTime": began.Add(minute + tt.end).Format("2006-01-02T15:04:05.000Z"), "lastStatus": "Completed"})
			}
			if tt.during && tt.end < 0 {
				engine()
			}
			b.reader.snapshot = func() (*tenant.Snapshot, error) {
				b.set(b.now().Add(minute + 234567*time.Nanosecond))
				if tt.during && tt.end >= 0 {
					engine()
				}
				b.set(b.now().Add(minute))
				return snapshot(devices(2)), nil
			}
			b.sync(Message{})
			if !tt.during {
				engine()
			}
			b.ninja.SetOrganizationField(labOrganization, "summary", "of CIPP")
			b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(devices(2)), nil }
			b.set(began.Add(20 * minute))
			b.sync(Message{})
			if again := b.sent(labOrg.Target(), "summary") != "of CIPP"; again != tt.want {
				t.Errorf("the organization shows ours again: %v, want %v", again, tt.want)
			}
			b.ninja.ResetCounters()
			b.set(b.now().Add(20 * minute))
			b.sync(Message{})
			if n := b.ninja.Calls()["PATCH /v2/organization/{id}/custom-fields"]; n > 0 {
				t.Error("a later run writes once more")
			}
		})
	}
}
