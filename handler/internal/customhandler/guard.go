package customhandler

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cipp-ninjaone/handler/internal/endpoint"
)

// What one request may take of the process. Whoever reaches the app can open
// connections, so every wait for a client ends.
const (
	// clientTime is how long the headers of a request may take, and then
	// its body as a whole. Bodies are small, and the host hands them on as they
	// come.
	clientTime = 15 * time.Second
	// maxHeaders is how many bytes the headers may have; the host itself takes no
	// more than 32 KiB.
	maxHeaders = 64 << 10
	// writeTime is how long an answer may wait for its reader to take a part.
	writeTime = 30 * time.Second
	// idleTime is longer than the host keeps a connection that it may use again. One that
	// closed just then would fail an invocation.
	idleTime = 5 * time.Minute
	// restTime is how long an answer waits for the rest of a body, so that the connection
	// stays usable. That is for what is on its way already, and no more. Of the rest it
	// reads at most restSize bytes. A body that is too large has clientTime and
	// refusedSize. Else the host, which could not send all of it, would answer 500 in
	// place of our refusal.
	restTime    = 50 * time.Millisecond
	restSize    = 256 << 10
	refusedSize = 100 << 20
	// maxRequests is how many requests one function takes at once. It bounds the
	// memory of a flood, and is far above what the host sends.
	maxRequests = 4096
)

// errBodyTime says that a request's body did not come in time.
var errBodyTime = errors.New("the body did not come in time")

// exchange is one request with its answer, and what bounds both.
type exchange struct {
	http.ResponseWriter
	conn   *http.ResponseController
	body   io.ReadCloser
	ended  atomic.Bool // the body was read to its end
	status int         // that was sent, 0 for none yet
	// expects: the client waits until the server asks for the body.
	expects bool
}

// newExchange puts the bounds around a request. The body has its time from now
// on, whoever reads it.
func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, conn: http.NewResponseController(w), body: r.Body, expects: r.Header.Get("Expect") != ""}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		x.ended.Store(true)
		return x
	}
	x.deadline(clientTime)
	r.Body = requestBody{x}
	return x
}

// deadline bounds the reading of the body. A connection that cannot be bounded,
// as in some tests, is not one that a client could hold.
func (x *exchange) deadline(d time.Duration) { _ = x.conn.SetReadDeadline(time.Now().Add(d)) }

// requestBody is a request's body, read within the bounds of its exchange.
type requestBody struct{ x *exchange }

// Read implements io.Reader.
func (b requestBody) Read(p []byte) (int, error) {
	n, err := b.x.body.Read(p)
	switch {
	case err == io.EOF:
		// From here on the server watches the connection, without a deadline.
		b.x.ended.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errBodyTime
	}
	return n, err
}

// Close implements io.Closer.
func (b requestBody) Close() error { return b.x.body.Close() }

// WriteHeader sends the status. An answer before the end of the body waits only
// for what is on its way. Where that is not all, it closes the connection: what
// is left must not be taken for another request.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
		if !x.ended.Load() && !x.rest(status) {
			x.deadline(0) // the server closes the connection when it cannot read on
		}
		_ = x.conn.SetWriteDeadline(time.Now().Add(writeTime))
	}
	x.ResponseWriter.WriteHeader(status)
}

// rest reads what is left of the body, and reports whether that was all.
func (x *exchange) rest(status int) bool {
	if x.expects {
		return false // it would be asked for
	}
	limit, size := restTime, int64(restSize)
	if status == http.StatusRequestEntityTooLarge {
		limit, size = clientTime, refusedSize
	}
	x.deadline(limit)
	_, _ = io.CopyN(io.Discard, requestBody{x}, size) // what it met is in x.ended
	return x.ended.Load()
}

// Write sends a part of the answer.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	_ = x.conn.SetWriteDeadline(time.Now().Add(writeTime))
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// enter takes one of the function's places; false when all are taken. leave
// gives it back.
func (f *function) enter() bool {
	if f.running.Add(1) <= maxRequests {
		return true
	}
	f.running.Add(-1)
	return false
}

func (f *function) leave() { f.running.Add(-1) }

// busy answers a request for which there is no place.
func (s *Server) busy(w http.ResponseWriter, r *http.Request, f *function) {
	s.crowded.Do(func() {
		s.deps.Log.WarnContext(r.Context(), "requests are refused: too many are under way at once; this is told once", "function", f.name, "most", maxRequests)
	})
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable, "too many requests at once; try again")
}

// fromHost reports whether an invocation can be the host's. No secret proves it. So
// fromHost refuses a browser, which cannot hide on whose behalf and under which name it
// calls.
func fromHost(r *http.Request) bool {
	for name := range r.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return false
		}
	}
	return !strings.ContainsAny(r.Host, "@/?#\\ ") && endpoint.Loopback((&url.URL{Host: r.Host}).Hostname())
}
