// Package heartbeat does the work of timers that no longer fire. On Flex
// Consumption, timers are known to stop for good after a deployment, while HTTP
// and queues go on. So one queue message always waits, a quarter of an hour
// ahead. When it comes, it looks which timers are late and does their work.
//
// What a timer does is not known here; that a timer fired is all that is kept.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
)

// FunctionName and QueueName are the function's folder and its queue.
const (
	FunctionName = "Heartbeat"
	QueueName    = "ninjaone-heartbeat"
)

// ahead is how long the message that waits is invisible.
const ahead = 15 * time.Minute

// Advice says what to do about timers that stopped.
const Advice = "Nothing is lost meanwhile. Deploy the package again, or stop and start the app. Where that does not help, delete the function app and deploy it anew."

// Timer is a timer function.
type Timer struct {
	Name  string        // of the function
	Every time.Duration // between two of its times
	Run   func(context.Context) error
}

// late is how old the last time of a timer is when it is taken for stopped.
func (t Timer) late() time.Duration { return 2 * t.Every }

// Heart looks after the timers. Its fields are set once and not changed
// afterwards. It is safe for concurrent use.
type Heart struct {
	Table  *storage.Table // NinjaOneSyncState
	Queue  *storage.Queue // ninjaone-heartbeat
	CIPP   *cipp.Store    // for the logbook
	Timers []Timer        // without those that the app settings turn off
	Now    func() time.Time
	Log    *slog.Logger
}

// Ensure sees that one message waits.
func (h *Heart) Ensure(ctx context.Context) error {
	n, err := h.Queue.Length(ctx)
	if err == nil && n == 0 {
		err = h.send(ctx)
	}
	return storage.Doing(err, "see that a heartbeat waits")
}

func (h *Heart) send(ctx context.Context) error { return h.Queue.Send(ctx, struct{}{}, ahead) }

// next sees that a message waits when the one that is handled has ended. Where the queue
// has more, they may be copies that are handled at the same time: one of them sends it.
func (h *Heart) next(ctx context.Context) error {
	n, err := h.Queue.Length(ctx)
	mine := n <= 1
	if err == nil && !mine {
		mine, err = h.first(ctx)
	}
	if err == nil && mine {
		err = h.send(ctx)
	}
	return storage.Doing(err, "see that a heartbeat waits")
}

