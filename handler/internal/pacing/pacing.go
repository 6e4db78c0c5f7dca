package pacing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

var (
	// ErrBusy says that all slots have been with other runs for the whole time
	// that Acquire was given. Nothing is wrong: the work is to be put back into
	// its queue with a delay.
	ErrBusy = errors.New("all slots are in use by other runs")
	// ErrLost ends a slot's context when this process could not keep any slot, because
	// storage was out of reach.
	ErrLost = errors.New("the slots for calling NinjaOne were lost")
)

const (
	defaultLease = time.Minute
	defaultPoll  = 5 * time.Second
	takeTimeout  = 10 * time.Second // one attempt to take a lease, a third of its duration at most

	spreadPolls = 6 // of runs, before free slots are taken of which no call has need

	restPolls = 2 // after giving up a slot, before taking or giving up another
	turnPolls = 6 // before a slot is given up that has a run
)

// Lane is a set of slots. All processes must have the same.
type Lane struct {
	// Name is part of the blobs' names: "sync", "compliance".
	Name string
	// Slots is the number of slots, 1 or more.
	Slots int
	// Rate is how many calls per second all processes together may make at first.
	Rate float64
}

// Config describes a process's part in a lane. All processes must have the same.
type Config struct {
	// Blobs holds the slots. It need not exist.
	Blobs *storage.Container
	Lane
	// RunsPerSlot is how many runs may be under way for each slot; 0 means 1.
	RunsPerSlot int
	// Board is where processes tell each other that they wait for slots. It is
	// normally the Pace.
	Board Board
	// The Pacer tells SetRate how many calls per second this process may make from now
	// on, 0 at first. The rate must hold when it returns. It must not call the Pacer. It
	// is normally ninjaone.Pool.SetRate.
	SetRate func(callsPerSecond float64)
	// Logger receives a debug line for each change of the rate, and a warning
	// when storage fails.
	Logger *slog.Logger
}

// Board is where processes tell each other what they wait for. The messages of a process
// that died vanish within seconds.
type Board interface {
	// Raise shows a signal to the other processes, or takes it away.
	Raise(signal string, up bool)
	// Raised reports whether another process shows a signal.
	Raised(signal string) bool
}

// lease is the part of storage.Lease that slots need.
type lease interface {
	Context() context.Context
	Release()
}

// Pacer is one process's part in a lane. It is safe for concurrent use.
type Pacer struct {
	lane     string
	perSlot  int // runs
	duration time.Duration
	poll     time.Duration
	setRate  func(float64)
	board    Board
	take     func(ctx context.Context, name string, duration time.Duration) (lease, error)
	log      *slog.Logger

	wake chan struct{} // tells the manager not to wait for its next poll

	mu       sync.Mutex
	rate     float64 // of the lane
	leases   []lease // of the slots, by number; nil: not held
	held     int     // leases that are not nil
	runs     map[*Slot]struct{}
	waiting  []*waiter // first come, first served
	managing bool      // manage is running
	pressed  bool      // more calls wait than the slots of the runs serve
	closed   bool      // the process ends
	owed     bool      // the next slot without a run is for another process
	began    time.Time // when the first of the slots held was got
	since    time.Time // when the first of the runs began
	ended    time.Time // when the last run ended
	gaveUp   time.Time // when a slot was last given up for another process
	failure  error     // why storage could not be asked last time; nil when it answered

	// Of the manager alone.
	first, more string // signals
}

// waiter is a call of Acquire that waits.
type waiter struct {
	ctx   context.Context
	ready chan struct{} // closed when slot is set
	slot  *Slot
}

// New returns the Pacer of a lane. It sets the rate to 0 and takes nothing. A process
// without a run holds no slots and makes no requests.
func New(cfg Config) *Pacer {
	p := &Pacer{
		lane:     cfg.Name,
		perSlot:  max(1, cfg.RunsPerSlot),
		duration: defaultLease,
		poll:     defaultPoll,
		setRate:  cfg.SetRate,
		log:      cfg.Logger.With("lane", cfg.Name),
		wake:     make(chan struct{}, 1),
		rate:     cfg.Rate,
		leases:   make([]lease, cfg.Slots),
		runs:     map[*Slot]struct{}{},
		board:    cfg.Board,
		first:    cfg.Name + "-first",
		more:     cfg.Name + "-more",
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

// Context returns a context that ends when the slot is released, or with the
// context given to Acquire. It ends with the cause ErrLost when the process
// loses its slots. All calls of the run are made under it.
func (s *Slot) Context() context.Context { return s.ctx }

// Release ends the run. With the process's last run all its slots but one come free for
// others, and that one a poll later. Calling it again does nothing.
func (s *Slot) Release() {
	s.cancel(context.Canceled)
	p := s.pacer
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, s)
	p.ended = time.Now()
	p.admit()
	if p.owed || len(p.runs) == 0 {
		p.rouse()
	}
}

// Acquire waits until a slot is free for a run, for maxWait at most. Then it fails with
// ErrBusy, or with storage's error if it could not ask storage about slots. The caller
// must call Release on the slot.
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

// Press says that calls wait: free slots are taken now, without waiting for the next
// poll.
func (p *Pacer) Press() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pressed && len(p.runs) > 0 {
		p.pressed = true
		p.rouse()
	}
}

// Close gives all slots back at once, for a process that ends. Nothing may be acquired
// after it.
func (p *Pacer) Close() {
	p.mu.Lock()
	p.closed = true
	dropped := p.drop(len(p.leases))
	p.mu.Unlock()
	release(dropped)
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
		if len(p.runs) == 0 {
			p.since = time.Now()
		}
		w.slot = &Slot{pacer: p}
		w.slot.ctx, w.slot.cancel = context.WithCancelCause(w.ctx)
		p.runs[w.slot] = struct{}{}
		close(w.ready)
	}
}

// SetRate changes how many calls per second all processes with slots of the lane
// may make together. It holds for this process when it returns.
func (p *Pacer) SetRate(callsPerSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if callsPerSecond != p.rate {
		p.rate = callsPerSecond
		p.changed()
	}
}

// changed makes the rate what the slots held are worth. The lock is held.
func (p *Pacer) changed() {
	perSecond := 0.0 // also where the rate is infinite
	if p.held > 0 {
		perSecond = p.rate / float64(len(p.leases)) * float64(p.held)
	}
	p.setRate(perSecond)
	p.log.Debug("the lane's rate has changed", "slots", p.held, "callsPerSecond", perSecond, "runs", len(p.runs))
}

// got counts a slot that was just leased, unless the process has ended meanwhile.
func (p *Pacer) got(number int, l lease) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.held == 0 {
		p.began = time.Now()
	}
	p.leases[number] = l
	p.held++
	p.changed()
	p.admit()
	context.AfterFunc(l.Context(), func() { p.lost(number, l) })
	return true
}

// lost stops counting a slot whose lease has ended by itself.
func (p *Pacer) lost(number int, l lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leases[number] != l {
		return // given up
	}
	p.leases[number] = nil
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
	for i, l := range p.leases {
		if l != nil && len(dropped) < n {
			p.leases[i] = nil
			p.held--
			dropped = append(dropped, l)
		}
	}
	if len(dropped) > 0 {
		p.changed()
	}
	return dropped
}
