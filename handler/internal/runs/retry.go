package runs

import (
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/retry"
)

// The wait after a failure doubles from the first to the last.
const (
	firstRetry = 15 * time.Minute
	lastRetry  = 6 * time.Hour
)

// RetryAfter is how long the schedule waits after the n-th failed run in a row. The
// tenant's turn may come before.
func RetryAfter(n int) time.Duration { return retry.Doubling(firstRetry, lastRetry, n) }

// InWords words a wait as a whole number of minutes or hours.
func InWords(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 2*time.Hour:
		return "an hour"
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}
