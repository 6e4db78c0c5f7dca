package subscriptions

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// failingFor is how long sweeps must fail before the logbook says so.
	failingFor = time.Hour
	// lastDay is how near its end a subscription is when failed renewals are no
	// longer taken for passing. A renewal is due long before.
	lastDay = 24 * time.Hour
)

// kindUnavailable says that Graph did not answer, which passes.
const kindUnavailable = "unavailable"

// passing reports whether a subscription's problem may be over by the next run.
func passing(kind string) bool { return kind == kindUnavailable || kind == m365.SubscriptionThrottled }

// failing reports whether somebody must see to the tenant's subscription. What is wrong
// with the tenant's consent or permissions does not count: the sync tells that, and the
// customer decides.
func failing(s assignments.Status, now time.Time) bool {
	switch {
	case s.SubscriptionKind == "" || s.SubscriptionKind == assignments.KindSignIn || s.SubscriptionKind == m365.SubscriptionForbidden:
		return false
	case passing(s.SubscriptionKind):
		return !s.Expires.IsZero() && s.Expires.Sub(now) < lastDay
	}
	return true
}

// note writes down how the tenant's subscription stands.
func (k *Keeper) note(ctx context.Context, tenantID string, expires time.Time, err error) error {
	kind, problem := "", ""
	if err != nil {
		kind, problem = cmp.Or(reasonOf(err), kindUnavailable), err.Error()
		if _, ok := errors.AsType[*m365.AuthError](err); ok {
			kind = assignments.KindSignIn
		}
	}
	// A passing problem says nothing about an end. The end that is noted tells since when
	// there is no subscription.
	return k.statuses.NoteSubscription(ctx, tenantID, kind, problem, expires, !expires.IsZero() || !passing(kind))
}

// announce tells the logbook what is wrong, each thing once for all tenants that have it.
// It forgets the status of tenants that are not wanted. This run had no time for the
// tenants in left.
func (k *Keeper) announce(ctx context.Context, wanted map[string]assignments.Assignment, left []string) error {
	statuses, err := k.statuses.All(ctx)
	if err != nil {
		return err
	}
	now := k.Now().UTC()
	tenants := map[string][]string{} // problem key to the domains that have it
	var alarming []string
	if k.BaseURL == "" && len(wanted) > 0 {
		tenants["address"] = nil
	}
	for _, id := range left {
		tenants["left"] = append(tenants["left"], cmp.Or(wanted[id].Ref.DefaultDomain, id))
	}
	for id, s := range statuses {
		to, ok := wanted[id]
		if !ok {
			if err := k.statuses.Forget(ctx, id); err != nil {
				return err
			}
			continue
		}
		domain := to.Ref.DefaultDomain
		if failing(s, now) {
			alarming = append(alarming, id)
		}
		switch {
		case s.SubscriptionKind == "" || s.SubscriptionKind == assignments.KindSignIn: // in order, or told by the sync
		case passing(s.SubscriptionKind):
			if !s.Expires.IsZero() && !now.Before(s.Expires) {
				tenants["lapsed"] = append(tenants["lapsed"], domain)
			}
		default:
			tenants["subscription:"+s.SubscriptionKind] = append(tenants["subscription:"+s.SubscriptionKind], domain)
		}
		if s.SubscriptionKind == "" && k.BaseURL != "" && s.Silent(now) {
			tenants["silent"] = append(tenants["silent"], domain)
		}
		if (s.Kind == assignments.KindField || s.Kind == assignments.KindFailed) && now.Sub(s.Since) >= failingFor {
			tenants["sweep:"+s.Kind] = append(tenants["sweep:"+s.Kind], domain+": "+s.Problem)
		}
	}
	slices.Sort(alarming)
	alarm.RaiseFor(ctx, k.Log, alarm.SubscriptionsFailing, alarming)
	var bad []problems.Problem
	for key, who := range tenants {
		bad = append(bad, problems.Problem{Key: key, Message: sayProblem(key, who)})
	}
	slices.SortFunc(bad, func(a, b problems.Problem) int { return cmp.Compare(a.Key, b.Key) })
	return k.Problems.Announce(ctx, tenant.Ref{}, "compliance", bad, now)
}
