package ninjaone

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// demand keeps a pacer busy with more callers than it lets through, and notes
// when calls start. Its end is the end of the test's context.
type demand struct {
	mu     sync.Mutex
	starts []time.Time
}

func newDemand(t *testing.T, p *pacer) *demand {
	d := &demand{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for {
				trial, err := p.wait(ctx, operation{method: http.MethodGet, path: "/v2/organizations"})
				if err != nil {
					return
				}
				p.gate.answered(trial)
				d.mu.Lock()
				d.starts = append(d.starts, time.Now())
				d.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return d
}

// take returns how many calls started since it was last called.
func (d *demand) take() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.starts)
	d.starts = nil
	return n
}

// TestSetRateUnderLoad changes the rate while 30 callers wait: what they were
// waiting for at the old rate must not be granted at the new one.
func TestSetRateUnderLoad(t *testing.T) {
	simulate(t, func(t *testing.T) {
		p := newPacer(atRate(4, NewGate()))
		d := newDemand(t, p)
		for i, step := range []struct {
			name     string
			rate     float64
			min, max int // calls in the following 10 s
		}{
			{"as built, with a full bucket", 4, 40, 41},
			{"lowered", 1, 9, 11},
			{"stopped", 0, 0, 0},
			{"raised from nothing", 2, 19, 20},
			{"not a number stops too", math.NaN(), 0, 0},
			{"a quarter", 0.25, 2, 3},
			{"raised", 5, 49, 51},
			{"negative stops too", -1, 0, 0},
		} {
			p.setRate(step.rate)
			synctest.Wait() // a call granted at this very instant counts to the step before
			if i > 0 {      // the first calls of all started with the callers
				d.take()
			}
			pass(t, 10*time.Second)
			if n := d.take(); n < step.min || n > step.max {
				t.Errorf("%s: %d calls in 10 s at %g per second, want %d to %d", step.name, n, step.rate, step.min, step.max)
			}
		}
	})
}

// TestHandingTheRateOverAddsNoCalls gives a share of the rate back and forth
// between two processes, each of which could otherwise begin with a burst.
func TestHandingTheRateOverAddsNoCalls(t *testing.T) {
	simulate(t, func(t *testing.T) {
		a, b := newPacer(atRate(4, NewGate())), newPacer(atRate(4, NewGate()))
		a.setRate(0)
		b.setRate(0)
		da, db := newDemand(t, a), newDemand(t, b)
		for range 30 {
			a.setRate(4)
			pass(t, time.Second)
			a.setRate(0)
			b.setRate(4)
			pass(t, time.Second)
			b.setRate(0)
		}
		if n := da.take() + db.take(); n > 4*60+2 || n < 3*60 {
			t.Errorf("%d calls in 60 s at 4 per second", n)
		}
	})
}

// TestThrottlingHoldsBackTheQueue lets NinjaOne ask for a pause while callers
// wait for their turn already, in two pools that share a gate.
func TestThrottlingHoldsBackTheQueue(t *testing.T) {
	simulate(t, func(t *testing.T) {
		gate := NewGate()
		p, other := newPacer(atRate(5, gate)), newPacer(atRate(5, gate))
		d, e := newDemand(t, p), newDemand(t, other)
		pass(t, 2*time.Second)
		d.take()
		e.take()
		if pause := gate.turnedAway(false, 20*time.Second); pause != 20*time.Second {
			t.Errorf("a pause of %s", pause)
		}
		pass(t, 19*time.Second)
		if n := d.take() + e.take(); n != 0 {
			t.Errorf("%d calls started during the pause", n)
		}
		pass(t, 11*time.Second)
		if n := d.take() + e.take(); n < 95 || n > 104 {
			t.Errorf("%d calls started in the 10 s after the pause", n)
		}
	})
}

// TestOneCallTriesAlone lets no second call start before the first one after a
// pause was answered, or has taken too long.
func TestOneCallTriesAlone(t *testing.T) {
	simulate(t, func(t *testing.T) {
		p := newPacer(atRate(100, NewGate()))
		next := func(want bool) {
			t.Helper()
			if trial, err := p.wait(t.Context(), operation{}); err != nil || trial != want {
				t.Fatalf("trial %t, %v", trial, err)
			}
		}
		next(false)
		var pause time.Duration
		for i, want := range []time.Duration{1, 4, 8, 8} {
			pause = p.gate.turnedAway(i > 0, 0)
			if pause < want*time.Second || pause > want*time.Second*5/4 {
				t.Errorf("pause %d is %s", i, pause)
			}
			start := time.Now()
			next(true)
			if spent := time.Since(start); spent != pause {
				t.Errorf("the trial began after %s of %s", spent, pause)
			}
		}
		p.gate.answered(false) // of a call that was under way before
		start := time.Now()
		next(true)
		if spent := time.Since(start); spent != trialTime {
			t.Errorf("the next call began %s after one without an answer", spent)
		}
		if refused := p.gate.answered(true); refused != 3 {
			t.Errorf("%d calls in vain, want 3", refused)
		}
		next(false)
		p.gate.Hold(time.Now().Add(7 * time.Second))
		start = time.Now()
		next(true)
		if spent := time.Since(start); spent != 7*time.Second {
			t.Errorf("held for %s", spent)
		}
	})
}

func TestStoppedPacerHonoursTheContext(t *testing.T) {
	simulate(t, func(t *testing.T) {
		p := newPacer(atRate(5, NewGate()))
		p.setRate(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 { // one has the turn, two wait for it
			wg.Go(func() {
				if _, err := p.wait(ctx, operation{}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestPoolSharesOneRate(t *testing.T) {
	simulate(t, func(t *testing.T) {
		s := &script{}
		f := newFake(t, s.serve)
		d := testDeps()
		d.Rate, d.Transport = 5, handlerTransport{f}
		pool := NewPool(d)
		pool.SetRate(0)
		first, err := pool.Client("eu.ninjarmm.com", testClientID)
		if err != nil {
			t.Fatal(err)
		}
		second, err := pool.Client("oc.ninjarmm.com", testClientID)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := get(ctx, first); !errors.Is(err, context.DeadlineExceeded) || s.n.Load() != 0 {
			t.Errorf("a call of a stopped pool: %v, %d calls", err, s.n.Load())
		}
		start := time.Now()
		pool.SetRate(2)
		var wg sync.WaitGroup
		for range 10 {
			for _, c := range []*Client{first, second} {
				wg.Go(func() {
					if err := get(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		// The clients take the token away from each other, which makes for more
		// calls than 20. None of them is for free.
		n := len(f.made()) + f.tokens()
		if spent := time.Since(start).Seconds(); spent < float64(n-2)/2 || spent > float64(n+2)/2 {
			t.Errorf("%d calls of two clients at 2 per second took %g s", n, spent)
		}
	})
}
