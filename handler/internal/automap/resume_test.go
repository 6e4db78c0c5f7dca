package automap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// stopAt lets the automap read tenants in any order, and calls stop when it
// reads the given one and has asked for all the others.
func (w *world) stopAt(tenantID string, others int, stop func()) {
	read := make(chan struct{}, others)
	w.intune.hook = func(ctx context.Context, id string) error {
		if id != tenantID {
			read <- struct{}{}
			return nil
		}
		for range others {
			<-read
		}
		stop()
		<-ctx.Done()
		return ctx.Err()
	}
}

// interruptible is a tenant that its name decides, and three to read, of which
// the last is the one to stop at.
func interruptible(t *testing.T) *world {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	w.tenant(2, "Coho", "SN-2001", "SN-2002")
	w.tenant(3, "Datum", "SN-3001", "SN-3002")
	w.tenant(4, "Lamna", "SN-4001", "SN-4002")
	w.organization(21, "Alpine Ski House")
	w.organization(22, "Vineyard", "SN-2001", "SN-2002")
	w.organization(23, "Depot", "SN-3001", "SN-4001")
	w.organization(24, "Clinic", "SN-4002")
	return w
}

func (w *world) wantDone() {
	w.t.Helper()
	lines := w.lines()
	if n := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "Info None Automap ended. Mapped: 2 (by exact name 1, by similar name 0, by devices 1).")
	}); n < 0 || len(lines) != 3 {
		w.t.Errorf("logbook: %q", lines)
	}
	if w.underWay() {
		w.t.Error("an automap that has ended seems to be under way")
	}
}

func TestAutomapGoesOnAfterAStop(t *testing.T) {
	w := interruptible(t)
	ctx, stop := context.WithCancel(t.Context())
	w.stopAt(id(4), 2, stop)
	if err := w.Run(ctx, Message{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the message delivered again", err)
	}
	p, found, err := ReadProgress(t.Context(), w.Blobs)
	must(t, err)
	if !found || p.Tenants != 3 || len(p.Mapped) != 1 || len(p.Read) != 2 {
		t.Errorf("progress: %v %+v", found, p)
	}
	w.intune.hook = nil
	w.now = w.now.Add(resumable)
	w.run(Message{})
	w.wantDone()
	same(t, "tenants read", []string{"0002:1", "0003:1", "0004:2"}, w.intune.reads())
	if n := w.calls(callDevices); n != 1 {
		t.Errorf("NinjaOne's devices were read %d times, want once", n)
	}
	same(t, "mappings", []string{"0001=21 Alpine Ski House", "0002=22 Vineyard"}, w.mappings())
}

func TestAutomapBeginsAnew(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*world)
		devices int // calls for devices of the second automap
	}{
		{"progress too old", func(w *world) { w.now = w.now.Add(resumable + time.Second) }, 1},
		{"progress unreadable", func(w *world) { must(w.t, w.Blobs.Put(w.t.Context(), progressBlob, []byte(`{"read":{"x":`))) }, 1},
		{"progress of nothing", func(w *world) { must(w.t, w.Blobs.Put(w.t.Context(), progressBlob, []byte(`null`))) }, 1},
		{"index lost", func(w *world) { must(w.t, w.Blobs.Delete(w.t.Context(), indexBlob)) }, 1},
		{"index unreadable", func(w *world) { must(w.t, w.Blobs.Put(w.t.Context(), indexBlob, []byte(`[1`))) }, 1},
		{"another index meanwhile", func(w *world) {
			w.now = w.now.Add(recent)
			w.run(Message{TenantID: id(3)})
			w.ninja.ResetCounters()
		}, 1},
		{"another instance meanwhile", func(w *world) {
			w.row("Extensionsconfig", "CippExtensions", "Config", "config", `{"NinjaOne":{"Enabled":true,"Instance":"us2.ninjarmm.com","ClientID":"sync-app"}}`)
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := interruptible(t)
			ctx, stop := context.WithCancel(t.Context())
			w.stopAt(id(4), 2, stop)
			if err := w.Run(ctx, Message{}); err == nil {
				t.Fatal("no error")
			}
			w.intune.hook = nil
			w.ninja.ResetCounters()
			tt.change(w)
			clear(w.intune.asked)
			w.run(Message{})
			same(t, "tenants read", []string{"0002:1", "0003:1", "0004:1"}, w.intune.reads())
			if n := w.calls(callDevices); n != tt.devices {
				t.Errorf("NinjaOne's devices were read %d times, want %d", n, tt.devices)
			}
			same(t, "mappings", []string{"0001=21 Alpine Ski House", "0002=22 Vineyard"}, w.mappings())
		})
	}
}

func TestAutomapOutOfTime(t *testing.T) {
	w := interruptible(t)
	var expire context.CancelFunc
	w.Within = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		ctx, expire = context.WithCancel(ctx)
		return ctx, expire
	}
	w.stopAt(id(4), 2, func() { expire() })
	w.run(Message{})
	same(t, "queue", []string{"{}"}, w.queued())
	if !w.underWay() {
		t.Error("the progress was not kept")
	}

	// An invocation that gets nothing done is the last one.
	w.intune.hook = func(ctx context.Context, _ string) error {
		expire()
		<-ctx.Done()
		return ctx.Err()
	}
	w.run(Message{})
	same(t, "queue", []string{"{}"}, w.queued())
	if w.underWay() {
		t.Error("an automap that was given up seems to be under way")
	}
	lines := w.lines()
	if len(lines) != 2 || lines[0] != "Error None Automap ended early: nothing could be read within the 10m0s that one run may take. What was mapped stays mapped (1 tenants). Start it again when this is put right." {
		t.Errorf("logbook: %q", lines)
	}

	w.intune.hook = nil
	w.run(Message{})
	same(t, "mappings", []string{"0001=21 Alpine Ski House", "0002=22 Vineyard"}, w.mappings())
}
