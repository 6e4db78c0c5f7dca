package vulnerabilities

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestFirstFile: a tenant's CVEs come to NinjaOne under NinjaOne's names, and what
// is shown of them is kept.
func TestFirstFile(t *testing.T) {
	l := newLab(t, 4)
	worse := vulnerable("PC-001", cve(2))
	worse.Severity = "Critical"
	l.report(vulnerable("pc-000.corp.example", cve(1)), worse, vulnerable("PC-000", cve(1)), vulnerable("UNKNOWN-7", cve(3)), m365sim.Vulnerability{DeviceID: "x", DeviceName: "PC-002"})
	s := l.run(Message{})
	want := [][]string{{"Device", "CVE"}, {"PC-000", cve(1)}, {"PC-001", cve(2)}}
	if got := l.file(); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the file is %q, want %q", got, want)
	}
	l.wantOpen(0, 1)
	microsoft := 0
	for call, n := range l.M365.Calls() {
		if !strings.Contains(call, "token") {
			microsoft += n
		}
	}
	if l.calls > 5 || microsoft > 2 {
		t.Errorf("%d calls of NinjaOne and %d of Microsoft: %v", l.calls, microsoft, l.M365.Calls())
	}
	if s.Import != Complete || s.Rows != 2 || s.Processed != 2 || s.Reported != 4 || s.Matched != 3 || s.Unmatched != 1 || s.Source != SourceDefender || s.Reason != "" || !slices.Equal(s.Unknown, []string{"UNKNOWN-7"}) {
		t.Errorf("the status is %+v", s)
	}
	l.wantLine(1, "Info: NinjaOne imported the vulnerabilities: 2 rows")
	l.wantLine(1, "NinjaOne does not have 1 of the 4 devices")
	e, err := l.worker.Files.Exposure(t.Context(), l.ref)
	must(t, err)
	if e == nil || e.Open[exposure.Critical] != 1 || e.Open[exposure.High] != 1 || len(e.Devices) != 2 || e.Devices[0].Name != "PC-001" || e.Devices[0].Worst[0].Fixed != "reader 1.1" || e.Devices[0].NinjaOneID == 0 {
		t.Errorf("what is shown is %+v", e)
	}
	// The same state is the same bytes, in whatever order, and these are not sent again.
	l.report(vulnerable("UNKNOWN-7", cve(3)), vulnerable("PC-000", cve(1)), worse)
	if s = l.day(); s.Reason != "" {
		t.Errorf("the second turn says %q", s.Reason)
	}
	l.wantUploads(1)
	l.run(Message{Force: true})
	l.wantUploads(2)
	if u := l.NinjaOne.Uploads(groupID); !slices.Equal(u[0].Bytes, u[1].Bytes) {
		t.Errorf("other bytes: %q and %q", u[0].Bytes, u[1].Bytes)
	}
}

// TestBrake: a file that is much smaller waits for a person, who lets it go once.
func TestBrake(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 50)
	l.run(Message{})
	l.reportMany(1, 74) // 76 fewer, one fewer than half
	s := l.day()
	l.wantUploads(1)
	if !s.Waits() || s.WaitingRows != 74 {
		t.Fatalf("the file does not wait: %+v", s)
	}
	l.wantLine(1, "Warn: The file has 74 rows, and the last one had 150")
	l.run(Message{Force: true}) // the button does not confirm
	l.wantUploads(1)
	l.pass(time.Minute)
	must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
	if s = l.run(Message{}); s.Waits() || s.Rows != 74 {
		t.Errorf("the confirmed file was not sent: %+v", s)
	}
	l.wantUploads(2)
	l.wantLine(1, "No longer a problem: The file has 74 rows")
	l.reportMany(1, 20)
	if s = l.day(); !s.Waits() {
		t.Errorf("the confirmation counts twice: %+v", s)
	}
	// What was confirmed is what was seen: not something smaller still.
	must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
	l.pass(time.Minute)
	l.report()
	if s = l.day(); !s.Waits() || s.WaitingRows != 0 || !strings.Contains(s.Reason, "the last one had 74") {
		t.Errorf("a confirmation of 20 rows lets none go: %+v", s)
	}
	l.wantUploads(2)
	// As soon as the evidence is back nothing waits any more.
	l.reportMany(1, 74)
	if s = l.day(); s.Waits() || s.Reason != "" {
		t.Errorf("it still waits: %+v", s)
	}
	l.wantUploads(2)
}

