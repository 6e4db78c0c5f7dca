package funchost

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryStatus is a statusStore without storage.
type memoryStatus struct {
	mu     sync.Mutex
	stored *timerStatus
}

func (m *memoryStatus) get(context.Context) (*timerStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored, nil
}

func (m *memoryStatus) put(_ context.Context, s timerStatus) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored = &s
	return nil
}

// timerRun is one run of a simulated timer, on a clock that starts in a synctest
// bubble at midnight UTC, 2000-01-01.
type timerRun struct {
	offset   time.Duration // Since the start.
	pastDue  bool
	last     string
	nextTime string
}

func TestTimerRuns(t *testing.T) {
	const quarter = "0 */15 * * * *"
	at := func(text string) time.Time {
		out, err := time.Parse(time.RFC3339, text)
		must(t, err)
		return out
	}
	tests := []struct {
		name     string
		schedule string
		stored   *timerStatus
		work     []time.Duration // How long each run takes.
		wait     time.Duration
		want     []timerRun
	}{
		{name: "first start", schedule: quarter, wait: 31 * time.Minute, want: []timerRun{
			{15 * time.Minute, false, "0001-01-01T00:00:00+00:00", "2000-01-01T00:15:00+00:00"},
			{30 * time.Minute, false, "2000-01-01T00:15:00+00:00", "2000-01-01T00:30:00+00:00"}}},
		{name: "many missed occurrences are one past-due run", schedule: quarter, wait: 16 * time.Minute,
			stored: &timerStatus{Last: at("1999-12-31T20:00:00Z"), Next: at("1999-12-31T20:15:00Z"), LastUpdated: at("1999-12-31T20:00:00Z")},
			want: []timerRun{
				{0, true, "1999-12-31T20:00:00+00:00", "1999-12-31T20:15:00+00:00"},
				{15 * time.Minute, false, "2000-01-01T00:00:00+00:00", "2000-01-01T00:15:00+00:00"}}},
		{name: "nothing was missed", schedule: quarter, wait: 16 * time.Minute,
			stored: &timerStatus{Last: at("2000-01-01T00:00:00Z"), Next: at("2000-01-01T00:15:00Z"), LastUpdated: at("2000-01-01T00:00:00Z")},
			want:   []timerRun{{15 * time.Minute, false, "2000-01-01T00:00:00+00:00", "2000-01-01T00:15:00+00:00"}}},
		{name: "a host that never ran the timer is past due too", schedule: quarter, wait: time.Minute,
			stored: &timerStatus{Next: at("1999-12-31T23:45:00Z"), LastUpdated: at("1999-12-31T23:40:00Z")},
			want:   []timerRun{{0, true, "0001-01-01T00:00:00+00:00", "1999-12-31T23:45:00+00:00"}}},
		{name: "a changed schedule is not past due", schedule: quarter, wait: 16 * time.Minute,
			stored: &timerStatus{Last: at("1999-12-31T20:00:00Z"), Next: at("1999-12-31T21:00:00Z"), LastUpdated: at("1999-12-31T20:00:00Z")},
			want:   []timerRun{{15 * time.Minute, false, "0001-01-01T00:00:00+00:00", "2000-01-01T00:15:00+00:00"}}},
		{name: "one catch-up run follows an overrun", schedule: quarter, wait: 61 * time.Minute,
			work: []time.Duration{40 * time.Minute, 0, 0},
			want: []timerRun{
				{15 * time.Minute, false, "0001-01-01T00:00:00+00:00", "2000-01-01T00:15:00+00:00"},
				{55 * time.Minute, false, "2000-01-01T00:15:00+00:00", "2000-01-01T00:30:00+00:00"},
				{60 * time.Minute, false, "2000-01-01T00:55:00+00:00", "2000-01-01T01:00:00+00:00"}}},
		{name: "never", schedule: "0 0 0 31 2 *", wait: 1000 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := parseCron(tt.schedule)
				must(t, err)
				start := time.Now()
				var runs []timerRun
				tm := &timer{schedule: s, log: (&logBuffer{}).logger(), status: &memoryStatus{stored: tt.stored},
					keep: func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }}
				tm.invoke = func(info jsonObject) {
					run := timerRun{offset: time.Since(start)}
					run.pastDue, run.last, run.nextTime = readTimerInfo(t, info)
					runs = append(runs, run)
					if len(runs) <= len(tt.work) {
						<-time.After(tt.work[len(runs)-1])
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.wait)
				defer cancel()
				tm.run(ctx)
				if !slices.Equal(runs, tt.want) {
					t.Errorf("runs:\n got %v\nwant %v", runs, tt.want)
				}
			})
		})
	}
}

