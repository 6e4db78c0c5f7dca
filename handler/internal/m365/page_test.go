package m365

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

func requestsFor(t *testing.T, g *graph, n int) []request {
	t.Helper()
	var out []request
	for i := range n {
		u, err := url.Parse(g.base("v1.0") + fmt.Sprintf("/users/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		ri := abstractions.NewRequestInformation()
		ri.SetUri(*u)
		out = append(out, request{RequestInformation: ri})
	}
	return out
}

func TestHalfPages(t *testing.T) {
	half := func(c *cloud) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = io.WriteString(w, `{"value":[{"id":"o1"},{"id":"o2"}`)
		}
	}
	cut := func(c *cloud) http.HandlerFunc { return c.says(200, `{"value":[{"id":"o1"},{"id":"o2"}`) }
	for name, broken := range map[string]func(*cloud) http.HandlerFunc{"connection cut": half, "JSON cut": cut} {
		t.Run(name+" once", func(t *testing.T) {
			c := newCloud(t)
			first := true
			c.on(routeDevices, func(w http.ResponseWriter, r *http.Request) {
				if first {
					first = false
					broken(c)(w, r)
					return
				}
				c.value(`{"id":"o1"},{"id":"o2"},{"id":"o3"}`)(w, r)
			})
			got, _, err := c.graph().entraDevices(t.Context())
			if err != nil || len(got) != 3 {
				t.Errorf("got %d devices, %v", len(got), err)
			}
		})
		t.Run(name+" for good", func(t *testing.T) {
			c := newCloud(t)
			c.on(routeDevices, broken(c))
			_, _, err := c.graph().entraDevices(t.Context())
			var body *bodyError
			if !errors.As(err, &body) || c.count(routeDevices) != 4 {
				t.Errorf("got %v after %d requests", err, c.count(routeDevices))
			}
		})
	}
}

func TestNextLinksThatAreNotFollowed(t *testing.T) {
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked, with Authorization %t", r.Header.Get("Authorization") != "")
	}))
	defer foreign.Close()
	secure := func(c *cloud) string {
		return strings.Replace(c.server.URL, "http:", "https:", 1) + "/v1.0/devices?$skip=1"
	}
	tests := []struct {
		name string
		link func(*cloud) string
		as   any
	}{
		{"another host", func(*cloud) string { return foreign.URL + "/v1.0/devices?$skip=1" }, new(*linkError)},
		{"another scheme", secure, new(*linkError)},
		{"relative", func(*cloud) string { return "/v1.0/devices?$skip=1" }, new(*linkError)},
		{"a user in it", func(c *cloud) string { return strings.Replace(c.server.URL, "//", "//u@", 1) + "/v1.0/devices" }, new(*linkError)},
		{"no address", func(*cloud) string { return "http://[::bad" }, new(*linkError)},
		{"in a circle", func(c *cloud) string { return c.server.URL + "/v1.0/devices?$skip=1" }, new(*endlessError)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeDevices, c.says(200, `{"value":[{"id":"o1"}],"@odata.nextLink":"`+test.link(c)+`"}`))
			got, _, err := c.graph().entraDevices(t.Context())
			if !errors.As(err, test.as) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
