package customhandler

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func endGoroutine() { runtime.Goexit() }

// seen is what a handler saw of a request.
type seen struct {
	Method, Path, Query, Host, Body string
	Header                          map[string][]string
	Params                          map[string]string
}

// echo answers with what it saw.
func echo(params ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		v := seen{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Body: string(body),
			Header: map[string][]string{}, Params: map[string]string{}}
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Test") {
				v.Header[name] = values
			}
		}
		for _, p := range params {
			v.Params[p] = r.PathValue(p)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Add("X-Answer", "one")
		w.Header().Add("X-Answer", "two")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(v)
	})
}

func newHTTPServer(c Deps) (*Server, *logBuffer) {
	s, log := newServer(c)
	s.HTTP("Console", "ninjaone/console/{*path}", echo("path"))
	s.HTTP("ReceiveNotifications", "ninjaone/notifications", echo())
	return s, log
}

func TestRawRequests(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		want                     seen
	}{
		{"literal route", "POST", "/api/ninjaone/notifications?validationToken=a%20b", `{"value":[]}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Query: "validationToken=a%20b", Body: `{"value":[]}`}},
		{"route in another case", "POST", "/API/NinjaOne/Notifications", "",
			seen{Method: "POST", Path: "/API/NinjaOne/Notifications"}},
		{"trailing slash", "GET", "/api/ninjaone/notifications/", "",
			seen{Method: "GET", Path: "/api/ninjaone/notifications/"}},
		{"rest", "GET", "/api/ninjaone/console/assets/Style.css", "",
			seen{Method: "GET", Path: "/api/ninjaone/console/assets/Style.css", Params: map[string]string{"path": "assets/Style.css"}}},
		{"empty rest", "GET", "/api/ninjaone/console", "",
			seen{Method: "GET", Path: "/api/ninjaone/console", Params: map[string]string{"path": ""}}},
		{"rest with an escape", "DELETE", "/api/ninjaone/Console/a%3Fb%20c/", "x",
			seen{Method: "DELETE", Path: "/api/ninjaone/Console/a?b c/", Body: "x", Params: map[string]string{"path": "a?b c"}}},
	}
	s, _ := newHTTPServer(Deps{})
	base := start(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := do(t, tt.method, base+tt.path, strings.NewReader(tt.body), "X-Test", "yes")
			if res.StatusCode != http.StatusAccepted {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			var got seen
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			tt.want.Host = strings.TrimPrefix(base, "http://")
			tt.want.Header = map[string][]string{"X-Test": {"yes"}}
			if tt.want.Params == nil {
				tt.want.Params = map[string]string{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRawBodyLimit(t *testing.T) {
	s, _ := newHTTPServer(Deps{MaxBody: 10})
	res, _ := do(t, http.MethodPost, start(t, s)+"/api/ninjaone/notifications", strings.NewReader("more than ten bytes"))
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestRawAnswerStreams(t *testing.T) {
	s, _ := newServer(Deps{})
	goOn := make(chan struct{})
	s.HTTP("Stream", "stream", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		<-goOn
		_, _ = io.WriteString(w, " second")
	}))
	res, err := http.Get(start(t, s) + "/api/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	part := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, part); err != nil || string(part) != "first" {
		t.Fatalf("%q, %v", part, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != " second" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestRawPanicAfterHalfAnAnswer(t *testing.T) {
	s, log := newServer(Deps{})
	s.HTTP("Half", "half", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("no such index")
	}))
	res, err := http.Get(start(t, s) + "/api/half")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half an answer looks whole")
	}
	if !strings.Contains(log.String(), "no such index") {
		t.Errorf("the log does not name the panic: %s", log)
	}
}

func TestEnvelopedRequests(t *testing.T) {
	pdf := "\x00\x01binary\xff"
	tests := []struct {
		name, function, req string
		want                seen
	}{
		{
			"as the host's source encodes it", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications?validationToken=a%20b","Method":"POST","Query":{"validationToken":"a b"},
			  "Headers":{"Host":["app.example"],"Content-Type":["application/json"],"X-Test":["one","two"],"Content-Length":["12"]},"Params":{},"Identities":[],"Body":"{\"value\":[]}"}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Query: "validationToken=a%20b", Host: "app.example", Body: `{"value":[]}`,
				Header: map[string][]string{"X-Test": {"one", "two"}}},
		},
		{
			"as the documentation shows it", "ReceiveNotifications",
			`{"Url":"http://localhost:7071/api/ninjaone/notifications","Method":"GET","Query":"{}","Headers":"{\"X-Test\":\"one\"}","Params":"{}"}`,
			seen{Method: "GET", Path: "/api/ninjaone/notifications", Host: "localhost:7071", Header: map[string][]string{"X-Test": {"one"}}},
		},
		{
			"the request in a string", "ReceiveNotifications",
			`"{\"Url\":\"https://app.example/api/ninjaone/notifications\",\"Method\":\"GET\"}"`,
			seen{Method: "GET", Path: "/api/ninjaone/notifications", Host: "app.example"},
		},
		{
			"query only as a map", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"GET","Query":{"b":"2 3","a":"1"}}`,
			seen{Method: "GET", Path: "/api/ninjaone/notifications", Query: "a=1&b=2+3", Host: "app.example"},
		},
		{
			"parameters from the path", "Console",
			`{"Url":"https://app.example/api/ninjaone/console/a/B%20c","Method":"GET","Params":{"path":"ignored"}}`,
			seen{Method: "GET", Path: "/api/ninjaone/console/a/B c", Host: "app.example", Params: map[string]string{"path": "a/B c"}},
		},
		{
			"parameters from Params behind a rewritten path", "Console",
			`{"Url":"https://app.example/outer/console","Method":"GET","Params":{"path":"a/b"}}`,
			seen{Method: "GET", Path: "/outer/console", Host: "app.example", Params: map[string]string{"path": "a/b"}},
		},
		{
			"header value with quotes of its own", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"GET","Headers":{"X-Test":["\"etag\""]}}`,
			seen{Method: "GET", Path: "/api/ninjaone/notifications", Host: "app.example", Header: map[string][]string{"X-Test": {`"etag"`}}},
		},
		{
			"body is a JSON string", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"POST","Body":"\"hello\""}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Host: "app.example", Body: `"hello"`},
		},
		{
			"body as JSON", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"POST","Body":{"value":[]}}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Host: "app.example", Body: `{"value":[]}`},
		},
		{
			"body in base64", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"POST","Headers":{"content-type":["application/octet-stream"]},"Body":"` + base64.StdEncoding.EncodeToString([]byte(pdf)) + `"}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Host: "app.example", Body: strings.ToValidUTF8(pdf, "\ufffd")},
		},
		{
			"text that looks like base64", "ReceiveNotifications",
			`{"Url":"https://app.example/api/ninjaone/notifications","Method":"POST","Headers":{"Content-Type":["text/plain"]},"Body":"abcd1234"}`,
			seen{Method: "POST", Path: "/api/ninjaone/notifications", Host: "app.example", Body: "abcd1234"},
		},
	}
	s, _ := newHTTPServer(Deps{})
	base := start(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := do(t, http.MethodPost, base+"/"+tt.function, strings.NewReader(`{"Data":{"req":`+tt.req+`},"Metadata":{}}`))
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			var answer struct {
				Outputs struct {
					Res struct {
						StatusCode, Body string
						Headers          map[string]string
					}
				}
				Logs        []string
				ReturnValue any
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if out := answer.Outputs.Res; out.StatusCode != "202" || out.Headers["Content-Type"] != "application/json" || out.Headers["X-Answer"] != "one, two" {
				t.Errorf("answer: %+v", out)
			}
			if answer.Logs == nil {
				t.Error("Logs must be an array")
			}
			var got seen
			if err := json.Unmarshal([]byte(answer.Outputs.Res.Body), &got); err != nil {
				t.Fatal(err)
			}
			if tt.want.Header == nil {
				tt.want.Header = map[string][]string{}
			}
			if tt.want.Params == nil {
				tt.want.Params = map[string]string{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvelopedAnswers(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		want    string
	}{
		{"nothing written", func(http.ResponseWriter, *http.Request) {}, 200,
			`{"Outputs":{"res":{"statusCode":"200","body":"","headers":{}}},"Logs":[],"ReturnValue":null}`},
		{"an error status is an answer", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, 200,
			`{"Outputs":{"res":{"statusCode":"500","body":"no\n","headers":{"Content-Type":"text/plain; charset=utf-8","X-Content-Type-Options":"nosniff"}}},"Logs":[],"ReturnValue":null}`},
		{"content type found out", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, 200,
			`{"Outputs":{"res":{"statusCode":"200","body":"hello","headers":{"Content-Type":"text/plain; charset=utf-8"}}},"Logs":[],"ReturnValue":null}`},
		{"early hints do not count", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		}, 200, `{"Outputs":{"res":{"statusCode":"204","body":"","headers":{}}},"Logs":[],"ReturnValue":null}`},
		{"binary", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0xfe}) }, 500,
			`{"error":"the invocation failed; the log says why"}`},
		{"panic", func(http.ResponseWriter, *http.Request) { panic("no such index") }, 500,
			`{"error":"the invocation failed; the log says why"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newServer(Deps{})
			s.HTTP("F", "f", tt.handler)
			res, body := do(t, http.MethodPost, start(t, s)+"/F", strings.NewReader(`{"Data":{"req":{"Url":"https://app.example/api/f","Method":"GET"}}}`))
			if res.StatusCode != tt.status || body != tt.want {
				t.Errorf("%d %s\nwant %d %s", res.StatusCode, body, tt.status, tt.want)
			}
			checkJSON(t, res.Header, body)
		})
	}
}

