package customhandler

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a connection on which a test says exactly what it wants to.
type wire struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func connect(t *testing.T, base string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp4", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{conn, t, bufio.NewReader(conn)}
}

func (w *wire) send(lines ...string) {
	w.t.Helper()
	if _, err := io.WriteString(w, strings.Join(lines, "\r\n")); err != nil {
		w.t.Fatal(err)
	}
}

// status returns the status of the next answer, and whether the connection ends
// with it.
func (w *wire) status() (status int, last bool) {
	w.t.Helper()
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Close
}

// ends waits for the end of the connection, and fails when anything else comes.
func (w *wire) ends() {
	w.t.Helper()
	left, err := io.ReadAll(w.in)
	if len(left) > 0 {
		w.t.Errorf("more was answered: %q (%v)", left, err)
	}
}

// bubble serves s in a bubble of time, where hours pass in no time, and returns
// how to connect.
func bubble(t *testing.T, s *Server) (dial func() *wire) {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	var clients []net.Conn
	t.Cleanup(func() {
		for _, c := range clients {
			_ = c.Close()
		}
		cancel()
		if err := <-done; !errors.Is(err, ErrStopped) {
			t.Errorf("Serve: %v", err)
		}
	})
	return func() *wire {
		client, server := net.Pipe()
		clients = append(clients, client)
		l.conns <- server
		return &wire{client, t, bufio.NewReader(client)}
	}
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// guarded is a server with a function of each kind.
func guarded() (s *Server, read *atomic.Int64) {
	s, _ = newServer(Deps{MaxBody: 1000})
	read = &atomic.Int64{}
	s.HTTP("Takes", "takes", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		switch {
		case errors.Is(err, errBodyTime):
			w.WriteHeader(http.StatusRequestTimeout)
		case errors.As(err, new(*http.MaxBytesError)):
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			read.Add(1)
			w.WriteHeader(http.StatusOK)
		}
	}))
	s.HTTP("Refuses", "refuses", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	s.Queue("Q", 0, func(context.Context, QueueMessage) error { return nil })
	return s, read
}

// TestBodiesThatNeverCome opens many connections that promise a body and send
// one byte. None is held, whatever its address: who does not want the body
// answers at once, and who wants it does not wait for long.
func TestBodiesThatNeverCome(t *testing.T) {
	for path, want := range map[string]int{"/": 200, "/api/nothing": 404, "/Nothing": 404, "/api/refuses": 403, "/api/takes": 408, "/Q": 408} {
		for name, head := range map[string]string{"length": "Content-Length: 5000\r\n\r\nx", "chunks": "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
			t.Run(strings.Trim(path, "/")+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, read := guarded()
					dial := bubble(t, s)
					started := time.Now()
					var all sync.WaitGroup
					for range 300 {
						w := dial()
						all.Go(func() {
							w.send("POST "+path+" HTTP/1.1", "Host: 127.0.0.1", head)
							if status, last := w.status(); status != want || !last {
								t.Errorf("answered %d, as the last answer %t", status, last)
							}
							w.ends()
						})
					}
					all.Wait()
					most := restTime // the time is the bubble's, and exact
					if want == http.StatusRequestTimeout {
						most += 15 * time.Second
					}
					if took := time.Since(started); took > most {
						t.Errorf("the connections were held for %s", took)
					}
					if read.Load() != 0 {
						t.Errorf("%d bodies were read", read.Load())
					}
					for name, f := range s.functions {
						if n := f.running.Load(); n != 0 {
							t.Errorf("%s has %d requests left", name, n)
						}
					}
				})
			})
		}
	}
}

// TestTrickles: bytes that go on coming buy no more time, and neither does a
// connection on which nothing comes.
func TestTrickles(t *testing.T) {
	for name, tt := range map[string]struct {
		head, drop string
		most       time.Duration
	}{
		"a body":          {"POST /api/takes HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", 15 * time.Second},
		"an envelope":     {"POST /Q HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", 15 * time.Second},
		"an unknown body": {"POST /api/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", 0},
		"headers":         {"GET /api/takes HTTP/1.1\r\nHost: 127.0.0.1\r\n", "x", 15 * time.Second},
		"a first line":    {"GET /api/takes", "x", 15 * time.Second},
		"nothing":         {"", "", 15 * time.Second},
		"nothing more":    {"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "", idleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, read := guarded()
				w := bubble(t, s)()
				started := time.Now()
				var client sync.WaitGroup
				client.Go(func() {
					_, err := io.WriteString(w, tt.head)
					for err == nil && tt.drop != "" {
						time.Sleep(time.Second) // of the bubble
						_, err = io.WriteString(w, tt.drop)
					}
				})
				_, _ = io.Copy(io.Discard, w.in)
				client.Wait()
				if took := time.Since(started); took > tt.most+2*time.Second {
					t.Errorf("the connection was held for %s", took)
				}
				if read.Load() != 0 {
					t.Errorf("%d bodies were read", read.Load())
				}
			})
		})
	}
}

