package bench

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkWithinMinutes watches WATCH_TENANTS (1,000) small tenants every
// WATCH_MINUTES (5), as often as they are set. After their first sync and first look
// one interval is quiet, and in the two after it one tenant in a hundred changes each
// interval. It reports how long a change takes until NinjaOne shows it, with 100 ms a
// call, and what a quiet look costs.
func BenchmarkWithinMinutes(b *testing.B) {
	tenants, minutes := int(number(b, "WATCH_TENANTS", 1000)), number(b, "WATCH_MINUTES", 5)
	interval := time.Duration(minutes * float64(time.Minute))
	for b.Loop() {
		b.StopTimer()
		w := startWatch(b, seed.Generate(seed.Size{Tenants: tenants, Users: 5, Devices: 4, Groups: 2}), minutes)
		w.firstSyncs(b)
		b.StartTimer()
		quiet := w.quiet(b, interval)
		took := w.changes(b, interval)
		slices.Sort(took)
		at := func(share float64) float64 { return took[min(len(took)-1, int(share*float64(len(took))))].Seconds() }
		b.ReportMetric(at(0.5), "p50-s")
		b.ReportMetric(at(0.95), "p95-s")
		b.ReportMetric(took[len(took)-1].Seconds(), "max-s")
		b.ReportMetric(quiet.graph, "graph-calls/quiet-look")
		b.ReportMetric(quiet.ninjaOne, "ninjaone-calls/quiet-interval")
		b.ReportMetric(quiet.cpu.Seconds()*1000/quiet.looks, "cpu-ms/quiet-look")
		b.ReportMetric(100*quiet.cpu.Seconds()/interval.Seconds(), "percent-of-a-core")
		if v := w.Violations(); len(v) > 0 {
			b.Fatalf("%d requests broke a contract; the first: %s", len(v), v[0])
		}
	}
}

// watch is a world in which looks are counted.
type watch struct {
	*world
	looks, syncs atomic.Int64
}

func startWatch(b *testing.B, data *seed.Seed, minutes float64) *watch {
	b.Helper()
	s, queue := simulate(b, data, 0)
	w := &watch{world: &world{Stack: s, queue: queue, handler: filepath.Join(appRoot(b), "handler")}}
	err := w.StartHost(context.Background(), funchost.Config{
		AppRoot: filepath.Dir(w.handler),
		Settings: map[string]string{
			"NINJAONE_RATE":                            "1000000",
			"SYNC_SLOTS":                               "8",
			"WATCH_MINUTES":                            strconv.FormatFloat(minutes, 'f', -1, 64),
			"LOG_LEVEL":                                "warn",
			"AzureWebJobs.ScheduleTenants.Disabled":    "true",
			"AzureWebJobs.SweepCompliance.Disabled":    "true",
			"AzureWebJobs.RenewSubscriptions.Disabled": "true",
		},
		ShutdownWait: time.Second,
		Log:          slog.New(slog.DiscardHandler),
		OnInvocation: func(i funchost.Invocation) {
			switch i.Function {
			case "WatchTenant":
				w.looks.Add(1)
			case "SyncTenant":
				w.syncs.Add(1)
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// await waits until something is the case.
func (w *watch) await(b *testing.B, what string, done func() bool) {
	b.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(50 * time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-late:
			b.Fatalf("waited 50 minutes for %s: %d syncs, %d looks", what, w.syncs.Load(), w.looks.Load())
		}
	}
}

// firstSyncs syncs every tenant, and waits for its first look and for the light run
// after that. From then on calls take their time.
func (w *watch) firstSyncs(b *testing.B) {
	b.Helper()
	n := int64(len(w.Seed.Tenants))
	for _, t := range w.Seed.Tenants {
		message := fmt.Sprintf(`{"tenantId":%q,"force":false}`, t.ID)
		if _, err := w.queue.EnqueueMessage(context.Background(), base64.StdEncoding.EncodeToString([]byte(message)), nil); err != nil {
			b.Fatal(err)
		}
	}
	w.await(b, "the first looks, and the light runs after them", func() bool { return w.looks.Load() >= n && w.syncs.Load() >= 2*n })
	w.M365.SetLatency(100 * time.Millisecond)
	w.NinjaOne.SetLatency(100 * time.Millisecond)
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

// changes lets one tenant in a hundred change each interval, ten at least, for two of
// them, and returns how long each change took until NinjaOne showed it.
func (w *watch) changes(b *testing.B, interval time.Duration) (took []time.Duration) {
	b.Helper()
	n := max(20, 2*len(w.Seed.Tenants)/100)
	tick := time.NewTicker(2 * interval / time.Duration(n))
	defer tick.Stop()
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		t := w.Seed.Tenants[i*len(w.Seed.Tenants)/n]
		all.Go(func() {
			d := w.change(b, t, fmt.Sprintf("10.0.%d.77", 30_000+i), interval)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
		})
		<-tick.C
	}
	all.Wait()
	return took
}

// change gives a device of a tenant another version, and waits until NinjaOne shows
// it.
func (w *watch) change(b *testing.B, t *m365sim.Tenant, version string, interval time.Duration) time.Duration {
	var serial string
	t.Change(func(t *m365sim.Tenant) {
		d := maps.Clone(t.ManagedDevices[0])
		d["osVersion"], serial = version, d.String("serialNumber")
		t.ManagedDevices[0] = d
	})
	began := time.Now()
	i := slices.IndexFunc(w.Seed.NinjaDevices, func(d seed.NinjaDevice) bool { return d.SerialNumber == serial })
	if i < 0 {
		b.Errorf("NinjaOne has no device %s", serial)
		return 0
	}
	for {
		if v, _ := w.NinjaOne.DeviceField(w.Seed.NinjaDevices[i].ID, w.Seed.FieldMapping["DeviceSummary"]); strings.Contains(v.Sent, version) {
			return time.Since(began)
		}
		if time.Since(began) > 5*interval {
			b.Errorf("NinjaOne does not show a change of %s after %s", t.DefaultDomain, time.Since(began))
			return time.Since(began)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
