package bench

import (
	"math/rand/v2"
	"testing"

	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkDocuments syncs a tenant of 5,000 users and 5,000 devices with
// documents: for the first time, again with nothing changed, and after a typical
// day. Nothing is delayed: its subject is the number of calls.
func BenchmarkDocuments(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 1, Users: 5000, Devices: 5000, Groups: 500})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	w := start(b, data, 0)
	tenant := data.Tenants[0].ID
	first := w.first(b, tenant)
	b.Run("first", func(b *testing.B) { first.report(b, 0) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant).report(b, 0) })
	b.Run("typical-day", func(b *testing.B) {
		w.Seed.TypicalDay(rand.New(rand.NewPCG(11, 0)))
		w.sync(b, tenant).report(b, 0)
		w.right(b, tenant)
	})
}

// unchanged runs the sync of a tenant in which nothing changed.
func (w *world) unchanged(b *testing.B, tenant string) run {
	b.Helper()
	r := w.sync(b, tenant)
	if _, _, writes := r.critical(); writes != 0 {
		b.Fatalf("nothing changed, and NinjaOne was written to %d times", writes)
	}
	return r
}
