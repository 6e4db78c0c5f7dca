package bench

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// delay is how long the simulators hold an answer back.
const delay = 100 * time.Millisecond

// world is one running bundle, with a recorder before every service.
type world struct {
	*stack.Stack
	recorder recorder
	queue    *azqueue.QueueClient
	handler  string // path of the running program
	done     chan funchost.Invocation
}

// run is one measured run of SyncTenant.
type run struct {
	funchost.Invocation
	calls  []call
	counts counts // of the calls, the parts of batches and the downloads
	peakMB float64
	cpu    time.Duration
	seen   bool // peakMB and cpu are known
}

// simulate starts the services, with a latency, and the queue of syncs. What is given
// records the calls of tables and blobs, which makes them slower.
func simulate(b *testing.B, data *seed.Seed, latency time.Duration, storage *recorder) (*stack.Stack, *azqueue.QueueClient) {
	b.Helper()
	s, err := stack.Start(context.Background(), stack.Options{Seed: data, HTMLAsSent: true, Proxy: storage != nil})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	if storage != nil {
		s.Proxy.Wrap(storage.wrap)
	}
	s.M365.SetLatency(latency)
	s.NinjaOne.SetLatency(latency)
	queue := s.Queues.NewQueueClient("ninjaone-sync")
	if _, err := queue.Create(context.Background(), nil); err != nil {
		b.Fatal(err)
	}
	return s, queue
}

// start starts the bundle, with app settings beside those of every world.
func start(b *testing.B, data *seed.Seed, latency time.Duration, settings ...string) *world {
	b.Helper()
	w := &world{handler: filepath.Join(appRoot(b), "handler"), done: make(chan funchost.Invocation, 16)}
	w.Stack, w.queue = simulate(b, data, latency, &w.recorder)
	s, serve := w.Stack, func(service string, handler http.Handler) string { return w.recorder.serve(b, service, handler) }
	config := funchost.Config{
		AppRoot: filepath.Dir(w.handler),
		Settings: map[string]string{
			"GRAPH_ENDPOINT":    serve("graph", s.M365.GraphHandler()),
			"LOGIN_ENDPOINT":    serve("login", s.M365.LoginHandler()),
			"EXCHANGE_ENDPOINT": serve("exchange", s.M365.ExchangeHandler()),
			"DEFENDER_ENDPOINT": serve("defender", s.M365.DefenderHandler()),
			"NINJAONE_ENDPOINT": serve("ninjaone", s.NinjaOne),
			"NINJAONE_RATE":     "1000000",
			"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.200",
			// Only what is measured runs.
			"AzureWebJobs.ScheduleTenants.Disabled":    "true",
			"AzureWebJobs.SweepCompliance.Disabled":    "true",
			"AzureWebJobs.RenewSubscriptions.Disabled": "true",
			"AzureWebJobs.WatchTenants.Disabled":       "true",
		},
		ShutdownWait: time.Second,
		Log:          slog.New(slog.DiscardHandler),
		OnInvocation: func(i funchost.Invocation) { w.done <- i },
	}
	for i := 0; i < len(settings); i += 2 {
		config.Settings[settings[i]] = settings[i+1]
	}
	if err := w.StartHost(context.Background(), config); err != nil {
		b.Fatal(err)
	}
	return w
}

// serve serves a service on an address of its own, and notes every request.
func (r *recorder) serve(b *testing.B, service string, handler http.Handler) (url string) {
	b.Helper()
	server := httptest.NewServer(r.wrap(service, handler))
	b.Cleanup(server.Close)
	return server.URL
}

// sync runs the tenant's sync as a queue message does.
func (w *world) sync(b *testing.B, tenantID string) run {
	b.Helper()
	return w.message(b, fmt.Sprintf(`{"tenantId":%q,"force":false}`, tenantID))
}

// force runs the tenant's sync that reads and writes everything again.
func (w *world) force(b *testing.B, tenantID string) run {
	b.Helper()
	return w.message(b, fmt.Sprintf(`{"tenantId":%q,"force":true}`, tenantID))
}

func (w *world) message(b *testing.B, message string) run {
	b.Helper()
	w.recorder.take()
	w.M365.ResetCalls()
	w.NinjaOne.ResetCounters()
	_, before, _ := usage(w.handler)
	if _, err := w.queue.EnqueueMessage(context.Background(), base64.StdEncoding.EncodeToString([]byte(message)), nil); err != nil {
		b.Fatal(err)
	}
	r := run{}
	for r.Message != message {
		r.Invocation = <-w.done
	}
	if r.Err != nil {
		b.Fatalf("the sync failed: %v", r.Err)
	}
	if r.peakMB, r.cpu, r.seen = usage(w.handler); r.seen {
		r.cpu -= before
	}
	r.calls = w.recorder.take()
	r.counts = countOf(r.calls)
	for name, n := range w.M365.Calls() {
		if strings.HasPrefix(name, "part ") || strings.HasPrefix(name, "download ") {
			r.counts[name] = n
		}
	}
	if v := w.Violations(); len(v) > 0 {
		b.Fatalf("%d requests broke a contract; the first: %s", len(v), v[0])
	}
	return r
}
