package compliance

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/m365"
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
