package compliance_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkSweep sweeps 1,000 tenants with 5 devices each, of which nothing
// changed, four at a time as one host instance does.
func BenchmarkSweep(b *testing.B) {
	const tenants, devices = 1000, 5
	w := newWorld(b, seed.Generate(seed.Size{Tenants: tenants, Users: 1, Devices: devices, Groups: 1}))
	run := func(atATime int) {
		var group errgroup.Group
		group.SetLimit(atATime)
		for _, t := range w.Seed.Tenants {
			group.Go(func() error { return w.Process.Worker.Update(b.Context(), notify.Message{TenantID: t.ID}, 1) })
		}
		must(b, group.Wait())
	}
	run(compliance.SweepsWriting) // writes every field for the first time
	for b.Loop() {
		w.M365.ResetCalls()
		w.NinjaOne.ResetCounters()
		w.Clock.Advance(15 * time.Minute)
		start := time.Now()
		run(4)
		b.ReportMetric(time.Since(start).Seconds(), "s/1000-tenants")
		graph := 0
		for call, n := range w.M365.Calls() {
			if strings.HasPrefix(call, "graph ") {
				graph += n
			}
		}
		b.ReportMetric(float64(graph)/tenants, "graph-calls/tenant")
		b.ReportMetric(float64(total(w.NinjaOne.Calls())), "ninjaone-calls")
	}
	for _, t := range w.Seed.Tenants[:10] {
		if s := w.Status(t.ID); s.Devices != devices || s.Kind != "" {
			b.Errorf("a tenant's status is %+v", s)
		}
	}
}
