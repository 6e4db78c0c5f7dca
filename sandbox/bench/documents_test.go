package bench

import (
	"math/rand/v2"
	"testing"

	"cipp-ninjaone/sandbox/seed"
)

// documented returns a world of one tenant whose users and licences have
// documents, and the tenant's id.
func documented(b *testing.B, size seed.Size) (*world, string) {
	size.Tenants = 1
	data := seed.Generate(size)
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	return start(b, data, 0), data.Tenants[0].ID
}

// BenchmarkDocuments syncs a tenant of 5,000 users and 5,000 devices with
// documents: for the first time, again with nothing changed, and after a typical
// day. Nothing is delayed: its subject is the number of calls.
func BenchmarkDocuments(b *testing.B) {
	w, tenant := documented(b, seed.Size{Users: 5000, Devices: 5000, Groups: 500})
	first := w.sync(b, tenant)
	if wrong := w.Check(tenant); len(wrong) > 0 {
		b.Fatalf("%d things are wrong after the sync; the first: %s", len(wrong), wrong[0])
	}
	b.Run("first", func(b *testing.B) { first.report(b, 0) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant).report(b, 0) })
	b.Run("typical-day", func(b *testing.B) {
		w.Seed.TypicalDay(rand.New(rand.NewPCG(11, 0)))
		w.sync(b, tenant).report(b, 0)
		if wrong := w.Check(tenant); len(wrong) > 0 {
			b.Fatalf("%d things are wrong after the day; the first: %s", len(wrong), wrong[0])
		}
	})
}

// BenchmarkLargeDocuments syncs a tenant of 50,000 users and 20,000 devices with
// documents for the first time, once more, and once more after the documents
// were read again. Its subject is memory.
func BenchmarkLargeDocuments(b *testing.B) {
	w, tenant := documented(b, seed.Size{Users: 50_000, Devices: 20_000, Groups: 2_000})
	first := w.sync(b, tenant)
	b.Run("first", func(b *testing.B) { first.report(b, 0) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant).report(b, 0) })
	b.Run("forced", func(b *testing.B) { w.force(b, tenant).report(b, 0) })
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
