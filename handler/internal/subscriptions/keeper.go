// Package subscriptions keeps the subscriptions at Microsoft Graph that bring
// notifications about Entra devices. There is one for each tenant whose compliance is
// written. A timer creates, renews and removes them.
//
// What to do about a device is package compliance's: NinjaOne may not enter here.
package subscriptions

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// life is how long a subscription is asked to last, a day less than Graph
	// allows. It is renewed between the half and 70 percent of it.
	life = 28 * 24 * time.Hour
	// checkEvery is how often Graph is asked whether a subscription exists.
	checkEvery = 24 * time.Hour
	// keepers is how many tenants are looked after at a time.
	keepers = 8
	// leaseTime guards the changes to one tenant's subscription.
	leaseTime = 60 * time.Second
	// callTime bounds one call of Graph; creating waits for the handshake.
	callTime = time.Minute
	// afterSyncTime bounds all that is done for a tenant after its sync.
	afterSyncTime = 30 * time.Second
	// announceTime is what is left of an invocation for telling how it went.
	announceTime = time.Minute
	// eventDelay is how long an event rests while another process looks after
	// the tenant.
	eventDelay = 30 * time.Second
	// settleTime is how long a tenant must be noted as unwanted before anything
	// of its is removed: CIPP saves its mapping by deleting all rows and then
	// writing them one by one.
	settleTime = 10 * time.Minute
)

// errTended says that another process looks after the tenant's subscription at
// present.
var errTended = errors.New("another process looks after the tenant's subscription")

// Graph keeps subscriptions at Microsoft Graph; package m365 implements it. Graph
// throttles lists hard. So a tenant's list is asked for only where the answer that told
// an id was lost.
type Graph interface {
	Subscriptions(ctx context.Context, ref tenant.Ref) ([]m365.Subscription, error)
	Subscribe(ctx context.Context, ref tenant.Ref, s m365.SubscriptionRequest) (m365.Subscription, error)
	RenewSubscription(ctx context.Context, ref tenant.Ref, id string, expires time.Time) (m365.Subscription, error)
	Subscription(ctx context.Context, ref tenant.Ref, id string) (m365.Subscription, error)
	Unsubscribe(ctx context.Context, ref tenant.Ref, id string) error
}

// Keeper keeps one subscription per tenant whose compliance is written.
type Keeper struct {
	Deps
	statuses assignments.Statuses
}

// Deps are what a Keeper works with.
type Deps struct {
	CIPP        *cipp.Store
	Assignments *assignments.Assignments
	Graph       Graph
	Table       *storage.Table     // NinjaOneSubscriptions
	Blobs       *storage.Container // leases
	Queue       notify.Queue       // ninjaone-compliance
	Problems    *problems.Book
	BaseURL     string // public address of this app; "" when it has none
	Now         func() time.Time
	Log         *slog.Logger
}

// New returns a keeper.
func New(d Deps) *Keeper { return &Keeper{d, assignments.Statuses{Table: d.Table}} }