// TestEmpty: no row where there were some waits, however few they were; that every
// row is excepted is a real zero.
func TestEmpty(t *testing.T) {
	l := newLab(t, 2)
	l.report()
	l.run(Message{})
	l.wantUploads(0)
	l.wantLine(1, "no vulnerabilities, and no file was sent before")
	l.report(vulnerable("PC-000", cve(1)), vulnerable("PC-001", cve(2)))
	l.day()
	l.wantUploads(1)
	l.report()
	if s := l.day(); !s.Waits() {
		t.Errorf("an empty export does not wait: %+v", s)
	}
	l.report(vulnerable("OTHER", cve(1)))
	if s := l.day(); !s.Waits() {
		t.Errorf("a file without a known device does not wait: %+v", s)
	}
	l.report(vulnerable("PC-000", cve(1)), vulnerable("PC-001", cve(2)))
	l.except(cve(1), "ALL", "")
	l.except(cve(2), l.tenant.DefaultDomain, l.clock().AddDate(0, 0, 2).Format(time.DateOnly))
	s := l.day()
	if s.Rows != 0 || s.Excepted != 2 || s.Exceptions != 2 || s.Import != Complete {
		t.Errorf("that all is excepted is not sent: %+v", s)
	}
	l.wantUploads(2)
	l.wantOpen()
	l.day()
	l.wantUploads(2)
	l.day() // the day after the expiry
	l.wantUploads(3)
	l.wantOpen(1)
}

// TestNoEvidence: whatever keeps the data from being known keeps NinjaOne's as it is.
func TestNoEvidence(t *testing.T) {
	full := func(l *lab) { l.reportMany(3, 4) }
	for name, tt := range map[string]struct {
		trouble func(*lab)
		says    string
		soon    bool // the next turn comes sooner
	}{
		"Defender is down":        {func(l *lab) { l.M365.AddFault(m365sim.Fault{Service: "defender", Status: 500}) }, "Defender's vulnerabilities could not be read", true},
		"a page is cut":           {func(l *lab) { l.M365.AddFault(m365sim.Fault{Service: "defender", Truncate: true}) }, "Defender's vulnerabilities could not be read", true},
		"a page is HTML":          {func(l *lab) { l.M365.AddFault(m365sim.Fault{Service: "defender", HTML: true}) }, "Defender's vulnerabilities could not be read", true},
		"no sign-in":              {func(l *lab) { l.tenant.Change(func(t *m365sim.Tenant) { t.Login = m365sim.MFARequired }) }, "Defender's vulnerabilities could not be read", true},
		"not permitted, no cache": {func(l *lab) { l.tenant.Change(func(t *m365sim.Tenant) { t.Permissions = nil }) }, "holds none of the tenant", false},
		"not licensed, no cache":  {func(l *lab) { l.tenant.Change(func(t *m365sim.Tenant) { t.NoDefender = true }) }, "holds none of the tenant", false},
		"not consented, no cache": {func(l *lab) { l.tenant.Change(func(t *m365sim.Tenant) { t.Login = m365sim.ConsentMissing }) }, "holds none of the tenant", false},
		"no device is listed": {func(l *lab) {
			l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: "[]"})
		}, "", false},
		"NinjaOne's devices fail":   {func(l *lab) { l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed", Status: 500}) }, "NinjaOne's devices could not be read", true},
		"NinjaOne's groups fail":    {func(l *lab) { l.NinjaOne.InjectFault(ninjasim.Fault{Path: "scan-groups$", Status: 500}) }, "scan groups could not be read", true},
		"the group is gone":         {func(l *lab) { l.NinjaOne.RemoveScanGroup(groupID) }, "no scan group with the name \"CIPP tenant-001.example\"", false},
		"the group is there twice":  {func(l *lab) { l.group(77, func(g *ninjasim.ScanGroup) { g.Name = strings.ToUpper(g.Name) }) }, "2 scan groups", false},
		"the group lacks a header":  {func(l *lab) { l.group(groupID, func(g *ninjasim.ScanGroup) { g.CVEHeader = "" }) }, "does not name one column", false},
		"the group finds by a word": {func(l *lab) { l.group(groupID, func(g *ninjasim.ScanGroup) { g.Mapping = "SERIAL" }) }, "finds devices by \"SERIAL\"", false},
		"nothing is matched yet":    {func(l *lab) { must(l.t, l.worker.Files.Blobs.Delete(l.t.Context(), "matches/"+l.ref+".json")) }, "has had no sync yet", false},
		"the cache is old":          {func(l *lab) { l.refuse(); l.cache(l.clock().Add(-49*time.Hour), vulnerable("PC-000", cve(1))) }, "more than 48 hours ago", false},
		"the cache is half of it": {func(l *lab) {
			l.refuse()
			l.cache(l.clock(), vulnerable("PC-000", cve(1)), vulnerable("PC-000", cve(2)))
			l.uncache(1)
		}, "not whole", false},
		"the cache cannot be parsed": {func(l *lab) { l.refuse(); l.cache(l.clock(), vulnerable("PC-000", cve(1))); l.spoil(0) }, "not whole", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 3)
			full(l)
			l.run(Message{})
			l.wantOpen(0, 1, 2)
			tt.trouble(l)
			l.pass(24 * time.Hour)
			must(t, l.worker.Run(t.Context(), Message{TenantID: l.ref, Force: true}))
			l.pass(time.Minute)
			s := l.status()
			if tt.says == "" { // what the list lacks was asked for by itself
				l.wantUploads(2)
				return
			}
			if l.posts != 1 {
				t.Errorf("%d files were sent, want 1", l.posts)
			}
			if !strings.Contains(s.Reason, tt.says) || (s.Failures > 0) != tt.soon {
				t.Errorf("the turn says %q, and %d failures", s.Reason, s.Failures)
			}
			l.wantLine(1, tt.says)
		})
	}
}

