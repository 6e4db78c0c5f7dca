package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/handler/internal/words"
)

// stands lets a tenant's file stand as a turn left it.
func (w *world) stands(id string, s vulnerabilities.Status) {
	w.t.Helper()
	text, err := json.Marshal(s)
	must(w.t, err)
	w.row(w.files.Table, storage.Entity{"PartitionKey": "files", "RowKey": id, "Version": int32(layout.Version), "Status": string(text)})
}

func (w *world) turnCVEsOn() {
	w.t.Helper()
	w.has(w.post("/settings", "cve", "true", "cveprefix", "CIPP ", "enabled", "true", "instance", "eu.ninjarmm.com", "client", w.Seed.Ninja.ClientID),
		`name="cve" value="true" checked`)
	config, err := w.console.CIPP.NinjaOneConfig(w.t.Context())
	must(w.t, err)
	if !config.CVESync {
		w.t.Error("the switch is not saved")
	}
}

func TestVulnerabilities(t *testing.T) {
	w := newWorld(t)
	first, second := w.tenantID(1), w.tenantID(2)
	page := w.get("/vulnerabilities")
	w.has(page, "The upload of vulnerabilities is turned off", "Tenant 001", "None yet", "Turned off")
	w.hasNot(page, "Upload now")
	w.has(w.refused("/vulnerabilities", "tenant", first, "do", "upload"), "turned off")

	w.turnCVEsOn()
	now := time.Now()
	w.stands(first, vulnerabilities.Status{
		Group: "CIPP tenant-001.example", GroupID: 31, Digest: "x", Rows: 26_000, Uploaded: now.Add(-3 * time.Hour), Import: vulnerabilities.Complete, Processed: 25_900,
		Trouble: "NinjaOne processed only 25900 of the 26000 rows.",
		Turn:    now.Add(-2 * time.Hour), Source: vulnerabilities.SourceCache, SourceAt: now.Add(-26 * time.Hour), Reported: 26_500,
		Matched: 180, Unmatched: 52, UnmatchedRows: 440, Unknown: []string{"laptop-7.corp.example", hostile}, Exceptions: 2, Excepted: 60,
		Reason: "Defender answers: " + hostile,
	})
	page = w.get("/vulnerabilities")
	w.has(page, "→ CIPP tenant-001.example", "Imported in part", "NinjaOne processed only 25900 of the 26000 rows.", "26000 rows", "3 hours ago",
		"26500 CVEs of devices from CIPP&#39;s cache", "26 hours ago", "180 matched", "52 not in NinjaOne", "Their 440 rows are not sent", "laptop-7.corp.example",
		"and 50 more", "2 apply", "60 rows left out", "Defender answers: &lt;script&gt;", "Upload now")
	w.hasNot(page, hostile, "turned off")
	w.has(w.get("/vulnerabilities?show=reason"), "Tenant 001")
	w.hasNot(w.get("/vulnerabilities?show=reason"), "Tenant 002")
	w.hasNot(w.get("/vulnerabilities?show=unmatched&q=002"), "Tenant 001", "Tenant 002")
	for state, want := range map[vulnerabilities.Import]string{
		vulnerabilities.Sending: "Whether NinjaOne has this file is not known", vulnerabilities.InProgress: "Import under way",
		vulnerabilities.Failed: "The import failed.", vulnerabilities.Complete: "Imported</span>",
	} {
		w.stands(second, vulnerabilities.Status{Digest: "x", Rows: 3, Processed: 3, Uploaded: now, Turn: now, Source: vulnerabilities.SourceDefender, SourceAt: now, Import: state, Trouble: map[vulnerabilities.Import]string{vulnerabilities.Failed: "The import failed."}[state]})
		w.has(w.get("/vulnerabilities?q=002"), want, "none missing")
	}

	// What no turn has read is not zero.
	w.stands(second, vulnerabilities.Status{Turn: now, Reason: "There is no scan group."})
	w.has(w.get("/vulnerabilities?q=002"), "There is no scan group.", `data-label="Devices">–`, `data-label="Exceptions">–`)

	// Upload now.
	w.has(w.post("/vulnerabilities", "tenant", second, "do", "upload"), "The upload was asked for")
	w.has(w.get("/vulnerabilities"), "After the tenant&#39;s first sync")
	if got, want := w.message(w.uploads), fmt.Sprintf(`{"tenantId":%q,"force":true}`, second); got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	w.has(w.refused("/vulnerabilities", "tenant", "9d0b1c00-0000-4000-8000-000000000009", "do", "upload"), "CIPP knows no such tenant")
	w.has(w.refused("/vulnerabilities", "tenant", first), "choose what to do")
	must(t, w.account.Table("CippMapping").Delete(t.Context(), "NinjaOneMapping", w.tenantID(3)))
	w.has(w.refused("/vulnerabilities", "tenant", w.tenantID(3), "do", "upload"), "not mapped")
	w.has(w.lines(), "The upload of vulnerabilities was asked for on the console.")
}

