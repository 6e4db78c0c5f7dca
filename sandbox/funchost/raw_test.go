package funchost

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// styles are the two ways in which a host passes HTTP on as it is, with the same
// host.json as the bundle's.
var styles = map[string]bool{"proxying": false, "forwarding": true}

// httpFunction is an HTTP function; more is put into its trigger.
func httpFunction(more string) string {
	return `{"bindings": [{"type": "httpTrigger", "name": "req", "direction": "in", "authLevel": "anonymous"` + more + `}, {"type": "http", "name": "res", "direction": "out"}]}`
}

// rawApp runs one HTTP function in a style; what its handler got comes out of
// the channel.
func rawApp(t *testing.T, noProxying bool, answer http.HandlerFunc, change ...func(*Config)) (*app, *Host, chan seen) {
	t.Helper()
	got := make(chan seen, 100)
	a := newApp(t, "", map[string]string{"Console": httpFunction(`, "route": "console/{*path}"`)},
		func(w http.ResponseWriter, r *http.Request) {
			var s seen
			if err := json.Unmarshal([]byte(r.Header.Get(seenHeader)), &s); err != nil {
				t.Error(err)
			}
			got <- s
			answer(w, r)
		})
	config := a.config()
	config.NoProxying = noProxying
	for _, c := range change {
		c(&config)
	}
	return a, a.start(config), got
}

// send writes a request byte for byte and returns the answer.
func send(t *testing.T, h *Host, lines ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL(), "http://"))
	must(t, err)
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer res.Body.Close()
	return res, readAll(t, res.Body)
}

// TestRawHeaders holds what reaches the handler to the recordings of the real
// host, header by header.
func TestRawHeaders(t *testing.T) {
	for style, noProxying := range styles {
		t.Run(style, func(t *testing.T) {
			a, h, got := rawApp(t, noProxying, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.Header().Add("Set-Cookie", "a=1")
				w.Header().Add("Set-Cookie", "b=2")
				w.WriteHeader(http.StatusFound)
				_, _ = io.WriteString(w, "moved")
			})
			res, body := send(t, h, "PUT /api/console/x?a=1&b=3&a=2 HTTP/1.1", "Host: portal.example:8443", "User-Agent: tester/1",
				"Cookie: c=3", "Cookie: d=4", "X-Twice: 1", "X-Twice: 2", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https",
				"X-Forwarded-Prefix: /p", "X-Forwarded-Port: 99", "X-Real-Ip: 203.0.113.9", "X-Original-Host: evil.example", "Forwarded: for=203.0.113.9",
				"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Azure-Functions-HostVersion: 9", "X-Azure-Functions-InvocationId: fake",
				"X-Ms-Invocation-Id: mine", "Connection: keep-alive", "Keep-Alive: timeout=5", "Te: trailers", "Upgrade-Insecure-Requests: 1",
				"Content-Type: text/x-test", "Content-Encoding: gzip", "Content-Language: de", "Expires: never", "Content-Length: 7", "", "content")
			if res.StatusCode != 302 || body != "moved" || res.Header.Get("Location") != "/elsewhere" || len(res.Header.Values("Set-Cookie")) != 2 {
				t.Errorf("answer = %d %v %q", res.StatusCode, res.Header, body)
			}
			i := a.invocation()
			if i.Err != nil {
				t.Errorf("invocation = %+v, want success for any status", i)
			}
			want := map[string]string{
				"User-Agent": "tester/1 Azure-Functions-Host/4.1037.0.0", "Cookie": "c=3; d=4", "X-Twice": "1, 2",
				"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/p",
				"X-Forwarded-Port": "99", "X-Real-Ip": "203.0.113.9", "X-Original-Host": "evil.example", "Forwarded": "for=203.0.113.9",
				"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Azure-Functions-Hostversion": "9, 4.1037.0.0",
				"X-Azure-Functions-Invocationid": "fake, " + i.ID, "X-Ms-Invocation-Id": "mine", "Connection": "keep-alive", "Keep-Alive": "timeout=5",
				"Te": "trailers", "Upgrade-Insecure-Requests": "1", "Content-Type": "text/x-test", "Content-Length": "7",
			}
			host, uri := "portal.example:8443", "/api/console/x?a=1,2&b=3"
			if !noProxying {
				host, uri = fmt.Sprintf("127.0.0.1:%d", h.worker.port), "/api/console/x?a=1&b=3&a=2"
				for _, gone := range []string{"X-Forwarded-Prefix", "Forwarded", "Connection", "Keep-Alive", "Te", "Upgrade-Insecure-Requests"} {
					delete(want, gone)
				}
				for name, value := range map[string]string{"User-Agent": "tester/1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "portal.example:8443",
					"X-Forwarded-Proto": "http", "X-Azure-Functions-Hostversion": "4.1037.0.0", "X-Azure-Functions-Invocationid": i.ID,
					"Content-Encoding": "gzip", "Content-Language": "de", "Expires": "never"} {
					want[name] = value
				}
			}
			r := <-got
			if r.Method != "PUT" || r.URI != uri || r.Host != host || r.Length != 7 {
				t.Errorf("request = %s %s to %s with %d bytes", r.Method, r.URI, r.Host, r.Length)
			}
			for name, value := range want {
				if !slices.Equal(r.Header.Values(name), []string{value}) {
					t.Errorf("header %s = %q, want %q", name, r.Header.Values(name), value)
				}
			}
			for name := range r.Header {
				if want[name] == "" {
					t.Errorf("header %s = %q, want none", name, r.Header[name])
				}
			}
		})
	}
}