func (l *lab) refuse() {
	l.tenant.Change(func(t *m365sim.Tenant) { t.Permissions = nil })
}

func (l *lab) group(id int64, change func(*ninjasim.ScanGroup)) {
	g := ninjasim.ScanGroup{ID: id, Name: "CIPP " + l.tenant.DefaultDomain, DeviceHeader: "Device", CVEHeader: "CVE"}
	change(&g)
	l.NinjaOne.AddScanGroup(g)
}

// uncache removes one object of CIPP's cache, and spoil makes one unreadable.
func (l *lab) uncache(i int) {
	must(l.t, l.app.Table("CippReportingDB").Delete(l.t.Context(), l.tenant.DefaultDomain, fmt.Sprintf("DefenderCVEs-%04d", i)))
}

func (l *lab) spoil(i int) {
	must(l.t, l.app.Table("CippReportingDB").Merge(l.t.Context(), storage.Entity{"PartitionKey": l.tenant.DefaultDomain,
		"RowKey": fmt.Sprintf("DefenderCVEs-%04d", i), "Data": `{"cveId":"CVE-2026-00001","deviceDetailsJson":"[{"}`}))
}

// TestToldEachDay: what lasts is told once a day, though two turns lie a little less
// than a day apart, and a turn more on the same day tells nothing.
func TestToldEachDay(t *testing.T) {
	l := newLab(t, 1)
	l.NinjaOne.RemoveScanGroup(groupID)
	missing := "no scan group with the name \"CIPP tenant-001.example\""
	for day := 1; day <= 3; day++ {
		l.run(Message{})
		l.pass(time.Minute)
		l.run(Message{Force: true})
		l.wantLine(day, missing, "Administration, Apps, Vulnerability Importer")
		l.pass(24*time.Hour - 5*time.Minute)
	}
	l.group(groupID, func(*ninjasim.ScanGroup) {})
	l.reportMany(1, 1)
	l.run(Message{})
	l.wantLine(4, missing)
	l.wantLine(1, "No longer a problem: NinjaOne has "+missing)
}

// TestConfirmedMeanwhile: what a person confirms is what waited when the page was
// read, not what a turn that is under way makes of it.
func TestConfirmedMeanwhile(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 50)
	l.run(Message{})
	l.reportMany(1, 74)
	seen := l.day()
	l.reportMany(1, 20)
	l.pass(time.Hour)
	l.before = func(*http.Request) error { // the turn is reading
		l.before = nil
		l.pass(time.Second)
		return l.worker.Confirm(t.Context(), l.ref, seen.WaitingSince)
	}
	if s := l.run(Message{}); !s.Waits() || s.WaitingRows != 20 {
		t.Errorf("20 rows count as confirmed: %+v", s)
	}
	l.pass(time.Minute)
	if s := l.run(Message{}); s.Rows != 150 {
		t.Errorf("20 rows went, which nobody confirmed: %+v", s)
	}
	l.wantUploads(1)
}

// TestConfirmedAndUnknown: a confirmation is used up by the file that came, though
// the answer was lost.
func TestConfirmedAndUnknown(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 50)
	l.run(Message{})
	l.reportMany(1, 60)
	s := l.day()
	l.pass(time.Minute)
	must(t, l.worker.Confirm(t.Context(), l.ref, s.WaitingSince))
	l.reportMany(3, 50)
	l.report(append(l.list(), vulnerable(pc(0), cve(99)))...) // the evidence is back, and the answer is not
	undo := l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 500, AfterHandling: true})
	l.run(Message{})
	undo()
	l.reportMany(1, 40)
	if s = l.day(); !s.Waits() {
		t.Errorf("40 rows replace 151: %+v", s)
	}
	l.wantOpen(0, 1, 2)
}

// list is what Defender reports at present.
func (l *lab) list() (list []m365sim.Vulnerability) {
	l.tenant.View(func(t *m365sim.Tenant) { list = append(list, t.Vulnerabilities...) })
	return list
}

// TestExceptedPart: that every row is excepted is a real zero only where Microsoft
// still reports about as much as the group holds.
func TestExceptedPart(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 40)
	l.run(Message{})
	l.except(cve(1), "ALL", "")
	l.report(vulnerable(pc(0), cve(1))) // all that a broken export has left
	if s := l.day(); !s.Waits() || s.WaitingRows != 0 {
		t.Errorf("an excepted row empties a group of 80: %+v", s)
	}
	l.wantOpen(0, 1)
	l.reportMany(2, 40)
	for n := range 40 {
		l.except(cve(n), "ALL", "")
	}
	if s := l.day(); s.Rows != 0 || s.Import != Complete || s.Waits() {
		t.Errorf("that all is excepted is not sent: %+v", s)
	}
}
