package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/ninjasim"
)

// world is a tenant that changes.
type world struct {
	devices []tenant.ManagedDevice
	users   []tenant.User
}

func newWorld(devicesN, users int) *world {
	w := &world{devices: devices(devicesN)}
	for i := range users {
		w.users = append(w.users, tenant.User{ID: fmt.Sprintf("4a1d7c52-93b8-4f0e-8a66-%012d", i), DisplayName: fmt.Sprint("User ", i),
			UserPrincipalName: fmt.Sprintf("user%d@ostholm.example", i), UserType: "Member", Enabled: true})
	}
	return w
}

func (w *world) snapshot() (*tenant.Snapshot, error) {
	s := snapshot(slices.Clone(w.devices))
	s.Users.Value = slices.Clone(w.users)
	return s, nil
}

// reads is how many reads NinjaOne answered since its counters were reset.
func (b *bench) reads() (n int) {
	for call, count := range b.ninja.Calls() {
		if strings.HasPrefix(call, "GET ") {
			n += count
		}
	}
	return n
}

// light runs a light run some minutes later, and returns the logbook lines that it
// added, and how many reads and writes it took.
func (b *bench) light(m Message) (lines []string, reads, writes int) {
	b.t.Helper()
	b.set(b.now().Add(5 * time.Minute))
	b.ninja.ResetCounters()
	m.Light = true
	lines = b.sync(m)
	return lines, b.reads(), len(b.ninja.Writes()) + len(b.ninja.DocumentWrites())
}

func (b *bench) lastLight() runs.Light {
	b.t.Helper()
	l, err := b.Runs.LastLight(b.t.Context(), labTenant)
	must(b.t, err)
	return l
}

// waiting is how many messages wait on the queue, those that rest included.
func (b *bench) waiting() int {
	b.t.Helper()
	n, err := b.Queue.Length(b.t.Context())
	must(b.t, err)
	return n
}

// TestDailyParts looks which parts of Microsoft 365 a run is given as known: none in
// a full run, and in a light one those of the last run, for a day.
func TestDailyParts(t *testing.T) {
	b := newBench(t, 2)
	w := newWorld(2, 2)
	quota := int64(1)
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		s, err := w.snapshot()
		s.MailboxUsage = tenant.Present([]tenant.MailboxUsage{{UserPrincipalName: "user0@ostholm.example", Used: quota}})
		return s, err
	}
	given := func() int64 {
		if b.reader.known == nil || b.reader.known.Daily == nil {
			return 0
		}
		return b.reader.known.Daily.MailboxUsage.Value[0].Used
	}
	for _, tt := range []struct {
		name   string
		after  time.Duration
		run    Message
		change func()
		given  int64 // 0 for none
	}{
		{"a full run", 0, Message{}, func() {}, 0},
		{"a light run", time.Hour, Message{Light: true}, func() { quota = 2 }, 1},
		{"one for NinjaOne's devices", 0, Message{Light: true, Devices: true}, func() { quota = 1 }, 1},
		{"a light run that reads them anew", 0, Message{Light: true}, func() { quota, w.users = 3, newWorld(2, 3).users }, 1},
		{"the one after it", 0, Message{Light: true}, func() {}, 3},
		{"a light run after days without a full one", 48 * time.Hour, Message{Light: true}, func() {}, 0},
		{"a full run again", time.Hour, Message{}, func() {}, 0},
		{"and a light one", time.Hour, Message{Light: true}, func() {}, 3},
	} {
		tt.change()
		b.set(b.now().Add(tt.after))
		b.sync(tt.run)
		if got := given(); got != tt.given {
			t.Errorf("%s was given %d, want %d", tt.name, got, tt.given)
		}
	}
}

