package pacing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

func TestOneProcessAloneHasTheWholeRate(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a := la.process()
		if got := la.meter.rate(a); got != 0 {
			t.Errorf("rate %g before any run", got)
		}
		first := a.must(t, time.Minute)
		start := time.Now()
		a.Press()
		la.meter.await(a, 4)
		if spent := time.Since(start); spent > 2*time.Second {
			t.Errorf("it took %s to get the rate", spent)
		}
		var others []*Slot
		for range 3 {
			others = append(others, a.must(t, 0))
		}
		pass(t, 10*time.Minute)
		la.meter.await(a, 4)
		first.Release()
		first.Release()
		for _, s := range others {
			if err := s.Context().Err(); err != nil {
				t.Errorf("a run was stopped: %v", err)
			}
			s.Release()
			if s.Context().Err() == nil {
				t.Error("the context of a released slot has not ended")
			}
		}
		la.meter.await(a, 0)
		pass(t, time.Second)
		asked := la.service.asked()
		pass(t, time.Hour)
		if got := la.service.asked(); got != asked {
			t.Errorf("%d requests while idle", got-asked)
		}
		// The next run does not wait for anything.
		start = time.Now()
		a.must(t, time.Minute).Release()
		if spent := time.Since(start); spent > time.Second {
			t.Errorf("the next run waited %s", spent)
		}
	})
}

// TestTheNextRunFindsTheSlot: a short run takes one slot, and one that follows within a
// poll none. A process that ends leaves none behind.
func TestTheNextRunFindsTheSlot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a := la.process()
		for range 20 {
			s := a.must(t, time.Minute)
			pass(t, time.Second)
			s.Release()
			pass(t, defaultPoll-time.Second)
			if got := la.service.asked(); got > 4 {
				t.Fatalf("%d leases were asked for", got)
			}
		}
		la.service.requests = 0
		pass(t, time.Minute)
		a.must(t, time.Minute).Release()
		if got := la.service.asked(); got != 1 {
			t.Errorf("a short run asked for %d leases", got)
		}
		defer a.must(t, time.Second).Release() // one that is left behind
		a.Press()
		a.Close()
		pass(t, 3*defaultPoll)
		b := la.process()
		for range 4 {
			defer b.must(t, time.Second).Release()
		}
	})
}

// TestAKilledProcessLeavesOneSlot: of what a process held, one slot alone is taken once
// its last run has ended, in case that the process is killed.
func TestAKilledProcessLeavesOneSlot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a, b := la.process(), la.process()
		var slots []*Slot
		for range 4 {
			slots = append(slots, a.must(t, time.Minute))
		}
		for _, s := range slots {
			s.Release()
		}
		pass(t, time.Second)
		for range 3 {
			defer b.must(t, time.Second).Release()
		}
	})
}

// TestWaitersGetSpareSlots lets processes come one by one while the first one
// holds all slots for its one run.
func TestWaitersGetSpareSlots(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				la := newLane(t, 4, 1, 4)
				a := la.process()
				slots := []*Slot{a.must(t, time.Minute)}
				la.meter.await(a, 4)
				pass(t, 10*time.Second+rand.N(time.Minute))
				for want := 3.0; want > 0; want-- {
					slots = append(slots, la.process().must(t, 25*time.Second))
					la.meter.await(a, want)
				}
				if _, err := la.process().Acquire(t.Context(), time.Minute); !errors.Is(err, ErrBusy) {
					t.Errorf("a fifth run: %v", err)
				}
				for _, s := range slots[1:] {
					s.Release()
				}
				la.meter.await(a, 4)
				slots[0].Release()
			})
		})
	}
}

// TestWaitersComeAtOnce lets three processes come at the same time.
func TestWaitersComeAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a := la.process()
		first := a.must(t, time.Minute)
		la.meter.await(a, 4)
		var wg sync.WaitGroup
		var release sync.WaitGroup
		release.Add(1)
		for range 3 {
			wg.Add(1)
			go func() {
				s, err := la.process().Acquire(t.Context(), 90*time.Second)
				wg.Done()
				if err != nil {
					t.Error(err)
					return
				}
				release.Wait()
				s.Release()
			}()
		}
		wg.Wait()
		release.Done()
		la.meter.await(a, 4)
		first.Release()
	})
}

