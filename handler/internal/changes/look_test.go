package changes_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

var must = fail.If

// watch is a world whose first tenant was synced and looked at.
type watch struct {
	*triggertest.World
	t  *testing.T
	id string
}

func newWatch(t *testing.T, tenants int) *watch {
	t.Helper()
	w := &watch{triggertest.New(t, triggertest.Small(tenants, 3)), t, ""}
	for _, one := range w.Seed.Tenants {
		w.Sync(one.ID)
	}
	w.id = w.Seed.Tenants[0].ID
	return w
}

// look looks at the first tenant some minutes later, and returns the messages for
// syncs and for compliance that it sent.
func (w *watch) look() ([]tenantsync.Message, []notify.Message) {
	w.t.Helper()
	w.Clock.Advance(5 * time.Minute)
	must(w.t, w.Process.Watcher.Look(w.t.Context(), changes.Message{TenantID: w.id}))
	w.NoViolations()
	return w.Syncs.Take(), w.Queue.Take()
}

func (w *watch) state() changes.State {
	w.t.Helper()
	all, err := w.Process.Watcher.States(w.t.Context())
	must(w.t, err)
	return all[w.id]
}

// lines are what the logbook says of syncs.
func (w *watch) lines() (lines []string) {
	w.t.Helper()
	for _, row := range storagetest.Rows(w.t, w.App.Table("CippLogs"), storage.Eq("API", cipp.LogbookSync)) {
		lines = append(lines, row.String("Message"))
	}
	return lines
}

// told is how many lines of the logbook hold a text.
func (w *watch) told(text string) (n int) {
	for _, line := range w.lines() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (w *watch) change(f func(*m365sim.Tenant)) { w.M365.Tenant(w.id).Change(f) }

func set(list []m365sim.Entity, i int, property string, v any) {
	list[i] = maps.Clone(list[i])
	list[i][property] = v
}

// graphCalls is how many requests Graph answered since they were counted last.
func (w *watch) graphCalls() (n int) {
	for call, count := range w.M365.Calls() {
		if !strings.Contains(call, "token") {
			n += count
		}
	}
	w.M365.ResetCalls()
	return n
}

// TestLook changes a tenant, and holds against it what a look finds, sends and
// costs.
func TestLook(t *testing.T) {
	w := newWatch(t, 1)
	if syncs, _ := w.look(); len(syncs) != 1 || !syncs[0].Light {
		t.Fatalf("the first look sent %v", syncs)
	}
	w.look()
	w.M365.ResetCalls()
	ninja := w.NinjaOne.Calls()
	for _, tt := range []struct {
		name       string
		change     func(*m365sim.Tenant)
		found      string // "" for nothing
		compliance bool
	}{
		{"nothing", func(*m365sim.Tenant) {}, "", false},
		{"a user's name", func(o *m365sim.Tenant) { set(o.Users, 0, "displayName", "Renamed") }, "users 1", false},
		{"a check-in", func(o *m365sim.Tenant) { set(o.ManagedDevices, 0, "lastSyncDateTime", "2031-01-01T00:00:00Z") }, "", false},
		{"a primary user", func(o *m365sim.Tenant) { set(o.ManagedDevices, 0, "userId", o.Users[1].ID()) }, "Intune devices 1", false},
		{"compliance", func(o *m365sim.Tenant) { set(o.ManagedDevices, 1, "complianceState", "error") }, "Intune devices 1", true},
		{"a device left", func(o *m365sim.Tenant) { o.ManagedDevices = slices.Clone(o.ManagedDevices[1:]) }, "Intune devices 1", true},
		{"a group and a user", func(o *m365sim.Tenant) {
			o.Members[o.Groups[0].ID()] = nil
			set(o.Users, 1, "assignedLicenses", []any{})
		}, "groups 1, users 1", false},
		{"nothing more", func(*m365sim.Tenant) {}, "", false},
	} {
		w.Clock.Advance(time.Hour)
		w.look() // a quiet one, that takes new tokens
		w.graphCalls()
		before := w.state()
		w.change(tt.change)
		syncs, compliance := w.look()
		if n := w.graphCalls(); n != 5 {
			t.Errorf("%s: a look took %d requests", tt.name, n)
		}
		s := w.state()
		found := s.Found
		if s.FoundAt.Equal(before.FoundAt) {
			found = ""
		}
		if found != tt.found || (len(compliance) == 1 && compliance[0].Sweeps()) != tt.compliance {
			t.Errorf("%s: found %q, want %q; compliance %v", tt.name, found, tt.found, compliance)
		}
		if (len(syncs) == 1 && syncs[0] == tenantsync.Message{TenantID: w.id, Light: true}) != (tt.found != "") {
			t.Errorf("%s: sent %v", tt.name, syncs)
		}
	}
	if !maps.Equal(ninja, w.NinjaOne.Calls()) {
		t.Errorf("NinjaOne was asked: %v", w.NinjaOne.Calls())
	}
}

// TestChangesAreDamped lets a tenant change at every look: its light runs come
// further and further apart, up to an hour, and the logbook says so once.
func TestChangesAreDamped(t *testing.T) {
	w := newWatch(t, 1)
	w.look()
	w.look()
	began := w.Clock.Now()
	var due []int
	for n := range 72 { // six hours
		w.change(func(o *m365sim.Tenant) { set(o.Users, 0, "jobTitle", fmt.Sprint("Title ", n)) })
		w.Clock.Advance(5 * time.Minute)
		must(t, w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}))
		for i := range w.Syncs.Messages {
			due = append(due, int((w.Clock.Now().Add(w.Syncs.Delays[i]).Sub(began) + time.Minute/2).Minutes()))
		}
		w.Syncs.Take()
	}
	if want := []int{5, 10, 20, 40, 80, 140, 200, 260, 320}; len(due) < len(want) || !slices.Equal(due[:len(want)], want) || len(due) > len(want)+1 {
		t.Errorf("light runs are due after %v minutes, want %v", due, want)
	}
	if w.told("changes all the time (users 1 at last)") != 1 {
		t.Errorf("the logbook says %q", w.lines())
	}
	w.look()
	if w.told("does not change all the time any more") != 1 || w.state().Damped {
		t.Errorf("the logbook says %q", w.lines())
	}
}

