package wire

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter reads a Retry-After value, which is a number of seconds, in the
// wild also a decimal, or a date (RFC 9110 section 10.2.3). It is false when
// the value is neither.
func RetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		if seconds > 24*3600 {
			return 24 * time.Hour, true
		}
		return time.Duration(math.Ceil(max(seconds, 0)*1000)) * time.Millisecond, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}
