package pacing

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// What a sync does beside NinjaOne's calls, as sandbox/bench measures it: it reads
// Microsoft 365, and marks and settles the values of a batch in storage.
const (
	readingTime = 4 * time.Second
	markingTime = 100 * time.Millisecond
	batchSize   = 100
	writersOnce = 8
	// The calls of NinjaOne that a first sync makes: TestTypicalDay in sandbox/e2e holds
	// the handler to both.
	readCalls       = 3
	writesOfATenant = 101
)

// syncOf makes the calls of one sync, or reports that its slot was lost.
func (m *machine) syncOf(writes int) bool {
	slot, err := m.pacer.Acquire(m.ctx, time.Minute)
	if err != nil {
		return false
	}
	defer slot.Release()
	<-time.After(readingTime/2 + rand.N(readingTime)) // tenants differ
	call := func() error {
		_, err := m.syncs.Organization(slot.Context(), 1)
		return err
	}
	for range readCalls {
		if call() != nil {
			return false
		}
	}
	for left := writes; left > 0; left -= batchSize {
		<-time.After(markingTime)
		var batch errgroup.Group
		batch.SetLimit(writersOnce)
		for range min(left, batchSize) {
			batch.Go(call)
		}
		if batch.Wait() != nil {
			return false
		}
	}
	return true
}

// night syncs tenants with two processes, as the host's queue hands them out, and
// returns how long that takes.
func (w *world) night(tenants, writes int) time.Duration {
	start := time.Now()
	var left, done atomic.Int64
	left.Store(int64(tenants))
	machines := []*machine{w.machine(), w.machine()}
	var runs sync.WaitGroup
	for _, m := range machines {
		for range 8 { // more invocations than slots
			runs.Go(func() {
				for left.Add(-1) >= 0 {
					for !m.syncOf(writes) {
						<-time.After(30 * time.Second)
					}
					done.Add(1)
				}
			})
		}
	}
	runs.Wait()
	spent := time.Since(start)
	for _, m := range machines {
		m.end()
	}
	if done.Load() != int64(tenants) {
		w.t.Errorf("%d of %d tenants were synced", done.Load(), tenants)
	}
	return spent
}

// TestFirstNight syncs NIGHT_TENANTS tenants (40) of 100 users and 100 devices for
// the first time, in simulated time, and holds the time to the part of the night
// that a thousand may take.
func TestFirstNight(t *testing.T) {
	tenants := 40
	if n, err := strconv.Atoi(os.Getenv("NIGHT_TENANTS")); err == nil {
		tenants = n
	}
	for limit, most := range map[float64]time.Duration{20: 105 * time.Minute, 5: 6*time.Hour + 45*time.Minute} {
		paced(t, &instance{limit: &bucket{perSecond: limit, burst: limit}}, 20, func(w *world) {
			w.night(4, writesOfATenant) // what is learnt in the first minutes of the night
			began := time.Since(w.began)
			spent := w.night(tenants, writesOfATenant)
			whole := spent * 1000 / time.Duration(tenants)
			passed, turned := w.figures(began, began+spent)
			t.Logf("%d tenants at a limit of %g: %s; a thousand: %s; %.2f calls a second, %.2f %% turned away",
				tenants, limit, spent.Round(time.Second), whole.Round(time.Minute), passed, 100*turned/(passed+turned))
			if whole > most {
				t.Errorf("a thousand tenants take %s at a limit of %g", whole, limit)
			}
		})
	}
}

// TestThousandDevices syncs a tenant of a thousand devices for the first time,
// where the pace is known and where it begins at five.
func TestThousandDevices(t *testing.T) {
	paced(t, &instance{limit: &bucket{perSecond: 25, burst: 25}}, 20, func(w *world) {
		for _, tt := range []struct {
			name    string
			before  int // tenants synced before
			longest time.Duration
		}{{"from a start at 5", 0, 2 * time.Minute}, {"at the pace that was learnt", 8, 70 * time.Second}} {
			if tt.before > 0 {
				w.night(tt.before, 200)
			}
			m, start := w.machine(), time.Now()
			if !m.syncOf(1001) {
				t.Error("the sync did not come to its end")
			}
			spent := time.Since(start)
			t.Logf("%s: %s", tt.name, spent.Round(time.Second))
			if spent > tt.longest {
				t.Errorf("%s it takes %s", tt.name, spent)
			}
			m.end()
			pass(w.t, time.Minute)
		}
	})
}