// TestDampedAtLongIntervals looks once an hour or less: light runs come no further apart
// because of damping, and nobody is told that they do.
func TestDampedAtLongIntervals(t *testing.T) {
	for _, every := range []time.Duration{time.Hour, 24 * time.Hour} {
		w := newWatch(t, 1)
		w.Process.Watcher.Every = every
		for n := range 3 {
			w.Clock.Advance(every)
			w.change(func(o *m365sim.Tenant) { set(o.Users, 0, "jobTitle", fmt.Sprint("Title ", n)) })
			must(t, w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}))
			if sent := w.Syncs.Take(); len(sent) != 1 || w.state().Damped || w.told("all the time") > 0 {
				t.Errorf("every %s: change %d sent %v, and the logbook says %q", every, n, sent, w.lines())
			}
		}
	}
}

// TestLookWithoutLoss loses links, messages and the process on the way. Whatever
// is lost, a light run is asked for after the change.
func TestLookWithoutLoss(t *testing.T) {
	for name, trouble := range map[string]func(w *watch) (after func()){
		"links refused": func(w *watch) func() { w.M365.ForgetDeltaLinks(); return nil },
		"the queue of syncs is down": func(w *watch) func() {
			w.Syncs.Fail(errors.New("down"))
			return func() { w.Syncs.Fail(nil) }
		},
		"Graph is down": func(w *watch) func() {
			w.M365.AddFault(m365sim.Fault{Path: regexp.MustCompile("."), Status: 503})
			return w.M365.ClearFaults
		},
		"users are down": func(w *watch) func() {
			w.M365.AddFault(m365sim.Fault{Path: regexp.MustCompile("/users/delta$"), Status: 503})
			return w.M365.ClearFaults
		},
		"a page has expired": func(w *watch) func() {
			w.M365.AddFault(m365sim.Fault{Path: regexp.MustCompile("/users/delta$"), Status: 400, Code: "Directory_ExpiredPageToken", Count: 1})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 1)
			w.look()
			w.look()
			w.change(func(o *m365sim.Tenant) { set(o.Users, 0, "displayName", "Renamed") })
			after := trouble(w)
			sent := 0
			for range 3 {
				w.Clock.Advance(61 * time.Minute)
				_ = w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id})
				sent += len(w.Syncs.Take())
				if after != nil {
					after()
				}
			}
			if sent != 1 {
				t.Errorf("%d light runs were asked for; the state is %+v", sent, w.state())
			}
		})
	}
}