// TestDailyPartsOfADoubtedList lets NinjaOne's list of devices be doubted in a full run:
// what that read of Microsoft 365 serves the light runs all the same, and nothing older.
func TestDailyPartsOfADoubtedList(t *testing.T) {
	b := newBench(t, 14)
	quota := int64(1)
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		s, err := newWorld(14, 2).snapshot()
		s.MailboxUsage = tenant.Present([]tenant.MailboxUsage{{UserPrincipalName: "user0@ostholm.example", Used: quota}})
		return s, err
	}
	b.sync(Message{})
	quota = 2
	b.set(b.now().Add(24 * time.Hour))
	b.ninja.InjectFault(emptyList)
	b.sync(Message{})
	if told := b.told(); !strings.Contains(told, "the list is not believed") {
		t.Fatalf("it told %q", told)
	}
	b.ninja.ClearFaults()
	b.light(Message{})
	if known := b.reader.known; known == nil || known.Daily == nil || known.Daily.MailboxUsage.Value[0].Used != 2 {
		t.Errorf("the light run was given %+v", known)
	}
	if _, reads, _ := b.light(Message{}); reads > 1 {
		t.Errorf("%d reads: NinjaOne's side is not known any more", reads)
	}
}

// TestLightRun changes a tenant of documents, and looks what a light run reads,
// writes and records. A full run right after it writes nothing.
func TestLightRun(t *testing.T) {
	b := newBench(t, 4)
	b.withDocuments(0)
	w := newWorld(3, 4)
	w.devices[0].UserID, w.devices[0].UserPrincipalName = w.users[0].ID, w.users[0].UserPrincipalName
	b.reader.snapshot = w.snapshot
	b.sync(Message{})
	b.set(b.now().Add(3 * time.Hour))
	b.sync(Message{})

	for _, tt := range []struct {
		name   string
		change func()
		ninja  bool // NinjaOne's devices changed
		reads  int  // at most
		writes int
	}{
		{"nothing", func() {}, false, 1, 0},
		{"compliance", func() { w.devices[1].ComplianceState = tenant.StateNoncompliant }, false, 2, 2}, // the device, and the organization's bars
		{"a user's title", func() { w.users[1].JobTitle = "Director" }, false, 1, 1},
		{"a user more", func() { w.users = append(w.users, newWorld(0, 5).users[4]) }, false, 2, 2},
		{"a primary user", func() {
			w.devices[0].UserID, w.devices[0].UserPrincipalName = w.users[2].ID, w.users[2].UserPrincipalName
		}, false, 3, 5}, // relations too,
		{"a user who left", func() { w.users = slices.Delete(w.users, 3, 4) }, false, 2, 2},
		{"an arrival", func() { w.devices = devices(4); w.devices[0].UserID = w.users[2].ID }, true, 4, -1},
		{"a departure", func() { b.ninja.RemoveDevice(102) }, true, 4, -1},
	} {
		before := b.last()
		mapping := b.mappingRow()
		tt.change()
		lines, reads, writes := b.light(Message{Devices: tt.ninja})
		if l := b.lastLight(); l.Status != runs.Completed || !l.Fresh.Equal(b.now()) {
			t.Fatalf("%s: the light run: %+v", tt.name, l)
		}
		if len(lines) > 0 {
			t.Errorf("%s: the logbook says %q", tt.name, lines)
		}
		if reads > tt.reads || tt.writes >= 0 && writes != tt.writes {
			t.Errorf("%s: %d reads and %d writes, want %d and %d: %v", tt.name, reads, writes, tt.reads, tt.writes, b.ninja.Calls())
		}
		after := b.last()
		if !after.Start.Equal(before.Start) || !after.LastSuccess.Equal(before.LastSuccess) || after.Status != before.Status {
			t.Errorf("%s: the light run changed the record of the full one: %+v", tt.name, after)
		}
		if now := b.mappingRow(); now != mapping {
			t.Errorf("%s: CIPP's mapping row changed from %s to %s", tt.name, mapping, now)
		}
		b.ninja.ResetCounters()
		b.set(b.now().Add(time.Minute))
		b.sync(Message{})
		if r := b.last(); r.Status != runs.Completed || len(b.ninja.Writes())+len(b.ninja.DocumentWrites()) > 0 {
			t.Errorf("%s: the full run after it wrote %v and %v: %s", tt.name, b.ninja.Writes(), b.ninja.DocumentWrites(), r.Reason)
		}
	}
}

