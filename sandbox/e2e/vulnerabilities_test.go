package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// uploadQueue carries one tenant's file of vulnerabilities per message.
const uploadQueue = "ninjaone-vulnerabilities"

// vulnerable is a seed of small tenants whose vulnerabilities are uploaded.
func vulnerable(tenants int) *seed.Seed {
	data := seed.Generate(seed.Size{Tenants: tenants, Users: 4, Devices: 8, Groups: 1})
	data.Quirks.CVESync = true
	// Devices of two customers that have one name are one to a scan group.
	for i := range data.NinjaDevices {
		d := &data.NinjaDevices[i]
		d.SystemName = fmt.Sprintf("C%d-%s", d.OrganizationID, d.SystemName)
		d.DNSName, d.DisplayName = d.SystemName, d.SystemName
	}
	for i, t := range data.Tenants {
		for _, e := range t.ManagedDevices {
			e["deviceName"] = fmt.Sprintf("C%d-%s", data.Organization(t.ID), e.String("deviceName"))
		}
		data.Vulnerable(t.DefaultDomain, int64(101+i))
	}
	return data
}

// uploaded waits until no upload is queued or under way, looks at imports
// included.
func (w *world) uploaded() {
	w.t.Helper()
	w.poll("the queue of uploads to be empty", func() bool {
		for _, g := range w.NinjaOne.ScanGroups() {
			if g.Status == ninjasim.ImportInProgress {
				return false
			}
		}
		return w.waiting(uploadQueue) == 0
	})
}

// group is a tenant's scan group.
func (w *world) group(t *m365sim.Tenant) int64 { return w.ScanGroupOf(t.ID) }

// shows fails the test unless a tenant's scan group shows what it is to show.
func (w *world) shows(t *m365sim.Tenant) {
	w.t.Helper()
	w.showsAll(t, w.OpenCVEs(t.ID))
}

func (w *world) showsAll(t *m365sim.Tenant, want map[int][]string) {
	w.t.Helper()
	if got := w.NinjaOne.OpenCVEs(w.group(t)); len(want) == 0 || !maps.EqualFunc(got, want, slices.Equal) {
		w.t.Errorf("%s: the scan group shows %v, want %v; the logbook says\n%s", t.DefaultDomain, got, want, strings.Join(w.logbook(t.DefaultDomain), "\n"))
	}
}

// nextDay lets a day have passed since every tenant's last upload was queued.
func (w *world) nextDay() {
	w.t.Helper()
	for _, row := range w.rows("NinjaOneVulnerabilities", "") {
		w.merge("NinjaOneVulnerabilities", row["PartitionKey"].(string), row["RowKey"].(string), map[string]any{
			"Queued": time.Now().Add(-25 * time.Hour).UTC().Format(time.RFC3339), "Queued@odata.type": "Edm.DateTime"})
	}
}

// TestVulnerabilities: the schedule queues each tenant once a day, its file fills
// the scan group, and the cards show it.
func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	data := vulnerable(2)
	data.CVEExceptions = []seed.CVEException{{CVE: "CVE-2026-90002", Tenant: "ALL"}, {CVE: "cve-2026-90003", Tenant: data.Tenants[0].DefaultDomain, Expiry: "2020-01-01"}}
	w := start(t, data)
	first := data.Tenants[0]
	if w.tick(); w.waiting(uploadQueue) != 0 {
		t.Error("an upload is queued before the tenant's first sync")
	}
	w.settled()
	for _, tenant := range data.Tenants {
		if text := w.organizationText(tenant.DefaultDomain, "TenantSummary"); strings.Contains(text, "Vulnerabilities") {
			t.Error("the summary shows vulnerabilities before any were uploaded")
		}
	}
	w.tick()
	w.uploaded()
	header := regexp.MustCompile(`^device,cve\n`)
	for _, tenant := range data.Tenants {
		w.shows(tenant)
		uploads := w.NinjaOne.Uploads(w.group(tenant))
		if len(uploads) != 1 || !header.Match(uploads[0].Bytes) || strings.Contains(string(uploads[0].Bytes), "CVE-2026-90002") || !strings.Contains(string(uploads[0].Bytes), "CVE-2026-90003") {
			t.Errorf("%s: %d files; the last one is %.300s", tenant.DefaultDomain, len(uploads), uploads[len(uploads)-1].Bytes)
		}
		if lines := w.logbook(tenant.DefaultDomain); !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Info: NinjaOne imported the vulnerabilities") }) {
			t.Errorf("the logbook says\n%s", strings.Join(lines, "\n"))
		}
	}

	w.tick()
	if n := w.waiting(uploadQueue); n != 0 {
		t.Errorf("%d uploads are queued twice a day", n)
	}

	// The next sync shows it on the cards, and the one after writes nothing.
	w.sync(first.DefaultDomain).completed()
	exposed := slices.Collect(maps.Keys(w.OpenCVEs(first.ID)))
	if text := w.organizationText(first.DefaultDomain, "TenantSummary"); !strings.Contains(text, "by severity") || !strings.Contains(text, "Most exposed devices") {
		t.Errorf("the tenant's summary shows %s", text)
	}
	w.deviceShows(exposed, "Vulnerabilities")
	w.sync(first.DefaultDomain).completed().wroteNothing()
	// So does a light run, which leaves the cards as they are.
	first.Change(func(t *m365sim.Tenant) { t.Users[0]["displayName"] = "Renamed Person" })
	w.send(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false,"light":true}`, first.ID))
	if text := w.organizationText(first.DefaultDomain, "UsersSummary"); !strings.Contains(text, "Renamed Person") {
		t.Error("the light run changed nothing")
	}
	if text := w.organizationText(first.DefaultDomain, "TenantSummary"); !strings.Contains(text, "Most exposed devices") {
		t.Errorf("after a light run the tenant's summary shows %s", text)
	}
	w.deviceShows(exposed, "Vulnerabilities")
	w.configure(map[string]any{"CveSyncEnabled": false})
	w.sync(first.DefaultDomain).completed()
	if text := w.organizationText(first.DefaultDomain, "TenantSummary"); strings.Contains(text, "Vulnerabilities") {
		t.Error("the card stays after the upload was turned off")
	}
	w.nextDay()
	w.tick()
	if n := w.waiting(uploadQueue); n != 0 {
		t.Error("an upload is queued although it is turned off")
	}
}

// deviceShows fails the test unless the summary of each device has the text.
func (w *world) deviceShows(devices []int, text string) {
	w.t.Helper()
	for _, id := range devices {
		if shown := w.deviceText(id, "DeviceSummary"); !strings.Contains(shown, text) {
			w.t.Errorf("device %d lacks %q: %s", id, text, shown)
		}
	}
}
