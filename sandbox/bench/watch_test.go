package bench

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// hiddenLimit is how many calls a second NinjaOne takes, which nobody tells the
// handler.
const hiddenLimit = 20

// BenchmarkWithinMinutes watches WATCH_TENANTS (1,000) small tenants every
// WATCH_MINUTES (5), as often as they are set. After their first sync and first look
// one interval is quiet, and in the three after it one tenant in a hundred changes
// each interval, each kind of change in turn. It reports how long a change takes
// until NinjaOne shows it, with 100 ms a call and a limit of NinjaOne that the
// handler must find, and what a quiet look costs.
func BenchmarkWithinMinutes(b *testing.B) {
	tenants, minutes := int(number(b, "WATCH_TENANTS", 1000)), number(b, "WATCH_MINUTES", 5)
	interval := time.Duration(minutes * float64(time.Minute))
	for b.Loop() {
		b.StopTimer()
		data := seed.Generate(seed.Size{Tenants: tenants, Users: 5, Devices: 4, Groups: 2})
		data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
		began := time.Now()
		w := startWatch(b, data, minutes)
		fmt.Fprintf(&tables, "\n%s: %d tenants every %s; their first syncs and light runs took %.0f s\n", b.Name(), tenants, interval, time.Since(began).Seconds())
		b.StartTimer()
		quiet := w.quiet(b, interval)
		w.NinjaOne.ResetCounters()
		took := w.changes(b, interval)
		var all []time.Duration
		for _, k := range kinds {
			slices.Sort(took[k.name])
			all = append(all, took[k.name]...)
			fmt.Fprintf(&tables, "  %-12s %3d changes: p50 %4.0f s, p95 %4.0f s, max %4.0f s\n", k.name, len(took[k.name]),
				at(took[k.name], 0.5), at(took[k.name], 0.95), at(took[k.name], 1))
		}
		calls := 0
		for _, n := range w.NinjaOne.Calls() {
			calls += n
		}
		fmt.Fprintf(&tables, "  NinjaOne was called %d times for them, and turned away %d\n", calls, w.NinjaOne.Throttled())
		slices.Sort(all)
		b.ReportMetric(at(all, 0.5), "p50-s")
		b.ReportMetric(at(all, 0.95), "p95-s")
		b.ReportMetric(at(all, 1), "max-s")
		b.ReportMetric(quiet.graph, "graph-calls/quiet-look")
		b.ReportMetric(quiet.ninjaOne, "ninjaone-calls/quiet-interval")
		b.ReportMetric(quiet.cpu.Seconds()*1000/quiet.looks, "cpu-ms/quiet-look")
		b.ReportMetric(100*quiet.cpu.Seconds()/interval.Seconds(), "percent-of-a-core")
		if v := w.Violations(); len(v) > 0 {
			b.Fatalf("%d requests broke a contract; the first: %s", len(v), v[0])
		}
	}
}

// at is the time within which a share of changes showed, in seconds.
func at(sorted []time.Duration, share float64) float64 {
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)].Seconds()
}

// watch is a world in which looks are counted.
type watch struct {
	*world
	looks, syncs atomic.Int64
}

func startWatch(b *testing.B, data *seed.Seed, minutes float64) *watch {
	b.Helper()
	w := &watch{world: &world{Stack: simulate(b, data, 0, nil)}}
	w.run(b, 0, unhindered)
	w.firstSyncs(b)
	w.Host.Stop()
	w.run(b, minutes, unhindered)
	w.firstLooks(b)
	w.slowDown(b, minutes)
	return w
}

// unhindered are settings with which NinjaOne's pace holds nobody back.
var unhindered = map[string]string{"NINJAONE_RATE": "1000000", "SYNC_SLOTS": "8"}

// run starts the bundle, with more settings.
func (w *watch) run(b *testing.B, minutes float64, more map[string]string) {
	b.Helper()
	settings := map[string]string{
		"WATCH_MINUTES":                      strconv.FormatFloat(minutes, 'f', -1, 64),
		"LOG_LEVEL":                          "warn",
		"AzureWebJobs.WatchTenants.Disabled": "false",
	}
	maps.Copy(settings, more)
	w.handler = launch(b, w.Stack, settings, func(i funchost.Invocation) {
		switch i.Function {
		case "WatchTenant":
			w.looks.Add(1)
		case "SyncTenant":
			w.syncs.Add(1)
		}
	})
}

