package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/sandbox/seed"
)

func TestHoldTellsOnce(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.tick()
		w.wantHeld(true)
		w.now = w.now.Add(15 * time.Minute)
	}
	w.wantLines(1, "held off")
	if got := w.take(); len(got) > 0 {
		t.Errorf("forced syncs were queued for %v, though there is nothing to put right", got)
	}
}

func TestHoldWithoutRows(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{"NinjaSyncTime", "NinjaLastRunTime"} {
		_, err := w.tables.NewClient("NinjaOneSettings").DeleteEntity(t.Context(), "NinjaConfig", key, nil)
		must(t, err)
	}
	w.tick()
	w.wantHeld(true)
	must(t, w.GiveBack(t.Context()))
	w.wantHeld(false)
	if _, lastRun := w.settings(); parse(lastRun).After(w.now.Add(-25 * time.Hour)) {
		t.Errorf("the last run is given back as %v, after which CIPP would wait", lastRun)
	}
}

// TestHoldWhileOff: the rows are held while the extension is turned off, for
// CIPP's engine could start the moment it is turned on; nothing else is done.
func TestHoldWhileOff(t *testing.T) {
	w := newWorld(t)
	w.configure("Enabled", false)
	w.configure("CveSyncEnabled", true)
	w.tick()
	w.wantHeld(true)
	w.setLastRun(w.now)
	w.tick()
	w.wantHeld(true)
	if len(w.graph.removed) > 0 || len(w.take()) > 0 || len(w.logbook("CVE")) > 0 {
		t.Error("more was done than to hold the scheduler off")
	}
	w.configure("Enabled", true)
	w.tick()
	if got := w.take(); !slices.Equal(got, w.mapped) {
		t.Errorf("forced syncs are queued for %v, want %v", got, w.mapped)
	}
}

func TestNeverConfigured(t *testing.T) {
	w := newWorld(t)
	_, err := w.tables.NewClient("Extensionsconfig").DeleteEntity(t.Context(), "CippExtensions", "Config", nil)
	must(t, err)
	before, _ := w.settings()
	w.tick()
	if after, _ := w.settings(); after != before {
		t.Errorf("NinjaSyncTime became %v", after)
	}
	must(t, w.GiveBack(t.Context()))
	if after, _ := w.settings(); after != before {
		t.Errorf("NinjaSyncTime became %v", after)
	}
}

func TestForceSync(t *testing.T) {
	w := newWorld(t)
	w.tick()
	w.sync(w.mapped...)
	w.now = w.now.Add(time.Hour)
	w.tick()

	// Somebody starts a Force Sync; CIPP has begun with one tenant when we see it.
	w.now = w.now.Add(5 * time.Minute)
	w.setLastRun(w.now)
	early, late := w.mapped[0], w.mapped[1]
	w.cippRuns(early, w.now, w.now.Add(time.Minute))
	w.now = w.now.Add(10 * time.Minute)
	w.tick()
	w.wantHeld(true)
	if got := w.take(); !slices.Equal(got, w.mapped) {
		t.Errorf("forced syncs are queued for %v, want %v", got, w.mapped)
	}
	w.now = w.now.Add(15 * time.Minute)
	w.tick()
	if got := w.take(); len(got) > 0 {
		t.Errorf("forced syncs are queued again, for %v", got)
	}
	w.sync(w.mapped...)

	// CIPP comes to another tenant after our sync of it.
	w.now = w.now.Add(15 * time.Minute)
	w.cippRuns(late, w.now.Add(-2*time.Minute), time.Time{})
	w.tick()
	if got := w.take(); len(got) > 0 {
		t.Errorf("forced syncs are queued for %v, which CIPP has not done with", got)
	}
	w.cippRuns(late, w.now.Add(-2*time.Minute), w.now)
	for _, want := range [][]string{{late}, nil} {
		w.now = w.now.Add(15 * time.Minute)
		w.tick()
		if got := w.take(); !slices.Equal(got, want) {
			t.Errorf("forced syncs are queued for %v, want %v", got, want)
		}
	}
	w.sync(late)
	w.now = w.now.Add(15 * time.Minute)
	w.tick()
	if got := w.take(); len(got) > 0 {
		t.Errorf("forced syncs are queued for %v, though all was put right", got)
	}
	w.wantLines(1, "Force Sync")

	// The next Force Sync is a new one.
	w.setLastRun(w.now)
	w.tick()
	if got := w.take(); !slices.Equal(got, w.mapped) {
		t.Errorf("after another Force Sync, forced syncs are queued for %v", got)
	}
	w.wantLines(2, "Force Sync")

	must(t, w.GiveBack(t.Context()))
	if _, lastRun := w.settings(); lastRun != iso(w.now) {
		t.Errorf("the last run is given back as %v, want that of the Force Sync, %s", lastRun, iso(w.now))
	}
}

