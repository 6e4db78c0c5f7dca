package wire

import (
	"testing"
	"time"
)

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "0.5", "Mon, 23 Nov 2026 12:00:30 GMT", "Inf", "-Inf", "NaN", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d, ok := RetryAfter(value, time.Now()); d < 0 || !ok && d != 0 {
			t.Errorf("%q gives %v", value, d)
		}
	})
}
