// Package telemetry sends traces and metrics by OpenTelemetry's protocol, when the
// settings name a collector. A trace per invocation has the phases of a sync and the
// remote calls. The metrics are of what an operator watches. It knows ids, counts and
// durations only. Names of people and devices, texts of tenants, queries of addresses and
// secrets never enter. It reduces errors to their kind, since their texts quote services.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names what made the spans and metrics.
const scope = "cipp-ninjaone"

// complaintEvery is how often at most the log says that a collector cannot be
// reached.
const complaintEvery = 10 * time.Minute

// Telemetry is a running connection to a collector. A nil *Telemetry is one
// that is off: each of its methods works and does nothing.
type Telemetry struct {
	tracer trace.Tracer
	stops  []func(context.Context) error

	calls       metric.Float64Histogram
	throttled   metric.Int64Counter
	invocations metric.Float64Histogram
	queueAge    metric.Float64Histogram
	syncs       metric.Float64Histogram
	writes      metric.Int64Counter
	mapped      metric.Int64Gauge
	overdue     metric.Int64Gauge
}

// Start connects to the collector that OpenTelemetry's own settings name
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter:
// OTEL_EXPORTER_OTLP_ENDPOINT or its forms for traces and metrics,
// OTEL_EXPORTER_OTLP_HEADERS and the like). It returns nil when they name none, or
// OTEL_SDK_DISABLED is true. It speaks http/protobuf only. Start itself sends nothing. A
// collector that does not answer costs nothing but lines in log. The SDK itself reads the
// process's environment.
func Start(ctx context.Context, version string, log *slog.Logger) (*Telemetry, error) {
	if !configured() {
		return nil, nil
	}
	if p := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("telemetry is off: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, which collectors take on port 4318")
	}
	from, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", scope), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
	)
	if err != nil {
		return nil, fmt.Errorf("telemetry is off: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry is off: %w", err)
	}
	points, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry is off: %w", err)
	}
	otel.SetErrorHandler(complaints(log))
	otel.SetLogger(logr.Discard()) // it would write to stderr, whose lines the host logs as errors
	// The providers stay out of OpenTelemetry's globals. There the Graph SDK would make
	// spans of its own, with whole addresses.
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(from))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points)), sdkmetric.WithResource(from))
	t := &Telemetry{tracer: tracers.Tracer(scope), stops: []func(context.Context) error{tracers.Shutdown, meters.Shutdown}}
	return t, t.instruments(meters.Meter(scope))
}

// configured reports whether the settings name a collector.
func configured() bool {
	addresses := []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}
	return os.Getenv("OTEL_SDK_DISABLED") != "true" && slices.ContainsFunc(addresses, func(name string) bool { return os.Getenv(name) != "" })
}

// complaints tells the log that telemetry cannot be sent, once in a while. The
// SDK's error may hold the collector's answer and stays out.
func complaints(log *slog.Logger) otel.ErrorHandler {
	var last atomic.Int64
	return otel.ErrorHandlerFunc(func(error) {
		now, before := time.Now().UnixNano(), last.Load()
		if (before == 0 || now-before >= int64(complaintEvery)) && last.CompareAndSwap(before, now) {
			log.Warn("telemetry cannot be sent: check OTEL_EXPORTER_OTLP_ENDPOINT and that the collector takes http/protobuf; the work itself goes on")
		}
	})
}

