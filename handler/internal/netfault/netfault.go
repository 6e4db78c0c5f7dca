// Package netfault says in words what became of a connection, where Go's own errors speak
// of system calls. A technician reads "the connection was closed without an answer", not
// "EOF".
//
// It knows failures of connections alone. The caller says what it was doing, with which
// service, and what happens next.
package netfault

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// worded is an error with another text. It stays the same error to errors.Is
// and errors.As.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }

// Explain words the failure of a request whose answer did not begin. It returns any other
// error, and nil, as it is. It removes the URL that net/http adds, which may hold
// secrets.
func Explain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	text := words(err)
	if text == "" {
		return err
	}
	return &worded{text, err}
}

func words(err error) string {
	if err == nil {
		return ""
	}
	name, unknown := errors.AsType[*net.DNSError](err)
	dial, dialing := errors.AsType[*net.OpError](err)
	switch {
	case unknown && name.IsNotFound:
		return "the host " + name.Name + " does not exist, or its name could not be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case dialing && dial.Op == "dial" && dial.Timeout():
		return "no connection could be made in time"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed in the middle of the answer"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), closedEarly(err):
		return "the connection was closed without an answer"
	}
	return ""
}

// closedEarly recognises what net/http and its HTTP/2 have no error value for.
func closedEarly(err error) bool {
	text := err.Error()
	for _, said := range []string{"server closed idle connection", "server sent GOAWAY", "client connection lost", "client connection force closed"} {
		if strings.Contains(text, said) {
			return true
		}
	}
	return false
}
