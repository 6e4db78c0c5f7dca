// Package alarm writes the few log lines that wake somebody. The rules in
// deploy/alerts.bicep look for them by name, and a test of this package holds the two
// together. The names are a contract with rules that are deployed already.
//
// While its cause lasts, each look writes the line again. So a rule resolves itself when
// the cause is gone, and a line that sampling drops does no harm. A line counts, and
// names tenants by their ids; the console and CIPP's logbook say more.
package alarm

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// Name is what a rule looks for.
type Name string

// The alarms.
const (
	// PoisonMessages: messages failed as often as they may, and the host put
	// them aside.
	PoisonMessages Name = "poison_messages"
	// QueueWaiting: a queue's oldest message waits longer than it ever should.
	QueueWaiting Name = "queue_waiting"
	// TenantsOverdue: tenants that should be synced daily have had no complete
	// sync for longer than [Overdue].
	TenantsOverdue Name = "tenants_overdue"
	// SubscriptionsFailing: subscriptions at Microsoft Graph cannot be made or
	// renewed for a reason that does not pass by itself.
	SubscriptionsFailing Name = "subscriptions_failing"
)

// Overdue is how long a tenant may go without a complete sync. It is a day, and two
// hours for a wait and a failure.
const Overdue = 26 * time.Hour

// Key is the attribute of the log line that holds the name.
const Key = "alarm"

// messages are the lines' texts, for a person who reads the log.
var messages = map[Name]string{
	PoisonMessages:       "messages failed too often and were put aside",
	QueueWaiting:         "the oldest message of a queue waits too long",
	TenantsOverdue:       "tenants were not synced in time",
	SubscriptionsFailing: "subscriptions at Microsoft Graph cannot be made or renewed",
}

// Raise writes an alarm's line, at the level that LOG_LEVEL never hides.
func Raise(ctx context.Context, log *slog.Logger, name Name, attrs ...any) {
	log.ErrorContext(ctx, messages[name], append([]any{Key, string(name)}, attrs...)...)
}

// mostTenants bounds a line.
const mostTenants = 20

// RaiseFor raises an alarm for tenants, by their ids; not at all when there
// are none.
func RaiseFor(ctx context.Context, log *slog.Logger, name Name, tenants []string) {
	if len(tenants) > 0 {
		Raise(ctx, log, name, "count", len(tenants), "tenants", tenants[:min(len(tenants), mostTenants)])
	}
}

// Watched is a queue that is looked at.
type Watched struct {
	Queue  *storage.Queue
	Poison *storage.Queue // where the host puts what failed too often
	// Patience is how long a message may wait.
	Patience time.Duration
}

// Watch looks at queues. Its fields are set once and not changed afterwards.
type Watch struct {
	Queues []Watched
	Now    func() time.Time
	Log    *slog.Logger
}

// Look raises what is wrong with the queues now. One queue that cannot be read
// does not hide the others.
func (w *Watch) Look(ctx context.Context) error {
	var errs []error
	for _, q := range w.Queues {
		switch n, err := q.Poison.Length(ctx); {
		case err != nil:
			errs = append(errs, err)
		case n > 0:
			Raise(ctx, w.Log, PoisonMessages, "queue", q.Poison.Name(), "count", n)
		}
		switch oldest, err := q.Queue.Peek(ctx, 1); {
		case err != nil:
			errs = append(errs, err)
		case len(oldest) > 0:
			if waits := w.Now().Sub(oldest[0].Inserted); waits > q.Patience {
				Raise(ctx, w.Log, QueueWaiting, "queue", q.Queue.Name(), "minutes", int(waits.Minutes()))
			}
		}
	}
	return errors.Join(errs...)
}