// TestRestOfABody: what is left of a body is never taken for a request, and a
// body that came whole leaves the connection to the next one.
func TestRestOfABody(t *testing.T) {
	s, _ := guarded()
	base := start(t, s)
	w := connect(t, base)
	w.send("POST /api/refuses HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 100", "", "x")
	if status, last := w.status(); status != 403 || !last {
		t.Errorf("answered %d, as the last answer %t", status, last)
	}
	_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") // the connection may be gone
	w.ends()

	w = connect(t, base)
	for range 3 {
		w.send("POST /api/refuses HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "", "abc")
		if status, last := w.status(); status != 403 || last {
			t.Errorf("answered %d, as the last answer %t", status, last)
		}
	}
}

// TestBodiesThatWaitToBeAskedFor: one that nobody wants is not asked for, and not
// waited for.
func TestBodiesThatWaitToBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := guarded()
		w := bubble(t, s)()
		started := time.Now()
		w.send("POST /api/refuses HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "Expect: 100-continue", "", "")
		if status, last := w.status(); status != 403 || !last {
			t.Errorf("answered %d, as the last answer %t", status, last)
		}
		w.ends()
		if took := time.Since(started); took > 0 {
			t.Errorf("the connection was held for %s", took)
		}
	})
}

// TestRefusedBodiesAreReadToTheirEnd: the host answers 500 in place of a 413
// that comes before it could send everything.
func TestRefusedBodiesAreReadToTheirEnd(t *testing.T) {
	s, _ := guarded()
	base := start(t, s)
	for _, path := range []string{"/api/takes", "/Q"} {
		w := connect(t, base)
		const size = 20 << 20
		w.send("POST "+path+" HTTP/1.1", "Host: 127.0.0.1", fmt.Sprintf("Content-Length: %d", size), "", "")
		if _, err := w.Write(bytes.Repeat([]byte(" "), size)); err != nil {
			t.Fatalf("%s: the body could not be sent: %v", path, err)
		}
		if status, _ := w.status(); status != 413 {
			t.Errorf("%s: answered %d", path, status)
		}
	}
}

// TestPipelining: requests that are sent without waiting are answered in order.
func TestPipelining(t *testing.T) {
	s, read := guarded()
	base := start(t, s)
	w := connect(t, base)
	w.send("POST /api/refuses HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "", "abc"+"GET / HTTP/1.1", "Host: 127.0.0.1", "",
		"POST /api/takes HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 3", "", "abc"+"GET /api/nothing HTTP/1.1", "Host: 127.0.0.1", "", "")
	for _, want := range []int{403, 200, 200, 404} {
		if status, last := w.status(); status != want || last {
			t.Errorf("answered %d, as the last answer %t, want %d", status, last, want)
		}
	}
	if read.Load() != 1 {
		t.Errorf("%d bodies were read", read.Load())
	}
}

func TestBigHeaders(t *testing.T) {
	s, _ := guarded()
	base := start(t, s)
	for size, want := range map[int]int{32 << 10: 403, 200 << 10: 431} {
		w := connect(t, base)
		w.send("GET /api/refuses HTTP/1.1", "Host: 127.0.0.1", "X-Large: "+strings.Repeat("x", size), "", "")
		if status, _ := w.status(); status != want {
			t.Errorf("%d bytes of headers are answered %d", size, status)
		}
	}
}

// TestWorkOutlastsTheTimeOfItsBody: the time for the body ends with it.
func TestWorkOutlastsTheTimeOfItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(Deps{})
		work := func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(3 * time.Minute):
				return nil
			}
		}
		s.Queue("Q", 0, func(ctx context.Context, _ QueueMessage) error { return work(ctx) })
		s.HTTP("H", "h", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
			if err := work(r.Context()); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}))
		const body = `{"Data":{"m":"\"x\""}}`
		w := bubble(t, s)()
		for range 2 { // on one connection
			for _, path := range []string{"/Q", "/api/h"} {
				w.send("POST "+path+" HTTP/1.1", "Host: 127.0.0.1", fmt.Sprintf("Content-Length: %d", len(body)), "", body)
				if status, last := w.status(); status != http.StatusOK || last {
					t.Errorf("%s: %d, as the last answer %t", path, status, last)
				}
			}
		}
	})
}

