package funchost

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// timerStatus is the stored state of a monitored timer. Last is the zero time
// before the first run.
type timerStatus struct {
	Last, Next, LastUpdated time.Time
}

// MarshalJSON writes the dates as the host does.
func (s timerStatus) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"Last": statusTime(s.Last), "Next": statusTime(s.Next), "LastUpdated": statusTime(s.LastUpdated)})
}

// statusTime is a date of the status; the unset date is .NET's year 1.
func statusTime(t time.Time) string { return t.UTC().Format(jsonTime) }

// statusStore keeps the status of one timer.
type statusStore interface {
	get(ctx context.Context) (*timerStatus, error) // Nil when none is stored.
	put(ctx context.Context, s timerStatus) error
}

// timer fires one timer function, one run at a time.
type timer struct {
	schedule cron
	status   statusStore
	invoke   func(info jsonObject)                        // Returns when the run is over, whatever its outcome.
	keep     func() (context.Context, context.CancelFunc) // For writes after a stop.
	log      *slog.Logger
}

// timerInfo is what the host tells a run; the status is nil before any was stored.
func timerInfo(status *timerStatus, pastDue bool) jsonObject {
	return jsonObject{"Schedule": map[string]bool{"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": pastDue}
}

// manualInfo is what the host tells a run on demand.
func (t *timer) manualInfo(ctx context.Context) (jsonObject, error) {
	status, err := t.status.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the timer's status: %w", err)
	}
	return timerInfo(status, false), nil
}

// run fires the timer until ctx is done.
func (t *timer) run(ctx context.Context) {
	status, pastDue := t.begin(ctx)
	immediate := pastDue
	for {
		if !immediate && !waitUntil(ctx, status.Next) || ctx.Err() != nil {
			return
		}
		started := time.Now().UTC()
		t.invoke(timerInfo(&status, pastDue))
		if !immediate && status.Next.After(started) {
			started = status.Next
		}
		// The next occurrence follows the start of this run. When the run took
		// longer than that, it is in the past, and one run follows at once.
		status = timerStatus{Last: started, Next: t.schedule.next(started), LastUpdated: started}
		t.store(status)
		immediate, pastDue = false, false
	}
}

// begin reads the stored status, and corrects it when the schedule has changed. It tells
// whether an occurrence was missed while no host ran.
func (t *timer) begin(ctx context.Context) (status timerStatus, pastDue bool) {
	now := time.Now().UTC()
	fresh := timerStatus{Next: t.schedule.next(now), LastUpdated: now}
	stored, err := t.status.get(ctx)
	if err != nil {
		t.log.Warn("reading a timer's status failed; missed runs go unnoticed", "error", err)
	}
	if stored == nil {
		t.store(fresh)
		return fresh, false
	}
	base := stored.Last
	if base.IsZero() {
		base = stored.LastUpdated
	}
	if expected := t.schedule.next(base); !expected.Equal(stored.Next) {
		t.log.Info("a timer's schedule has changed", "next", expected)
		if now.After(expected) {
			expected = fresh.Next
		}
		changed := timerStatus{Next: expected, LastUpdated: now}
		t.store(changed)
		return changed, false
	}
	return *stored, !stored.Next.IsZero() && now.After(stored.Next)
}

func (t *timer) store(s timerStatus) {
	ctx, cancel := t.keep()
	defer cancel()
	if err := t.status.put(ctx, s); err != nil {
		t.log.Warn("writing a timer's status failed", "error", err)
	}
}

// waitUntil returns true at the given time, and false when ctx is done first. A zero time
// means never.
func waitUntil(ctx context.Context, at time.Time) bool {
	if at.IsZero() {
		<-ctx.Done()
		return false
	}
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}
