package pacing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// ComplianceShare is the part of NINJAONE_RATE that compliance updates have to
// themselves. Syncs have the rest.
const ComplianceShare = 0.2

var (
	// ErrBusy says that all slots have been with other runs for the whole time
	// that Acquire was given. Nothing is wrong: the work is to be put back into
	// its queue with a delay.
	ErrBusy = errors.New("all slots are in use by other runs")
	// ErrLost is the cause with which a slot's context ends when this process
	// could not keep any slot, because storage was out of reach.
	ErrLost = errors.New("the slots for calling NinjaOne were lost")
)

const (
	defaultLease = time.Minute
	signalLease  = 15 * time.Second // short: nobody waits once its holder is dead
	defaultPoll  = 5 * time.Second
	takeTimeout  = 10 * time.Second // one attempt to take a lease, a third of its duration at most

	restPolls = 2 // after giving up a slot, before taking or giving up another
	turnPolls = 6 // before a slot is given up that has a run
)

// Config describes a lane. All processes must have the same.
type Config struct {
	// Blobs holds the slots. It need not exist.
	Blobs *storage.Container
	// Lane is part of the blobs' names: "sync", "compliance".
	Lane string
	// Slots is the number of slots of the lane, 1 or more.
	Slots int
	// RunsPerSlot is how many runs may be under way for each slot; 0 means 1.
	RunsPerSlot int
	// Rate is how many calls per second all processes together may make in
	// this lane.
	Rate float64
	// SetRate is told how many calls per second this process may make from now
	// on, 0 at first. The rate must hold when it returns. It must not call the
	// Pacer. It is normally ninjaone.Pool.SetRate.
	SetRate func(callsPerSecond float64)
	// LeaseDuration is how long slots stay taken when their process was
	// killed, 15 to 60 seconds; 0 means 60.
	LeaseDuration time.Duration
	// Logger receives a debug line for each change of the rate, and a warning
	// when storage fails; nil means slog.Default().
	Logger *slog.Logger
}

// lease is the part of storage.Lease that slots need.
type lease interface {
	Context() context.Context
	Release()
}

// Pacer is one process's part in a lane. It is safe for concurrent use.
type Pacer struct {
	lane     string
	perSlot  int     // runs
	share    float64 // calls per second of one slot
	duration time.Duration
	poll     time.Duration
	setRate  func(float64)
	take     func(ctx context.Context, name string, duration time.Duration) (lease, error)
	log      *slog.Logger

	wake chan struct{} // tells the manager not to wait for its next poll

	mu       sync.Mutex
	slots    []lease // by number; nil: not held
	held     int     // slots that are not nil
	runs     map[*Slot]struct{}
	waiting  []*waiter // first come, first served
	managing bool      // manage is running
	owed     bool      // the next slot without a run is for another process
	began    time.Time // when the first of the slots held was got
	gaveUp   time.Time // when a slot was last given up for another process
	failure  error     // why storage could not be asked last time; nil when it answered

	// Of the manager alone.
	first, more signal
}

// waiter is a call of Acquire that waits.
type waiter struct {
	ctx   context.Context
	ready chan struct{} // closed when slot is set
	slot  *Slot
}

