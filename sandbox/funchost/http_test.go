package funchost

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// httpFunction is an HTTP function with one answer; more is put into its trigger.
func httpFunction(more string) string {
	return `{"bindings": [{"type": "httpTrigger", "name": "req", "direction": "in"` + more + `}, {"type": "http", "name": "res", "direction": "out"}]}`
}

const proxying = `"customHandler": {"enableProxyingHttpRequest": true}`
const forwarding = `"customHandler": {"enableForwardingHttpRequest": true}`

func TestHTTPEnvelope(t *testing.T) {
	got := make(chan received, 1)
	const answer = `{"Outputs": {"res": {"statusCode": "201", "body": {"ok": "<yes>"}, "headers": {"X-One": "1", "X-Many": ["a", "b"]}}}}`
	a := newApp(t, "", map[string]string{"Orders": httpFunction(`, "authLevel": "anonymous", "route": "orders/{id:int}"`)}, func(w http.ResponseWriter, r *http.Request) {
		got <- receive(t, r)
		reply(w, answer)
	})
	h := a.start(a.config())
	res, body := call(t, "POST", h.URL()+"/API/orders/7?a=1&a=2&b=%20", `{"item": "lamp", "tags": ["x"]}`, "Content-Type", "application/json", "X-Custom", "yes")
	if res.StatusCode != 201 || body != `{"ok":"<yes>"}` || res.Header.Get("X-One") != "1" || !slices.Equal(res.Header.Values("X-Many"), []string{"a", "b"}) ||
		!strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		t.Errorf("answer = %d %v %s", res.StatusCode, res.Header, body)
	}
	e := <-got
	if e.path != "/Orders" {
		t.Errorf("path = %s, want that of the function's name", e.path)
	}
	var request struct {
		URL, Method, Body string
		Query, Params     map[string]string
		Headers           map[string][]string
		Identities        []any
	}
	if err := json.Unmarshal(e.data["req"], &request); err != nil {
		t.Fatal(err)
	}
	if request.Method != "POST" || request.URL != h.URL()+"/API/orders/7?a=1&a=2&b=%20" || request.Query["a"] != "1,2" || request.Query["b"] != " " || request.Params["id"] != "7" ||
		!slices.Equal(request.Headers["X-Custom"], []string{"yes"}) || request.Body != `{"item": "lamp", "tags": ["x"]}` || len(request.Identities) != 1 {
		t.Errorf("request = %+v", request)
	}
	for name, want := range map[string]string{"id": `"\"7\""`, "item": `"\"lamp\""`, "Query": `{"a":"1,2","b":" "}`, "tags": ""} {
		if string(e.meta[name]) != want {
			t.Errorf("Metadata.%s = %s, want %s", name, e.meta[name], want)
		}
	}
	if i := a.invocation(); i.Err != nil || i.Trigger != TriggerHTTP {
		t.Errorf("invocation = %+v", i)
	}
	if res, _ := call(t, "GET", h.URL()+"/api/orders/lamp", ""); res.StatusCode != 404 {
		t.Errorf("a path outside the constraint: status %d, want 404", res.StatusCode)
	}
}

func TestHTTPEnvelopeBodies(t *testing.T) {
	got := make(chan received, 1)
	a := newApp(t, "", map[string]string{"Echo": httpFunction("")}, func(w http.ResponseWriter, r *http.Request) {
		got <- receive(t, r)
		succeed(w, r)
	})
	h := a.start(a.config())
	for name, test := range map[string]struct {
		contentType string
		chunked     bool
		want        string
	}{
		"text":      {"text/plain", false, `"A=B&C"`},
		"bytes":     {"application/octet-stream", false, `"QT1CJkM="`},
		"multipart": {"multipart/form-data; boundary=x", false, `"QT1CJkM="`},
		"chunked":   {"text/plain", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var reader io.Reader = strings.NewReader("A=B&C")
			if test.chunked {
				reader = io.MultiReader(reader)
			}
			res, err := http.Post(h.URL()+"/api/Echo", test.contentType, reader)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			var request map[string]json.RawMessage
			if err := json.Unmarshal((<-got).data["req"], &request); err != nil {
				t.Fatal(err)
			}
			if body := string(request["Body"]); body != test.want {
				t.Errorf("Body = %s, want %s", body, test.want)
			}
		})
	}
}

