package ninjaone

import (
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/retry"
)

// trialTime is how long a call that tries alone may keep the others waiting.
const trialTime = 5 * time.Second

// Gate holds back all calls of its clients while NinjaOne asks for a pause. After a pause
// one call tries alone. The others follow when NinjaOne has answered it, so that too
// short a pause costs one call. It is safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	until   time.Time     // no call starts before
	closed  bool          // a pause was asked for, and no call has passed since
	trial   time.Time     // when the call began that tries alone; zero: none has
	refused int           // calls in a row that tried in vain
	changed chan struct{} // closed when a wait under way must be reconsidered
}

// NewGate returns a gate that is open.
func NewGate() *Gate { return &Gate{changed: make(chan struct{})} }

func (g *Gate) reconsider() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Hold lets no call start before a time, as NinjaOne asked another process.
func (g *Gate) Hold(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until, g.closed, g.trial = until, true, time.Time{}
		g.reconsider()
	}
}

// pause is how much longer NinjaOne's pause lasts.
func (g *Gate) pause() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.until)
}

// wait is how long until a call may start, as things stand until changed is
// closed.
func (g *Gate) wait() (d time.Duration, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waitLocked(time.Now()), g.changed
}

func (g *Gate) waitLocked(now time.Time) time.Duration {
	if d := g.until.Sub(now); d > 0 {
		return d
	}
	if g.closed && !g.trial.IsZero() {
		return max(0, g.trial.Add(trialTime).Sub(now))
	}
	return 0
}

// enter starts a call, if one may start now. It reports whether the call tries
// alone.
func (g *Gate) enter() (trial, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case g.waitLocked(now) > 0:
		return false, false
	case g.closed:
		g.trial = now
		return true, true
	}
	return false, true
}

// answered opens the gate when NinjaOne has answered a call that tried alone.
// It returns how many calls had tried in vain.
func (g *Gate) answered(trial bool) (refused int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !trial || !g.closed || time.Now().Before(g.until) {
		return 0
	}
	refused = g.refused
	g.closed, g.trial, g.refused = false, time.Time{}, 0
	g.reconsider()
	return refused
}

// turnedAway closes the gate and returns for how long: as NinjaOne says, or for longer
// each time. The first pause is short: mostly the next call passes.
func (g *Gate) turnedAway(trial bool, retryAfter time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if trial {
		g.refused++
	}
	pause := retryAfter
	switch {
	case pause > 0:
	case g.refused == 0:
		pause = retry.Backoff(throttleBackoff/2, 1)
	default:
		pause = retry.Backoff(throttleBackoff, min(1+g.refused, 3))
	}
	if until := time.Now().Add(pause); until.After(g.until) {
		g.until = until
		g.reconsider()
	}
	if !g.closed || trial {
		g.closed, g.trial = true, time.Time{}
	}
	return pause
}
