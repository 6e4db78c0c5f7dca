// Package collector receives telemetry as an OpenTelemetry collector does, by OTLP over
// HTTP. See https://opentelemetry.io/docs/specs/otlp, section OTLP/HTTP. It keeps the
// telemetry, so that tests can ask for it. It refuses what is not OTLP, and forwards
// nothing.
package collector

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	metricsservice "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traceservice "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"cipp-ninjaone/sandbox/loopback"
)

const maxBody = 64 << 20

// Collector is a running collector. It is safe for concurrent use.
type Collector struct {
	server     *httptest.Server
	onReceived func()

	mu      sync.Mutex
	spans   []*traces.Span
	metrics map[string]*metrics.Metric // the newest by name
	bodies  [][]byte
	refused []string
}

// Start starts a collector on a loopback address of its own. It calls onReceived,
// unless that is nil, each time it has kept something.
func Start(onReceived func()) *Collector {
	c := &Collector{onReceived: onReceived, metrics: map[string]*metrics.Metric{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		var sent traceservice.ExportTraceServiceRequest
		if c.read(w, r, &sent) {
			c.keepSpans(&sent)
			c.answer(w, &traceservice.ExportTraceServiceResponse{})
		}
	})
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		var sent metricsservice.ExportMetricsServiceRequest
		if c.read(w, r, &sent) {
			c.keepMetrics(&sent)
			c.answer(w, &metricsservice.ExportMetricsServiceResponse{})
		}
	})
	c.server = loopback.NewServer(mux)
	return c
}

// URL is the address for OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *Collector) URL() string { return c.server.URL }

// Close stops the collector. What it has received can still be read.
func (c *Collector) Close() { c.server.Close() }

func (c *Collector) read(w http.ResponseWriter, r *http.Request, into proto.Message) bool {
	refuse := func(format string, args ...any) bool {
		reason := r.URL.Path + ": " + fmt.Sprintf(format, args...)
		c.mu.Lock()
		c.refused = append(c.refused, reason)
		c.mu.Unlock()
		http.Error(w, reason, http.StatusBadRequest)
		return false
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/x-protobuf" {
		return refuse("the content type is %q", kind)
	}
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxBody))
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(body)
		if err != nil {
			return refuse("%v", err)
		}
		body = io.LimitReader(plain, maxBody)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return refuse("%v", err)
	}
	if err := proto.Unmarshal(b, into); err != nil {
		return refuse("%v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = append(c.bodies, b)
	return true
}

func (c *Collector) answer(w http.ResponseWriter, m proto.Message) {
	if c.onReceived != nil {
		c.onReceived()
	}
	b, err := proto.Marshal(m)
	if err != nil { // not possible: the answers are empty messages
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(b) // a sender that is gone sends again
}

func (c *Collector) keepSpans(sent *traceservice.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range sent.ResourceSpans {
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
}

func (c *Collector) keepMetrics(sent *metricsservice.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range sent.ResourceMetrics {
		for _, s := range r.ScopeMetrics {
			for _, m := range s.Metrics {
				c.metrics[m.Name] = m
			}
		}
	}
}

// Refused lists what was sent that is not OTLP.
func (c *Collector) Refused() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.refused...)
}

// Text is everything that was received, every name and value, as it was sent.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(bytes.Join(c.bodies, []byte("\n")))
}

// Span is a span that was received.
type Span struct {
	Name        string
	TraceID, ID string // bytes as text; only good for comparing
	Parent      string // ID of the parent; "" for the root of a trace
	Failed      bool
	Attributes  map[string]string
}

// Spans lists the spans in the order of their arrival: a parent after its
// children.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Span
	for _, s := range c.spans {
		list = append(list, Span{
			Name: s.Name, TraceID: string(s.TraceId), ID: string(s.SpanId), Parent: string(s.ParentSpanId),
			Failed:     s.Status.GetCode() == traces.Status_STATUS_CODE_ERROR,
			Attributes: values(s.Attributes),
		})
	}
	return list
}

// Point is one series of a metric, as last received.
type Point struct {
	Attributes map[string]string
	Sum        float64 // of all values; of a gauge its last value
	Count      uint64  // of a histogram
}

// Metric returns the series of a metric, nil when none was received.
func (c *Collector) Metric(name string) []Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	var points []Point
	m := c.metrics[name]
	for _, p := range m.GetHistogram().GetDataPoints() {
		points = append(points, Point{values(p.Attributes), p.GetSum(), p.Count})
	}
	for _, p := range append(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()...) {
		points = append(points, Point{Attributes: values(p.Attributes), Sum: float64(p.GetAsInt()) + p.GetAsDouble()})
	}
	return points
}

func values(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_BoolValue:
			m[kv.Key] = strconv.FormatBool(v.BoolValue)
		case *common.AnyValue_DoubleValue:
			m[kv.Key] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		default:
			m[kv.Key] = prototext.Format(kv.Value)
		}
	}
	return m
}