// TestForceSyncOfPaused: a paused tenant is put right when it is resumed.
func TestForceSyncOfPaused(t *testing.T) {
	w := newWorld(t)
	w.tick()
	w.sync(w.mapped...)
	paused, others := w.mapped[0], w.mapped[1:]
	must(t, w.Runs.Pause(t.Context(), paused, true))
	w.now = w.now.Add(time.Hour)
	w.setLastRun(w.now)
	w.cippRuns(paused, w.now, w.now.Add(time.Minute))
	w.now = w.now.Add(15 * time.Minute)
	w.tick()
	if got := w.take(); !slices.Equal(got, others) {
		t.Errorf("forced syncs are queued for %v, want %v", got, others)
	}
	w.sync(others...)
	must(t, w.Runs.Pause(t.Context(), paused, false))
	for _, want := range [][]string{{paused}, nil} {
		w.now = w.now.Add(15 * time.Minute)
		w.tick()
		if got := w.take(); !slices.Equal(got, want) {
			t.Errorf("after the tenant was resumed, forced syncs are queued for %v, want %v", got, want)
		}
	}
}

// TestForceSyncQueueFails: what could not be queued is queued at the next
// tick, and nothing twice; the scheduler is held off all the same.
func TestForceSyncQueueFails(t *testing.T) {
	w := newWorld(t)
	w.tick()
	queue := w.Queue
	w.setLastRun(w.now)
	w.Queue = w.account.Queue("NO VALID NAME")
	err := w.Tick(t.Context())
	if err == nil || !strings.Contains(err.Error(), w.mapped[0]) {
		t.Errorf("the error is %v", err)
	}
	w.wantHeld(true)
	w.wantLines(0, "Force Sync")
	w.Queue = queue
	for _, want := range [][]string{w.mapped, nil} {
		w.tick()
		if got := w.take(); !slices.Equal(got, want) {
			t.Errorf("forced syncs are queued for %v, want %v", got, want)
		}
	}
	w.wantLines(1, "Force Sync")
}

func TestWroteAfter(t *testing.T) {
	at := func(minutes int) time.Time { return midnight.Add(time.Duration(minutes) * time.Minute) }
	ours := runs.Run{Start: at(10).Add(700 * time.Microsecond), End: at(12), Status: runs.Completed}
	tests := map[string]struct {
		start, end time.Time // of the mapping row
		last       runs.Run
		want       bool
	}{
		"our own run":                       {at(10), at(12), ours, false},
		"an older run of CIPP":              {at(1), at(3), ours, false},
		"CIPP ran after us":                 {at(20), at(22), ours, true},
		"CIPP ended after we began":         {at(9), at(11), ours, true},
		"CIPP ended before we did":          {at(9), at(12), ours, true},
		"CIPP is under way":                 {at(50), at(12), ours, false},
		"CIPP was killed":                   {at(20), at(12), ours, true},
		"CIPP found our run under way":      {at(10), at(11), ours, false},
		"the row was saved anew":            {time.Time{}, time.Time{}, ours, false},
		"we are under way":                  {at(20), at(22), runs.Run{Start: at(5), Status: runs.Running}, false},
		"we failed, CIPP ran after us":      {at(20), at(22), runs.Run{Start: at(5), Status: runs.Failed}, true},
		"we have never synced the tenant":   {at(20), at(22), runs.Run{}, false},
		"queued, never synced by us before": {at(20), at(22), runs.Run{Queued: at(5)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := cipp.OrganizationMapping{LastStart: tt.start, LastEnd: tt.end}
			if got := wroteAfter(m, tt.last, at(55)); got != tt.want {
				t.Errorf("wroteAfter = %v, want %v", got, tt.want)
			}
		})
	}
}

func (w *world) wantSubscriptions(domains ...string) {
	w.t.Helper()
	var got []string
	others := 0
	for _, r := range w.rows("webhookTable", "") {
		if r["EventType"] == "DeviceUpdate" {
			got = append(got, r["PartitionKey"].(string))
		} else {
			others++
		}
	}
	slices.Sort(got)
	slices.Sort(domains)
	if !slices.Equal(got, domains) {
		w.t.Errorf("CIPP has subscriptions on the devices of %v, want %v", got, domains)
	}
	if others != 2 {
		w.t.Errorf("CIPP has %d other subscriptions, want 2", others)
	}
}

