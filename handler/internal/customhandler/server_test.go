package customhandler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const wantSuccess = `{"Outputs":{},"Logs":[],"ReturnValue":null}`

// logBuffer collects what a handler would write to stdout.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newServer(c Deps) (*Server, *logBuffer) {
	log := &logBuffer{}
	c.Log = NewLogger(log, slog.LevelDebug)
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	c.Admit = func(context.Context, string, []byte) (bool, error) { return true, nil }
	if c.OnBadMessage == nil {
		c.OnBadMessage = func(context.Context, string, string) {}
	}
	return New(c), log
}

// start serves s on loopback as the host would find it.
func start(t *testing.T, s *Server) (base string) {
	t.Helper()
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, ErrStopped) {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func do(t *testing.T, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set(headerInvocationID, "3f0e2c1a-0000-4000-8000-00000000abcd")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// checkJSON holds an answer to what the host needs of every answer.
func checkJSON(t *testing.T, header http.Header, body string) {
	t.Helper()
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil || v == nil {
		t.Errorf("the body is not a JSON object: %q", body)
	}
}

func TestReadiness(t *testing.T) {
	s, log := newServer(Deps{})
	base := start(t, s)
	res, body := do(t, http.MethodGet, base+"/", nil)
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	checkJSON(t, res.Header, body)
	if log.String() != "" {
		t.Errorf("a ping must not fill the log: %s", log)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if host, _, _ := net.SplitHostPort(l.Addr().String()); host != "127.0.0.1" {
		t.Errorf("listens on %s", host)
	}
	if _, err := Listen(l.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a taken port gave no error")
	}
}

func TestQueueOverHTTP(t *testing.T) {
	s, _ := newServer(Deps{})
	got := make(chan QueueMessage, 1)
	s.Queue("SyncTenant", 0, func(_ context.Context, m QueueMessage) error {
		got <- m
		return nil
	})
	base := start(t, s)
	body := `{"Data":{"message":"\"{\\\"force\\\":true}\""},"Metadata":{"DequeueCount":"2","Id":"\"6a1c\""}}`
	want := QueueMessage{Text: []byte(`{"force":true}`), DequeueCount: 2}
	for name, reader := range map[string]io.Reader{
		"with length": strings.NewReader(body),
		"chunked":     io.MultiReader(strings.NewReader(body[:20]), strings.NewReader(body[20:])),
	} {
		t.Run(name, func(t *testing.T) {
			res, answer := do(t, http.MethodPost, base+"/SyncTenant", reader)
			if res.StatusCode != http.StatusOK || answer != wantSuccess {
				t.Errorf("%d %s", res.StatusCode, answer)
			}
			checkJSON(t, res.Header, answer)
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTimerOverHTTP(t *testing.T) {
	s, log := newServer(Deps{})
	s.Timer("ScheduleTenants", 0, func(ctx context.Context) error {
		s.deps.Log.InfoContext(WithAttrs(ctx, slog.String("tenant", "fabrikam.example")), "looked")
		return nil
	})
	base := start(t, s)
	res, answer := do(t, http.MethodPost, base+"/ScheduleTenants", strings.NewReader(`{"Data":{"timer":{"IsPastDue":true}},"Metadata":{}}`))
	if res.StatusCode != http.StatusOK || answer != wantSuccess {
		t.Errorf("%d %s", res.StatusCode, answer)
	}
	const attrs = `"msg":"looked","function":"ScheduleTenants","invocation":"3f0e2c1a-0000-4000-8000-00000000abcd","tenant":"fabrikam.example"`
	if !strings.Contains(log.String(), attrs) {
		t.Errorf("the line lacks the invocation's attributes:\n%s", log)
	}
}

func TestRefusals(t *testing.T) {
	valid := `{"Data":{"m":"\"x\""},"Metadata":{}}`
	tests := []struct {
		name, method, path, body string
		status                   int
		log                      string
	}{
		{"unknown function", "POST", "/Nothing", valid, 404, "does not have"},
		{"unknown route", "GET", "/api/nothing", "", 404, "does not have"},
		{"function name in another case", "POST", "/q", valid, 404, "does not have"},
		{"function below a path", "POST", "/x/Q", valid, 404, "does not have"},
		{"not a POST", "GET", "/Q", "", 405, "must be a POST"},
		{"empty body", "POST", "/Q", "", 400, "malformed"},
		{"not JSON", "POST", "/Q", "hello", 400, "malformed"},
		{"cut off", "POST", "/Q", valid[:12], 400, "malformed"},
		{"more after it", "POST", "/Q", valid + "{}", 400, "malformed"},
		{"null", "POST", "/Q", "null", 400, "malformed"},
		{"array", "POST", "/Q", "[]", 400, "malformed"},
		{"Data is an array", "POST", "/Q", `{"Data":[1]}`, 400, "malformed"},
		{"Data is text", "POST", "/Q", `{"Data":"hello"}`, 400, "malformed"},
		{"no Data for a queue", "POST", "/Q", `{"Metadata":{}}`, 400, "malformed"},
		{"Data is null for a queue", "POST", "/Q", `{"Data":null}`, 400, "malformed"},
		{"empty Data for a queue", "POST", "/Q", `{"Data":{}}`, 400, "malformed"},
		{"two inputs for a queue", "POST", "/Q", `{"Data":{"a":"1","b":"2"}}`, 400, "malformed"},
		{"too large", "POST", "/Q", `{"Data":{"m":"` + strings.Repeat("x", 2000) + `"}}`, 413, "too large"},
		{"HTTP function by its name", "POST", "/H", `{"Data":{"req":{"Method":"GET","Url":"https://app.example/api/h"}}}`, 404, "does not have"},
		{"error of the function", "POST", "/Broken", valid, 500, "the storage account cannot be reached"},
		{"panic of the function", "POST", "/Panics", valid, 500, "server_test.go"},
		{"the function ends its goroutine", "POST", "/Exits", valid, 500, "ended its goroutine"},
		{"panic in a raw request", "GET", "/api/panics", "", 500, "server_test.go"},
		{"dot segments in a raw request", "GET", "/api/x/%2e%2e/panics", "", 404, "does not have"},
		{"empty segment", "GET", "/api//panics", "", 404, "does not have"},
		{"empty segment at the end", "GET", "/api/panics//", "", 404, "does not have"},
		{"empty segment at the beginning", "GET", "//api/panics", "", 404, "does not have"},
		{"escaped slash", "GET", "/api%2Fpanics", "", 404, "does not have"},
		{"slash that was escaped twice", "GET", "/api/all/x%252fy", "", 404, "does not have"},
		{"escaped slash in a rest", "GET", "/api/all/x%2Fy", "", 404, "does not have"},
		{"empty segment in a rest", "GET", "/api/all//x", "", 404, "does not have"},
		{"null byte", "GET", "/api/all/%00", "", 404, "does not have"},
		{"function name with a closing slash", "POST", "/Q/", valid, 404, "does not have"},
		{"function name after an empty segment", "POST", "//Q", valid, 404, "does not have"},
	}
	s, log := newServer(Deps{MaxBody: 1000})
	s.Queue("Q", 0, func(context.Context, QueueMessage) error { return nil })
	s.HTTP("H", "h", http.NotFoundHandler())
	s.Queue("Broken", 0, func(context.Context, QueueMessage) error {
		return errors.New("the storage account cannot be reached")
	})
	s.Queue("Panics", 0, func(context.Context, QueueMessage) error { panic("no such index") })
	s.Queue("Exits", 0, func(context.Context, QueueMessage) error {
		endGoroutine()
		return nil
	})
	s.HTTP("All", "all/{*path}", http.NotFoundHandler())
	s.HTTP("RawPanics", "panics", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no such index") }))
	base := start(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(log.String())
			res, body := do(t, tt.method, base+tt.path, strings.NewReader(tt.body))
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
			checkJSON(t, res.Header, body)
			if line := log.String()[before:]; !strings.Contains(line, tt.log) {
				t.Errorf("the log does not say %q: %s", tt.log, line)
			}
		})
	}
}

func TestBadMessageIsDropped(t *testing.T) {
	var told []string
	s, log := newServer(Deps{OnBadMessage: func(ctx context.Context, function, reason string) {
		told = append(told, function+": "+reason)
		if ctx.Err() != nil {
			t.Error("the callback cannot work with an ended context")
		}
	}})
	s.Queue("SyncTenant", 0, func(context.Context, QueueMessage) error {
		return fmt.Errorf("sync: %w", BadMessage("its property tenantId has the wrong type"))
	})
	res, body := do(t, http.MethodPost, start(t, s)+"/SyncTenant", strings.NewReader(`{"Data":{"m":"\"{\\\"tenantId\\\":7}\""}}`))
	if res.StatusCode != http.StatusOK || body != wantSuccess {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	want := []string{"SyncTenant: its property tenantId has the wrong type"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Errorf("no error in the log: %s", log)
	}
}

// post invokes a function without a network, for tests in a bubble of time.
func post(s *Server, function string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/"+function, strings.NewReader(`{"Data":{"m":"\"x\""}}`))
	s.ServeHTTP(w, r)
	return w
}

func TestDeadlines(t *testing.T) {
	heeds := func(ctx context.Context, _ QueueMessage) error {
		<-ctx.Done()
		return fmt.Errorf("read the tenant: %w", ctx.Err())
	}
	tests := []struct {
		name    string
		limit   time.Duration
		run     func(context.Context, QueueMessage) error
		status  int
		elapsed time.Duration
		log     string
	}{
		{"the server's deadline", 0, heeds, 500, defaultTimeout, `"deadline":"4m0s"`},
		{"the function's own deadline", 20 * time.Second, heeds, 500, 20 * time.Second, `"deadline":"20s"`},
		{"done just after the deadline", 0, func(ctx context.Context, _ QueueMessage) error {
			<-ctx.Done()
			<-time.After(2 * time.Second)
			return nil
		}, 200, defaultTimeout + 2*time.Second, "invocation finished"},
		{"left behind", 0, func(context.Context, QueueMessage) error {
			<-time.After(time.Hour)
			return nil
		}, 500, defaultTimeout + grace, "left behind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, log := newServer(Deps{})
				s.Queue("Q", tt.limit, tt.run)
				started := time.Now()
				w := post(s, "Q")
				if w.Code != tt.status {
					t.Errorf("status %d, want %d", w.Code, tt.status)
				}
				if elapsed := time.Since(started); elapsed != tt.elapsed {
					t.Errorf("answered after %v, want %v", elapsed, tt.elapsed)
				}
				checkJSON(t, w.Header(), w.Body.String())
				if !strings.Contains(log.String(), tt.log) {
					t.Errorf("the log does not say %q: %s", tt.log, log)
				}
				<-time.After(2 * time.Hour) // lets the function that was left behind end
			})
		})
	}
}

func TestRawDeadlineStaysBelowFrontEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(Deps{})
		s.HTTP("Slow", "slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.WriteHeader(http.StatusGatewayTimeout)
		}))
		started := time.Now()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/slow", nil))
		if elapsed := time.Since(started); w.Code != http.StatusGatewayTimeout || elapsed != frontEndLimit {
			t.Errorf("%d after %v", w.Code, elapsed)
		}
	})
}

func TestInvocationsRunAtOnce(t *testing.T) {
	const n = 20
	s, _ := newServer(Deps{})
	var all sync.WaitGroup
	all.Add(n)
	s.Queue("Q", 0, func(context.Context, QueueMessage) error {
		all.Done()
		all.Wait() // returns only if all of them are here at the same time
		return nil
	})
	base := start(t, s)
	statuses := make(chan int, n)
	for range n {
		go func() {
			res, err := http.Post(base+"/Q", "application/json", strings.NewReader(`{"Data":{"m":"\"x\""}}`))
			if err != nil {
				statuses <- 0
				return
			}
			res.Body.Close()
			statuses <- res.StatusCode
		}()
	}
	for range n {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
}

func TestStopCancelsAndWaits(t *testing.T) {
	s, _ := newServer(Deps{})
	running, recorded := make(chan struct{}), make(chan error, 1)
	s.Queue("Q", 0, func(ctx context.Context, _ QueueMessage) error {
		close(running)
		<-ctx.Done()
		recorded <- context.Cause(ctx)
		return ctx.Err()
	})
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	status := make(chan int, 1)
	go func() {
		res, err := http.Post("http://"+l.Addr().String()+"/Q", "application/json", strings.NewReader(`{"Data":{"m":"\"x\""}}`))
		if err != nil {
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-running
	cancel()
	if err := <-served; !errors.Is(err, ErrStopped) {
		t.Errorf("Serve: %v", err)
	}
	if cause := <-recorded; !errors.Is(cause, ErrStopped) {
		t.Errorf("the invocation ended with cause %v", cause)
	}
	if got := <-status; got != http.StatusInternalServerError {
		t.Errorf("the host was answered %d, so it would not try again", got)
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	s, _ := newServer(Deps{})
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(t.Context(), l); err == nil || errors.Is(err, ErrStopped) {
		t.Errorf("Serve: %v", err)
	}
}

func TestRegistrationMistakesPanic(t *testing.T) {
	run := func(context.Context, QueueMessage) error { return nil }
	tests := map[string]func(*Server){
		"twice":           func(s *Server) { s.Queue("A", 0, run); s.Queue("A", 0, run) },
		"no name":         func(s *Server) { s.Queue("", 0, run) },
		"slash in a name": func(s *Server) { s.Queue("a/b", 0, run) },
		"route twice": func(s *Server) {
			s.HTTP("A", "x/y", http.NotFoundHandler())
			s.HTTP("B", "X/Y/{*rest}", http.NotFoundHandler())
		},
		"rest in the middle": func(s *Server) { s.HTTP("A", "x/{*rest}/y", http.NotFoundHandler()) },
		"parameter":          func(s *Server) { s.HTTP("A", "x/{id}", http.NotFoundHandler()) },
		"open brace":         func(s *Server) { s.HTTP("A", "x/{id", http.NotFoundHandler()) },
		"empty segment":      func(s *Server) { s.HTTP("A", "x//y", http.NotFoundHandler()) },
		"empty template":     func(s *Server) { s.HTTP("A", "", http.NotFoundHandler()) },
	}
	for name, register := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			s, _ := newServer(Deps{})
			register(s)
		})
	}
}