// TestUploadsStopped: while nothing is uploaded, the page says why and what to do, and
// nothing is asked for.
func TestUploadsStopped(t *testing.T) {
	w := newWorld(t)
	first := w.tenantID(1)
	w.turnCVEsOn()
	now := time.Now()
	w.stands(first, vulnerabilities.Status{Digest: "x", Rows: 400, Uploaded: now, Turn: now, Import: vulnerabilities.Complete, Processed: 400,
		WaitingSince: now.Add(-time.Hour), WaitingRows: 12})
	must(t, w.console.Runs.Save(t.Context(), runs.Run{TenantID: first, Status: runs.Completed, Start: now, End: now, LastSuccess: now}))
	for _, stop := range []struct {
		arrange         func()
		why, link, next string
	}{
		{func() { must(t, w.console.Engine.GiveBack(t.Context())) }, "CIPP&#39;s own sync was given back. Take over from CIPP first, on the console&#39;s page Status.", "/#engine", "By CIPP"},
		{func() {
			must(t, w.console.Engine.TakeOver(t.Context()))
			must(t, w.console.CIPP.SaveNinjaOneSettings(t.Context(), []cipp.Property{{Name: "Enabled", Value: []byte("false")}}, func(cipp.ExtensionConfig) error { return nil }))
		}, "the NinjaOne integration is turned off. Turn it on under Settings on the console.", "/settings", "Turned off"},
	} {
		w.has(w.get("/vulnerabilities?q=001"), "Within 15 minutes", "Upload now")
		stop.arrange()
		page := w.get("/vulnerabilities?q=001")
		w.has(page, words.Sentence(stop.why)+" No file is sent until then.", stop.link+`">`, stop.next)
		w.hasNot(page, "Within 15 minutes", "Upload now")
		w.has(w.refused("/vulnerabilities", "tenant", first, "do", "upload"), "Nothing was done: "+stop.why)
		w.has(w.refused("/vulnerabilities", "tenant", first, "do", "confirm", "rows", "12"), "Nothing was done: "+stop.why)
		s, err := w.files.Of(t.Context(), first)
		must(t, err)
		if n, err := w.uploads.Length(t.Context()); n != 0 || err != nil || !s.Waits() {
			t.Errorf("%s: %d messages, %v; the file stands as %+v", stop.why, n, err, s)
		}
		must(t, w.console.Engine.TakeOver(t.Context()))
	}
	w.hasNot(w.lines(), "was asked for on the console", "was confirmed")
}

// TestConfirmFile: a file that is much smaller goes once a person says so, of the
// number that the person saw.
func TestConfirmFile(t *testing.T) {
	w := newWorld(t)
	first := w.tenantID(1)
	w.turnCVEsOn()
	w.has(w.get("/confirmations"), "Nothing waits for a confirmation")
	w.has(w.refused("/vulnerabilities", "tenant", first, "do", "confirm", "rows", "12"), "Nothing waits for a confirmation for this tenant any more")
	now := time.Now()
	w.stands(first, vulnerabilities.Status{Digest: "x", Rows: 400, Uploaded: now, Turn: now, Import: vulnerabilities.Complete, Processed: 400,
		WaitingSince: now.Add(-time.Hour), WaitingRows: 12})
	for _, page := range []string{"/confirmations", "/vulnerabilities?show=waits"} {
		w.has(w.get(page), "Tenant 001", `value="12"`, "Upload 12 rows in place of 400")
	}
	w.has(w.refused("/vulnerabilities", "tenant", first, "do", "confirm", "rows", "13"), "the file has changed since the page was read")
	w.has(w.post("/vulnerabilities", "tenant", first, "do", "confirm", "rows", "12"), "Confirmed. The file is read anew")
	if got, want := w.message(w.uploads), fmt.Sprintf(`{"tenantId":%q}`, first); got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	s, err := w.files.Of(t.Context(), first)
	must(t, err)
	if s.Waits() || s.Confirmed.IsZero() {
		t.Errorf("the confirmation is not kept: %+v", s)
	}
	w.has(w.get("/confirmations"), "Nothing waits for a confirmation")
	w.has(w.refused("/vulnerabilities", "tenant", first, "do", "confirm", "rows", "12"), "Nothing waits for a confirmation for this tenant any more")
	w.has(w.lines(), "A file of vulnerabilities of 12 rows was confirmed; the last one has 400.")
	// What the file would replace is not always the last file.
	w.stands(w.tenantID(2), vulnerabilities.Status{Digest: "x", Rows: 30, Turn: now, Import: vulnerabilities.Failed, WaitingSince: now, WaitingRows: 29, WaitingOver: 900})
	w.has(w.get("/confirmations"), "29 in place of 900", "Upload 29 rows in place of 900")
}

