package runs

import (
	"testing"
	"time"
)

func TestRetryAfterGrows(t *testing.T) {
	words := []string{"15 minutes", "15 minutes", "30 minutes", "an hour", "2 hours", "4 hours", "6 hours", "6 hours"}
	for n, want := range []time.Duration{15 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 6 * time.Hour} {
		if got := RetryAfter(n); got != want || InWords(got) != words[n] {
			t.Errorf("after %d failures the wait is %s, %q; want %s, %q", n, got, InWords(got), want, words[n])
		}
	}
	if got := RetryAfter(1_000_000); got != lastRetry {
		t.Errorf("after very many failures the wait is %s, want %s", got, lastRetry)
	}
}