// TestAnswersThatNobodyTakes: a client that does not read holds nobody for long.
func TestAnswersThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer(Deps{})
		left := make(chan error, 1)
		s.HTTP("H", "h", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 64<<10))
			}
			left <- err
		}))
		w := bubble(t, s)()
		started := time.Now()
		w.send("GET /api/h HTTP/1.1", "Host: 127.0.0.1", "", "")
		if err := <-left; time.Since(started) > time.Minute {
			t.Errorf("the function was held for %s, until %v", time.Since(started), err)
		}
	})
}

// TestPlaces: each function takes so many requests at once, the others not
// affected, and refuses more without reading them.
func TestPlaces(t *testing.T) {
	s, log := newServer(Deps{})
	arrived, release := make(chan struct{}), make(chan struct{})
	hold := func() {
		arrived <- struct{}{}
		<-release
	}
	s.Queue("Q", 0, func(context.Context, QueueMessage) error { hold(); return nil })
	s.HTTP("H", "h", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hold() }))
	s.HTTP("Other", "other", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, f := range s.functions {
		f.running.Store(maxRequests - 2) // two are free
	}
	base := start(t, s)
	for _, path := range []string{"/Q", "/api/h"} {
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if res, body := do(t, http.MethodPost, base+path, strings.NewReader(`{"Data":{"m":"\"x\""}}`)); res.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %s", path, res.StatusCode, body)
				}
			})
			<-arrived
		}
		for range 3 {
			w := connect(t, base)
			w.send("POST "+path+" HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 5000", "", "x")
			if status, last := w.status(); status != http.StatusServiceUnavailable || !last {
				t.Errorf("%s: one too many is answered %d", path, status)
			}
		}
		if res, _ := do(t, http.MethodPost, base+"/api/other", nil); res.StatusCode != http.StatusOK {
			t.Errorf("another function answers %d", res.StatusCode)
		}
		release <- struct{}{}
		release <- struct{}{}
		all.Wait()
	}
	if n := strings.Count(log.String(), "too many are under way"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
}

// TestOnlyTheHostInvokes: what a browser sends, and what was sent to another
// name, is no invocation.
func TestOnlyTheHostInvokes(t *testing.T) {
	ran := 0
	s, _ := newServer(Deps{})
	s.Timer("T", 0, func(context.Context) error { ran++; return nil })
	s.Queue("Q", 0, func(context.Context, QueueMessage) error { ran++; return nil })
	base := start(t, s)
	port := base[strings.LastIndex(base, ":"):]
	tests := map[string]struct {
		header string
		ok     bool
	}{
		"the host":                   {"Host: 127.0.0.1" + port, true},
		"by name":                    {"Host: localhost" + port, true},
		"by IPv6":                    {"Host: [::1]" + port, true},
		"another site's form":        {"Host: 127.0.0.1" + port + "\r\nOrigin: https://evil.example", false},
		"a sandboxed page":           {"Host: 127.0.0.1" + port + "\r\nOrigin: null", false},
		"own page":                   {"Host: 127.0.0.1" + port + "\r\nOrigin: http://127.0.0.1" + port, false},
		"an empty origin":            {"Host: 127.0.0.1" + port + "\r\nOrigin:", false},
		"a browser":                  {"Host: 127.0.0.1" + port + "\r\nSec-Fetch-Site: same-origin", false},
		"a browser's other headers":  {"Host: 127.0.0.1" + port + "\r\nsec-fetch-mode: no-cors", false},
		"a rebound name":             {"Host: rebound.example" + port, false},
		"a name that begins like it": {"Host: 127.0.0.1.rebound.example", false},
		"localhost of a site":        {"Host: localhost.rebound.example", false},
		"the network":                {"Host: 192.168.1.20" + port, false},
		"any address":                {"Host: 0.0.0.0" + port, false},
		"a user before it":           {"Host: 127.0.0.1@evil.example", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for function, envelope := range map[string]string{"T": `{"Data":{"timer":{}}}`, "Q": `{"Data":{"m":"\"x\""}}`} {
				before := ran
				w := connect(t, base)
				w.send("POST /"+function+" HTTP/1.1", tt.header, "Content-Type: text/plain", fmt.Sprintf("Content-Length: %d", len(envelope)), "", envelope)
				status, _ := w.status()
				if (status == http.StatusOK) != tt.ok || (ran > before) != tt.ok || !tt.ok && status != http.StatusForbidden && status != http.StatusBadRequest {
					t.Errorf("%s: answered %d", function, status)
				}
			}
		})
	}
}