// TestLookFails lets a tenant give no token: its looks come less often, and the
// next that succeeds ends that.
func TestLookFails(t *testing.T) {
	w := newWatch(t, 2)
	tick := func() (looked []string) {
		t.Helper()
		must(t, w.Process.Watcher.Tick(t.Context()))
		for _, m := range w.Looks.Take() {
			looked = append(looked, m.TenantID)
			must(t, w.Process.Watcher.Look(t.Context(), m))
		}
		return looked
	}
	tick()
	w.change(func(o *m365sim.Tenant) { o.Login = m365sim.ConsentMissing })
	w.M365.RevokeTokens()
	var at []int
	for minute := range 300 {
		w.Clock.Advance(time.Minute)
		if slices.Contains(tick(), w.id) {
			at = append(at, minute+1)
		}
	}
	if want := []int{5, 15, 35, 75, 135, 195, 255}; !slices.Equal(at, want) {
		t.Errorf("looked after %v minutes, want %v", at, want)
	}
	if s := w.state(); s.Failures != len(at) || !strings.Contains(s.Problem, "consent") {
		t.Errorf("the state: %+v", s)
	}
	w.change(func(o *m365sim.Tenant) { o.Login = m365sim.LoginOK })
	w.Clock.Advance(time.Hour)
	tick()
	if s := w.state(); s.Failures != 0 || s.Problem != "" {
		t.Errorf("the state: %+v", s)
	}
}

// TestTick queues looks: spread at first, once each, and of nobody who is not
// synced.
func TestTick(t *testing.T) {
	w := newWatch(t, 6)
	paused, unmapped, never := w.Seed.Tenants[1].ID, w.Seed.Tenants[2].ID, w.Seed.Tenants[3].ID
	history := runs.New(w.Own.Table("NinjaOneSyncState"))
	must(t, history.Pause(t.Context(), paused, true))
	w.Unmap(unmapped)
	r, err := history.Last(t.Context(), never)
	must(t, err)
	r.LastSuccess = time.Time{}
	must(t, history.Save(t.Context(), r))
	queued := map[string]int{}
	var delays []time.Duration
	for range 4 { // messages wait
		must(t, w.Process.Watcher.Tick(t.Context()))
		delays = append(delays, w.Looks.Delays...)
		for _, m := range w.Looks.Take() {
			queued[m.TenantID]++
		}
		w.Clock.Advance(time.Minute)
	}
	if len(queued) != 3 || queued[paused]+queued[unmapped]+queued[never] > 0 {
		t.Errorf("queued %v", queued)
	}
	for id, n := range queued {
		if n != 1 {
			t.Errorf("tenant %s was queued %d times", id, n)
		}
	}
	slices.Sort(delays)
	if delays[2] > 5*time.Minute || delays[0] == delays[2] {
		t.Errorf("they are spread over %v", delays)
	}
	// A message that was lost is sent again.
	w.Clock.Advance(36 * time.Minute)
	if err := w.Process.Watcher.Tick(t.Context()); err != nil || len(w.Looks.Take()) != 3 {
		t.Errorf("lost messages: %v", err)
	}
	w.GivenBack = true
	w.Clock.Advance(2 * time.Hour)
	if err := w.Process.Watcher.Tick(t.Context()); err != nil || len(w.Looks.Take()) != 0 {
		t.Errorf("given back, and looks are queued: %v", err)
	}
	if err := w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}); err != nil || w.state().Looked.IsZero() == false {
		t.Errorf("given back, and a look was taken: %v", err)
	}
}

