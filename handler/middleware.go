package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// run handles a message.
type run[M any] = func(context.Context, M) error

// chain wraps a run. What comes first in around sees a message first.
func chain[M any](r run[M], around ...func(run[M]) run[M]) run[M] {
	for _, wrap := range slices.Backward(around) {
		r = wrap(r)
	}
	return r
}

// parsed parses a message. It refuses one that it cannot parse, which the server then
// drops and the logbook tells of.
func parsed[M any](parse func(customhandler.QueueMessage) (M, error), r run[M]) run[customhandler.QueueMessage] {
	return func(ctx context.Context, q customhandler.QueueMessage) error {
		m, err := parse(q)
		if err != nil {
			return customhandler.BadMessage(err.Error())
		}
		return r(ctx, m)
	}
}

// badMessage tells the logbook of a message that the server drops.
func (a *app) badMessage(ctx context.Context, function, reason string) {
	a.tell(ctx, a.queueFunction(function).logbook, "A message for "+function+" was dropped, because "+reason+". Nothing was done for it.")
}

// tell writes an error to the logbook.
func (a *app) tell(ctx context.Context, api, line string) {
	a.cipp.Note(ctx, cipp.LogEntry{API: api, Severity: cipp.SeverityError, Message: line})
}

// tellNewer tells that a newer handler wrote the state.
func (a *app) tellNewer(ctx context.Context, line string) {
	a.tell(ctx, cipp.LogbookSync, line)
	a.log.ErrorContext(ctx, line)
}

// admit lets timers and queue functions run while the state is not a newer
// handler's.
func (a *app) admit(ctx context.Context, function string, message []byte) (bool, error) {
	return a.layout.Admit(ctx, a.own.Queue(a.queueFunction(function).queue), message)
}

// putBackNewer puts a message back that meets what a newer handler wrote.
func (a *app) putBackNewer(queue string) func(run[customhandler.QueueMessage]) run[customhandler.QueueMessage] {
	return func(r run[customhandler.QueueMessage]) run[customhandler.QueueMessage] {
		return func(ctx context.Context, q customhandler.QueueMessage) error {
			return a.layout.PutBack(ctx, a.own.Queue(queue), q.Text, r(ctx, q))
		}
	}
}

// keeping counts what a run keeps of answers until it ends.
func keeping[M any](r run[M]) run[M] {
	return func(ctx context.Context, m M) error {
		ctx, release := reply.Keeping(ctx)
		defer release()
		return r(ctx, m)
	}
}

// unlessGivenBack leaves out the syncs that were queued before CIPP's own engine
// was given back. One that somebody asks for still runs, and CIPP's next sync then
// skips nothing.
func (a *app) unlessGivenBack(r run[tenantsync.Message]) run[tenantsync.Message] {
	return func(ctx context.Context, m tenantsync.Message) error {
		given, err := a.hold.GivenBack(ctx)
		switch {
		case err != nil:
			return err
		case given && !m.Force:
			return a.runs.Unqueue(ctx, m.TenantID)
		case given:
			if err := a.hold.Writes(ctx); err != nil {
				return err
			}
		}
		return r(ctx, m)
	}
}

// slotWait is how long an invocation waits for a slot before it puts its message back.
// The message then rests for slotDelay.
const (
	slotWait  = 45 * time.Second
	slotDelay = 30 * time.Second
)

// paced handles a message while it holds a slot of the pace that all processes share. It
// puts back a message that gets none, or that loses its slot because storage is out of
// reach. Such a message has not failed.
func paced[M any](p *pacing.Pacer, q *storage.Queue) func(run[M]) run[M] {
	return func(r run[M]) run[M] {
		return func(ctx context.Context, m M) error {
			slot, err := p.Acquire(ctx, slotWait)
			if errors.Is(err, pacing.ErrBusy) {
				return q.Send(ctx, m, slotDelay)
			}
			if err != nil {
				return err
			}
			defer slot.Release()
			err = r(slot.Context(), m)
			if err != nil && errors.Is(context.Cause(slot.Context()), pacing.ErrLost) {
				return q.Send(ctx, m, slotDelay)
			}
			return err
		}
	}
}
