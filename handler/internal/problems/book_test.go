package problems

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// book is a logbook in memory.
type book struct {
	lines []string
	err   error
}

func (b *book) Log(_ context.Context, e cipp.LogEntry) error {
	if b.err == nil {
		b.lines = append(b.lines, e.Severity+": "+e.Message)
	}
	return b.err
}

// TestAnnounce tells the problems of what is not one tenant's run.
func TestAnnounce(t *testing.T) {
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	connection := azuritetest.ForTest(t).ConnectionString()
	account := storagetest.Open(t, connection)
	table := account.Table(azuritetest.UniqueName(t))
	bad := []Problem{{Key: "mapping:x", Message: "It cannot be used."}}
	steps := []struct {
		name  string
		after time.Duration
		now   []Problem
		err   error
		lines []string
	}{
		{"nothing to tell", 0, nil, nil, nil},
		{"a problem, and no logbook", time.Hour, bad, errors.New("no table"), nil},
		{"the logbook is back", 2 * time.Hour, bad, nil, []string{"Warn: It cannot be used."}},
		{"still", 3 * time.Hour, bad, nil, nil},
		{"a day later", 26 * time.Hour, bad, nil, []string{"Warn: It cannot be used."}},
		{"gone, and no logbook", 27 * time.Hour, nil, errors.New("no table"), nil},
		{"gone", 28 * time.Hour, nil, nil, []string{"Info: No longer a problem: It cannot be used."}},
		{"still gone", 29 * time.Hour, nil, nil, nil},
	}
	for _, s := range steps {
		to := &book{err: s.err}
		if err := (&Book{Table: table, Log: to.Log}).Announce(t.Context(), tenant.Ref{}, "schedule", s.now, start.Add(s.after)); (err != nil) != (s.err != nil) {
			t.Fatalf("%s: %v", s.name, err)
		}
		if d := cmp.Diff(s.lines, to.lines); d != "" {
			t.Errorf("%s: lines (-want +got):\n%s", s.name, d)
		}
	}
	// Another owner has problems of its own.
	to := &book{}
	told := &Book{Table: table, Log: to.Log}
	must(t, told.Announce(t.Context(), tenant.Ref{}, "schedule", bad, start.Add(30*time.Hour)))
	must(t, told.Announce(t.Context(), tenant.Ref{}, "another", bad, start.Add(30*time.Hour)))
	if len(to.lines) != 2 {
		t.Errorf("lines: %q", to.lines)
	}
}

var must = fail.If
