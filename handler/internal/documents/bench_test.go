package documents

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
)

// BenchmarkRuns measures a tenant of 5,000 users and 5,000 devices: the first
// run, an unchanged one, and a typical day on which two in a hundred changed.
// It reports the calls to NinjaOne and, of the process, simulator included,
// the memory in use after the run.
func BenchmarkRuns(b *testing.B) {
	w := newWorld(b, 1)
	m := w.tenants[0]
	skus := []string{m.buy("SPE_E3"), m.buy("VISIO"), m.buy("FLOW_FREE")}
	for n := range 5000 {
		w.enrol(m, m.join(fmt.Sprintf("User %04d", n), skus[:1+n%3]...))
	}
	ids := slices.Sorted(maps.Keys(m.users))
	day := 0
	for _, run := range []struct {
		name    string
		prepare func()
	}{
		{"first", func() {}},
		{"unchanged", func() {}},
		{"typical day", func() {
			day++
			for _, id := range ids[:100] {
				m.users[id].title = fmt.Sprint("Title ", day)
			}
			m.join(fmt.Sprint("Joiner ", day), skus[0])
		}},
	} {
		b.Run(run.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				run.prepare()
				w.ResetCounters()
				b.StartTimer()
				w.sync(m)
			}
			calls := 0
			for operation, n := range w.Calls() {
				calls += n
				b.Logf("%s: %s %d", run.name, operation, n)
			}
			var memory runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&memory)
			b.ReportMetric(float64(calls), "calls")
			b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MiB")
		})
	}
}
