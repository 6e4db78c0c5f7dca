package customhandler

import (
	"context"
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
	s, _ := newServer(Deps{})
	s.HTTP("Console", "ninjaone/console/{*path}", echo("path"))
	s.HTTP("ReceiveNotifications", "ninjaone/notifications", echo())
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
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, name := range []string{"T", "Q"} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/"+name, strings.NewReader(string(body))))
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
				t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
			}
			checkJSON(t, w.Header(), w.Body.String())
		}
	})
}
