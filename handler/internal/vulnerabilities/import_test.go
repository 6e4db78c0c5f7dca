package vulnerabilities

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestImportIsFollowed: no invocation waits for an import. A delayed message looks
// after it, and one more while it goes on.
func TestImportIsFollowed(t *testing.T) {
	l := newLab(t, 1)
	l.reportMany(1, 2)
	l.imports(ninjasim.Imports{Looks: 2})
	m := Message{TenantID: l.ref}
	must(t, l.worker.Run(t.Context(), m))
	if s := l.status(); s.Import != InProgress || !s.Ended.IsZero() {
		t.Errorf("after the upload: %+v", s)
	}
	l.wantMessages(1)
	m.Look = true
	for n := 2; n <= 3; n++ {
		must(t, l.worker.Run(t.Context(), m))
		l.wantMessages(n)
	}
	must(t, l.worker.Run(t.Context(), Message{TenantID: l.ref})) // a turn meanwhile finds that it ended
	if s := l.status(); s.Import != Complete || s.Processed != 2 {
		t.Errorf("after the import: %+v", s)
	}
	l.wantMessages(3)
	must(t, l.worker.Run(t.Context(), m)) // a look too many asks nothing
	calls := l.calls
	must(t, l.worker.Run(t.Context(), m))
	if l.calls != calls {
		t.Error("a look at an import that has ended asks NinjaOne")
	}
	l.wantUploads(1)
}

// wantMessages wants so many messages on the queue, all of them delayed.
func (l *lab) wantMessages(n int) {
	l.t.Helper()
	got, err := l.worker.Queue.Length(l.t.Context())
	must(l.t, err)
	now, err := l.worker.Queue.Peek(l.t.Context(), 32)
	must(l.t, err)
	if got != n || len(now) > 0 {
		l.t.Errorf("%d messages on the queue, want %d; %d of them are not delayed", got, n, len(now))
	}
}

// TestImportFails: it is told with numbers, what the group held stays, and the next
// turn sends the same bytes again.
func TestImportFails(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 3)
	l.run(Message{})
	l.reportMany(2, 4)
	l.imports(ninjasim.Imports{Fail: true})
	s := l.day()
	if s.Import != Failed || !strings.Contains(s.Trouble, "8 rows") {
		t.Errorf("the status is %+v", s)
	}
	l.wantLine(1, "Warn: NinjaOne's import of 8 rows", "failed (FAILED), after 0 records")
	// While the file is on its way again, the failure is neither told again nor over.
	l.imports(ninjasim.Imports{Looks: 2})
	l.pass(24 * time.Hour)
	for _, m := range []Message{{TenantID: l.ref}, {TenantID: l.ref, Look: true}} {
		must(t, l.worker.Run(t.Context(), m))
		if s := l.status(); s.Import != InProgress || s.Trouble != "" {
			t.Errorf("the status is %+v", s)
		}
		l.wantLine(1, "NinjaOne's import of 8 rows")
		l.pass(time.Minute)
	}
	if s = l.run(Message{Look: true}); s.Import != Complete || s.Trouble != "" {
		t.Errorf("the status is %+v", s)
	}
	l.wantUploads(3)
	l.wantLine(1, "No longer a problem: NinjaOne's import of 8 rows")
}

// TestPartialImport is told each day while it lasts.
func TestPartialImport(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 3)
	l.imports(ninjasim.Imports{Processed: 5})
	if s := l.run(Message{}); s.Import != Complete || s.Processed != 5 {
		t.Errorf("the status is %+v", s)
	}
	l.wantLine(1, "Warn: NinjaOne processed only 5 of the 6 rows")
	l.day()
	l.wantLine(2, "Warn: NinjaOne processed only 5 of the 6 rows")
	l.wantUploads(1)
}

