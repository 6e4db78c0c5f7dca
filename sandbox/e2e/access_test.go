package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/funchost"
)

// TestWhoIsLetIn calls the bundle as the internet, the neighbours and a browser
// would, while the host proxies and while it forwards.
func TestWhoIsLetIn(t *testing.T) {
	for style, older := range map[string]bool{"proxying": false, "forwarding": true} {
		t.Run(style, func(t *testing.T) {
			w := start(t, generated(1), func(c *funchost.Config) { c.NoProxying = older })
			t.Run("strangers", w.strangers)
			t.Run("the token", w.token)
			t.Run("addresses", w.addresses)
		})
	}
}

// ask writes a request byte for byte and returns the answer.
func (w *world) ask(t *testing.T, lines ...string) (status int, header http.Header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Host.URL(), "http://"))
	must(t, err)
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.Join(append(lines, "Connection: close", "", ""), "\r\n")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, res.Header, string(text)
}

// strangers are callers without the token, however local they look.
func (w *world) strangers(t *testing.T) {
	host := strings.TrimPrefix(w.Host.URL(), "http://")
	for name, headers := range map[string][]string{
		"this machine":           {"Host: " + host},
		"by name":                {"Host: localhost:7071"},
		"a tunnel":               {"Host: localhost:7071", "X-Forwarded-For: 203.0.113.9"},
		"a tunnel that names it": {"Host: localhost:7071", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: app.tunnel.example", "X-Forwarded-Proto: https"},
		"a tunnel's own headers": {"Host: localhost:7071", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9"},
		"a tunnel that pretends": {"Host: localhost:7071", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost:7071"},
		"a rebound name":         {"Host: rebound.example:7071", "Sec-Fetch-Site: same-origin", "Origin: http://rebound.example:7071"},
		"a neighbour":            {"Host: 192.168.1.20:7071"},
		"a made-up login":        {"Host: localhost:7071", "X-MS-CLIENT-PRINCIPAL: eyJhdXRoX3R5cCI6ImFhZCIsImNsYWltcyI6W3sidHlwIjoicm9sZXMiLCJ2YWwiOiJlZGl0b3IifV19"},
		"another token":          {"Host: localhost:7071", "X-Dev-Token: x" + w.DevToken()},
		"the token as a cookie":  {"Host: localhost:7071", "Cookie: token=" + w.DevToken() + "; X-Dev-Token=" + w.DevToken()},
		"the token as a login":   {"Host: localhost:7071", "Authorization: Bearer " + w.DevToken()},
	} {
		t.Run(name, func(t *testing.T) {
			for _, line := range []string{"GET /api/ninjaone/console/", "GET /api/ninjaone/console/?token=x", "POST /api/ninjaone/console/pause", "POST /api/ninjaone/console/pause?token=" + w.DevToken(),
				"POST /api/ExecExtensionMapping?AddMapping=NinjaOne", "GET /api/ListTenants", "GET /api/ListTenants?token=" + w.DevToken(), "GET /api/ListExtensionsConfig", "GET /api/ExecExtensionSync?Extension=NinjaOne"} {
				lines := append([]string{line + " HTTP/1.1"}, headers...)
				if strings.HasPrefix(line, "POST") {
					lines = append(lines, "Content-Length: 0")
				}
				if status, header, body := w.ask(t, lines...); status != http.StatusUnauthorized || len(header.Values("Set-Cookie")) > 0 {
					t.Errorf("%s is answered %d %.200s", line, status, body)
				}
			}
		})
	}
	for _, line := range []string{"POST /SyncTenant", "POST /api/SyncTenant", "POST /ScheduleTenants", "POST /Console", "POST /api/Console"} {
		if status, _, body := w.ask(t, line+" HTTP/1.1", "Host: "+host, "Content-Length: 0"); status != http.StatusNotFound {
			t.Errorf("%s is answered %d %.200s", line, status, body)
		}
	}
}

// token lets in a program, and a browser that opened the printed address.
func (w *world) token(t *testing.T) {
	if status, _, body := w.ask(t, "GET /api/ListTenants HTTP/1.1", "Host: app.tunnel.example", "X-Dev-Token: "+w.DevToken()); status != http.StatusOK {
		t.Errorf("a program with the token is answered %d %.200s", status, body)
	}
	jar, err := cookiejar.New(nil)
	must(t, err)
	var opened *url.URL
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error { opened = r.URL; return nil }}
	do := func(method, path string, headers ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader("tenant=everyone&paused=false"))
		must(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := browser.Do(r)
		must(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		must(t, err)
		return res.StatusCode, string(text)
	}
	if status, page := do(http.MethodGet, w.ConsoleURL(), "Sec-Fetch-Site", "none"); status != http.StatusOK || !strings.Contains(page, "<html") || opened == nil || opened.RawQuery != "" {
		t.Fatalf("the printed address is answered %d and leads to %v", status, opened)
	}
	base := w.Host.URL()
	for name, tt := range map[string]struct {
		headers []string
		want    int
	}{
		"own page":                    {[]string{"Sec-Fetch-Site", "same-origin", "Origin", base}, 200},
		"own page of an old browser":  {[]string{"Origin", base}, 200},
		"another site":                {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"another app on this machine": {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, 403},
		"another site's old browser":  {[]string{"Origin", "https://evil.example"}, 403},
	} {
		if status, page := do(http.MethodPost, base+"/api/ninjaone/console/pause", tt.headers...); status != tt.want {
			t.Errorf("%s: a change is answered %d %.200s", name, status, page)
		}
	}
	if status, _ := do(http.MethodGet, base+"/api/ExecExtensionSync?Extension=Nothing", "User-Agent", "Mozilla/5.0", "Referer", base+"/api/ninjaone/console/"); status == http.StatusForbidden || status == http.StatusUnauthorized {
		t.Errorf("own page of a browser that sends only a Referer is answered %d", status)
	}
}

// addresses are taken alike, whatever the host makes of them.
func (w *world) addresses(t *testing.T) {
	for address, want := range map[string]int{
		"GET /api/ninjaone/console": 200, "GET /API/NinjaOne/Console/": 200, "GET /api/ninjaone/console/Logbook/": 200, "GET /api/ninjaone/x/../console/%6Cogbook": 200,
		"GET /api/ninjaone/console//": 404, "GET /api/ninjaone/console//logbook": 404, "GET /api//ninjaone/console": 404, "GET /api/ninjaone/console/preview//value": 404,
		"GET /api/ninjaone/console/preview%2Fvalue": 404, "GET /api/ninjaone%2Fconsole": 404, "GET /api/ninjaone/console/%252e%252e/logbook": 404,
		"GET /api/ninjaone/console/preview/value": 404, "GET /api/ninjaone/console/nothing": 404, "GET /api/ninjaone/consolelogbook": 404, "GET /api/ninjaone/console/sync": 405,
		"POST /api/ninjaone/console/logbook": 405, "PUT /api/ninjaone/console/logbook": 404, "HEAD /api/ninjaone/console": 404, "GET /api/ListTenants/": 200, "GET /api/listtenants": 200,
		"POST /api/ListTenants": 404, "GET /api/ListTenants/x": 404, "GET /api/ninjaone/notifications": 404, "GET /": 200, "POST /api/ninjaone/notifications/": 202,
	} {
		lines := []string{address + " HTTP/1.1", "Host: localhost:7071", "X-Dev-Token: " + w.DevToken()}
		if strings.HasPrefix(address, "POST") {
			lines = append(lines, "Content-Length: 0")
		}
		if status, _, body := w.ask(t, lines...); status != want {
			t.Errorf("%s is answered %d, want %d: %.100s", address, status, want, body)
		}
	}
}