// TestUnwatchedTenantsAreForgotten unmaps a tenant: a week later nothing is kept of
// its looks, links above all.
func TestUnwatchedTenantsAreForgotten(t *testing.T) {
	w := newWatch(t, 2)
	w.look()
	table, blobs := w.Own.Table(changes.TableName), w.Own.Container(tenantsync.ContainerName)
	kept := func() (n int) {
		t.Helper()
		for _, row := range []string{"tenant|" + w.id, "links|" + w.id} {
			if _, err := table.Get(t.Context(), "watch", row); err == nil {
				n++
			}
		}
		if _, err := blobs.Get(t.Context(), "watch/"+w.id+".json"); err == nil {
			n++
		}
		return n
	}
	w.Unmap(w.id)
	for _, want := range []int{3, 3, 0, 0} {
		must(t, w.Process.Watcher.Tick(t.Context()))
		if n := kept(); n != want {
			t.Errorf("%d of 3 are kept, want %d", n, want)
		}
		w.Clock.Advance(84 * time.Hour)
	}
}

// TestNinjaOneChanges moves, adds and deletes devices in NinjaOne: one call an
// interval finds it, and the tenants of the organizations get a light run.
func TestNinjaOneChanges(t *testing.T) {
	for name, reversed := range map[string]bool{"by name": false, "as described": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 3)
			if reversed {
				w.NinjaOne.ReverseActivities()
			}
			of := func(tenantID string) int {
				i := slices.IndexFunc(w.Seed.Mappings, func(m seed.Mapping) bool { return m.TenantID == tenantID })
				return w.Seed.Mappings[i].OrganizationID
			}
			a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
			tick := func() (woken []string, calls map[string]int) {
				t.Helper()
				w.Clock.Advance(time.Hour)
				before := w.NinjaOne.Calls()
				must(t, w.Process.Watcher.Tick(t.Context()))
				for _, m := range w.Syncs.Take() {
					if !m.Light || !m.Devices {
						t.Errorf("sent %+v", m)
					}
					woken = append(woken, m.TenantID)
				}
				calls = w.NinjaOne.Calls()
				for call, n := range before {
					if calls[call] -= n; calls[call] == 0 {
						delete(calls, call)
					}
				}
				slices.Sort(woken)
				return woken, calls
			}
			tick()
			if woken, calls := tick(); len(woken) > 0 || calls["GET /v2/activities"] > 2 || len(calls) != 1 {
				t.Errorf("nothing happened: woken %v, calls %v", woken, calls)
			}
			device := w.Pairs(a)[0].Ninja
			for _, tt := range []struct {
				name   string
				happen func()
				woken  []string
			}{
				{"arrived", func() { w.NinjaOne.AddDevice(ninjasim.Device{ID: 99001, OrganizationID: of(b), SystemName: "NEW-01"}) }, []string{b}},
				{"moved", func() { w.NinjaOne.MoveDevice(device, of(b)) }, []string{a, b}},
				{"deleted", func() { w.NinjaOne.RemoveDevice(w.Pairs(a)[1].Ninja) }, []string{a}},
				{"what concerns no device of ours", func() {
					w.NinjaOne.AddActivity("NODE_UPDATED", 123456)
					w.NinjaOne.AddActivity("CONDITION_TRIGGERED", device)
				}, nil},
				{"many", func() {
					for i := range 60 {
						w.NinjaOne.AddDevice(ninjasim.Device{ID: 99100 + i, OrganizationID: of(b), SystemName: fmt.Sprint("NEW-", i)})
					}
				}, []string{b}},
			} {
				slices.Sort(tt.woken)
				tt.happen()
				if woken, calls := tick(); !slices.Equal(woken, tt.woken) || calls["GET /v2/activities"] != 1 {
					t.Errorf("%s: woken %v, want %v; calls %v", tt.name, woken, tt.woken, calls)
				}
			}
			if woken, calls := tick(); len(woken) > 0 || !maps.Equal(calls, map[string]int{"GET /v2/activities": 1}) {
				t.Errorf("nothing happened any more: woken %v, calls %v", woken, calls)
			}
			w.NoViolations()
		})
	}
}