func (b *bench) mappingRow() string {
	b.t.Helper()
	row, err := b.account.Table("CippMapping").Get(b.t.Context(), "NinjaOneMapping", labTenant)
	must(b.t, err)
	return fmt.Sprint(row.ETag())
}

// TestLightRunLeavesTheWeekAlone lets light runs come when everything has its day of
// the week: what is read and written again then is the full run's.
func TestLightRunLeavesTheWeekAlone(t *testing.T) {
	b := newBench(t, 3)
	b.withDocuments(0)
	b.reader.snapshot = newWorld(3, 4).snapshot
	b.sync(Message{})
	for day := range 7 {
		b.set(b.now().Add(24 * time.Hour))
		if lines, reads, writes := b.light(Message{}); len(lines) > 0 || reads > 1 || writes > 0 {
			t.Errorf("day %d: %d reads and %d writes; the logbook says %q", day, reads, writes, lines)
		}
	}
	b.set(b.now().Add(24 * time.Hour))
	b.ninja.ResetCounters()
	b.sync(Message{})
	if b.reads() < 4 || len(b.ninja.Writes()) == 0 {
		t.Errorf("the full run read %d times and wrote %d targets", b.reads(), len(b.ninja.Writes()))
	}
}

// TestLightRunLeavesMovedDevicesAlone moves a device to another customer, or deletes
// it, and nothing tells of it: light runs write nothing to it, and ask for one that
// reads NinjaOne's devices.
func TestLightRunLeavesMovedDevicesAlone(t *testing.T) {
	for name, happens := range map[string]func(b *bench){
		"moved":   func(b *bench) { b.ninja.MoveDevice(100, 8) },
		"deleted": func(b *bench) { b.ninja.RemoveDevice(100) },
		"pending": func(b *bench) { b.approve(100, "PENDING") },
	} {
		for _, changed := range []int{1, 3} {
			t.Run(fmt.Sprint(name, ", ", changed, " changed"), func(t *testing.T) {
				b := newBench(t, 3)
				b.ninja.AddOrganization(ninjasim.Organization{ID: 8, Name: "Another customer"})
				w := newWorld(3, 0)
				b.reader.snapshot = w.snapshot
				b.sync(Message{})
				happens(b)
				for i := range changed {
					w.devices[i].OSVersion = "10.0.77"
				}
				lines, reads, _ := b.light(Message{})
				for _, write := range b.ninja.Writes() {
					if write.Target == (ninjasim.Target{Kind: ninjasim.DeviceKind, ID: 100}) {
						t.Errorf("the device was written: %v", write)
					}
				}
				if l := b.lastLight(); l.Status != runs.Completed || l.Devices != changed-1 || len(lines) > 0 || reads != 1 || b.waiting() != 1 {
					t.Errorf("the light run: %+v, %d reads; %d messages wait; the logbook says %q", l, reads, b.waiting(), lines)
				}
			})
		}
	}
}

// TestLightRunBesideUnreadDevices lets NinjaOne not tell whether devices are still in the
// organization: they wait for the next attempt, and the rest does not.
func TestLightRunBesideUnreadDevices(t *testing.T) {
	for name, changed := range map[string]int{"one device": 1, "the list": 2} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			w := newWorld(2, 1)
			b.reader.snapshot = w.snapshot
			b.sync(Message{})
			before := b.sent(organization, "summary")
			for i := range changed {
				w.devices[i].ComplianceState = tenant.StateNoncompliant
			}
			remove := b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/device(/100|s-detailed)$", Status: http.StatusForbidden, Body: `{"resultCode":"FAILURE"}`})
			b.light(Message{})
			if l := b.lastLight(); l.Status != runs.Failed || l.Devices != 0 || b.waiting() != 1 || b.sent(organization, "summary") == before {
				t.Errorf("the light run: %+v; %d messages wait", l, b.waiting())
			}
			remove()
			b.light(Message{})
			if l := b.lastLight(); l.Status != runs.Completed || b.sent(device(100), "compliance") != "Non-Compliant" {
				t.Errorf("the next light run: %+v", l)
			}
		})
	}
}

