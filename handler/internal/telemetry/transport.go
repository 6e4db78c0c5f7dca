package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Transport makes a span and a measurement of every request through next that is part of
// a trace. It keeps to OpenTelemetry's conventions for HTTP clients, but for the address.
// It reduces that to its host and a template of its path. Paths and queries name people
// and carry keys.
func (t *Telemetry) Transport(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{t, next}
}

type transport struct {
	*Telemetry
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if of(req.Context()) == nil {
		return t.next.RoundTrip(req)
	}
	start := time.Now()
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", req.Method),
		attribute.String("server.address", req.URL.Hostname()),
		attribute.String("url.template", template(req.URL.EscapedPath())),
	}
	ctx, span := t.tracer.Start(req.Context(), req.Method+" "+attributes[2].Value.AsString(),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	end := func(err error) {
		if err != nil {
			attributes = append(attributes, attribute.String("error.type", kindOf(err)))
		}
		t.calls.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(attributes...))
		finish(span, err)
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		end(err)
		return nil, err
	}
	status := attribute.Int("http.response.status_code", res.StatusCode)
	attributes = append(attributes, status)
	span.SetAttributes(status)
	if res.StatusCode >= 400 {
		span.SetStatus(codes.Error, http.StatusText(res.StatusCode))
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "" {
		t.throttled.Add(ctx, 1, metric.WithAttributes(attributes[1]))
	}
	res.Body = &measuredBody{ReadCloser: res.Body, end: end}
	return res, nil
}

// measuredBody ends the span of a call when its answer has been read or let
// go of.
type measuredBody struct {
	io.ReadCloser
	once sync.Once
	end  func(error)
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.once.Do(func() { b.end(nil) })
	} else if err != nil {
		b.once.Do(func() { b.end(err) })
	}
	return n, err
}

func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.end(nil) })
	return err
}

var (
	version = regexp.MustCompile(`^v\d(\.\d)?$`)
	word    = regexp.MustCompile(`^[A-Za-z$_-]{1,40}\d?(\([a-z]+='[A-Z]\d+'\))?$`)
)

// namedByCallers are the collections whose members may be called by a name
// that looks like any other word.
var namedByCallers = map[string]bool{"users": true, "organizations": true, "tenants": true}

// template returns a path with everything that is not a fixed part of an API's
// address replaced by {id}.
func template(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if s == "" || version.MatchString(s) || word.MatchString(s) && (i == 0 || !namedByCallers[strings.ToLower(segments[i-1])]) {
			continue
		}
		segments[i] = "{id}"
	}
	return strings.Join(segments, "/")
}

// kindOf names an error without its text.
func kindOf(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, new(*net.OpError)):
		return "connection"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprintf("%T", err)
		}
		err = inner
	}
}
