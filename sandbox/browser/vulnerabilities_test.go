//go:build browser

package browser

import (
	"fmt"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
)

// TestVulnerabilities uploads a tenant's file, looks at what the next one would
// be, which is much smaller, and confirms it.
func TestVulnerabilities(t *testing.T) {
	data := small()
	data.Quirks.CVESync = true
	data.Vulnerable("tenant-001.example", 101)
	tenant := data.Tenant("tenant-001.example")
	template := tenant.Vulnerabilities[1]
	many := func(n int) {
		tenant.Change(func(t *m365sim.Tenant) {
			t.Vulnerabilities = nil
			for i := range n {
				v := template
				v.CVE = fmt.Sprintf("CVE-2026-8%04d", i)
				t.Vulnerabilities = append(t.Vulnerabilities, v)
			}
			v := template
			v.DeviceID, v.DeviceName = "kiosk", `kiosk.<b>hall</b>.example`
			t.Vulnerabilities = append(t.Vulnerabilities, v)
		})
	}
	many(200)
	w := start(t, data)
	w.visit("/?q=tenant-001")
	w.press("Sync now: Tenant 001")
	w.says("3 organization fields")
	w.visit("/vulnerabilities?q=tenant-001")
	w.says("None yet")
	w.press("Upload now: Tenant 001")
	w.says("The upload was asked for.")
	w.comesToSay("/vulnerabilities?q=tenant-001", "Imported")
	w.says("200 rows")
	w.unfold("1 not in NinjaOne: Tenant 001")
	w.says("kiosk.<b>hall</b>.example")
	w.readable("vulnerabilities")
	w.picture("vulnerabilities")

	many(60)
	w.press("Preview: Tenant 001")
	w.says("Would wait for a confirmation")
	w.says("No longer in the file, so NinjaOne would count them as remediated: 140")
	w.says("and 40 more")
	w.readable("preview of a file")
	w.picture("vulnerabilities-preview")
	w.visit("/vulnerabilities")
	w.press("Upload now: Tenant 001")
	w.comesToSay("/confirmations", "60 in place of 200")
	w.readable("confirmation of a file")
	w.picture("vulnerabilities-confirmation")
	if n := len(w.NinjaOne.Uploads(101)); n != 1 {
		t.Errorf("%d files were sent without a confirmation", n)
	}
	w.press("Upload 60 rows in place of 200: Tenant 001")
	w.says("Confirmed. The file is read anew")
	w.comesToSay("/vulnerabilities?q=tenant-001", "60 rows")
	w.saysNot("Waits for a confirmation")
	w.visit("/logbook")
	w.says("A file of vulnerabilities of 60 rows was confirmed; the last one has 200.")
}