// TestLightRunIsNotForced lets a light run come while a forced run still has work:
// that stays the full run's.
func TestLightRunIsNotForced(t *testing.T) {
	b := newBench(t, 2)
	b.reader.snapshot = newWorld(2, 0).snapshot
	b.sync(Message{})
	r := b.last()
	r.Owed = runs.OwedAll
	must(t, b.Runs.Save(t.Context(), r))
	if _, _, writes := b.light(Message{}); writes > 0 {
		t.Errorf("the light run wrote %d targets", writes)
	}
	if now := b.last(); now.Owed != runs.OwedAll || now.Status != runs.Completed {
		t.Errorf("the full run's record: %+v", now)
	}
}

// TestLightRunWithoutInventory lets a light run come where it is not known what
// NinjaOne has, or where a field was mapped since: it reads that.
func TestLightRunWithoutInventory(t *testing.T) {
	for name, happens := range map[string]func(b *bench){
		"none":       func(b *bench) { must(b.t, b.Blobs.Delete(b.t.Context(), inventoryName(labTenant))) },
		"unreadable": func(b *bench) { must(b.t, b.Blobs.Put(b.t.Context(), inventoryName(labTenant), []byte("{"))) },
		"another's": func(b *bench) {
			must(b.t, b.Blobs.Put(b.t.Context(), inventoryName(labTenant), []byte(`{"instance":"us.ninjarmm.com","organizationId":7}`)))
		},
		"a field more": func(b *bench) {
			b.define(ninjasim.CustomField{Name: "portals", Type: "WYSIWYG", DefinitionScope: []string{"ORGANIZATION"}}, "READ_WRITE")
			b.mapField(tenantLinks, "portals")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			w := newWorld(2, 0)
			b.reader.snapshot = w.snapshot
			b.sync(Message{})
			happens(b)
			w.devices[0].ComplianceState = tenant.StateNoncompliant
			lines, reads, _ := b.light(Message{})
			if got := b.sent(device(100), "compliance"); got != "Non-Compliant" || len(lines) > 0 || reads > 2 {
				t.Errorf("the device shows %q after %d reads; the logbook says %q", got, reads, lines)
			}
			if name == "a field more" && b.sent(organization, "portals") == "" {
				t.Error("the new field is empty")
			}
		})
	}
}

// TestLightRunsThatAreNotMade sends messages that come to nothing, or wait.
func TestLightRunsThatAreNotMade(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(b *bench)
		waits  int
	}{
		"never synced": {func(*bench) {}, 0},
		"paused": {func(b *bench) {
			b.sync(Message{})
			must(b.t, b.Runs.Pause(b.t.Context(), labTenant, true))
		}, 0},
		"unmapped": {func(b *bench) { b.sync(Message{}); b.unmap() }, 0},
		"synced since": {func(b *bench) {
			b.sync(Message{})
			b.set(time.Now().Add(time.Hour)) // by the clock of the queue
			b.sync(Message{})
		}, 0},
		"a full run goes on": {func(b *bench) {
			b.sync(Message{})
			r := b.last()
			r.Status = runs.Running
			must(b.t, b.Runs.Save(b.t.Context(), r))
		}, 1},
		"the organization is busy": {func(b *bench) {
			b.sync(Message{})
			lease, err := b.lease(b.t.Context(), labOrg)
			must(b.t, err)
			b.t.Cleanup(lease.Release)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			tt.before(b)
			b.ninja.ResetCounters()
			read := 0
			b.reader.snapshot = func() (*tenant.Snapshot, error) { read++; return snapshot(devices(1)), nil }
			lines := b.sync(Message{Light: true, Sent: time.Now()})
			if read != 0 || len(lines) > 0 || len(b.ninja.Calls()) > 0 || b.waiting() != tt.waits || b.lastLight().Status != "" {
				t.Errorf("read %d times, %d messages wait, the logbook says %q, NinjaOne was asked %v", read, b.waiting(), lines, b.ninja.Calls())
			}
		})
	}
}

