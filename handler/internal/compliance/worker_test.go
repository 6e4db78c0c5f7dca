package compliance_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// notified returns a message that names all of the machines and enough others
// for a burst.
func notified(pairs []triggertest.Pair) notify.Message {
	m := notify.Message{TenantID: pairs[0].TenantID}
	for _, p := range pairs {
		m.DeviceIDs = append(m.DeviceIDs, p.Object)
	}
	for len(m.DeviceIDs) <= compliance.MaxNamed {
		m.DeviceIDs = append(m.DeviceIDs, uuid.NewString())
	}
	return m
}

// stuck is an Intune that does not answer before the caller's time is over.
type stuck struct {
	compliance.Devices
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
			return context.WithCancel(w.T.Context())
		}},
		"out of time": {func(w *world) (context.Context, context.CancelFunc) {
			ctx, expire := context.WithCancel(w.T.Context())
			w.Process.Worker.Devices = stuck{w.Process.Worker.Devices, expire}
			return timed{ctx}, expire
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 5)
			for _, p := range all[0] {
				w.Set(p, "noncompliant")
			}
			m, devices := notified(all[0]), w.Process.Worker.Devices
			for attempt := 1; attempt <= compliance.Attempts; attempt++ {
				ctx, cancel := tt.fail(w)
				err := w.Process.Worker.Update(ctx, m, attempt)
				cancel()
				if (err == nil) != (attempt == compliance.Attempts) {
					t.Errorf("attempt %d: %v", attempt, err)
				}
			}
			if s := w.Status(m.TenantID); s.Kind != "" {
				t.Errorf("it was noted as a sweep's failure: %+v", s)
			}
			queued, delays := w.Queue.Messages, w.Queue.Delays
			if len(queued) != 1 || !queued[0].Sweeps() || queued[0].Since.IsZero() || delays[0] < compliance.Tick {
				t.Fatalf("queued %+v after %v, want a sweep later", queued, delays)
			}
			w.M365.ClearFaults()
			w.Process.Worker.Devices = devices
			must(t, w.Process.Worker.Update(t.Context(), m, 2))
			for _, p := range all[0] {
				w.WantField(p, "Non-Compliant")
			}
			w.NoViolations()
		})
	}
}

func TestAMessageWithoutSlotIsPutBack(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].TenantID
	w.Sweep(tenantID)
	before := w.Status(tenantID)
	for _, p := range all[0] {
		w.Set(p, "noncompliant")
	}
	messages := map[string]notify.Message{
		"sweep":   {TenantID: tenantID},
		"devices": {TenantID: tenantID, DeviceIDs: []string{all[0][0].Object, all[0][1].Object}},
		"burst":   notified(all[0]),
	}
	put := map[string]notify.Message{}
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			asked := 0
			w.Process.Worker.Pace = func(context.Context, time.Duration) (context.Context, func(), error) {
				asked++ // all slots are taken
				return nil, nil, pacing.ErrBusy
			}
			defer func() { w.Process.Worker.Pace = triggertest.AnySlot }()
			must(t, w.Process.Worker.Update(t.Context(), m, compliance.Attempts+1))
			delays := w.Queue.Delays
			queued := w.Queue.Take()
			if len(queued) != 1 || len(queued[0].DeviceIDs) != len(m.DeviceIDs) || queued[0].Since.IsZero() == m.Sweeps() || delays[0] < compliance.SlotDelay {
				t.Fatalf("queued %+v after %v", queued, delays)
			}
			put[name] = queued[0]
			if asked != 1 {
				t.Errorf("it waited for a slot %d times", asked)
			}
		})
	}
	if s := w.Status(tenantID); s.Kind != before.Kind || !s.LastSweep.Equal(before.LastSweep) || s.Missed != 0 {
		t.Errorf("the status became %+v", s)
	}
	must(t, w.Process.Worker.Update(t.Context(), put["sweep"], 1))
	for _, p := range all[0] {
		w.WantField(p, "Non-Compliant")
	}
	// The tenant was swept since, so a second copy is needless.
	w.M365.ResetCalls()
	must(t, w.Process.Worker.Update(t.Context(), put["sweep"], 1))
	if calls := w.M365.Calls(); len(calls) != 0 {
		t.Errorf("a needless sweep made calls: %v", calls)
	}
	w.NoViolations()
}

