// Package funchost is a local stand-in for the Azure Functions host. It runs an app root
// with a custom handler the way the host of version 4 does. It starts the handler
// process, fires timers, receives queue messages, and serves HTTP. It copies the host's
// encodings and its behaviour in faults.
//
// Only what the host itself does belongs here. It knows nothing of the app it
// runs and imports nothing from it.
package funchost

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what to run and how.
type Config struct {
	// AppRoot is the folder that holds host.json and the functions' folders.
	AppRoot string
	// Settings are the app settings. The handler gets them as environment
	// variables. Settings of the form
	// AzureFunctionsJobHost__extensions__queues__batchSize replace values of
	// host.json.
	Settings map[string]string
	// Listener is that of the HTTP server; nil means a free port of 127.0.0.1.
	Listener net.Listener
	// HostID names the host in the storage that timers use; hosts that share it
	// run each timer once between them. The default is "local".
	HostID string
	// Log gets the host's own messages and the handler's lines; nil means none.
	Log *slog.Logger
	// SingleEncoded sends envelope values in the form that Microsoft's documentation
	// shows. It does not wrap texts and numbers in JSON text once more.
	SingleEncoded bool
	// NoProxying plays a host that does not know enableProxyingHttpRequest, such as
	// 4.1037.0 itself: HTTP is forwarded.
	NoProxying bool
	// BodyStall is how long a client's body may stand still before the host
	// answers 500. The default is the host's 6 seconds.
	BodyStall time.Duration
	// MessageInvisibility is how long the host hides a received queue message, in whole
	// seconds. Half of it is the time between renewals. The default is the host's 10
	// minutes.
	MessageInvisibility time.Duration
	// LockRetry is the pause before another try for a timer's lock that another
	// host has. The default is the host's 60 seconds.
	LockRetry time.Duration
	// ShutdownWait is how long Stop waits for work under way before it kills the
	// handler. The default is the host's 10 seconds.
	ShutdownWait time.Duration
	// OnInvocation hears of every finished invocation, and OnLog of every line from the
	// handler. Many goroutines call both, and wait while they run.
	OnInvocation func(Invocation)
	OnLog        func(line string)
}

// Host is a running stand-in host.
type Host struct {
	config   Config
	options  hostOptions
	settings map[string]string
	log      *slog.Logger
	encoder  encoder

	functions []*function
	timers    map[string]*timer
	storage   *timerStorage // Nil without timers.
	pumps     []*pump
	worker    *worker
	listener  net.Listener
	server    *http.Server

	// listening is done when triggers must stop; work is done when everything
	// must stop.
	listening     context.Context
	stopListening context.CancelFunc
	work          context.Context
	cancelWork    context.CancelFunc
	running       sync.WaitGroup // Trigger loops and runs on demand.

	hasCrashed atomic.Bool
	shutdown   sync.Once
	done       chan struct{}
}

// Start runs the app root and returns when the handler is ready and all triggers
// listen. The host runs until Stop, until ctx is done, or until the handler has
// failed too often. An error says what is wrong with the configuration, or why
// the handler did not start.
func Start(ctx context.Context, config Config) (*Host, error) {
	h, err := prepare(config)
	if err != nil {
		return nil, err
	}
	go h.worker.run()
	if _, err := h.worker.ready(ctx); err != nil {
		_ = h.listener.Close()
		h.worker.close()
		h.cancelWork()
		return nil, err
	}
	if err := h.listen(); err != nil {
		h.Stop()
		return nil, err
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-h.worker.failed:
		case <-h.done:
		}
		h.Stop()
	}()
	h.log.Info("the host has started", "url", h.URL(), "functions", len(h.functions))
	return h, nil
}

// prepare reads the app root and puts the host together without starting it.
func prepare(config Config) (*Host, error) {
	if config.HostID == "" {
		config.HostID = "local"
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&config.MessageInvisibility, 10 * time.Minute}, {&config.LockRetry, time.Minute}, {&config.ShutdownWait, 10 * time.Second}, {&config.BodyStall, 6 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	h := &Host{config: config, encoder: encoder{single: config.SingleEncoded}, timers: map[string]*timer{}, done: make(chan struct{})}
	if h.log = config.Log; h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	appRoot, err := filepath.Abs(config.AppRoot)
	if err != nil {
		return nil, fmt.Errorf("finding the app root: %w", err)
	}
	h.settings = mergeSettings(os.Environ(), config.Settings)
	if h.options, err = readHostOptions(appRoot, h.settings); err != nil {
		return nil, err
	}
	if h.functions, err = loadFunctions(appRoot, h.options, h.settings, h.log); err != nil {
		return nil, err
	}
	h.work, h.cancelWork = context.WithCancel(context.Background())
	h.listening, h.stopListening = context.WithCancel(h.work)
	if err := h.prepareTimers(); err != nil {
		return nil, err
	}
	if h.listener = config.Listener; h.listener == nil {
		if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening for HTTP: %w", err)
		}
	}
	for name, value := range map[string]string{"FUNCTIONS_WORKER_RUNTIME": "custom", "WEBSITE_HOSTNAME": h.listener.Addr().String()} {
		if h.settings[name] == "" {
			h.settings[name] = value
		}
	}
	if h.worker, err = newWorker(h.options, appRoot, h.settings, h.log, h.emit); err != nil {
		_ = h.listener.Close()
		return nil, err
	}
	return h, nil
}

