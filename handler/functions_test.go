package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/customhandler"
)

// testApp is an app that calls nothing.
func testApp(t *testing.T) *app {
	t.Helper()
	a, err := open(withoutHost(func(name string) string {
		return map[string]string{"AzureWebJobsStorage": "UseDevelopmentStorage=true"}[name]
	}), io.Discard, slog.LevelError)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTimers compares the timers with what the host reads: the time between two
// of a timer's times is what its schedule says.
func TestTimers(t *testing.T) {
	a := testApp(t)
	timers := map[string]time.Duration{}
	for _, f := range a.timerFunctions() {
		timers[f.name] = f.every
	}
	between := map[string]time.Duration{"0 * * * * *": time.Minute, "0 */15 * * * *": 15 * time.Minute, "0 40 * * * *": time.Hour}
	found := 0
	files, err := filepath.Glob("../functions/*/function.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var function struct {
			Bindings []struct{ Type, Schedule string }
		}
		if err := json.Unmarshal(text, &function); err != nil {
			t.Fatal(err)
		}
		if b := function.Bindings[0]; b.Type == "timerTrigger" {
			found++
			name := filepath.Base(filepath.Dir(file))
			if every, ok := between[b.Schedule]; !ok || timers[name] != every {
				t.Errorf("%s fires by %q, and a heartbeat expects it every %s", name, b.Schedule, timers[name])
			}
		}
	}
	if found == 0 || found != len(timers) {
		t.Errorf("%d timers, and heartbeats know %d", found, len(timers))
	}
}

// TestTimersTurnedOff: a heartbeat leaves alone the timers that an app setting
// turns off.
func TestTimersTurnedOff(t *testing.T) {
	a := testApp(t)
	a.registerTimers(customhandler.New(customhandler.Deps{}), func(name string) string {
		return map[string]string{"AzureWebJobs.SweepCompliance.Disabled": "true", "AzureWebJobs_WatchTenants_Disabled": "1"}[name]
	})
	var known []string
	for _, timer := range a.heart.Timers {
		known = append(known, timer.Name)
	}
	if all := strings.Join(known, " "); len(known) != len(a.timerFunctions())-2 || strings.Contains(all, "SweepCompliance") || strings.Contains(all, "WatchTenants") {
		t.Errorf("heartbeats look after %s", all)
	}
}