func TestLogLevelAndGroups(t *testing.T) {
	log := &logBuffer{}
	logger := NewLogger(log, slog.LevelWarn)
	ctx := WithAttrs(WithAttrs(t.Context(), slog.String("function", "F")), slog.Int("organization", 7))
	logger.InfoContext(ctx, "hidden")
	logger.With("tenant", "fabrikam.example").WarnContext(ctx, "line\nbreak")
	logger.ErrorContext(t.Context(), "bare")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), log)
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	delete(first, "time")
	want := map[string]any{"level": "WARN", "msg": "line\nbreak", "tenant": "fabrikam.example", "function": "F", "organization": 7.0}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if strings.Contains(lines[1], "function") {
		t.Errorf("a line without invocation: %s", lines[1])
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"x"`, `{"Data":{}}`, `{"Data":null,"Metadata":null}`,
		`{"Data":{"m":"\"{\\\"tenantId\\\":\\\"a\\\"}\""},"Metadata":{"DequeueCount":"1","Id":"\"6a1c\"","sys":{}}}`,
		`{"Data":{"m":{"tenantId":"a"}},"Metadata":{"DequeueCount":1}}`,
		`{"Data":{"t":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"0001-01-01T00:00:00"},"IsPastDue":false}}}`,
		`{"Data":{"req":{"Url":"https://app.example/api/h/x?y=z","Method":"POST","Query":{"y":"z"},"Headers":{"Content-Type":["text/plain"]},"Params":{"p":"x"},"Body":"abcd"}}}`,
		`{"Data":{"req":{"Url":"//","Method":"","Headers":[1],"Query":"{","Body":{}}}}`,
		`{"Data":{"m":"\ud800"}}`, `{"Data":{"m":"\"`, `{"data":{"M":1},"DATA":{"n":2}}`,
	} {
		f.Add([]byte(body))
	}
	s, _ := newServer(Deps{})
	s.Timer("T", 0, func(context.Context) error { return nil })
	s.Queue("Q", 0, func(_ context.Context, m QueueMessage) error {
		if m.DequeueCount < 0 {
			return fmt.Errorf("dequeue count %d", m.DequeueCount)
		}
		return BadMessage("no retry helps")
	})
	s.HTTP("H", "h/{*p}", echo("p"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, name := range []string{"T", "Q", "H"} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/"+name, strings.NewReader(string(body))))
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
				t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
			}
			checkJSON(t, w.Header(), w.Body.String())
		}
	})
}
