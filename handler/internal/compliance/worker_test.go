package compliance

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// notified returns a message that names all of the machines and enough others
// for a burst.
func notified(pairs []pair) Message {
	m := Message{TenantID: pairs[0].tenantID}
	for _, p := range pairs {
		m.DeviceIDs = append(m.DeviceIDs, p.object)
	}
	for len(m.DeviceIDs) <= maxNamed {
		m.DeviceIDs = append(m.DeviceIDs, newSubscription("", false, "", time.Time{}).ID)
	}
	return m
}

// stuck is an Intune that does not answer before the caller's time is over.
type stuck struct {
	Devices
	expire context.CancelFunc
}

func (s stuck) ComplianceStates(ctx context.Context, _ tenant.Ref) ([]tenant.ManagedDevice, error) {
	s.expire()
	<-ctx.Done()
	return nil, ctx.Err()
}

// timed is a context whose deadline comes when the one that it wraps is
// cancelled: at a step of the work, and not when a slow machine is elsewhere.
type timed struct{ context.Context }

func (c timed) Err() error {
	if c.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

// Value hides what is wrapped, so that contexts below end as this one does.
func (timed) Value(any) any { return nil }

func TestABurstIsTriedAgain(t *testing.T) {
	tests := map[string]struct {
		fail func(*world) (context.Context, context.CancelFunc)
	}{
		"Intune refuses": {func(w *world) (context.Context, context.CancelFunc) {
			w.M365.AddFault(m365sim.Fault{Service: "graph", Path: regexp.MustCompile("managedDevices"), Status: http.StatusForbidden})
			return context.WithCancel(w.t.Context())
		}},
		"out of time": {func(w *world) (context.Context, context.CancelFunc) {
			ctx, expire := context.WithCancel(w.t.Context())
			w.process.worker.Devices = stuck{w.process.worker.Devices, expire}
			return timed{ctx}, expire
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 5)
			for _, p := range all[0] {
				w.set(p, "noncompliant")
			}
			m, devices := notified(all[0]), w.process.worker.Devices
			for attempt := 1; attempt <= attempts; attempt++ {
				ctx, cancel := tt.fail(w)
				err := w.process.worker.Update(ctx, m, attempt)
				cancel()
				if (err == nil) != (attempt == attempts) {
					t.Errorf("attempt %d: %v", attempt, err)
				}
			}
			if s := w.status(m.TenantID); s.Kind != "" {
				t.Errorf("it was noted as a sweep's failure: %+v", s)
			}
			queued, delays := w.queue.messages, w.queue.delays
			if len(queued) != 1 || !queued[0].sweeps() || queued[0].Since.IsZero() || delays[0] < tick {
				t.Fatalf("queued %+v after %v, want a sweep later", queued, delays)
			}
			w.M365.ClearFaults()
			w.process.worker.Devices = devices
			if err := w.process.worker.Update(t.Context(), m, 2); err != nil {
				t.Fatal(err)
			}
			for _, p := range all[0] {
				w.wantField(p, "Non-Compliant")
			}
			w.noViolations()
		})
	}
}

// busy is a lane whose slots are all taken.
type busy struct{ asked int }

func (b *busy) Acquire(context.Context, time.Duration) (*pacing.Slot, error) {
	b.asked++
	return nil, pacing.ErrBusy
}

func TestAMessageWithoutSlotIsPutBack(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].tenantID
	w.sweep(tenantID)
	before := w.status(tenantID)
	for _, p := range all[0] {
		w.set(p, "noncompliant")
	}
	messages := map[string]Message{
		"sweep":   {TenantID: tenantID},
		"devices": {TenantID: tenantID, DeviceIDs: []string{all[0][0].object, all[0][1].object}},
		"burst":   notified(all[0]),
	}
	put := map[string]Message{}
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			b := &busy{}
			w.process.worker.Pace = b
			defer func() { w.process.worker.Pace = nil }()
			if err := w.process.worker.Update(t.Context(), m, attempts+1); err != nil {
				t.Fatal(err)
			}
			delays := w.queue.delays
			queued := w.queue.take()
			if len(queued) != 1 || len(queued[0].DeviceIDs) != len(m.DeviceIDs) || queued[0].Since.IsZero() == m.sweeps() || delays[0] < slotDelay {
				t.Fatalf("queued %+v after %v", queued, delays)
			}
			put[name] = queued[0]
			if b.asked != 1 {
				t.Errorf("it waited for a slot %d times", b.asked)
			}
		})
	}
	if s := w.status(tenantID); s.Kind != before.Kind || !s.LastSweep.Equal(before.LastSweep) || s.Missed != 0 {
		t.Errorf("the status became %+v", s)
	}
	if err := w.process.worker.Update(t.Context(), put["sweep"], 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range all[0] {
		w.wantField(p, "Non-Compliant")
	}
	// The tenant was swept since, so a second copy is needless.
	w.M365.ResetCalls()
	if err := w.process.worker.Update(t.Context(), put["sweep"], 1); err != nil {
		t.Fatal(err)
	}
	if calls := w.M365.Calls(); len(calls) != 0 {
		t.Errorf("a needless sweep made calls: %v", calls)
	}
	w.noViolations()
}

