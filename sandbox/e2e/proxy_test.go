package e2e

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cipp-ninjaone/sandbox/loopback"
)

// A location is one location of the documented nginx server, as far as a proxy
// that runs by it must know it.
type location struct {
	path    string         // prefix; "" where there is a pattern
	pattern *regexp.Regexp // nil where there is a path
	to      *url.URL
	headers [][2]string
}

func (l location) takes(path string) bool {
	if l.pattern != nil {
		return l.pattern.MatchString(path)
	}
	return strings.HasPrefix(path, l.path)
}

// unread are the directives that say nothing of what goes where.
var unread = []string{"listen", "server_name", "ssl_certificate", "ssl_certificate_key", "auth_request", "auth_request_set", "proxy_ssl_server_name", "proxy_read_timeout"}

// readNginx reads the server of an nginx configuration. What it does not
// understand is an error: a rule that is passed over would be a rule untried.
func readNginx(text string) (all []location, err error) {
	var now *location
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "# ")
		words := strings.Fields(strings.TrimRight(strings.TrimSpace(line), ";#"))
		switch {
		case len(words) == 0:
		case words[0] == "server" && len(words) == 2 && words[1] == "{":
		case words[0] == "location" && len(words) == 3 && words[2] == "{":
			now = &location{path: words[1]}
		case words[0] == "location" && len(words) == 4 && words[1] == "~" && words[3] == "{":
			pattern, err := regexp.Compile(words[2])
			if err != nil {
				return nil, err
			}
			now = &location{pattern: pattern}
		case words[0] == "}":
			if now != nil {
				all, now = append(all, *now), nil
			}
		case words[0] == "proxy_pass" && len(words) == 2 && now != nil:
			if now.to, err = url.Parse(words[1]); err != nil || now.to.Path != "" {
				return nil, fmt.Errorf("line %d: %q is not a host alone: %v", n+1, words[1], err)
			}
		case words[0] == "proxy_set_header" && len(words) >= 3 && now != nil:
			now.headers = append(now.headers, [2]string{words[1], strings.Trim(strings.Join(words[2:], " "), `"`)})
		case slices.Contains(unread, words[0]):
		default:
			return nil, fmt.Errorf("line %d is not understood: %s", n+1, line)
		}
	}
	return all, nil
}

// locate chooses as nginx does: a pattern before a path, the longest path.
func locate(all []location, path string) (chosen *location) {
	for i := range all {
		switch l := &all[i]; {
		case !l.takes(path):
		case l.pattern != nil:
			return l
		case chosen == nil || len(l.path) > len(chosen.path):
			chosen = l
		}
	}
	return chosen
}

// front is CIPP's front end's address: a proxy by the documented rules, with a
// stand-in for CIPP behind it.
type front struct {
	url string
	mu  sync.Mutex
	// asked is what CIPP's stand-in was asked, "GET /api/me".
	asked []string
}

// behind starts the proxy in front of CIPP's stand-in and the app.
func behind(t *testing.T, app string) *front {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "frontend.nginx.conf"))
	must(t, err)
	locations, err := readNginx(string(text))
	must(t, err)
	f := &front{}
	cipp := loopback.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked = append(f.asked, r.Method+" "+r.URL.Path)
		if r.Header.Get("Cookie") == "" {
			t.Errorf("CIPP gets %s without the cookie of its login", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"cipp":%q}`, r.Host)
	}))
	t.Cleanup(cipp.Close)
	hosts := map[string]string{"func-ninjaone.azurewebsites.net": app, "cippabcde.azurewebsites.net": cipp.URL}
	proxy := loopback.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := locate(locations, r.URL.Path)
		if l == nil || hosts[l.to.Host] == "" {
			t.Errorf("%s goes nowhere", r.URL.Path)
			http.NotFound(w, r)
			return
		}
		to, err := url.Parse(hosts[l.to.Host])
		if err != nil {
			t.Error(err)
		}
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			for _, h := range l.headers {
				switch {
				case h[0] == "Host":
					p.Out.Host = h[1]
				case h[1] == "":
					p.Out.Header.Del(h[0])
				default:
					p.Out.Header.Set(h[0], strings.ReplaceAll(h[1], "$token", "a-token"))
				}
			}
			if to.String() == app && p.Out.Header.Get("Cookie") != "" {
				t.Errorf("the app gets CIPP's cookies with %s", p.Out.URL.Path)
			}
		}}).ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	f.url = proxy.URL
	return f
}

// TestRoutesOfTheFrontEnd compares the documented routes with the functions that
// have CIPP's names, and with the table that people read.
func TestRoutesOfTheFrontEnd(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "frontend.nginx.conf"))
	must(t, err)
	locations, err := readNginx(string(text))
	must(t, err)
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "frontend.md"))
	must(t, err)
	folders, err := filepath.Glob(filepath.Join("..", "..", "functions", "*", "function.json"))
	must(t, err)
	ours := 0
	for _, f := range folders {
		function, err := os.ReadFile(f)
		must(t, err)
		name := filepath.Base(filepath.Dir(f))
		own := strings.Contains(string(function), "httpTrigger") && !strings.Contains(string(function), `"route"`)
		if to := locate(locations, "/api/"+name).to.Host; own != (to == "func-ninjaone.azurewebsites.net") {
			t.Errorf("/api/%s goes to %s", name, to)
		}
		if own {
			ours++
			if !strings.Contains(string(guide), "`/api/"+name+"`") {
				t.Errorf("the guide does not name /api/%s", name)
			}
		}
	}
	if ours != 8 {
		t.Errorf("%d functions have CIPP's names", ours)
	}
	for _, path := range []string{"/", "/api/me", "/api/ListExtensionsConfigs", "/api/ExecExtensionMapping/x", "/.auth/login/aad", "/api/ListUsers", "/xapi/ListLogs"} {
		if to := locate(locations, path).to.Host; to != "cippabcde.azurewebsites.net" {
			t.Errorf("%s goes to %s", path, to)
		}
	}
}
