package m365

import (
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/tenant"
)

func TestMeaningOfRefusals(t *testing.T) {
	for _, tt := range []struct {
		status        int
		code, message string
		want          refusal
	}{
		{403, "ExtensionError", "Operation: Create; Exception: [Status Code: Forbidden; Reason: Maximum number of subscriptions has been reached]", refusedQuota},
		{403, "Forbidden", "The limit of 100 subscriptions has been reached", refusedQuota},
		{403, "Forbidden", "Application has reached its limit of '1000' Graph subscriptions for this tenant", refusedQuota},
		{403, "Directory_QuotaExceeded", "", refusedQuota},
		{403, "TooMany", "Subscription quota exceeded", refusedQuota},
		{403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", refusedRight},
		{403, "Forbidden", `{"_version":3,"Message":"Application is not authorized to perform this operation. Application must have one of the following scopes: A"}`, refusedRight},
		{403, "AccessDenied", "You cannot perform the requested operation, required scopes are missing in the token.", refusedRight},
		{403, "UnknownError", "Auth token does not contain valid permissions or user does not have valid roles.", refusedRight},
		{403, "S2SUnauthorized", "Invalid permission.", refusedRight},
		{403, "Forbidden", "Error executing cmdlet.\nThe role assigned to application 1 isn't supported in this scenario.", refusedRight},
		{403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "Neither tenant is B2C or tenant doesn't have premium license", refusedPlan},
		{400, "InvalidRequest", "Subscription validation request failed. Notification endpoint must respond with 200 OK.", refusedHost},
		{403, "Forbidden", "Access is limited in this region", refused},
		{403, "Forbidden", "Blocked by a policy that sets a quota of trust", refused},
		{403, "ExtensionError", "Something went wrong", refused},
		{403, "", "", refused},
		{400, "BadRequest", "Resource 'devices' is not supported", refused},
		{503, "Authorization_RequestDenied", "", refused},
	} {
		if got := meaningOf(&statusError{status: tt.status, code: tt.code, message: tt.message}); got != tt.want {
			t.Errorf("%d %s %q means %d, want %d", tt.status, tt.code, tt.message, got, tt.want)
		}
	}
}

// TestReasonsOfForbidden has one part be refused with 403 in several words.
func TestReasonsOfForbidden(t *testing.T) {
	for name, tt := range map[string]struct{ code, message, want string }{
		"a missing permission": {"Authorization_RequestDenied", "Insufficient privileges to complete the operation.", "Not available: the app lacks Device.Read.All"},
		"a quota":              {"ExtensionError", "Maximum number of subscriptions has been reached", "Not available: Microsoft Graph's quota is used up (ExtensionError)" + nextSync},
		"what is not known":    {"Forbidden", "Access is limited in this region", "Not available: Microsoft Graph refused the request (Forbidden)"},
		"without a code":       {"", "", "Not available: Microsoft Graph refused the request (HTTP 403)"},
		"a code with a text":   {"no code at all", "", "Not available: Microsoft Graph refused the request (HTTP 403)"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeDevices, c.says(403, `{"error":{"code":"`+tt.code+`","message":"`+tt.message+`"}}`))
			if got := c.read().EntraDevices.Reason; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSignInsNeedPremium has Graph say that the tenant lacks the licence.
func TestSignInsNeedPremium(t *testing.T) {
	c := newCloud(t)
	c.on(routeUsers, c.usersAsSelected)
	c.failing(routeUsers, "signInActivity", c.says(403, `{"error":{"code":"Authentication_RequestFromNonPremiumTenantOrB2CTenant","message":"Neither tenant is B2C or tenant doesn't have premium license"}}`))
	s := c.read()
	if why := s.Unknown[tenant.DetailSignIns]; !why.Expected || why.Reason == "" || !s.Users.OK() {
		t.Errorf("got %+v", why)
	}
}

// TestSubscriptionsOnBeta has v1.0 refuse devices as a resource.
func TestSubscriptionsOnBeta(t *testing.T) {
	unsupported := `{"error":{"code":"InvalidRequest","message":"Resource 'devices' is not supported."}}`
	for name, tt := range map[string]struct {
		v1, beta       int
		v1Says, betaIs string
		reason         string // "" = subscribed
		asked          int    // times beta is asked
	}{
		"beta takes it":              {400, 201, unsupported, `{"id":"sub-1","expirationDateTime":"2026-12-01T00:00:00.0000000Z"}`, "", 1},
		"v1.0 forbids it, unknown":   {403, 201, `{"error":{"code":"ExtensionError","message":"Not for this resource"}}`, `{"id":"sub-1"}`, "", 1},
		"v1.0 does not have it":      {501, 201, unsupported, `{"id":"sub-1"}`, "", 1},
		"beta refuses too":           {400, 400, unsupported, unsupported, "refused InvalidRequest", 1},
		"beta is at its quota":       {400, 403, unsupported, `{"error":{"code":"ExtensionError","message":"[Status Code: Forbidden; Reason: Maximum number of subscriptions has been reached]"}}`, SubscriptionQuota, 1},
		"v1.0 is at its quota":       {403, 201, `{"error":{"code":"ExtensionError","message":"Maximum number of subscriptions has been reached"}}`, `{"id":"x"}`, SubscriptionQuota, 0},
		"v1.0 misses the permission": {403, 201, `{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges"}}`, `{"id":"x"}`, SubscriptionForbidden, 0},
		"v1.0 cannot reach us":       {400, 201, `{"error":{"code":"InvalidRequest","message":"Subscription validation request timed out."}}`, `{"id":"x"}`, SubscriptionUnreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on("POST /v1.0/subscriptions", c.says(tt.v1, tt.v1Says))
			c.on("POST /beta/subscriptions", c.says(tt.beta, tt.betaIs))
			s, err := c.reader().Subscribe(t.Context(), testRef, SubscriptionRequest{NotificationURL: "https://app.example/api"})
			if refusal, ok := err.(*SubscriptionError); tt.reason == "" && (err != nil || s.ID != "sub-1") || tt.reason != "" && (!ok || refusal.Reason != tt.reason) {
				t.Errorf("got %+v, %v", s, err)
			}
			if refusal, ok := err.(*SubscriptionError); ok && strings.HasPrefix(tt.reason, SubscriptionRefused) && ExplainSubscription(refusal.Reason) != "Graph refused it (InvalidRequest)" {
				t.Errorf("it is explained as %q", ExplainSubscription(refusal.Reason))
			}
			if n := c.count("POST /beta/subscriptions"); n != tt.asked || c.count("POST /v1.0/subscriptions") != 1 {
				t.Errorf("beta was asked %d times, want %d", n, tt.asked)
			}
		})
	}
	t.Run("renewed on beta", func(t *testing.T) {
		c := newCloud(t)
		c.on("PATCH /v1.0/subscriptions/s", c.says(400, unsupported))
		c.on("PATCH /beta/subscriptions/s", func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
				t.Error("no JSON")
			}
			c.says(200, `{"id":"s"}`)(w, r)
		})
		if _, err := c.reader().RenewSubscription(t.Context(), testRef, "s", date("2026-12-01")); err != nil {
			t.Error(err)
		}
	})
}
