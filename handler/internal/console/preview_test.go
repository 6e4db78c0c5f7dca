package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/m365sim"
)

// state is everything that is stored, to compare.
func (w *world) state() string {
	w.t.Helper()
	var b strings.Builder
	for _, table := range []string{w.table.Name(), "CippMapping", "CippLogs", "NinjaOneDeviceMap", "NinjaOneUserMap"} {
		for _, e := range storagetest.Rows(w.t, w.account.Table(table), "") {
			b.WriteString(table + "|" + e.PartitionKey() + "|" + e.RowKey() + "|" + e.ETag() + "\n")
		}
	}
	return b.String() + strings.Join(storagetest.Blobs(w.t, w.console.Blobs, ""), "\n")
}

func TestPreview(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(1)
	w.has(w.get("/preview"), "Choose a tenant", "The preview writes nothing")

	before := w.state()
	page := w.get("/preview?tenant=" + id)
	w.has(page, "Would be written", "A sync would send 20 fields", "Custom field <code>cippTenantSummary</code>", `" sandbox referrerpolicy="no-referrer"`, "Devices (6, 6 to write)")
	w.has(w.get("/preview?view=devices&tenant="+id), "Matched devices of the tenant")
	w.has(w.get("/preview?view=documents&tenant="+id), "Documents of users and licences are turned off")
	if after := w.state(); after != before || len(w.NinjaOne.Writes()) > 0 {
		t.Errorf("a preview wrote something:\n%s\nbefore:\n%s", after, before)
	}
	value := w.do(http.MethodGet, "/preview/value?tenant="+id+"&field=TenantSummary&theme=dark", nil)
	if csp := value.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox;") || strings.Contains(csp, "script") {
		t.Errorf("policy of a value: %s", csp)
	}
	w.has(value.body, `<html lang="en" data-theme="dark">`, `class="card-title"`, "Tenant 001")

	// After a sync nothing would be sent.
	w.sync(id)
	page = w.get("/preview?fresh=1&tenant=" + id)
	w.has(page, "A sync would send no field", "The same as what was written last")
	w.hasNot(page, "Would be ")

	// Then a user appears, and a device.
	w.tenant(id).View(func(m *m365sim.Tenant) {
		u := m.Users[0]
		u["displayName"] = "Riley " + hostile
	})
	w.has(w.get("/preview?tenant="+id), "A sync would send no field") // kept
	page = w.get("/preview?fresh=1&tenant=" + id)
	w.has(page, "Would be rewritten", "What differs from what was written last", "<ins>", "<mark>", "Riley &lt;script&gt;", "<del>", "lines without change")
	w.hasNot(page, hostile)
	users := w.get("/preview/value?tenant=" + id + "&field=UsersSummary")
	w.has(users, "Riley &lt;script&gt;")
	w.hasNot(users, "<script")

	// One device.
	preview, err := w.console.previews.get(t.Context(), id, false)
	must(t, err)
	device := preview.Targets[1]
	page = w.get("/preview?tenant=" + id + "&device=" + strconv.Itoa(device.DeviceID))
	w.has(page, device.Name, "Device compliance", "field=DeviceSummary", "The same as what was written last")
	w.hasNot(page, "Matched devices of the tenant", "What differs")
	w.tenant(id).View(func(m *m365sim.Tenant) {
		for _, d := range m.ManagedDevices {
			d["complianceState"] = "noncompliant"
		}
	})
	page = w.get("/preview?fresh=1&tenant=" + id + "&device=" + strconv.Itoa(device.DeviceID))
	w.has(page, "What differs from what was written last", "<del>Compliant</del>", "<ins>Non-Compliant</ins>", "Would be rewritten")
	w.has(w.get("/preview/value?tenant="+id+"&device="+strconv.Itoa(device.DeviceID)+"&field=DeviceSummary"), "card-title")
	for _, bad := range []string{"&field=DeviceSummary", "&field=DeviceCompliance&device=" + strconv.Itoa(device.DeviceID), "&field=x", "&field=DeviceLinks&device=1"} {
		if a := w.do(http.MethodGet, "/preview/value?tenant="+id+bad, nil); a.status != 404 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}

	// A device that left Intune is cleared.
	w.tenant(id).View(func(m *m365sim.Tenant) { m.ManagedDevices = m.ManagedDevices[1:] })
	w.has(w.get("/preview?fresh=1&view=devices&only=changes&tenant="+id), "No longer matched: its fields are cleared.", "Would be cleared")

	// Unmapped fields and tenants.
	w.post("/fields", "UsersSummary", "")
	w.has(w.get("/preview?fresh=1&tenant="+id), "Not mapped", "No usable custom field is mapped")
	w.has(w.get("/preview?tenant=unknown"), "Choose a tenant")
	if _, err := w.syncer.Preview(t.Context(), "9d0b1c00-0000-4000-8000-000000000009"); err == nil {
		t.Error("a tenant that CIPP does not know has a preview")
	}
}

