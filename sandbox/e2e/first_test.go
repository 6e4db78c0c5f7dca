package e2e

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// TestFirstSync syncs every tenant of the invented provider once, then once
// more, and looks at everything that this leaves behind.
func TestFirstSync(t *testing.T) {
	t.Parallel()
	data := seed.MSP()
	w := start(t, data)
	first := map[string]*outcome{}
	for _, domain := range mappedDomains(data) {
		first[domain] = w.sync(domain)
	}

	t.Run("statuses", func(t *testing.T) {
		want := map[string]string{
			seed.Ordinary: "Completed", seed.Large: "Completed", seed.Markup: "Completed", seed.Restricted: "Completed",
			seed.Duplicates: "Completed", seed.Direct: "Completed", seed.SharedFirst: "Completed", seed.SharedSecond: "Completed",
			seed.ConsentLost: "Failed", seed.DeletedOrg: "Failed", seed.Excluded: "",
		}
		got := map[string]string{}
		for domain, o := range first {
			got[domain] = o.status
			if o.message.Err != nil {
				t.Errorf("%s: the invocation failed: %v", domain, o.message.Err)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("statuses (-want +got):\n%s", d)
		}
	})
	t.Run("what NinjaOne shows", func(t *testing.T) {
		w.correct(seed.Ordinary, seed.Large, seed.Markup, seed.Duplicates, seed.Direct, seed.SharedFirst, seed.SharedSecond, seed.Restricted)
		for _, domain := range []string{seed.ConsentLost, seed.Excluded} {
			if text := w.organizationText(domain, "TenantLinks"); text != "" {
				t.Errorf("%s shows %q, and was never synced", domain, text)
			}
		}
		for _, o := range w.NinjaOne.Organizations() {
			for _, d := range w.NinjaOne.Devices(o.ID) {
				if v, _ := w.NinjaOne.DeviceField(d.ID, "cippDeviceCompliance"); !slices.Contains([]string{"", "Compliant", "Non-Compliant"}, v.Sent) {
					t.Errorf("device %d: DeviceCompliance is %q", d.ID, v.Sent)
				}
			}
		}
	})
	t.Run("compliance by Intune's state", func(t *testing.T) { testCompliance(t, w) })
	t.Run("mapping rows", func(t *testing.T) {
		stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
		for domain, o := range first {
			row := w.mapping(w.tenant(domain).ID)
			if o.status == "" {
				if row["lastStartTime"] != nil || row["lastEndTime"] != nil {
					t.Errorf("%s: a tenant that was not synced has times: %v", domain, row)
				}
				continue
			}
			for _, column := range []string{"lastStartTime", "lastEndTime"} {
				if s, _ := row[column].(string); !stamp.MatchString(s) || row[column+"@odata.type"] != nil {
					t.Errorf("%s: %s is %v of type %v, want text like 2026-08-01T02:45:10.120Z", domain, column, row[column], row[column+"@odata.type"])
				}
			}
			if row["lastStartTime"].(string) > row["lastEndTime"].(string) {
				t.Errorf("%s: the run ended before it began: %v", domain, row)
			}
		}
		if got := w.mapping(w.tenant(seed.Ordinary).ID); got["IntegrationId"] != "11" || got["IntegrationName"] != "Harborline Logistics" {
			t.Errorf("the run changed what is mapped: %v", got)
		}
	})
	t.Run("device map", func(t *testing.T) { testDeviceMap(t, w) })
	t.Run("logbook", func(t *testing.T) { testLogbook(t, w, first) })
	t.Run("markup stays text", func(t *testing.T) { testMarkup(t, w) })
	t.Run("missing parts say why", func(t *testing.T) { testRestricted(t, w) })
	t.Run("a user beyond the hundredth is not listed, and the number is", func(t *testing.T) {
		text := w.organizationText(seed.Large, "UsersSummary")
		if !strings.Contains(text, "100") || !strings.Contains(text, "162") {
			t.Errorf("nothing says that 100 of 162 users are shown: %.300s", text)
		}
	})
	t.Run("second run", func(t *testing.T) {
		for _, domain := range mappedDomains(data) {
			o := w.sync(domain).wroteNothing()
			if o.status != first[domain].status {
				t.Errorf("%s: the second run ended as %q, the first as %q", domain, o.status, first[domain].status)
			}
			if o.status == "Completed" {
				o.quiet()
			}
			// Devices, fields, what others wrote of our HTML, and the compliance texts:
			// nothing that the first run wrote is read back.
			if n := o.reads(); domain == seed.Ordinary && n != 4 {
				t.Errorf("a run without changes made %d reads of NinjaOne, want 4: %v", n, o.calls)
			}
		}
	})
}

// mappedDomains returns the default domains of the mapped tenants in the order
// of the mappings.
func mappedDomains(data *seed.Seed) []string {
	var domains []string
	for _, m := range data.Mappings {
		for _, t := range data.Tenants {
			if t.ID == m.TenantID {
				domains = append(domains, t.DefaultDomain)
			}
		}
	}
	return domains
}

// testCompliance holds every device that one serial number identifies against
// the table of design section 6; a field without a value must never have been
// written at all.
func testCompliance(t *testing.T, w *world) {
	want := map[string]string{"compliant": "Compliant", "noncompliant": "Non-Compliant", "conflict": "Non-Compliant",
		"error": "Non-Compliant", "inGracePeriod": "Non-Compliant", "unknown": "", "configManager": ""}
	touched := map[int]bool{}
	for _, write := range w.NinjaOne.Writes() {
		if slices.Contains(append(write.Fields, write.Cleared...), "cippDeviceCompliance") {
			touched[write.ID] = true
		}
	}
	seen := map[string]int{}
	for _, domain := range []string{seed.Ordinary, seed.Large, seed.Direct} {
		organization := w.Seed.Organization(w.tenant(domain).ID)
		w.tenant(domain).View(func(tn *m365sim.Tenant) {
			for _, d := range tn.ManagedDevices {
				for _, n := range w.NinjaOne.Devices(organization) {
					if n.SerialNumber != d.String("serialNumber") {
						continue
					}
					state := d.String("complianceState")
					seen[state]++
					if got := w.deviceText(n.ID, "DeviceCompliance"); got != want[state] {
						t.Errorf("%s: device %d in state %s shows %q, want %q", domain, n.ID, state, got, want[state])
					}
					if want[state] == "" && touched[n.ID] {
						t.Errorf("%s: device %d in state %s was written, and there was nothing to write", domain, n.ID, state)
					}
				}
			}
		})
	}
	for _, state := range []string{"compliant", "noncompliant", "conflict", "error", "inGracePeriod", "unknown"} {
		if seen[state] == 0 {
			t.Errorf("the seed has no device in state %s", state)
		}
	}
}

func testDeviceMap(t *testing.T, w *world) {
	domain := seed.Ordinary
	id := w.tenant(domain).ID
	want := map[string]map[string]any{}
	w.tenant(domain).View(func(tn *m365sim.Tenant) {
		for _, d := range tn.ManagedDevices {
			for _, n := range w.NinjaOne.Devices(w.Seed.Organization(id)) {
				if n.SerialNumber == d.String("serialNumber") {
					want[d.String("azureADDeviceId")] = map[string]any{"PartitionKey": id, "RowKey": d.String("azureADDeviceId"),
						"NinjaOneID": strconv.Itoa(n.ID), "NinjaOneID@odata.type": "Edm.Int64", "M365ID": d.ID()}
				}
			}
		}
	})
	if len(want) != 36 {
		t.Fatalf("the seed has %d devices on both sides, want 36", len(want))
	}
	got := map[string]map[string]any{}
	for _, row := range w.rows("NinjaOneDeviceMap", "PartitionKey eq '"+id+"'") {
		for column := range maps.Clone(row) {
			if strings.HasPrefix(column, "odata.") || strings.HasPrefix(column, "Timestamp") {
				delete(row, column)
			}
		}
		got[row["RowKey"].(string)] = row
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("device map (-want +got):\n%s", d)
	}
	// A device without Entra device is matched, and has no row: its id is all
	// zeros, as that of any other such device.
	for _, row := range w.rows("NinjaOneDeviceMap", "PartitionKey ne ''") {
		if key := row["RowKey"].(string); strings.Trim(key, "0-") == "" {
			t.Errorf("a device without Entra device has the row %v", row)
		}
	}
	zero := w.ninjaDevice(15, "4DE5F61")
	if w.deviceText(zero.ID, "DeviceSummary") == "" {
		t.Errorf("device %d, which has no Entra device, shows nothing", zero.ID)
	}
}

func testLogbook(t *testing.T, w *world, first map[string]*outcome) {
	for _, domain := range []string{seed.Ordinary, seed.Large, seed.Markup, seed.Duplicates, seed.Direct, seed.SharedFirst, seed.SharedSecond} {
		first[domain].quiet()
	}
	first[seed.Ordinary].line("Info: Synced to NinjaOne organization 11 in ", "wrote 3 organization fields and 36 devices", "36 devices matched, 5 only in Intune, 2 only in NinjaOne", "Problems: 0.")
	first[seed.ConsentLost].failed("AADSTS65001", "no consent", "permission check")
	first[seed.DeletedOrg].failed("organization 999 (Quayside Optics) does not exist any more", "map the tenant")
	first[seed.Excluded].line("Warn: Not synced: the tenant is excluded in CIPP")
	if n := len(first[seed.Excluded].lines); n != 1 {
		t.Errorf("the excluded tenant got %d lines", n)
	}
	day := regexp.MustCompile(`^\d{8}$`)
	for domain := range first {
		for _, row := range w.logbookRows(domain) {
			for column, want := range map[string]any{"API": "NinjaOneSync", "Tenant": domain, "TenantID": w.tenant(domain).ID,
				"Username": "CIPP", "sentAsAlert": false, "LogData": ""} {
				if row[column] != want {
					t.Errorf("%s: column %s is %v, want %v", domain, column, row[column], want)
				}
			}
			if !day.MatchString(row["PartitionKey"].(string)) || len(row["RowKey"].(string)) != 36 {
				t.Errorf("%s: a row has the keys %v and %v", domain, row["PartitionKey"], row["RowKey"])
			}
		}
	}
	if lines := w.logbook("None"); len(lines) != 0 {
		t.Errorf("lines that concern no tenant: %q", lines)
	}
}

// testMarkup looks at the tenant whose every name is an attack.
func testMarkup(t *testing.T, w *world) {
	organization := w.Seed.Organization(w.tenant(seed.Markup).ID)
	for _, field := range []string{"cippTenantLinks", "cippTenantSummary", "cippUsersSummary"} {
		v, ok := w.NinjaOne.OrganizationField(organization, field)
		if !ok || len(v.Removed) > 0 {
			t.Errorf("%s: NinjaOne stripped %v", field, v.Removed)
		}
		inert(t, field, v.Sent)
	}
	for _, d := range w.NinjaOne.Devices(organization) {
		for _, field := range []string{"cippDeviceLinks", "cippDeviceSummary"} {
			v, _ := w.NinjaOne.DeviceField(d.ID, field)
			if len(v.Removed) > 0 {
				t.Errorf("device %d: NinjaOne stripped %v from %s", d.ID, v.Removed, field)
			}
			inert(t, "device "+strconv.Itoa(d.ID)+" "+field, v.Sent)
		}
	}
	users := w.organizationText(seed.Markup, "UsersSummary")
	for _, name := range []string{`<script>alert("name")</script>`, `O'Malley & "Sons" <sales@elan.example>`, `{{7*7}} ${7*7}`,
		"&lt;already escaped&gt; &amp;amp;", `"><img src=x onerror=alert(1)>`, "山田 太郎"} {
		if !strings.Contains(users, name) {
			t.Errorf("no user is shown as %s", name)
		}
	}
	if text := w.organizationText(seed.Markup, "TenantSummary"); !strings.Contains(text, `Müller & Söhne <b>GmbH</b> "Élan"`) {
		t.Errorf("the tenant's name is not shown as text: %.300s", text)
	}
}

// inert fails the test if a value holds something that a browser would run or
// load. The needles cannot stand in escaped text.
func inert(t *testing.T, what, html string) {
	t.Helper()
	lower := strings.ToLower(html)
	for _, bad := range []string{"<script", "<img", "<b>gmbh", "</td></tr></table><h1>", `="javascript:`, `href="//`, `href="http:`, "<iframe"} {
		if strings.Contains(lower, bad) {
			t.Errorf("%s holds %s", what, bad)
		}
	}
}

// testRestricted looks at the tenant of which much cannot be read.
func testRestricted(t *testing.T, w *world) {
	summary := w.organizationText(seed.Restricted, "TenantSummary")
	for _, want := range []string{
		"the app lacks SecurityEvents.Read.All", "the app lacks Policy.Read.All", "the app has Exchange.Manage, but CIPP's service account has no role",
		"Intune is not licensed in this tenant", "Microsoft 365 Business Standard",
	} {
		if !strings.Contains(summary, want) {
			t.Errorf("TenantSummary does not say %q", want)
		}
	}
	users := w.organizationText(seed.Restricted, "UsersSummary")
	w.tenant(seed.Restricted).View(func(tn *m365sim.Tenant) {
		for _, u := range tn.Users {
			if !strings.Contains(users, u.String("userPrincipalName")) {
				t.Errorf("UsersSummary lacks a user")
			}
		}
	})
	for _, want := range []string{"hide user names", "Intune is not licensed"} {
		if !strings.Contains(users, want) {
			t.Errorf("UsersSummary does not say %q: %.400s", want, users)
		}
	}
	for _, lie := range []string{"0 GB", "0%"} {
		if strings.Contains(users, lie) {
			t.Errorf("UsersSummary shows %q for what is unknown", lie)
		}
	}
}