func TestSubscriptions(t *testing.T) {
	w := newWorld(t)
	failing, refusing := w.subs[1], w.subs[2]
	w.graph.fail[failing.TenantID] = errors.New("the service is unavailable")
	w.graph.fail[refusing.TenantID] = &m365.SubscriptionError{Tenant: refusing.TenantID, Reason: m365.SubscriptionForbidden}
	gone := map[string]any{"EventType": "DeviceUpdate", "Resource": "devices", "SubscriptionID": failing.SubscriptionID}
	w.write("webhookTable", "gone.example", "row", gone)
	w.tick()
	w.wantSubscriptions(w.domain(failing.TenantID))
	for _, d := range w.subs {
		want := 1
		if d == failing || d == refusing {
			want = 0
		}
		if got := w.graph.removed[d.TenantID+" "+d.SubscriptionID]; got != want {
			t.Errorf("the subscription of %s was removed %d times at Graph, want %d", w.domain(d.TenantID), got, want)
		}
	}
	w.wantLines(1, w.domain(failing.TenantID)+" could not be removed")
	w.wantLines(1, "Warn: CIPP's own subscriptions on the devices of 2 tenants")
	w.wantLines(1, fmt.Sprintf("by another rule: %d.", len(w.subs)-2))

	delete(w.graph.fail, failing.TenantID)
	for range 2 {
		w.now = w.now.Add(15 * time.Minute)
		w.tick()
		w.wantSubscriptions()
	}
	w.wantLines(1, "No longer a problem: CIPP's own subscription on the devices of "+w.domain(failing.TenantID))
	if got := w.graph.removed[failing.TenantID+" "+failing.SubscriptionID]; got != 1 {
		t.Errorf("the subscription that failed was removed %d times at Graph", got)
	}

	// A Force Sync makes one anew.
	anew := "dddddddd-0000-4000-8000-000000000001"
	w.write("webhookTable", w.domain(failing.TenantID), "row", map[string]any{"EventType": "DeviceUpdate", "Resource": "devices", "SubscriptionID": anew})
	w.tick()
	w.wantSubscriptions()
	if w.graph.removed[failing.TenantID+" "+anew] != 1 {
		t.Error("the new subscription is still at Graph")
	}
}

func TestSubscriptionsOfManyFail(t *testing.T) {
	w := newWorld(t)
	one := w.subs[0]
	w.graph.fail[one.TenantID] = &m365.SubscriptionError{Tenant: one.TenantID, Reason: m365.SubscriptionThrottled}
	for i := range 30 {
		w.write("webhookTable", w.domain(one.TenantID), fmt.Sprintf("row-%d", i), map[string]any{
			"EventType": "DeviceUpdate", "Resource": "devices", "SubscriptionID": one.SubscriptionID})
	}
	w.tick()
	w.wantLines(1, "for 11 further tenants")
}

