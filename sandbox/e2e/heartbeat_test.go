package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTimersStop: the platform's timers fire once and never again. The message
// that waits since the start comes, schedules the tenants that are due, and says
// so; when a timer fires again, that is said too.
func TestTimersStop(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data)
	w.poll("a heartbeat to wait", func() bool { return w.waiting("ninjaone-heartbeat") == 1 })
	w.tick()
	w.settled()
	w.once(0, data.Tenants...)

	since := len(w.logged())
	told := func() (lines []string) {
		for _, row := range w.rows("CippLogs", "API eq 'NinjaOneSync'") {
			if message, _ := row["Message"].(string); strings.Contains(message, "timer") {
				lines = append(lines, row["Severity"].(string)+" "+message)
			}
		}
		slices.Sort(lines)
		return lines
	}
	w.send("ninjaone-heartbeat", "{}")
	if lines := told(); len(lines) > 0 {
		t.Errorf("while timers fire the logbook says %q", lines)
	}

	w.ageRuns(25 * time.Hour)
	w.merge("NinjaOneSyncState", "timers", "ScheduleTenants", map[string]any{
		"Last": time.Now().Add(-31 * time.Minute).UTC().Format("2006-01-02T15:04:05.0000000Z"), "Last@odata.type": "Edm.DateTime"})
	w.send("ninjaone-heartbeat", "{}")
	w.send("ninjaone-heartbeat", "{}")
	w.settled()
	w.once(since, data.Tenants...)
	if lines := told(); len(lines) != 1 || !strings.HasPrefix(lines[0], "Error The timer ScheduleTenants of the app has not fired since ") {
		t.Errorf("the logbook says %q", lines)
	}
	w.tick()
	if lines := told(); len(lines) != 2 || !strings.HasPrefix(lines[1], "Info The timers of the app fire again.") {
		t.Errorf("the logbook says %q", lines)
	}
}