// TestLightRunsThatFail lets Microsoft 365 refuse: the change is tried again, the
// logbook is told when that lasts, and told when it is over.
func TestLightRunsThatFail(t *testing.T) {
	b := newBench(t, 1)
	w := newWorld(1, 0)
	b.reader.snapshot = w.snapshot
	b.sync(Message{})
	w.devices[0].ComplianceState = tenant.StateNoncompliant
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return nil, errors.New("the door is locked; open it") }
	for n := 1; n <= lightTries; n++ {
		lines, _, _ := b.light(Message{})
		told := n == lightTold
		if (len(lines) == 1 && strings.Contains(lines[0], "the door is locked; open it")) != told || len(lines) > 1 {
			t.Errorf("after %d failures the logbook says %q", n, lines)
		}
		if want := min(n, lightTries-1); b.waiting() != want {
			t.Errorf("after %d failures %d messages wait, want %d", n, b.waiting(), want)
		}
	}
	if r := b.last(); r.Status != runs.Completed || len(r.Problems) != 1 {
		t.Errorf("the record of the full run: %+v", r)
	}
	b.reader.snapshot = w.snapshot
	lines, _, _ := b.light(Message{})
	if got := b.sent(device(100), "compliance"); got != "Non-Compliant" || len(lines) != 1 || b.lastLight().Failures != 0 {
		t.Errorf("the device shows %q, the logbook says %q", got, lines)
	}
	if lines, _, _ = b.light(Message{}); len(lines) > 0 {
		t.Errorf("the logbook says %q once more", lines)
	}
}

// throttled turns away all requests of a method but the first ones.
func throttled(method string, skip int) ninjasim.Fault {
	return ninjasim.Fault{Method: method, Skip: skip, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"600"}}}
}

// TestLightRunOutOfTime cuts a light run short after some writes: it goes on by a
// message of its own.
func TestLightRunOutOfTime(t *testing.T) {
	b := newBench(t, 2)
	w := newWorld(2, 0)
	b.reader.snapshot = w.snapshot
	b.sync(Message{})
	w.devices[0].ComplianceState, w.devices[1].ComplianceState = tenant.StateNoncompliant, tenant.StateNoncompliant
	b.allow(ahead)
	remove := b.ninja.InjectFault(throttled(http.MethodPatch, 1))
	b.light(Message{})
	remove()
	if l := b.lastLight(); l.Status != runs.Running || b.waiting() != 1 {
		t.Fatalf("the light run: %+v; %d messages wait", l, b.waiting())
	}
	b.allow(ahead)
	b.light(Message{})
	if l := b.lastLight(); l.Status != runs.Completed || b.sent(device(100), "compliance")+b.sent(device(101), "compliance") != "Non-CompliantNon-Compliant" {
		t.Errorf("the light run: %+v", l)
	}
}

