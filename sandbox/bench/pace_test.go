package bench

import (
	"testing"
	"time"

	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkThousandDevices syncs two tenants of 1,000 devices for the first time, one
// after the other, with 100 ms a call and a hidden limit of NinjaOne: the first from a
// start at five calls a second, the second at the pace that was learnt. The aims are 120
// and 70 s of wall time at a limit of 20.
func BenchmarkThousandDevices(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 2, Users: 100, Devices: 1000, Groups: 20})
	w := start(b, data, delay, "NINJAONE_RATE", "5")
	w.NinjaOne.SetRateLimit(ninjasim.RateLimit{PerSecond: hiddenLimit, RetryAfter: time.Second})
	for i, name := range []string{"from-5", "learnt"} {
		b.Run(name, func(b *testing.B) {
			r := w.sync(b, data.Tenants[i].ID)
			b.ReportMetric(float64(w.NinjaOne.Throttled()), "429s")
			r.report(b, delay)
		})
	}
}
