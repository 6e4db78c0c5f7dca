package subscriptions_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
)

const otherDevice = "0c0c0c0c-0000-4000-8000-00000000000c"

const listCall = "GET /v1.0/subscriptions"

// unanswered returns a world in which Graph created a subscription of the first
// tenant without our having understood the answer.
func unanswered(t *testing.T) (*world, m365sim.Subscription) {
	t.Helper()
	w := newWorld(t, triggertest.Small(2, 1))
	id := w.Seed.Tenants[0].ID
	w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: id, Method: "POST", Path: regexp.MustCompile("/subscriptions$"), Malformed: true})
	w.Reconcile()
	w.M365.ClearFaults()
	if n := len(w.M365.Subscriptions(id)); n != 1 {
		t.Fatalf("a creation whose answer was lost was sent %d times", n)
	}
	return w, w.Subscription(id)
}

func TestASubscriptionWhoseAnswerWasLostIsTakenOver(t *testing.T) {
	w, sub := unanswered(t)
	// Its notifications are genuine already.
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, otherDevice))
	if m := w.Queue.Take(); len(m) != 1 || len(m[0].DeviceIDs) != 1 {
		t.Errorf("queued %+v", m)
	}
	w.Clock.Advance(20 * time.Minute) // the token lasts an hour
	w.Reconcile()
	w.wantSubscriptions(sub.TenantID, 1)
	row := w.rowsOf(sub.TenantID)[0]
	if w.Subscription(sub.TenantID).ID != sub.ID || row.SubscriptionID != sub.ID || row.Expires.Sub(sub.Expires).Abs() > time.Second || !row.RenewAt.After(w.Clock.Now()) {
		t.Errorf("our row is %+v, and Graph has %+v", row, w.Subscription(sub.TenantID))
	}
	if calls := w.subscriptionCalls(); calls["POST /v1.0/subscriptions"] != 2 || calls[listCall] != 1 {
		t.Errorf("looking after two tenants took %v", calls)
	}
	if m := w.Queue.Take(); len(m) != 1 || m[0].TenantID != sub.TenantID || len(m[0].DeviceIDs) != 0 {
		t.Errorf("queued %+v, want a sweep", m)
	}
	w.Clock.Advance(20 * time.Minute) // the token lasts an hour
	w.Reconcile()
	if calls := w.subscriptionCalls(); calls[listCall] != 1 {
		t.Errorf("the list was read again: %v", calls)
	}
	w.NoViolations()
}

func TestASubscriptionWhoseAnswerWasLostIsRemoved(t *testing.T) {
	w, sub := unanswered(t)
	w.Unmap(sub.TenantID)
	w.Settle()
	w.wantSubscriptions(sub.TenantID, 0)
	w.wantSubscriptions(w.Seed.Tenants[1].ID, 1)
	if calls := w.subscriptionCalls(); calls[listCall] != 1 {
		t.Errorf("only the one tenant's list was to be read: %v", calls)
	}
	w.NoViolations()
}

// hidden is Graph while a new subscription does not show in its list yet.
type hidden struct{ subscriptions.Graph }

func (hidden) Subscriptions(context.Context, tenant.Ref) ([]m365.Subscription, error) {
	return nil, nil
}

func TestASecondSubscriptionOfOneRow(t *testing.T) {
	twice := func(t *testing.T) (*world, m365sim.Subscription) {
		w, stray := unanswered(t)
		graph := w.Process.Keeper.Graph
		w.Process.Keeper.Graph = hidden{graph}
		w.Clock.Advance(time.Hour)
		w.Reconcile()
		w.Process.Keeper.Graph = graph
		if n := len(w.M365.Subscriptions(stray.TenantID)); n != 2 {
			t.Fatalf("Graph has %d subscriptions, want the lost one and its successor", n)
		}
		w.Queue.Take()
		return w, stray
	}
	t.Run("its first notification gives it away", func(t *testing.T) {
		w, stray := twice(t)
		for range 2 {
			w.Deliver(stray.NotificationURL, m365sim.DeviceNotification(stray, otherDevice))
		}
		strays := 0
		for _, m := range w.Queue.Messages {
			if m.Event == notify.EventStray {
				strays++
			}
		}
		if strays != 1 {
			t.Errorf("a stray subscription made %d messages", strays)
		}
		w.Work()
		w.wantSubscriptions(stray.TenantID, 1)
		if w.Subscription(stray.TenantID).ID == stray.ID {
			t.Error("the wrong subscription was removed")
		}
		w.NoViolations()
	})
	t.Run("nobody wants either", func(t *testing.T) {
		w, stray := twice(t)
		w.Unmap(stray.TenantID)
		w.Settle()
		w.wantSubscriptions(stray.TenantID, 0)
		w.NoViolations()
	})
}

