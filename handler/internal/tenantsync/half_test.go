package tenantsync

import (
	"context"
	"testing"
	"time"
)

// TestReadingHasHalfOfTheTime has the context of reading end halfway to the end
// of the run.
func TestReadingHasHalfOfTheTime(t *testing.T) {
	run, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	end, _ := run.Deadline()
	before := time.Now()
	reading, done := half(run)
	defer done()
	after := time.Now()
	got, ok := reading.Deadline()
	if earliest, latest := before.Add(end.Sub(before)/2), after.Add(end.Sub(after)/2); !ok || got.Before(earliest) || got.After(latest) {
		t.Errorf("reading ends at %v, want between %v and %v", got, earliest, latest)
	}
	without, done := half(t.Context())
	defer done()
	if _, ok := without.Deadline(); ok {
		t.Error("a run without an end has its reading end")
	}
}