// TestNinjaOneChangesAreDamped lets devices of an organization change at every look,
// while nothing changes in Microsoft 365: light runs come further and further apart, and
// the logbook says so once.
func TestNinjaOneChangesAreDamped(t *testing.T) {
	w := newWatch(t, 1)
	device := w.Pairs(w.id)[0].Ninja
	must(t, w.Process.Watcher.Tick(t.Context()))
	began := w.Clock.Now()
	var due []int
	for range 48 { // four hours
		w.NinjaOne.AddActivity("NODE_UPDATED", device)
		w.Clock.Advance(5 * time.Minute)
		must(t, w.Process.Watcher.Tick(t.Context()))
		for i := range w.Syncs.Messages {
			due = append(due, int((w.Clock.Now().Add(w.Syncs.Delays[i]).Sub(began) + time.Minute/2).Minutes()))
		}
		w.Syncs.Take()
		must(t, w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}))
		w.Syncs.Take()
		w.Looks.Take()
	}
	if len(due) == 0 || len(due) > 8 {
		t.Errorf("light runs are due after %v minutes", due)
	}
	if w.told("devices change all the time in NinjaOne") != 1 {
		t.Errorf("the logbook says %q", w.lines())
	}
	w.Clock.Advance(3 * time.Hour)
	w.look()
	if w.told("does not change all the time any more") != 1 {
		t.Errorf("the logbook says %q", w.lines())
	}
}

