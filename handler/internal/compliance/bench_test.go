package compliance

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkAcknowledge posts 200 notifications a second for ten seconds, of 50
// tenants and each of a device of its own, to a receiver that starts cold on
// real storage. It reports how long Graph waits for the answer, and fails when
// a device does not end up in the queue.
func BenchmarkAcknowledge(b *testing.B) {
	const tenants, perSecond, seconds = 50, 200, 10
	account := account(b, func(name string) string {
		return map[string]string{storage.Own: azuritetest.ForTest(b).ConnectionString()}[name]
	}, storage.Own)
	for b.Loop() {
		table, queue := account.Table(azuritetest.UniqueName(b)), account.Queue(azuritetest.UniqueName(b))
		var subscriptions []subscription
		for i := range tenants {
			s := testSubscription(fmt.Sprintf("%08d-1111-4111-8111-111111111111", i))
			s.SubscriptionID = s.TenantID
			subscriptions = append(subscriptions, s)
			if err := table.Replace(b.Context(), s.entity()); err != nil {
				b.Fatal(err)
			}
		}
		server := httptest.NewServer(NewReceiver(table, queue, time.Now, slog.New(slog.DiscardHandler)))
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		var mu sync.Mutex
		var took []time.Duration
		var group errgroup.Group
		due := time.NewTicker(time.Second / perSecond)
		for i := range perSecond * seconds {
			<-due.C
			s := subscriptions[i%tenants]
			body := collection(notification(s, fmt.Sprintf("%08d-2222-4222-8222-222222222222", i)))
			group.Go(func() error {
				start := time.Now()
				resp, err := client.Post(server.URL+Path+"?subscription="+s.ID, "application/json", strings.NewReader(body))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusAccepted {
					return fmt.Errorf("answered %d (%v)", resp.StatusCode, err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(start))
				return nil
			})
		}
		due.Stop()
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		server.Close()
		slices.Sort(took)
		report(b, took, 0.5, "p50-ms")
		report(b, took, 0.99, "p99-ms")
		messages, err := queue.Length(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(messages), "messages")
		lost := perSecond*seconds - queuedDevices(b, queue, messages)
		b.ReportMetric(float64(lost), "lost")
		if lost != 0 {
			b.Errorf("%d devices are not in the queue", lost)
		}
	}
}

func report(b *testing.B, sorted []time.Duration, share float64, unit string) {
	b.ReportMetric(float64(sorted[int(share*float64(len(sorted)-1))].Microseconds())/1000, unit)
}

// queuedDevices empties the queue and counts the devices.
func queuedDevices(b *testing.B, queue *storage.Queue, messages int) int {
	b.Helper()
	devices := map[string]bool{}
	for range messages {
		m := take(b, queue)
		for _, id := range m.DeviceIDs {
			devices[id] = true
		}
	}
	return len(devices)
}

// BenchmarkSweep sweeps 1,000 tenants with 5 devices each, of which nothing
// changed, four at a time as one host instance does.
func BenchmarkSweep(b *testing.B) {
	const tenants, devices = 1000, 5
	w := newWorld(b, seed.Generate(seed.Size{Tenants: tenants, Users: 1, Devices: devices, Groups: 1}))
	run := func(atATime int) {
		var group errgroup.Group
		group.SetLimit(atATime)
		for _, t := range w.Seed.Tenants {
			group.Go(func() error { return w.process.worker.Update(b.Context(), Message{TenantID: t.ID}, 1) })
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	run(sweepsWriting) // writes every field for the first time
	for b.Loop() {
		w.M365.ResetCalls()
		w.NinjaOne.ResetCounters()
		w.clock.advance(15 * time.Minute)
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
		if s := w.status(t.ID); s.Devices != devices || s.Kind != "" {
			b.Errorf("a tenant's status is %+v", s)
		}
	}
}

// BenchmarkFlood posts 5,000 made-up addresses a second on one processor, to a
// receiver that starts cold beside a table of 1,000 subscriptions, and among
// them genuine first notifications. It reports how long Graph waits for their
// answers, how many guesses were answered, and the memory in use.
func BenchmarkFlood(b *testing.B) {
	const subscriptions, perSecond, seconds, genuine = 1000, 5000, 5, 50
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	account := account(b, func(name string) string {
		return map[string]string{storage.Own: azuritetest.ForTest(b).ConnectionString()}[name]
	}, storage.Own)
	for b.Loop() {
		table, queue := account.Table(azuritetest.UniqueName(b)), account.Queue(azuritetest.UniqueName(b))
		var all []subscription
		var rows []storage.Entity
		for i := range subscriptions {
			s := testSubscription(fmt.Sprintf("%08d-1111-4111-8111-111111111111", i))
			s.SubscriptionID = s.TenantID
			all, rows = append(all, s), append(rows, s.entity())
		}
		if err := table.ReplaceAll(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
		receiver := NewReceiver(table, queue, time.Now, slog.New(slog.DiscardHandler))
		var readings atomic.Int64
		list := receiver.verifier.list
		receiver.verifier.list = func(ctx context.Context) (map[string]subscription, error) {
			readings.Add(1)
			return list(ctx)
		}
		web := customhandler.New(customhandler.Config{Logger: slog.New(slog.DiscardHandler)})
		web.HTTP("ReceiveNotifications", Route, receiver)
		server := httptest.NewServer(web)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
		post := func(id, body string) (int, error) {
			resp, err := client.Post(server.URL+Path+"?subscription="+id, "application/json", strings.NewReader(body))
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, err
		}
		body := collection(notification(all[0], deviceOne))
		var answered, refused atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		var group errgroup.Group
		due := time.NewTicker(10 * time.Millisecond)
		for tick := range seconds * 100 {
			<-due.C
			for range perSecond / 100 {
				group.Go(func() error {
					status, err := post(uuid.NewString(), body)
					if answered.Add(1); status != http.StatusAccepted {
						refused.Add(1)
					}
					return err
				})
			}
			if tick%(seconds*100/genuine) == 0 {
				s := all[len(all)-1-tick%len(all)]
				group.Go(func() error {
					start := time.Now()
					status, err := post(s.ID, collection(notification(s, deviceTwo)))
					mu.Lock()
					defer mu.Unlock()
					if took = append(took, time.Since(start)); err == nil && status != http.StatusAccepted {
						err = fmt.Errorf("a genuine notification was answered %d after %s", status, took[len(took)-1])
					}
					return err
				})
			}
		}
		due.Stop()
		err := group.Wait()
		server.Close()
		if err != nil {
			b.Fatal(err)
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		b.ReportMetric(float64(slices.Max(took).Milliseconds()), "ms/slowest-genuine")
		b.ReportMetric(float64(answered.Load()), "guesses")
		b.ReportMetric(float64(refused.Load()), "guesses-not-202")
		b.ReportMetric(float64(readings.Load()), "readings")
		b.ReportMetric(float64(memory.Sys>>20), "MB")
	}
}
