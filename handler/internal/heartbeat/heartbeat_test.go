package heartbeat

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// world is a heart with two timers on an emulator, and a clock of its own.
type world struct {
	*Heart
	t       *testing.T
	account *storage.Account
	now     time.Time
	runs    map[string]*atomic.Int64 // by timer
	fails   error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	connection := azuritetest.ForTest(t).ConnectionString()
	account := storagetest.Open(t, connection)
	name := azuritetest.UniqueName(t)
	w := &world{t: t, account: account, now: time.Now().Truncate(time.Second), runs: map[string]*atomic.Int64{}}
	w.Heart = &Heart{Table: account.Table(name), Queue: account.Queue(name), CIPP: cipptest.Store(account),
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for timer, every := range map[string]time.Duration{"Quick": 15 * time.Minute, "Slow": time.Hour} {
		count := new(atomic.Int64)
		w.runs[timer] = count
		w.Timers = append(w.Timers, Timer{timer, every, func(context.Context) error { count.Add(1); return w.fails }})
	}
	w.lines() // those of other tests
	return w
}

var must = fail.If

func (w *world) beat() {
	w.t.Helper()
	must(w.t, w.Beat(w.t.Context()))
}

// ran is how often heartbeats did the work of each timer.
func (w *world) ran(quick, slow int64) {
	w.t.Helper()
	if q, s := w.runs["Quick"].Load(), w.runs["Slow"].Load(); q != quick || s != slow {
		w.t.Errorf("heartbeats worked %d and %d times, want %d and %d", q, s, quick, slow)
	}
}

func (w *world) waiting() int {
	w.t.Helper()
	n, err := w.Queue.Length(w.t.Context())
	must(w.t, err)
	return n
}

// lines takes the logbook's lines, by their severities.
func (w *world) lines() (lines []string) {
	w.t.Helper()
	table := w.account.Table("CippLogs")
	for _, row := range storagetest.Rows(w.t, table, "") {
		lines = append(lines, row.String("Severity")+" "+row.String("API")+" "+row.String("Message"))
		must(w.t, table.Delete(w.t.Context(), row.PartitionKey(), row.RowKey()))
	}
	return lines
}

// TestTimersThatFire: while timers fire, heartbeats do nothing, and one message
// waits, however many ask for it one after the other.
func TestTimersThatFire(t *testing.T) {
	w := newWorld(t)
	w.Fired(t.Context(), "Quick")
	if n := w.waiting(); n != 1 {
		t.Errorf("after a timer %d messages wait", n)
	}
	must(t, w.Ensure(t.Context()))
	w.Fired(t.Context(), "Slow")
	if n := w.waiting(); n != 1 {
		t.Errorf("%d messages wait", n)
	}
	for quarter := range 12 {
		w.now = w.now.Add(15 * time.Minute)
		w.Fired(t.Context(), "Quick")
		if quarter%4 == 3 {
			w.Fired(t.Context(), "Slow")
		}
		w.beat()
	}
	w.ran(0, 0)
	if lines := w.lines(); len(lines) > 0 {
		t.Errorf("the logbook says %q", lines)
	}
}

// TestTimersThatStop: a heartbeat does the work of a timer that is late, writes
// its time, and says so once; and once more when the timers fire again.
func TestTimersThatStop(t *testing.T) {
	w := newWorld(t)
	w.Fired(t.Context(), "Quick")
	w.Fired(t.Context(), "Slow")
	w.now = w.now.Add(30 * time.Minute)
	w.beat()
	w.ran(0, 0) // late is more than twice the time between
	w.now = w.now.Add(time.Minute)
	w.beat()
	w.beat()
	w.ran(1, 0)
	if lines := w.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "Error NinjaOneSync The timer Quick of the app has not fired since ") || !strings.HasSuffix(lines[0], Advice) {
		t.Errorf("the logbook says %q", lines)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.beat()
	w.ran(2, 1)
	if stopped, err := w.InPlace(t.Context()); err != nil || len(stopped) != 2 {
		t.Errorf("%q stopped, %v", stopped, err)
	}
	w.Fired(t.Context(), "Quick")
	if lines := w.lines(); len(lines) > 0 {
		t.Errorf("with one timer still stopped the logbook says %q", lines)
	}
	w.Fired(t.Context(), "Slow")
	w.Fired(t.Context(), "Slow")
	if lines := w.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "Info NinjaOneSync The timers of the app fire again") {
		t.Errorf("the logbook says %q", lines)
	}
	w.beat()
	w.ran(2, 1)
}

