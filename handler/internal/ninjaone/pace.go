package ninjaone

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
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
	// longestRetryAfter bounds nonsense in Retry-After.
	longestRetryAfter = 24 * time.Hour
)

// pacer spaces all calls of a client. Throttling halves its rate and holds
// every caller back; successes bring the rate back slowly.
type pacer struct {
	limiter *rate.Limiter
	full    rate.Limit

	mu    sync.Mutex
	until time.Time // no call starts before
}

func newPacer(perSecond float64) *pacer {
	if perSecond <= 0 || math.IsNaN(perSecond) {
		perSecond = defaultRate
	}
	full := rate.Limit(perSecond)
	if math.IsInf(perSecond, 1) {
		full = rate.Inf
	}
	burst := int(math.Ceil(min(perSecond, defaultRate)))
	return &pacer{limiter: rate.NewLimiter(full, burst), full: full}
}

// wait blocks until the next call may start. It fails with ErrThrottled, and
// at once, when NinjaOne's pause outlasts maxPause or the context.
func (p *pacer) wait(ctx context.Context, op operation) error {
	for {
		pause := p.remaining()
		if pause <= 0 {
			break
		}
		deadline, limited := ctx.Deadline()
		if pause > maxPause || limited && time.Until(deadline) <= pause {
			return &APIError{Method: op.method, Path: op.path, RetryAfter: pause, kinds: []error{ErrThrottled}}
		}
		if err := sleep(ctx, pause); err != nil {
			return op.wrap(err)
		}
	}
	if err := p.limiter.Wait(ctx); err != nil {
		if ctx.Err() == nil { // the limiter foresees that the deadline comes first
			err = context.DeadlineExceeded
		}
		return op.wrap(fmt.Errorf("waiting for a free call: %w", err))
	}
	return nil
}

// remaining returns how much of NinjaOne's pause is left.
func (p *pacer) remaining() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// throttled holds all callers back for the pause and halves the rate, once per
// pause: the answers to calls that were under way tell nothing new.
func (p *pacer) throttled(pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !now.Before(p.until) {
		p.limiter.SetLimit(max(slowestRate, min(p.limiter.Limit(), fastestKnownRate)/2))
	}
	if until := now.Add(pause); until.After(p.until) {
		p.until = until
	}
}

// succeeded takes a small step back to the full rate.
func (p *pacer) succeeded() {
	if p.limiter.Limit() >= p.full {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	top := min(p.full, fastestKnownRate)
	next := p.limiter.Limit() + top/recoverySteps
	if next >= top {
		next = p.full
	}
	p.limiter.SetLimit(next)
}

// sleep waits for d or the end of the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads the Retry-After header: seconds, decimals included, or a
// date, which is compared with the server's own clock where the answer has it.
// It returns 0 when there is none to go by.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		if !(s > 0) {
			return 0
		}
		return time.Duration(min(s, longestRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now := time.Now()
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		now = d
	}
	return min(max(0, at.Sub(now)), longestRetryAfter)
}
