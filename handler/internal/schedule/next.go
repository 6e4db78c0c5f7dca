package schedule

import (
	"time"

	"cipp-ninjaone/handler/internal/runs"
)

// Next is when the schedule will queue a tenant that is not paused, given its last run. A
// time that is not after now means with the next tick. The zero time means that it waits
// on the queue or runs at present.
func Next(tenantID string, run runs.Run, now time.Time) time.Time {
	now = now.UTC()
	last := turn(tenantID, now)
	switch {
	case run.Queued.After(run.Start), run.Status == runs.Running && now.Sub(run.Start) < silent:
		return time.Time{}
	case due(run, last, now, true):
		return now
	}
	next := last.Add(period)
	if run.Status == runs.Failed {
		if retry := run.End.Add(runs.RetryAfter(run.Failures)); retry.Before(next) {
			next = retry
		}
	}
	return next
}
