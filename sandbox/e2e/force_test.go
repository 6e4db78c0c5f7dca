package e2e

import (
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// A forced sync that fails before it could write is not forgotten: the next
// run of the tenant, which nobody forces, writes every field again.
func TestForceIsOwedUntilItIsDone(t *testing.T) {
	w := start(t, seed.MSP())
	w.sync(seed.Direct)
	first := len(w.NinjaOne.Writes())
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed", Status: 500})
	w.force(seed.Direct)
	remove()
	if got := w.status(w.tenant(seed.Direct).ID); got != "Failed" {
		t.Fatalf("the forced sync ended as %q, want Failed", got)
	}
	w.NinjaOne.ResetCounters()
	w.sync(seed.Direct)
	if got := len(w.NinjaOne.Writes()); got != first {
		t.Errorf("%d writes after a forced sync that failed, want all %d", got, first)
	}
	w.NinjaOne.ResetCounters()
	w.sync(seed.Direct)
	if got := len(w.NinjaOne.Writes()); got != 0 {
		t.Errorf("%d writes once the force was served, want none", got)
	}
}