func TestPreviewOfDocuments(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(1)
	_, err := w.console.Settings.SaveSettings(t.Context(), map[string]any{"UserDocumentsEnabled": true, "LicenseDocumentsEnabled": true})
	must(t, err)

	before := w.state()
	page := w.get("/preview?view=documents&tenant=" + id)
	w.has(page, "Documents (", " to write)", "Microsoft 365 Users&#34; would be created", "Would be created", "relations to add")
	preview, err := w.console.previews.get(t.Context(), id, false)
	must(t, err)
	user := preview.Documents.Items[0]
	at := "tenant=" + id + "&document=user-" + user.ID
	w.has(w.get("/preview?"+at), user.Name, "User summary", "Would be written", "field=cippUserSummary", user.ID)
	w.has(w.get("/preview/value?"+at+"&field=cippUserSummary"), "card-title")
	for _, bad := range []string{at + "&field=cippUserID", at + "&field=x", "tenant=" + id + "&document=user-x&field=cippUserSummary"} {
		if a := w.do(http.MethodGet, "/preview/value?"+bad, nil); a.status != 404 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
	w.has(w.get("/preview?tenant="+id+"&document=user-x"), "The document cannot be shown")
	if after := w.state(); after != before || len(w.NinjaOne.Writes())+len(w.NinjaOne.DocumentWrites()) > 0 {
		t.Errorf("a preview wrote something:\n%s\nbefore:\n%s", after, before)
	}

	// The sync does what the preview said; then there is nothing left to do.
	w.sync(id)
	if n := len(w.NinjaOne.Documents(preview.OrganizationID)); n != len(preview.Documents.Items) {
		t.Errorf("%d documents, and the preview had %d", n, len(preview.Documents.Items))
	}
	w.has(w.get("/"), " documents written")
	w.has(w.get("/preview?fresh=1&view=documents&only=changes&tenant="+id), "There is no document that fits the filter")

	// One user leaves, one is renamed.
	w.tenant(id).View(func(m *m365sim.Tenant) {
		m.Users[1]["displayName"] = "Renamed " + hostile
		m.Users = m.Users[1:]
	})
	page = w.get("/preview?fresh=1&view=documents&only=changes&tenant=" + id)
	w.has(page, "Would be archived", "Gone from Microsoft 365", "Would be changed", "Writes ", "name.", "Renamed &lt;script&gt;")
	w.hasNot(page, hostile)
	w.hasNot(w.get("/preview?view=documents&only=archived&tenant="+id), "Would be changed</span>")
}

func (w *world) tenant(id string) *m365sim.Tenant { return w.M365.Tenant(id) }

// sized composes previews whose values have a size.
type sized struct {
	sizes    map[string]int
	composed []string
	at       time.Time
}

func (s *sized) Preview(_ context.Context, id string) (*tenantsync.Preview, error) {
	s.composed = append(s.composed, id)
	s.at = s.at.Add(time.Second)
	return &tenantsync.Preview{At: s.at, Targets: []tenantsync.PreviewTarget{{Fields: []tenantsync.PreviewField{{Value: strings.Repeat("x", s.sizes[id])}}}}}, nil
}

// TestPreviewsAreForgotten: the oldest first, when there are many or they are
// large; the last one is kept however large it is, but not for long.
func TestPreviewsAreForgotten(t *testing.T) {
	for name, tt := range map[string]struct {
		asked, composed string
		sizes           map[string]int
	}{
		"small":     {"abcabc", "abc", nil},
		"many":      {"aabcddba", "abcda", nil}, // "a" makes room for "d"
		"large":     {"aabbcacb", "abcab", map[string]int{"a": previewBytes / 2, "b": previewBytes/2 + 1, "c": 1}},
		"too large": {"aabbaa", "aba", map[string]int{"a": 2 * previewBytes, "b": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sized{sizes: tt.sizes, at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
			c := New(Deps{Preview: s, Now: func() time.Time { return s.at }})
			for _, id := range tt.asked {
				if _, err := c.previews.get(t.Context(), string(id), false); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(s.composed, ""); got != tt.composed || len(c.previews.kept) > previewsKept {
				t.Errorf("composed %q, want %q; %d are kept", got, tt.composed, len(c.previews.kept))
			}
			last := tt.asked[len(tt.asked)-1:]
			s.at = s.at.Add(previewLife)
			if _, err := c.previews.get(t.Context(), last, false); err != nil || s.composed[len(s.composed)-1] != last || len(s.composed) != len(tt.composed)+1 {
				t.Errorf("composed %q when %s is old, %v", s.composed, last, err)
			}
		})
	}
}

// until waits for a condition.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for ticks := time.Tick(5 * time.Millisecond); !holds(); {
		select {
		case <-ticks:
		case <-t.Context().Done():
			t.Fatal("it did not come true before the test's end")
		}
	}
}

// heldPreviews is a Previewer whose previews end when the test lets them.
type heldPreviews struct {
	mu    sync.Mutex
	begun []string      // tenants, in the order of their turns
	end   chan struct{} // takes a value for each that may end
}

func (h *heldPreviews) Preview(ctx context.Context, tenantID string) (*tenantsync.Preview, error) {
	h.mu.Lock()
	h.begun = append(h.begun, tenantID)
	h.mu.Unlock()
	select {
	case <-h.end:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &tenantsync.Preview{At: time.Now(), Tenant: tenant.Ref{ID: tenantID, DisplayName: "Tenant"}}, nil
}

func (h *heldPreviews) under() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.begun)
}

