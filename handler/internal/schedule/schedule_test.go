package schedule

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/runs"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	completed := func(d time.Duration) runs.Run {
		return runs.Run{Start: ago(d), End: ago(d - time.Minute), Status: runs.Completed}
	}
	failed := func(d time.Duration, n int) runs.Run {
		return runs.Run{Start: ago(d + time.Minute), End: ago(d), Status: runs.Failed, Failures: n}
	}
	tests := map[string]struct {
		run   runs.Run
		turn  time.Time
		empty bool
		want  bool
	}{
		"never synced":                               {run: runs.Run{}, want: true},
		"queued and not started":                     {run: runs.Run{Queued: ago(time.Minute)}, empty: true},
		"queued long ago, others wait too":           {run: runs.Run{Queued: ago(11 * time.Hour)}},
		"queued half a day ago, others wait too":     {run: runs.Run{Queued: ago(12 * time.Hour)}, want: true},
		"queued a while ago, and the queue is empty": {run: runs.Run{Queued: ago(30 * time.Minute)}, empty: true, want: true},
		"queued again after a run": {
			run: runs.Run{Start: ago(30 * time.Hour), Status: runs.Completed, Queued: ago(time.Minute)}, turn: ago(time.Hour), empty: true},
		"under way":                               {run: runs.Run{Start: ago(15 * time.Minute), Status: runs.Running}, turn: ago(time.Minute)},
		"killed while under way":                  {run: runs.Run{Start: ago(2 * time.Hour), Status: runs.Running}, turn: ago(3 * time.Hour), want: true},
		"completed since its turn":                {run: completed(time.Hour), turn: ago(2 * time.Hour)},
		"completed before its turn":               {run: completed(3 * time.Hour), turn: ago(2 * time.Hour), want: true},
		"failed a while ago":                      {run: failed(14*time.Minute, 1), turn: ago(time.Hour)},
		"failed long enough ago":                  {run: failed(15*time.Minute, 1), turn: ago(time.Hour), want: true},
		"failed twice, waits longer":              {run: failed(29*time.Minute, 2), turn: ago(time.Hour)},
		"failed twice, long enough ago":           {run: failed(30*time.Minute, 2), turn: ago(time.Hour), want: true},
		"failed many times, its turn comes first": {run: failed(time.Hour, 9), turn: ago(30 * time.Minute), want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := due(tt.run, tt.turn, now, tt.empty); got != tt.want {
				t.Errorf("due = %v, want %v", got, tt.want)
			}
		})
	}
}

// The turns of many tenants fall evenly over the period.
func TestTurnsAreSpread(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const tenants, parts = 2300, 23
	var inPart [parts]int
	for i := range tenants {
		since := now.Sub(turn(fmt.Sprintf("tenant-%d", i), now))
		if since < 0 || since >= period {
			t.Fatalf("the last turn was %s ago, outside the period", since)
		}
		inPart[since*parts/period]++
	}
	for part, n := range inPart {
		if n < tenants/parts/2 || n > tenants/parts*2 {
			t.Errorf("hour %d has %d of %d tenants", part, n, tenants)
		}
	}
}

// Whatever the ticks do short of stopping for hours, no two starts of a tenant
// lie more than a day apart, and a tenant is queued once per turn.
func TestEveryTenantOnceADay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		id := fmt.Sprintf("tenant-%d", i)
		now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		end := now.AddDate(0, 0, 10)
		var run runs.Run
		starts := 0
		for now.Before(end) {
			if due(run, turn(id, now), now, true) {
				start := now.Add(time.Duration(rng.Int64N(int64(15 * time.Minute)))) // in the queue
				if !run.Start.IsZero() && start.Sub(run.Start) > 24*time.Hour {
					t.Fatalf("%s: %s between two starts", id, start.Sub(run.Start))
				}
				run = runs.Run{Start: start, End: start.Add(time.Minute), Status: runs.Completed}
				starts++
			}
			tick := 15 * time.Minute // late by up to two minutes, and one in ten is missed
			if rng.IntN(10) == 0 {
				tick *= 2
			}
			now = now.Truncate(15 * time.Minute).Add(tick + time.Duration(rng.Int64N(int64(2*time.Minute))))
		}
		if starts < 10 || starts > 13 {
			t.Errorf("%s was synced %d times in 10 days", id, starts)
		}
	}
}