// TestRawInvocationID: proxying adds x-ms-invocation-id where the client sent
// none, forwarding does not, and each needs no User-Agent.
func TestRawInvocationID(t *testing.T) {
	for style, noProxying := range styles {
		t.Run(style, func(t *testing.T) {
			_, h, got := rawApp(t, noProxying, succeed)
			send(t, h, "GET /api/console HTTP/1.1", "Host: localhost", "", "")
			r := <-got
			if _, added := r.Header["X-Ms-Invocation-Id"]; added == noProxying {
				t.Errorf("x-ms-invocation-id = %q", r.Header["X-Ms-Invocation-Id"])
			}
			agent := map[bool][]string{true: {productToken}, false: nil}[noProxying]
			if !slices.Equal(r.Header.Values("User-Agent"), agent) {
				t.Errorf("User-Agent = %q, want %q", r.Header.Values("User-Agent"), agent)
			}
		})
	}
}

func TestRawAddresses(t *testing.T) {
	tests := map[string]struct{ sent, forwarded, proxied string }{
		"closing slash and case": {"/API/Console/", "/API/Console/", "/API/Console/"},
		"needless escapes":       {"/api/console/%54est%2B%7E", "/api/console/Test+~", "/api/console/Test+~"},
		"needed escapes":         {"/api/console/a%20b%25%C3%A9%3F", "/api/console/a%20b%25%C3%A9%3F", "/api/console/a%20b%25%C3%A9%3F"},
		"slash":                  {"/api/console/a%2Fb%2fc", "/api/console/a%2Fb%2fc", "/api/console/a%252Fb%252fc"},
		"dot segments":           {"/api/x/../console/./a/%2e%2E/b", "/api/console/b", "/api/console/b"},
		"dots at the end":        {"/api/console/a/..", "/api/console/", "/api/console/"},
		"above the root":         {"/../api/console", "/api/console", "/api/console"},
		"not UTF-8":              {"/api/console/%FF", "/api/console/%FF", "/api/console/%25FF"},
		"query":                  {"/api/console?a=1&A=2&d&e=x+y&f=%26%3D&g=%C3%A9", "/api/console?a=1,2&d=&e=x%20y&f=%26%3D&g=%C3%A9", "/api/console?a=1&A=2&d&e=x+y&f=%26%3D&g=%C3%A9"},
	}
	for style, noProxying := range styles {
		t.Run(style, func(t *testing.T) {
			_, h, got := rawApp(t, noProxying, succeed)
			for name, tt := range tests {
				if res, _ := send(t, h, "GET "+tt.sent+" HTTP/1.1", "Host: localhost", "", ""); res.StatusCode != 200 {
					t.Errorf("%s: status %d", name, res.StatusCode)
					continue
				}
				want := tt.proxied
				if noProxying {
					want = tt.forwarded
				}
				if r := <-got; r.URI != want {
					t.Errorf("%s: %s arrives as %s, want %s", name, tt.sent, r.URI, want)
				}
			}
			for _, path := range []string{"/api//console", "/api/console//a"} {
				if res, _ := send(t, h, "GET "+path+" HTTP/1.1", "Host: localhost", "", ""); res.StatusCode != 404 {
					t.Errorf("%s: status %d, want 404", path, res.StatusCode)
				}
			}
			if len(got) != 0 {
				t.Errorf("the handler got %d more requests", len(got))
			}
		})
	}
}

