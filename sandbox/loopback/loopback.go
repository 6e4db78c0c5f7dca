// Package loopback gives the servers of the sandbox addresses that nobody else
// has, had, or gets while they run.
//
// A port of 127.0.0.1 goes from one process to the next. A client that outlives its
// server, or a program that looks for any port, then talks to a stranger. Only addresses
// belong here; what is served there does not.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
)

// common is the loopback address that every system has.
const common = "127.0.0.1"

// whole reports whether all of 127.0.0.0/8 is this machine, as on Linux and
// Windows.
var whole = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp4", net.JoinHostPort(draw(), "0"))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
})

func draw() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// Host returns a loopback address drawn from millions, without a port; where
// the system has only one, 127.0.0.1.
func Host() string {
	if !whole() {
		return common
	}
	return draw()
}

// Listen listens on a free port of an address of its own.
func Listen() (net.Listener, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(Host(), "0"))
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	return l, nil
}

// NewServer serves as httptest.NewServer does, on an address of its own.
func NewServer(handler http.Handler) *httptest.Server {
	l, err := Listen()
	if err != nil {
		panic(err) // as httptest.NewServer does
	}
	s := httptest.NewUnstartedServer(handler)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	return s
}

// Reserve takes a port of 127.0.0.1 for a process that must know its port before it
// listens there. A port of 0 takes a free one. On Linux nobody who asks for any free port
// gets it before the caller calls release. Until the process listens, connections are
// refused.
func Reserve(port int) (reserved int, release func(), err error) {
	reserved, release, err = reserve(port)
	if err != nil {
		return 0, nil, fmt.Errorf("taking the port %d of %s: %w", port, common, err)
	}
	return reserved, release, nil
}