// TestStoppedTimerThatCannotBeTold: where CIPP's storage refuses the logbook's
// line, the timer's work is done all the same.
func TestStoppedTimerThatCannotBeTold(t *testing.T) {
	w := newWorld(t)
	refuses := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	connection := "TableEndpoint=" + refuses.URL + ";QueueEndpoint=" + refuses.URL + ";BlobEndpoint=" + refuses.URL + ";SharedAccessSignature=sig=none"
	closed := storagetest.Open(t, connection)
	w.CIPP = cipptest.Store(closed)
	w.Fired(t.Context(), "Quick")
	w.Fired(t.Context(), "Slow")
	w.now = w.now.Add(time.Hour)
	w.beat()
	w.ran(1, 0)
}

// TestTimersThatNeverFired are given their time from the first heartbeat on.
func TestTimersThatNeverFired(t *testing.T) {
	w := newWorld(t)
	w.beat()
	w.now = w.now.Add(30 * time.Minute)
	w.beat()
	w.ran(0, 0)
	w.now = w.now.Add(2 * time.Hour)
	w.fails = errors.New("no") // the others' work is done all the same
	w.beat()
	w.ran(1, 1)
	if n := w.waiting(); n == 0 {
		t.Error("no message waits")
	}
}

// TestHeartbeatsAtOnce: copies of a message that come at the same time do the
// work once.
func TestHeartbeatsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Fired(t.Context(), "Quick")
	w.Fired(t.Context(), "Slow")
	w.now = w.now.Add(3 * time.Hour)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := w.Beat(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.ran(1, 1)
}

// TestTimersFireAtOnce: of the timers that stopped, several fire again at the same time,
// and the logbook is told once.
func TestTimersFireAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Fired(t.Context(), "Quick")
	w.Fired(t.Context(), "Slow")
	for range 10 {
		w.now = w.now.Add(3 * time.Hour)
		w.beat()
		w.lines()
		var all sync.WaitGroup
		for _, timer := range []string{"Quick", "Slow"} {
			all.Go(func() { w.Fired(t.Context(), timer) })
		}
		all.Wait()
		if lines := w.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "Info NinjaOneSync The timers of the app fire again") {
			t.Fatalf("the logbook says %q", lines)
		}
	}
}

// TestCopiesAtOnce: copies of a message that are handled at the same time leave one
// behind, also where the timers are dead and nobody else sends one.
func TestCopiesAtOnce(t *testing.T) {
	w := newWorld(t)
	for _, copies := range []int{2, 5, 1, 2} {
		w.now, w.Queue = w.now.Add(ahead), w.account.Queue(azuritetest.UniqueName(t))
		for range copies {
			must(t, w.Queue.Send(t.Context(), struct{}{}, 0))
		}
		var all sync.WaitGroup
		for range copies {
			all.Go(func() {
				if err := w.Beat(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait() // no copy is deleted before
		if n := w.waiting(); n != copies+1 {
			t.Errorf("%d copies left %d messages behind", copies, n-copies)
		}
	}
}

// TestOneMessageWaits: a message sees to the next one, and surplus ones end.
func TestOneMessageWaits(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		must(t, w.Queue.Send(t.Context(), struct{}{}, 0))
	}
	for left := 3; left > 0; left-- {
		_, err := w.Queue.Take(t.Context(), 1, func(ctx context.Context, _ storage.Message) (bool, error) {
			return true, w.Beat(ctx)
		})
		must(t, err)
	}
	if n := w.waiting(); n != 1 {
		t.Errorf("%d messages wait", n)
	}
}

// TestTurnedOff tries both names by which the host knows the setting: some plans
// take no dots in names.
func TestTurnedOff(t *testing.T) {
	for name, known := range map[string]bool{"AzureWebJobs.Quick.Disabled": true, "AzureWebJobs_Quick_Disabled": true, "AzureWebJobs__Quick__Disabled": false} {
		for value, off := range map[string]bool{"true": true, " True ": true, "1": true, "false": false, "": false, "0": false} {
			getenv := func(asked string) string { return map[string]string{name: value}[asked] }
			if got := TurnedOff(getenv, "Quick"); got != (known && off) {
				t.Errorf("%s=%q: %v", name, value, got)
			}
		}
	}
}