// TestLightRunsComeToTheSame lets everything change at random, with light runs in
// between, some of which fail or stop. In the end NinjaOne shows what a forced
// sync leaves, and a full sync before that writes nothing. Each day tries some
// sequences.
func TestLightRunsComeToTheSame(t *testing.T) {
	for _, seed := range draw.Below(t, 3, uint64(6)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 19))
			b := newBench(t, 3)
			b.withDocuments(0)
			w := newWorld(3, 5)
			b.reader.snapshot = w.snapshot
			b.sync(Message{})
			next, ninja := 5, 3
			anyUser := func() *tenant.User { return &w.users[random.IntN(len(w.users))] }
			for range 12 {
				moved := false
				for range 1 + random.IntN(3) {
					switch random.IntN(8) {
					case 0:
						anyUser().DisplayName = fmt.Sprint("Renamed ", random.IntN(1000))
					case 1:
						w.users = append(w.users, newWorld(0, next+1).users[next])
						next++
					case 2:
						if len(w.users) > 2 {
							i := random.IntN(len(w.users))
							w.users = slices.Delete(w.users, i, i+1)
						}
					case 3:
						d, u := &w.devices[random.IntN(len(w.devices))], anyUser()
						d.UserID, d.UserPrincipalName = u.ID, u.UserPrincipalName
					case 4:
						states := []string{tenant.StateCompliant, tenant.StateNoncompliant, "unknown", tenant.StateInGracePeriod}
						w.devices[random.IntN(len(w.devices))].ComplianceState = states[random.IntN(len(states))]
					case 5:
						w.devices[random.IntN(len(w.devices))].OSVersion = fmt.Sprint("10.0.", random.IntN(1000))
					case 6:
						if n := len(w.devices); n > 1 && random.IntN(2) == 0 {
							w.devices = slices.Clone(w.devices[:n-1]) // it left Intune
						} else {
							w.devices = append(w.devices, devices(n + 1)[n])
						}
					case 7:
						b.ninja.AddDevice(ninjasim.Device{ID: 100 + ninja, OrganizationID: labOrganization, SystemName: fmt.Sprintf("OP-%03d", ninja), SerialNumber: fmt.Sprintf("5CG100%04d", ninja)})
						ninja++
						moved = true
					}
				}
				b.allow(ahead) // a client that knows of no pause
				var remove func()
				ctx, kill := context.WithCancel(t.Context())
				switch random.IntN(6) {
				case 5: // the process ends in the middle of a call
					remove = b.ninja.InjectFault(ninjasim.Fault{Method: []string{http.MethodPatch, http.MethodPost}[random.IntN(2)], Skip: random.IntN(4), Hang: true, OnHit: kill})
				case 1:
					remove = b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodPatch, Path: "custom-fields$", Skip: random.IntN(3), Count: 2, Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`})
				case 2:
					remove = b.ninja.InjectFault(throttled(http.MethodPost, random.IntN(2)))
				case 3:
					remove = b.ninja.InjectFault(throttled(http.MethodPatch, random.IntN(4)))
				case 4:
					remove = b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodPost, Path: "documents$|relations$", Count: 1, AfterHandling: true, Reset: true})
				}
				b.set(b.now().Add(5 * time.Minute))
				_ = b.Run(ctx, Message{TenantID: labTenant, Light: true, Devices: moved}) // a process that ends says so
				kill()
				if remove != nil {
					remove()
					b.allow(ahead)
					b.light(Message{Devices: moved})
				}
			}
			b.light(Message{})
			shown := b.shown()
			b.ninja.ResetCounters()
			b.set(b.now().Add(time.Minute))
			b.sync(Message{})
			if r := b.last(); r.Status != runs.Completed || len(b.ninja.Writes())+len(b.ninja.DocumentWrites()) > 0 {
				t.Errorf("the full run wrote %v and %v: %s", b.ninja.Writes(), b.ninja.DocumentWrites(), r.Reason)
			}
			b.set(b.now().Add(time.Minute))
			b.sync(Message{Force: true})
			if diff := cmp.Diff(shown, b.shown()); diff != "" {
				t.Errorf("light runs left something else than a forced one (-light +forced):\n%s", diff)
			}
		})
	}
}

// TestLightRunsThatAreNeeded sends messages after which a run began to read, and
// on which something relies all the same.
func TestLightRunsThatAreNeeded(t *testing.T) {
	sent := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		message Message
		runs    Message // after it was sent
	}{
		"due later than a full run":    {Message{Due: sent.Add(20 * time.Minute)}, Message{}},
		"due later than a light run":   {Message{Due: sent.Add(20 * time.Minute)}, Message{Light: true}},
		"devices, and a light run was": {Message{Devices: true}, Message{Light: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			w := newWorld(2, 0)
			b.reader.snapshot = w.snapshot
			b.set(sent)
			b.sync(Message{})
			b.set(sent.Add(5 * time.Minute))
			b.sync(tt.runs)
			w.devices[0].ComplianceState = tenant.StateNoncompliant
			b.set(sent.Add(20 * time.Minute))
			m := tt.message
			m.Light, m.Sent = true, sent
			b.sync(m)
			if got := b.sent(device(100), "compliance"); got != "Non-Compliant" {
				t.Errorf("the device shows %q; the light run: %+v", got, b.lastLight())
			}
		})
	}
}

// TestLightRunThatReadsNoChange lets the list that changed be unreadable during the
// light run: it comes again, unless the full run could not read the list either.
func TestLightRunThatReadsNoChange(t *testing.T) {
	b := newBench(t, 1)
	w := newWorld(1, 0)
	down := func() (*tenant.Snapshot, error) {
		s, err := w.snapshot()
		s.ManagedDevices = tenant.Absent[[]tenant.ManagedDevice]("Not available: Graph answered 503")
		return s, err
	}
	b.reader.snapshot = w.snapshot
	b.sync(Message{})
	w.devices[0].ComplianceState = tenant.StateNoncompliant
	b.reader.snapshot = down
	lines, _, _ := b.light(Message{})
	if l := b.lastLight(); l.Status != runs.Failed || b.waiting() != 1 || len(lines) > 0 || l.Fresh.After(l.Start) || !strings.Contains(l.Reason, "Intune devices") {
		t.Errorf("%d messages wait, the logbook says %q, the light run: %+v", b.waiting(), lines, l)
	}
	b.reader.snapshot = w.snapshot
	b.light(Message{})
	if got := b.sent(device(100), "compliance"); got != "Non-Compliant" || b.lastLight().Status != runs.Completed {
		t.Errorf("the device shows %q, the light run: %+v", got, b.lastLight())
	}
	b.reader.snapshot = down
	b.set(b.now().Add(5 * time.Minute))
	b.sync(Message{})
	if b.light(Message{}); b.lastLight().Status != runs.Completed || b.waiting() != 1 {
		t.Errorf("%d messages wait, the light run: %+v", b.waiting(), b.lastLight())
	}
}

// TestLightRunKnowsWhatTheLastRunKnew: another process ran a forced sync after a change
// in CIPP, which a light run of this one does not take back.
func TestLightRunKnowsWhatTheLastRunKnew(t *testing.T) {
	b := newBench(t, 1)
	process := func() *cipp.Store {
		return cipptest.Store(b.account, func(d *cipp.Deps) { d.Now = b.now })
	}
	portal := func(host string) {
		b.row("Config", storage.Entity{"PartitionKey": "InstanceProperties", "RowKey": "CIPPURL", "Value": host})
	}
	defer b.account.Table("Config").Delete(context.WithoutCancel(t.Context()), "InstanceProperties", "CIPPURL")
	w := newWorld(1, 0)
	b.reader.snapshot = w.snapshot
	first, other := process(), process()
	shows := func(host string) {
		t.Helper()
		if got := b.sent(device(100), "links"); !strings.Contains(got, host) {
			t.Errorf("the device does not show %s: %s", host, got)
		}
	}
	portal("before.example")
	b.CIPP = first
	b.sync(Message{})
	shows("before.example")
	portal("after.example")
	b.set(b.now().Add(time.Minute))
	b.CIPP = other
	b.sync(Message{Force: true})
	shows("after.example")
	b.set(b.now().Add(time.Minute))
	b.CIPP = first
	b.sync(Message{Light: true})
	shows("after.example")
	portal("then.example")
	b.set(b.now().Add(10 * time.Minute))
	b.CIPP = other
	b.sync(Message{Light: true})
	shows("then.example")
	b.set(b.now().Add(time.Minute))
	b.CIPP = first
	b.sync(Message{Light: true})
	shows("then.example")
}
