package notify_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// BenchmarkAcknowledge posts 200 notifications a second for ten seconds, of 50
// tenants and each of a device of its own, to a receiver that starts cold on
// real storage. It reports how long Graph waits for the answer, and fails when
// a device does not end up in the queue.
func BenchmarkAcknowledge(b *testing.B) {
	const tenants, perSecond, seconds = 50, 200, 10
	account := own(b)
	for b.Loop() {
		table, queue := account.Table(azuritetest.UniqueName(b)), account.Queue(azuritetest.UniqueName(b))
		var all []notify.Subscription
		for i := range tenants {
			s, row := subscription(i)
			all = append(all, s)
			must(b, table.Replace(b.Context(), row))
		}
		server := httptest.NewServer(newReceiver(subscriptions.Known(table), queue))
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		var mu sync.Mutex
		var took []time.Duration
		var group errgroup.Group
		due := time.NewTicker(time.Second / perSecond)
		for i := range perSecond * seconds {
			<-due.C
			s := all[i%tenants]
			body := notify.Collection(notify.Notification(s, fmt.Sprintf("%08d-2222-4222-8222-222222222222", i)))
			group.Go(func() error {
				start := time.Now()
				resp, err := client.Post(server.URL+notify.Path+"?subscription="+s.ID, "application/json", strings.NewReader(body))
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
		must(b, group.Wait())
		server.Close()
		slices.Sort(took)
		report(b, took, 0.5, "p50-ms")
		report(b, took, 0.99, "p99-ms")
		messages, err := queue.Length(b.Context())
		must(b, err)
		b.ReportMetric(float64(messages), "messages")
		take(b, queue, perSecond*seconds)
	}
}

func report(b *testing.B, sorted []time.Duration, share float64, unit string) {
	b.ReportMetric(float64(sorted[int(share*float64(len(sorted)-1))].Microseconds())/1000, unit)
}

var must = fail.If