func TestASweepLeavesTheRestToAnotherMessage(t *testing.T) {
	for name, message := range map[string]func([]pair) Message{
		"sweep": func(p []pair) Message { return Message{TenantID: p[0].tenantID} },
		"burst": notified,
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 12)
			pairs := all[0]
			w.sweep(pairs[0].tenantID)
			for _, p := range pairs {
				w.set(p, "noncompliant")
			}
			w.clock.advance(tick)
			w.patched = func() { w.clock.advance(writeBudget) }
			m, turns := message(pairs), 0
			for {
				if err := w.process.worker.Update(t.Context(), m, 1); err != nil {
					t.Fatal(err)
				}
				turns++
				queued := w.queue.take()
				if len(queued) == 0 {
					break
				}
				if m = queued[0]; len(queued) != 1 || !m.sweeps() || !m.Rest {
					t.Fatalf("queued %+v", queued)
				}
			}
			if turns < 3 {
				t.Errorf("%d devices took %d messages", len(pairs), turns)
			}
			for _, p := range pairs {
				w.wantField(p, "Non-Compliant")
				if n := w.writes(p.ninja); n != 2 {
					t.Errorf("%s was written %d times, want 2", p, n)
				}
			}
			want := 0
			if name == "sweep" {
				want = len(pairs)
			}
			if s := w.status(pairs[0].tenantID); s.Missed != want || s.Kind != "" {
				t.Errorf("the status is %+v, want %d missed", s, want)
			}
			w.noViolations()
		})
	}
}

func TestASweepThatGetsNowhereIsNotRepeated(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].tenantID
	for _, p := range all[0] {
		w.set(p, "noncompliant")
	}
	w.patched = func() { w.clock.advance(writeBudget) }
	// The device is gone, which is neither sent nor wrong.
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusNotFound})
	defer remove()
	w.sweep(tenantID)
	if m := w.queue.take(); len(m) != 0 {
		t.Errorf("queued %+v although nothing was written", m)
	}
	if s := w.status(tenantID); s.Kind != kindFailed || s.Changes != 0 {
		t.Errorf("the status is %+v", s)
	}
	for _, p := range all[0] {
		w.wantField(p, "Compliant")
	}
}

func TestASweepMakesRoomForOthers(t *testing.T) {
	w, all := running(t, 1, 4)
	a, b := all[0][0], all[0][1]
	w.set(a, "noncompliant")
	w.set(b, "noncompliant")
	w.sweep("00000000-0000-4000-8000-000000000000") // nobody's; makes the worker ready
	for range sweepsWriting {
		w.process.worker.sweeps <- struct{}{}
	}
	w.M365.ResetCalls()
	w.sweep(a.tenantID)
	if m := w.queue.take(); len(m) != 1 || !m[0].sweeps() || m[0].Since.IsZero() {
		t.Errorf("queued %+v, want the sweep again", m)
	}
	if n := total(w.M365.Calls()); n != 0 {
		t.Errorf("a sweep that had to wait made %d calls", n)
	}
	if err := w.process.worker.Update(t.Context(), Message{TenantID: a.tenantID, DeviceIDs: []string{a.object}}, 1); err != nil {
		t.Fatal(err)
	}
	w.wantField(a, "Non-Compliant")
	w.wantField(b, "Compliant")
	<-w.process.worker.sweeps
	w.sweep(a.tenantID)
	w.wantField(b, "Non-Compliant")
	w.noViolations()
}

// TestOneBadDeviceDoesNotStopTheOthers has NinjaOne fail for one device.
func TestOneBadDeviceDoesNotStopTheOthers(t *testing.T) {
	w, all := running(t, 1, 6)
	for _, p := range all[0] {
		w.set(p, "noncompliant")
	}
	bad := all[0][0]
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("device/%d/custom-fields", bad.ninja), Status: http.StatusForbidden})
	defer remove()
	w.sweep(bad.tenantID)
	for _, p := range all[0][1:] {
		w.wantField(p, "Non-Compliant")
	}
	w.wantField(bad, "Compliant")
	if s := w.status(bad.tenantID); s.Kind != kindFailed || s.Changes != len(all[0])-1 {
		t.Errorf("the status is %+v", s)
	}
}

func TestANotificationIsNotForgottenBecauseOfASweep(t *testing.T) {
	w := newWorld(t, small(1, 1))
	id, table, now := w.Seed.Tenants[0].ID, w.own.Table(TableName), w.clock.now().UTC().Truncate(time.Second)
	long := now.Add(-time.Hour)
	save := func(change func(*Status)) {
		t.Helper()
		if err := saveSweep(t.Context(), table, id, change); err != nil {
			t.Fatal(err)
		}
	}
	save(func(s *Status) { s.LastSweep, s.Missed, s.MissedSince = long, 5, long })
	if row, err := table.Get(t.Context(), statusPartition, id); err != nil || row.Int("Version") != layout.Version {
		t.Errorf("the row is %v, %v", row, err)
	}
	tries := 0
	save(func(s *Status) {
		if tries++; tries == 1 { // a notification arrives meanwhile
			if err := mergeStatus(t.Context(), table, id, storage.Entity{"LastNotification": now, "Missed": 0}); err != nil {
				t.Fatal(err)
			}
		}
		last := s.LastSweep
		s.LastSweep = now
		s.countMissed(last, 2, now)
	})
	if s := w.status(id); s.Missed != 0 || !s.LastNotification.Equal(now) || !s.LastSweep.Equal(now) || tries != 2 {
		t.Errorf("after %d tries the status is %+v", tries, s)
	}
}

func TestAnEventThatCannotBeDoneIsLeftToTheTimer(t *testing.T) {
	w := subscribed(t, 1)
	sub := w.subscription(w.Seed.Tenants[0].ID)
	w.M365.AddFault(m365sim.Fault{Service: "graph", Method: "DELETE", Status: http.StatusForbidden})
	m := Message{TenantID: sub.TenantID, Event: eventStray, SubscriptionID: otherDevice}
	if err := w.process.worker.Update(t.Context(), m, 1); err == nil {
		t.Error("a failure was taken for success")
	}
	if err := w.process.worker.Update(t.Context(), m, attempts); err != nil {
		t.Errorf("the last attempt failed, and would go to the poison queue: %v", err)
	}
}
