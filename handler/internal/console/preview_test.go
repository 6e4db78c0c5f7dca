package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/m365sim"
)

// state is everything that is stored, to compare.
func (w *world) state() string {
	w.t.Helper()
	var b strings.Builder
	for _, table := range []string{w.table.Name(), "CippMapping", "CippLogs", "NinjaOneDeviceMap", "NinjaOneUserMap"} {
		for e, err := range w.account.Table(table).List(w.t.Context(), "") {
			must(w.t, err)
			b.WriteString(table + "|" + e.PartitionKey() + "|" + e.RowKey() + "|" + e.ETag() + "\n")
		}
	}
	for blob, err := range w.console.Blobs.List(w.t.Context(), "") {
		must(w.t, err)
		b.WriteString(blob.Name + "\n")
	}
	return b.String()
}

func TestPreview(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(1)
	w.has(w.get("/preview"), "Choose a tenant", "Nothing is written")

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
	preview, err := w.console.previewOf(t.Context(), id, false)
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
		if a := w.do(http.MethodGet, "/preview/value?tenant="+id+bad, nil); a.status != 500 {
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
	preview, err := w.console.previewOf(t.Context(), id, false)
	must(t, err)
	user := preview.Documents.Items[0]
	at := "tenant=" + id + "&document=user-" + user.ID
	w.has(w.get("/preview?"+at), user.Name, "User summary", "Would be written", "field=cippUserSummary", user.ID)
	w.has(w.get("/preview/value?"+at+"&field=cippUserSummary"), "card-title")
	for _, bad := range []string{at + "&field=cippUserID", at + "&field=x", "tenant=" + id + "&document=user-x&field=cippUserSummary"} {
		if a := w.do(http.MethodGet, "/preview/value?"+bad, nil); a.status != 500 {
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

// composer counts previews.
type composer struct {
	now   time.Time
	calls []string
}

func (c *composer) Preview(_ context.Context, id string) (*tenantsync.Preview, error) {
	c.now = c.now.Add(time.Second)
	c.calls = append(c.calls, id)
	return &tenantsync.Preview{At: c.now}, nil
}

func TestPreviewCache(t *testing.T) {
	previewer := &composer{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	c := New(Deps{Preview: previewer, Now: func() time.Time { return previewer.now }})
	get := func(id string) {
		_, err := c.previewOf(t.Context(), id, false)
		must(t, err)
	}
	for _, id := range []string{"a", "a", "b", "c", "d", "d", "b", "a"} { // "a" makes room for "d"
		get(id)
	}
	previewer.now = previewer.now.Add(previewLife)
	get("a")
	if want := []string{"a", "b", "c", "d", "a", "a"}; !slices.Equal(previewer.calls, want) || len(c.previews.kept) != previewsKept {
		t.Errorf("composed %v, want %v; %d are kept", previewer.calls, want, len(c.previews.kept))
	}
}

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
// large; the last one is kept however large it is.
func TestPreviewsAreForgotten(t *testing.T) {
	for name, tt := range map[string]struct {
		asked, composed string
		sizes           map[string]int
	}{
		"small":     {"abcabc", "abc", nil},
		"large":     {"aabbcacb", "abcab", map[string]int{"a": previewBytes / 2, "b": previewBytes/2 + 1, "c": 1}},
		"too large": {"aabbaa", "aba", map[string]int{"a": 2 * previewBytes, "b": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sized{sizes: tt.sizes, at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
			c := New(Deps{Preview: s, Now: func() time.Time { return s.at }})
			for _, id := range tt.asked {
				if _, err := c.previewOf(t.Context(), string(id), false); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(s.composed, ""); got != tt.composed {
				t.Errorf("composed %q, want %q", got, tt.composed)
			}
		})
	}
}