// TestPreviewsTakeTurns asks for three previews at once: two are composed, the
// third is told that it waits, keeps its place, and is shown in the end.
func TestPreviewsTakeTurns(t *testing.T) {
	w := newWorld(t)
	held := &heldPreviews{end: make(chan struct{})}
	w.console.Preview = held
	var pages sync.WaitGroup
	for i := 1; i <= 2; i++ {
		pages.Go(func() { w.has(w.get("/preview?tenant="+w.tenantID(i)), "Read <time") })
	}
	until(t, func() bool { return held.under() == 2 })
	for _, path := range []string{"/preview?fresh=1&theme=dark&tenant=", "/preview?theme=dark&tenant="} {
		third := w.do(http.MethodGet, path+w.tenantID(3), nil)
		w.has(third.body, "Waiting: 2 previews were asked for before this one.")
		if again := third.header.Get("Refresh"); third.status != http.StatusOK || again != "5; url=/api/ninjaone/console/preview?tenant="+w.tenantID(3)+"&theme=dark" {
			t.Errorf("status %d, and it looks again at %q", third.status, again)
		}
	}
	if held.under() != 2 {
		t.Error("a third preview was composed beside two others")
	}
	held.end <- struct{}{}
	until(t, func() bool { return held.under() == 3 })
	close(held.end)
	pages.Wait()
	w.has(w.get("/preview?tenant="+w.tenantID(3)), "Read <time")
	if n := held.under(); n != 3 {
		t.Errorf("%d previews were composed", n)
	}
}

