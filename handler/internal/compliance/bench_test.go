package compliance

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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
