package e2e

import (
	"context"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
)

// tick runs the timer function and returns how many tenants it queued.
func (w *world) tick() int {
	w.t.Helper()
	w.mu.Lock()
	seen := len(w.lines)
	w.mu.Unlock()
	must(w.t, w.Host.Invoke(context.Background(), "ScheduleTenants", ""))
	queued := -1
	w.await("the schedule's log line", func() bool {
		for _, line := range w.lines[seen:] {
			if l, ok := parseLog(line); ok && l.Msg == "scheduled" {
				queued = l.Queued
				return true
			}
		}
		return false
	})
	return queued
}

// synced waits until so many sync messages were handled.
func (w *world) synced(n int) []funchost.Invocation {
	var syncs []funchost.Invocation
	w.await("the syncs", func() bool {
		syncs = nil
		for _, i := range w.done {
			if i.Function == "SyncTenant" {
				syncs = append(syncs, i)
			}
		}
		return len(syncs) >= n
	})
	return syncs
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	data := generated(6)
	excluded, unmapped := data.Tenants[4], data.Tenants[5]
	data.ExcludedTenants, data.Mappings = []string{excluded.ID}, data.Mappings[:5]
	data.Tenants[3].Login = m365sim.ConsentMissing
	w := start(t, data, oneAtATime)
	// A mapping of a domain that CIPP does not know.
	w.merge("CippMapping", "NinjaOneMapping", "gone.example", map[string]any{"IntegrationId": "100", "IntegrationName": "Gone"})

	if n := w.tick(); n != 4 {
		t.Errorf("%d tenants were queued, want the 4 that are mapped and not excluded", n)
	}
	syncs := w.synced(4)
	if n := w.tick(); n != 0 { // all are under way or done
		t.Errorf("the second tick queued %d tenants", n)
	}
	seen := map[string]int{}
	for _, i := range w.synced(4) {
		seen[i.Message]++
		if i.Err != nil {
			t.Errorf("%s failed: %v", i.Message, i.Err)
		}
	}
	if len(syncs) != 4 || len(seen) != 4 {
		t.Errorf("%d syncs of %d tenants", len(syncs), len(seen))
	}
	for i, want := range []string{"Completed", "Completed", "Completed", "Failed", ""} {
		if got := w.status(data.Tenants[i].ID); got != want {
			t.Errorf("%s: %q, want %q", data.Tenants[i].DefaultDomain, got, want)
		}
	}
	lines := w.logbook("None")
	n := 0
	for _, l := range lines {
		if strings.Contains(l, `"gone.example" is the domain of no tenant that CIPP knows`) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the bad mapping was told %d times:\n%s", n, strings.Join(lines, "\n"))
	}
	w.remove("CippMapping", "NinjaOneMapping", "gone.example")
	w.tick()
	if lines := w.logbook("None"); !strings.Contains(strings.Join(lines, "\n"), "No longer a problem: A tenant mapping cannot be used") {
		t.Errorf("nothing says that the bad mapping is gone:\n%s", strings.Join(lines, "\n"))
	}

	// A tenant that is mapped now is due at once; with the integration off
	// nothing is.
	w.merge("CippMapping", "NinjaOneMapping", unmapped.ID, map[string]any{"IntegrationId": "105", "IntegrationName": "Tenant 006"})
	w.configure(map[string]any{"Enabled": false})
	w.run("ScheduleTenants")
	if n := w.waiting(syncQueue); n != 0 {
		t.Errorf("%d tenants were queued with the integration off", n)
	}
	w.configure(map[string]any{"Enabled": true})
	if n := w.tick(); n != 1 {
		t.Errorf("%d tenants were queued, want the one that is newly mapped", n)
	}
	w.synced(5)
	if got := w.status(unmapped.ID); got != "Completed" {
		t.Errorf("the newly mapped tenant: %q", got)
	}
}
