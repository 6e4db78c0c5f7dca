package customhandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/words"
)

const (
	// defaultTimeout is the deadline of an invocation unless its registration says
	// otherwise. With grace it stays below functionTimeout of host.json.
	defaultTimeout = 4 * time.Minute
	// grace is how long a function may take to return after its deadline. Then
	// the host gets its answer without it.
	grace = 10 * time.Second

	// frontEndLimit is a little before Azure's front end gives up on an HTTP request,
	// whatever functionTimeout says. The rest is for the answer.
	frontEndLimit = 225 * time.Second

	// shutdownLimit is how long Serve waits for invocations after its context
	// ended. The platform allows about ten seconds.
	shutdownLimit = 8 * time.Second
)

// Headers that the host sets on every invocation.
const headerInvocationID = "X-Azure-Functions-InvocationId"

// ErrStopped is what [Server.Serve] returns after its context ended.
var ErrStopped = errors.New("the handler was told to stop")

// Deps are what a Server works with.
type Deps struct {
	MaxBody int64 // of a request, in bytes
	// Log receives what the host cannot be told. It must write to stdout: the host
	// logs stderr lines as errors.
	Log *slog.Logger
	// Telemetry gets a trace of each invocation; nil for none.
	Telemetry *telemetry.Telemetry
	// The server calls OnBadMessage for each queue message that its function refused with
	// [BadMessage].
	OnBadMessage func(ctx context.Context, function, reason string)
	// The server asks Admit before each run of a timer or queue function; for a timer,
	// message is nil. Unless it says true, the run ends there, with its error.
	Admit func(ctx context.Context, function string, message []byte) (bool, error)
}

// Server answers the Functions host. Register all functions with Timer, Queue
// and HTTP, then call Serve; it is an http.Handler too.
type Server struct {
	deps      Deps
	functions map[string]*function
	routes    map[string]*route // by path, in lower case
	crowded   sync.Once         // requests were refused because there were too many
}

// function is one registered function.
type function struct {
	name    string
	timeout time.Duration
	running atomic.Int64 // requests, maxRequests at most
	// invoke runs a timer or queue function for an envelope; nil for an HTTP function. A
	// *malformedError means that the envelope is at fault.
	invoke func(context.Context, envelope) error
}

// New returns a Server without functions.
func New(d Deps) *Server {
	return &Server{deps: d, functions: map[string]*function{}, routes: map[string]*route{}}
}

// Functions returns the names of the registered functions in order.
func (s *Server) Functions() []string {
	return slices.Sorted(maps.Keys(s.functions))
}

// register adds a function. Like http.ServeMux it panics on a registration
// that can never be right.
func (s *Server) register(f *function) *function {
	if f.name == "" || strings.ContainsAny(f.name, "/ ") {
		panic(fmt.Sprintf("customhandler: %q is not a function name", f.name))
	}
	if s.functions[f.name] != nil {
		panic("customhandler: function " + f.name + " is registered twice")
	}
	s.functions[f.name] = f
	return f
}

// Listen opens the port that the host names in FUNCTIONS_CUSTOMHANDLER_PORT, on IPv4
// loopback only. Invocations carry no secret, so nothing beyond this machine may reach
// them.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for the Functions host: %w", err)
	}
	return l, nil
}

// Serve answers the host on l until ctx ends or the listener fails. After ctx ended it
// cancels the invocations under way, and waits a few seconds while they record their
// progress. The error is then ErrStopped. It is never nil: the host restarts a handler
// only when its exit status is not 0.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	server := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: clientTime,
		MaxHeaderBytes:    maxHeaders,
		IdleTimeout:       idleTime,
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the Functions host: %w", err)
	case <-ctx.Done():
	}
	cancel(ErrStopped)
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer done()
	if err := server.Shutdown(patience); err != nil {
		server.Close()
		return fmt.Errorf("%w; invocations still under way were cut off", ErrStopped)
	}
	return ErrStopped
}

// ServeHTTP answers one request of the host. It answers an address that is not a
// function's at once, whatever body is to come.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	if r.URL.Path == "/" {
		// The host polls this until it gets any answer, and later as a ping.
		answer(x, http.StatusOK, map[string]string{"status": "ready"})
		return
	}
	f := s.functions[strings.TrimPrefix(r.URL.Path, "/")]
	var found *route
	var rest string
	if f == nil || f.invoke == nil {
		if found, rest = s.route(r.URL); found == nil {
			s.deps.Log.WarnContext(r.Context(), "request for a function that this handler does not have",
				"method", r.Method, "path", clip(r.URL.Path))
			fail(x, http.StatusNotFound, "this handler has no such function or route")
			return
		}
		f = found.function
	}
	if !f.enter() {
		s.busy(x, r, f)
		return
	}
	defer f.leave()
	if found != nil {
		s.serveHTTP(x, r, found, rest)
		return
	}
	s.serveEnvelope(x, r, f)
}

