package bench

import (
	"fmt"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkLightRun changes one user of a tenant of LIGHT_USERS (100) users and as
// many devices, with documents, and counts what the light run after that calls.
func BenchmarkLightRun(b *testing.B) {
	n := int(number(b, "LIGHT_USERS", 100))
	data := seed.Generate(seed.Size{Tenants: 1, Users: n, Devices: n, Groups: n / 10})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	w := start(b, data, 0)
	tenant := data.Tenants[0]
	w.sync(b, tenant.ID)
	tenant.Change(func(t *m365sim.Tenant) {
		t.Users[0] = with(t.Users[0], m365sim.Entity{"jobTitle": "Keeper of the lighthouse"})
	})
	r := w.message(b, syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false,"light":true}`, tenant.ID))
	r.report(b, 0)
}
