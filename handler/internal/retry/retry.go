// Package retry says how long to wait before a call is made again. Whether it
// may be made again is for those who know the call.
package retry

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Longest bounds nonsense in Retry-After.
const Longest = 24 * time.Hour

// After reads the header Retry-After: seconds, in the wild also a decimal, or a date (RFC
// 9110 section 10.2.3). It compares a date with the server's own clock where the answer
// has it. It is false when there is none to go by.
func After(h http.Header) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		seconds = min(max(seconds, 0), Longest.Seconds())
		return time.Duration(math.Ceil(seconds*1000)) * time.Millisecond, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), Longest), true
}

// Backoff returns the nth wait of a series that doubles five times. It is up to a quarter
// longer by chance, so that callers do not return all at once.
func Backoff(first time.Duration, n int) time.Duration {
	d := Doubling(first, 32*first, n)
	return d + rand.N(d/4)
}

// Doubling returns the nth wait of a series that doubles from first to most. Below 1, n
// counts as 1.
func Doubling(first, most time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

// Sleep waits for d or the end of the context.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
