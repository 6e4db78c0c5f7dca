package compliance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// kindUnavailable says that Graph did not answer, which passes.
const kindUnavailable = "unavailable"

// passing reports whether a subscription's problem may be over by the next run.
func passing(kind string) bool { return kind == kindUnavailable || kind == m365.SubscriptionThrottled }

// note writes down how the tenant's subscription stands.
func (k *Keeper) note(ctx context.Context, tenantID string, expires time.Time, err error) error {
	kind, problem := "", ""
	if err != nil {
		kind, problem = cmp.Or(reasonOf(err), kindUnavailable), err.Error()
		if _, ok := errors.AsType[*m365.AuthError](err); ok {
			kind = kindSignIn
		}
	}
	columns := storage.Entity{"SubscriptionKind": kind, "SubscriptionProblem": clip(problem)}
	// What passes says nothing about an end: the one that was noted tells
	// since when there is no subscription.
	if !expires.IsZero() || !passing(kind) {
		columns["Expires"] = orNever(expires)
	}
	return mergeStatus(ctx, k.Table, tenantID, columns)
}

// announce tells the logbook what is wrong, each thing once for all tenants
// that have it, and forgets the status of tenants that are not wanted. left are
// the tenants that this run had no time for.
func (k *Keeper) announce(ctx context.Context, wanted map[string]assignment, left []string) error {
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
	for _, id := range left {
		tenants["left"] = append(tenants["left"], cmp.Or(wanted[id].ref.DefaultDomain, id))
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
		switch {
		case s.SubscriptionKind == "" || s.SubscriptionKind == kindSignIn: // in order, or told by the sync
		case passing(s.SubscriptionKind):
			if s.Expires.After(never) && !now.Before(s.Expires) {
				tenants["lapsed"] = append(tenants["lapsed"], domain)
			}
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
	var bad []problems.Problem
	for key, who := range tenants {
		bad = append(bad, problems.Problem{Key: key, Message: sayProblem(key, who)})
	}
	slices.SortFunc(bad, func(a, b problems.Problem) int { return cmp.Compare(a.Key, b.Key) })
	return k.Problems.Announce(ctx, tenant.Ref{}, "compliance", bad, now)
}