// Reconcile creates the subscriptions that are missing, renews those that end, and
// removes those that nobody wants any more. The logbook tells what cannot be done when
// it appears, and the next run tries it again.
func (k *Keeper) Reconcile(ctx context.Context) error {
	wanted, rows, err := k.read(ctx, "")
	if err != nil {
		return err
	}
	byTenant := map[string][]subscription{}
	for id := range wanted.ByTenant {
		byTenant[id] = nil
	}
	for _, r := range rows {
		byTenant[r.TenantID] = append(byTenant[r.TenantID], r)
	}
	known, err := k.spare(ctx, wanted, byTenant)
	if err != nil {
		return err
	}
	bounded, cancel := endEarly(ctx, announceTime)
	defer cancel()
	var mu sync.Mutex
	var left []string // tenants for which there was no time
	var group errgroup.Group
	group.SetLimit(keepers)
	for id, rows := range byTenant {
		group.Go(func() error {
			err := bounded.Err()
			if err == nil {
				err = k.tend(bounded, id, wanted, rows, nil)
			}
			switch {
			case err == nil || errors.Is(err, errTended):
			case bounded.Err() != nil:
				mu.Lock()
				defer mu.Unlock()
				left = append(left, id)
			default:
				k.Log.WarnContext(ctx, "a tenant's subscription could not be looked after", "tenant", id, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return k.announce(ctx, known, left)
}

// spare takes two kinds of tenants out of byTenant. Some were wanted a short while ago.
// Of others CIPP's tables do not say that they are unwanted. It notes since when nobody
// wants a tenant, and returns those that it spared with those that are wanted. After a
// give-back, which somebody asked for, it spares none.
func (k *Keeper) spare(ctx context.Context, wanted *assignments.Set, byTenant map[string][]subscription) (known map[string]assignments.Assignment, err error) {
	if wanted.Off {
		return wanted.ByTenant, nil
	}
	statuses, err := k.statuses.All(ctx)
	if err != nil {
		return nil, err
	}
	var unwanted []string
	for id := range byTenant {
		if _, kept := statuses[id]; !kept {
			statuses[id] = assignments.Status{TenantID: id}
		}
	}
	known = maps.Clone(wanted.ByTenant)
	now := k.Now().UTC()
	for id, s := range statuses {
		_, want := wanted.ByTenant[id]
		doubtful := wanted.Doubtful(id)
		noted := !s.Unwanted.IsZero()
		switch {
		case (want || doubtful) && noted:
			err = k.statuses.NoteUnwanted(ctx, id, time.Time{})
		case doubtful:
		case want || noted && now.Sub(s.Unwanted) >= settleTime:
			continue
		case !noted:
			err = k.statuses.NoteUnwanted(ctx, id, now)
		}
		if err != nil {
			return nil, err
		}
		if !want {
			unwanted = append(unwanted, id)
			delete(byTenant, id)
		}
	}
	if len(unwanted) == 0 {
		return known, nil
	}
	tenants, err := k.CIPP.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range unwanted {
		known[id] = assignments.Assignment{Ref: tenant.Ref{ID: id, DefaultDomain: id}}
	}
	for _, t := range tenants {
		if slices.Contains(unwanted, t.ID) {
			known[t.ID] = assignments.Assignment{Ref: t.Ref}
		}
	}
	return known, nil
}

// endEarly returns a context that ends so long before ctx's own deadline.
func endEarly(ctx context.Context, reserve time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-reserve))
	}
	return context.WithCancel(ctx)
}

// AfterSync makes sure of one tenant's subscription, if it is wanted. It never fails,
// and takes no longer than what a sync leaves of an invocation. The hourly run comes to
// the same.
func (k *Keeper) AfterSync(ctx context.Context, tenantID string) {
	ctx, cancel := context.WithTimeout(ctx, afterSyncTime)
	defer cancel()
	wanted, rows, err := k.read(ctx, tenantID)
	if err == nil {
		err = k.tendWanted(ctx, tenantID, wanted, rows, nil)
	}
	if err != nil && !errors.Is(err, errTended) {
		k.Log.WarnContext(ctx, "the tenant's subscription could not be looked after", "tenant", tenantID, "error", err)
	}
}

// read reads who wants subscriptions, and the rows of one tenant, or of all.
func (k *Keeper) read(ctx context.Context, tenantID string) (*assignments.Set, []subscription, error) {
	wanted, err := k.Assignments.Read(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := rowsOf(ctx, k.Table, tenantID)
	return wanted, rows, err
}

// Handle acts on what a notification said of a subscription. An event that
// finds another process at the tenant comes back: that process may have looked
// before it happened.
func (k *Keeper) Handle(ctx context.Context, m notify.Message) error {
	wanted, rows, err := k.read(ctx, m.TenantID)
	if err != nil {
		return err
	}
	k.Log.InfoContext(ctx, "subscription event", "tenant", m.TenantID, "event", m.Event)
	if m.Event == notify.EventStray {
		if slices.ContainsFunc(rows, func(r subscription) bool { return r.SubscriptionID == "" || r.SubscriptionID == m.SubscriptionID }) {
			return nil
		}
		// Left over from a creation whose answer was lost.
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return k.Graph.Unsubscribe(ctx, ref(m.TenantID, wanted, rows), m.SubscriptionID)
	}
	err = k.tendWanted(ctx, m.TenantID, wanted, rows, &m)
	if errors.Is(err, errTended) {
		return k.Queue.Send(ctx, m, eventDelay)
	}
	return err
}

// ref names a tenant to Graph, also one that CIPP does not know any more.
func ref(tenantID string, wanted *assignments.Set, rows []subscription) tenant.Ref {
	if to, ok := wanted.ByTenant[tenantID]; ok {
		return to.Ref
	}
	return tenant.Ref{ID: tenantID, Direct: len(rows) > 0 && rows[0].Direct}
}

func (k *Keeper) save(ctx context.Context, s subscription) error {
	return storage.Doing(k.Table.Replace(ctx, s.entity()), "note the subscription of tenant %s", s.TenantID)
}

// tendWanted is tend where somebody wants the subscription. The hourly run removes one
// that stays unwanted.
func (k *Keeper) tendWanted(ctx context.Context, tenantID string, wanted *assignments.Set, rows []subscription, event *notify.Message) error {
	if _, ok := wanted.ByTenant[tenantID]; !ok {
		return nil
	}
	return k.tend(ctx, tenantID, wanted, rows, event)
}

// tend brings one tenant's subscription in order, as its only process: the rows
// change under its lease alone. With an event, Graph is asked although
// everything seems to be in order.
func (k *Keeper) tend(ctx context.Context, tenantID string, wanted *assignments.Set, rows []subscription, event *notify.Message) error {
	to, want := wanted.ByTenant[tenantID]
	want = want && k.BaseURL != ""
	if want && len(rows) == 1 && event == nil && k.inOrder(rows[0]) || !want && len(rows) == 0 {
		return nil
	}
	lease, err := k.Blobs.Lease(ctx, "lease/subscription/"+tenantID, leaseTime)
	if errors.Is(err, storage.ErrLeaseTaken) {
		return errTended
	}
	if err != nil {
		return err
	}
	defer lease.Release()
	ctx = lease.Context()
	if rows, err = rowsOf(ctx, k.Table, tenantID); err != nil {
		return err
	}
	if want {
		var kept *subscription
		if i := k.best(rows); i >= 0 {
			kept = &rows[i]
		}
		others := slices.DeleteFunc(slices.Clone(rows), func(r subscription) bool { return kept != nil && r.ID == kept.ID })
		expires, err := k.provide(ctx, to, kept, others, event)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx) // it says nothing about Graph
		}
		if noteErr := k.note(ctx, tenantID, expires, err); noteErr != nil || err != nil {
			return noteErr // what Graph refuses is told by announce
		}
		rows = others
	}
	return k.remove(ctx, ref(tenantID, wanted, rows), rows)
}

// inOrder reports whether a row needs nothing done.
func (k *Keeper) inOrder(s subscription) bool {
	now := k.Now()
	return strings.EqualFold(s.BaseURL, k.BaseURL) && s.SubscriptionID != "" && now.Before(s.Expires) && now.Before(s.RenewAt) &&
		now.Sub(s.Checked) < checkEvery
}

// best returns the index of the row to keep, -1 when none fits.
func (k *Keeper) best(rows []subscription) int {
	best := -1
	for i, r := range rows {
		if strings.EqualFold(r.BaseURL, k.BaseURL) && (best < 0 || r.SubscriptionID != "" && rows[best].SubscriptionID == "") {
			best = i
		}
	}
	return best
}
