package vulnerabilities

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestNext(t *testing.T) {
	const id = "5d0b1c00-0000-4000-8000-000000000001"
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	first := Next(id, Status{}, now)
	if !first.Equal(now) {
		t.Errorf("a new tenant has its turn at %s", first)
	}
	queued := Status{Queued: now}
	next := Next(id, queued, now)
	if !next.After(now) || next.Sub(now) > period {
		t.Errorf("the next turn is at %s", next)
	}
	for _, later := range []time.Duration{0, time.Minute, next.Sub(now) - time.Nanosecond} {
		if got := Next(id, queued, now.Add(later)); !got.Equal(next) {
			t.Errorf("seen %s later it is at %s, not %s", later, got, next)
		}
	}
	if got := Next(id, queued, next); !got.Equal(next) {
		t.Errorf("at its time it is at %s", got)
	}
	// The turn stays where it is, however late the message went.
	late := Status{Queued: next.Add(3 * time.Hour)}
	if got := Next(id, late, next.Add(3*time.Hour)); !got.Equal(next.Add(period)) {
		t.Errorf("after a late turn the next is at %s, not %s", got, next.Add(period))
	}
	early := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	failed := Status{Queued: next, Turn: next.Add(time.Minute), Failures: 1}
	if got, want := Next(id, failed, next.Add(2*time.Minute)), next.Add(time.Minute+runs.RetryAfter(1)); !got.Equal(want) {
		t.Errorf("after a failure it is at %s, not %s", got, want)
	}
	if other := Next("6d0b1c00-0000-4000-8000-000000000001", Status{Queued: early.Add(48 * time.Hour)}, early.Add(48*time.Hour)); other.Equal(Next(id, Status{Queued: early.Add(48 * time.Hour)}, early.Add(48*time.Hour))) {
		t.Error("two tenants have the same time")
	}
}

// TestQueueDue: a mapped tenant that was synced is queued once a day, while the
// upload is on in CIPP.
func TestQueueDue(t *testing.T) {
	l := newLab(t, 1)
	tick := func(want int, why string) {
		t.Helper()
		must(t, l.worker.QueueDue(t.Context()))
		if n, err := l.worker.Queue.Length(t.Context()); err != nil || n != want {
			t.Errorf("%s: %d messages, want %d; %v", why, n, want, err)
		}
	}
	tick(0, "never synced")
	must(t, l.worker.Runs.Save(t.Context(), runs.Run{TenantID: l.ref, Status: runs.Completed, Start: l.clock(), End: l.clock(), LastSuccess: l.clock()}))
	l.configure("CveSyncEnabled", false)
	tick(0, "turned off")
	l.configure("CveSyncEnabled", true)
	must(t, l.worker.Runs.Pause(t.Context(), l.ref, true))
	tick(0, "paused")
	must(t, l.worker.Runs.Pause(t.Context(), l.ref, false))
	tick(1, "due")
	tick(1, "queued already")
	l.pass(24 * time.Hour)
	tick(2, "the next day")
	all, err := l.worker.Queue.Peek(t.Context(), 32)
	must(t, err)
	m, err := ParseMessage(all[0].Body)
	if err != nil || m != (Message{TenantID: l.ref}) {
		t.Errorf("the message is %s; %v", all[0].Body, err)
	}
}

// configure changes one of CIPP's settings.
func (l *lab) configure(name string, value any) {
	l.t.Helper()
	b, err := json.Marshal(value)
	must(l.t, err)
	must(l.t, l.worker.CIPP.SaveNinjaOneSettings(l.t.Context(), []cipp.Property{{Name: name, Value: b}}, func(cipp.ExtensionConfig) error { return nil }))
}

