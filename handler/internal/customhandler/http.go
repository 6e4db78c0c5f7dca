package customhandler

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/telemetry"
)

// serveRaw serves a request that the host forwarded as it came.
func (s *Server) serveRaw(w *exchange, r *http.Request, rt *route, rest string) {
	ctx, cancel := context.WithTimeout(s.invocationContext(r, rt.function), rt.function.timeout)
	defer cancel()
	started := time.Now()
	ctx, end := s.config.Telemetry.Invoke(ctx, telemetry.Invocation{Function: rt.function.name, ID: clip(r.Header.Get(headerInvocationID))})
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, s.config.MaxBody)
	r.SetPathValue(rt.rest, rest)
	defer func() {
		elapsed := time.Since(started).Round(time.Millisecond).String()
		v := recover()
		if v == nil {
			end(nil)
			// The query stays out of the log: it can hold tokens.
			s.logger.DebugContext(ctx, "request served", "method", r.Method, "path", clip(r.URL.Path),
				"status", w.status, "elapsed", elapsed)
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			end(err)
			panic(v)
		}
		end(&panicError{value: v})
		s.logFailure(ctx, &panicError{v, debug.Stack()}, rt.function.timeout, elapsed)
		if w.status != 0 {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		fail(w, http.StatusInternalServerError, "the request failed; the log says why")
	}()
	rt.handler.ServeHTTP(w, r)
}

// invokeHTTP serves a request that the host wrapped in an envelope.
func (s *Server) invokeHTTP(ctx context.Context, e envelope, outer *http.Request, rt *route) (map[string]any, error) {
	value, err := e.input()
	if err != nil {
		return nil, err
	}
	r, err := unwrapRequest(ctx, value)
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = outer.RemoteAddr
	if _, ok := pathSegments(r.URL); !ok {
		return nil, &malformedError{"the request's path has dot segments, empty ones or a broken escape"}
	}
	for name, values := range lists(member(members(value), "Params")) {
		r.SetPathValue(name, strings.Join(values, ","))
	}
	if found, rest := s.route(r.URL); found == rt {
		r.SetPathValue(rt.rest, rest)
	}

	rec := &recorder{header: http.Header{}}
	r.Body = http.MaxBytesReader(rec, r.Body, s.config.MaxBody)
	rt.handler.ServeHTTP(rec, r)
	res, err := rec.response()
	if err != nil {
		return nil, err
	}
	return map[string]any{"res": res}, nil
}

// unwrapRequest makes the request that a client sent out of the value of an
// httpTrigger binding.
func unwrapRequest(ctx context.Context, value json.RawMessage) (*http.Request, error) {
	m := members(value)
	if m == nil {
		return nil, &malformedError{"the request is not a JSON object"}
	}
	u, err := url.Parse(text(member(m, "Url")))
	if err != nil || u.Path == "" {
		return nil, &malformedError{"the request has no usable Url"}
	}
	if u.RawQuery == "" {
		u.RawQuery = url.Values(lists(member(m, "Query"))).Encode()
	}
	header := http.Header{}
	for name, values := range lists(member(m, "Headers")) {
		for _, v := range values {
			header.Add(name, v)
		}
	}
	body, err := decodeBody(member(m, "Body"), header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, text(member(m, "Method")), u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &malformedError{"the request has no usable Method or Url"}
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	header.Del("Host")
	header.Del("Transfer-Encoding")
	header.Del("Content-Length")
	r.Header = header
	// As on a server: the URL holds path and query only.
	r.URL.Scheme, r.URL.Host, r.URL.User = "", "", nil
	r.RequestURI = r.URL.RequestURI()
	return r, nil
}

// decodeBody decodes a body. Text is a JSON string; octet streams and multipart forms are
// base64. Some hosts send JSON as it is.
func decodeBody(value json.RawMessage, contentType string) ([]byte, error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return nil, nil
	}
	if value[0] != '"' {
		return value, nil
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, &malformedError{"the request's body is not a JSON string"}
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err == nil && (mediaType == "application/octet-stream" || strings.HasPrefix(mediaType, "multipart/")) {
		if decoded, err := base64.StdEncoding.DecodeString(s); err == nil {
			return decoded, nil
		}
	}
	return []byte(s), nil
}

// lists reads an object whose values are strings or arrays of strings.
func lists(value json.RawMessage) map[string][]string {
	m := members(value)
	out := make(map[string][]string, len(m))
	for name, v := range m {
		var array []json.RawMessage
		if json.Unmarshal(v, &array) == nil && array != nil {
			for _, item := range array {
				out[name] = append(out[name], once(item))
			}
			continue
		}
		out[name] = []string{once(v)}
	}
	return out
}

// once returns a string that is encoded once, such as a header. Its own quotes (an
// ETag's, say) belong to it.
func once(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	return text(value)
}

// recorder keeps an answer until it is whole.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var _ io.Writer = (*recorder)(nil)

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// httpOutput is the value of an http output binding.
type httpOutput struct {
	StatusCode string            `json:"statusCode"`
	Body       string            `json:"body"`
	Headers    map[string]string `json:"headers"`
}

func (r *recorder) response() (httpOutput, error) {
	r.WriteHeader(http.StatusOK)
	if !utf8.Valid(r.body.Bytes()) {
		return httpOutput{}, fmt.Errorf("the answer (status %d) is not text, which an envelope cannot carry: set enableProxyingHttpRequest in host.json", r.status)
	}
	if r.header.Get("Content-Type") == "" && r.body.Len() > 0 {
		r.header.Set("Content-Type", http.DetectContentType(r.body.Bytes()))
	}
	r.header.Del("Content-Length")
	out := httpOutput{StatusCode: strconv.Itoa(r.status), Body: r.body.String(), Headers: map[string]string{}}
	for name, values := range r.header {
		out.Headers[name] = strings.Join(values, ", ")
	}
	return out, nil
}
