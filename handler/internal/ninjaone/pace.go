package ninjaone

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// defaultRate is what careful integrators keep to; NinjaOne publishes no
	// limit.
	defaultRate = 5
	// slowestRate is the floor that throttling cannot push the rate below.
	slowestRate = 0.2
	// fastestKnownRate stands in for "unlimited" where a rate must be halved
	// or grown.
	fastestKnownRate = 50
	// recoverySteps is how many successes bring back the full rate.
	recoverySteps = 100

	// maxPause is the longest that a call waits because NinjaOne asks for it.
	// Beyond it the call fails with ErrThrottled, and the run can be resumed.
	maxPause = time.Minute
)

// pacer spaces all calls of its clients. Throttling halves its rate and holds
// every caller back; successes bring the rate back slowly.
//
// One caller at a time waits for the limiter, the others wait for their turn:
// a change of the rate then holds from the next call on, which calls that had
// been promised a time already would not keep to.
type pacer struct {
	turn chan struct{} // full while a caller waits for the limiter

	mu      sync.Mutex
	limiter *rate.Limiter
	full    rate.Limit    // ceiling; 0: no call may start
	slowed  float64       // part of full that throttling leaves, above 0, at most 1
	until   time.Time     // no call starts before
	changed chan struct{} // closed when a wait under way must be reconsidered
}

func newPacer(perSecond float64) *pacer {
	if perSecond <= 0 || math.IsNaN(perSecond) {
		perSecond = defaultRate
	}
	p := &pacer{turn: make(chan struct{}, 1), slowed: 1, full: limit(perSecond), changed: make(chan struct{})}
	p.limiter = rate.NewLimiter(p.full, burst(perSecond))
	return p
}

func limit(perSecond float64) rate.Limit {
	if math.IsInf(perSecond, 1) {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// burst is how many calls may start at once after a rest: those of a fifth of a
// second, so that no second has many more than the rate allows.
func burst(perSecond float64) int { return int(math.Ceil(min(perSecond, fastestKnownRate) / 5)) }

// setRate changes the ceiling. No call starts at the old one after it returns.
// What throttling has taught about the instance stays in force. A higher
// ceiling brings no calls with it: they accrue from now on, so that handing a
// share of the rate from one process to another never adds any.
func (p *pacer) setRate(perSecond float64) {
	if !(perSecond > 0) {
		perSecond = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = limit(perSecond)
	p.adjust()
	p.limiter.SetBurst(burst(perSecond))
	p.reconsider()
}

// adjust sets the limiter to what throttling leaves of the ceiling.
func (p *pacer) adjust() {
	if p.slowed >= 1 {
		p.slowed = 1
		p.limiter.SetLimit(p.full)
		return
	}
	top := min(p.full, fastestKnownRate)
	p.limiter.SetLimit(max(top*rate.Limit(p.slowed), min(top, slowestRate)))
}

func (p *pacer) reconsider() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait blocks until the next call may start. It fails at once with ErrThrottled
// when NinjaOne's pause outlasts maxPause or the context. It fails with
// ErrOutOfTime when the context ends before the call's turn.
func (p *pacer) wait(ctx context.Context, op operation) error {
	if err := p.tooLong(ctx, op); err != nil {
		return err
	}
	waiting := func(err error) error { return op.wrap(fmt.Errorf("waiting for a free call: %w", err)) }
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return waiting(ctx.Err())
	}
	defer func() { <-p.turn }()
	for {
		if err := ctx.Err(); err != nil {
			return waiting(err)
		}
		if err := p.tooLong(ctx, op); err != nil {
			return err
		}
		call, delay, changed := p.next()
		if deadline, limited := ctx.Deadline(); call != nil && limited && time.Until(deadline) <= delay {
			call.Cancel()
			return waiting(ErrOutOfTime)
		}
		if call != nil && delay == 0 {
			return nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			if call != nil && !closed(changed) {
				return nil
			}
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if call != nil {
			call.Cancel()
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// next returns when the limiter lets the next call start, or no call but when
// to ask again. Neither holds any more once changed is closed.
func (p *pacer) next() (call *rate.Reservation, delay time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pause := time.Until(p.until); pause > 0 {
		return nil, pause, p.changed
	}
	if p.full == 0 {
		return nil, rate.InfDuration, p.changed
	}
	call = p.limiter.Reserve()
	return call, call.Delay(), p.changed
}

// tooLong is the error of a call for which NinjaOne's pause is too long.
func (p *pacer) tooLong(ctx context.Context, op operation) error {
	p.mu.Lock()
	pause := time.Until(p.until)
	p.mu.Unlock()
	deadline, limited := ctx.Deadline()
	if pause > maxPause || pause > 0 && limited && time.Until(deadline) <= pause {
		return &APIError{Method: op.method, Path: op.path, RetryAfter: pause, kinds: []error{ErrThrottled}}
	}
	return nil
}

// throttled holds all callers back for the pause and halves the rate, once per
// pause: the answers to calls that were under way tell nothing new.
func (p *pacer) throttled(pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !now.Before(p.until) {
		slowest := 1.0
		if p.full > slowestRate {
			slowest = slowestRate / float64(min(p.full, fastestKnownRate))
		}
		p.slowed = max(p.slowed/2, slowest)
		p.adjust()
	}
	if until := now.Add(pause); until.After(p.until) {
		p.until = until
		p.reconsider()
	}
}

// succeeded takes a small step back to the full rate.
func (p *pacer) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slowed < 1 {
		p.slowed += 1.0 / recoverySteps
		p.adjust()
	}
}