func (h *Host) prepareTimers() error {
	for _, f := range h.functions {
		if f.schedule == nil {
			continue
		}
		if h.storage == nil {
			var err error
			if h.storage, err = newTimerStorage(h.settings[storageSetting], h.config.HostID); err != nil {
				return fmt.Errorf("timers keep their state in the function app's storage: %w", err)
			}
		}
		t := &timer{schedule: *f.schedule, status: h.storage.status(f.name), keep: h.settleContext, log: h.log.With("function", f.name)}
		t.invoke = func(info jsonObject) { h.fireTimer(f, info) }
		h.timers[f.name] = t
	}
	return nil
}

// fireTimer runs a timer function once.
func (h *Host) fireTimer(f *function, info jsonObject) {
	i := h.begin(f)
	h.finish(i, h.execute(h.work, f, i.ID, map[string]value{f.trigger.Name: info}, newMetadata(f.name)))
}

// listen starts all triggers.
func (h *Host) listen() error {
	for _, f := range h.functions {
		if f.trigger.Type == queueTrigger {
			p, err := newPump(h, f)
			if err != nil {
				return fmt.Errorf("the function %s: %w", f.name, err)
			}
			h.pumps = append(h.pumps, p)
		}
	}
	for _, p := range h.pumps {
		h.running.Go(func() { p.run(h.listening) })
	}
	for _, f := range h.functions {
		if t := h.timers[f.name]; t != nil {
			h.running.Go(func() { h.runSingleton(h.listening, f, t) })
		}
	}
	h.server = &http.Server{
		Handler:           http.HandlerFunc(h.serveHTTP),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
	}
	h.running.Go(func() { _ = h.server.Serve(h.listener) })
	return nil
}

// URL is the base address of the HTTP server, without a trailing slash.
func (h *Host) URL() string { return "http://" + h.listener.Addr().String() }

// Functions returns the names of the functions that were loaded, in order. A
// function in error or disabled is not among them.
func (h *Host) Functions() []string {
	names := make([]string, len(h.functions))
	for i, f := range h.functions {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}

func (h *Host) function(name string) *function {
	for _, f := range h.functions {
		if strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

// Invoke runs a timer or queue function now and waits for its end. The input is
// the message's text for a queue function; a timer needs none. The error is that
// of the invocation.
func (h *Host) Invoke(ctx context.Context, name, input string) error {
	f := h.function(name)
	if f == nil {
		return fmt.Errorf("there is no function %q; it is missing, disabled or in error", name)
	}
	if f.route != nil {
		return fmt.Errorf("%s is an HTTP function; send it a request", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.work, cancel)()
	return h.invokeNow(ctx, f, input)
}

// Poll lets every queue trigger look for messages now, as if its pause between two looks
// were over. The real host has no such thing. A test that has put a message need not wait
// for the next look.
func (h *Host) Poll() {
	for _, p := range h.pumps {
		select {
		case p.wake <- struct{}{}:
		default: // It is about to look.
		}
	}
}

// Kill ends the handler process with SIGKILL, as the host's shutdown and a crash do. The
// host goes on and starts the handler again. It counts the end as one of the three errors
// after which it stops itself.
func (h *Host) Kill() { h.worker.kill() }

// Stop shuts the host down as the real one does. Triggers stop, and work under way may go
// on for ShutdownWait. Then the host kills the handler without a signal that it could
// catch. Stop returns when all is over; calling it again only waits.
func (h *Host) Stop() { h.end(true) }

// Crash ends the host and the handler at once, like a machine that loses power. It puts
// no message back and gives up no lock.
func (h *Host) Crash() { h.end(false) }

func (h *Host) end(graceful bool) {
	h.shutdown.Do(func() {
		defer close(h.done)
		if !graceful {
			h.hasCrashed.Store(true)
			h.cancelWork()
			if h.server != nil {
				_ = h.server.Close()
			}
		} else {
			h.stopListening()
			ctx, cancel := context.WithTimeout(context.Background(), h.config.ShutdownWait)
			defer cancel()
			h.drain(ctx)
		}
		h.worker.close()
		h.cancelWork()
		_ = h.listener.Close()
		h.running.Wait()
		h.log.Info("the host has stopped")
	})
	<-h.done
}

// drain waits for HTTP requests and triggered work under way, until ctx is done.
func (h *Host) drain(ctx context.Context) {
	if h.server != nil {
		if err := h.server.Shutdown(ctx); err != nil {
			_ = h.server.Close()
		}
	}
	idle := make(chan struct{})
	go func() {
		h.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	case <-h.worker.failed: // No handler is left.
	}
}

func (h *Host) crashed() bool { return h.hasCrashed.Load() }

// settleContext is for storage calls that finish work, even while the host stops.
func (h *Host) settleContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.work), settleTimeout)
	if h.crashed() {
		cancel()
	}
	return ctx, cancel
}

// emit passes on a line from the handler.
func (h *Host) emit(level slog.Level, line string) {
	h.log.Log(context.Background(), level, line)
	if h.config.OnLog != nil {
		h.config.OnLog(line)
	}
}
