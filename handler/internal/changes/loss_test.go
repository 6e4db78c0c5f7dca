package changes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/m365sim"
)

// TestDeviceChangesAreNotLost lets a look stop after it kept Intune's list, and
// before it told anybody what changed in it.
func TestDeviceChangesAreNotLost(t *testing.T) {
	for name, fail := range map[string]func(w *watch, err error){
		"no light run":  func(w *watch, err error) { w.Syncs.Fail(err) },
		"no compliance": func(w *watch, err error) { w.Queue.Fail(err) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 1)
			w.look()
			w.Clock.Advance(time.Hour)
			w.look()
			w.change(func(o *m365sim.Tenant) { set(o.ManagedDevices, 1, "complianceState", "error") })
			fail(w, errors.New("down"))
			w.Clock.Advance(5 * time.Minute)
			if err := w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}); err == nil {
				t.Fatal("the look did not fail")
			}
			w.Syncs.Take()
			w.Queue.Take()
			fail(w, nil)
			if syncs, compliance := w.look(); len(syncs) != 1 || len(compliance) != 1 {
				t.Errorf("the next look sent %v and %v", syncs, compliance)
			}
			if syncs, compliance := w.look(); len(syncs)+len(compliance) > 0 {
				t.Errorf("the look after it sent %v and %v", syncs, compliance)
			}
		})
	}
}

// slow answers late: whatever happens meanwhile, is in the answer.
type slow struct {
	changes.Microsoft365
	meanwhile func()
}

func (s *slow) Changes(ctx context.Context, ref tenant.Ref, since m365.DeltaLinks) (m365.Changes, error) {
	s.meanwhile()
	return s.Microsoft365.Changes(ctx, ref, since)
}

// TestSlowLook lets a change happen during a look, after the light run that is
// asked for already: that one may have missed it.
func TestSlowLook(t *testing.T) {
	w := newWatch(t, 1)
	graph := &slow{w.Process.Watcher.Microsoft365, func() {}}
	w.Process.Watcher.Microsoft365 = graph
	titles := 0
	retitle := func() {
		titles++
		w.change(func(o *m365sim.Tenant) { set(o.Users, 0, "jobTitle", string(rune('A'+titles))) })
	}
	look := func(after time.Duration) []tenantsync.Message {
		t.Helper()
		w.Clock.Advance(after)
		must(t, w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}))
		return w.Syncs.Take()
	}
	look(0)
	retitle()
	look(4 * time.Minute)
	retitle()
	ahead := look(4 * time.Minute)
	if due := w.state().Due; len(ahead) != 1 || due.Sub(w.Clock.Now()) < 6*time.Minute || !ahead[0].Due.Equal(due) {
		t.Fatalf("sent %+v, and a light run is due at %s", ahead, due)
	}
	graph.meanwhile = func() { w.Clock.Advance(4 * time.Minute); retitle() }
	if sent := look(5 * time.Minute); len(sent) != 1 {
		t.Errorf("what changed after the light run was due sent %v", sent)
	}
}

// TestFailedLookIsNoReading lets a look fail to read the list of the look before:
// no sweep may take that list for what the failed look read.
func TestFailedLookIsNoReading(t *testing.T) {
	w := newWatch(t, 1)
	w.look()
	began := w.Clock.Now()
	w.change(func(o *m365sim.Tenant) { set(o.ManagedDevices, 1, "complianceState", "error") })
	blobs := w.Process.Watcher.Blobs
	w.Process.Watcher.Blobs = w.Own.Container("no name of a container")
	if w.look(); w.state().Failures != 1 {
		t.Fatalf("the look did not fail: %+v", w.state())
	}
	w.Process.Watcher.Blobs = blobs
	if list, read, err := w.Process.Watcher.DevicesSince(t.Context(), w.id, began); err != nil || !read.IsZero() {
		t.Errorf("the look is said to have read %d devices at %s: %v", len(list), read, err)
	}
}
