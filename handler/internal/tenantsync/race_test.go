package tenantsync

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/sandbox/ninjasim"
)

// What a run writes that lost the organization to another one crosses with what
// that one writes.
func TestARunThatLostTheOrganization(t *testing.T) {
	l := newLab(t, 1)
	first := wanted{device(100): {"links": value("links", "a"), "details": value("details", "a"), "compliance": ninjaone.Text("Compliant")}}
	l.wrote(first)

	older := l.writing(wanted{device(100): {"links": value("links", "b"), "compliance": ninjaone.Text("Non-Compliant")}})
	sends, batch, err := older.mark(t.Context())
	must(t, err)
	must(t, older.update(t.Context(), sends[0]))
	l.set(l.now().Add(time.Hour))
	newer := wanted{device(100): {"links": value("links", "c"), "details": value("details", "c"), "compliance": ninjaone.Text("Compliant")}}
	l.wrote(newer)
	for name := range sends[0].Values {
		sends[0].Accept(name, l.now())
	}
	must(t, batch.Settle(t.Context()))

	fields := l.records()[device(100)].Fields
	if fields["links"] != ledger.Unknown || fields["compliance"] != ledger.Unknown {
		t.Errorf("what two runs sent at once is noted as %v", fields)
	}
	if fields["details"] != ledger.Digest(value("details", "c")) {
		t.Errorf("what the newer run alone sent is noted as %q", fields["details"])
	}
}

// A forced run that is killed before it sent anything is made up for by the next
// run, forced or not.
func TestAForcedRunThatIsKilled(t *testing.T) {
	l := newLab(t, 2)
	desired := wanted{organization: {"summary": value("summary", "a")}}
	for _, id := range []int{100, 101} {
		desired[device(id)] = ninjaone.Fields{"links": value("links", "a"), "compliance": ninjaone.Text("Compliant")}
	}
	l.wrote(desired)
	killed, stop := context.WithCancel(t.Context())
	stop()
	forced := l.writing(desired)
	forced.run.TenantID, forced.run.Owed = labTenant, runs.OwedAll
	must(t, forced.force(t.Context()))
	if _, _, err := forced.mark(killed); err == nil {
		t.Fatal("values were sent without marks")
	}
	l.ninja.ResetCounters()
	l.wrote(desired)
	fields := 0
	for _, w := range l.ninja.Writes() {
		fields += len(w.Fields)
	}
	if fields != 5 {
		t.Errorf("%d fields were sent again, want all 5", fields)
	}
	l.ninja.ResetCounters()
	l.wrote(desired)
	if n := len(l.ninja.Writes()); n != 0 {
		t.Errorf("%d writes after that", n)
	}
}

// TestStorageCalls holds the calls to our state for a hundred devices that are
// written to the fewest that are safe, however many of them change.
func TestStorageCalls(t *testing.T) {
	const devices = ledger.MaxBatch
	fill := func(text, state string) wanted {
		w := wanted{}
		for i := range devices {
			w[device(100+i)] = ninjaone.Fields{"links": value("links", text), "compliance": ninjaone.Text(state)}
		}
		return w
	}
	l := newLab(t, devices)
	must(t, l.store.MarkQueued(t.Context(), labTenant, l.now())) // the table is there
	for _, tt := range []struct {
		name    string
		desired wanted
		most    int64
	}{
		{"new devices", fill("a", "Compliant"), 4}, // each of marking and settling reads and writes
		{"nothing changed", fill("a", "Compliant"), 0},
		{"no compliance among it", fill("b", "Compliant"), 3},
		{"other compliance", fill("b", "Non-Compliant"), 5}, // one looks whether a sweep knows better
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := l.writing(tt.desired)
			before := l.traffic.Calls.Load()
			must(t, w.write(t.Context()))
			if got := l.traffic.Calls.Load() - before; got > tt.most {
				t.Errorf("%d calls for %d devices, want %d at most", got, devices, tt.most)
			}
		})
	}
}

// TestStorageCallsOfATypicalDay: the few of many devices that change share a batch.
func TestStorageCallsOfATypicalDay(t *testing.T) {
	const devices = 5 * ledger.MaxBatch
	l := newLab(t, devices)
	desired := wanted{}
	for i := range devices {
		desired[device(100+i)] = ninjaone.Fields{"links": value("links", "a")}
	}
	l.wrote(desired)
	for i := 0; i < devices; i += ledger.MaxBatch / 2 {
		desired[device(100+i)] = ninjaone.Fields{"links": value("links", "b")}
	}
	w := l.writing(desired)
	l.ninja.ResetCounters()
	before := l.traffic.Calls.Load()
	must(t, w.write(t.Context()))
	if got, wrote := l.traffic.Calls.Load()-before, len(l.ninja.Writes()); got > 4 || wrote != 10 {
		t.Errorf("%d calls for %d devices", got, wrote)
	}
}

// TestManyTargets writes more than are composed at once, and NinjaOne fails on one.
func TestManyTargets(t *testing.T) {
	const devices = 2*ledger.MaxBatch + 7
	l := newLab(t, devices)
	desired := wanted{organization: {"summary": value("summary", "a")}}
	for i := range devices {
		desired[device(100+i)] = ninjaone.Fields{"links": value("links", fmt.Sprint(i))}
	}
	l.ninja.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "^/v2/device/101/custom-fields$", Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`})
	j := l.writing(desired)
	must(t, j.write(t.Context()))
	if j.run.Devices != devices-1 || j.run.OrganizationFields != 1 {
		t.Errorf("wrote %d devices and %d organization fields", j.run.Devices, j.run.OrganizationFields)
	}
	if n := len(j.problems.List()); n != 1 {
		t.Errorf("problems: %v", j.problems.List())
	}
	for i := range devices {
		if i == 1 {
			continue // the one that fails
		}
		if got := l.sent(device(100+i), "links"); plain(got) != fmt.Sprint(i) {
			t.Fatalf("device %d holds %q", 100+i, got)
		}
	}
}
