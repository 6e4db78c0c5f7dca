package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// scheduler is what CIPP's scheduler decides at one of its ticks, as CIPP's
// rules say (the present ones and those of its first years). It reads and
// writes the tables past our own code.
type scheduler struct {
	*world
	every      time.Duration // between two ticks
	offset     time.Duration // of the first tick after midnight
	killed     time.Duration // after a start without an end, a tenant is caught up on
	startAlone bool          // a start before the last run is enough to be caught up on
	started    map[string]int
}

func schedulers(w *world) map[string]*scheduler {
	return map[string]*scheduler{
		"at present":         {world: w, every: 2 * time.Hour, offset: 45 * time.Minute, killed: 3 * time.Hour, started: map[string]int{}},
		"in its first years": {world: w, every: 15 * time.Minute, killed: 30 * time.Minute, startAlone: true, started: map[string]int{}},
	}
}

func (s *scheduler) ticksAt(now time.Time) bool { return now.Sub(midnight)%s.every == s.offset }

// parse reads a time as CIPP does: what it cannot read is no time.
func parse(v any) time.Time {
	t, _ := time.Parse(time.RFC3339, fmt.Sprint(v))
	return t
}

func (s *scheduler) decide(now time.Time) {
	s.t.Helper()
	setting, last := s.settings()
	if setting == nil {
		setting = 51.0
		s.write("NinjaOneSettings", "NinjaConfig", "NinjaSyncTime", map[string]any{"SettingValue": 51})
	}
	syncTime, ok := setting.(float64)
	if !ok {
		s.t.Fatalf("NinjaSyncTime is stored as %v, which is not a number", setting)
	}
	lastRun := parse(last)
	all := lastRun.IsZero() || !lastRun.After(now.Add(-25*time.Hour)) || int(syncTime) == now.Hour()*4+now.Minute()/15
	catchUp := lastRun.Before(now.Add(-90 * time.Minute))
	for _, r := range s.rows("CippMapping", "PartitionKey eq 'NinjaOneMapping'") {
		if r["IntegrationId"] == nil || r["IntegrationId"] == "" {
			continue
		}
		start, end := parse(r["lastStartTime"]), parse(r["lastEndTime"])
		behind := (end.IsZero() || start.After(end)) && start.Before(now.Add(-s.killed)) ||
			start.Before(lastRun) && (s.startAlone || end.Before(lastRun))
		if all || catchUp && behind {
			key := r["RowKey"].(string)
			s.started[key]++
			s.write("CippMapping", "NinjaOneMapping", key, map[string]any{
				"lastStartTime": iso(now), "lastEndTime": iso(now.Add(2 * time.Minute)), "lastStatus": "Completed"})
		}
	}
	if all {
		s.setLastRun(now)
	}
}

// pass lets time pass: each hour our tick, a quarter of those that there are,
// and at each quarter of an hour CIPP's.
func (s *scheduler) pass(d time.Duration, ours func()) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(15 * time.Minute) {
		if s.now.Minute() == 0 {
			ours()
		}
		if s.ticksAt(s.now) {
			s.decide(s.now)
		}
	}
}

// TestRehearsal runs CIPP's scheduler for days on tables as CIPP leaves them:
// it starts tenants on its own, starts none while it is held off, whatever
// happens, and starts all of them once it was given back.
func TestRehearsal(t *testing.T) {
	for name := range schedulers(nil) {
		t.Run(name, func(t *testing.T) {
			free := schedulers(newWorld(t))[name]
			free.pass(48*time.Hour, func() {})
			if len(free.started) == 0 {
				t.Fatal("on its own, CIPP's scheduler starts nothing: the rehearsal proves nothing")
			}

			s := schedulers(newWorld(t))[name]
			ours := func() {
				s.tick()
				s.sync(s.take()...)
			}
			s.tick()
			s.sync(s.mapped...)
			s.pass(20*time.Hour, ours)
			s.setLastRun(s.now) // a Force Sync
			s.pass(10*time.Hour, ours)
			if s.messages != len(s.mapped) {
				t.Errorf("%d forced syncs were queued after a Force Sync of %d tenants", s.messages, len(s.mapped))
			}
			s.pass(30*time.Hour, func() {}) // our app is down
			s.pass(6*time.Hour, ours)
			if len(s.started) > 0 {
				t.Errorf("while it was held off, CIPP's scheduler started %v", s.started)
			}
			s.wantLines(1, "Force Sync")

			must(t, s.GiveBack(t.Context()))
			s.messages = 0
			s.pass(26*time.Hour, ours)
			mapped := s.rows("CippMapping", "PartitionKey eq 'NinjaOneMapping'")
			if len(s.started) != len(mapped) {
				t.Errorf("26 hours after it was given back, CIPP's scheduler has started %d of %d tenants", len(s.started), len(mapped))
			}
			if s.messages > 0 {
				t.Errorf("%d forced syncs were queued after the engine was given back", s.messages)
			}

			must(t, s.TakeOver(t.Context()))
			if got := s.take(); !slices.Equal(got, s.mapped) {
				t.Errorf("taking over again forces the syncs of %v, want %v", got, s.mapped)
			}
			s.sync(s.mapped...)
			s.started = map[string]int{}
			s.pass(30*time.Hour, ours)
			if len(s.started) > 0 {
				t.Errorf("after it was taken over again, CIPP's scheduler started %v", s.started)
			}
		})
	}
}