// worldPatience is longer than it takes a busy machine to set a world up.
const worldPatience = 2 * time.Hour

// await waits until something is the case.
func (w *watch) await(b *testing.B, what string, done func() bool) {
	b.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(worldPatience); !done(); {
		select {
		case <-tick.C:
		case <-late:
			b.Fatalf("waited %s for %s: %d syncs, %d looks", worldPatience, what, w.syncs.Load(), w.looks.Load())
		}
	}
}

// firstSyncs syncs every tenant.
func (w *watch) firstSyncs(b *testing.B) {
	b.Helper()
	enqueueAll(b, w.Stack)
	w.await(b, "the first syncs", func() bool { return w.syncs.Load() >= int64(len(w.Seed.Tenants)) })
}

// firstLooks waits for each tenant's first look, and for the light run after that.
func (w *watch) firstLooks(b *testing.B) {
	b.Helper()
	n := int64(len(w.Seed.Tenants))
	w.await(b, "the first looks, and the light runs after them", func() bool { return w.looks.Load() >= n && w.syncs.Load() >= 2*n })
}

// slowDown starts the bundle again with the settings that everybody has, on services
// that take their time, and a NinjaOne that has a limit.
func (w *watch) slowDown(b *testing.B, minutes float64) {
	b.Helper()
	w.Host.Stop()
	w.M365.SetLatency(delay)
	w.NinjaOne.SetLatency(delay)
	w.NinjaOne.SetRateLimit(ninjasim.RateLimit{PerSecond: hiddenLimit, RetryAfter: time.Second})
	w.run(b, minutes, nil)
}

type quietInterval struct {
	looks, graph, ninjaOne float64
	cpu                    time.Duration
}

// quiet lets an interval pass in which nothing changes.
func (w *watch) quiet(b *testing.B, interval time.Duration) (q quietInterval) {
	b.Helper()
	looks, syncs := w.looks.Load(), w.syncs.Load()
	w.M365.ResetCalls()
	w.NinjaOne.ResetCounters()
	_, cpu, _ := usage(w.handler)
	time.Sleep(interval)
	_, now, _ := usage(w.handler)
	q.cpu, q.looks = now-cpu, float64(w.looks.Load()-looks)
	for call, n := range w.M365.Calls() {
		if strings.HasPrefix(call, "graph ") {
			q.graph += float64(n) / q.looks
		}
	}
	for _, n := range w.NinjaOne.Calls() {
		q.ninjaOne += float64(n)
	}
	if runs := w.syncs.Load() - syncs; runs > 0 {
		b.Errorf("%d runs in a quiet interval", runs)
	}
	return q
}

// changes lets one tenant in a hundred change each interval, ten at least, for three
// of them, and returns how long each kind of change took until NinjaOne showed it.
func (w *watch) changes(b *testing.B, interval time.Duration) (took map[string][]time.Duration) {
	b.Helper()
	n := 3 * max(10, len(w.Seed.Tenants)/100)
	if len(w.Seed.Tenants) < n {
		b.Fatalf("%d tenants are too few: each of %d changes has its own", len(w.Seed.Tenants), n)
	}
	tick := time.NewTicker(3 * interval / time.Duration(n))
	defer tick.Stop()
	var all sync.WaitGroup
	var mu sync.Mutex
	took = map[string][]time.Duration{}
	for i := range n {
		t, k := w.Seed.Tenants[i*len(w.Seed.Tenants)/n], kinds[i%len(kinds)]
		all.Go(func() {
			d := w.change(b, t, k, fmt.Sprintf("Change-%d", 30_000+i), interval)
			mu.Lock()
			defer mu.Unlock()
			took[k.name] = append(took[k.name], d)
		})
		<-tick.C
	}
	all.Wait()
	return took
}

// change changes something in a tenant, and waits until NinjaOne shows it.
func (w *watch) change(b *testing.B, t *m365sim.Tenant, k kind, word string, interval time.Duration) time.Duration {
	var shown func() bool
	t.Change(func(t *m365sim.Tenant) { shown = k.change(w, t, word) })
	began := time.Now()
	if shown() {
		b.Errorf("NinjaOne shows a change of a %s of %s before it was read", k.name, t.DefaultDomain)
	}
	for !shown() {
		if time.Since(began) > 5*interval {
			b.Errorf("NinjaOne does not show a change of a %s of %s after %s", k.name, t.DefaultDomain, time.Since(began))
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	return time.Since(began)
}
