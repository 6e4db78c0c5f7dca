package bench

import (
	"fmt"
	"testing"

	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkLargeTenant syncs a tenant of 50,000 users and 20,000 devices for the
// first time, once more, and once more with everything forced, without documents
// and with one for each user and licence; before that, tenants of a quarter of
// the size, so that the processor time shows how it grows. Nothing is delayed:
// its subject is memory.
func BenchmarkLargeTenant(b *testing.B) {
	for _, kind := range []struct {
		name      string
		documents bool
	}{{"fields", false}, {"documents", true}} {
		for _, users := range []int{12_500, 50_000} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, users), func(b *testing.B) { large(b, users, kind.documents) })
		}
	}
}

func large(b *testing.B, users int, documents bool) {
	data := seed.Generate(seed.Size{Tenants: 1, Users: users, Devices: users * 2 / 5, Groups: users / 25})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = documents, documents
	w := start(b, data, 0)
	tenant := data.Tenants[0].ID
	first := w.sync(b, tenant)
	if devices := first.counts.of("ninjaone", "/v2/device/{id}/custom-fields"); devices != len(data.NinjaDevices) {
		b.Fatalf("NinjaOne was written to %d times for %d devices", devices, len(data.NinjaDevices))
	}
	b.Run("first", func(b *testing.B) { first.report(b, 0) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant).report(b, 0) })
	b.Run("forced", func(b *testing.B) { w.force(b, tenant).report(b, 0) })
}
