package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/collector"
)

// off clears the settings that could be in the environment of the tests.
func off(t *testing.T) {
	for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_RESOURCE_ATTRIBUTES"} {
		t.Setenv(name, "")
	}
}

func startFor(t *testing.T, settings map[string]string) (*Telemetry, error) {
	t.Helper()
	off(t)
	for name, value := range settings {
		t.Setenv(name, value)
	}
	return Start(t.Context(), "1.2.3", slog.New(slog.DiscardHandler))
}

func TestWhatTurnsItOn(t *testing.T) {
	const endpoint = "http://127.0.0.1:4318"
	for _, test := range []struct {
		name     string
		settings map[string]string
		on, bad  bool
	}{
		{name: "nothing set"},
		{name: "an endpoint", settings: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, on: true},
		{name: "an endpoint for traces", settings: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}, on: true},
		{name: "an endpoint for metrics", settings: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint}, on: true},
		{name: "the protocol it speaks", settings: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, on: true},
		{name: "turned off", settings: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "true"}},
		{name: "a protocol it does not speak", settings: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := startFor(t, test.settings)
			if (err != nil) != test.bad || (got != nil) != test.on {
				t.Errorf("Start = %v, %v; want on: %t, an error: %t", got, err, test.on, test.bad)
			}
			// Nothing was measured; a Stop that would wait for the collector is cut off.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got.Stop(ctx)
		})
	}
}

func TestOffCostsNothing(t *testing.T) {
	var none *Telemetry
	if got := none.Transport(http.DefaultTransport); got != http.DefaultTransport {
		t.Error("the transport is wrapped although telemetry is off")
	}
	ctx, end := none.Invoke(t.Context(), Invocation{Function: "SyncTenant"})
	if ctx != t.Context() {
		t.Error("the context is changed although telemetry is off")
	}
	fault := errors.New("a fault")
	err := Phase(ctx, "read", func(inner context.Context) error {
		if inner != ctx {
			t.Error("a phase changes the context although telemetry is off")
		}
		return fault
	})
	if err != fault {
		t.Errorf("a phase returns %v, not its error", err)
	}
	Synced(ctx, Sync{})
	Scheduled(ctx, 1, 0)
	end(nil)
}

