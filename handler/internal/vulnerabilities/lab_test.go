package vulnerabilities

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

const groupID = 41

// lab is one tenant between real storage and strict simulators, with a scan group.
// Its Intune devices are PC-001 and so on, which NinjaOne has under these names.
type lab struct {
	*stack.Stack
	t      testing.TB
	worker *Worker
	own    *storage.Account
	app    *storage.Account
	tenant *m365sim.Tenant
	ref    string // the tenant's id

	mu     sync.Mutex
	now    time.Time
	before func(*http.Request) error // asked before each call of NinjaOne
	after  func(*http.Request) error // and after its answer came
	calls  int                       // of NinjaOne, but for tokens
	posts  int                       // uploads among them
}

var must = fail.If

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// RoundTrip is how the worker reaches NinjaOne.
func (l *lab) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	if strings.Contains(r.URL.Path, "/v2/") {
		l.calls++
	}
	if strings.HasSuffix(r.URL.Path, "/upload") {
		l.posts++
	}
	l.mu.Unlock()
	if before != nil {
		if err := before(r); err != nil {
			return nil, err
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && after != nil {
		if err := after(r); err != nil {
			_ = res.Body.Close()
			return nil, err
		}
	}
	return res, err
}

func newLab(t testing.TB, devices int, change ...func(*seed.Seed)) *lab {
	t.Helper()
	data := seed.Generate(seed.Size{Tenants: 1, Users: 1, Devices: devices})
	data.Quirks.CVESync = true
	tenant := data.Tenants[0]
	data.ScanGroups = []ninjasim.ScanGroup{{ID: groupID, Name: seed.ScanGroupName(tenant.DefaultDomain), DeviceHeader: "Device", CVEHeader: "CVE"}}
	for i := range data.NinjaDevices {
		data.NinjaDevices[i].SystemName, data.NinjaDevices[i].DNSName = pc(i), pc(i)
	}
	for _, f := range change {
		f(data)
	}
	s, err := stack.Start(t.Context(), stack.Options{Seed: data, Storage: azuritetest.ForTest(t).Apart(), Proxy: true})
	must(t, err)
	// At noon: a test that passes minutes ends on the day on which it began.
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	l := &lab{Stack: s, t: t, now: noon, tenant: tenant, ref: tenant.ID}
	must(t, s.M365.Close())
	config := data.Config()
	config.Now, config.PageSize = l.clock, 1000
	s.M365, err = m365sim.New(config, data.Tenants...)
	must(t, err)
	at, err := s.M365.Start()
	must(t, err)
	t.Cleanup(func() {
		for _, v := range s.Violations() {
			t.Error("a request broke a contract:", v)
		}
		must(t, s.Close())
	})
	getenv := func(name string) string { return s.Settings()[name] }
	l.own, err = storage.Open(getenv, storage.Own)
	must(t, err)
	l.app, err = storage.Open(getenv, storage.CIPP)
	must(t, err)
	store := cipptest.Store(l.app)
	secrets, err := cipp.OpenSecrets(getenv, l.app)
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	reader := m365test.Reader(t, at, m365.Deps{Credentials: secrets, Log: log})
	calls := ninjaonetest.Deps(s.NinjaOne.URL(), func(ctx context.Context, fresh bool) (string, error) {
		return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
	})
	calls.Transport = l
	pool := ninjaone.NewPool(calls)
	table, blobs := l.own.Table(layout.TableName), l.own.Container(tenantsync.ContainerName)
	l.worker = New(Deps{
		CIPP: store, Defender: reader,
		NinjaOne: func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return pool.Client(c.Instance, c.ClientID) },
		Files:    Files{Table: l.own.Table(TableName), Blobs: blobs}, Queue: l.own.Queue(QueueName),
		Problems: &problems.Book{Table: table, Log: store.Log, API: cipp.LogbookSync}, Runs: runs.New(table),
		Off: func(context.Context) (bool, error) { return false, nil }, Budget: 10 * time.Minute, Now: l.clock, Log: log,
	})
	var m devicematch.Matches
	for i, d := range data.NinjaDevices {
		m.Pairs = append(m.Pairs, devicematch.Pair{ManagedDeviceID: fmt.Sprint("m", i), Name: pc(i), NinjaOneID: d.ID, NinjaOneName: pc(i)})
	}
	l.match(m)
	return l
}

// match keeps which devices matched.
func (l *lab) match(m devicematch.Matches) {
	l.t.Helper()
	body, err := json.Marshal(m)
	must(l.t, err)
	must(l.t, l.worker.Files.Blobs.Put(l.t.Context(), devicematch.BlobName(l.ref), body))
}

func pc(i int) string { return fmt.Sprintf("PC-%03d", i) }

func cve(n int) string { return fmt.Sprintf("CVE-2026-%05d", n) }

