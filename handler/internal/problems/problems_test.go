package problems

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
)

func TestReconcile(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	known := func(told time.Time) []Problem {
		return []Problem{{Key: "k", Message: "It is broken.", Since: noon.Add(-72 * time.Hour), Told: told}}
	}
	tests := map[string]struct {
		before, now []Problem
		keep        []Problem
		lines       []cipp.LogEntry
	}{
		"a lasting problem is told again after a day": {
			before: known(noon.Add(-24 * time.Hour)),
			now:    []Problem{{Key: "k", Message: "It is broken."}},
			keep:   known(noon),
			lines:  []cipp.LogEntry{{Severity: cipp.SeverityWarn, Message: "It is broken."}},
		},
		"the newest wording is kept": {
			before: known(noon.Add(-time.Hour)),
			now:    []Problem{{Key: "k", Message: "It is broken in two places."}},
			keep: []Problem{{Key: "k", Message: "It is broken in two places.",
				Since: noon.Add(-72 * time.Hour), Told: noon.Add(-time.Hour)}},
		},
		"a notice is told once": {
			now:   []Problem{{Key: "n", Message: "It is off.", Notice: true}},
			keep:  []Problem{{Key: "n", Message: "It is off.", Notice: true, Since: noon, Told: noon}},
			lines: []cipp.LogEntry{{Severity: cipp.SeverityInfo, Message: "It is off."}},
		},
		"a lasting notice is silent, also after a day": {
			before: []Problem{{Key: "n", Message: "It is off.", Notice: true, Since: noon.Add(-72 * time.Hour), Told: noon.Add(-72 * time.Hour)}},
			now:    []Problem{{Key: "n", Message: "It is off.", Notice: true}},
			keep:   []Problem{{Key: "n", Message: "It is off.", Notice: true, Since: noon.Add(-72 * time.Hour), Told: noon.Add(-72 * time.Hour)}},
		},
		"a notice that is gone is silent": {
			before: []Problem{{Key: "n", Message: "It is off.", Notice: true, Since: noon, Told: noon}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			keep, lines := Reconcile(tt.before, tt.now, noon)
			if d := cmp.Diff(tt.keep, keep); d != "" {
				t.Errorf("kept problems (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.lines, lines); d != "" {
				t.Errorf("logbook lines (-want +got):\n%s", d)
			}
		})
	}
}

func TestProblemsAreTalliedAndBounded(t *testing.T) {
	var p Collector
	for i := range 3 {
		p.Count("devices", fmt.Sprintf("device %d", i), func(n int, first string) string {
			return fmt.Sprintf("%d devices, the first is %s", n, first)
		})
	}
	for i := range 2 * maxProblems {
		p.Add(fmt.Sprintf("z%03d", i), "Problem %d.", i)
	}
	list := p.List()
	if len(list) != maxProblems {
		t.Fatalf("%d problems are kept, want %d", len(list), maxProblems)
	}
	if got, want := list[0].Message, "3 devices, the first is device 0"; got != want {
		t.Errorf("the tally says %q, want %q", got, want)
	}
	if got, want := list[len(list)-1].Message, fmt.Sprintf("And %d further problems.", 2*maxProblems+1-(maxProblems-1)); got != want {
		t.Errorf("the list ends with %q, want %q", got, want)
	}
}
