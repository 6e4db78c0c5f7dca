//go:build !linux

package loopback

import (
	"net"
	"strconv"
)

// reserve finds a free port. Where a bound socket keeps everybody out, the port
// cannot be held for another process.
func reserve(port int) (int, func(), error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(common, strconv.Itoa(port)))
	if err != nil {
		return 0, nil, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, func() {}, nil
}
