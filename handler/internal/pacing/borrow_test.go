package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBorrowsWhileNobodyRunsThere lends all but the first slot of a lane without
// runs, and gives them back when a run comes.
func TestBorrowsWhileNobodyRunsThere(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				syncs, updates := newLanes(t, 4, 2, 4, 1)
				a, b := syncs.process(), updates.process()
				run := a.must(t, time.Minute)
				syncs.meter.await(a, 4.5)
				pass(t, rand.N(time.Minute))

				start := time.Now()
				update := b.must(t, time.Minute)
				if spent := time.Since(start); spent > time.Second {
					t.Errorf("a run waited %s for a slot of its own lane", spent)
				}
				syncs.meter.await(b, 1)
				if spent := time.Since(start); spent > 20*time.Second {
					t.Errorf("it took %s to get back what was lent", spent)
				}
				syncs.meter.await(a, 4)
				pass(t, 10*time.Minute)
				if got := syncs.meter.rate(b); got != 1 {
					t.Errorf("the lane's own run has the rate %g", got)
				}

				update.Release()
				syncs.meter.await(a, 4.5)
				run.Release()
				syncs.meter.await(a, 0)

				// The other way round.
				update = b.must(t, time.Minute)
				syncs.meter.await(b, 4)
				run = a.must(t, time.Second)
				syncs.meter.await(a, 4)
				syncs.meter.await(b, 1)
				run.Release()
				update.Release()
			})
		})
	}
}

// TestBorrowsNothingWithoutSlot takes no slot of another lane for runs that have
// none of their own.
func TestBorrowsNothingWithoutSlot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		syncs, _ := newLanes(t, 1, 3, 4, 3)
		a, b := syncs.process(), syncs.process()
		run := a.must(t, time.Minute)
		syncs.meter.await(a, 6)
		if _, err := b.Acquire(t.Context(), 20*time.Second); err == nil {
			t.Error("two runs in one slot")
		}
		if got := syncs.meter.rate(b); got != 0 {
			t.Errorf("rate %g without a run", got)
		}
		run.Release()
	})
}

// TestGivesBackWithoutSlot lets a process lose its own slot while it goes on
// waiting for another: what it borrowed is of no use to it.
func TestGivesBackWithoutSlot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		syncs, _ := newLanes(t, 1, 3, 4, 3)
		a, b := syncs.process(), syncs.process()
		first := a.must(t, time.Minute)
		syncs.meter.await(a, 6)
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		wg.Go(func() {
			if s, err := a.Acquire(ctx, time.Hour); err == nil {
				s.Release()
			}
		})
		syncs.service.free(syncs.service.holder("slot/sync-0"))
		taken, err := b.lease(t.Context(), "slot/sync-0", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		<-first.Context().Done()
		first.Release()
		syncs.meter.await(a, 0)
		stop()
		taken.Release()
	})
}

// TestBorrowerIsKilled leaves the lane its first slot, and the others when their
// leases end.
func TestBorrowerIsKilled(t *testing.T) {
	simulate(t, func(t *testing.T) {
		syncs, updates := newLanes(t, 4, 3, 4, 3)
		a, b := syncs.process(), updates.process()
		run := a.must(t, time.Minute)
		syncs.meter.await(a, 6)
		syncs.meter.kill(a)
		run.Release()
		update := b.must(t, time.Second)
		if got := syncs.meter.rate(b); got != 1 {
			t.Errorf("rate %g while the leases last", got)
		}
		syncs.meter.await(b, 6) // its own three, and three of the four
		update.Release()
	})
}

// TestBorrowedRatesNeverAddUpToMore lets processes of two lanes come, work, lose
// storage and be killed by chance. The meter fails the test if their rates ever
// add up to more than those of the lanes.
func TestBorrowedRatesNeverAddUpToMore(t *testing.T) {
	var runs, busy, lost, killed atomic.Int64
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 3))
				syncs, updates := newLanes(t, 1+random.IntN(5), 1+random.IntN(3), 4, 1)
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
				defer stop()
				var wg sync.WaitGroup
				for i := range 2 + random.IntN(4) {
					r := rand.New(rand.NewPCG(seed, random.Uint64()))
					la := syncs
					if i%2 == 1 {
						la = updates
					}
					wg.Go(func() {
						for ctx.Err() == nil {
							lifetime(ctx, la, r, &runs, &busy, &lost, &killed)
						}
					})
				}
				wg.Wait()
				pass(t, 2*time.Minute) // the leases of those that were killed
				for _, la := range []*lane{syncs, updates} {
					for i := range la.config.Slots {
						name := fmt.Sprintf("slot/%s-%d", la.config.Name, i)
						if la.service.holder(name) != nil {
							t.Errorf("%s is still held", name)
						}
					}
				}
			})
		})
	}
	for name, n := range map[string]int64{"runs": runs.Load(), "lost": lost.Load(), "killed": killed.Load()} {
		if n < 10 {
			t.Errorf("%s: %d, so the test shows too little", name, n)
		}
	}
}
