package funchost

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// The test binary, run again with this variable, is the custom handler of the
// tests. Its value is the address of the test that decides what it answers.
const directorVariable = "FUNCHOST_TEST_DIRECTOR"

// An answer of the director carries the code with which the handler exits; the others tell
// the director of the handler.
const (
	exitHeader = "X-Test-Exit"
	pidHeader  = "X-Test-Pid"
	seenHeader = "X-Test-Seen" // what the handler got, as JSON
)

// seen is a request as the handler got it.
type seen struct {
	Method, URI, Host string
	Header            http.Header
	Length            int64
	Chunked           bool
}

func TestMain(m *testing.M) {
	if director := os.Getenv(directorVariable); director != "" {
		os.Exit(handlerMain(director))
	}
	os.Exit(m.Run())
}

// handlerMain is the handler process. The variable FUNCHOST_TEST_START makes it
// fail at the start.
func handlerMain(director string) int {
	switch start := os.Getenv("FUNCHOST_TEST_START"); start {
	case "":
	case "deaf": // It listens, but elsewhere.
		listener, _ := net.Listen("tcp", "127.0.0.1:0")
		_, _ = listener.Accept()
	default:
		fmt.Fprintln(os.Stderr, "cannot go on: no answer to anything")
		code, _ := strconv.Atoi(start)
		return code
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.NotFound(w, r)
			return
		}
		req, _ := http.NewRequest(r.Method, director+r.URL.RequestURI(), r.Body)
		req.ContentLength = r.ContentLength
		req.Header = r.Header.Clone()
		got, _ := json.Marshal(seen{r.Method, r.RequestURI, r.Host, r.Header, r.ContentLength, len(r.TransferEncoding) > 0})
		req.Header.Set(seenHeader, string(got))
		req.Header.Set(pidHeader, strconv.Itoa(os.Getpid()))
		for _, name := range []string{"Connection", "Keep-Alive", "Te", "Upgrade"} {
			req.Header.Del(name)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		if code, err := strconv.Atoi(res.Header.Get(exitHeader)); err == nil {
			os.Exit(code)
		}
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}
	if err := http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")), http.HandlerFunc(handler)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// app is an app root under test and the director of its handler.
type app struct {
	t        *testing.T
	root     string
	settings map[string]string
	director *httptest.Server
	done     chan Invocation
	lines    chan string
}

// newApp writes an app root whose handler does what answer says. The functions
// are function.json texts by name; host holds lines added to host.json.
func newApp(t *testing.T, host string, functions map[string]string, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{t: t, root: t.TempDir(), done: make(chan Invocation, 1000), lines: make(chan string, 1000)}
	a.director = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only a request that was read to its end notices a lost connection.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // The client's body broke off on the way.
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	t.Cleanup(a.director.Close)
	executable, err := os.Executable()
	must(t, err)
	if host == "" {
		host = `"functionTimeout": "00:05:00"`
	}
	a.write("host.json", `{"version": "2.0", `+host+`}`)
	for name, text := range functions {
		a.write(name+"/function.json", text)
	}
	a.settings = map[string]string{
		directorVariable:      a.director.URL,
		"AzureWebJobsStorage": azuritetest.ForTest(t).ConnectionString(),
		"AzureFunctionsJobHost__customHandler__description__defaultExecutablePath": executable,
		"AzureFunctionsJobHost__customHandler__enableProxyingHttpRequest":          "true",
		"AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest":        "true",
		"AzureFunctionsJobHost__extensions__queues__messageEncoding":               "base64",
		"AzureFunctionsJobHost__extensions__queues__maxPollingInterval":            "00:00:00.1",
	}
	return a
}

func (a *app) write(name, text string) {
	a.t.Helper()
	path := filepath.Join(a.root, name)
	must(a.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(a.t, os.WriteFile(path, []byte(text), 0o600))
}

func (a *app) config() Config {
	return Config{
		AppRoot: a.root, Settings: a.settings, HostID: azuritetest.UniqueName(a.t),
		OnInvocation: func(i Invocation) { a.done <- i },
		OnLog:        func(l string) { a.lines <- l },
	}
}

func (a *app) start(config Config) *Host {
	a.t.Helper()
	h, err := Start(a.t.Context(), config)
	must(a.t, err)
	a.t.Cleanup(h.Stop)
	return h
}

// invocation waits for the next finished invocation.
func (a *app) invocation() Invocation {
	a.t.Helper()
	select {
	case i := <-a.done:
		return i
	case <-a.t.Context().Done():
		a.t.Fatal("the test ended before an invocation did")
		return Invocation{}
	}
}

// succeed answers an envelope with nothing to say.
func succeed(w http.ResponseWriter, _ *http.Request) { reply(w, `{}`) }

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// queue is a queue of the emulator, created with a unique name.
type queue struct {
	t      *testing.T
	name   string
	client *azqueue.QueueClient
}

func newTestQueue(t *testing.T) *queue {
	t.Helper()
	q := openQueue(t, azuritetest.UniqueName(t))
	if _, err := q.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return q
}

func openQueue(t *testing.T, name string) *queue {
	t.Helper()
	client, err := azqueue.NewQueueClientFromConnectionString(azuritetest.ForTest(t).ConnectionString(), name, nil)
	must(t, err)
	return &queue{t: t, name: name, client: client}
}

// function returns the function.json of a function that this queue triggers.
func (q *queue) function() string {
	return `{"bindings": [{"type": "queueTrigger", "name": "message", "direction": "in", "queueName": "` + q.name + `", "connection": "AzureWebJobsStorage"}]}`
}

func (q *queue) send(text string) { q.sendRaw(base64.StdEncoding.EncodeToString([]byte(text))) }

func (q *queue) sendRaw(text string) {
	q.t.Helper()
	if _, err := q.client.EnqueueMessage(q.t.Context(), text, nil); err != nil {
		q.t.Fatal(err)
	}
}

// texts returns the stored texts of the visible messages, first in first out.
func (q *queue) texts() []string {
	q.t.Helper()
	number := int32(32)
	res, err := q.client.PeekMessages(q.t.Context(), &azqueue.PeekMessagesOptions{NumberOfMessages: &number})
	must(q.t, err)
	var out []string
	for _, m := range res.Messages {
		out = append(out, *m.MessageText)
	}
	return out
}

// await waits until the queue holds a visible message and returns its text.
func (q *queue) await() string {
	q.t.Helper()
	for {
		if texts := q.texts(); len(texts) > 0 {
			return texts[0]
		}
	}
}

// count returns how many messages the queue holds, hidden ones included.
func (q *queue) count() int32 {
	q.t.Helper()
	res, err := q.client.GetProperties(q.t.Context(), nil)
	must(q.t, err)
	return *res.ApproximateMessagesCount
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// logBuffer collects the host's own log.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func quoteJSON(s string) string {
	text, _ := compact(s)
	return string(text)
}

// call sends one request to the host's HTTP server.
func call(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, reader)
	must(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	defer res.Body.Close()
	return res, readAll(t, res.Body)
}

var must = fail.If