// TestMoreRunsInAnotherProcess gives spare slots also to a process that has
// some, but too few.
func TestMoreRunsInAnotherProcess(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a, b := la.process(), la.process()
		first := a.must(t, time.Minute)
		la.meter.await(a, 4)
		slots := []*Slot{first}
		for range 3 {
			slots = append(slots, b.must(t, time.Minute))
		}
		la.meter.await(b, 3)
		for _, s := range slots {
			s.Release()
		}
	})
}

// TestFirstComesBeforeMore lets a slot come free when one process has none and
// another wants a second.
func TestFirstComesBeforeMore(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				la := newLane(t, 2, 1, 4)
				holder, has, hasNone := la.process(), la.process(), la.process()
				first, second := holder.must(t, time.Minute), has.must(t, time.Minute)
				got := make(chan string, 2)
				var wg sync.WaitGroup
				for name, pr := range map[string]*process{"has one": has, "has none": hasNone} {
					wg.Go(func() {
						s, err := pr.Acquire(t.Context(), 10*time.Minute)
						if err != nil {
							t.Error(err)
							return
						}
						got <- name
						pass(t, 10*time.Second)
						s.Release()
					})
				}
				pass(t, 20*time.Second) // less than six polls: nobody gives up a slot that has a run
				first.Release()
				if name := <-got; name != "has none" {
					t.Errorf("the slot went to the process that %s", name)
				}
				wg.Wait()
				second.Release()
			})
		})
	}
}

// TestNobodyStarves keeps one process busier than the lane allows. Another one
// must get its turn all the same, and go on getting it.
func TestNobodyStarves(t *testing.T) {
	for name, la := range map[string][3]int{"one slot": {1, 1}, "one slot for four runs": {1, 4}, "four slots": {4, 1}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				la := newLane(t, la[0], la[1], 4)
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				done := map[*process]*atomic.Int64{}
				for range 3 {
					pr := la.process()
					n := &atomic.Int64{}
					done[pr] = n
					for range 8 {
						wg.Go(func() {
							for ctx.Err() == nil {
								s, err := pr.Acquire(ctx, 10*time.Minute)
								if err != nil {
									continue
								}
								select {
								case <-time.After(5*time.Second + rand.N(10*time.Second)):
									n.Add(1)
								case <-s.Context().Done():
								}
								s.Release()
							}
						})
					}
				}
				for range 6 {
					pass(t, 10*time.Minute)
					for _, n := range done {
						if n.Swap(0) == 0 {
							t.Error("a process had no run in ten minutes")
						}
					}
				}
				stop()
				wg.Wait()
			})
		})
	}
}

func TestKilledProcess(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 2, 1, 4)
		a, b := la.process(), la.process()
		run := a.must(t, time.Minute)
		la.meter.await(a, 4)
		la.meter.kill(a)
		run.Release()
		start := time.Now()
		if _, err := b.Acquire(t.Context(), 30*time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v while the leases last", err)
		}
		s := b.must(t, time.Minute)
		if spent := time.Since(start); spent < 40*time.Second {
			t.Errorf("a slot after %s, before the leases could end", spent)
		}
		la.meter.await(b, 4)
		s.Release()
	})
}

func TestStorageOutOfReach(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a := la.process()
		run := a.must(t, time.Minute)
		a.Press() // so that all leases are of one age
		la.meter.await(a, 4)
		held := la.service.holder("slot/sync-0")

		a.set(&a.cut, true)
		<-run.Context().Done()
		if cause := context.Cause(run.Context()); !errors.Is(cause, ErrLost) || !errors.Is(cause, storage.ErrLeaseLost) {
			t.Errorf("cause %v", cause)
		}
		if got := la.meter.rate(a); got != 0 {
			t.Errorf("rate %g without slots", got)
		}
		if la.service.holder("slot/sync-0") != held {
			t.Error("the service's lease ended before the process stopped counting it")
		}
		run.Release()
		if _, err := a.Acquire(t.Context(), 20*time.Second); !errors.Is(err, errUnreachable) || errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
		a.set(&a.cut, false)
		a.must(t, time.Minute).Release()
	})
}

// TestOneLeaseIsTakenAway lowers the rate at once and goes on with the run.
func TestOneLeaseIsTakenAway(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 4, 1, 4)
		a := la.process()
		run := a.must(t, time.Minute)
		la.meter.await(a, 4)
		l := la.service.holder("slot/sync-2")
		la.service.free(l)
		<-l.Context().Done()
		la.meter.await(a, 3)
		la.meter.await(a, 4)
		if err := run.Context().Err(); err != nil {
			t.Errorf("the run was stopped: %v", err)
		}
		run.Release()
	})
}

