// Package layout keeps handlers of different versions from spoiling each other's state.
// That is rows, blobs, leases and queue messages in the app's own storage account.
//
// The rule for whoever changes the state:
//
//   - What an older handler would read right and carry along, or would ignore
//     (a new column in a row that is merged, a new property of a message, a new
//     kind of row key, a new blob), needs nothing.
//   - What an older handler would misread, overwrite or lose needs a higher
//     Version. The first invocation of the newer handler stamps the state with
//     it, before it writes anything, and every row is written with it. From
//     then on an older handler leaves all of the state alone: its timers do
//     nothing, its messages go back unread, its pages change nothing, and the
//     logbook says so. Blobs and leases need no version of their own, because
//     no invocation gets as far as them.
//   - The newer handler reads the rows of every version before its own, and
//     writes them anew as it comes by. There is no migration step.
//   - A message that an older handler would misread carries "version" with the
//     Version that it needs. One without it is of version 1.
//   - An invocation that is under way when the state is stamped still ends by
//     the older rules, within functionTimeout: so a change of Version says in
//     its release notes to stop the app while it is deployed.
//
// Behind the stamp there is a second line: storage.Account.Upto refuses to read a row of
// a higher version. Handlers read everything before they write it. CIPP's own tables have
// no version, and nothing here is about them.
package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// TableName is our own table: what NinjaOne holds, how each tenant's runs ended,
// and what technicians were told.
const TableName = "NinjaOneSyncState"

// Version is the layout of the state that this handler writes.
const Version = 1

const (
	// tellEvery is how often one process tells of the same.
	tellEvery = 24 * time.Hour
	// putBackDelay is how long a message rests that a newer handler must read.
	putBackDelay = 15 * time.Minute
)

// Guard stands before everything that uses the state. It is safe for
// concurrent use; its fields are set once.
type Guard struct {
	Table *storage.Table // NinjaOneSyncState
	// Tell writes a line to the logbook. That it failed is its own matter.
	Tell func(ctx context.Context, line string)
	Now  func() time.Time

	mu   sync.Mutex
	told map[string]time.Time
}

// Check fails with storage.ErrNewer, told in the logbook, when a newer handler stamped
// the state. Else the state bears at least our own stamp afterwards.
func (g *Guard) Check(ctx context.Context) error {
	for range 5 {
		e, err := g.Table.Get(ctx, partition, row)
		if errors.Is(err, storage.ErrNewer) {
			return g.newer(ctx)
		}
		stamp := storage.Entity{"PartitionKey": partition, "RowKey": row, "Version": int32(Version)}
		switch {
		case errors.Is(err, storage.ErrNotFound):
			err = g.Table.Insert(ctx, stamp)
		case err != nil:
		case e.Int("Version") == Version:
			return nil
		default:
			err = g.Table.ReplaceIfMatch(ctx, stamp, e.ETag())
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrConflict):
			continue // another process stamps it too
		}
		return fmt.Errorf("read which version of this app wrote its state: %w", err)
	}
	return errors.New("other processes keep changing which version of this app wrote its state")
}

// Newer reports whether a newer handler stamped the state, and changes nothing.
func Newer(ctx context.Context, table *storage.Table) bool {
	_, err := table.Get(ctx, partition, row)
	return errors.Is(err, storage.ErrNewer)
}

func (g *Guard) newer(ctx context.Context) error {
	g.tell(ctx, "state", "A newer version of this app has written its state, which this version does not know and leaves alone: it syncs nothing, updates no compliance and changes nothing on its console. "+
		"Deploy the newer version again. To go back to this version for good, restore the app's own storage account from before.")
	return fmt.Errorf("the app's state: %w", storage.ErrNewer)
}

// Admit decides about a message of a queue, or about a timer's run, for which message is
// nil. It is false when a newer handler must do it. It then puts a message back as it is,
// for some minutes.
func (g *Guard) Admit(ctx context.Context, queue *storage.Queue, message []byte) (bool, error) {
	err := g.Check(ctx)
	if err == nil && message != nil {
		err = CheckMessage(message)
		if errors.Is(err, storage.ErrNewer) {
			g.tell(ctx, "message "+queue.Name(), fmt.Sprintf("A message on the queue %s is of a newer version of this app, which this version cannot read. It was put back as it is, and is looked at again every quarter of an hour. "+
				"Deploy the newer version again, or remove the message.", queue.Name()))
		}
	}
	if !errors.Is(err, storage.ErrNewer) {
		return err == nil, err
	}
	if message == nil {
		return false, nil
	}
	return false, g.putBack(ctx, queue, message)
}

// PutBack puts back a message whose handling met newer rows (ErrNewer) in a state without
// the stamp. It returns any other error.
func (g *Guard) PutBack(ctx context.Context, queue *storage.Queue, message []byte, err error) error {
	if !errors.Is(err, storage.ErrNewer) {
		return err
	}
	g.tell(ctx, "rows "+queue.Name(), fmt.Sprintf("A message on the queue %s was put back, and is looked at again every quarter of an hour. A newer version of this app wrote what it is about, and this version leaves that alone: %v.", queue.Name(), err))
	noting, done := storage.Noting(ctx)
	defer done()
	return g.putBack(noting, queue, message)
}

func (g *Guard) putBack(ctx context.Context, queue *storage.Queue, message []byte) error {
	return storage.Doing(queue.SendText(ctx, message, putBackDelay), "put back a message that a newer version of this app must read")
}

// CheckMessage fails with storage.ErrNewer when a message says that it needs a newer
// handler. It does not look whether it is well formed otherwise.
func CheckMessage(text []byte) error {
	var m struct {
		Version json.Number `json:"version"`
	}
	if json.Unmarshal(text, &m) != nil {
		return nil
	}
	if n, err := m.Version.Int64(); err == nil && n > Version {
		return fmt.Errorf("the message: %w", storage.ErrNewer)
	}
	return nil
}

func (g *Guard) tell(ctx context.Context, key, line string) {
	g.mu.Lock()
	now := g.Now()
	known := now.Sub(g.told[key]) < tellEvery
	if !known {
		if g.told == nil {
			g.told = map[string]time.Time{}
		}
		g.told[key] = now
	}
	g.mu.Unlock()
	if !known {
		g.Tell(ctx, line)
	}
}