func TestHTTPAnswers(t *testing.T) {
	body := make(chan string, 1)
	a := newApp(t, "", map[string]string{"Answer": httpFunction("")}, func(w http.ResponseWriter, _ *http.Request) { reply(w, <-body) })
	h := a.start(a.config())
	for name, test := range map[string]struct {
		answer      string
		status      int
		contentType string
		body        string
	}{
		"nothing":          {`{}`, 200, "", ""},
		"text":             {`{"Outputs": {"res": {"body": "test"}}}`, 200, "text/plain; charset=utf-8", "test"},
		"number as status": {`{"Outputs": {"res": {"statusCode": 404, "body": [1]}}}`, 404, "application/json; charset=utf-8", "[1]"},
		"status":           {`{"Outputs": {"res": {"status": "202"}}}`, 202, "", ""},
		"own content type": {`{"Outputs": {"res": {"body": "<p>", "headers": {"content-type": "text/html"}}}}`, 200, "text/html", "<p>"},
		"not an object":    {`{"Outputs": {"res": "text"}}`, 500, "", ""},
		"bad status":       {`{"Outputs": {"res": {"statusCode": "fine"}}}`, 500, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			body <- test.answer
			res, text := call(t, "GET", h.URL()+"/api/Answer", "")
			if res.StatusCode != test.status || text != test.body || res.Header.Get("Content-Type") != test.contentType {
				t.Errorf("answer = %d %q %q, want %d %q %q", res.StatusCode, res.Header.Get("Content-Type"), text, test.status, test.contentType, test.body)
			}
			if i := a.invocation(); (i.Err != nil) != (test.status == 500) {
				t.Errorf("invocation = %+v", i)
			}
		})
	}
}

func TestHTTPWithMoreOutputsIsAnEnvelope(t *testing.T) {
	out := openQueue(t, azuritetest.UniqueName(t))
	paths := make(chan string, 1)
	a := newApp(t, proxying, map[string]string{"Take": strings.Replace(httpFunction(""), "]",
		`, {"type": "queue", "direction": "out", "name": "$return", "queueName": "`+out.name+`"}]`, 1)},
		func(w http.ResponseWriter, r *http.Request) {
			paths <- r.URL.Path
			reply(w, `{"Outputs": {"res": {"statusCode": "202"}}, "ReturnValue": {"a": 1}}`)
		})
	h := a.start(a.config())
	if res, _ := call(t, "POST", h.URL()+"/api/take", ""); res.StatusCode != 202 {
		t.Errorf("status = %d, want 202", res.StatusCode)
	}
	if path := <-paths; path != "/Take" {
		t.Errorf("path = %s, want the envelope's", path)
	}
	if got := out.texts(); !slices.Equal(got, []string{"ewogICJhIjogMQp9"}) {
		t.Errorf("messages = %q, want an object with line breaks", got)
	}
}

func TestProxyStreams(t *testing.T) {
	release := make(chan struct{})
	a := newApp(t, proxying, map[string]string{"Stream": httpFunction("")}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "second\n")
	})
	h := a.start(a.config())
	res, err := http.Get(h.URL() + "/api/Stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	reader := bufio.NewReader(res.Body)
	if line, err := reader.ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("first line = %q, %v", line, err)
	}
	close(release)
	if line, err := reader.ReadString('\n'); err != nil || line != "second\n" {
		t.Errorf("second line = %q, %v", line, err)
	}
}

func TestRawFailure(t *testing.T) {
	for name, host := range map[string]string{"forwarding": forwarding, "proxying": proxying} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, host, map[string]string{"Dies": httpFunction("")}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(exitHeader, "0") })
			h := a.start(a.config())
			if res, _ := call(t, "GET", h.URL()+"/api/Dies", ""); res.StatusCode != 500 {
				t.Errorf("status = %d, want 500", res.StatusCode)
			}
			if i := a.invocation(); i.Err == nil {
				t.Errorf("invocation = %+v, want a failure", i)
			}
		})
	}
}