// TestSubscriptionsAtGraph removes a subscription through the real client, and
// others that Graph has lost already.
func TestSubscriptionsAtGraph(t *testing.T) {
	w := newWorld(t)
	server, err := w.seed.Server()
	must(t, err)
	endpoints, err := server.Start()
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	reader := m365test.Reader(t, endpoints, m365.Deps{Credentials: w.secrets(), Log: w.Log})
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(rw, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(receiver.Close)
	i := slices.IndexFunc(w.subs, func(d seed.DeviceSubscription) bool { return w.domain(d.TenantID) == seed.Ordinary })
	known, err := w.CIPP.Tenant(t.Context(), w.subs[i].TenantID)
	must(t, err)
	made, err := reader.Subscribe(t.Context(), known.Ref, m365.SubscriptionRequest{NotificationURL: receiver.URL, ClientState: "state", Expires: time.Now().Add(time.Hour)})
	must(t, err)
	w.write("webhookTable", known.DefaultDomain, w.subs[i].CIPPID, map[string]any{"SubscriptionID": made.ID})
	w.Graph = reader
	w.tick()
	if left := server.Subscriptions(known.ID); len(left) > 0 {
		t.Errorf("the tenant still has %d subscriptions at Graph", len(left))
	}
	for _, r := range w.rows("webhookTable", "EventType eq 'DeviceUpdate'") {
		// Only where nobody can sign in, CIPP's row stays.
		if domain := r["PartitionKey"].(string); len(w.logbook(domain+" could not be removed")) != 1 {
			t.Errorf("the row of %s stays without a word", domain)
		}
		if r["PartitionKey"] == known.DefaultDomain {
			t.Error("the row of the removed subscription stays")
		}
	}
	if v := server.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
}

func TestGiveBack(t *testing.T) {
	w := newWorld(t)
	syncTime, lastRun := w.settings()
	w.tick()
	for range 2 {
		must(t, w.GiveBack(t.Context()))
		if s, l := w.settings(); s != syncTime || l != lastRun {
			t.Errorf("given back as %v and %v, want %v and %v", s, l, syncTime, lastRun)
		}
		if given, err := w.GivenBack(t.Context()); err != nil || !given {
			t.Errorf("GivenBack = %v, %v", given, err)
		}
	}

	// CIPP runs, and draws another time.
	w.setLastRun(w.now)
	w.write("NinjaOneSettings", "NinjaConfig", "NinjaSyncTime", map[string]any{"SettingValue": 12})
	w.write("webhookTable", w.domain(w.subs[0].TenantID), "row", map[string]any{"EventType": "DeviceUpdate", "Resource": "devices", "SubscriptionID": w.subs[0].SubscriptionID})
	w.tick()
	w.wantHeld(false)
	w.wantSubscriptions(w.domain(w.subs[0].TenantID))

	must(t, w.TakeOver(t.Context()))
	w.wantHeld(true)
	w.wantSubscriptions()
	if got := w.take(); !slices.Equal(got, w.mapped) {
		t.Errorf("forced syncs are queued for %v, want %v", got, w.mapped)
	}
	w.wantLines(0, "Force Sync for example")
	w.wantLines(1, "in place of CIPP. It syncs every mapped tenant")
	if given, err := w.GivenBack(t.Context()); err != nil || given {
		t.Errorf("GivenBack = %v, %v", given, err)
	}
	must(t, w.TakeOver(t.Context()))
	if got := w.take(); len(got) > 0 {
		t.Errorf("taking over twice forces syncs of %v", got)
	}
	must(t, w.GiveBack(t.Context()))
	if s, l := w.settings(); s != 12.0 || l != iso(w.now) {
		t.Errorf("given back as %v and %v, want 12 and %s", s, l, iso(w.now))
	}
}

// TestGiveBackAfterLoss: our own storage was lost while the engine was held
// off, so what was there before is not known any more.
func TestGiveBackAfterLoss(t *testing.T) {
	w := newWorld(t)
	w.tick()
	must(t, w.Table.Delete(t.Context(), partition, row))
	w.tick()
	w.wantHeld(true)
	must(t, w.GiveBack(t.Context()))
	w.wantHeld(false)
	if syncTime, lastRun := w.settings(); syncTime == 0.0 || parse(lastRun).After(w.now.Add(-25*time.Hour)) {
		t.Errorf("given back as %v and %v", syncTime, lastRun)
	}
}

// TestGiveBackDuringTick: the engine is given back while a tick is about to
// write the scheduler's rows. The tick takes back what it wrote.
func TestGiveBackDuringTick(t *testing.T) {
	w := newWorld(t)
	w.tick()
	w.setLastRun(w.now)
	given := false
	tick := *w.Hold
	tick.CIPP = w.through(func(_ *http.Request, body []byte) bool {
		if !given && bytes.Contains(body, []byte("NinjaSyncTime")) {
			given = true
			if err := w.GiveBack(t.Context()); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	must(t, tick.Tick(t.Context()))
	if !given {
		t.Fatal("the tick wrote no row")
	}
	w.wantHeld(false)
	if got := w.take(); len(got) > 0 {
		t.Errorf("forced syncs are queued for %v", got)
	}
}

// TestAtOnce: whatever ticks run at the same time as GiveBack, the engine is
// given back in the end.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		must(t, w.TakeOver(t.Context()))
		w.setLastRun(w.now)
		var group sync.WaitGroup
		for _, do := range []func(context.Context) error{w.Tick, w.GiveBack, w.Tick} {
			group.Go(func() {
				if err := do(t.Context()); err != nil && !errors.Is(err, errChanged) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		w.wantHeld(false)
	}
}

func TestSomeOf(t *testing.T) {
	names := slices.Repeat([]string{"a.example"}, maxProblems)
	if got := someOf(names); strings.Contains(got, "others") {
		t.Errorf("as many as are named: %q", got)
	}
	if got := someOf(append(names, "b.example")); !strings.HasSuffix(got, "a.example and others") {
		t.Errorf("one more: %q", got)
	}
}