// instruments makes the metrics. Their names are a contract with dashboards.
func (t *Telemetry) instruments(m metric.Meter) error {
	var errs []error
	seconds := func(name, description string, bounds ...float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	gauge := func(name, description string) metric.Int64Gauge {
		g, err := m.Int64Gauge(name, metric.WithUnit("{tenant}"), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	t.calls = seconds("http.client.request.duration", "Time of one attempt of a call to Microsoft 365 or NinjaOne, its body included.",
		.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120)
	t.throttled = counter("cipp_ninjaone.throttled", "{answer}", "Answers that asked to wait: 429, and 503 with Retry-After.")
	t.invocations = seconds("cipp_ninjaone.invocation.duration", "Time of one invocation of a function.",
		.01, .1, .5, 1, 5, 15, 60, 300, 900, 1800)
	t.queueAge = seconds("cipp_ninjaone.queue.age", "Age of a queue message when its function starts, a delay on purpose included.",
		1, 5, 15, 60, 300, 900, 3600, 4*3600, 24*3600)
	t.syncs = seconds("cipp_ninjaone.sync.duration", "Time of one run of a tenant's sync.",
		.5, 1, 2.5, 5, 15, 60, 300, 900, 1800)
	t.writes = counter("cipp_ninjaone.sync.writes", "{write}", "What syncs wrote to NinjaOne: organization fields, devices, documents.")
	t.mapped = gauge("cipp_ninjaone.tenants.mapped", "Tenants that are to be synced.")
	t.overdue = gauge("cipp_ninjaone.tenants.overdue", "Mapped tenants, paused ones left out, without a completed sync for more than 26 hours.")
	return errors.Join(errs...)
}

// Stop sends what is left, as far as ctx allows.
func (t *Telemetry) Stop(ctx context.Context) {
	if t == nil {
		return
	}
	for _, stop := range t.stops {
		_ = stop(ctx) // the error handler has told the log
	}
}

type contextKey struct{}

func of(ctx context.Context) *Telemetry {
	t, _ := ctx.Value(contextKey{}).(*Telemetry)
	return t
}

// Invocation is one call of a function by the host.
type Invocation struct {
	Function string
	ID       string    // the host's id of the invocation
	Queued   time.Time // when its queue message was sent; zero for other triggers
	Attempt  int       // of the queue message, from 1; 0 for other triggers
}

// Invoke begins the trace of an invocation. What runs with the returned
// context can add to it; end ends it.
func (t *Telemetry) Invoke(ctx context.Context, i Invocation) (_ context.Context, end func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	start := time.Now()
	function := attribute.String("faas.name", i.Function)
	ctx, span := t.tracer.Start(context.WithValue(ctx, contextKey{}, t), i.Function,
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(function, attribute.String("faas.invocation_id", i.ID)))
	if !i.Queued.IsZero() {
		age := max(start.Sub(i.Queued), 0).Seconds()
		t.queueAge.Record(ctx, age, metric.WithAttributes(function))
		span.SetAttributes(attribute.Float64("cipp_ninjaone.queue.age", age), attribute.Int("cipp_ninjaone.queue.attempt", i.Attempt))
	}
	return ctx, func(err error) {
		finish(span, err)
		t.invocations.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(function, attribute.Bool("failed", err != nil)))
	}
}

// Phase does a step of what ctx's trace is about, and returns its error.
func Phase(ctx context.Context, name string, do func(context.Context) error) error {
	t := of(ctx)
	if t == nil {
		return do(ctx)
	}
	ctx, span := t.tracer.Start(ctx, name)
	err := do(ctx)
	finish(span, err)
	return err
}

// finish ends a span, with the kind of the error that ended it.
func finish(span trace.Span, err error) {
	if err != nil {
		kind := kindOf(err)
		span.SetStatus(codes.Error, kind)
		span.SetAttributes(attribute.String("error.type", kind))
	}
	span.End()
}

// Sync is a run of a tenant's sync that has ended.
type Sync struct {
	TenantID                               string
	OrganizationID                         int
	Status                                 string // as recorded; "Continues" when the rest follows in another run
	Duration                               time.Duration
	OrganizationFields, Devices, Documents int // written
	Unchanged, Problems                    int
}

// Synced notes the end of a run.
func Synced(ctx context.Context, s Sync) {
	t := of(ctx)
	if t == nil {
		return
	}
	trace.SpanFromContext(ctx).SetAttributes(
		attribute.String("cipp_ninjaone.tenant.id", s.TenantID),
		attribute.Int("cipp_ninjaone.organization.id", s.OrganizationID),
		attribute.String("cipp_ninjaone.sync.status", s.Status),
		attribute.Int("cipp_ninjaone.sync.organization_fields", s.OrganizationFields),
		attribute.Int("cipp_ninjaone.sync.devices", s.Devices),
		attribute.Int("cipp_ninjaone.sync.documents", s.Documents),
		attribute.Int("cipp_ninjaone.sync.unchanged", s.Unchanged),
		attribute.Int("cipp_ninjaone.sync.problems", s.Problems),
	)
	// A series per tenant would be a thousand of them; the trace has the ids.
	t.syncs.Record(ctx, s.Duration.Seconds(), metric.WithAttributes(attribute.String("status", s.Status)))
	for target, n := range map[string]int{"organization": s.OrganizationFields, "device": s.Devices, "document": s.Documents} {
		t.writes.Add(ctx, int64(n), metric.WithAttributes(attribute.String("target", target)))
	}
}

// Scheduled notes how many tenants are to be synced, and how many of them are
// overdue.
func Scheduled(ctx context.Context, mapped, overdue int) {
	if t := of(ctx); t != nil {
		t.mapped.Record(ctx, int64(mapped))
		t.overdue.Record(ctx, int64(overdue))
	}
}
