package e2e

import (
	"fmt"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// comesBackSoon makes a message whose run ended without a word visible again
// after seconds instead of minutes.
func comesBackSoon(c *funchost.Config) {
	c.MessageInvisibility = 4 * time.Second
	c.Settings["AzureFunctionsJobHost__extensions__queues__visibilityTimeout"] = "00:00:05"
}

// accepted counts the calls that wrote fields and were answered as accepted.
func (w *world) accepted() (n int) {
	for _, line := range w.lines {
		if l, ok := parseLog(line); ok && l.Msg == "NinjaOne call" && l.Method == "PATCH" && fmt.Sprint(l.Status) == "204" {
			n++
		}
	}
	return n
}

// TestKilledWhileWriting lets the machine lose power in the middle of the writes. The
// message comes back, and nothing is lost. TestFaultMatrix kills the handler alone.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	for name, afterHandling := range map[string]bool{"before NinjaOne did the rest": false, "after NinjaOne did the rest": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := generated(1)
			w := start(t, data, comesBackSoon)
			tn := data.Tenants[0]
			w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Skip: 5, Hang: true, AfterHandling: afterHandling})
			text := fmt.Sprintf(`{"tenantId":%q,"force":false}`, tn.ID)
			w.put(syncQueue, text)
			w.await("5 accepted writes", func() bool { return w.accepted() == 5 })
			w.Host.Crash()
			w.NinjaOne.ClearFaults()
			w.expireLeases("")
			w.boot()
			// What changed meanwhile goes back to what NinjaOne was sent first, or to
			// something else: either way the last word counts.
			tn.Change(func(tn *m365sim.Tenant) {
				for i, d := range tn.ManagedDevices {
					d["complianceState"] = []string{"compliant", "noncompliant", "unknown"}[i%3]
				}
			})
			w.await("the run to be repeated", func() bool {
				for _, i := range w.done {
					if i.Message == text && i.Err == nil && i.DequeueCount > 1 {
						return true
					}
				}
				return false
			})
			if got := w.status(tn.ID); got != "Completed" {
				t.Errorf("the repeated run ended as %q:\n%v", got, w.logbook(tn.DefaultDomain))
			}
			w.correct(tn.DefaultDomain)
			if n := w.waiting(syncQueue); n != 0 {
				t.Errorf("%d messages are left", n)
			}
			w.sync(tn.DefaultDomain).completed().wroteNothing().quiet()
			w.correct(tn.DefaultDomain)
		})
	}
}

// TestRunsThatAreNotAlone loses an answer, and holds an organization as another run would.
func TestRunsThatAreNotAlone(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	t.Run("unknown outcome", func(t *testing.T) { testUnknownOutcome(t, w, data) })
	t.Run("one run at a time", func(t *testing.T) { testOneRunAtATime(t, w, data.Tenants[1].DefaultDomain) })
}

// testUnknownOutcome loses the answer to a write that took effect, and then the
// state goes back to what it was: the value that NinjaOne holds is no longer the
// one that was last noted.
func testUnknownOutcome(t *testing.T, w *world, data *seed.Seed) {
	tn, device := data.Tenants[0], data.NinjaDevices[2]
	state := func(s string) {
		w.changeDevice(tn.DefaultDomain, device.SerialNumber, func(d m365sim.Entity) { d["complianceState"] = s })
	}
	state("compliant")
	w.sync(tn.DefaultDomain).completed()
	was := w.deviceText(device.ID, "DeviceSummary")

	state("noncompliant")
	mend := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("^/v2/device/%d/custom-fields$", device.ID), AfterHandling: true, Reset: true})
	w.sync(tn.DefaultDomain).completed().line("Warn: One target could not be written")
	mend()
	if got := w.deviceText(device.ID, "DeviceCompliance"); got != "Non-Compliant" {
		t.Fatalf("the write took no effect: %q", got)
	}
	state("compliant")
	o := w.sync(tn.DefaultDomain).completed()
	if got := o.devices(); len(got) != 1 || got[device.ID] == nil {
		t.Errorf("devices written: %v, want %d", got, device.ID)
	}
	if got := w.deviceText(device.ID, "DeviceCompliance"); got != "Compliant" {
		t.Errorf("the device shows %q", got)
	}
	if got := w.deviceText(device.ID, "DeviceSummary"); got != was {
		t.Errorf("the summary is not as before: %.300s", got)
	}
	w.sync(tn.DefaultDomain).completed().wroteNothing().quiet()

	// The same with a device that leaves: its clearing must not be taken for
	// done, nor a later value for still there.
	state("noncompliant")
	mend = w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: fmt.Sprintf("^/v2/device/%d/custom-fields$", device.ID), AfterHandling: true, Reset: true})
	w.sync(tn.DefaultDomain).completed()
	mend()
	w.unenrol(tn.DefaultDomain, device.SerialNumber)
	w.sync(tn.DefaultDomain).completed()
	if got := cleared(w, device.ID); got != nil {
		t.Errorf("the device still shows %q", got)
	}
}

func testOneRunAtATime(t *testing.T, w *world, domain string) {
	w.sync(domain).completed()
	leases := w.leases("lease/")
	if len(leases) == 0 {
		t.Fatal("the run left no lease behind")
	}
	for _, l := range leases {
		if _, err := l.AcquireLease(t.Context(), -1, nil); err != nil { // for ever
			t.Fatal(err)
		}
	}
	o := w.sync(domain).wroteNothing()
	if len(o.lines) != 0 || o.message.Err != nil || w.waiting(syncQueue) != 0 {
		t.Errorf("a message that is not forced: error %v, %d messages left, logbook %q; want it dropped", o.message.Err, w.waiting(syncQueue), o.lines)
	}
	o = w.force(domain).wroteNothing()
	if len(o.lines) != 0 || o.message.Err != nil {
		t.Errorf("a forced message: error %v, logbook %q; want it put back", o.message.Err, o.lines)
	}
	w.poll("the forced message to be put back, as often as it finds the lease taken", func() bool { return w.waiting(syncQueue) == 1 })
	w.Host.Stop() // so that nothing takes the message meanwhile
	w.expireLeases("")
	w.empty(syncQueue)
	w.boot()
	w.sync(domain).completed().wroteNothing().quiet()
}
