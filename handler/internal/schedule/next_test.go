package schedule

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/runs"
)

func TestNext(t *testing.T) {
	const id = "6b6f5a3e-0000-4000-8000-000000000001"
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	last := turn(id, now)
	tests := []struct {
		name string
		run  runs.Run
		want time.Time
	}{
		{"never synced", runs.Run{}, now},
		{"waits on the queue", runs.Run{Queued: now}, time.Time{}},
		{"runs", runs.Run{Queued: now.Add(-time.Minute), Start: now.Add(-time.Minute), Status: runs.Running}, time.Time{}},
		{"went silent", runs.Run{Start: now.Add(-silent), Status: runs.Running}, now},
		{"completed since its turn", runs.Run{Start: last.Add(time.Second), End: now, Status: runs.Completed}, last.Add(period)},
		{"no run since its turn", runs.Run{Start: last.Add(-time.Hour), End: last.Add(-time.Minute), Status: runs.Completed}, now},
		{"failed a moment ago", runs.Run{Start: now.Add(-time.Minute), End: now, Status: runs.Failed, Failures: 1}, now.Add(runs.RetryAfter(1))},
		{"failed long ago", runs.Run{Start: now.Add(-runs.RetryAfter(99)), End: now.Add(-runs.RetryAfter(99)), Status: runs.Failed, Failures: 9}, now},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Next(id, tt.run, now)
			if want := tt.want; !got.Equal(want) && !(tt.run.Status == runs.Failed && got.Equal(last.Add(period)) && got.Before(want)) {
				t.Errorf("next turn at %v, want %v", got, want)
			}
		})
	}
}
