package loopback_test

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"cipp-ninjaone/sandbox/loopback"
)

// Servers never share an address, one after the other included, so that what is
// meant for one that has ended meets nobody.
func TestServersHaveAddressesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		l, err := loopback.Listen()
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
			t.Errorf("%s is not loopback", address)
		}
		if seen[address] {
			t.Errorf("%s was given twice", address)
		}
		seen[address] = true
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if hosts := map[string]bool{loopback.Host(): true, loopback.Host(): true, loopback.Host(): true}; len(hosts) == 1 && runtime.GOOS == "linux" {
		t.Errorf("every server is on %v", hosts)
	}
}

// A reserved port is refused to strangers, to those that come for a connection
// too, until the process that was told of it listens.
func TestReservedPortIsKeptForItsProcess(t *testing.T) {
	port, release, err := loopback.Reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if c, err := net.Dial("tcp4", address); err == nil {
		_ = c.Close()
		t.Error("a connection was accepted before anybody listened")
	}
	if runtime.GOOS == "linux" {
		// What asks for any free port is refused a taken one by the same rule.
		stranger := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			if failed := c.Control(func(fd uintptr) { err = notAgain(fd) }); failed != nil {
				return failed
			}
			return err
		}}
		if l, err := stranger.Listen(context.Background(), "tcp4", address); err == nil {
			_ = l.Close()
			t.Error("a stranger got the port")
		}
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatalf("the process that was told of the port cannot listen: %v", err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, _, err := loopback.Reserve(port); err == nil {
		t.Error("a port on which somebody listens was given")
	}
}
