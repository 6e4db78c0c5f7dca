package e2e

import (
	"strings"
	"testing"
)

// TestAlarm: a tick of the schedule raises the alarm that an alert of the
// deployment waits for, and counts the tenants for the metrics.
func TestAlarm(t *testing.T) {
	t.Parallel()
	w := start(t, generated(2))
	must(t, w.Host.Invoke(t.Context(), "ScheduleTenants", ""))
	alarm := func(line string) bool {
		return strings.Contains(line, `"alarm":"poison_messages"`) && strings.Contains(line, `"queue":"ninjaone-sync-poison"`) && strings.Contains(line, `"count":1`)
	}
	for _, line := range w.logged() {
		if strings.Contains(line, `"alarm"`) {
			t.Errorf("an alarm without a cause: %s", line)
		}
	}
	client := w.Queues.NewQueueClient("ninjaone-sync-poison")
	if _, err := client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.EnqueueMessage(t.Context(), "bm90aGluZw==", nil); err != nil {
		t.Fatal(err)
	}
	must(t, w.Host.Invoke(t.Context(), "ScheduleTenants", ""))
	w.await("the alarm", func() bool {
		for _, line := range w.lines {
			if alarm(line) {
				return true
			}
		}
		return false
	})
	w.await("the number of tenants", func() bool {
		for _, p := range w.telemetry.Metric("cipp_ninjaone.tenants.mapped") {
			if p.Sum == 2 {
				return true
			}
		}
		return false
	})
	if _, err := client.ClearMessages(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
