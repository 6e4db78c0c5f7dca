package m365

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/m365/wire"
)

const routeDefender = "GET /api/machines/SoftwareVulnerabilitiesByMachine"

// vulnerabilities reads the export of the cloud's tenant.
func (c *cloud) vulnerabilities(change ...func(*Deps)) (got []string, err error) {
	c.t.Helper()
	change = append([]func(*Deps){func(cfg *Deps) { cfg.DefenderEndpoint = address(c.t, c.server.URL) }}, change...)
	err = c.reader(change...).Vulnerabilities(c.t.Context(), testRef, func(v *wire.Vulnerability) error {
		got = append(got, v.DeviceName+" "+v.CVE)
		return nil
	}, func() int { return len(got) })
	return got, err
}

// defender lets the export be answered.
func (c *cloud) defender(h http.HandlerFunc) { c.on(routeDefender, h) }

// TestVulnerabilities follows the export from page to page.
func TestVulnerabilities(t *testing.T) {
	c := newCloud(t)
	scopes := map[string]bool{}
	c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		scopes[r.PostForm.Get("scope")] = true
		c.token(w, r)
	})
	pages := 0
	c.defender(func(w http.ResponseWriter, r *http.Request) {
		pages++
		if size := r.URL.Query().Get("pageSize"); size != "50000" && size != "" || r.URL.Query().Has("$top") {
			c.problem("asked with %s", r.URL.RawQuery)
		}
		if r.URL.Query().Get("next") == "" {
			c.says(200, `{"@odata.nextLink":"{host}/api/machines/SoftwareVulnerabilitiesByMachine?next=1","value":[{"deviceName":"a","cveId":"CVE-1"},{"deviceName":7,"cveId":null}]}`)(w, r)
			return
		}
		c.says(200, `{"value":[{"deviceName":"b","cveId":"CVE-2","diskPaths":["x"]}]}`)(w, r)
	})
	got, err := c.vulnerabilities()
	if want := "a CVE-1| |b CVE-2"; err != nil || strings.Join(got, "|") != want || pages != 2 {
		t.Errorf("%q from %d pages, %v", got, pages, err)
	}
	if !scopes["https://api.securitycenter.microsoft.com/.default"] || len(scopes) != 1 {
		t.Errorf("tokens were asked for %v", scopes)
	}
}

// TestVulnerabilitiesTwice: a page that broke off is read again, and one that stays
// so is no export.
func TestVulnerabilitiesTwice(t *testing.T) {
	for name, broken := range map[string]string{
		"cut": `{"value":[{"deviceName":"a","cveId":"CVE-1"},{"devi`, "without a list": `{}`, "a list of texts": `{"value":["a"]}`, "null": `{"value":null}`,
		"a link that is not text": `{"value":[],"@odata.nextLink":7}`, "HTML": `<html>`, "twice": `{"value":[],"value":[]}`, "more behind it": `{"value":[]}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			once := false
			c.defender(func(w http.ResponseWriter, r *http.Request) {
				text := `{"value":[{"deviceName":"a","cveId":"CVE-1"}]}`
				if !once {
					once, text = true, broken
				}
				c.says(200, text)(w, r)
			})
			if got, err := c.vulnerabilities(); err != nil || got[len(got)-1] != "a CVE-1" {
				t.Errorf("once: %q, %v", got, err)
			}
			c.defender(c.says(200, broken))
			if _, err := c.vulnerabilities(); err == nil || errors.Is(err, ErrNotGranted) {
				t.Errorf("always: %v", err)
			}
		})
	}
}

// TestVulnerabilitiesNotGranted tells a refusal from a failure.
func TestVulnerabilitiesNotGranted(t *testing.T) {
	forbidden := `{"error":{"code":"Forbidden","message":"Missing application roles."}}`
	for name, tt := range map[string]struct {
		arrange func(*cloud)
		granted bool
	}{
		"refused": {func(c *cloud) { c.defender(c.says(403, forbidden)) }, false},
		"no consent": {func(c *cloud) {
			c.on(routeToken, c.says(400, `{"error":"invalid_grant","error_description":"AADSTS65001: x","error_codes":[65001]}`))
		}, false},
		"refused later": {func(c *cloud) {
			c.defender(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("next") == "" {
					c.says(200, `{"@odata.nextLink":"{host}/api/machines/SoftwareVulnerabilitiesByMachine?next=1","value":[{"deviceName":"a","cveId":"CVE-1"}]}`)(w, r)
					return
				}
				c.says(403, forbidden)(w, r)
			})
		}, true},
		"down": {func(c *cloud) { c.defender(c.says(500, `{}`)) }, true},
		"no second factor": {func(c *cloud) {
			c.on(routeToken, c.says(400, `{"error":"invalid_grant","error_description":"AADSTS50076: x","error_codes":[50076]}`))
		}, true},
	} {
		c := newCloud(t)
		tt.arrange(c)
		if _, err := c.vulnerabilities(); err == nil || errors.Is(err, ErrNotGranted) == tt.granted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVulnerabilitiesEndless: an export that does not end, or leads elsewhere, is
// none.
func TestVulnerabilitiesEndless(t *testing.T) {
	c := newCloud(t)
	next := func(link string) http.HandlerFunc {
		return c.says(200, `{"@odata.nextLink":"`+link+`","value":[{"deviceName":"a","cveId":"CVE-1"}]}`)
	}
	c.defender(next("https://elsewhere.example/api/machines/SoftwareVulnerabilitiesByMachine"))
	if _, err := c.vulnerabilities(); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("another host: %v", err)
	}
	c.defender(next("{host}/api/machines/SoftwareVulnerabilitiesByMachine?next=1"))
	if _, err := c.vulnerabilities(); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("a circle: %v", err)
	}
	n := 0
	c.defender(func(w http.ResponseWriter, r *http.Request) {
		n++
		next(fmt.Sprintf("{host}/api/machines/SoftwareVulnerabilitiesByMachine?next=%d", n))(w, r)
	})
	reader := c.reader(func(cfg *Deps) { cfg.DefenderEndpoint = address(c.t, c.server.URL) })
	err := reader.Vulnerabilities(t.Context(), testRef, func(*wire.Vulnerability) error { return nil }, func() int { return 1 })
	if err == nil || !strings.Contains(err.Error(), "nothing new") || n > 30 {
		t.Errorf("nothing new: %v after %d pages", err, n)
	}
	full := errors.New("full")
	c.defender(c.says(200, `{"value":[{"deviceName":"a"}]}`))
	before := c.count(routeDefender)
	if err := reader.Vulnerabilities(t.Context(), testRef, func(*wire.Vulnerability) error { return full }, func() int { return 0 }); !errors.Is(err, full) || c.count(routeDefender) != before+1 {
		t.Errorf("what is not taken: %v", err)
	}
}

func TestDefenderScope(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://api-gcc.securitycenter.microsoft.us": "https://api-gcc.securitycenter.microsoft.us/.default",
		"https://api-gov.securitycenter.microsoft.us": "https://api-gov.securitycenter.microsoft.us/.default",
		"http://127.0.0.1:9000":                       "https://api.securitycenter.microsoft.com/.default",
	} {
		if got := newReader(t, Deps{DefenderEndpoint: address(t, endpoint)}).defender.scope; got != want {
			t.Errorf("%q: %s", endpoint, got)
		}
	}
}
