package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTimers compares the timers with what the host reads: the time between two
// of a timer's times is what its schedule says.
func TestTimers(t *testing.T) {
	between := map[string]time.Duration{"0 */15 * * * *": 15 * time.Minute, "0 40 * * * *": time.Hour}
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