// TestLeaseThatCameTooLate must not be counted: nobody renewed it meanwhile.
func TestLeaseThatCameTooLate(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 1, 1, 4)
		a := la.process()
		a.set(&a.hang, true)
		s := a.must(t, time.Minute)
		pass(t, 2*time.Minute)
		if err := s.Context().Err(); err != nil {
			t.Errorf("the run was stopped: %v", context.Cause(s.Context()))
		}
		s.Release()
	})
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	simulate(t, func(t *testing.T) {
		la := newLane(t, 1, 1, 4)
		a := la.process()
		run := a.must(t, time.Minute)
		why := errors.New("the host stops")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		if _, err := a.Acquire(ctx, time.Hour); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		run.Release()
		// A run's context ends with the one it was acquired with.
		ctx, cancel = context.WithCancelCause(t.Context())
		s, err := a.Acquire(ctx, time.Minute)
		must(t, err)
		cancel(why)
		if !errors.Is(context.Cause(s.Context()), why) {
			t.Errorf("cause %v", context.Cause(s.Context()))
		}
		s.Release()
	})
}

// TestRatesNeverAddUpToMore lets processes come, work, lose storage and be
// killed by chance. The meter fails the test if their rates ever add up to more
// than the lane's.
func TestRatesNeverAddUpToMore(t *testing.T) {
	var runs, busy, lost, killed atomic.Int64
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				slots := 1 + random.IntN(6)
				la := newLane(t, slots, 1+random.IntN(3), 5)
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
				defer stop()
				var wg sync.WaitGroup
				for range 2 + random.IntN(4) {
					r := rand.New(rand.NewPCG(seed, random.Uint64()))
					wg.Go(func() {
						for ctx.Err() == nil {
							lifetime(ctx, la, r, &runs, &busy, &lost, &killed)
						}
					})
				}
				wg.Wait()
				pass(t, 2*time.Minute) // the leases of those that were killed
				for i := range slots {
					if l := la.service.holder(fmt.Sprintf("slot/sync-%d", i)); l != nil {
						t.Errorf("slot %d is still held", i)
					}
				}
				if la.meter.most < 5*(1-1e-9) {
					t.Errorf("the rate was never used in full: %g", la.meter.most)
				}
			})
		})
	}
	for name, n := range map[string]int64{"runs": runs.Load(), "busy": busy.Load(), "lost": lost.Load(), "killed": killed.Load()} {
		if n < 10 {
			t.Errorf("%s: %d, so the test shows too little", name, n)
		}
	}
}

// lifetime is one process from its start until it is killed or ctx ends.
func lifetime(ctx context.Context, la *lane, r *rand.Rand, runs, busy, lost, killed *atomic.Int64) {
	pr := la.process()
	life, end := context.WithTimeout(ctx, time.Duration(r.Int64N(int64(10*time.Minute))))
	defer end()
	var wg sync.WaitGroup
	for range 1 + r.IntN(4) { // invocations at once
		r := rand.New(rand.NewPCG(r.Uint64(), 2))
		wg.Go(func() {
			for life.Err() == nil {
				s, err := pr.Acquire(life, time.Duration(r.Int64N(int64(90*time.Second))))
				switch {
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				case err == nil:
					runs.Add(1)
					select {
					case <-s.Context().Done():
						if errors.Is(context.Cause(s.Context()), ErrLost) {
							lost.Add(1)
						}
					case <-time.After(time.Duration(r.Int64N(int64(40 * time.Second)))):
					}
					if life.Err() != nil && ctx.Err() == nil { // nothing is released by one that is killed
						if !pr.is(&pr.dead) {
							killed.Add(1)
							la.meter.kill(pr)
						}
					}
					s.Release()
				}
				select {
				case <-life.Done():
				case <-time.After(time.Duration(r.Int64N(int64(20 * time.Second)))):
				}
			}
		})
	}
	wg.Go(func() {
		for life.Err() == nil {
			select {
			case <-life.Done():
			case <-time.After(time.Duration(r.Int64N(int64(4 * time.Minute)))):
				pr.set(&pr.cut, !pr.is(&pr.cut))
			}
		}
		pr.set(&pr.cut, false)
	})
	wg.Wait()
}
