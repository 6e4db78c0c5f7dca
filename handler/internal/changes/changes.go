// Package changes watches the tenants between their syncs. A look asks Microsoft 365 what
// changed since the look before. Where NinjaOne shows that, the look queues a light run
// of the sync. One look at each NinjaOne instance's log of activities finds the
// organizations whose devices changed.
//
// What changed is not kept, only that it did: the light run reads for itself. It
// writes nothing to NinjaOne.
package changes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// QueueName is the queue that carries one tenant per message to WatchTenant.
const QueueName = "ninjaone-changes"

// Message is one message of the queue ninjaone-changes: a look at a tenant.
type Message struct {
	TenantID string `json:"tenantId"` // Microsoft 365 tenant id, a GUID
}

// ParseMessage decodes and checks a queue message (guid.Message).
func ParseMessage(text []byte) (m Message, err error) {
	err = guid.Message(text, &m, &m.TenantID)
	return m, err
}

const (
	// tick is how often the timer of WatchTenants fires.
	tick = time.Minute
	// rosterLife is how long it counts who is synced before that is read again.
	rosterLife = 30 * time.Second
	// lost is how long a look may wait on the queue before it is taken for lost.
	lost = 30 * time.Minute
	// longest is the longest time between two looks of a tenant whose looks fail. It is
	// also the longest between two light runs of one that changes all the time.
	longest = time.Hour
	// forgotten is how long after the last look we forget what a tenant's looks saw.
	// Graph no longer knows links as old.
	forgotten = 7 * 24 * time.Hour
)

// Microsoft365 says what changed; package m365 implements it.
type Microsoft365 interface {
	Changes(ctx context.Context, ref tenant.Ref, since m365.DeltaLinks) (m365.Changes, error)
	WatchedDevices(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error)
}