func TestTraceOfASync(t *testing.T) {
	c := collector.Start(nil)
	t.Cleanup(c.Close)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "devices") {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(service.Close)
	tel, err := startFor(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL()})
	if err != nil || tel == nil {
		t.Fatal(tel, err)
	}
	client := &http.Client{Transport: tel.Transport(http.DefaultTransport)}
	get := func(ctx context.Context, path string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, service.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}

	ctx, end := tel.Invoke(t.Context(), Invocation{Function: "SyncTenant", ID: "11", Queued: time.Now().Add(-time.Hour), Attempt: 2})
	err = Phase(ctx, "read", func(ctx context.Context) error {
		get(ctx, "/v1.0/users/ada@contoso.example/memberOf?$filter=displayName+eq+'Ada'")
		get(ctx, "/v2/devices")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = Phase(ctx, "write", func(context.Context) error {
		return fmt.Errorf("device 7 of Ada: %w", context.DeadlineExceeded)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	Synced(ctx, Sync{TenantID: "t-1", OrganizationID: 7, Status: "Completed", Duration: time.Second, Devices: 3})
	Scheduled(ctx, 10, 2)
	end(errors.New("told of Ada"))
	get(t.Context(), "/outside/any/trace")
	tel.Stop(t.Context())

	for _, r := range c.Refused() {
		t.Errorf("the collector refused %s", r)
	}
	spans := map[string]collector.Span{}
	for _, s := range c.Spans() {
		spans[s.Name] = s
	}
	root, reading := spans["SyncTenant"], spans["read"]
	for name, parent := range map[string]string{"SyncTenant": "", "read": root.ID, "write": root.ID,
		"GET /v1.0/users/{id}/memberOf": reading.ID, "GET /v2/devices": reading.ID} {
		s, ok := spans[name]
		if !ok || s.Parent != parent || s.TraceID != root.TraceID {
			t.Errorf("span %q: there is %t, in its place %t", name, ok, s.Parent == parent && s.TraceID == root.TraceID)
		}
	}
	if len(spans) != 5 {
		t.Errorf("%d spans, want 5", len(spans))
	}
	if !root.Failed || root.Attributes["error.type"] != "*errors.errorString" || root.Attributes["cipp_ninjaone.tenant.id"] != "t-1" {
		t.Errorf("the root does not tell how the run ended: %v", root)
	}
	if s := spans["write"]; !s.Failed || s.Attributes["error.type"] != "timeout" {
		t.Errorf("the phase does not tell its failure: %v", s)
	}
	for name, want := range map[string]float64{"cipp_ninjaone.throttled": 1, "cipp_ninjaone.sync.duration": 1,
		"cipp_ninjaone.tenants.mapped": 10, "cipp_ninjaone.tenants.overdue": 2} {
		if p := c.Metric(name); len(p) != 1 || p[0].Sum != want {
			t.Errorf("%s = %v, want %v", name, p, want)
		}
	}
	if p := c.Metric("cipp_ninjaone.queue.age"); len(p) != 1 || p[0].Sum < 3600 {
		t.Errorf("the age of the message is %v, want an hour", p)
	}
	if p := c.Metric("http.client.request.duration"); len(p) != 2 || p[0].Count != 1 {
		t.Errorf("calls measured: %v, want two of one each", p)
	}
	for _, p := range c.Metric("cipp_ninjaone.sync.writes") {
		if p.Attributes["target"] == "device" && p.Sum != 3 {
			t.Errorf("%v writes of devices, want 3", p.Sum)
		}
	}
	if text := c.Text(); strings.Contains(text, "Ada") || strings.Contains(text, "ada@") {
		t.Error("a person's name was sent")
	}
}

func TestTemplate(t *testing.T) {
	for path, want := range map[string]string{
		"/v1.0/users": "/v1.0/users",
		"/v1.0/users/5f2b1c9e-0000-4000-8000-000000000001": "/v1.0/users/{id}",
		"/v1.0/users/ada@contoso.example":                  "/v1.0/users/{id}",
		"/v1.0/users/ada/memberOf":                         "/v1.0/users/{id}/memberOf",
		"/v1.0/$batch":                                     "/v1.0/$batch",
		"/beta/reports/getMailboxUsageDetail(period='D7')": "/beta/reports/getMailboxUsageDetail(period='D7')",
		"/beta/reports/getX(user='ada')":                   "/beta/reports/{id}",
		"/v2/organization/12/custom-fields":                "/v2/organization/{id}/custom-fields",
		"/contoso.example/oauth2/v2.0/token":               "/{id}/oauth2/v2.0/token",
		"/adminapi/beta/tenant.example/InvokeCommand":      "/adminapi/beta/{id}/InvokeCommand",
		"/users/Ada":                         "/users/{id}",
		"/report/" + strings.Repeat("a", 41): "/report/{id}",
		"/a%20b/c":                           "/{id}/c",
		"/":                                  "/",
		"":                                   "",
	} {
		if got := template(path); got != want {
			t.Errorf("template(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestUnreachableCollector(t *testing.T) {
	off(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1") // where nobody listens
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	var log bytes.Buffer
	tel, err := Start(t.Context(), "1.2.3", slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, end := tel.Invoke(t.Context(), Invocation{Function: "SyncTenant"})
		end(nil)
	}
	tel.Stop(t.Context())
	if n := strings.Count(log.String(), "telemetry cannot be sent"); n != 1 {
		t.Errorf("the log says %d times that telemetry cannot be sent, want once: %s", n, log.String())
	}
}