// first reports whether no other copy of the message was first. One that ends before it
// sent comes again, and finds the queue empty.
func (h *Heart) first(ctx context.Context) (bool, error) {
	row, err := h.Table.Find(ctx, partition, FunctionName)
	switch {
	case err != nil || h.Now().Sub(row.Time(columnLast)) < ahead/2:
		return false, err
	case row == nil:
		err = h.Table.Insert(ctx, entity(FunctionName, h.Now(), false))
	default:
		err = h.Table.ReplaceIfMatch(ctx, entity(FunctionName, h.Now(), false), row.ETag())
	}
	if errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Fired notes that a timer fired, and sees that a message waits. What fails is
// logged: it is not a reason to leave the timer's work undone.
func (h *Heart) Fired(ctx context.Context, name string) {
	if err := errors.Join(h.fired(ctx, name), h.Ensure(ctx)); err != nil {
		h.Log.ErrorContext(ctx, "the time of a timer was not noted", "timer", name, "error", err)
	}
}

// fired notes that a timer fired. Of the last two that stopped and fire at the same time,
// one must see that it is the last: each writes only if the other has not.
func (h *Heart) fired(ctx context.Context, name string) error {
	const most = 8
	for range most {
		var before, other storage.Entity
		stopped, err := h.inPlace(ctx)
		if err != nil {
			return err
		}
		for _, row := range stopped {
			if row.RowKey() == name {
				before = row
			} else {
				other = row
			}
		}
		rows := []storage.Operation{storage.ReplaceOp(entity(name, h.Now(), false))}
		if before != nil && other != nil {
			same := storage.Entity{"PartitionKey": partition, "RowKey": other.RowKey()}
			rows = append(rows, storage.MergeOp(same).IfMatch(other.ETag()))
		}
		switch err := h.Table.WriteBatch(ctx, rows); {
		case errors.Is(err, storage.ErrConflict):
		case err != nil:
			return err
		case before != nil && other == nil:
			return h.tell(ctx, cipp.SeverityInfo, "The timers of the app fire again. Heartbeats no longer do their work.")
		default:
			return nil
		}
	}
	return fmt.Errorf("other timers were noted first %d times", most)
}

// Beat handles a message: it does the work of the timers that are late, once however
// many messages come. It logs what fails, as the timer would, and does it again when the
// timer is late again.
func (h *Heart) Beat(ctx context.Context) error {
	if err := h.next(ctx); err != nil {
		return err
	}
	for _, t := range h.Timers {
		mine, err := h.claim(ctx, t)
		if err == nil && mine {
			h.Log.WarnContext(ctx, "a heartbeat does the work of a timer that stopped", "timer", t.Name)
			err = t.Run(ctx)
		}
		if err != nil {
			h.Log.ErrorContext(ctx, "the work of a timer that stopped was not done", "timer", t.Name, "error", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// claim reports whether a timer is late and its work is this heartbeat's to do.
// A timer that never fired is given its time from now on.
func (h *Heart) claim(ctx context.Context, t Timer) (mine bool, err error) {
	row, err := h.Table.Get(ctx, partition, t.Name)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		err = h.Table.Insert(ctx, entity(t.Name, h.Now(), false))
		if errors.Is(err, storage.ErrExists) {
			err = nil // it fired just now
		}
		return false, err
	case err != nil:
		return false, err
	case h.Now().Sub(row.Time(columnLast)) <= t.late():
		return false, nil
	}
	before, err := h.InPlace(ctx)
	if err != nil {
		return false, err
	}
	err = h.Table.ReplaceIfMatch(ctx, entity(t.Name, h.Now(), true), row.ETag())
	if errors.Is(err, storage.ErrConflict) {
		return false, nil // the timer fired just now, or another heartbeat was first
	}
	if err != nil {
		return false, err
	}
	if len(before) == 0 {
		said := h.tell(ctx, cipp.SeverityError, fmt.Sprintf("The timer %s of the app has not fired since %s. Heartbeats on the queue %s do the work of late timers. %s",
			t.Name, row.Time(columnLast).UTC().Format("2006-01-02 at 15:04 UTC"), QueueName, Advice))
		if said != nil { // no reason to leave the work undone
			h.Log.ErrorContext(ctx, "the logbook was not told that a timer stopped", "timer", t.Name, "error", said)
		}
	}
	return true, nil
}

// InPlace returns the names of the timers that stopped, whose work heartbeats do.
func (h *Heart) InPlace(ctx context.Context) (names []string, err error) {
	rows, err := h.inPlace(ctx)
	for _, row := range rows {
		names = append(names, row.RowKey())
	}
	return names, err
}

// inPlace returns the rows of the timers that stopped.
func (h *Heart) inPlace(ctx context.Context) (rows []storage.Entity, err error) {
	for row, err := range h.Table.List(ctx, storage.Eq("PartitionKey", partition)) {
		if err != nil {
			return nil, fmt.Errorf("read which timers stopped: %w", err)
		}
		if row.Bool(columnInPlace) && slices.ContainsFunc(h.Timers, func(t Timer) bool { return t.Name == row.RowKey() }) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Fired tells when each timer last fired, or a heartbeat did its work, and which timers
// stopped. It is for a program that knows no timers.
func Fired(ctx context.Context, table *storage.Table) (last map[string]time.Time, stopped []string, err error) {
	last = map[string]time.Time{}
	for row, err := range table.List(ctx, storage.Eq("PartitionKey", partition)) {
		if err != nil {
			return nil, nil, fmt.Errorf("read when the timers fired: %w", err)
		}
		last[row.RowKey()] = row.Time(columnLast)
		if row.Bool(columnInPlace) {
			stopped = append(stopped, row.RowKey())
		}
	}
	return last, stopped, nil
}

func (h *Heart) tell(ctx context.Context, severity, message string) error {
	return h.CIPP.Log(ctx, cipp.LogEntry{API: cipp.LogbookSync, Severity: severity, Message: message})
}

// TurnedOff reports whether an app setting turns a function off, as the host
// reads it. The second name is for plans that take no dots in names.
func TurnedOff(getenv func(string) string, function string) bool {
	for _, name := range []string{"AzureWebJobs." + function + ".Disabled", "AzureWebJobs_" + function + "_Disabled"} {
		if value := strings.ToLower(strings.TrimSpace(getenv(name))); value == "true" || value == "1" {
			return true
		}
	}
	return false
}
