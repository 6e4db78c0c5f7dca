//go:build unix

package notify_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// BenchmarkFlood posts 5,000 made-up addresses a second on one processor, to a
// receiver that starts cold beside a table of 1,000 subscriptions, and among
// them genuine first notifications. It reports how long Graph waits for their
// answers, what a guess costs of the processor, both ends of the connection
// together, and how many readings of the table there were.
func BenchmarkFlood(b *testing.B) {
	const tenants, perSecond, seconds, genuine = 1000, 5000, 5, 50
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	account := own(b)
	for b.Loop() {
		table, queue := account.Table(azuritetest.UniqueName(b)), account.Queue(azuritetest.UniqueName(b))
		var all []notify.Subscription
		var rows []storage.Entity
		for i := range tenants {
			s, row := subscription(i)
			all, rows = append(all, s), append(rows, row)
		}
		must(b, table.ReplaceAll(b.Context(), rows))
		var readings atomic.Int64
		list := subscriptions.Known(table)
		receiver := newReceiver(func(ctx context.Context) (map[string]notify.Subscription, error) {
			readings.Add(1)
			return list(ctx)
		}, queue)
		web := customhandler.New(customhandler.Deps{MaxBody: 16 << 20, Log: slog.New(slog.DiscardHandler)})
		web.HTTP("ReceiveNotifications", notify.Route, receiver)
		server := httptest.NewServer(web)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, MaxConnsPerHost: 500}}
		post := func(client *http.Client, id, body string) (int, error) {
			resp, err := client.Post(server.URL+notify.Path+"?subscription="+id, "application/json", strings.NewReader(body))
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, err
		}
		body := notify.Collection(notify.Notification(all[0], "d1111111-1111-4111-8111-111111111111"))
		var answered, refused atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		late := 0 // genuine ones that Graph has to send again
		var group errgroup.Group
		graph := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		used, started := processor(b), time.Now()
		due := time.NewTicker(10 * time.Millisecond)
		for tick := range seconds * 100 {
			<-due.C
			for range perSecond / 100 {
				group.Go(func() error {
					status, err := post(client, uuid.NewString(), body)
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
					status, err := post(graph, s.ID, notify.Collection(notify.Notification(s, "d2222222-2222-4222-8222-222222222222")))
					mu.Lock()
					defer mu.Unlock()
					if took = append(took, time.Since(start)); status != http.StatusAccepted {
						late++
					}
					return err
				})
			}
		}
		due.Stop()
		err := group.Wait()
		elapsed := time.Since(started)
		used = processor(b) - used
		server.Close()
		must(b, err)
		b.ReportMetric(float64(slices.Max(took).Milliseconds()), "ms/slowest-genuine")
		b.ReportMetric(float64(late), "genuine-not-202")
		b.ReportMetric(float64(answered.Load())/elapsed.Seconds(), "guesses/s")
		b.ReportMetric(float64(used.Microseconds())/float64(answered.Load()), "cpu-us/guess")
		b.ReportMetric(float64(refused.Load()), "guesses-not-202")
		b.ReportMetric(float64(readings.Load()), "readings")
	}
}

// processor is the processor time that this process has taken.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