// TestAnEventComesBackWhileTheTenantIsTaken has another process at the tenant.
func TestAnEventComesBackWhileTheTenantIsTaken(t *testing.T) {
	for _, event := range []string{notify.EventReauthorize, notify.EventRemoved} {
		t.Run(event, func(t *testing.T) {
			w := subscribed(t, 1)
			sub := w.Subscription(w.Seed.Tenants[0].ID)
			if event == notify.EventRemoved {
				w.M365.LoseSubscription(sub.ID)
			}
			lease, err := w.Own.Container(tenantsync.ContainerName).Lease(t.Context(), "lease/subscription/"+sub.TenantID, time.Minute)
			must(t, err)
			w.Queue.Take()
			w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, event))
			w.Work()
			m := w.Queue.Messages
			if len(m) != 1 || m[0].Event != event || m[0].SubscriptionID != sub.ID || w.Queue.Delays[0] < time.Second {
				t.Fatalf("queued %+v, want the event again, later", m)
			}
			lease.Release()
			w.Work()
			if now := w.Subscription(sub.TenantID); event == notify.EventReauthorize && now.Reauthorized != 1 || event == notify.EventRemoved && now.ID == sub.ID {
				t.Errorf("the event was not acted on: %+v", now)
			}
			w.NoViolations()
		})
	}
}

// renewing lets something happen just before a subscription is renewed.
type renewing struct {
	subscriptions.Graph
	happens func()
}

func (r renewing) RenewSubscription(ctx context.Context, ref tenant.Ref, id string, expires time.Time) (m365.Subscription, error) {
	r.happens()
	return r.Graph.RenewSubscription(ctx, ref, id, expires)
}

// TestRowsChangeUnderTheLeaseOnly looks from another process while an event is
// handled: the row it would read must be whole, and the tenant taken.
func TestRowsChangeUnderTheLeaseOnly(t *testing.T) {
	w := subscribed(t, 1)
	sub := w.Subscription(w.Seed.Tenants[0].ID)
	before := w.rowsOf(sub.TenantID)[0]
	asked := false
	w.Process.Keeper.Graph = renewing{w.Process.Keeper.Graph, func() {
		asked = true
		if row := w.rowsOf(sub.TenantID)[0]; row != before {
			t.Errorf("the row was changed to %+v before Graph answered", row)
		}
		if _, err := w.Own.Container(tenantsync.ContainerName).Lease(t.Context(), "lease/subscription/"+sub.TenantID, time.Minute); err == nil {
			t.Error("the tenant was not taken")
		}
	}}
	w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, notify.EventReauthorize))
	w.Work()
	if !asked || w.Subscription(sub.TenantID).Reauthorized != 1 {
		t.Error("the subscription was not authorized again")
	}
	w.NoViolations()
}

func TestWhatThereWasNoTimeForIsTold(t *testing.T) {
	w := newWorld(t, triggertest.Small(2, 1))
	ctx, cancel := context.WithTimeout(t.Context(), subscriptions.AnnounceTime)
	defer cancel()
	must(t, w.Process.Keeper.Reconcile(ctx))
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 0)
		w.WantLogbook(1, "Warn", "no time", tn.DefaultDomain)
	}
	w.Reconcile()
	w.WantLogbook(2, "Info", "No longer a problem")
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 1)
	}
	w.NoViolations()
}
