package bench

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// allowed is the rate that NinjaOne is taken to allow, in calls per second.
const allowed = 5.0

// nights is a service provider with many tenants, and the bundle that syncs them.
type nights struct {
	*stack.Stack
	rate    float64 // calls per second that NinjaOne allows here
	calls   arrivals
	handler string // path of the running program

	mu   sync.Mutex
	runs []funchost.Invocation // finished ones of SyncTenant
	news chan struct{}         // has an element after runs grew
}

// BenchmarkNights syncs NIGHT_TENANTS tenants (1,000) of 100 users and 100
// devices: all of them for the first time, again with nothing changed, and after a
// typical day. Time passes NIGHT_FACTOR times as fast as in a real night: NinjaOne
// allows so many times five calls a second, and is called at that rate.
func BenchmarkNights(b *testing.B) {
	tenants, factor := number(b, "NIGHT_TENANTS", 1000), number(b, "NIGHT_FACTOR", 60)
	data := seed.Generate(seed.Size{Tenants: int(tenants), Users: 100, Devices: 100, Groups: 20})
	n := startNights(b, data, allowed*factor, 0, nil)
	first := n.sleep(b, func() {
		if err := n.Host.Invoke(context.Background(), "ScheduleTenants", ""); err != nil {
			b.Fatal(err)
		}
	})
	if want, wrote := len(data.NinjaDevices)+len(data.Tenants), first.writes(); wrote != want {
		b.Fatalf("NinjaOne was written to %d times for %d devices and organizations", wrote, want)
	}
	n.spotCheck(b)
	b.Run("first", func(b *testing.B) { first.report(b, factor) })
	b.Run("unchanged", func(b *testing.B) {
		r := n.sleep(b, func() { enqueueAll(b, n.Stack) })
		if wrote := r.writes(); wrote != 0 {
			b.Fatalf("nothing changed, and NinjaOne was written to %d times", wrote)
		}
		r.report(b, factor)
	})
	b.Run("typical", func(b *testing.B) {
		changed := data.TypicalDay(rand.New(rand.NewPCG(11, 0)))
		n.NinjaOne.Age(24 * time.Hour) // else the report of what changed lists the first night's writes
		r := n.sleep(b, func() { enqueueAll(b, n.Stack) })
		checkWrites(b, n.Stack, changed)
		n.spotCheck(b)
		r.report(b, factor)
	})
}

// BenchmarkSteadyDay counts the calls of an ordinary day, on which every target
// that has its day of the week is written once more: a typical day of 20 such
// tenants, two days after their first night.
func BenchmarkSteadyDay(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 20, Users: 100, Devices: 100, Groups: 20})
	n := startNights(b, data, allowed*number(b, "NIGHT_FACTOR", 60), 0, nil)
	n.sleep(b, func() { enqueueAll(b, n.Stack) })
	n.age(b, 48*time.Hour)
	data.TypicalDay(rand.New(rand.NewPCG(11, 0)))
	r := n.sleep(b, func() { enqueueAll(b, n.Stack) })
	n.spotCheck(b)
	r.report(b, number(b, "NIGHT_FACTOR", 60))
}

// BenchmarkFiveASecond syncs four such tenants for the first time at the true
// rate of five calls a second, with the time that NinjaOne and Microsoft 365
// take to answer, and counts the calls of storage too.
func BenchmarkFiveASecond(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 4, Users: 100, Devices: 100, Groups: 20})
	var storage recorder
	n := startNights(b, data, allowed, 200*time.Millisecond, &storage)
	r := n.sleep(b, func() { enqueueAll(b, n.Stack) })
	r.storage = countOf(storage.take())
	n.spotCheck(b)
	r.report(b, 1)
}