// readTimerInfo reads the timer's object as a handler would.
func readTimerInfo(t *testing.T, info jsonObject) (pastDue bool, last, next string) {
	t.Helper()
	text, err := encoder{}.value(info)
	must(t, err)
	var read struct {
		Schedule       *struct{ AdjustForDST *bool }
		ScheduleStatus *struct{ Last, Next, LastUpdated string }
		IsPastDue      bool
	}
	if err := json.Unmarshal(text, &read); err != nil || read.Schedule == nil || read.Schedule.AdjustForDST == nil {
		t.Fatalf("timer object %s: %v", text, err)
	}
	return read.IsPastDue, read.ScheduleStatus.Last, read.ScheduleStatus.Next
}

func timerFunction(schedule string) string {
	return `{"bindings": [{"type": "timerTrigger", "name": "timer", "direction": "in", "schedule": "` + schedule + `", "useMonitor": true}]}`
}

func TestTimerStatusIsStored(t *testing.T) {
	got := make(chan received, 1)
	a := newApp(t, "", map[string]string{"Tick": timerFunction("0 0 0 1 1 *")}, func(w http.ResponseWriter, r *http.Request) {
		got <- receive(t, r)
		w.WriteHeader(http.StatusInternalServerError)
	})
	config := a.config()
	storage, err := newTimerStorage(a.settings[storageSetting], config.HostID)
	must(t, err)
	status := storage.status("Tick")
	if want := "timers/" + config.HostID + "/Host.Functions.Tick/status"; status.name != want {
		t.Errorf("status blob = %s, want %s", status.name, want)
	}
	missed := timerStatus{
		Last: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Next: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		LastUpdated: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	must(t, status.put(t.Context(), missed))
	h := a.start(config)
	if i := a.invocation(); i.Err == nil {
		t.Errorf("invocation = %+v, want a failed timer run", i)
	}
	e := <-got
	if want := `{"IsPastDue":true,"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"2025-01-01T00:00:00+00:00","LastUpdated":"2025-01-01T00:00:00+00:00","Next":"2026-01-01T00:00:00+00:00"}}`; string(e.data["timer"]) != want {
		t.Errorf("Data.timer = %s, want %s", e.data["timer"], want)
	}
	if len(e.meta) != 1 || e.meta["sys"] == nil {
		t.Errorf("Metadata = %v, want sys only", e.meta)
	}
	h.Stop()
	after, err := status.get(t.Context())
	must(t, err)
	// A failed run counts as a run.
	if after.Last.Before(missed.Next) || !after.Next.After(after.Last) || !after.LastUpdated.Equal(after.Last) {
		t.Errorf("status after the run = %+v", after)
	}
}

func TestTimerRunsOnOneHostOnly(t *testing.T) {
	pids := make(chan string, 100)
	a := newApp(t, "", map[string]string{"Tick": timerFunction("* * * * * *")}, func(w http.ResponseWriter, r *http.Request) {
		pids <- r.Header.Get(pidHeader)
		succeed(w, r)
	})
	config := a.config()
	config.LockRetry = 100 * time.Millisecond
	first := a.start(config)
	holder := <-pids
	a.start(config)
	for range 2 {
		if pid := <-pids; pid != holder {
			t.Error("the second host ran the timer while the first had its lock")
		}
	}
	first.Stop() // Gives up the lock.
	for pid := range pids {
		if pid != holder {
			break
		}
	}
}

func TestTimerNeedsStorage(t *testing.T) {
	a := newApp(t, "", map[string]string{"Tick": timerFunction("0 0 0 1 1 *")}, succeed)
	delete(a.settings, storageSetting)
	if h, err := Start(t.Context(), a.config()); err == nil || !strings.Contains(err.Error(), storageSetting) {
		if h != nil {
			h.Stop()
		}
		t.Errorf("error = %v, want one that names %s", err, storageSetting)
	}
}