func TestRawBodies(t *testing.T) {
	for style, noProxying := range styles {
		t.Run(style, func(t *testing.T) {
			_, h, got := rawApp(t, noProxying, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
				func(c *Config) {
					c.BodyStall = 50 * time.Millisecond
					c.Settings["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] = "10"
				})
			answers := func(name string, status int, body string, called bool, lines ...string) seen {
				t.Helper()
				res, text := send(t, h, lines...)
				if res.StatusCode != status || text != body || len(got) == 1 != called {
					t.Errorf("%s: answered %d %q, the handler called %t, want %d %q and %t", name, res.StatusCode, text, len(got) == 1, status, body, called)
				}
				select {
				case r := <-got:
					return r
				default:
					return seen{}
				}
			}
			const post, host = "POST /api/console HTTP/1.1", "Host: localhost"
			answers("GET with a body", 200, "abc", true, "GET /api/console HTTP/1.1", host, "Content-Length: 3", "", "abc")
			r := answers("POST without a body", 200, "", true, post, host, "Content-Type: text/plain", "Content-Length: 0", "", "")
			if r.Length != 0 || r.Chunked || (r.Header.Get("Content-Type") == "") != noProxying {
				t.Errorf("a POST without a body arrives as %+v", r)
			}
			chunks := []string{post, host, "Transfer-Encoding: chunked", "", "3", "abc", "0", "", ""}
			if noProxying {
				answers("chunked", 500, "", false, chunks...)
			} else if r := answers("chunked", 200, "abc", true, chunks...); !r.Chunked {
				t.Error("a chunked body arrived with a length")
			}
			answers("too long", 500, "", false, post, host, "Content-Length: 11", "", "abc")
			answers("stands still", 500, "", false, post, host, "Content-Length: 5", "", "a")
			answers("a value beyond ASCII", 500, "", false, "GET /api/console HTTP/1.1", host, "X-Name: J\u00fcrgen", "", "")
		})
	}
}

func TestRawFailure(t *testing.T) {
	for style, noProxying := range styles {
		t.Run(style, func(t *testing.T) {
			a, h, _ := rawApp(t, noProxying, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(exitHeader, "0") })
			if res, _ := call(t, "GET", h.URL()+"/api/console", ""); res.StatusCode != 500 {
				t.Errorf("status = %d, want 500", res.StatusCode)
			}
			if i := a.invocation(); i.Err == nil {
				t.Errorf("invocation = %+v, want a failure", i)
			}
		})
	}
}

func TestRouting(t *testing.T) {
	a := newApp(t, "", map[string]string{
		"Open":  httpFunction(`, "methods": ["get", "POST"]`),
		"Named": httpFunction(`, "route": "manage"`),
		"Any":   httpFunction(`, "route": "items/{*rest}"`),
	}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := a.start(a.config())
	for _, tt := range []struct {
		name, method, path string
		function           string // empty: 404
	}{
		{"open", "GET", "/api/Open", "Open"},
		{"second method", "POST", "/api/open", "Open"},
		{"other method", "DELETE", "/api/Open", ""},
		{"route", "GET", "/api/Manage", "Named"},
		{"name gives way to the route", "GET", "/api/Named", ""},
		{"longer than the route", "GET", "/api/manage/1", ""},
		{"without prefix", "GET", "/Open", ""},
		{"HEAD that is not listed", "HEAD", "/api/Open", ""},
		{"closing slash", "GET", "/api/OPEN/", "Open"},
		{"doubled slash", "GET", "/api//Open", ""},
		{"doubled slash in a catch-all", "GET", "/api/items//x/y", ""},
		{"dot segments", "GET", "/api/x/../Open", "Open"},
		{"escaped dot segments", "GET", "/api/x/%2E%2e/%4Fpen", "Open"},
		{"dots that leave the prefix", "GET", "/api/Open/../../Open", ""},
		{"catch-all", "GET", "/api/items/x/y", "Any"},
		{"catch-all of nothing", "GET", "/api/items", "Any"},
	} {
		res, _ := call(t, tt.method, h.URL()+tt.path, "")
		if (res.StatusCode == http.StatusTeapot) != (tt.function != "") || tt.function == "" && res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", tt.name, res.StatusCode)
		} else if tt.function != "" {
			if i := a.invocation(); i.Function != tt.function {
				t.Errorf("%s: function = %s, want %s", tt.name, i.Function, tt.function)
			}
		}
	}
	if len(a.done) != 0 {
		t.Errorf("%d more invocations than requests let in", len(a.done))
	}
}