// TestUnreadableDevice lets NinjaOne not tell of one device that changed: the tenants of
// all that changed get a light run all the same, and the next look goes on from there.
func TestUnreadableDevice(t *testing.T) {
	for name, fault := range map[string]ninjasim.Fault{
		"refused":        {Status: http.StatusForbidden, Body: `{"resultCode":"FAILURE"}`},
		"nowhere":        {Status: http.StatusOK, Body: `{"id":99001,"systemName":"NEW-01"}`},
		"another device": {Status: http.StatusOK, Body: `{"id":5,"organizationId":1}`},
		"an odd answer":  {Status: http.StatusOK, Body: `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 3)
			tick := func() (woken []string) {
				t.Helper()
				w.Clock.Advance(time.Hour)
				must(t, w.Process.Watcher.Tick(t.Context()))
				for _, m := range w.Syncs.Take() {
					woken = append(woken, m.TenantID)
				}
				slices.Sort(woken)
				return woken
			}
			tick()
			fault.Method, fault.Path = http.MethodGet, "^/v2/device/99001$"
			w.NinjaOne.InjectFault(fault)
			a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
			w.NinjaOne.AddDevice(ninjasim.Device{ID: 99001, OrganizationID: w.Seed.Organization(b), SystemName: "NEW-01"})
			w.NinjaOne.AddDevice(ninjasim.Device{ID: 99002, OrganizationID: w.Seed.Organization(a), SystemName: "NEW-02"})
			want := []string{a, b}
			slices.Sort(want)
			if woken := tick(); !slices.Equal(woken, want) {
				t.Errorf("woken %v, want %v", woken, want)
			}
			if woken := tick(); len(woken) > 0 {
				t.Errorf("woken once more: %v", woken)
			}
		})
	}
}

// TestActivitiesAreRefused lets NinjaOne refuse its activities: it is asked once an
// interval, and the logbook is told once, and once when that is over.
func TestActivitiesAreRefused(t *testing.T) {
	w := newWatch(t, 1)
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/activities$", Status: 403, Body: `{"resultCode":"FAILURE"}`})
	minutes := func(n int) {
		t.Helper()
		for range n {
			w.Clock.Advance(time.Minute)
			must(t, w.Process.Watcher.Tick(t.Context()))
		}
	}
	before := w.NinjaOne.Calls()["GET /v2/activities"]
	minutes(60)
	if n := w.NinjaOne.Calls()["GET /v2/activities"] - before; n != 12 {
		t.Errorf("NinjaOne was asked %d times in an hour", n)
	}
	if w.told("does not say which devices changed") != 1 {
		t.Errorf("the logbook says %q", w.lines())
	}
	remove()
	minutes(10)
	if w.told("says again which devices changed") != 1 {
		t.Errorf("the logbook says %q", w.lines())
	}
}

// TestSweepUsesTheLook sweeps a tenant after a look: Intune is not asked again, and
// the field is right. A sweep after that reads by itself.
func TestSweepUsesTheLook(t *testing.T) {
	w := newWatch(t, 1)
	w.Sweep(w.id)
	pair := w.Pairs(w.id)[0]
	w.Set(pair, "error")
	w.look()
	w.M365.ResetCalls()
	w.Sweep(w.id)
	if n := w.M365.Calls()["graph GET /v1.0/deviceManagement/managedDevices"]; n != 0 {
		t.Errorf("the sweep read Intune's list %d times", n)
	}
	w.WantField(pair, "Non-Compliant")
	// A device that does not comply checked in: nothing that is shown changed, and
	// its policies are to be read again.
	at := time.Date(2031, 4, 5, 6, 7, 8, 0, time.UTC)
	w.change(func(o *m365sim.Tenant) {
		for i, d := range o.ManagedDevices {
			if d.ID() == pair.Managed {
				set(o.ManagedDevices, i, "lastSyncDateTime", at.Format(time.RFC3339))
			}
		}
	})
	began := w.Clock.Now()
	w.Clock.Advance(time.Hour)
	w.look()
	list, read, err := w.Process.Watcher.DevicesSince(t.Context(), w.id, began)
	i := slices.IndexFunc(list, func(d tenant.ManagedDevice) bool { return d.ID == pair.Managed })
	if err != nil || read.IsZero() || i < 0 || !list[i].LastSync.Equal(at) || w.state().FoundAt.After(began) {
		t.Errorf("the look saw %v at %s, and found %q: %v", list, read, w.state().Found, err)
	}
	w.M365.ResetCalls()
	w.Sweep(w.id)
	w.Set(pair, tenant.StateCompliant)
	w.Clock.Advance(time.Minute)
	w.Sweep(w.id)
	if n := w.M365.Calls()["graph GET /v1.0/deviceManagement/managedDevices"]; n != 1 {
		t.Errorf("the next sweep read Intune's list %d times: %v", n, w.M365.Calls())
	}
	w.WantField(pair, "Compliant")
}

// TestLinksAreNotToldToAnybody looks for the tokens of links in what is logged.
func TestLinksAreNotToldToAnybody(t *testing.T) {
	w := newWatch(t, 1)
	w.look()
	w.M365.AddFault(m365sim.Fault{Path: regexp.MustCompile("/delta$"), Status: 500})
	w.look()
	row, err := w.Own.Table(changes.TableName).Get(context.Background(), "watch", "links|"+w.id)
	must(t, err)
	for column, v := range row {
		link, _ := v.(string)
		if _, token, has := strings.Cut(link, "deltatoken="); has && strings.Contains(w.Logged.String()+fmt.Sprint(w.lines())+w.state().Problem, token) {
			t.Errorf("the token of %s is told", column)
		}
	}
}
