package m365

import (
	"net/http"
	"net/url"
	"testing"
)

// elsewhere sends what goes to any host to another one.
type elsewhere struct{ to *url.URL }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = e.to.Scheme, e.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// TestDoD tells a tenant of the Department of Defense by the Graph that it was
// read from: its domain names are like those of GCC High.
func TestDoD(t *testing.T) {
	for host, want := range map[string]bool{"dod-graph.microsoft.us": true, "graph.microsoft.us": false} {
		c := newCloud(t)
		to := address(t, c.server.URL)
		s, err := c.reader(func(cfg *Deps) { cfg.GraphEndpoint, cfg.Transport = address(t, "https://"+host), elsewhere{to} }).Read(t.Context(), testRef, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.DoD != want {
			t.Errorf("%s: DoD is %v", host, s.DoD)
		}
	}
}