// vulnerable is a record of a device.
func vulnerable(device, cve string) m365sim.Vulnerability {
	return m365sim.Vulnerability{DeviceID: strings.ToLower(device), DeviceName: device, Vendor: "contoso", Software: "reader", Version: "1.0", CVE: cve, Severity: "High", Update: "reader 1.1"}
}

// report lets Defender report these.
func (l *lab) report(list ...m365sim.Vulnerability) {
	l.tenant.Change(func(t *m365sim.Tenant) { t.Vulnerabilities = list })
}

// reportMany lets Defender report so many CVEs of each of the first devices.
func (l *lab) reportMany(devices, cves int) {
	var list []m365sim.Vulnerability
	for d := range devices {
		for c := range cves {
			list = append(list, vulnerable(pc(d), cve(c)))
		}
	}
	l.report(list...)
}

// run handles a message, and then looks after the import until it ended.
func (l *lab) run(m Message) Status {
	l.t.Helper()
	m.TenantID = l.ref
	must(l.t, l.worker.Run(l.t.Context(), m))
	for range 10 {
		s := l.status()
		if s.Import != InProgress {
			return s
		}
		l.pass(time.Minute)
		must(l.t, l.worker.Run(l.t.Context(), Message{TenantID: l.ref, Look: true}))
	}
	return l.status()
}

// day is the next day's turn.
func (l *lab) day() Status {
	l.t.Helper()
	l.pass(24 * time.Hour)
	return l.run(Message{})
}

func (l *lab) status() Status {
	l.t.Helper()
	s, err := l.worker.Files.Of(l.t.Context(), l.ref)
	must(l.t, err)
	return s
}

// file returns the rows of the last upload.
func (l *lab) file() [][]string {
	l.t.Helper()
	all := l.NinjaOne.Uploads(groupID)
	if len(all) == 0 {
		return nil
	}
	rows, err := csv.NewReader(bytes.NewReader(all[len(all)-1].Bytes)).ReadAll()
	must(l.t, err)
	return rows
}

func (l *lab) wantUploads(n int) {
	l.t.Helper()
	if got := len(l.NinjaOne.Uploads(groupID)); got != n {
		l.t.Errorf("%d files were uploaded, want %d", got, n)
	}
}

func (l *lab) wantOpen(devices ...int) {
	l.t.Helper()
	var got []int
	for i, d := range l.Seed.NinjaDevices {
		if len(l.NinjaOne.OpenCVEs(groupID)[d.ID]) > 0 {
			got = append(got, i)
		}
	}
	if !slices.Equal(got, devices) {
		l.t.Errorf("the devices %v show CVEs, want %v", got, devices)
	}
}

// logbook returns CIPP's lines.
func (l *lab) logbook() []string {
	l.t.Helper()
	var lines []string
	for _, row := range storagetest.Rows(l.t, l.app.Table("CippLogs"), "") {
		lines = append(lines, row.String("Severity")+": "+row.String("Message"))
	}
	return lines
}

// wantLine wants so many lines of the logbook that have all texts.
func (l *lab) wantLine(n int, texts ...string) {
	l.t.Helper()
	got := 0
	for _, line := range l.logbook() {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			got++
		}
	}
	if got != n {
		l.t.Errorf("%d lines with %q, want %d, among:\n%s", got, texts, n, strings.Join(l.logbook(), "\n"))
	}
}

// cache lets CIPP's cache hold these, of the time.
func (l *lab) cache(at time.Time, list ...m365sim.Vulnerability) {
	l.t.Helper()
	table, domain := l.app.Table("CippReportingDB"), l.tenant.DefaultDomain
	for i, v := range list {
		one, err := json.Marshal(map[string]any{"deviceId": v.DeviceID, "deviceName": v.DeviceName, "softwareVersion": v.Version})
		must(l.t, err)
		data, err := json.Marshal(map[string]any{"cveId": v.CVE, "vulnerabilitySeverityLevel": v.Severity, "deviceDetailsJson": string(one), "lastUpdated": at.Format(time.RFC3339)})
		must(l.t, err)
		must(l.t, table.Replace(l.t.Context(), storage.Entity{"PartitionKey": domain, "RowKey": fmt.Sprintf("DefenderCVEs-%04d", i), "Type": "DefenderCVEs", "Data": string(data)}))
	}
	must(l.t, table.Replace(l.t.Context(), storage.Entity{"PartitionKey": domain, "RowKey": "DefenderCVEs-Count", "Type": "DefenderCVEs", "DataCount": int32(len(list))}))
}

func (l *lab) except(cve, who, expiry string) {
	l.t.Helper()
	must(l.t, l.app.Table("CveExceptions").Replace(l.t.Context(), storage.Entity{"PartitionKey": cve, "RowKey": who, "cveId": cve, "exceptionExpiry": expiry}))
}

func (l *lab) imports(how ninjasim.Imports) { l.NinjaOne.SetImports(how) }
