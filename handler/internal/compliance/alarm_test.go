package compliance

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
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/m365sim"
)

func TestSubscriptionsThatFailRaiseAnAlarm(t *testing.T) {
	w := newWorld(t, small(3, 1))
	full, closed := w.Seed.Tenants[0], w.Seed.Tenants[1]
	w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: full.ID, Method: "POST", Path: regexp.MustCompile("/subscriptions$"),
		Status: http.StatusForbidden, Message: "The limit of 100 subscriptions per application and tenant has been reached."})
	closed.Deny("Device.Read.All", "Directory.Read.All")
	line := fmt.Sprintf(`"alarm":%q,"count":1,"tenants":[%q]}`, alarm.SubscriptionsFailing, full.ID)
	for look := 1; look <= 2; look++ {
		w.reconcile()
		if got := strings.Count(w.log.String(), line); got != look {
			t.Errorf("after %d looks the alarm was raised %d times for the tenant that it is about:\n%s", look, got, w.log.String())
		}
	}
	w.M365.ClearFaults()
	w.reconcile()
	if got := strings.Count(w.log.String(), `"alarm"`); got != 2 {
		t.Errorf("the alarm was raised %d times, and there was cause for 2", got)
	}
}

// down is Graph while each call fails, without the client's own repeats.
type down struct {
	Graph
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
			graph := w.process.keeper.Graph
			w.process.keeper.Graph = down{graph, err}
			for _, step := range []struct {
				ahead         time.Duration
				alarms, lines int
			}{{life - 2*lastDay, 0, 0}, {lastDay + time.Hour, 1, 0}, {lastDay, 2, 1}, {time.Hour, 3, 1}, {time.Hour, 4, 1}} {
				w.clock.advance(step.ahead)
				w.reconcile()
				if got := strings.Count(w.log.String(), line); got != step.alarms {
					t.Errorf("the alarm was raised %d times, want %d: %+v", got, step.alarms, w.status(tn.ID))
				}
				w.wantLogbook(step.lines, "the subscription ended", tn.DefaultDomain)
			}
			w.process.keeper.Graph = graph
			w.clock.advance(time.Hour)
			w.reconcile()
			w.wantLogbook(2, "Info", "No longer a problem")
			if s := w.status(tn.ID); s.SubscriptionKind != "" || !s.Expires.After(w.clock.now()) || strings.Count(w.log.String(), line) != 4 {
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
	w.M365.LoseSubscription(w.subscription(id).ID)
	w.M365.AddFault(m365sim.Fault{Service: "graph", Method: "POST", Path: regexp.MustCompile("/subscriptions$"), Status: http.StatusTooManyRequests})
	for look := 1; look <= 2; look++ {
		w.clock.advance(checkEvery)
		w.reconcile()
		if got := strings.Count(w.log.String(), `"alarm"`); got != look {
			t.Errorf("after %d looks the alarm was raised %d times: %+v", look, got, w.status(id))
		}
	}
}

func TestWhichSubscriptionsFail(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		status Status
		want   bool
	}{
		"in order":                            {Status{Expires: now.Add(20 * 24 * time.Hour)}, false},
		"refused":                             {Status{SubscriptionKind: m365.SubscriptionRefused}, true},
		"unreachable, and there still is one": {Status{SubscriptionKind: m365.SubscriptionUnreachable, Expires: now.Add(10 * 24 * time.Hour)}, true},
		"the tenant gives no token":           {Status{SubscriptionKind: kindSignIn}, false},
		"the tenant lacks the permission":     {Status{SubscriptionKind: m365.SubscriptionForbidden}, false},
		"throttled, and there is time":        {Status{SubscriptionKind: m365.SubscriptionThrottled, Expires: now.Add(25 * time.Hour)}, false},
		"throttled on the last day":           {Status{SubscriptionKind: m365.SubscriptionThrottled, Expires: now.Add(23 * time.Hour)}, true},
		"not answered until it ended":         {Status{SubscriptionKind: kindUnavailable, Expires: now.Add(-time.Hour)}, true},
		"not answered, and there was none":    {Status{SubscriptionKind: kindUnavailable, Expires: never}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.status.failing(now); got != tt.want {
				t.Errorf("failing = %v, want %v", got, tt.want)
			}
		})
	}
}
