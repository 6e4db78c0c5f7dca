package m365sim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v: %.200s", err, b)
	}
}

func TestFaults(t *testing.T) {
	s := start(t, m365sim.Config{})
	token := s.token(s.tenant, m365sim.GraphResource)
	users := func() (answer, error) {
		r, err := http.NewRequest(http.MethodGet, s.Graph+"/v1.0/users", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return s.send(r)
	}
	for _, tt := range []struct {
		name  string
		fault m365sim.Fault
		check func(a answer, err error) bool
	}{
		{"throttled", m365sim.Fault{Status: 429, RetryAfter: "2"}, func(a answer, err error) bool {
			code, _ := a.code()
			return a.status == 429 && a.header.Get("Retry-After") == "2" && code == "TooManyRequests"
		}},
		{"throttled without a hint", m365sim.Fault{Status: 503}, func(a answer, err error) bool {
			_, hint := a.header["Retry-After"]
			return a.status == 503 && !hint
		}},
		{"own error", m365sim.Fault{Status: 403, Code: "Own", Message: "words"}, func(a answer, err error) bool {
			code, message := a.code()
			return code == "Own" && message == "words"
		}},
		{"reset", m365sim.Fault{Reset: true}, func(a answer, err error) bool { return err != nil }},
		{"HTML", m365sim.Fault{HTML: true}, func(a answer, err error) bool {
			return a.status == 200 && strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
		}},
		{"half a page", m365sim.Fault{Truncate: true}, func(a answer, err error) bool {
			return err == nil && a.status == 200 && a.err == io.ErrUnexpectedEOF && len(a.body) > 0
		}},
		{"malformed", m365sim.Fault{Malformed: true}, func(a answer, err error) bool {
			return a.status == 200 && a.err == nil && !json.Valid(a.body) && strings.HasPrefix(string(a.body), "{")
		}},
		{"another service", m365sim.Fault{Service: "exchange", Status: 500}, func(a answer, err error) bool { return a.status == 200 }},
		{"another tenant", m365sim.Fault{Tenant: s.seed.Tenant(seed.Large).ID, Status: 500}, func(a answer, err error) bool { return a.status == 200 }},
		{"another path", m365sim.Fault{Path: regexp.MustCompile("/groups"), Status: 500}, func(a answer, err error) bool { return a.status == 200 }},
		{"another method", m365sim.Fault{Method: "POST", Status: 500}, func(a answer, err error) bool { return a.status == 200 }},
		{"delay", m365sim.Fault{Delay: time.Microsecond}, func(a answer, err error) bool { return a.status == 200 }},
	} {
		s.AddFault(tt.fault)
		a, err := users()
		if !tt.check(a, err) {
			t.Errorf("%s: %d %v %v %.80s", tt.name, a.status, err, a.err, a.body)
		}
		s.ClearFaults()
	}
	s.AddFault(m365sim.Fault{Status: 500, Skip: 1, Count: 2})
	var got []int
	for range 4 {
		a, _ := users()
		got = append(got, a.status)
	}
	if got[0] != 200 || got[1] != 500 || got[2] != 500 || got[3] != 200 {
		t.Errorf("skip one and hit two: %v", got)
	}
	s.AddFault(m365sim.Fault{ExpireToken: true, Count: 1})
	if a, _ := users(); a.status != 401 {
		t.Errorf("expired under way: %d", a.status)
	}
	if a, _ := users(); a.status != 401 {
		t.Errorf("the revoked token still works: %d", a.status)
	}
	s.noViolations()
}

func TestHang(t *testing.T) {
	s := start(t, m365sim.Config{})
	hit := make(chan struct{})
	s.AddFault(m365sim.Fault{Service: "graph", Hang: true, Count: 1, OnHit: func() { close(hit) }})
	go func() {
		<-hit
		s.ClearFaults()
	}()
	resp, err := http.Get(s.Graph + "/v1.0/users")
	if err == nil {
		resp.Body.Close()
		t.Error("a call that hangs was answered")
	}
}

func TestLatency(t *testing.T) {
	s := start(t, m365sim.Config{})
	s.SetLatency(time.Hour)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Graph+"/v1.0/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 20 * time.Millisecond}
	if resp, err := client.Do(r); err == nil {
		resp.Body.Close()
		t.Error("a call was answered at once")
	}
	if len(s.Calls()) != 0 {
		t.Errorf("a call that never arrived was counted: %v", s.Calls())
	}
}