func TestRoutingAndKeys(t *testing.T) {
	a := newApp(t, proxying, map[string]string{
		"Open":    httpFunction(`, "authLevel": "anonymous", "methods": ["get", "POST"]`),
		"Default": httpFunction(""),
		"Admin":   httpFunction(`, "authLevel": "admin", "route": "manage"`),
		"Any":     httpFunction(`, "authLevel": "anonymous", "route": "items/{*rest}"`),
		"One":     httpFunction(`, "authLevel": "anonymous", "route": "items/{id}"`),
		"Number":  httpFunction(`, "authLevel": "anonymous", "route": "items/{id:int}"`),
		"Fixed":   httpFunction(`, "authLevel": "anonymous", "route": "items/all"`),
	}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	config := a.config()
	config.FunctionKey, config.AdminKey = "function-key", "admin-key"
	h := a.start(config)
	for _, tt := range []struct {
		name, method, path, key string
		status                  int
		function                string
	}{
		{"open", "GET", "/api/Open", "", 418, "Open"},
		{"second method", "POST", "/api/open", "", 418, "Open"},
		{"other method", "DELETE", "/api/Open", "", 404, ""},
		{"no key", "GET", "/api/Default", "", 401, ""},
		{"wrong key", "GET", "/api/Default", "x", 401, ""},
		{"function key", "GET", "/api/Default", "function-key", 418, "Default"},
		{"admin key opens functions", "GET", "/api/Default", "admin-key", 418, "Default"},
		{"key in the query", "GET", "/api/Default?code=function-key", "", 418, "Default"},
		{"function key at the admin level", "GET", "/api/manage", "function-key", 401, ""},
		{"admin key", "GET", "/api/manage", "admin-key", 418, "Admin"},
		{"name gives way to the route", "GET", "/api/Admin", "admin-key", 404, ""},
		{"without prefix", "GET", "/Open", "", 404, ""},
		{"HEAD that is not listed", "HEAD", "/api/Open", "", 404, ""},
		{"OPTIONS that is not listed", "OPTIONS", "/api/Open", "", 404, ""},
		{"closing slash", "GET", "/api/OPEN/", "", 418, "Open"},
		{"doubled slash", "GET", "/api//Open", "", 404, ""},
		{"doubled slash in a catch-all", "GET", "/api/items//x/y", "", 404, ""},
		{"dot segments", "GET", "/api/x/../Open", "", 418, "Open"},
		{"escaped dot segments", "GET", "/api/x/%2E%2e/%4Fpen", "", 418, "Open"},
		{"dots that leave the prefix", "GET", "/api/Open/../../Open", "", 404, ""},
		{"escaped admin", "GET", "/%61dmin/host/status", "function-key", 401, ""},
		{"literal first", "GET", "/api/items/all", "", 418, "Fixed"},
		{"then constraint", "GET", "/api/items/12", "", 418, "Number"},
		{"then parameter", "GET", "/api/items/x", "", 418, "One"},
		{"then catch-all", "GET", "/api/items/x/y", "", 418, "Any"},
		{"status without key", "GET", "/admin/host/status", "function-key", 401, ""},
		{"status", "GET", "/admin/host/status", "admin-key", 200, ""},
		{"functions", "GET", "/admin/functions", "admin-key", 200, ""},
		{"root", "GET", "/", "", 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			if tt.key != "" {
				headers = []string{"x-functions-key", tt.key}
			}
			if res, _ := call(t, tt.method, h.URL()+tt.path, "", headers...); res.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", res.StatusCode, tt.status)
			}
			if tt.function != "" {
				if i := a.invocation(); i.Function != tt.function {
					t.Errorf("function = %s, want %s", i.Function, tt.function)
				}
			}
		})
	}
	if len(a.done) != 0 {
		t.Errorf("%d more invocations than requests let in", len(a.done))
	}
}

func TestAdminRunsFunctions(t *testing.T) {
	got := make(chan received, 1)
	q := openQueue(t, azuritetest.UniqueName(t))
	a := newApp(t, "", map[string]string{"Tick": timerFunction(`"schedule": "0 0 0 1 1 *"`), "Work": q.function(), "Page": httpFunction("")},
		func(w http.ResponseWriter, r *http.Request) {
			got <- receive(t, r)
			succeed(w, r)
		})
	h := a.start(a.config())
	if res, _ := call(t, "POST", h.URL()+"/admin/functions/work", `{"input": "{\"tenant\":\"x\"}"}`); res.StatusCode != 202 {
		t.Errorf("status = %d, want 202", res.StatusCode)
	}
	if i := a.invocation(); i.Err != nil || i.Function != "Work" || i.Trigger != TriggerAdmin || i.Message != `{"tenant":"x"}` {
		t.Errorf("invocation = %+v", i)
	}
	if e := <-got; string(e.meta["tenant"]) != `"\"x\""` || string(e.data["message"]) != quoteJSON(quoteJSON(`{"tenant":"x"}`)) {
		t.Errorf("envelope = %s", e.body)
	}
	if res, _ := call(t, "POST", h.URL()+"/admin/functions/Tick", `{"input": ""}`); res.StatusCode != 202 {
		t.Errorf("status = %d, want 202", res.StatusCode)
	}
	a.invocation()
	if e := <-got; !strings.Contains(string(e.data["timer"]), `"IsPastDue":false`) || string(e.meta["timer"]) != `"\"\""` {
		t.Errorf("envelope = %s", e.body)
	}
	for path, want := range map[string]int{"/admin/functions/Page": 400, "/admin/functions/None": 404, "/admin/other": 404} {
		if res, _ := call(t, "POST", h.URL()+path, `{"input": ""}`); res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
	if err := h.Invoke(t.Context(), "Page", ""); err == nil {
		t.Error("an HTTP function was invoked without a request")
	}
	if err := h.Invoke(t.Context(), "None", ""); err == nil {
		t.Error("an unknown function was invoked")
	}
}
