package automap

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestOnlyDevice maps customers with a single PC in Intune.
func TestOnlyDevice(t *testing.T) {
	bios := func(w *world, organization int, serial string) {
		w.ninja.AddOrganization(ninjasim.Organization{ID: organization, Name: "Depot"})
		w.ninja.AddDevice(ninjasim.Device{ID: 1000 * organization, OrganizationID: organization, SystemName: "PC", BIOSSerialNumber: serial})
	}
	for name, tt := range map[string]struct {
		make   func(*world)
		only   string // the one tenant to map; "" for all
		report []string
	}{
		"in the BIOS field, with spaces": {func(w *world) { bios(w, 21, " sn 10 01 ") }, "", []string{"0001=21 devices"}},
		"beside devices of nobody":       {func(w *world) { w.organization(21, "Depot", "SN-1001", "SN-7001") }, "", []string{"0001=21 devices"}},
		"of a single tenant":             {func(w *world) { bios(w, 21, "SN1001") }, id(1), []string{"0001=21 devices"}},
		"contested by a mapped tenant, of which a single one is mapped": {func(w *world) {
			w.organization(21, "Depot", "SN-1001")
			w.tenant(2, "Coho", "SN-1001")
			w.mapped(2, 22, "Vineyard")
		}, id(1), []string{"0001-"}},
		"contested by an open tenant, of which a single one is mapped": {func(w *world) {
			w.organization(21, "Depot", "SN-1001")
			w.tenant(2, "Coho", "SN-1001", "SN-2002")
		}, id(1), []string{"0001-"}},
		"a placeholder": {func(w *world) {
			w.intune.serials[id(1)] = []string{"Default string"}
			w.organization(21, "Depot", "Default string")
		}, "", []string{"0001-"}},
		"one of five": {func(w *world) {
			w.intune.serials[id(1)] = []string{"SN-1001", "SN-1002", "SN-1003", "SN-1004", "SN-1005"}
			w.organization(21, "Depot", "SN-1001")
		}, "", []string{"0001?21,"}},
		"while a mapped tenant cannot be read": {func(w *world) {
			w.organization(21, "Depot", "SN-1001", "SN-7001")
			w.tenant(2, "Coho")
			w.mapped(2, 22, "Vineyard")
			w.intune.errors[id(2)] = context.DeadlineExceeded
		}, "", []string{"0001?21,"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tenant(1, "Alpine Ski House", "SN-1001")
			tt.make(w)
			w.run(Message{TenantID: tt.only})
			same(t, "report", tt.report, w.outcome())
		})
	}
}

// begin runs an automap that somebody waits for.
func (w *world) begin(within time.Duration) Outcome {
	w.t.Helper()
	o, err := w.Begin(w.t.Context(), within, w.NinjaOne)
	must(w.t, err)
	return o
}

// TestBegin maps by name before the answer, and by devices after it.
func TestBegin(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	w.organization(21, "Alpine Ski House", "SN-1001", "SN-1002")
	w.tenant(2, "Coho", "SN-2001", "SN-2002")
	w.organization(22, "Vineyard", "SN-2001", "SN-2002")
	w.tenant(3, "Nobody")
	w.tenant(4, "Shop")
	w.organization(24, "Shop", "SN-2003", "SN-2004") // another tenant's
	w.tenant(5, "Depot", "SN-2003", "SN-2004")
	if got, want := w.begin(time.Minute), (Outcome{Mapped: 1}); got != want {
		t.Errorf("the outcome is %+v", got)
	}
	same(t, "mappings", []string{"0001=21 Alpine Ski House"}, w.mappings())
	same(t, "queue", []string{"{}"}, w.queued())
	w.run(Message{})
	same(t, "report", []string{"0001=21 exact name", "0002=22 devices", "0004?24,", "0005?24,", "0003-"}, w.outcome())
	if n := w.calls(callDevices); n != 1 {
		t.Errorf("NinjaOne's devices were read %d times, want once", n)
	}
}

// TestBeginAndDone leaves nothing to the background where names decide all.
func TestBeginAndDone(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	w.organization(21, "Alpine Ski House", "SN-1001", "SN-1002")
	for _, want := range []Outcome{{Mapped: 1, Done: true}, {Done: true}} {
		if got := w.begin(time.Minute); got != want {
			t.Errorf("the outcome is %+v, want %+v", got, want)
		}
		same(t, "queue", []string{}, w.queued())
	}
}

// TestBeginGoesOnInTheBackground lets the time end before a tenant is read, whose
// devices may contradict a name, and the person go.
func TestBeginGoesOnInTheBackground(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	w.organization(21, "Alpine Ski House")
	w.tenant(2, "Coho", "SN-2001", "SN-2002")
	w.organization(22, "Coho", "SN-2001", "SN-2002")
	ctx, leave := context.WithCancel(t.Context())
	ended, once := make(chan struct{}), sync.Once{}
	w.Within = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			<-ended
			cancel(context.DeadlineExceeded)
		}()
		return ctx, func() { cancel(nil) }
	}
	w.intune.hook = func(ctx context.Context, _ string) error {
		leave()
		once.Do(func() { close(ended) })
		<-ctx.Done()
		return ctx.Err()
	}
	o, err := w.Begin(ctx, time.Minute, w.NinjaOne)
	must(t, err)
	if want := (Outcome{Mapped: 1}); o != want {
		t.Errorf("the outcome is %+v", o)
	}
	same(t, "queue", []string{"{}"}, w.queued())
	w.intune.hook, w.Within = nil, context.WithTimeout
	w.run(Message{})
	same(t, "mappings", []string{"0001=21 Alpine Ski House", "0002=22 Coho"}, w.mappings())
}

// TestBeginSaysWhyNot says why nothing is mapped.
func TestBeginSaysWhyNot(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	lease, err := w.Blobs.Lease(t.Context(), leaseBlob, leaseDuration)
	must(t, err)
	if got := w.begin(time.Minute); got != (Outcome{Busy: true}) {
		t.Errorf("beside another one, the outcome is %+v", got)
	}
	same(t, "queue", []string{}, w.queued()) // put back with a delay
	lease.Release()
	w.ninja.InjectFault(ninjasim.Fault{Path: "organizations", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`})
	if got := w.begin(time.Minute); got.Failed == nil || !strings.Contains(got.Failed.Error(), "NinjaOne's organizations could not be read") {
		t.Errorf("without NinjaOne, the outcome is %+v", got)
	}
	o, err := w.Begin(t.Context(), time.Minute, func(cipp.ExtensionConfig) (*ninjaone.Client, error) { return nil, errors.New("no host") })
	if err != nil || o.Failed == nil || !strings.Contains(o.Failed.Error(), "NinjaOne cannot be called: no host") {
		t.Errorf("without a client, the outcome is %+v, %v", o, err)
	}
	w.row("Extensionsconfig", "CippExtensions", "Config", "config", `{"NinjaOne":{"Enabled":false}}`)
	if got := w.begin(time.Minute); got.Failed == nil || !strings.Contains(got.Failed.Error(), "turned off") {
		t.Errorf("turned off, the outcome is %+v", got)
	}
}
