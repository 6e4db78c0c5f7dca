package e2e

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// TestStorageCallsOfASync holds what Azure bills for a tenant of a thousand devices:
// the calls to tables and blobs of a first sync and of one in which nothing changed.
// What comes by the clock is left out: renewals of leases, and the row of the pace
// after its first reading.
func TestStorageCallsOfASync(t *testing.T) {
	t.Parallel()
	data := seed.Generate(seed.Size{Tenants: 1, Users: 100, Devices: 1000, Groups: 10})
	w := startOn(t, stack.Options{Seed: data, Proxy: true},
		func(c *funchost.Config) { maps.Copy(c.Settings, stack.TimersOff()) })
	var mu sync.Mutex
	var calls []string
	pace := 0
	clock := regexp.MustCompile(`PartitionKey='pace'`)
	w.Proxy.Wrap(func(service string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			address, _ := url.QueryUnescape(r.URL.String())
			mu.Lock()
			if clock.MatchString(address) {
				pace++
			}
			if service != "queue" && r.Header.Get("x-ms-lease-action") != "renew" && (pace < 2 || !clock.MatchString(address)) {
				calls = append(calls, r.Method+" "+address)
			}
			mu.Unlock()
			next.ServeHTTP(rw, r)
		})
	})
	domain := data.Tenants[0].DefaultDomain
	for _, tt := range []struct {
		name string
		most int
	}{{"first", 150}, {"unchanged", 20}} {
		mu.Lock()
		calls, pace = nil, 0
		mu.Unlock()
		w.sync(domain).completed().quiet()
		mu.Lock()
		if len(calls) > tt.most {
			t.Errorf("%s: %d calls, want %d at most:\n%s", tt.name, len(calls), tt.most, strings.Join(calls, "\n"))
		}
		mu.Unlock()
	}
}
