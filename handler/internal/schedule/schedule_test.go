package schedule

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenantsync"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := map[string]struct {
		run  tenantsync.Run
		want bool
	}{
		"never synced":                    {tenantsync.Run{}, true},
		"queued and not started":          {tenantsync.Run{Queued: ago(15 * time.Minute)}, false},
		"queued long ago and not started": {tenantsync.Run{Queued: ago(2 * time.Hour)}, true},
		"queued again after a run": {tenantsync.Run{
			Start: ago(25 * time.Hour), End: ago(24 * time.Hour), Status: tenantsync.Completed, Queued: ago(time.Minute)}, false},
		"under way":                  {tenantsync.Run{Queued: ago(20 * time.Minute), Start: ago(15 * time.Minute), Status: tenantsync.Running}, false},
		"killed while under way":     {tenantsync.Run{Start: ago(2 * time.Hour), Status: tenantsync.Running}, true},
		"completed an hour ago":      {tenantsync.Run{Start: ago(time.Hour), End: ago(time.Hour), Status: tenantsync.Completed}, false},
		"completed almost a day ago": {tenantsync.Run{Start: ago(23*time.Hour + 30*time.Minute), End: ago(23 * time.Hour), Status: tenantsync.Completed}, true},
		"failed a quarter of an hour ago": {tenantsync.Run{
			Start: ago(20 * time.Minute), End: ago(15 * time.Minute), Status: tenantsync.Failed}, false},
		"failed an hour ago": {tenantsync.Run{Start: ago(61 * time.Minute), End: ago(time.Hour), Status: tenantsync.Failed}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := due(tt.run, now); got != tt.want {
				t.Errorf("due = %v, want %v", got, tt.want)
			}
		})
	}
}
