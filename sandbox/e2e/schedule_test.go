package e2e

import (
	"context"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/seed"
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
	data := seed.MSP()
	w := start(t, data, oneAtATime)
	// A mapping of a domain that CIPP does not know.
	w.merge("CippMapping", "NinjaOneMapping", "gone.example", map[string]any{"IntegrationId": "11", "IntegrationName": "Gone"})

	if n := w.tick(); n != 10 {
		t.Errorf("%d tenants were queued, want the 10 that are mapped and not excluded", n)
	}
	syncs := w.synced(10)
	// Every tenant of the first tick is under way or done.
	if n := w.tick(); n != 0 {
		t.Errorf("the second tick queued %d tenants", n)
	}
	if n := w.tick(); n != 0 {
		t.Errorf("the third tick queued %d tenants", n)
	}
	seen := map[string]int{}
	for _, i := range w.synced(10) {
		seen[i.Message]++
		if i.Err != nil {
			t.Errorf("%s failed: %v", i.Message, i.Err)
		}
	}
	if len(syncs) != 10 || len(seen) != 10 {
		t.Errorf("%d syncs of %d tenants", len(syncs), len(seen))
	}
	for _, domain := range mappedDomains(data) {
		want := map[string]string{seed.ConsentLost: "Failed", seed.DeletedOrg: "Failed", seed.Excluded: ""}
		status, special := want[domain]
		if !special {
			status = "Completed"
		}
		if got := w.status(w.tenant(domain).ID); got != status {
			t.Errorf("%s: %q, want %q", domain, got, status)
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
	w.merge("CippMapping", "NinjaOneMapping", w.tenant(seed.Unmapped).ID, map[string]any{"IntegrationId": "22", "IntegrationName": "Juniper Field Clinic"})
	w.configure(map[string]any{"Enabled": false})
	if err := w.Host.Invoke(context.Background(), "ScheduleTenants", ""); err != nil {
		t.Error(err)
	}
	if n := w.waiting(syncQueue); n != 0 {
		t.Errorf("%d tenants were queued with the integration off", n)
	}
	w.configure(map[string]any{"Enabled": true})
	if n := w.tick(); n != 1 {
		t.Errorf("%d tenants were queued, want the one that is newly mapped", n)
	}
	w.synced(11)
	if got := w.status(w.tenant(seed.Unmapped).ID); got != "Completed" {
		t.Errorf("the newly mapped tenant: %q", got)
	}
}
