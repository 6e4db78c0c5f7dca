package ninjaone

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// unlimitedRate and above have calls saved up.
	unlimitedRate = 1000

	// maxPause is the longest that a call waits because NinjaOne asks for it.
	// Beyond it the call fails with ErrThrottled, and the run can be resumed.
	maxPause = time.Minute
)

// Meter learns of a client's calls, and finds by them how many NinjaOne takes.
type Meter interface {
	// Begin tells of a call before it waits for its turn, and how many others wait.
	Begin(waiting int)
	// End tells when an attempt at a call has ended.
	End(Call)
}

// Unmetered is for clients whose rate nobody finds.
type Unmetered struct{}

// Begin does nothing.
func (Unmetered) Begin(int) {}

// End does nothing.
func (Unmetered) End(Call) {}

// pacer spaces all calls of its clients.
//
// One caller at a time waits for the limiter; the others wait for their turn. So a change
// of the rate holds from the next call on: no other has a time yet.
type pacer struct {
	turn    chan struct{} // full while a caller waits for the limiter
	waiting atomic.Int64  // callers, that one included
	gate    *Gate
	meter   Meter

	mu      sync.Mutex
	limiter *rate.Limiter
	changed chan struct{} // closed when a wait under way must be reconsidered
}

func newPacer(d Deps) *pacer {
	return &pacer{
		turn: make(chan struct{}, 1), gate: d.Gate, meter: d.Meter,
		limiter: rate.NewLimiter(limit(d.Rate), burst(d.Rate)), changed: make(chan struct{}),
	}
}

func limit(perSecond float64) rate.Limit {
	if math.IsInf(perSecond, 1) {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// burst is how many calls may start at once after a rest. It is one: nobody knows over
// what time NinjaOne counts, and evenly spaced calls are right for any. Only from
// unlimitedRate on are some saved up, for timers that are late.
func burst(perSecond float64) int {
	if perSecond >= unlimitedRate {
		return 10
	}
	return 1
}

// setRate changes the rate. No call starts at the old one after it returns. A higher rate
// brings no calls with it: they accrue from now on. So handing a share of the rate from
// one process to another never adds any.
func (p *pacer) setRate(perSecond float64) {
	if !(perSecond > 0) {
		perSecond = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit(perSecond) == p.limiter.Limit() {
		return
	}
	p.limiter.SetLimit(limit(perSecond))
	p.limiter.SetBurst(burst(perSecond))
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait blocks until the next call may start, and reports whether it tries alone.
// It fails at once with ErrThrottled when NinjaOne's pause outlasts maxPause or
// the context. It fails with ErrOutOfTime when the context ends before the
// call's turn.
func (p *pacer) wait(ctx context.Context, op operation) (trial bool, err error) {
	if err := p.tooLong(ctx, op); err != nil {
		return false, err
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	waiting := func(err error) error { return op.wrap(fmt.Errorf("waiting for a free call: %w", err)) }
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return false, waiting(ctx.Err())
	}
	defer func() { <-p.turn }()
	for {
		if err := ctx.Err(); err != nil {
			return false, waiting(err)
		}
		if err := p.tooLong(ctx, op); err != nil {
			return false, err
		}
		call, delay, changed := p.next()
		held, opened := p.gate.wait()
		delay = max(delay, held)
		if deadline, limited := ctx.Deadline(); delay < rate.InfDuration && limited && time.Until(deadline) <= delay {
			call.Cancel()
			return false, waiting(ErrOutOfTime)
		}
		if p.pass(ctx, delay, changed, opened) {
			if trial, ok := p.gate.enter(); ok {
				return trial, nil
			}
		}
		call.Cancel()
	}
}

// pass waits, and reports whether what it waited for still holds.
func (p *pacer) pass(ctx context.Context, delay time.Duration, changed, opened <-chan struct{}) bool {
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !closed(changed) && !closed(opened)
	case <-changed:
	case <-opened:
	case <-ctx.Done():
	}
	return false
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// next returns when the limiter lets the next call start. It does not hold any
// more once changed is closed.
func (p *pacer) next() (call *rate.Reservation, delay time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limiter.Limit() == 0 {
		return &rate.Reservation{}, rate.InfDuration, p.changed
	}
	call = p.limiter.Reserve()
	return call, call.Delay(), p.changed
}

// tooLong is the error of a call for which NinjaOne's pause is too long.
func (p *pacer) tooLong(ctx context.Context, op operation) error {
	pause := p.gate.pause()
	deadline, limited := ctx.Deadline()
	if pause > maxPause || pause > 0 && limited && time.Until(deadline) <= pause {
		return &APIError{Method: op.method, Path: op.path, RetryAfter: pause, kinds: []error{ErrThrottled}}
	}
	return nil
}
