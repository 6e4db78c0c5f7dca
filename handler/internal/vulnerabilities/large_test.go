package vulnerabilities

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/m365sim"
)

// large is Defender's export of a tenant with very many rows, and a scan group that
// takes a file and forgets it. Nothing of either is held in memory.
type large struct {
	*httptest.Server
	rows, devices int
	sent          int64 // bytes of the file
	lines         int
}

type anySecret struct{}

func (anySecret) Secret(context.Context, string, bool) (string, error) { return "s", nil }

func newLarge(t testing.TB, rows, devices int) *large {
	l := &large{rows: rows, devices: devices}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"a","expires_in":3600}`)
	})
	mux.HandleFunc("POST /ws/oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"a","expires_in":3600,"token_type":"Bearer"}`)
	})
	mux.HandleFunc("GET /api/machines/SoftwareVulnerabilitiesByMachine", l.page)
	mux.HandleFunc("POST /api/v2/vulnerability/scan-groups/1/upload", l.take)
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

// page answers one page. Each record is about as long as a real one.
func (l *large) page(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.Atoi(r.URL.Query().Get("pageSize"))
	from, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
	out := bufio.NewWriter(w)
	_, _ = io.WriteString(out, `{"value":[`)
	to := min(from+size, l.rows)
	perDevice := l.rows / l.devices
	for i := from; i < to; i++ {
		if i > from {
			_ = out.WriteByte(',')
		}
		d, c := i/perDevice%l.devices, i%perDevice
		_, _ = fmt.Fprintf(out, `{"id":"%040x_contoso_program-%d_%d.0.1_CVE-2026-%05d","deviceId":"%040x","rbacGroupName":"Unassigned","deviceName":"pc-%06d.corp.contoso.example","osPlatform":"Windows11","osVersion":"10.0.22631.4460","osArchitecture":"x64","softwareVendor":"contoso","softwareName":"program-%d","softwareVersion":"%d.0.1","cveId":"CVE-2026-%05d","vulnerabilitySeverityLevel":"High","recommendedSecurityUpdate":"Program %d","recommendedSecurityUpdateId":"5048%03d","recommendedSecurityUpdateUrl":"https://support.contoso.example/kb/%d","diskPaths":["C:\\Program Files\\Contoso\\Program %d\\program.exe"],"registryPaths":["HKEY_LOCAL_MACHINE\\SOFTWARE\\Contoso\\Program %d"],"lastSeenTimestamp":"2026-11-30 00:00:00","firstSeenTimestamp":"2026-11-01 00:00:00","exploitabilityLevel":"NoExploit","recommendationReference":"va-_-contoso-_-program-%d","securityUpdateAvailable":true,"cvssScore":7.8}`,
			d, c%50, d%7, c, d, d, c%50, d%7, c, c%50, c%50, c%50, c%50, c%50, c%50)
	}
	_ = out.WriteByte(']')
	if to < l.rows {
		_, _ = fmt.Fprintf(out, `,"@odata.nextLink":%q`, l.URL+r.URL.Path+"?pageSize="+strconv.Itoa(size)+"&$skiptoken="+strconv.Itoa(to))
	}
	_ = out.WriteByte('}')
	_ = out.Flush()
}

