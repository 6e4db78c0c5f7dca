package e2e

import (
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// TestFindsThePace syncs a tenant where NinjaOne takes many times the calls that
// the pace begins with. The bundle finds out, remembers it for other processes,
// and shows it on the console.
func TestFindsThePace(t *testing.T) {
	t.Parallel()
	data := seed.Generate(seed.Size{Tenants: 1, Users: 4, Devices: 250, Groups: 1})
	w := start(t, data, setting("NINJAONE_RATE", "5"), setting("NINJAONE_RATE_MAX", "60"))
	w.NinjaOne.SetRateLimit(ninjasim.RateLimit{PerSecond: 40})
	w.sync(data.Tenants[0].DefaultDomain).completed()
	rows := w.rows("NinjaOneSyncState", "PartitionKey eq 'pace'")
	if len(rows) != 1 || rows[0]["RowKey"] != "eu.ninjarmm.com" {
		t.Fatalf("the rows of the pace are %v", rows)
	}
	pace, _ := rows[0]["Pace"].(float64)
	if pace <= 5 || pace > 60 { // how far it gets depends on the machine
		t.Errorf("the pace that was learnt is %v", rows[0]["Pace"])
	}
	turned := w.NinjaOne.Throttled()
	t.Logf("pace %.1f, %d calls turned away", pace, turned)
	if turned > 5 {
		t.Errorf("%d calls were turned away", turned)
	}
	if status, page := w.call(http.MethodGet, "/api/ninjaone/console/", ""); status != http.StatusOK || !strings.Contains(page, "NinjaOne is called") {
		t.Errorf("the console does not show the pace: %d", status)
	}
}