// TestPreviewsThatNobodyWaitsFor lets a page be closed before its turn.
func TestPreviewsThatNobodyWaitsFor(t *testing.T) {
	w := newWorld(t)
	held := &heldPreviews{end: make(chan struct{})}
	w.console.Preview = held
	var late atomic.Int64
	w.console.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	var pages sync.WaitGroup
	for i := 1; i <= 2; i++ {
		pages.Go(func() { w.get("/preview?tenant=" + w.tenantID(i)) })
	}
	until(t, func() bool { return held.under() == 2 })
	w.has(w.get("/preview?tenant="+w.tenantID(3)), "Waiting: ")
	late.Store(int64(previewWanted + time.Second))
	close(held.end)
	pages.Wait()
	until(t, func() bool {
		w.console.previews.mu.Lock()
		defer w.console.previews.mu.Unlock()
		return len(w.console.previews.asked) == 0
	})
	if held.under() != 2 {
		t.Error("a preview was composed that nobody waited for")
	}
}

// TestOtherSitesStartNothing has another site's page send a browser to every
// address that costs calls.
func TestOtherSitesStartNothing(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(1)
	costly := []string{"/preview?tenant=" + id, "/preview?fresh=1&tenant=" + id, "/preview/value?field=TenantSummary&tenant=" + id, "/settings?test=now", "/organizations", "/fields", "/Preview/?tenant=" + id, "/logbook?from=2026-07-01"}
	browsers := map[string]http.Header{
		"a link on another site":     {"Sec-Fetch-Site": {"cross-site"}},
		"a neighbour's page":         {"Sec-Fetch-Site": {"same-site"}},
		"a script of another origin": {"Origin": {"https://evil.example"}},
		"a sandboxed frame":          {"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}},
		"an old browser":             {"User-Agent": {"Mozilla/5.0"}, "Referer": {"https://evil.example/"}},
		"an old browser that hides":  {"User-Agent": {"Mozilla/5.0"}},
	}
	calls := func() string { return fmt.Sprint(w.M365.Calls(), w.NinjaOne.Calls()) }
	before := calls()
	for name, header := range browsers {
		w.header = header
		for _, path := range costly {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := w.do(method, path, nil)
				if a.status != http.StatusForbidden || method == http.MethodGet && !strings.Contains(a.body, `id="continue"`) {
					t.Errorf("%s: %s %s: status %d", name, method, path, a.status)
				}
			}
		}
		if header["User-Agent"] != nil {
			continue // every browser tells with a POST where it comes from
		}
		if got := w.do(http.MethodPost, "/checks", url.Values{}); got.status != http.StatusForbidden {
			t.Errorf("%s: POST /checks: status %d", name, got.status)
		}
	}
	w.header = http.Header{"Sec-Fetch-Site": {"none"}} // typed
	for _, path := range costly[:4] {
		if got := w.do(http.MethodGet, path, nil); got.status != http.StatusForbidden {
			t.Errorf("typed: %s: status %d", path, got.status)
		}
	}
	if after := calls(); after != before {
		t.Errorf("calls were made: %s, before: %s", after, before)
	}

	// What asks to continue leads to the same page, and is followed from ours.
	a := w.do(http.MethodGet, "/preview?theme=dark&tenant="+id, nil)
	w.has(a.body, `href="/api/ninjaone/console/preview?tenant=`+id+`&amp;theme=dark"`)
	w.header = http.Header{"Sec-Fetch-Site": {"same-origin"}}
	w.has(w.get("/preview?tenant="+id), "A sync would send")
	w.header = http.Header{"Sec-Fetch-Site": {"cross-site"}} // it is kept now, and costs nothing
	w.has(w.get("/preview?tenant="+id), "A sync would send")
	w.header = http.Header{} // no browser
	w.has(w.get("/organizations"), "Tenants and their NinjaOne organizations")
}
