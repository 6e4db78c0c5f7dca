package funchost

import (
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// A handler is told its port before it listens there; meanwhile nobody who asks
// for any free port may get it, or the host would talk to a stranger.
func TestPortIsKeptForTheHandler(t *testing.T) {
	settings := map[string]string{directorVariable: "http://127.0.0.1:1", "FUNCHOST_TEST_START": "deaf"}
	w, err := newWorker(hostOptions{executable: os.Args[0]}, t.TempDir(), settings, slog.New(slog.DiscardHandler), func(LogLine) {})
	if err != nil {
		t.Fatal(err)
	}
	defer w.release()
	p, err := w.start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		p.kill()
		<-p.exited
	}()
	stranger := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) }); failed != nil {
			return failed
		}
		return err
	}}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
	if l, err := stranger.Listen(t.Context(), "tcp4", address); err == nil {
		_ = l.Close()
		t.Error("a stranger got the handler's port")
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatalf("the handler cannot listen on its port: %v", err)
	}
	_ = l.Close()
}
