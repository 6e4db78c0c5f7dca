package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkHeavyLists syncs four tenants at once whose lists at Microsoft Graph go
// on and on with pages of the largest records that a page may hold. Its subject is
// the memory that the handler takes.
func BenchmarkHeavyLists(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 4, Users: 10, Devices: 5, Groups: 3})
	s := simulate(b, data, 0, nil)
	target, err := url.Parse(s.Settings()["GRAPH_ENDPOINT"])
	if err != nil {
		b.Fatal(err)
	}
	right := httputil.NewSingleHostReverseProxy(target)
	text := strings.Repeat("x", 1<<20)
	var pages atomic.Int64
	graph := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if r.Method != http.MethodGet || name != "users" && name != "devices" && name != "managedDevices" && name != "delta" {
			right.ServeHTTP(w, r)
			return
		}
		n := pages.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"@odata.nextLink":"http://%s%s?page=%d","value":[`, r.Host, r.URL.Path, n)
		for i := range 10 {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"id":"%08x-0000-4000-8000-%012x","deviceId":"%08x-0000-4000-8000-%012x","displayName":%q,"deviceName":%[5]q,"jobTitle":%[5]q}`, n, i, n, i, text)
		}
		fmt.Fprint(w, "]}")
	}))
	b.Cleanup(graph.Close)
	ended := make(chan struct{}, 4)
	handler := launch(b, s, map[string]string{"GRAPH_ENDPOINT": graph.URL, "AzureWebJobs.ScheduleTenants.Disabled": "false"}, func(i funchost.Invocation) {
		if i.Function == "SyncTenant" {
			ended <- struct{}{}
		}
	})
	enqueueAll(b, s)
	for range 4 {
		select {
		case <-ended:
		case <-time.After(patience):
			b.Fatal("the syncs do not end")
		}
	}
	peak, cpu, seen := usage(handler)
	if !seen {
		b.Fatal("the handler is gone")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(cpu.Seconds(), "cpu-s")
	b.ReportMetric(float64(pages.Load()), "pages")
}
