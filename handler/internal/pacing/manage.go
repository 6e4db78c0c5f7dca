package pacing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// rouse starts the manager, or makes it look again. The lock is held.
func (p *Pacer) rouse() {
	if !p.managing {
		p.managing = true
		go p.manage()
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// manage makes all requests for leases, one round per poll, while there are runs or any
// that wait. It keeps one slot for a poll more unless another process waits, since the
// next run often comes at once. It keeps no others: the host ends processes by SIGKILL,
// and slots of such a process stay taken until their leases end.
func (p *Pacer) manage() {
	lowered := false // the signals were, since the last round
	for {
		wanted := p.board.Raised(p.first) || p.board.Raised(p.more)
		p.mu.Lock()
		idle := len(p.runs) == 0 && len(p.waiting) == 0
		if rest := p.poll - time.Since(p.ended); idle && p.held > 0 && !wanted && rest > 0 {
			spare := p.drop(p.held - 1)
			p.mu.Unlock()
			release(spare)
			p.sleep(rest)
			continue
		}
		var dropped []lease
		if idle {
			p.owed, p.pressed = false, false
			dropped = p.drop(len(p.leases))
			if len(dropped) == 0 && lowered {
				p.managing = false
				p.mu.Unlock()
				return
			}
		}
		p.mu.Unlock()
		if lowered = idle; idle {
			release(dropped)
			p.board.Raise(p.first, false)
			p.board.Raise(p.more, false)
			continue
		}
		p.round()
		p.sleep(p.poll*4/5 + rand.N(p.poll*2/5))
	}
}

// sleep waits, or until the manager is roused.
func (p *Pacer) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
	}
}

// release gives leases back at the same time.
func release(leases []lease) {
	var wg sync.WaitGroup
	for _, l := range leases {
		wg.Go(l.Release)
	}
	wg.Wait()
}

// state returns how many slots the process holds, and how many its runs and waiters
// need: none once the process ends. It also tells whether the process has just given
// up its last slot.
func (p *Pacer) state() (held, need int, resting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		need = min(len(p.leases), p.slotsFor(len(p.runs)+len(p.waiting)))
	}
	return p.held, need, p.held == 0 && time.Since(p.gaveUp) < restPolls*p.poll
}

// spreads reports whether free slots are worth their requests. Calls wait then, or there
// have been runs for a while.
func (p *Pacer) spreads() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pressed || time.Since(p.since) >= spreadPolls*p.poll
}

func (p *Pacer) slotsFor(runs int) int { return (runs + p.perSlot - 1) / p.perSlot }

// round takes, asks for, and gives up slots once. See Liveness in the package
// comment.
func (p *Pacer) round() {
	held, _, resting := p.state()
	starving := held > 0 && p.board.Raised(p.first)
	if !starving && !resting {
		p.takeSlots(func(held, need int) bool { return held < need })
	}

	held, need, _ := p.state()
	p.board.Raise(p.first, held == 0 && need > 0)
	p.board.Raise(p.more, held > 0 && held < need)
	if held == 0 {
		return
	}
	wanted := false
	if held >= need && (held > need || held < len(p.leases)) {
		wanted = p.board.Raised(p.more)
	}
	if held >= need && !starving && !wanted && p.spreads() {
		p.takeSlots(func(_, need int) bool { return need > 0 })
	}
	p.giveUp(starving, wanted)
}

// takeSlots tries to take the slots that nobody of this process holds. It begins
// anywhere, and goes on while more says so.
func (p *Pacer) takeSlots(more func(held, need int) bool) {
	start := rand.IntN(len(p.leases))
	for i := range p.leases {
		number := (start + i) % len(p.leases)
		p.mu.Lock()
		mine := p.leases[number] != nil
		p.mu.Unlock()
		if mine {
			continue
		}
		if held, need, _ := p.state(); !more(held, need) {
			return
		}
		l, err := p.tryLease(fmt.Sprintf("slot/%s-%d", p.lane, number), p.duration)
		switch {
		case err == nil && !p.got(number, l):
			l.Release()
			return
		case err != nil && !errors.Is(err, storage.ErrLeaseTaken):
			return // storage fails: the next round asks again
		}
	}
}

// giveUp gives up one slot if another process waits and it is its turn. For one that only
// wants more, a slot goes that no run and no waiter here needs. For one that has none,
// the first slot that a run leaves goes too.
func (p *Pacer) giveUp(starving, wanted bool) {
	p.mu.Lock()
	rest := min(time.Since(p.began), time.Since(p.gaveUp))
	inRuns := p.slotsFor(len(p.runs))
	spare := p.held > p.slotsFor(len(p.runs)+len(p.waiting))
	switch {
	case !starving:
		p.owed = false
		p.admit()
	case rest >= turnPolls*p.poll:
		p.owed = true
	}
	var dropped []lease
	if p.owed && p.held > inRuns || (starving || wanted) && spare && rest >= restPolls*p.poll {
		p.owed = false
		p.gaveUp = time.Now()
		dropped = p.drop(1)
	}
	p.mu.Unlock()
	release(dropped)
}

// tryLease asks for a lease once. The time for it is short enough that the
// lease cannot have ended when it is got.
func (p *Pacer) tryLease(name string, duration time.Duration) (lease, error) {
	limit := min(takeTimeout, duration/3)
	// The lease lives as long as the context it was asked for with.
	ctx, cancel := context.WithCancel(context.Background())
	late := time.AfterFunc(limit, cancel)
	l, err := p.take(ctx, name, duration)
	if !late.Stop() {
		if err == nil {
			l.Release()
		}
		err = fmt.Errorf("lease blob %s: storage did not answer within %s", name, limit)
	}
	failed := err != nil && !errors.Is(err, storage.ErrLeaseTaken)
	p.mu.Lock()
	p.failure = nil
	if failed {
		p.failure = err
	}
	p.mu.Unlock()
	if failed {
		p.log.Warn("a slot's lease cannot be asked for", "blob", name, "error", err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return l, nil
}
