package compliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
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
)

// Graph keeps subscriptions at Microsoft Graph; package m365 implements it.
// There is no list among the calls: Graph throttles lists hard, and the ids
// are ours to remember.
type Graph interface {
	Subscribe(ctx context.Context, ref tenant.Ref, s m365.SubscriptionRequest) (m365.Subscription, error)
	RenewSubscription(ctx context.Context, ref tenant.Ref, id string, expires time.Time) (m365.Subscription, error)
	Subscription(ctx context.Context, ref tenant.Ref, id string) (m365.Subscription, error)
	Unsubscribe(ctx context.Context, ref tenant.Ref, id string) error
}

// Keeper keeps one subscription per tenant whose compliance is written. Its
// fields are set once and not changed afterwards.
type Keeper struct {
	CIPP        *cipp.Store
	Assignments *Assignments
	Graph       Graph
	Table       *storage.Table     // NinjaOneSubscriptions
	Blobs       *storage.Container // leases
	Queue       Queue              // ninjaone-compliance
	State       *tenantsync.State
	BaseURL     string // public address of this app; "" when it has none
	Now         func() time.Time
	Log         *slog.Logger
}

// Reconcile brings the subscriptions of all tenants in order: those that are
// missing are created, those that end are renewed, those that nobody wants any
// more are removed. What cannot be done is told in the logbook when it
// appears, and tried again by the next run.
func (k *Keeper) Reconcile(ctx context.Context) error {
	wanted, err := k.Assignments.all(ctx)
	if err != nil {
		return err
	}
	rows, err := k.rows(ctx, "")
	if err != nil {
		return err
	}
	byTenant := map[string][]subscription{}
	for id := range wanted {
		byTenant[id] = nil
	}
	for _, r := range rows {
		byTenant[r.TenantID] = append(byTenant[r.TenantID], r)
	}
	var group errgroup.Group
	group.SetLimit(keepers)
	for id, rows := range byTenant {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := k.tend(ctx, id, wanted, rows, false); err != nil {
				k.Log.WarnContext(ctx, "a tenant's subscription could not be looked after", "tenant", id, "error", err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return k.announce(ctx, wanted)
}

// AfterSync makes sure of one tenant's subscription. It never fails: the
// hourly run comes to the same.
func (k *Keeper) AfterSync(ctx context.Context, tenantID string) {
	wanted, err := k.Assignments.all(ctx)
	if err == nil {
		var rows []subscription
		if rows, err = k.rows(ctx, tenantID); err == nil {
			err = k.tend(ctx, tenantID, wanted, rows, false)
		}
	}
	if err != nil {
		k.Log.WarnContext(ctx, "the tenant's subscription could not be looked after", "tenant", tenantID, "error", err)
	}
}

// Handle acts on what a notification said of a subscription.
func (k *Keeper) Handle(ctx context.Context, m Message) error {
	wanted, err := k.Assignments.all(ctx)
	if err != nil {
		return err
	}
	rows, err := k.rows(ctx, m.TenantID)
	if err != nil {
		return err
	}
	named := slices.ContainsFunc(rows, func(r subscription) bool { return r.SubscriptionID == m.SubscriptionID && m.SubscriptionID != "" })
	k.Log.InfoContext(ctx, "subscription event", "tenant", m.TenantID, "event", m.Event)
	if m.Event == eventStray {
		if named || len(rows) == 0 || slices.ContainsFunc(rows, func(r subscription) bool { return r.SubscriptionID == "" }) {
			return nil
		}
		// Left over from a creation whose answer was lost.
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return k.Graph.Unsubscribe(ctx, ref(m.TenantID, wanted, rows), m.SubscriptionID)
	}
	if m.Event == eventReauthorize {
		if len(rows) == 0 || !named && m.SubscriptionID != "" {
			return nil
		}
		for i := range rows {
			if rows[i].SubscriptionID == m.SubscriptionID || m.SubscriptionID == "" {
				rows[i].RenewAt = time.Time{} // due now
				if err := k.save(ctx, rows[i]); err != nil {
					return err
				}
			}
		}
	}
	return k.tend(ctx, m.TenantID, wanted, rows, true)
}

// ref names a tenant to Graph, also one that CIPP does not know any more.
func ref(tenantID string, wanted map[string]assignment, rows []subscription) tenant.Ref {
	if to, ok := wanted[tenantID]; ok {
		return to.ref
	}
	return tenant.Ref{ID: tenantID, Direct: len(rows) > 0 && rows[0].Direct}
}

// rows returns the rows of one tenant, or all.
func (k *Keeper) rows(ctx context.Context, tenantID string) ([]subscription, error) {
	filter := storage.Eq("PartitionKey", subscriptionPartition)
	if tenantID != "" {
		filter = storage.And(filter, storage.Eq("TenantId", tenantID))
	}
	var rows []subscription
	for row, err := range k.Table.List(ctx, filter) {
		if err != nil {
			return nil, fmt.Errorf("read our subscriptions: %w", err)
		}
		rows = append(rows, subscriptionOf(row))
	}
	return rows, nil
}

func (k *Keeper) save(ctx context.Context, s subscription) error {
	if err := k.Table.Replace(ctx, s.entity()); err != nil {
		return fmt.Errorf("note the subscription of tenant %s: %w", s.TenantID, err)
	}
	return nil
}

// tend brings one tenant's subscription in order. With check, Graph is asked
// whether it exists although it was not long ago.
func (k *Keeper) tend(ctx context.Context, tenantID string, wanted map[string]assignment, rows []subscription, check bool) error {
	to, want := wanted[tenantID]
	want = want && k.BaseURL != ""
	if want && len(rows) == 1 && k.inOrder(rows[0], check) || !want && len(rows) == 0 {
		return nil
	}
	lease, err := k.Blobs.Lease(ctx, "lease/subscription/"+tenantID, leaseTime)
	if errors.Is(err, storage.ErrLeaseTaken) {
		return nil // another process is at it
	}
	if err != nil {
		return err
	}
	defer lease.Release()
	ctx = lease.Context()
	if rows, err = k.rows(ctx, tenantID); err != nil {
		return err
	}
	if want {
		var kept *subscription
		if i := k.best(rows); i >= 0 {
			kept = &rows[i]
		}
		others := slices.DeleteFunc(slices.Clone(rows), func(r subscription) bool { return kept != nil && r.ID == kept.ID })
		expires, err := k.provide(ctx, to, kept, others, check)
		if noteErr := k.note(ctx, tenantID, expires, err); noteErr != nil || err != nil {
			return noteErr // what Graph refuses is told by announce
		}
		rows = others
	}
	return k.remove(ctx, ref(tenantID, wanted, rows), rows)
}

// inOrder reports whether a row needs nothing done.
func (k *Keeper) inOrder(s subscription, check bool) bool {
	now := k.Now()
	return s.BaseURL == k.BaseURL && s.SubscriptionID != "" && now.Before(s.Expires) && now.Before(s.RenewAt) &&
		!check && now.Sub(s.Checked) < checkEvery
}

// best returns the index of the row to keep, -1 when none fits.
func (k *Keeper) best(rows []subscription) int {
	best := -1
	for i, r := range rows {
		if r.BaseURL == k.BaseURL && (best < 0 || r.SubscriptionID != "" && rows[best].SubscriptionID == "") {
			best = i
		}
	}
	return best
}

// provide sees to it that the tenant has a subscription, and returns its end.
// The row is written before Graph is asked, because the handshake and the
// first notifications come before the answer.
func (k *Keeper) provide(ctx context.Context, to assignment, kept *subscription, others []subscription, check bool) (time.Time, error) {
	now := k.Now().UTC()
	if kept == nil {
		s := newSubscription(to.ref.ID, to.ref.Direct, k.BaseURL, now)
		s.Expires = now.Add(life)
		if err := k.save(ctx, s); err != nil {
			return time.Time{}, err
		}
		expires, err := k.subscribe(ctx, to, s, false)
		if reasonOf(err) == m365.SubscriptionExists && len(others) > 0 {
			if err := k.remove(ctx, to.ref, others); err != nil {
				return time.Time{}, err
			}
			expires, err = k.subscribe(ctx, to, s, true)
		}
		return expires, err
	}
	s := *kept
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var granted m365.Subscription
	var err error
	switch {
	case s.SubscriptionID == "":
		return k.subscribe(ctx, to, s, false)
	case !now.Before(s.Expires):
		return k.subscribe(ctx, to, s, true)
	case !now.Before(s.RenewAt):
		granted, err = k.Graph.RenewSubscription(bounded, to.ref, s.SubscriptionID, now.Add(life))
		if err == nil {
			s.grant(granted, now, now.Add(life))
		}
	case check || now.Sub(s.Checked) >= checkEvery:
		granted, err = k.Graph.Subscription(bounded, to.ref, s.SubscriptionID)
		if err == nil && !granted.Expires.IsZero() {
			s.Expires = granted.Expires
		}
	default:
		return s.Expires, nil
	}
	if reasonOf(err) == m365.SubscriptionGone {
		return k.subscribe(ctx, to, s, true)
	}
	if err != nil {
		return s.Expires, err
	}
	s.Checked = now
	return s.Expires, k.save(ctx, s)
}

// grant notes what Graph granted.
func (s *subscription) grant(g m365.Subscription, now, asked time.Time) {
	s.Expires = g.Expires
	if s.Expires.IsZero() {
		s.Expires = asked
	}
	s.Checked = now
	s.RenewAt = now.Add(time.Duration(float64(s.Expires.Sub(now)) * (0.5 + 0.2*share(s.TenantID, "renew"))))
}

// subscribe creates the subscription of a row. With again there was one
// before, and what happened between the two is found by a sweep.
func (k *Keeper) subscribe(ctx context.Context, to assignment, s subscription, again bool) (time.Time, error) {
	now := k.Now().UTC()
	if s.SubscriptionID != "" {
		// The first notification of the new one may come before Graph's answer,
		// and must not be taken for a stray of the old one.
		s.SubscriptionID = ""
		if err := k.save(ctx, s); err != nil {
			return time.Time{}, err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	granted, err := k.Graph.Subscribe(bounded, to.ref, m365.SubscriptionRequest{
		NotificationURL: s.url(), ClientState: s.ClientState, Expires: now.Add(life),
	})
	if err != nil {
		// After a refusal there is nothing that the row could be for. After any
		// other error the subscription may exist: the row stays, so that its
		// notifications are believed, and is used for the next attempt.
		_, noSignIn := errors.AsType[*m365.AuthError](err)
		if reason := reasonOf(err); noSignIn || reason != "" && reason != m365.SubscriptionExists {
			err = errors.Join(err, k.Table.Delete(context.WithoutCancel(ctx), subscriptionPartition, s.ID))
		}
		return time.Time{}, err
	}
	s.SubscriptionID = granted.ID
	s.grant(granted, now, now.Add(life))
	if err := k.save(context.WithoutCancel(ctx), s); err != nil {
		return time.Time{}, err
	}
	k.Log.InfoContext(ctx, "subscribed to the tenant's devices", "tenant", s.TenantID, "expires", s.Expires, "again", again)
	if again {
		return s.Expires, k.Queue.Send(ctx, Message{TenantID: s.TenantID}, 0)
	}
	return s.Expires, nil
}

// reasonOf returns why Graph refused, "" when it did not.
func reasonOf(err error) string {
	if refused, ok := errors.AsType[*m365.SubscriptionError](err); ok {
		return refused.Reason
	}
	return ""
}

// remove removes subscriptions that are not wanted. One that Graph cannot be
// told to remove is tried again until it ends by itself.
func (k *Keeper) remove(ctx context.Context, ref tenant.Ref, rows []subscription) error {
	var errs []error
	for _, r := range rows {
		if r.SubscriptionID != "" && k.Now().Before(r.Expires) {
			bounded, cancel := context.WithTimeout(ctx, callTime)
			err := k.Graph.Unsubscribe(bounded, ref, r.SubscriptionID)
			cancel()
			if err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if err := k.Table.Delete(ctx, subscriptionPartition, r.ID); err != nil {
			errs = append(errs, fmt.Errorf("forget a subscription of tenant %s: %w", r.TenantID, err))
		}
	}
	return errors.Join(errs...)
}

const (
	kindUnavailable = "unavailable" // Graph did not answer; passing
)

// note writes down how the tenant's subscription stands.
func (k *Keeper) note(ctx context.Context, tenantID string, expires time.Time, err error) error {
	kind, problem := "", ""
	if err != nil {
		kind, problem = cmp.Or(reasonOf(err), kindUnavailable), err.Error()
		if _, ok := errors.AsType[*m365.AuthError](err); ok {
			kind = kindSignIn
		}
	}
	return mergeStatus(ctx, k.Table, tenantID, storage.Entity{
		"Expires": orNever(expires), "SubscriptionKind": kind, "SubscriptionProblem": clip(problem),
	})
}

// announce tells the logbook what is wrong, each thing once for all tenants
// that have it, and forgets the status of tenants that are not looked after.
func (k *Keeper) announce(ctx context.Context, wanted map[string]assignment) error {
	statuses, err := loadStatuses(ctx, k.Table)
	if err != nil {
		return err
	}
	now := k.Now().UTC()
	tenants := map[string][]string{} // problem key to the domains that have it
	var failing []string
	if k.BaseURL == "" && len(wanted) > 0 {
		tenants["address"] = nil
	}
	for id, s := range statuses {
		to, ok := wanted[id]
		if !ok {
			if err := k.Table.Delete(ctx, statusPartition, id); err != nil {
				return err
			}
			continue
		}
		domain := to.ref.DefaultDomain
		if s.failing(now) {
			failing = append(failing, id)
		}
		switch s.SubscriptionKind {
		case "", kindSignIn, kindUnavailable, m365.SubscriptionThrottled: // passing, or told by the sync
		default:
			tenants["subscription:"+s.SubscriptionKind] = append(tenants["subscription:"+s.SubscriptionKind], domain)
		}
		if s.SubscriptionKind == "" && k.BaseURL != "" && s.Silent(now) {
			tenants["silent"] = append(tenants["silent"], domain)
		}
		if (s.Kind == kindField || s.Kind == kindFailed) && now.Sub(s.Since) >= failingFor {
			tenants["sweep:"+s.Kind] = append(tenants["sweep:"+s.Kind], domain+": "+s.Problem)
		}
	}
	slices.Sort(failing)
	alarm.RaiseFor(ctx, k.Log, alarm.SubscriptionsFailing, failing)
	var problems []tenantsync.Problem
	for key, who := range tenants {
		problems = append(problems, tenantsync.Problem{Key: key, Message: sayProblem(key, who)})
	}
	slices.SortFunc(problems, func(a, b tenantsync.Problem) int { return cmp.Compare(a.Key, b.Key) })
	return k.State.Announce(ctx, logbook{k.CIPP}, "compliance", problems, now)
}
