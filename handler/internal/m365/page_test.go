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

func requestsFor(t *testing.T, g *graph, n int) []*abstractions.RequestInformation {
	t.Helper()
	var out []*abstractions.RequestInformation
	for i := range n {
		u, err := url.Parse(g.base("v1.0") + fmt.Sprintf("/users/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		ri := abstractions.NewRequestInformation()
		ri.SetUri(*u)
		out = append(out, ri)
	}
	return out
}

func TestDecodePage(t *testing.T) {
	tests := []struct {
		name string
		in   string
		n    int // items; -1 = an error
	}{
		{"whole", `{"@odata.context":{"a":[1]},"value":[{"id":"1"},{"id":"2"}],"@odata.nextLink":"n"}`, 2},
		{"empty", `{"value":[]}`, 0},
		{"space after the end", "{\"value\":[]}\r\n", 0},
		{"cut in an item", `{"value":[{"id":"1"},{"id":`, -1},
		{"cut between items", `{"value":[{"id":"1"},`, -1},
		{"cut after the items", `{"value":[{"id":"1"}]`, -1},
		{"no collection", `{"id":"1"}`, -1},
		{"an array", `[{"id":"1"}]`, -1},
		{"null", `{"value":null}`, -1},
		{"twice", `{"value":[{"id":"1"}],"value":[]}`, -1},
		{"goes on", `{"value":[]}{"value":[]}`, -1},
		{"HTML", `<!doctype html>`, -1},
		{"nothing", ``, -1},
		{"another type", `{"value":[{"id":7}]}`, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := decodePage[wireUser](strings.NewReader(test.in), "value")
			if (err != nil) != (test.n < 0) || err == nil && len(p.items) != test.n {
				t.Errorf("got %d items, %v", len(p.items), err)
			}
		})
	}
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
			got, err := c.graph().entraDevices(t.Context())
			if err != nil || len(got) != 3 {
				t.Errorf("got %d devices, %v", len(got), err)
			}
		})
		t.Run(name+" for good", func(t *testing.T) {
			c := newCloud(t)
			c.on(routeDevices, broken(c))
			_, err := c.graph().entraDevices(t.Context())
			var body *bodyError
			if !errors.As(err, &body) || c.count(routeDevices) != 2 {
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
		{"in a circle", func(c *cloud) string { return c.server.URL + "/v1.0/devices?$skip=1" }, new(*bodyError)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeDevices, c.says(200, `{"value":[{"id":"o1"}],"@odata.nextLink":"`+test.link(c)+`"}`))
			got, err := c.graph().entraDevices(t.Context())
			if !errors.As(err, test.as) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func FuzzDecodePage(f *testing.F) {
	for _, seed := range []string{`{"value":[{"id":"1","businessPhones":null,"signInActivity":{"lastSignInDateTime":"x"}}]}`,
		`{"value":[{"id":"g","members@delta":[{"id":"u","@removed":{}}],"@removed":null}],"@odata.deltaLink":"d"}`,
		`{"responses":[{"id":"1","status":429,"headers":{"Retry-After":3},"body":"e30="}]}`, `{"value":[`, `[`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if p, err := decodePage[wireUser](strings.NewReader(in), "value"); err == nil {
			for i := range p.items {
				p.items[i].user()
			}
		}
		if p, err := decodePage[deltaObject](strings.NewReader(in), "value"); err == nil {
			all := memberships{byID: map[string]*membership{}}
			all.add(p.items)
			all.add(p.items)
			n := 0
			all.each(func(m *membership) {
				n++
				seen := map[string]bool{}
				for _, member := range m.members() {
					if seen[member.ID] {
						t.Errorf("member %q twice", member.ID)
					}
					seen[member.ID] = true
				}
			})
			if n > len(p.items) {
				t.Errorf("%d groups of %d", n, len(p.items))
			}
		}
		if p, err := decodePage[wireManagedDevice](strings.NewReader(in), "value"); err == nil {
			for i := range p.items {
				p.items[i].device(true)
			}
		}
		_, _ = decodePage[batchResponse](strings.NewReader(in), "responses")
		_, _ = decodePage[wireMailbox](strings.NewReader(in), "value")
		if text := newStatusError("Service", 400, http.Header{}, []byte(in)).Error(); len(text) > 250 {
			t.Errorf("a long error: %s", text)
		}
	})
}

// usersPage returns a page of n users as Graph would send it.
func usersPage(n int) string {
	var b strings.Builder
	b.WriteString(`{"@odata.context":"https://graph.example/v1.0/$metadata#users","value":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"a0000000-0000-4000-8000-%012d","displayName":"User Number %d","userPrincipalName":"user%d@tailspin.example","mail":"user%d@tailspin.example","userType":"Member","accountEnabled":true,"jobTitle":"Engineer","department":"Works","officeLocation":null,"mobilePhone":null,"businessPhones":["+1 555 0100"],"proxyAddresses":["SMTP:user%d@tailspin.example","smtp:u%d@tailspin.example"],"createdDateTime":"2022-03-04T05:06:07Z","onPremisesSyncEnabled":null,"assignedLicenses":[{"disabledPlans":[],"skuId":"`+skuMain+`"}],"licenseAssignmentStates":[{"skuId":"`+skuMain+`","state":"Active","lastUpdatedDateTime":"2024-05-06T00:00:00Z"}],"signInActivity":{"lastSignInDateTime":"2026-11-01T00:00:00Z"}}`, i, i, i, i, i, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

func BenchmarkDecode20000Users(b *testing.B) {
	page := usersPage(1000)
	b.SetBytes(int64(20 * len(page)))
	b.ReportAllocs()
	for b.Loop() {
		users := 0
		for range 20 {
			p, err := decodePage[wireUser](strings.NewReader(page), "value")
			if err != nil {
				b.Fatal(err)
			}
			for i := range p.items {
				if p.items[i].user().Licensed() {
					users++
				}
			}
		}
		if users != 20000 {
			b.Fatalf("%d users", users)
		}
	}
}
