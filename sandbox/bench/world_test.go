package bench

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// syncQueue carries one tenant per message.
const syncQueue = "ninjaone-sync"

// simulate starts the services, with a latency. What is given records the calls of tables
// and blobs, which makes them slower.
func simulate(b *testing.B, data *seed.Seed, latency time.Duration, storage *recorder) *stack.Stack {
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
	return s
}

// launch runs the bundle with settings, and returns the path of its program. Timers are
// off unless the settings say otherwise.
func launch(b *testing.B, s *stack.Stack, settings map[string]string, ended func(funchost.Invocation)) (handler string) {
	b.Helper()
	handler = filepath.Join(appRoot(b), "handler")
	all := stack.TimersOff()
	maps.Copy(all, settings)
	if err := s.StartHost(context.Background(), funchost.Config{AppRoot: filepath.Dir(handler), Settings: all, ShutdownWait: time.Second, OnInvocation: ended}); err != nil {
		b.Fatal(err)
	}
	return handler
}

// enqueue puts a message on a queue.
func enqueue(b *testing.B, s *stack.Stack, queue, text string) {
	b.Helper()
	if err := s.Enqueue(context.Background(), queue, text); err != nil {
		b.Fatal(err)
	}
}

// enqueueAll lets every tenant be synced.
func enqueueAll(b *testing.B, s *stack.Stack) {
	b.Helper()
	for _, t := range s.Seed.Tenants {
		enqueue(b, s, syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, t.ID))
	}
}

// start starts the bundle, with app settings beside those of every world.
func start(b *testing.B, data *seed.Seed, latency time.Duration, settings ...string) *world {
	b.Helper()
	w := &world{done: make(chan funchost.Invocation, 16)}
	w.Stack = simulate(b, data, latency, &w.recorder)
	serve := func(service string, handler http.Handler) string { return w.recorder.serve(b, service, handler) }
	all := map[string]string{
		"GRAPH_ENDPOINT":    serve("graph", w.M365.GraphHandler()),
		"LOGIN_ENDPOINT":    serve("login", w.M365.LoginHandler()),
		"EXCHANGE_ENDPOINT": serve("exchange", w.M365.ExchangeHandler()),
		"DEFENDER_ENDPOINT": serve("defender", w.M365.DefenderHandler()),
		"NINJAONE_ENDPOINT": serve("ninjaone", w.NinjaOne),
		"NINJAONE_RATE":     "1000000",
		"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.200",
	}
	for i := 0; i < len(settings); i += 2 {
		all[settings[i]] = settings[i+1]
	}
	w.handler = launch(b, w.Stack, all, func(i funchost.Invocation) { w.done <- i })
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
	return w.message(b, syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, tenantID))
}

// first runs the tenant's first sync, and looks at what it leaves behind.
func (w *world) first(b *testing.B, tenantID string) run {
	b.Helper()
	r := w.sync(b, tenantID)
	w.right(b, tenantID)
	return r
}

// right fails unless NinjaOne shows what Microsoft 365 says of the tenant.
func (w *world) right(b *testing.B, tenantID string) {
	b.Helper()
	if wrong := w.Check(tenantID); len(wrong) > 0 {
		b.Fatalf("%d things are wrong after the sync; the first: %s", len(wrong), wrong[0])
	}
}

// force runs the tenant's sync that reads and writes everything again.
func (w *world) force(b *testing.B, tenantID string) run {
	b.Helper()
	return w.message(b, syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":true}`, tenantID))
}

func (w *world) message(b *testing.B, queue, message string) run {
	b.Helper()
	w.recorder.take()
	w.M365.ResetCalls()
	w.NinjaOne.ResetCounters()
	_, before, _ := usage(w.handler)
	enqueue(b, w.Stack, queue, message)
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