// TestNotTaken: a file that NinjaOne refuses leaves the last one as it is, and a
// throttled look waits as long as NinjaOne says.
func TestNotTaken(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 3)
	l.run(Message{})
	before := l.status()
	l.reportMany(2, 4)
	remove := l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 413, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"errorMessage":"too large"}`})
	s := l.day()
	if s.Digest != before.Digest || s.Rows != 6 || s.Import != Complete || s.Failures != 1 || !strings.Contains(s.Reason, "did not take the file of 8 rows") {
		t.Errorf("the status is %+v", s)
	}
	if l.posts != 2 {
		t.Errorf("%d uploads, want 2: a refusal is not asked again", l.posts)
	}
	remove()
	remove = l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 404, Body: "{}"})
	if s = l.day(); s.Digest != before.Digest || s.Failures != 0 || !strings.Contains(s.Reason, "was deleted while its file was sent") {
		t.Errorf("the status is %+v", s)
	}
	remove()
	l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 429, Count: 1, Header: http.Header{"Retry-After": {"1"}}})
	l.NinjaOne.InjectFault(ninjasim.Fault{Path: "scan-groups/41$", Status: 429, Count: 1, Header: http.Header{"Retry-After": {"1"}}})
	if s = l.day(); s.Import != Complete || s.Rows != 8 || s.Failures != 0 {
		t.Errorf("the status is %+v", s)
	}
	l.wantUploads(2)
	l.wantLine(1, "No longer a problem: NinjaOne did not take")
	l.reportMany(2, 5)
	remove = l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 500})
	l.day()
	remove()
	if s = l.day(); s.Import != Complete || s.Rows != 10 {
		t.Errorf("the status is %+v", s)
	}
	l.wantLine(0, "Somebody else") // the file before was this app's
}

// TestAfter: what each answer about the group says of an import.
func TestAfter(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	sent := Status{Digest: "d", Rows: 10, Held: 20, GroupID: 1, Uploaded: now.Add(-time.Minute), Import: InProgress}
	ours := ninjaone.ScanGroup{FileName: fileName("d"), Status: "COMPLETE", Processed: reply.Optional[int]{Value: 10, OK: true}}
	for name, tt := range map[string]struct {
		change   func(*Status, *ninjaone.ScanGroup)
		err      error
		want     Import
		underway bool
		trouble  string
	}{
		"complete":                {nil, nil, Complete, false, ""},
		"says no number":          {func(_ *Status, g *ninjaone.ScanGroup) { g.Processed.OK = false }, nil, Complete, false, ""},
		"partial":                 {func(_ *Status, g *ninjaone.ScanGroup) { g.Processed.Value = 9 }, nil, Complete, false, "only 9 of the 10"},
		"failed":                  {func(_ *Status, g *ninjaone.ScanGroup) { g.Status = "FAILED" }, nil, Failed, false, "failed (FAILED)"},
		"goes on":                 {func(_ *Status, g *ninjaone.ScanGroup) { g.Status = "IN_PROGRESS" }, nil, InProgress, true, ""},
		"goes on for long":        {func(s *Status, g *ninjaone.ScanGroup) { g.Status, s.Uploaded = "IN_PROGRESS", now.Add(-slowAfter) }, nil, InProgress, true, "more than 2 hours"},
		"goes on for too long":    {func(s *Status, g *ninjaone.ScanGroup) { g.Status, s.Uploaded = "IN_PROGRESS", now.Add(-deadAfter) }, nil, Failed, false, "counts as failed"},
		"not known":               {nil, errors.New("down"), InProgress, true, ""},
		"not known for long":      {func(s *Status, _ *ninjaone.ScanGroup) { s.Uploaded = now.Add(-deadAfter) }, errors.New("down"), Failed, false, "counts as failed"},
		"deleted":                 {nil, fmt.Errorf("x: %w", ninjaone.ErrNotFound), Failed, false, "was deleted"},
		"sent, and came":          {func(s *Status, _ *ninjaone.ScanGroup) { s.Import = Sending }, nil, Complete, false, ""},
		"sent, and under way":     {func(s *Status, g *ninjaone.ScanGroup) { s.Import, g.Status = Sending, "IN_PROGRESS" }, nil, InProgress, true, ""},
		"sent, and did not":       {func(s *Status, g *ninjaone.ScanGroup) { s.Import, g.FileName = Sending, "cve.csv" }, nil, Sending, false, ""},
		"sent, and not known":     {func(s *Status, _ *ninjaone.ScanGroup) { s.Import = Sending }, errors.New("down"), Sending, false, ""},
		"sent, and group is gone": {func(s *Status, _ *ninjaone.ScanGroup) { s.Import = Sending }, fmt.Errorf("x: %w", ninjaone.ErrNotFound), Sending, false, ""},
	} {
		s, g := sent, ours
		if tt.change != nil {
			tt.change(&s, &g)
		}
		got, underway := after(s, g, tt.err, now)
		if got.Import != tt.want || underway != tt.underway || !strings.Contains(got.Trouble, tt.trouble) || (got.Trouble == "") != (tt.trouble == "") {
			t.Errorf("%s: %+v, %v", name, got, underway)
		}
		if held := got.Held; (got.Import == Complete) != (held == 10) {
			t.Errorf("%s: the group is said to hold %d rows", name, held)
		}
	}
}

// TestConfirmedAndFailed: a file that was confirmed, and whose import failed, goes
// again. Another one is judged by what the group still holds.
func TestConfirmedAndFailed(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 50)
	l.run(Message{})
	l.reportMany(1, 74)
	l.day()
	l.pass(time.Minute)
	must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
	l.imports(ninjasim.Imports{Fail: true})
	if s := l.run(Message{}); s.Import != Failed {
		t.Fatalf("the status is %+v", s)
	}
	l.imports(ninjasim.Imports{})
	l.reportMany(1, 60)
	if s := l.day(); !s.Waits() || s.Replaced() != 150 {
		t.Errorf("60 rows replace 150: %+v", s)
	}
	l.wantOpen(0, 1, 2)
	l.reportMany(1, 74)
	if s := l.day(); s.Import != Complete || s.Rows != 74 || s.Waits() {
		t.Errorf("the confirmed file does not go again: %+v", s)
	}
	l.wantOpen(0)
}