// New returns the Pacer of a lane. It sets the rate to 0 and takes nothing: a
// process without a run holds no slots and makes no requests.
func New(cfg Config) *Pacer {
	p := &Pacer{
		lane:     cfg.Lane,
		perSlot:  max(1, cfg.RunsPerSlot),
		share:    cfg.Rate / float64(cfg.Slots),
		duration: cmp.Or(cfg.LeaseDuration, defaultLease),
		poll:     defaultPoll,
		setRate:  cfg.SetRate,
		log:      cmp.Or(cfg.Logger, slog.Default()).With("lane", cfg.Lane),
		wake:     make(chan struct{}, 1),
		slots:    make([]lease, cfg.Slots),
		runs:     map[*Slot]struct{}{},
		first:    signal{name: "slot/" + cfg.Lane + "-first"},
		more:     signal{name: "slot/" + cfg.Lane + "-more"},
	}
	p.take = func(ctx context.Context, name string, duration time.Duration) (lease, error) {
		l, err := cfg.Blobs.Lease(ctx, name, duration)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	p.setRate(0)
	return p
}

// Slot is the permission of one run to call NinjaOne.
type Slot struct {
	pacer  *Pacer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that ends when the process has lost its slots, with
// the cause ErrLost, when the slot is released, or with the context given to
// Acquire. All calls of the run are made under it.
func (s *Slot) Context() context.Context { return s.ctx }

// Release ends the run. When it was the last of the process, all slots of the
// process come free for others within moments. Calling it again does nothing.
func (s *Slot) Release() {
	s.cancel(context.Canceled)
	p := s.pacer
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, s)
	p.admit()
	if p.owed || len(p.runs) == 0 {
		p.rouse()
	}
}

// Acquire waits until a slot is free for a run, for maxWait at most: then it
// fails with ErrBusy, or with storage's error when storage could not be asked
// about slots. The caller must call Release on the slot.
func (p *Pacer) Acquire(ctx context.Context, maxWait time.Duration) (*Slot, error) {
	w := &waiter{ctx: ctx, ready: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.admit()
	if w.slot == nil {
		p.rouse()
	}
	p.mu.Unlock()

	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return w.slot, nil
	case <-ctx.Done():
	case <-timer.C:
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if w.slot != nil { // in this very moment
		return w.slot, nil
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(other *waiter) bool { return other == w })
	p.rouse()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("waiting for a %s slot: %w", p.lane, context.Cause(ctx))
	case p.failure != nil:
		return nil, fmt.Errorf("no %s slot could be taken: %w", p.lane, p.failure)
	}
	return nil, fmt.Errorf("no %s slot came free in %s: %w", p.lane, maxWait, ErrBusy)
}

// admit starts the runs that there is room for. The lock is held.
func (p *Pacer) admit() {
	room := p.held
	if p.owed {
		room--
	}
	for len(p.waiting) > 0 && len(p.runs) < room*p.perSlot {
		w := p.waiting[0]
		p.waiting = p.waiting[1:]
		w.slot = &Slot{pacer: p}
		w.slot.ctx, w.slot.cancel = context.WithCancelCause(w.ctx)
		p.runs[w.slot] = struct{}{}
		close(w.ready)
	}
}

// changed makes the rate what the slots held are worth. The lock is held.
func (p *Pacer) changed() {
	perSecond := 0.0
	if p.held > 0 {
		perSecond = p.share * float64(p.held)
	}
	p.setRate(perSecond)
	p.log.Debug("the pace has changed", "slots", p.held, "callsPerSecond", perSecond, "runs", len(p.runs))
}

// got counts a slot that was just leased.
func (p *Pacer) got(number int, l lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == 0 {
		p.began = time.Now()
	}
	p.slots[number] = l
	p.held++
	p.changed()
	p.admit()
	context.AfterFunc(l.Context(), func() { p.lost(number, l) })
}

// lost stops counting a slot whose lease has ended by itself.
func (p *Pacer) lost(number int, l lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slots[number] != l {
		return // given up
	}
	p.slots[number] = nil
	p.held--
	p.changed()
	cause := context.Cause(l.Context())
	p.log.Warn("a slot was lost", "slot", number, "left", p.held, "error", cause)
	if p.held == 0 {
		for s := range p.runs {
			s.cancel(fmt.Errorf("%w: %w", ErrLost, cause))
		}
	}
	p.rouse()
}

// drop stops counting up to n slots and returns their leases, which the caller
// releases without the lock. The lock is held.
func (p *Pacer) drop(n int) []lease {
	var dropped []lease
	for i, l := range p.slots {
		if l != nil && len(dropped) < n {
			p.slots[i] = nil
			p.held--
			dropped = append(dropped, l)
		}
	}
	if len(dropped) > 0 {
		p.changed()
	}
	return dropped
}