// Deps are what a Watcher works with.
type Deps struct {
	CIPP         *cipp.Store
	Runs         *runs.Store
	Off          func(context.Context) (bool, error) // CIPP's own engine does the work again
	Microsoft365 Microsoft365
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne   func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	Ledger     *ledger.Ledger
	Table      *storage.Table     // NinjaOneChanges
	Blobs      *storage.Container // ninjaone-sync
	Queue      notify.Queue       // ninjaone-changes
	Syncs      notify.Queue       // ninjaone-sync
	Compliance notify.Queue       // ninjaone-compliance
	// Every is how often each tenant is looked at; 0 for never.
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Watcher looks for changes. It is safe for concurrent use.
type Watcher struct {
	Deps
	kept lookup.Cache[struct{}, watched]
}

// New returns a watcher.
func New(d Deps) *Watcher { return &Watcher{Deps: d} }

// watched are the tenants that are looked at, by id, as CIPP's tables and our own
// were at one time.
type watched struct {
	config  cipp.ExtensionConfig
	tenants map[string]roster.Tenant
	resting []cipp.OrganizationMapping // of tenants that are mapped, and paused or excluded
	lights  map[string]runs.Light
	read    time.Time
}

// watched returns the tenants that are looked at: those that are synced, not
// paused, and had a complete sync.
func (w *Watcher) watched(ctx context.Context) (watched, error) {
	// Never from memory: after a give-back nothing more is queued.
	if off, err := w.Off(ctx); err != nil || off {
		return watched{}, err
	}
	good := func(v watched) bool { return w.Now().Sub(v.read) < rosterLife }
	return w.kept.Get(ctx, struct{}{}, good, func(ctx context.Context, _ watched) (watched, error) {
		v := watched{tenants: map[string]roster.Tenant{}, read: w.Now()}
		var err error
		if v.config, err = w.CIPP.NinjaOneConfig(ctx); err != nil || !v.config.Enabled {
			return v, err
		}
		all, err := roster.Read(ctx, w.CIPP, w.Runs)
		if err != nil {
			return v, err
		}
		v.resting = all.Left
		for _, t := range all.Tenants {
			switch {
			case t.Paused:
				v.resting = append(v.resting, t.Mapping)
			case !t.Run.LastSuccess.IsZero():
				v.tenants[t.ID] = t
			}
		}
		v.lights, err = w.Runs.Lights(ctx)
		return v, err
	})
}

// Tick queues a look of each tenant whose last look is old enough. It looks at NinjaOne's
// activities when it is time for that. One tenant's failure does not hold back the
// others.
func (w *Watcher) Tick(ctx context.Context) error {
	if w.Every <= 0 {
		return nil
	}
	all, err := w.watched(ctx)
	if err != nil || len(all.tenants) == 0 {
		return err
	}
	states, err := w.States(ctx)
	if err != nil {
		return err
	}
	now := w.Now().UTC()
	delays := map[string]time.Duration{}
	for id := range all.tenants {
		if delay, due := w.due(id, states, now); due {
			delays[id] = delay
		}
	}
	sendErr := w.send(ctx, delays, now)
	w.Log.DebugContext(ctx, "looks queued", "tenants", len(all.tenants), "queued", len(delays))
	if err := w.lookAtNinjaOne(ctx, all, states); err != nil {
		w.Log.WarnContext(ctx, "what happened in NinjaOne could not be read; the next look goes on from there", "error", err)
	}
	return errors.Join(sendErr, w.forget(ctx, all, states, now))
}

// forget deletes what is kept of tenants without a look for as long as Graph knows their
// links. Nobody watches them any more.
func (w *Watcher) forget(ctx context.Context, all watched, states map[string]State, now time.Time) error {
	var errs []error
	for id, s := range states {
		if _, ok := all.tenants[id]; ok || now.Sub(s.Looked) < forgotten || now.Sub(s.Queued) < forgotten {
			continue
		}
		err := w.Blobs.Delete(ctx, blobName(id))
		if err == nil { // the rows lead to the blob, so they go last
			err = w.Table.WriteBatch(ctx, []storage.Operation{storage.DeleteOp(partition, linksPrefix+id), storage.DeleteOp(partition, tenantPrefix+id)})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("forget the watching of tenant %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// due reports whether Tick should look at a tenant, and after what delay. It spreads
// tenants without a look over the interval.
func (w *Watcher) due(id string, states map[string]State, now time.Time) (time.Duration, bool) {
	s, known := states[id]
	switch {
	case !known || s.Queued.IsZero() && s.Looked.IsZero():
		return time.Duration(roster.Share(id, "watch") * float64(w.Every)), true
	case s.Queued.After(s.Looked):
		return 0, now.Sub(s.Queued) >= lost+w.Every
	}
	// A timer may fire a little early; half a tick makes up for that.
	return 0, now.Sub(s.Looked) >= retry.Doubling(w.Every, max(w.Every, longest), s.Failures+1)-tick/2
}

// send queues looks, and then notes that. A look that is queued twice costs one message,
// a lost one some minutes.
func (w *Watcher) send(ctx context.Context, delays map[string]time.Duration, now time.Time) error {
	sent, err := roster.Each(maps.Keys(delays), func(id string) error {
		if err := w.Queue.Send(ctx, Message{TenantID: id}, delays[id]); err != nil {
			return fmt.Errorf("queue a look at tenant %s: %w", id, err)
		}
		return nil
	})
	rows := make([]storage.Operation, len(sent))
	for i, id := range sent {
		rows[i] = storage.MergeOp(queuedRow(id, now))
	}
	if noted := w.Table.WriteBatch(ctx, rows); noted != nil {
		err = errors.Join(err, fmt.Errorf("note which looks are queued: %w", noted))
	}
	return err
}

// States returns how the watching of each tenant stands, by tenant id.
func (w *Watcher) States(ctx context.Context) (map[string]State, error) {
	all := map[string]State{}
	for row, err := range w.Table.List(ctx, storage.And(storage.Eq("PartitionKey", partition), storage.Ge("RowKey", tenantPrefix), storage.Lt("RowKey", "tenant}"))) {
		if err != nil {
			return nil, fmt.Errorf("read how the watching of the tenants stands: %w", err)
		}
		s := stateOf(row)
		all[s.TenantID] = s
	}
	return all, nil
}
