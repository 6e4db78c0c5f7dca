package subscriptions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// provide sees to it that the tenant has a subscription, and returns its end. The end is
// zero where an error leaves none that is known. It writes the row before it asks Graph:
// the handshake and the first notifications come before the answer.
func (k *Keeper) provide(ctx context.Context, to assignments.Assignment, kept *subscription, others []subscription, event *notify.Message) (time.Time, error) {
	now := k.Now().UTC()
	if kept == nil {
		s := subscription{Subscription: notify.NewSubscription(to.Ref.ID), Direct: to.Ref.Direct, BaseURL: k.BaseURL, Created: now, Expires: now.Add(life)}
		if err := k.save(ctx, s); err != nil {
			return time.Time{}, err
		}
		expires, err := k.subscribe(ctx, to, s, false)
		if reasonOf(err) == m365.SubscriptionExists && len(others) > 0 {
			if err := k.remove(ctx, to.Ref, others); err != nil {
				return time.Time{}, err
			}
			expires, err = k.subscribe(ctx, to, s, true)
		}
		return expires, err
	}
	s := *kept
	if s.SubscriptionID == "" {
		return k.recover(ctx, to, s)
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var granted m365.Subscription
	var err error
	switch {
	case !now.Before(s.Expires):
		return k.subscribe(ctx, to, s, true)
	case !now.Before(s.RenewAt), reauthorizes(event, s.SubscriptionID):
		granted, err = k.Graph.RenewSubscription(bounded, to.Ref, s.SubscriptionID, now.Add(life))
		if err == nil {
			s.grant(granted, now, now.Add(life))
		}
	case event != nil || now.Sub(s.Checked) >= checkEvery:
		granted, err = k.Graph.Subscription(bounded, to.Ref, s.SubscriptionID)
		if err == nil && !granted.Expires.IsZero() {
			s.Expires = granted.Expires
		}
	default:
		return s.Expires, nil
	}
	if reasonOf(err) == m365.SubscriptionGone {
		expires, err := k.subscribe(ctx, to, s, true)
		if err != nil {
			expires = now // it ended before its time
		}
		return expires, err
	}
	if err != nil {
		return s.Expires, err
	}
	s.Checked = now
	return s.Expires, k.save(ctx, s)
}

// reauthorizes reports whether an event asks for the renewal of a subscription.
func reauthorizes(m *notify.Message, subscriptionID string) bool {
	return m != nil && m.Event == notify.EventReauthorize && (m.SubscriptionID == subscriptionID || m.SubscriptionID == "")
}

// recover takes over the subscription of a row whose id was in Graph's lost answer. If
// Graph has none, it creates one.
func (k *Keeper) recover(ctx context.Context, to assignments.Assignment, s subscription) (time.Time, error) {
	found, err := k.find(ctx, to.Ref, s)
	if err != nil {
		return time.Time{}, err
	}
	if len(found) == 0 {
		s.Doubtful = true // it may yet come about
		return k.subscribe(ctx, to, s, false)
	}
	now := k.Now().UTC()
	s.SubscriptionID, s.Doubtful = found[0].ID, s.Doubtful || len(found) > 1
	s.grant(found[0], now, s.Expires)
	if err := k.save(ctx, s); err != nil {
		return time.Time{}, err
	}
	k.Log.InfoContext(ctx, "found the subscription whose answer was lost", "tenant", s.TenantID, "expires", s.Expires)
	return s.Expires, k.Queue.Send(ctx, notify.Message{TenantID: s.TenantID}, 0)
}

// find returns the subscriptions that Graph has for a row, by our id in their
// address.
func (k *Keeper) find(ctx context.Context, ref tenant.Ref, s subscription) ([]m365.Subscription, error) {
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	all, err := k.Graph.Subscriptions(bounded, ref)
	if err != nil {
		return nil, fmt.Errorf("look for a subscription whose creation was not answered: %w", err)
	}
	return slices.DeleteFunc(all, func(g m365.Subscription) bool { return !strings.Contains(g.NotificationURL, s.ID) }), nil
}

// grant notes what Graph granted.
func (s *subscription) grant(g m365.Subscription, now, asked time.Time) {
	s.Expires = g.Expires
	if s.Expires.IsZero() {
		s.Expires = asked
	}
	s.Checked = now
	s.RenewAt = now.Add(time.Duration(float64(s.Expires.Sub(now)) * (0.5 + 0.2*roster.Share(s.TenantID, "renew"))))
}

// subscribe creates the subscription of a row. With again there was one
// before, and what happened between the two is found by a sweep.
func (k *Keeper) subscribe(ctx context.Context, to assignments.Assignment, s subscription, again bool) (time.Time, error) {
	now := k.Now().UTC()
	if s.SubscriptionID != "" || s.Doubtful {
		// The first notification of the new one may come before Graph's answer. It must not
		// count as a stray of the old one.
		s.SubscriptionID, s.Expires = "", now.Add(life)
		if err := k.save(ctx, s); err != nil {
			return time.Time{}, err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	granted, err := k.Graph.Subscribe(bounded, to.Ref, m365.SubscriptionRequest{
		NotificationURL: s.URL(s.BaseURL), ClientState: s.ClientState, Expires: now.Add(life),
	})
	if err != nil {
		// After a refusal there is nothing that the row could be for. After any other
		// error the subscription may exist, so the row stays. The receiver believes its
		// notifications, and a later run looks for it.
		_, noSignIn := errors.AsType[*m365.AuthError](err)
		if reason := reasonOf(err); !s.Doubtful && (noSignIn || reason != "" && reason != m365.SubscriptionExists) {
			noting, done := storage.Noting(ctx)
			defer done()
			err = errors.Join(err, k.Table.Delete(noting, partition, s.ID))
		}
		return time.Time{}, err
	}
	s.SubscriptionID = granted.ID
	s.grant(granted, now, now.Add(life))
	noting, done := storage.Noting(ctx)
	defer done()
	if err := k.save(noting, s); err != nil {
		return time.Time{}, err
	}
	k.Log.InfoContext(ctx, "subscribed to the tenant's devices", "tenant", s.TenantID, "expires", s.Expires, "again", again)
	if again {
		return s.Expires, k.Queue.Send(ctx, notify.Message{TenantID: s.TenantID}, 0)
	}
	return s.Expires, nil
}

// reasonOf returns the reason of Graph's refusal; "" without one.
func reasonOf(err error) string {
	if refused, ok := errors.AsType[*m365.SubscriptionError](err); ok {
		return refused.Reason
	}
	return ""
}

// remove removes subscriptions that nobody wants. It tries again until Graph removes one
// or it ends by itself.
func (k *Keeper) remove(ctx context.Context, ref tenant.Ref, rows []subscription) error {
	var errs []error
	for _, r := range rows {
		if k.Now().Before(r.Expires) {
			if err := k.unsubscribe(ctx, ref, r); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if err := k.Table.Delete(ctx, partition, r.ID); err != nil {
			errs = append(errs, fmt.Errorf("forget a subscription of tenant %s: %w", r.TenantID, err))
		}
	}
	return errors.Join(errs...)
}

// unsubscribe removes what Graph has for a row.
func (k *Keeper) unsubscribe(ctx context.Context, ref tenant.Ref, s subscription) error {
	var ids []string
	if s.SubscriptionID != "" {
		ids = append(ids, s.SubscriptionID)
	}
	if s.SubscriptionID == "" || s.Doubtful {
		found, err := k.find(ctx, ref, s)
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.ID != s.SubscriptionID {
				ids = append(ids, f.ID)
			}
		}
	}
	for _, id := range ids {
		bounded, cancel := context.WithTimeout(ctx, callTime)
		err := k.Graph.Unsubscribe(bounded, ref, id)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