// TestNotOurs: nothing is sent for tenants whose file goes nowhere, and while
// another message works on the tenant.
func TestNotOurs(t *testing.T) {
	l := newLab(t, 1)
	l.reportMany(1, 1)
	for why, arrange := range map[string]func() (undo func()){
		"turned off": func() func() {
			l.configure("CveSyncEnabled", false)
			return func() { l.configure("CveSyncEnabled", true) }
		},
		"given back": func() func() {
			l.worker.Off = func(context.Context) (bool, error) { return true, nil }
			return func() { l.worker.Off = func(context.Context) (bool, error) { return false, nil } }
		},
		"excluded": func() func() {
			row := storage.Entity{"PartitionKey": "Tenants", "RowKey": l.ref, "Excluded": true}
			must(t, l.app.Table("Tenants").Merge(t.Context(), row))
			return func() { row["Excluded"] = false; must(t, l.app.Table("Tenants").Merge(t.Context(), row)) }
		},
		"busy": func() func() {
			lease, err := l.worker.Files.Blobs.Lease(t.Context(), leaseBlob(l.ref), leaseDuration)
			must(t, err)
			return lease.Release
		},
	} {
		undo := arrange()
		before, err := l.worker.Queue.Length(t.Context())
		must(t, err)
		must(t, l.worker.Run(t.Context(), Message{TenantID: l.ref, Force: true}))
		after, err := l.worker.Queue.Length(t.Context())
		must(t, err)
		if (after > before) != (why == "busy") {
			t.Errorf("%s: %d messages, and then %d", why, before, after)
		}
		undo()
	}
	must(t, l.worker.Run(t.Context(), Message{TenantID: "6d0b1c00-0000-4000-8000-000000000001"}))
	l.wantUploads(0)
}

// TestAskedForInVain: a file that a person asked for, and that goes nowhere by the time
// its message comes, is told once. What the schedule or a look asked for is not.
func TestAskedForInVain(t *testing.T) {
	const vain = "The upload of vulnerabilities that was asked for was not done: "
	for why, stop := range map[string]func(l *lab, off bool){
		"CIPP's own sync was given back": func(l *lab, off bool) {
			l.worker.Off = func(context.Context) (bool, error) { return off, nil }
		},
		"the NinjaOne integration is turned off": func(l *lab, off bool) { l.configure("Enabled", !off) },
		"the upload of vulnerabilities is turned off": func(l *lab, off bool) {
			l.configure("CveSyncEnabled", !off)
		},
		"the tenant is excluded in CIPP": func(l *lab, off bool) {
			must(t, l.app.Table("Tenants").Merge(t.Context(), storage.Entity{"PartitionKey": "Tenants", "RowKey": l.ref, "Excluded": off}))
		},
	} {
		t.Run(why, func(t *testing.T) {
			l := newLab(t, 2)
			l.reportMany(2, 50)
			l.run(Message{})
			l.reportMany(1, 10)
			if s := l.day(); !s.Waits() {
				t.Fatalf("the status is %+v", s)
			}
			stop(l, true)
			l.run(Message{})
			l.run(Message{Look: true})
			l.wantLine(0, vain)
			must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
			for _, m := range []Message{{}, {}, {Force: true}} {
				l.pass(time.Minute)
				l.run(m)
				l.wantLine(1, "Warn: "+vain+why)
			}
			l.wantLine(1, "waits for a confirmation") // which is no news, and not over
			stop(l, false)
			l.run(Message{})
			l.wantUploads(2)
			l.wantLine(1, "No longer a problem: "+vain+why)
		})
	}
}

// TestCacheServes: where the app may not read Defender's export, CIPP's cache does,
// and its age is shown.
func TestCacheServes(t *testing.T) {
	l := newLab(t, 2)
	l.refuse()
	at := l.clock().Add(-47 * time.Hour).Truncate(time.Second)
	l.cache(at, vulnerable(pc(0), cve(1)), vulnerable(pc(1), cve(1)), vulnerable(pc(1), cve(2)))
	s := l.run(Message{})
	if s.Source != SourceCache || !s.SourceAt.Equal(at) || s.Rows != 3 {
		t.Errorf("the status is %+v", s)
	}
	l.wantOpen(0, 1)
	l.wantLine(1, "Info: The app may not read Defender's vulnerabilities itself")
	if s = l.day(); !strings.Contains(s.Reason, "more than 48 hours ago") {
		t.Errorf("a day later: %+v", s)
	}
	l.wantUploads(1)
}

