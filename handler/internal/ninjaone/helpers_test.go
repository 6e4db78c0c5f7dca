package ninjaone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const (
	testClientID = "client-of-contoso-msp"
	testSecret   = "s3cr&t of/contoso+"
)

// fakeNinja is the least that a client needs to talk to: a token endpoint, and
// API handlers that are reached with a valid token only.
type fakeNinja struct {
	t   *testing.T
	api http.HandlerFunc // paths without /api

	mu        sync.Mutex
	secret    string
	expiresIn int
	token     string // the only valid one
	issued    int
	calls     []string // "METHOD path?query" of API calls
	onToken   http.HandlerFunc
}

func newFake(t *testing.T, api http.HandlerFunc) *fakeNinja {
	return &fakeNinja{t: t, api: api, secret: testSecret, expiresIn: 3600}
}

func (f *fakeNinja) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ws/oauth/token" {
		f.serveToken(w, r)
		return
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+r.URL.RequestURI())
	valid := f.token != "" && r.Header.Get("Authorization") == "Bearer "+f.token
	f.mu.Unlock()
	if !valid {
		answer(w, 401, `{"error":"not_authenticated","error_code":10}`)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api")
	if !ok {
		f.t.Errorf("path %s is outside /api", r.URL.Path)
	}
	r.URL.Path = path
	f.api(w, r)
}

func (f *fakeNinja) serveToken(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onToken != nil {
		f.onToken(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Errorf("token request: %v", err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if err := r.ParseForm(); err != nil {
		f.t.Errorf("token request: %v", err)
	}
	if _, _, basic := r.BasicAuth(); basic {
		f.t.Error("credentials went into the Authorization header")
	}
	if r.Method != http.MethodPost || r.PostForm.Get("grant_type") != "client_credentials" ||
		r.PostForm.Get("scope") != "monitoring management" || r.URL.RawQuery != "" {
		f.t.Errorf("token request %s %s %v", r.Method, r.URL, r.PostForm)
	}
	if r.PostForm.Get("client_id") != testClientID {
		answer(w, 404, `{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-1"}`)
		return
	}
	if r.PostForm.Get("client_secret") != f.secret {
		answer(w, 401, `{"error":"invalid_client","error_description":"bad secret `+r.PostForm.Get("client_secret")+` of `+testClientID+`"}`)
		return
	}
	f.issued++
	f.token = fmt.Sprintf("token-%d", f.issued)
	answer(w, 200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d,"scope":"monitoring management"}`, f.token, f.expiresIn))
}

func (f *fakeNinja) tokens() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.issued
}

func (f *fakeNinja) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// answer writes a JSON answer.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// page writes an HTML answer.
func page(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func goodSecret(context.Context, bool) (string, error) { return testSecret, nil }

// serve starts the fake as a real HTTP server and returns a client of it, with
// no limit of rate.
func serve(t *testing.T, h http.Handler, change ...func(*Deps)) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return newClient(t, func(d *Deps) { d.Endpoint = server.URL }, change...)
}

// inProcess returns a client whose requests reach the handler without a
// network, so that time can be simulated around it.
func inProcess(t *testing.T, h http.Handler, change ...func(*Deps)) *Client {
	t.Helper()
	return newClient(t, func(d *Deps) { d.Transport = handlerTransport{h} }, change...)
}

// testDeps are those of a client that meets no limit.
func testDeps() Deps {
	return Deps{
		Instance: "eu.ninjarmm.com", ClientID: testClientID, Secret: goodSecret, Rate: math.Inf(1), Gate: NewGate(),
		Meter: Unmetered{}, Transport: http.DefaultTransport, Log: slog.New(slog.DiscardHandler),
	}
}

// atRate are testDeps with a limit.
func atRate(perSecond float64, g *Gate) Deps {
	d := testDeps()
	d.Rate, d.Gate = perSecond, g
	return d
}

func newClient(t *testing.T, first func(*Deps), change ...func(*Deps)) *Client {
	t.Helper()
	d := testDeps()
	for _, f := range append([]func(*Deps){first}, change...) {
		f(&d)
	}
	c, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type handlerTransport struct{ h http.Handler }

func (tr handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	tr.h.ServeHTTP(rec, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// get makes a GET that expects a JSON list.
func get(ctx context.Context, c *Client) error {
	return call(ctx, c, http.MethodGet, into(new([]json.RawMessage), decodeList[json.RawMessage]))
}

func call(ctx context.Context, c *Client, method string, decode func(*json.Decoder) error) error {
	r := newRequest(method, "/v2/thing/{id}", []any{7}, nil, nil)
	return c.do(ctx, r, decode)
}
