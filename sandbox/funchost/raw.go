package funchost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// droppedByForwarding are headers that describe a body. .NET keeps them with the body
// that the forwarding style makes anew. Only the body's length and type go on.
var droppedByForwarding = []string{"Allow", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location",
	"Content-Md5", "Content-Range", "Expires", "Last-Modified"}

// droppedByProxying are headers of one connection, and those of other proxies.
var droppedByProxying = []string{"Connection", "Keep-Alive", "Te", "Upgrade-Insecure-Requests", "Forwarded", "X-Forwarded-Prefix"}

var (
	errChunked = errors.New("the host answers a chunked body with 500 while it forwards, and calls nobody: set enableProxyingHttpRequest")
	errHeader  = errors.New("the host cannot pass on a header value beyond ASCII")
)

// serveRaw calls an HTTP function with the plain request. Any status that comes
// back counts as success.
func (h *Host) serveRaw(w http.ResponseWriter, r *http.Request, f *function, call func(http.ResponseWriter, *http.Request, *process, string) error) {
	i := h.begin(f)
	ctx, cancel := h.callContext(r)
	defer cancel()
	var aborted any
	err := h.guard(ctx, func(ctx context.Context, p *process) (err error) {
		defer func() {
			if aborted = recover(); aborted != nil {
				err = errors.New("the handler's answer broke off")
			}
		}()
		r := r.WithContext(ctx)
		if r.Header, err = joinedHeaders(r.Header); err != nil {
			return err
		}
		return call(w, r, p, i.ID)
	})
	if err != nil && aborted == nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	h.finish(i, err)
	if aborted != nil {
		panic(aborted) // Ends the caller's connection, as the server expects.
	}
}

// joinedHeaders returns a copy in which each header has one value, as the host
// passes them on.
func joinedHeaders(in http.Header) (http.Header, error) {
	out := make(http.Header, len(in))
	for name, values := range in {
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		joined := strings.Join(values, separator)
		if strings.ContainsFunc(joined, func(r rune) bool { return r > 126 }) {
			return nil, fmt.Errorf("%w: %s", errHeader, name)
		}
		out[name] = []string{joined}
	}
	return out, nil
}

// proxy passes the request and the answer through as they come. Headers of the host's own
// tell the client's addresses.
func (h *Host) proxy(w http.ResponseWriter, r *http.Request, p *process, id string) error {
	path := escapePath(hostPath(r.URL.EscapedPath()), false)
	target, err := url.Parse(p.address() + path)
	if err != nil {
		return err
	}
	target.RawQuery = r.URL.RawQuery
	var failure error
	(&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = target, target.Host
			header := pr.Out.Header
			for _, name := range droppedByProxying {
				header.Del(name)
			}
			peer, _, err := net.SplitHostPort(pr.In.RemoteAddr)
			if err != nil {
				peer = pr.In.RemoteAddr
			}
			header.Set("X-Forwarded-For", peer)
			header.Set("X-Forwarded-Host", pr.In.Host)
			header.Set("X-Forwarded-Proto", "http")
			header.Set(headerHostVersion, hostVersion)
			header.Set(headerInvocationID, id)
			if header.Get("X-Ms-Invocation-Id") == "" {
				header.Set("X-Ms-Invocation-Id", uuid.NewString())
			}
		},
		Transport:    p.transport,
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err },
	}).ServeHTTP(w, r)
	return failure
}

// forward sends a request that is built anew, and then passes the whole answer
// on.
func (h *Host) forward(w http.ResponseWriter, r *http.Request, p *process, id string) error {
	if r.ContentLength < 0 {
		return errChunked
	}
	address := p.address() + escapePath(hostPath(r.URL.EscapedPath()), true)
	if pairs := readQuery(r.URL.RawQuery); len(pairs) > 0 {
		address += "?" + writeQuery(pairs)
	}
	var body io.Reader
	if r.ContentLength > 0 {
		body = r.Body
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, address, body)
	if err != nil {
		return err
	}
	req.ContentLength, req.Header, req.Host = r.ContentLength, r.Header.Clone(), r.Host
	for _, name := range droppedByForwarding {
		req.Header.Del(name)
	}
	if r.ContentLength == 0 {
		req.Header.Del("Content-Type")
	}
	req.Header.Set("User-Agent", strings.TrimSpace(r.UserAgent()+" "+productToken))
	appendHeader(req.Header, headerHostVersion, hostVersion)
	appendHeader(req.Header, headerInvocationID, id)
	res, err := p.transport.RoundTrip(req) // Redirects are passed on.
	if err != nil {
		return fmt.Errorf("calling the handler: %w", err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading the handler's answer: %w", err)
	}
	for name, values := range res.Header {
		if !slices.Contains([]string{"Connection", "Keep-Alive", "Transfer-Encoding"}, name) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(content) // A caller that hung up needs no answer.
	return nil
}

// appendHeader puts a value behind the one that the client sent, if any.
func appendHeader(h http.Header, name, value string) {
	if sent := h.Get(name); sent != "" {
		value = sent + ", " + value
	}
	h.Set(name, value)
}

// steadyBody is a client's body that may not stand still.
type steadyBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	limit time.Duration
}

// newSteadyBody returns the request's body with that limit, which holds from now
// on, whoever reads it.
func newSteadyBody(w http.ResponseWriter, r *http.Request, limit time.Duration) *steadyBody {
	b := &steadyBody{r.Body, http.NewResponseController(w), limit}
	_ = b.conn.SetReadDeadline(time.Now().Add(limit))
	return b
}

// Read implements io.Reader.
func (b *steadyBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(b.limit)) // until the end of the body
	return b.ReadCloser.Read(p)
}