func TestASweepLeavesTheRestToAnotherMessage(t *testing.T) {
	for name, message := range map[string]func([]triggertest.Pair) notify.Message{
		"sweep": func(p []triggertest.Pair) notify.Message { return notify.Message{TenantID: p[0].TenantID} },
		"burst": notified,
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 12)
			pairs := all[0]
			w.Sweep(pairs[0].TenantID)
			for _, p := range pairs {
				w.Set(p, "noncompliant")
			}
			w.Clock.Advance(compliance.Tick)
			w.Patched = func() { w.Clock.Advance(compliance.WriteBudget) }
			m, turns := message(pairs), 0
			for {
				must(t, w.Process.Worker.Update(t.Context(), m, 1))
				turns++
				queued := w.Queue.Take()
				if len(queued) == 0 {
					break
				}
				if m = queued[0]; len(queued) != 1 || !m.Sweeps() || !m.Rest {
					t.Fatalf("queued %+v", queued)
				}
			}
			if turns < 3 {
				t.Errorf("%d devices took %d messages", len(pairs), turns)
			}
			for _, p := range pairs {
				w.WantField(p, "Non-Compliant")
				if n := w.Writes(p.Ninja); n != 2 {
					t.Errorf("%s was written %d times, want 2", p, n)
				}
			}
			want := 0
			if name == "sweep" {
				want = len(pairs)
			}
			if s := w.Status(pairs[0].TenantID); s.Missed != want || s.Kind != "" {
				t.Errorf("the status is %+v, want %d missed", s, want)
			}
			w.NoViolations()
		})
	}
}

func TestASweepThatGetsNowhereIsNotRepeated(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].TenantID
	for _, p := range all[0] {
		w.Set(p, "noncompliant")
	}
	w.Patched = func() { w.Clock.Advance(compliance.WriteBudget) }
	// The device is gone, which is neither sent nor wrong.
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusNotFound})
	defer remove()
	w.Sweep(tenantID)
	if m := w.Queue.Take(); len(m) != 0 {
		t.Errorf("queued %+v although nothing was written", m)
	}
	if s := w.Status(tenantID); s.Kind != assignments.KindFailed || s.Changes != 0 {
		t.Errorf("the status is %+v", s)
	}
	for _, p := range all[0] {
		w.WantField(p, "Compliant")
	}
}

func TestASweepMakesRoomForOthers(t *testing.T) {
	w, all := running(t, 1, 4)
	a, b := all[0][0], all[0][1]
	w.Set(a, "noncompliant")
	w.Set(b, "noncompliant")
	for range compliance.SweepsWriting {
		w.Process.Worker.Sweeping() <- struct{}{}
	}
	w.M365.ResetCalls()
	w.Sweep(a.TenantID)
	if m := w.Queue.Take(); len(m) != 1 || !m[0].Sweeps() || m[0].Since.IsZero() {
		t.Errorf("queued %+v, want the sweep again", m)
	}
	if n := total(w.M365.Calls()); n != 0 {
		t.Errorf("a sweep that had to wait made %d calls", n)
	}
	must(t, w.Process.Worker.Update(t.Context(), notify.Message{TenantID: a.TenantID, DeviceIDs: []string{a.Object}}, 1))
	w.WantField(a, "Non-Compliant")
	w.WantField(b, "Compliant")
	<-w.Process.Worker.Sweeping()
	w.Sweep(a.TenantID)
	w.WantField(b, "Non-Compliant")
	w.NoViolations()
}

// TestOneBadDeviceDoesNotStopTheOthers has NinjaOne fail for one device.
func TestOneBadDeviceDoesNotStopTheOthers(t *testing.T) {
	w, all := running(t, 1, 6)
	for _, p := range all[0] {
		w.Set(p, "noncompliant")
	}
	bad := all[0][0]
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("device/%d/custom-fields", bad.Ninja), Status: http.StatusForbidden})
	defer remove()
	w.Sweep(bad.TenantID)
	for _, p := range all[0][1:] {
		w.WantField(p, "Non-Compliant")
	}
	w.WantField(bad, "Compliant")
	if s := w.Status(bad.TenantID); s.Kind != assignments.KindFailed || s.Changes != len(all[0])-1 {
		t.Errorf("the status is %+v", s)
	}
}
