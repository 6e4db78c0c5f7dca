package e2e

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/collector"
)

// TestTelemetry looks at what the handler sends of itself to a collector: one
// trace per sync with its phases and remote calls, metrics, and log lines that
// lead from one to the other. What holds of every test, that neither secrets
// nor personal data are in it, checkAlways checks.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	w := start(t, generated(2))
	const domain = "tenant-001.example"
	w.sync(domain)

	var spans []collector.Span
	var root collector.Span
	w.await("the trace of the sync", func() bool {
		spans = w.telemetry.Spans()
		for _, s := range spans {
			if s.Name == "SyncTenant" {
				root = s
			}
		}
		return root.Name != ""
	})
	id := w.tenant(domain).ID
	if root.Parent != "" || root.Failed || root.Attributes["cipp_ninjaone.tenant.id"] != id || root.Attributes["cipp_ninjaone.sync.status"] != "Completed" {
		t.Errorf("the root of the trace does not tell of the tenant and its run: %v", root.Attributes)
	}
	phases, calls := map[string]collector.Span{}, map[string]int{}
	for _, s := range spans {
		if s.TraceID != root.TraceID {
			continue
		}
		if s.Parent == root.ID {
			phases[s.Name] = s
		}
		if method := s.Attributes["http.request.method"]; method != "" {
			calls[method+" "+s.Attributes["url.template"]]++
		}
	}
	for _, name := range []string{"read", "compose", "write", "documents"} {
		if _, ok := phases[name]; !ok {
			t.Errorf("the trace has no phase %q", name)
		}
	}
	for _, call := range []string{"GET /v1.0/users", "POST /v1.0/$batch", "PATCH /api/v2/device/{id}/custom-fields", "PATCH /api/v2/organization/{id}/custom-fields"} {
		if calls[call] == 0 {
			t.Errorf("the trace has no call %q; it has %v", call, calls)
		}
	}

	// Its last metric is the one of the whole invocation.
	for _, name := range []string{"http.client.request.duration", "cipp_ninjaone.queue.age", "cipp_ninjaone.sync.duration", "cipp_ninjaone.invocation.duration"} {
		w.await("the metric "+name, func() bool { return len(w.telemetry.Metric(name)) > 0 })
	}
	written := map[string]float64{}
	for _, p := range w.telemetry.Metric("cipp_ninjaone.sync.writes") {
		written[p.Attributes["target"]] = p.Sum
	}
	if patches := calls["PATCH /api/v2/device/{id}/custom-fields"]; written["device"] != float64(patches) {
		t.Errorf("%v devices counted as written, and %d calls that wrote one", written["device"], patches)
	}
	if n := w.tick(); n != 1 {
		t.Errorf("%d tenants were queued, want the other one", n)
	}
	for name, want := range map[string]float64{"cipp_ninjaone.tenants.mapped": 2, "cipp_ninjaone.tenants.overdue": 0} {
		w.await("the metric "+name, func() bool { return len(w.telemetry.Metric(name)) > 0 })
		if p := w.telemetry.Metric(name); len(p) != 1 || p[0].Sum != want {
			t.Errorf("%s = %v, want %v", name, p, want)
		}
	}
	w.synced(2)
	w.alarmed(t)

	ends := func(line string) (l logLine, ok bool) {
		l, ok = parseLog(line)
		return l, ok && l.Msg == "sync ended" && l.Tenant == id
	}
	w.await("the line of the sync's end", func() bool {
		return slices.ContainsFunc(w.lines, func(line string) bool { _, ok := ends(line); return ok })
	})
	told := 0
	for _, line := range w.logged() {
		if l, ok := ends(line); ok {
			told++
			if l.TraceID != hex.EncodeToString([]byte(root.TraceID)) || l.Invocation == "" {
				t.Errorf("the line of the sync's end lacks an id: %s", line)
			}
		}
	}
	if told != 1 {
		t.Errorf("%d lines tell of the sync's end, want 1", told)
	}
}

// alarmed puts a message where the host moves one that failed too often: the next tick
// raises the alarm that an alert of the deployment waits for.
func (w *world) alarmed(t *testing.T) {
	for _, line := range w.logged() {
		if strings.Contains(line, `"alarm"`) {
			t.Errorf("an alarm without a cause: %s", line)
		}
	}
	w.enqueue(syncQueue+"-poison", "nothing")
	w.tick()
	w.await("the alarm", func() bool {
		return slices.ContainsFunc(w.lines, func(line string) bool {
			return strings.Contains(line, `"alarm":"poison_messages"`) && strings.Contains(line, `"queue":"ninjaone-sync-poison"`) && strings.Contains(line, `"count":1`)
		})
	})
	w.empty(syncQueue + "-poison")
}
