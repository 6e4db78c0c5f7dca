package schedule

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenantsync"
)

func TestNext(t *testing.T) {
	const id = "6b6f5a3e-0000-4000-8000-000000000001"
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	last := turn(id, now)
	tests := []struct {
		name string
		run  tenantsync.Run
		want time.Time
	}{
		{"never synced", tenantsync.Run{}, now},
		{"waits on the queue", tenantsync.Run{Queued: now}, time.Time{}},
		{"runs", tenantsync.Run{Queued: now.Add(-time.Minute), Start: now.Add(-time.Minute), Status: tenantsync.Running}, time.Time{}},
		{"went silent", tenantsync.Run{Start: now.Add(-silent), Status: tenantsync.Running}, now},
		{"completed since its turn", tenantsync.Run{Start: last.Add(time.Second), End: now, Status: tenantsync.Completed}, last.Add(period)},
		{"no run since its turn", tenantsync.Run{Start: last.Add(-time.Hour), End: last.Add(-time.Minute), Status: tenantsync.Completed}, now},
		{"failed a moment ago", tenantsync.Run{Start: now.Add(-time.Minute), End: now, Status: tenantsync.Failed, Failures: 1}, now.Add(tenantsync.RetryAfter(1))},
		{"failed long ago", tenantsync.Run{Start: now.Add(-tenantsync.RetryAfter(99)), End: now.Add(-tenantsync.RetryAfter(99)), Status: tenantsync.Failed, Failures: 9}, now},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Next(id, tt.run, now)
			if want := tt.want; !got.Equal(want) && !(tt.run.Status == tenantsync.Failed && got.Equal(last.Add(period)) && got.Before(want)) {
				t.Errorf("next turn at %v, want %v", got, want)
			}
		})
	}
}