func (l *large) take(w http.ResponseWriter, r *http.Request) {
	_, boundary, _ := strings.Cut(r.Header.Get("Content-Type"), "boundary=")
	part, err := multipart.NewReader(r.Body, boundary).NextPart()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.sent, l.lines = 0, 0
	buffer := make([]byte, 32<<10)
	for {
		n, err := part.Read(buffer)
		l.sent += int64(n)
		l.lines += strings.Count(string(buffer[:n]), "\n")
		if err != nil {
			break
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":1,"status":"IN_PROGRESS"}`)
}

// turn reads, plans and sends as a turn does, and returns the plan.
func (l *large) turn(t testing.TB) plan {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	reader := m365test.Reader(t, m365sim.Endpoints{Login: l.URL, Defender: l.URL}, m365.Deps{Credentials: anySecret{}, Log: log})
	calls := ninjaonetest.Deps(l.URL, ninjaonetest.Secret("s"))
	calls.ClientID = "c"
	client, err := ninjaone.New(calls)
	must(t, err)
	devices := make([]ninjaone.Device, l.devices)
	for i := range devices {
		devices[i] = ninjaone.Device{ID: i + 1, SystemName: fmt.Sprintf("PC-%06d", i)}
	}
	f := newFound(t.Context())
	must(t, reader.Vulnerabilities(t.Context(), tenant.Ref{ID: "5d0b1c00-0000-4000-8000-000000000001"}, f.add, f.kept))
	p, err := decide(inputs{now: time.Now(), group: ninjaone.ScanGroup{ID: 1, Name: "g", DeviceHeader: "d", CVEHeader: "c"}, found: f, names: newNames(byName, devices, devicematch.Matches{}), source: SourceDefender})
	must(t, err)
	if _, err := packed(p.file.write); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UploadScan(t.Context(), 1, fileName(p.file.digest), p.file.size, p.file.write); err != nil {
		t.Fatal(err)
	}
	if p.verdict != Upload || len(p.file.rows) != l.rows || l.lines != l.rows+1 || l.sent != p.file.size {
		t.Fatalf("%s of %d rows, %d lines and %d bytes", p.verdict, len(p.file.rows), l.lines, l.sent)
	}
	return p
}

// peak returns the most heap that was in use while do ran, in bytes, garbage
// included.
func peak(do func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // the handler's own
	runtime.GC()
	ended, most := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		var m runtime.MemStats
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapInuse)
			select {
			case <-tick.C:
			case <-ended:
				most <- top
				return
			}
		}
	}()
	do()
	close(ended)
	return <-most
}

// TestMemory: a tenant of 100,000 rows takes less than 100 MB from its export to its
// upload, this test's own services included.
func TestMemory(t *testing.T) {
	l := newLarge(t, 100_000, 500)
	var p plan
	used := peak(func() { p = l.turn(t) })
	t.Logf("%d rows, %d bytes of file, %d MB at most", len(p.file.rows), p.file.size, used>>20)
	if used >= 100_000_000 {
		t.Errorf("it took %d MB", used>>20)
	}
}

// BenchmarkTurn measures rows a second and the peak of memory.
func BenchmarkTurn(b *testing.B) {
	for _, rows := range []int{100_000, 1_000_000} {
		b.Run(strconv.Itoa(rows), func(b *testing.B) {
			l := newLarge(b, rows, rows/200)
			var used uint64
			for b.Loop() {
				used = max(used, peak(func() { l.turn(b) }))
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(used>>20), "peak-MB")
		})
	}
}

// TestTooLarge: above what NinjaOne takes nothing is sent, and it is told.
func TestTooLarge(t *testing.T) {
	f := newFound(t.Context())
	long := strings.Repeat("x", 500_000)
	var devices []ninjaone.Device
	for i := range 21 {
		devices = append(devices, ninjaone.Device{ID: i + 1, SystemName: pc(i) + long, DNSName: pc(i)})
		for c := range 20 {
			must(t, f.add(&wire.Vulnerability{DeviceName: pc(i), CVE: cve(c), Severity: "High"}))
		}
	}
	in := inputs{group: ninjaone.ScanGroup{ID: 1, DeviceHeader: "d", CVEHeader: "c"}, found: f, names: newNames(byName, devices, devicematch.Matches{})}
	p, err := decide(in)
	must(t, err)
	if p.verdict != Refuse || !strings.Contains(p.status.Reason, "211 MB, and NinjaOne takes at most 200") || p.problems[0].Key != "size" {
		t.Errorf("%s: %q", p.verdict, p.status.Reason)
	}
	in.names = newNames(byName, devices[:19], devicematch.Matches{})
	if p, err = decide(in); err != nil || p.verdict != Upload {
		t.Errorf("below the limit: %s, %v", p.verdict, err)
	}
}

// TestManyRows: 26,000 rows arrive, each once.
func TestManyRows(t *testing.T) {
	l := newLab(t, 26)
	l.reportMany(26, 1000)
	if s := l.run(Message{}); s.Rows != 26_000 || s.Processed != 26_000 {
		t.Errorf("the status is %+v", s)
	}
	for id, list := range l.NinjaOne.OpenCVEs(groupID) {
		if len(list) != 1000 {
			t.Errorf("device %d shows %d CVEs", id, len(list))
		}
	}
	if n := len(l.NinjaOne.OpenCVEs(groupID)); n != 26 {
		t.Errorf("%d devices show CVEs", n)
	}
}
