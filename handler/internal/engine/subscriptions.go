package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/problems"
)

const (
	atOnce      = 8               // subscriptions removed at the same time
	callTimeout = time.Minute     // of one removal
	dropTimeout = 5 * time.Minute // of all removals of one tick
	maxProblems = 20              // tenants named one by one
)

// dropSubscriptions removes CIPP's subscriptions on devices, in Graph and then in CIPP's
// table. CIPP takes a notification only while its row is there. A row stays for the next
// tick when removing its subscription failed. The problems are the tenants concerned.
func (h *Hold) dropSubscriptions(ctx context.Context) ([]problems.Problem, error) {
	list, err := h.CIPP.DeviceSubscriptions(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu      sync.Mutex
		removed int
		left    []string // domains whose subscription ends by itself
		bad     []problems.Problem
		errs    []error
	)
	drop := func(ctx context.Context, d cipp.DeviceSubscription) {
		refused, err := h.dropOne(ctx, d)
		mu.Lock()
		defer mu.Unlock()
		var graph graphError
		switch {
		case errors.As(err, &graph):
			bad = append(bad, problems.Problem{Key: "subscription:" + d.Domain,
				Message: fmt.Sprintf("CIPP's own subscription on the devices of %s could not be removed at Microsoft Graph: %v. CIPP may still write the compliance field. It is tried again every quarter of an hour.", d.Domain, graph.error)})
		case err != nil:
			errs = append(errs, err)
		case refused:
			left = append(left, d.Domain)
		default:
			removed++
		}
	}
	bounded, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	group := &errgroup.Group{}
	group.SetLimit(atOnce)
	for _, d := range list {
		group.Go(func() error {
			one, cancel := context.WithTimeout(bounded, callTimeout)
			defer cancel()
			drop(one, d)
			return nil
		})
	}
	_ = group.Wait() // no task returns an error
	if removed > 0 {
		errs = append(errs, h.tell(ctx, cipp.SeverityInfo, fmt.Sprintf("This app removed CIPP's own subscriptions on devices, through which CIPP wrote the compliance field by another rule: %d.", removed)))
	}
	if len(left) > 0 {
		slices.Sort(left)
		errs = append(errs, h.tell(ctx, cipp.SeverityWarn, fmt.Sprintf("CIPP's own subscriptions on the devices of %d tenants could not be removed: Microsoft Graph refused it or does not know the tenant. "+
			"Their rows in CIPP's table were removed, so CIPP accepts none of their notifications. Graph ends them within a day: %s.", len(left), someOf(left))))
	}
	slices.SortFunc(bad, func(a, b problems.Problem) int { return strings.Compare(a.Key, b.Key) })
	if n := len(bad); n > maxProblems {
		bad = append(bad[:maxProblems], problems.Problem{Key: "subscription", Message: fmt.Sprintf("CIPP's own subscriptions on devices could not be removed for %d further tenants.", n-maxProblems)})
	}
	return bad, errors.Join(errs...)
}

// graphError is a failure to remove a subscription that may pass.
type graphError struct{ error }

// dropOne removes one subscription. It reports true when there is only the row
// to remove: Graph refuses, or there is no tenant to sign in to.
func (h *Hold) dropOne(ctx context.Context, d cipp.DeviceSubscription) (refused bool, err error) {
	if d.SubscriptionID != "" {
		if d.Tenant.ID == "" {
			refused = true
		} else if err := h.Graph.Unsubscribe(ctx, d.Tenant, d.SubscriptionID); err != nil {
			refusal, ok := errors.AsType[*m365.SubscriptionError](err)
			if !ok || refusal.Reason == m365.SubscriptionThrottled {
				return false, graphError{err}
			}
			h.Log.WarnContext(ctx, "Graph refuses to remove a subscription of CIPP", "tenant", d.Tenant.ID, "error", err)
			refused = true
		}
	}
	return refused, h.CIPP.ForgetDeviceSubscription(ctx, d)
}

func someOf(names []string) string {
	if len(names) <= maxProblems {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:maxProblems], ", ") + " and others"
}
