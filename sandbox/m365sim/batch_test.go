package m365sim_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
)

type part struct {
	ID      string
	Status  int
	Headers map[string]string
	Body    map[string]any
}

func (s *sim) batch(body string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, s.Graph+"/v1.0/$batch", s.token(s.tenant, m365sim.GraphResource), body,
		append([]string{"Content-Type", "application/json"}, headers...)...)
}

func parts(t *testing.T, a answer) map[string]part {
	t.Helper()
	var v struct{ Responses []part }
	if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
		t.Fatalf("answered %d: %v: %.300s", a.status, err, a.body)
	}
	out := map[string]part{}
	for _, p := range v.Responses {
		out[p.ID] = p
	}
	return out
}

func TestBatch(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 5})
	s.AddFault(m365sim.Fault{Path: regexp.MustCompile("/devices$"), Status: 429, RetryAfter: "3", Count: 1})
	s.tenant.Deny("Policy.Read.All")
	body := `{"requests":[
		{"id":"a","method":"GET","url":"/organization?$select=id"},
		{"id":"b","method":"GET","url":"users?$top=999&$select=id"},
		{"id":"c","method":"GET","url":"/devices"},
		{"id":"d","method":"GET","url":"/identity/conditionalAccess/policies"},
		{"id":"e","method":"GET","url":"/reports/getMailboxUsageDetail(period='D7')"},
		{"id":"f","method":"GET","url":"/organization","dependsOn":["d"]},
		{"id":"g","method":"GET","url":"/users?$count=true&$top=2","headers":{"ConsistencyLevel":"eventual"}}]}`
	got := parts(t, s.batch(body))
	for id, want := range map[string]int{"a": 200, "b": 200, "c": 429, "d": 403, "e": 302, "f": 424, "g": 200} {
		if got[id].Status != want {
			t.Errorf("part %s: %d, want %d: %v", id, got[id].Status, want, got[id].Body)
		}
	}
	if got["c"].Headers["Retry-After"] != "3" || !strings.HasPrefix(got["e"].Headers["Location"], s.Download) {
		t.Errorf("headers of the parts: %v %v", got["c"].Headers, got["e"].Headers)
	}
	next, _ := got["b"].Body["@odata.nextLink"].(string)
	if !strings.HasPrefix(next, s.Graph+"/v1.0/users?") {
		t.Fatalf("next link of a part: %q", next)
	}
	again := parts(t, s.batch(fmt.Sprintf(`{"requests":[{"id":"1","method":"GET","url":%q}]}`, strings.TrimPrefix(next, s.Graph+"/v1.0"))))
	if again["1"].Status != 200 {
		t.Errorf("the next page in a batch: %v", again["1"])
	}
	if calls := s.Calls(); calls["graph POST /v1.0/$batch"] != 2 || calls["part GET /v1.0/users"] != 3 || calls["graph GET /v1.0/users"] != 0 {
		t.Errorf("calls: %v", calls)
	}
	s.noViolations()
}

func TestCompressedBatch(t *testing.T) {
	s := start(t, m365sim.Config{})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte(`{"requests":[{"id":"1","method":"GET","url":"/domains"}]}`))
	w.Close()
	if got := parts(t, s.batch(z.String(), "Content-Encoding", "gzip")); got["1"].Status != 200 {
		t.Errorf("answered %v", got)
	}
}

func TestRefusedBatches(t *testing.T) {
	s := start(t, m365sim.Config{})
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf(`{"id":"%d","method":"GET","url":"/domains"}`, i))
	}
	for name, body := range map[string]string{
		"too many":             `{"requests":[` + strings.Join(many, ",") + `]}`,
		"none":                 `{"requests":[]}`,
		"equal ids":            `{"requests":[{"id":"a","method":"GET","url":"/domains"},{"id":"A","method":"GET","url":"/domains"}]}`,
		"no id":                `{"requests":[{"method":"GET","url":"/domains"}]}`,
		"no method":            `{"requests":[{"id":"1","url":"/domains"}]}`,
		"absolute url":         `{"requests":[{"id":"1","method":"GET","url":"https://graph.microsoft.com/v1.0/domains"}]}`,
		"batch in a batch":     `{"requests":[{"id":"1","method":"POST","url":"/$batch"}]}`,
		"body without a type":  `{"requests":[{"id":"1","method":"POST","url":"/groups","body":{}}]}`,
		"token in a part":      `{"requests":[{"id":"1","method":"GET","url":"/domains","headers":{"authorization":"x"}}]}`,
		"unknown member":       `{"requests":[{"id":"1","method":"GET","uri":"/domains"}]}`,
		"depends on a later":   `{"requests":[{"id":"1","method":"GET","url":"/domains","dependsOn":["2"]}]}`,
		"no JSON":              `requests`,
		"more than one object": `{"requests":[{"id":"1","method":"GET","url":"/domains"}]}{}`,
	} {
		if a := s.batch(body); a.status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, a.status)
		}
		s.violated()
	}
	if a := s.batch("{}", "Content-Type", "text/plain"); a.status != http.StatusBadRequest {
		t.Errorf("wrong type: answered %d", a.status)
	}
	s.violated()
	// A version in a part's url is a path of its own.
	if got := parts(t, s.batch(`{"requests":[{"id":"1","method":"GET","url":"/v1.0/domains"}]}`)); got["1"].Status != 404 {
		t.Errorf("url with a version: %v", got["1"])
	}
	s.violated()
}
