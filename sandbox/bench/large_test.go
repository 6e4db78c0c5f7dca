package bench

import (
	"testing"

	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkLargeTenant syncs a tenant of 50,000 users and 20,000 devices for the
// first time and once more, without documents and with a document for each user
// and licence. Nothing is delayed: its subject is memory.
func BenchmarkLargeTenant(b *testing.B) {
	b.Run("fields", func(b *testing.B) { large(b, false) })
	b.Run("documents", func(b *testing.B) { large(b, true) })
}

func large(b *testing.B, documents bool) {
	data := seed.Generate(seed.Size{Tenants: 1, Users: 50_000, Devices: 20_000, Groups: 2_000})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = documents, documents
	w := start(b, data, 0)
	tenant := data.Tenants[0].ID
	first := w.sync(b, tenant)
	if devices := first.counts.of("ninjaone", "/v2/device/{id}/custom-fields"); devices != len(data.NinjaDevices) {
		b.Fatalf("NinjaOne was written to %d times for %d devices", devices, len(data.NinjaDevices))
	}
	b.Run("first", func(b *testing.B) { first.report(b, 0) })
	b.Run("unchanged", func(b *testing.B) {
		r := w.sync(b, tenant)
		if _, _, writes := r.critical(); writes != 0 {
			b.Fatalf("nothing changed, and NinjaOne was written to %d times", writes)
		}
		r.report(b, 0)
	})
}