func TestPreviewFile(t *testing.T) {
	w := newWorld(t)
	first := w.tenantID(1)
	w.has(w.get("/vulnerabilities/preview?tenant="+first), "Nothing can be shown.", "turned off")
	w.turnCVEsOn()
	w.has(w.get("/vulnerabilities/preview?tenant="+first), "Nothing can be shown.", "NinjaOne has no scan group with the name &#34;CIPP tenant-001.example&#34;")
	asked := 0
	w.filePreview = func(id string) (vulnerabilities.Preview, error) {
		if asked++; id != first {
			return vulnerabilities.Preview{}, errors.New("the export cannot be read")
		}
		p := vulnerabilities.Preview{Verdict: vulnerabilities.Wait, Rows: 101, Added: 1, Removed: 300,
			Now:          vulnerabilities.Status{Turn: time.Now(), Matched: 4, Unmatched: 1, Unknown: []string{"kiosk"}, Excepted: 7, Source: vulnerabilities.SourceDefender, SourceAt: time.Now(), Reason: "It waits."},
			Last:         vulnerabilities.Status{Rows: 400, WaitingSince: time.Now(), WaitingRows: 99},
			FirstAdded:   []vulnerabilities.Row{{Device: hostile, CVE: "CVE-2026-90009"}},
			FirstRemoved: []vulnerabilities.Row{{Device: "LT-1", CVE: "CVE-2026-90001"}, {Device: "LT-1", CVE: "CVE-2026-90002"}}}
		return p, nil
	}
	w.has(w.get("/vulnerabilities/preview"), "Choose a tenant")
	page := w.get("/vulnerabilities/preview?tenant=" + strings.ToUpper(first))
	w.has(page, "Would wait for a confirmation", "It waits.", "<strong>101</strong> rows", "<strong>400</strong> rows in the last file", "kiosk", "Read from Defender", "A file of 99 rows waits since", "To the confirmations",
		"No longer in the file, so NinjaOne would count them as remediated: 300", "<del>LT-1 CVE-2026-90002</del>", "and 298 more", "New in the file: 1", "&lt;script&gt;")
	w.hasNot(page, hostile)
	w.get("/vulnerabilities/preview?tenant=" + first)
	if asked != 1 {
		t.Errorf("the file was composed %d times, want once", asked)
	}
	w.get("/vulnerabilities/preview?tenant=" + first + "&fresh=1")
	if asked != 2 {
		t.Errorf("the file was composed %d times, want twice", asked)
	}
	w.has(w.get("/vulnerabilities/preview?tenant="+w.tenantID(2)), "Nothing can be shown. The export cannot be read.")

	// Another site cannot make a browser have it read.
	w.console.Guard = guardOf(access.Config{PlatformAuth: true})
	w.header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "X-Ms-Client-Principal": {principal(t, "reader")}}
	before := asked
	if a := w.do(http.MethodGet, "/vulnerabilities/preview?tenant="+w.tenantID(2), nil); a.status != http.StatusForbidden || !strings.Contains(a.body, "Continue") || asked != before {
		t.Errorf("%d for another site's request, %d previews more", a.status, asked-before)
	}
	// A reader sees everything and is offered no change.
	w.header = http.Header{"Sec-Fetch-Site": {"same-origin"}, "X-Ms-Client-Principal": {principal(t, "reader")}}
	w.stands(first, vulnerabilities.Status{Digest: "x", Rows: 400, Turn: time.Now(), WaitingSince: time.Now(), WaitingRows: 12})
	w.hasNot(w.get("/vulnerabilities"), `method="post"`)
	w.has(w.get("/confirmations"), "Waits for an editor")
}
