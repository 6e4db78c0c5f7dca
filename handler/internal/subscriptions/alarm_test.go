package subscriptions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
)

func TestSubscriptionsThatFailRaiseAnAlarm(t *testing.T) {
	w := newWorld(t, triggertest.Small(3, 1))
	full, closed := w.Seed.Tenants[0], w.Seed.Tenants[1]
	w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: full.ID, Method: "POST", Path: regexp.MustCompile("/subscriptions$"),
		Status: http.StatusForbidden, Message: "The limit of 100 subscriptions per application and tenant has been reached."})
	closed.Deny("Device.Read.All", "Directory.Read.All")
	line := fmt.Sprintf(`"alarm":%q,"count":1,"tenants":[%q]}`, alarm.SubscriptionsFailing, full.ID)
	for look := 1; look <= 2; look++ {
		w.Reconcile()
		if got := strings.Count(w.Logged.String(), line); got != look {
			t.Errorf("after %d looks the alarm was raised %d times for the tenant that it is about:\n%s", look, got, w.Logged.String())
		}
	}
	w.M365.ClearFaults()
	w.Reconcile()
	if got := strings.Count(w.Logged.String(), `"alarm"`); got != 2 {
		t.Errorf("the alarm was raised %d times, and there was cause for 2", got)
	}
}

// down is Graph while each call fails, without the client's own repeats.
type down struct {
	subscriptions.Graph
	err error
}

func (d down) Subscriptions(context.Context, tenant.Ref) ([]m365.Subscription, error) {
	return nil, d.err
}

func (d down) Subscribe(context.Context, tenant.Ref, m365.SubscriptionRequest) (m365.Subscription, error) {
	return m365.Subscription{}, d.err
}

func (d down) RenewSubscription(context.Context, tenant.Ref, string, time.Time) (m365.Subscription, error) {
	return m365.Subscription{}, d.err
}

func (d down) Subscription(context.Context, tenant.Ref, string) (m365.Subscription, error) {
	return m365.Subscription{}, d.err
}

// TestALapsedSubscriptionKeepsTheAlarm has Graph fail before the end of a
// subscription and long after it.
func TestALapsedSubscriptionKeepsTheAlarm(t *testing.T) {
	for name, err := range map[string]error{
		"throttled":   &m365.SubscriptionError{Reason: m365.SubscriptionThrottled},
		"unavailable": errors.New("Graph did not answer"),
	} {
		t.Run(name, func(t *testing.T) {
			w := subscribed(t, 1)
			tn := w.Seed.Tenants[0]
			line := fmt.Sprintf(`"alarm":%q,"count":1,"tenants":[%q]}`, alarm.SubscriptionsFailing, tn.ID)
			graph := w.Process.Keeper.Graph
			w.Process.Keeper.Graph = down{graph, err}
			for _, step := range []struct {
				ahead         time.Duration
				alarms, lines int
			}{{subscriptions.Life - 2*subscriptions.LastDay, 0, 0}, {subscriptions.LastDay + time.Hour, 1, 0}, {subscriptions.LastDay, 2, 1}, {time.Hour, 3, 1}, {time.Hour, 4, 1}} {
				w.Clock.Advance(step.ahead)
				w.Reconcile()
				if got := strings.Count(w.Logged.String(), line); got != step.alarms {
					t.Errorf("the alarm was raised %d times, want %d: %+v", got, step.alarms, w.Status(tn.ID))
				}
				w.WantLogbook(step.lines, "the subscription ended", tn.DefaultDomain)
			}
			w.Process.Keeper.Graph = graph
			w.Clock.Advance(time.Hour)
			w.Reconcile()
			w.WantLogbook(2, "Info", "No longer a problem")
			if s := w.Status(tn.ID); s.SubscriptionKind != "" || !s.Expires.After(w.Clock.Now()) || strings.Count(w.Logged.String(), line) != 4 {
				t.Errorf("after Graph came back the status is %+v", s)
			}
		})
	}
}

// TestAlarmForASubscriptionThatGraphLost has Graph lose a subscription long
// before its end, and throttle what would replace it.
func TestAlarmForASubscriptionThatGraphLost(t *testing.T) {
	w := subscribed(t, 1)
	id := w.Seed.Tenants[0].ID
	w.M365.LoseSubscription(w.Subscription(id).ID)
	w.M365.AddFault(m365sim.Fault{Service: "graph", Method: "POST", Path: regexp.MustCompile("/subscriptions$"), Status: http.StatusTooManyRequests})
	for look := 1; look <= 2; look++ {
		w.Clock.Advance(subscriptions.CheckEvery)
		w.Reconcile()
		if got := strings.Count(w.Logged.String(), `"alarm"`); got != look {
			t.Errorf("after %d looks the alarm was raised %d times: %+v", look, got, w.Status(id))
		}
	}
}

func TestWhichSubscriptionsFail(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		status assignments.Status
		want   bool
	}{
		"in order":                            {assignments.Status{Expires: now.Add(20 * 24 * time.Hour)}, false},
		"refused":                             {assignments.Status{SubscriptionKind: m365.SubscriptionRefused}, true},
		"unreachable, and there still is one": {assignments.Status{SubscriptionKind: m365.SubscriptionUnreachable, Expires: now.Add(10 * 24 * time.Hour)}, true},
		"the tenant gives no token":           {assignments.Status{SubscriptionKind: assignments.KindSignIn}, false},
		"the tenant lacks the permission":     {assignments.Status{SubscriptionKind: m365.SubscriptionForbidden}, false},
		"throttled, and there is time":        {assignments.Status{SubscriptionKind: m365.SubscriptionThrottled, Expires: now.Add(25 * time.Hour)}, false},
		"throttled on the last day":           {assignments.Status{SubscriptionKind: m365.SubscriptionThrottled, Expires: now.Add(23 * time.Hour)}, true},
		"not answered until it ended":         {assignments.Status{SubscriptionKind: subscriptions.KindUnavailable, Expires: now.Add(-time.Hour)}, true},
		"not answered, and there was none":    {assignments.Status{SubscriptionKind: subscriptions.KindUnavailable}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := subscriptions.Failing(tt.status, now); got != tt.want {
				t.Errorf("failing = %v, want %v", got, tt.want)
			}
		})
	}
}
