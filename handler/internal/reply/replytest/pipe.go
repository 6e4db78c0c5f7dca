package replytest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Serve has h answer every host by HTTP/1.1 over connections in memory. Package
// testing/synctest sees them wait: its clock passes while nobody sends.
func Serve(t *testing.T, h http.Handler) http.RoundTripper {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	client := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case l.conns <- there:
			return here, nil
		case <-l.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		_ = server.Close()
	})
	return client
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// Silence answers nothing until the client gives up.
func Silence(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // else the server does not look whether the client is there
	<-r.Context().Done()
}

// Trickle sends drop bytes of body at a time, with a pause of every in between. Where
// endless is set it begins again for ever.
func Trickle(w http.ResponseWriter, r *http.Request, body []byte, drop int, every time.Duration, endless bool) {
	_, _ = io.Copy(io.Discard, r.Body)
	for rest, end := body, time.Now().Add(time.Hour); time.Now().Before(end); rest = rest[min(drop, len(rest)):] {
		if len(rest) == 0 {
			if !endless {
				return
			}
			rest = body
		}
		if _, err := w.Write(rest[:min(drop, len(rest))]); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(every):
		}
	}
}
