package layout

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

var must = fail.If

// lab is a state in a storage emulator, and a guard before it.
type lab struct {
	*Guard
	plain *storage.Table // past the guard
	queue *storage.Queue
	lines []string
	now   time.Time
}

func newLab(t *testing.T) *lab {
	t.Helper()
	connection := azuritetest.ForTest(t).ConnectionString()
	account := storagetest.Open(t, connection)
	name := azuritetest.UniqueName(t)
	l := &lab{plain: account.Table(name), queue: account.Queue(name), now: time.Now()}
	l.Guard = &Guard{
		Table: account.Upto(Version).Table(name),
		Tell:  func(_ context.Context, line string) { l.lines = append(l.lines, line) },
		Now:   func() time.Time { return l.now },
	}
	return l
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		stamp int32 // -1 for none
		want  int64
		newer bool
	}{
		"fresh":    {-1, Version, false},
		"before":   {Version - 1, Version, false},
		"the same": {Version, Version, false},
		"newer":    {Version + 1, Version + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if tt.stamp >= 0 {
				must(t, l.plain.Insert(t.Context(), storage.Entity{"PartitionKey": partition, "RowKey": row, "Version": tt.stamp, "Later": "kept"}))
			}
			for range 2 {
				if err := l.Check(t.Context()); errors.Is(err, storage.ErrNewer) != tt.newer || !tt.newer && err != nil {
					t.Errorf("the error is %v", err)
				}
			}
			e, err := l.plain.Get(t.Context(), partition, row)
			must(t, err)
			if e.Int("Version") != tt.want || tt.newer && e.String("Later") != "kept" {
				t.Errorf("the stamp is %v", e)
			}
			if tt.newer && (len(l.lines) != 1 || !strings.Contains(l.lines[0], "Deploy the newer version again")) || !tt.newer && len(l.lines) > 0 {
				t.Errorf("the logbook is told %q", l.lines)
			}
			l.now = l.now.Add(tellEvery)
			if _ = l.Check(t.Context()); tt.newer && len(l.lines) != 2 {
				t.Error("a day later the logbook is not told again")
			}
		})
	}
}

func TestAdmit(t *testing.T) {
	for name, tt := range map[string]struct {
		newerState bool
		message    string // "" for a timer
		run        bool
		says       string
	}{
		"timer":                         {false, "", true, ""},
		"timer, newer state":            {true, "", false, "state"},
		"message":                       {false, `{"tenantId":"x"}`, true, ""},
		"message with more in it":       {false, `{"tenantId":"x","later":{"version":7}}`, true, ""},
		"message of our version":        {false, `{"version":1}`, true, ""},
		"message of a newer one":        {false, `{"version":2, "tenantId" : 1}`, false, "put back"},
		"message, newer state":          {true, `{"tenantId":"x"}`, false, "state"},
		"message that is not an object": {false, `nonsense`, true, ""},
		"version that is not a number":  {false, `{"version":"two"}`, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if tt.newerState {
				must(t, l.plain.Insert(t.Context(), storage.Entity{"PartitionKey": partition, "RowKey": row, "Version": int32(Version + 1)}))
			}
			var message []byte
			if tt.message != "" {
				message = []byte(tt.message)
			}
			run, err := l.Admit(t.Context(), l.queue, message)
			must(t, err)
			if run != tt.run {
				t.Errorf("it is let through: %v", run)
			}
			n, err := l.queue.Length(t.Context())
			must(t, err)
			if back := n == 1; back != (!tt.run && message != nil) {
				t.Errorf("%d messages were put back", n)
			}
			if tt.says == "" && len(l.lines) > 0 || tt.says != "" && (len(l.lines) != 1 || !strings.Contains(l.lines[0], tt.says)) {
				t.Errorf("the logbook is told %q", l.lines)
			}
		})
	}
}

func FuzzCheckMessage(f *testing.F) {
	for _, s := range []string{"", "{}", `{"version":2}`, `{"version":1e400}`, `{"version":"3"}`, "[1]", `{"VERSION":9}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := CheckMessage(text); err != nil && !json.Valid(text) {
			t.Errorf("%q, which is not JSON, is of a newer version", text)
		}
	})
}