// BenchmarkLargeBesideSmall syncs a tenant of 50,000 users and 20,000 devices with
// documents, and LARGE_SMALL (500) small ones that wait behind it: all of them
// complete, and the small ones do not wait for the large one's end.
func BenchmarkLargeBesideSmall(b *testing.B) {
	factor := number(b, "NIGHT_FACTOR", 60)
	users := int(number(b, "LARGE_USERS", 50_000))
	data := seed.Generate(
		seed.Size{Tenants: 1, Users: users, Devices: users * 2 / 5, Groups: users / 25},
		seed.Size{Tenants: int(number(b, "LARGE_SMALL", 500)), Users: 10, Devices: 5, Groups: 3})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	n := startNights(b, data, allowed*factor, 0, nil)
	r := n.sleep(b, func() { enqueueAll(b, n.Stack) })
	var large, small time.Time
	for _, i := range r.runs {
		end := i.Start.Add(i.Duration)
		if strings.Contains(i.Message, data.Tenants[0].ID) {
			large = later(large, end)
		} else {
			small = later(small, end)
		}
	}
	b.ReportMetric(large.Sub(r.begun).Seconds(), "large-s")
	b.ReportMetric(small.Sub(r.begun).Seconds(), "all-small-s")
	n.spotCheck(b)
	r.report(b, factor)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// number reads a number from the environment.
func number(b *testing.B, name string, otherwise float64) float64 {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v <= 0 {
		b.Fatalf("%s=%q is no positive number", name, text)
	}
	return v
}

// startNights starts the bundle against a NinjaOne that enforces a rate.
func startNights(b *testing.B, data *seed.Seed, rate float64, latency time.Duration, storage *recorder) *nights {
	b.Helper()
	s := simulate(b, data, latency, storage)
	s.NinjaOne.SetRateLimit(ninjasim.RateLimit{PerSecond: rate, RetryAfter: time.Second})
	n := &nights{Stack: s, rate: rate, news: make(chan struct{}, 1)}
	ninja := httptest.NewServer(n.calls.wrap(s.NinjaOne))
	b.Cleanup(ninja.Close)
	// Compliance updates are measured in their own benchmarks.
	n.handler = launch(b, s, map[string]string{"NINJAONE_ENDPOINT": ninja.URL, "NINJAONE_RATE": strconv.FormatFloat(rate, 'f', -1, 64),
		"AzureWebJobs.ScheduleTenants.Disabled": "false"}, n.note)
	return n
}

// note keeps a finished sync.
func (n *nights) note(i funchost.Invocation) {
	if i.Function != "SyncTenant" {
		return
	}
	n.mu.Lock()
	n.runs = append(n.runs, i)
	n.mu.Unlock()
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// sleep lets one night pass: begin puts the tenants on the queue, and the night
// is over when every tenant's sync has completed.
func (n *nights) sleep(b *testing.B, begin func()) night {
	b.Helper()
	runtime.GC() // what the world before left behind
	n.NinjaOne.ResetCounters()
	n.M365.ResetCalls()
	n.calls.reset()
	n.mu.Lock()
	n.runs = nil
	n.mu.Unlock()
	r := night{rate: n.rate, tenants: len(n.Seed.Tenants), begun: time.Now()}
	before := n.processes()
	begin()
	r.scheduled = time.Since(r.begun)
	n.await(b, r.begun)
	r.end = time.Now()
	r.processes = n.processes().since(before)
	n.mu.Lock()
	r.runs = n.runs
	n.mu.Unlock()
	r.arrivals, r.throttled = n.calls.take(), n.NinjaOne.Throttled()
	r.ninjaOne, r.m365 = n.NinjaOne.Calls(), n.M365.Calls()
	if v := n.Violations(); len(v) > 0 {
		b.Fatalf("%d requests broke a contract; the first: %s", len(v), v[0])
	}
	return r
}

// patience is longer than one run may take.
const patience = 31 * time.Minute

// await waits until every tenant's sync has completed since a time. It fails when
// nothing ends for longer than one run may take.
func (n *nights) await(b *testing.B, since time.Time) {
	b.Helper()
	tenants := map[string]bool{}
	counted := 0
	for len(tenants) < len(n.Seed.Tenants) || !n.completed(b, since) {
		select {
		case <-n.news:
		case <-time.After(patience):
			b.Fatalf("nothing ended for %s; %d of %d tenants had a run", patience, len(tenants), len(n.Seed.Tenants))
		}
		n.mu.Lock()
		for _, i := range n.runs[counted:] {
			var m struct {
				TenantID string `json:"tenantId"`
			}
			if json.Unmarshal([]byte(i.Message), &m) == nil && i.Err == nil {
				tenants[m.TenantID] = true
			}
		}
		counted = len(n.runs)
		n.mu.Unlock()
	}
}

// completed reports whether CIPP's rows say of every tenant that its sync has
// completed since a time.
func (n *nights) completed(b *testing.B, since time.Time) bool {
	b.Helper()
	filter := "PartitionKey eq 'NinjaOneMapping'"
	completed := 0
	for pages := n.Tables.NewClient("CippMapping").NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter}); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		for _, row := range page.Entities {
			var e struct {
				LastStatus  string    `json:"lastStatus"`
				LastEndTime time.Time `json:"lastEndTime"`
			}
			if json.Unmarshal(row, &e) == nil && e.LastStatus == "Completed" && e.LastEndTime.After(since) {
				completed++
			}
		}
	}
	return completed == len(n.Seed.Tenants)
}

// age lets everything have been written so much earlier, by NinjaOne's and by the
// handler's notes.
func (n *nights) age(b *testing.B, by time.Duration) {
	b.Helper()
	n.NinjaOne.Age(by)
	rows := n.Tables.NewClient("NinjaOneSyncState")
	columns := "PartitionKey,RowKey,Written"
	for pages := rows.NewListEntitiesPager(&aztables.ListEntitiesOptions{Select: &columns}); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		for _, row := range page.Entities {
			var e struct {
				PartitionKey, RowKey string
				Written              time.Time
			}
			if err := json.Unmarshal(row, &e); err != nil {
				b.Fatal(err)
			}
			if e.Written.IsZero() {
				continue // no target
			}
			aged, _ := json.Marshal(map[string]any{"PartitionKey": e.PartitionKey, "RowKey": e.RowKey,
				"Written": e.Written.Add(-by), "Written@odata.type": "Edm.DateTime"})
			if _, err := rows.UpdateEntity(context.Background(), aged, &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// spotCheck looks at what NinjaOne holds of a few tenants.
func (n *nights) spotCheck(b *testing.B) {
	b.Helper()
	var some []string
	for i := 0; i < len(n.Seed.Tenants); i += max(1, len(n.Seed.Tenants)/5) {
		some = append(some, n.Seed.Tenants[i].ID)
	}
	if wrong := n.Check(some...); len(wrong) > 0 {
		b.Fatalf("%d things are wrong after the night; the first: %s", len(wrong), wrong[0])
	}
}