func (s *Server) serveEnvelope(w *exchange, r *http.Request, f *function) {
	ctx := s.invocationContext(r, f)
	if !fromHost(r) {
		s.deps.Log.WarnContext(ctx, "invocation refused: it does not come from the Functions host", "host", clip(r.Host), "origin", clip(r.Header.Get("Origin")))
		fail(w, http.StatusForbidden, "only the Functions host on this machine invokes functions")
		return
	}
	if r.Method != http.MethodPost {
		s.deps.Log.WarnContext(ctx, "an invocation must be a POST", "method", r.Method)
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "an invocation must be a POST")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, s.deps.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		s.deps.Log.ErrorContext(ctx, "invocation refused: its body is too large", "limit", tooLarge.Limit)
		fail(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return
	} else if err != nil {
		s.deps.Log.ErrorContext(ctx, "invocation refused: its body could not be read", "error", err)
		status := http.StatusBadRequest
		if errors.Is(err, errBodyTime) {
			status = http.StatusRequestTimeout
		}
		fail(w, status, "the body could not be read")
		return
	}
	e, err := decodeEnvelope(body)
	if err != nil {
		s.deps.Log.ErrorContext(ctx, "invocation refused: its envelope is malformed", "error", err)
		fail(w, http.StatusBadRequest, "the envelope is malformed")
		return
	}

	started := time.Now()
	ctx, end := s.deps.Telemetry.Invoke(ctx, telemetry.Invocation{Function: f.name, ID: clip(r.Header.Get(headerInvocationID)),
		Queued: instant(member(e.metadata, "InsertionTime")), Attempt: number(member(e.metadata, "DequeueCount"))})
	s.deps.Log.DebugContext(ctx, "invocation started")
	err = s.run(ctx, f.timeout, func(ctx context.Context) error {
		err := f.invoke(ctx, e)
		if bad, ok := errors.AsType[badMessageError](err); ok {
			// The host has no way to say "poison at once", so the invocation succeeds and
			// the message is gone.
			s.deps.Log.ErrorContext(ctx, "queue message dropped: no retry can help", "reason", string(bad))
			s.deps.OnBadMessage(ctx, f.name, string(bad))
			return nil
		}
		return err
	})
	end(err)
	elapsed := time.Since(started).Round(time.Millisecond).String()
	if err == nil {
		s.deps.Log.DebugContext(ctx, "invocation finished", "elapsed", elapsed)
		answer(w, http.StatusOK, succeeded)
		return
	}
	if malformed := (*malformedError)(nil); errors.As(err, &malformed) {
		s.deps.Log.ErrorContext(ctx, "invocation refused: its envelope is malformed", "error", err)
		fail(w, http.StatusBadRequest, "the envelope is malformed")
		return
	}
	s.logFailure(ctx, err, f.timeout, elapsed)
	fail(w, http.StatusInternalServerError, "the invocation failed; the log says why")
}

func (s *Server) logFailure(ctx context.Context, err error, timeout time.Duration, elapsed string) {
	attrs := []any{"error", err, "elapsed", elapsed}
	if p := (*panicError)(nil); errors.As(err, &p) {
		attrs = append(attrs, "stack", string(p.stack))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		attrs = append(attrs, "deadline", timeout.String())
	}
	s.deps.Log.ErrorContext(ctx, "invocation failed", attrs...)
}

// invocationContext puts the names of the function and invocation on every
// log line written with the context.
func (s *Server) invocationContext(r *http.Request, f *function) context.Context {
	attrs := []slog.Attr{slog.String("function", f.name)}
	if id := r.Header.Get(headerInvocationID); id != "" {
		attrs = append(attrs, slog.String("invocation", clip(id)))
	}
	return WithAttrs(r.Context(), attrs...)
}

// panicError is a panic of a function, turned into an error.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("the function panicked: %v", p.value) }

// run calls fn with a deadline. A panic becomes an error. After the grace period, run
// leaves behind a function that does not heed the end of its context. It goes on in the
// background, and what it guards with leases stays guarded.
func (s *Server) run(ctx context.Context, timeout time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := errors.New("the function ended its goroutine")
		defer func() {
			if v := recover(); v != nil {
				err = &panicError{v, debug.Stack()}
			}
			done <- err
		}()
		err = fn(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return fmt.Errorf("the function did not return and was left behind: %w", ctx.Err())
	}
}

// succeeded answers an envelope. All three keys are there, and "Logs" is an
// array, because the host's parser insists.
var succeeded = json.RawMessage(`{"Outputs":{},"Logs":[],"ReturnValue":null}`)

func fail(w http.ResponseWriter, status int, reason string) {
	answer(w, status, map[string]string{"error": reason})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, _ := json.Marshal(v) // it never fails for what the callers pass
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell when the host is gone
}

// clip bounds what a request can put into a log line.
func clip(s string) string { return words.Clip(s, 200) }
