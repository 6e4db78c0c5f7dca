package bench

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
)

// arrivals notes when calls reach NinjaOne. Requests for tokens do not count.
type arrivals struct {
	mu sync.Mutex
	at []time.Time
}

func (a *arrivals) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/oauth/token") {
			a.mu.Lock()
			a.at = append(a.at, time.Now())
			a.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (a *arrivals) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = nil
}

func (a *arrivals) take() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at)
}

// process is what one process used.
type process struct {
	cpu    time.Duration
	peakMB float64 // since the process started
	seen   bool
}

// processes are the handler, the storage emulator, and this process, which holds
// the simulators and the stand-in for the host.
type processes map[string]process

func (n *nights) processes() processes {
	p := processes{}
	for name, usage := range map[string]func() (float64, time.Duration, bool){
		"handler":    func() (float64, time.Duration, bool) { return usage(n.handler) },
		"emulator":   emulatorUsage,
		"simulators": ownUsage,
	} {
		peakMB, cpu, seen := usage()
		p[name] = process{cpu, peakMB, seen}
	}
	return p
}

// since leaves of the processor times what was used since an earlier look.
func (p processes) since(before processes) processes {
	for name, q := range p {
		q.cpu -= before[name].cpu
		p[name] = q
	}
	return p
}

// night is what was measured of one night.
type night struct {
	rate       float64 // calls per second that NinjaOne allowed
	tenants    int
	begun, end time.Time
	scheduled  time.Duration // until all tenants were on the queue
	runs       []funchost.Invocation
	arrivals   []time.Time // in order
	throttled  int
	ninjaOne   map[string]int // calls by method and path
	m365       map[string]int
	storage    counts // nil when they were not counted
	processes  processes
}

// writes is the number of calls that wrote custom fields.
func (r night) writes() (n int) {
	for name, k := range r.ninjaOne {
		if strings.HasPrefix(name, "PATCH ") {
			n += k
		}
	}
	return n
}

// busy are the calls that were made while there was work for every slot: until
// the last tenant's sync began.
func (r night) busy() (calls []time.Time, took time.Duration) {
	last := r.begun
	for _, i := range r.runs {
		if i.Start.After(last) {
			last = i.Start
		}
	}
	if len(r.runs) <= 4 { // all began at once; then it is until the first one ended
		last = r.end
		for _, i := range r.runs {
			if end := i.Start.Add(i.Duration); end.Before(last) {
				last = end
			}
		}
	}
	for _, at := range r.arrivals {
		if !at.After(last) {
			calls = append(calls, at)
		}
	}
	if len(calls) == 0 {
		return nil, 0
	}
	return calls, last.Sub(calls[0])
}

// peak is the largest number of calls in any stretch of time.
func peak(at []time.Time, stretch time.Duration) (most int) {
	from := 0
	for i := range at {
		for at[i].Sub(at[from]) >= stretch {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// quiet is the longest time without a call.
func quiet(at []time.Time) (longest time.Duration) {
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	return longest
}

// report gives the night's numbers to the benchmark, and its calls to the tables.
func (r night) report(b *testing.B, factor float64) {
	b.Helper()
	slices.SortFunc(r.arrivals, time.Time.Compare)
	busy, took := r.busy()
	mean := float64(len(busy)) / took.Seconds()
	second := time.Second
	running := time.Duration(0)
	for _, i := range r.runs {
		running += i.Duration
	}
	wall := r.end.Sub(r.begun)
	tenants := float64(r.tenants)
	total := float64(len(r.arrivals))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(factor, "factor")
	b.ReportMetric(wall.Seconds(), "wall-s")
	b.ReportMetric(mean/r.rate, "of-allowed")
	b.ReportMetric(float64(peak(r.arrivals, second))/r.rate, "peak-of-allowed")
	b.ReportMetric(float64(r.throttled), "429s")
	b.ReportMetric(total/tenants, "ninjaone-calls/tenant")
	b.ReportMetric(float64(r.writes())/tenants, "writes/tenant")
	b.ReportMetric(total/allowed/3600, "hours-at-5/s")
	handler := r.processes["handler"]
	if handler.seen {
		b.ReportMetric(handler.cpu.Seconds()*1000/tenants, "cpu-ms/tenant")
		b.ReportMetric(handler.peakMB, "peak-MB")
	}

	fmt.Fprintf(&tables, "\n%s: %d tenants, %.0f s at %g times five calls a second\n", b.Name(), r.tenants, wall.Seconds(), factor)
	fmt.Fprintf(&tables, "  %.1f calls/s of %g allowed while there was work for every slot (%.0f s); at most %d in a second; longest pause %d ms; %d answered 429\n",
		mean, r.rate, took.Seconds(), peak(r.arrivals, second), quiet(busy).Milliseconds(), r.throttled)
	fmt.Fprintf(&tables, "  on the queue after %.1f s; first call after %.1f s; %d invocations, on average %.2f at once, the longest %.1f s\n",
		r.scheduled.Seconds(), firstOf(r.arrivals).Sub(r.begun).Seconds(), len(r.runs), running.Seconds()/wall.Seconds(), r.longest().Seconds())
	for _, name := range slices.Sorted(maps.Keys(r.processes)) {
		p := r.processes[name]
		if p.seen {
			fmt.Fprintf(&tables, "  %-10s %7.1f s of processor time, %.0f ms a tenant; largest resident set %.0f MiB\n",
				name, p.cpu.Seconds(), p.cpu.Seconds()*1000/tenants, p.peakMB)
		}
	}
	r.list("ninjaone", r.ninjaOne)
	r.list("m365", r.m365)
	r.list("storage", r.storage)
}

func firstOf(at []time.Time) time.Time {
	if len(at) == 0 {
		return time.Time{}
	}
	return at[0]
}

func (r night) longest() (d time.Duration) {
	for _, i := range r.runs {
		d = max(d, i.Duration)
	}
	return d
}

// list writes calls by endpoint, the most frequent first.
func (r night) list(service string, calls map[string]int) {
	if len(calls) == 0 {
		return
	}
	total := 0
	for name, n := range calls {
		if !strings.HasPrefix(name, "part ") {
			total += n
		}
	}
	fmt.Fprintf(&tables, "  %s: %d calls, %.1f a tenant\n", service, total, float64(total)/float64(r.tenants))
	names := slices.SortedFunc(maps.Keys(calls), func(a, b string) int {
		return cmp.Or(calls[b]-calls[a], cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(&tables, "  %8d  %s\n", calls[name], name)
	}
}