func TestDetailsOf(t *testing.T) {
	for text, want := range map[string][]string{
		`"{\"deviceName\":\"a\"}"`:                          {"a"},
		`"[{\"deviceName\":\"a\"},{\"deviceName\":\"b\"}]"`: {"a", "b"},
		`{"deviceName":"a"}`:                                {"a"},
		`[{"deviceName":"a"}]`:                              {"a"},
		`"[]"`:                                              nil,
	} {
		list, ok := detailsOf(json.RawMessage(text))
		var got []string
		for _, v := range list {
			got = append(got, v.DeviceName)
		}
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{``, `""`, `null`, `7`, `"x"`, `"[{"`} {
		if _, ok := detailsOf(json.RawMessage(text)); ok {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestAnotherGroup: a group that somebody made anew, or of another name, gets the
// file although its bytes were sent to the one before.
func TestAnotherGroup(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 2)
	l.run(Message{})
	l.NinjaOne.RemoveScanGroup(groupID)
	l.group(groupID+1, func(*ninjasim.ScanGroup) {})
	l.day()
	if n := len(l.NinjaOne.Uploads(groupID + 1)); n != 1 {
		t.Errorf("%d files went to the new group", n)
	}
	// What somebody else sent to a group counts as its last file.
	l.group(groupID+2, func(g *ninjasim.ScanGroup) { g.Records = 400 })
	l.NinjaOne.RemoveScanGroup(groupID + 1)
	for day := range 2 {
		if s := l.day(); !s.Waits() || !strings.Contains(s.Reason, "4 rows, and the last one had 400") {
			t.Errorf("day %d: the status is %+v", day, s)
		}
	}
	l.reportMany(2, 3)
	if s := l.day(); !s.Waits() || !strings.Contains(s.Reason, "6 rows, and the last one had 400") {
		t.Errorf("another file: the status is %+v", s)
	}
	if n := len(l.NinjaOne.Uploads(groupID + 2)); n != 0 {
		t.Errorf("%d files went to somebody else's group", n)
	}
}

// TestPreview shows the difference to the last file, and writes nothing.
func TestPreview(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 2)
	p, err := l.worker.Preview(t.Context(), l.ref)
	if err != nil || p.Verdict != Upload || !p.NoLast || p.Added != 4 || p.Rows != 4 {
		t.Errorf("the first preview is %+v, %v", p, err)
	}
	l.run(Message{})
	before := l.status()
	l.report(vulnerable(pc(0), cve(0)), vulnerable(pc(0), cve(7)), vulnerable(pc(1), cve(1)))
	l.pass(time.Hour)
	p, err = l.worker.Preview(t.Context(), l.ref)
	if err != nil || p.Verdict != Upload || p.NoLast || p.Added != 1 || p.Removed != 2 ||
		!slices.Equal(p.FirstAdded, []Row{{pc(0), cve(7)}}) || !slices.Equal(p.FirstRemoved, []Row{{pc(0), cve(1)}, {pc(1), cve(0)}}) {
		t.Errorf("the preview is %+v, %v", p, err)
	}
	if after := l.status(); after.Turn != before.Turn || l.posts != 1 {
		t.Errorf("the preview changed %+v to %+v", before, after)
	}
	l.NinjaOne.RemoveScanGroup(groupID)
	if _, err = l.worker.Preview(t.Context(), l.ref); err == nil || !strings.Contains(err.Error(), "no scan group") {
		t.Errorf("without a group: %v", err)
	}
}

// TestForgetUnmapped: a day after a tenant was unmapped, nothing of its devices is kept.
// Mapped again, it goes on where it was.
func TestForgetUnmapped(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 2)
	l.report(append(l.list(), vulnerable("UNKNOWN-7", cve(1)))...)
	before := l.run(Message{})
	mappings := l.app.Table("CippMapping")
	row, err := mappings.Find(t.Context(), "NinjaOneMapping", l.ref)
	must(t, err)
	forget := func(want int, why string) Status {
		t.Helper()
		must(t, l.worker.ForgetUnmapped(t.Context()))
		if got := storagetest.Blobs(t, l.worker.Files.Blobs, blobPrefix); len(got) != want {
			t.Errorf("%s: the blobs are %q", why, got)
		}
		return l.status()
	}
	l.pass(48 * time.Hour)
	forget(2, "mapped")
	must(t, mappings.Delete(t.Context(), "NinjaOneMapping", l.ref))
	forget(2, "just unmapped")
	l.pass(23 * time.Hour)
	forget(2, "not yet a day")
	must(t, mappings.Replace(t.Context(), row))
	forget(2, "mapped again")
	must(t, mappings.Delete(t.Context(), "NinjaOneMapping", l.ref))
	forget(2, "unmapped again")
	l.pass(24 * time.Hour)
	odd := storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": "6d0b1c00-0000-4000-8000-000000000001", "IntegrationId": "odd", "IntegrationName": "x"}
	must(t, mappings.Replace(t.Context(), odd))
	forget(2, "a mapping cannot be read")
	must(t, mappings.Delete(t.Context(), "NinjaOneMapping", odd.RowKey()))
	if s := forget(0, "after a day"); len(s.Unknown) > 0 || s.Group != "" || s.Digest != before.Digest || s.Held != before.Held {
		t.Errorf("after a day the status is %+v", s)
	}
	must(t, mappings.Replace(t.Context(), row))
	forget(0, "mapped once more")
	if s := l.day(); s.Shown != before.Digest || s.Reason != "" {
		t.Errorf("mapped once more: %+v", s)
	}
	l.wantUploads(1)
	l.noBlobsBut(l.status())
	if e, err := l.worker.Files.Exposure(t.Context(), l.ref); err != nil || e == nil || len(e.Devices) != 2 {
		t.Errorf("what is shown is %+v, %v", e, err)
	}
}

// TestPausedMeanwhile: a tenant that was paused after its message was sent keeps what
// it has, unless a person asks for it.
func TestPausedMeanwhile(t *testing.T) {
	l := newLab(t, 1)
	l.reportMany(1, 1)
	must(t, l.worker.Runs.Pause(t.Context(), l.ref, true))
	l.run(Message{})
	l.wantUploads(0)
	l.run(Message{Force: true})
	l.wantUploads(1)
}

// another puts somebody else's file of so many rows into the group, by what CIPP calls it.
func (l *lab) another(rows int) {
	l.t.Helper()
	config, err := l.worker.CIPP.NinjaOneConfig(l.t.Context())
	must(l.t, err)
	client, err := l.worker.NinjaOne(config)
	must(l.t, err)
	var cves []string
	var pairs []uint64
	for n := range rows {
		cves, pairs = append(cves, cve(n)), append(pairs, uint64(n))
	}
	f, err := newFile("Device", "CVE", []string{pc(0)}, cves, pairs)
	must(l.t, err)
	_, err = client.UploadScan(l.t.Context(), groupID, "cve.csv", f.size, f.write)
	must(l.t, err)
}

// TestAnotherFile: what somebody else put in the place of the file is replaced,
// though the bytes are those that were sent before.
func TestAnotherFile(t *testing.T) {
	l := newLab(t, 2)
	l.reportMany(2, 2)
	l.run(Message{})
	l.another(0)
	l.pass(time.Minute)
	l.day()
	l.wantOpen(0, 1)
	l.wantLine(1, "cve.csv")
	l.wantUploads(3)
	l.day()
	l.wantUploads(3)
	// The other file may come before the import of this one was seen to end.
	l.reportMany(2, 3)
	l.pass(24 * time.Hour)
	must(t, l.worker.Run(t.Context(), Message{TenantID: l.ref}))
	l.another(0)
	l.day()
	l.wantOpen(0, 1)
	l.wantUploads(6)
}

// TestLargerFileOfAnother: the brake asks what the group holds by now, not only what this
// app put there.
func TestLargerFileOfAnother(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 50)
	l.run(Message{})
	l.another(400)
	l.reportMany(2, 50)
	if s := l.day(); !s.Waits() || s.Replaced() != 400 || !strings.Contains(s.Reason, "100 rows, and the last one had 400") {
		t.Errorf("100 rows replace 400: %+v", s)
	}
	l.reportMany(3, 50) // the very bytes that were sent before
	for _, m := range []Message{{}, {Force: true}} {
		l.pass(24 * time.Hour)
		if s := l.run(m); !s.Waits() || s.WaitingRows != 150 {
			t.Errorf("%+v: 150 rows replace 400: %+v", m, s)
		}
	}
	l.wantUploads(2)
	l.pass(time.Minute)
	must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
	if s := l.run(Message{}); s.Waits() || s.Import != Complete || s.Rows != 150 {
		t.Errorf("the confirmed file was not sent: %+v", s)
	}
	l.wantUploads(3)
	l.wantOpen(0, 1, 2)
}
