package m365

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cipp-ninjaone/handler/internal/tenant"
)

func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestReadGivesEveryPart(t *testing.T) {
	c := newCloud(t)
	got := c.read()
	never, yes := tenant.NeverExpires, true
	baseline := []tenant.PolicyState{{Policy: "Baseline", Platform: "windows10AndLater",
		State: "noncompliant", Settings: []tenant.SettingState{{Setting: "BitLocker", State: "noncompliant", CurrentValue: "off", UserName: "Ada"}}}}
	want := &tenant.Snapshot{
		Tenant: testRef,
		Organization: tenant.Present(tenant.Organization{DisplayName: "Tailspin Toys", Created: time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC),
			OnPremisesSyncEnabled: true, OnPremisesLastSync: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}),
		Domains: tenant.Present([]tenant.Domain{
			{Name: "tailspin.example", IsDefault: true, IsVerified: true, PasswordValidityDays: &never},
			{Name: "tailspin.onmicrosoft.example", IsInitial: true, IsVerified: true}}),
		Users: tenant.Present([]tenant.User{
			{ID: userAda, DisplayName: "Ada", UserPrincipalName: "Ada@tailspin.example", Mail: "ada@tailspin.example", UserType: "Member",
				Enabled: true, BusinessPhones: []string{"+1"}, ProxyAddresses: []string{"SMTP:ada@tailspin.example"},
				Created: date("2020-01-01"), Licenses: []tenant.License{{SKUID: skuMain, Assigned: date("2024-05-06")}},
				LastSignIn: date("2026-11-20")},
			{ID: userBen, DisplayName: "Ben", UserPrincipalName: "ben_fourthcoffee.example#EXT#@tailspin.example", UserType: "Guest"}}),
		Groups: tenant.Present([]tenant.Group{{ID: groupOne, DisplayName: "All staff", GroupTypes: []string{"Unified"}, SecurityEnabled: true,
			Members: []tenant.Member{{ID: userAda, Kind: tenant.MemberUser}, {ID: groupOne, Kind: tenant.MemberGroup}}}}),
		Roles: tenant.Present([]tenant.DirectoryRole{{ID: roleGlobal, TemplateID: tenant.GlobalAdministrator, DisplayName: "Global Administrator",
			Members: []tenant.Member{{ID: userAda, Kind: tenant.MemberUser}}}}),
		SKUs: tenant.Present([]tenant.SKU{{ID: skuMain, PartNumber: "SPE_E3", AppliesTo: "User", Status: "Enabled", Consumed: 7,
			Units: tenant.Units{Enabled: 10, Warning: 2, Suspended: 1, LockedOut: 3}, ServicePlans: []tenant.ServicePlan{
				{ID: "e0", Name: "AAD_PREMIUM", AppliesTo: "User", Status: "Success"}, {ID: "e1", Name: "INTUNE_A", Status: "Success"}}}}),
		Subscriptions: tenant.Present([]tenant.Subscription{{ID: "s1", SKUID: skuMain, Status: "Enabled", Total: 10,
			Created: date("2025-01-01"), NextLifecycle: date("2027-01-01")}}),
		ManagedDevices: tenant.Present([]tenant.ManagedDevice{
			{ID: "m1", AzureADDeviceID: "dev1", DeviceName: "TT-01", SerialNumber: "SN1", ComplianceState: "noncompliant", Encrypted: true,
				TotalStorage: 512, JoinType: "azureADJoined", ChassisType: "laptop", Autopilot: &yes, FromBetaList: true,
				UsersLogged: []tenant.LoggedOn{{UserID: userAda, Last: date("2026-11-20")}},
				Hardware:    &tenant.HardwareSecurity{VirtualizationBasedSecurity: "running"}},
			{ID: "m2", DeviceName: "TT-02", ComplianceState: "compliant", FromBetaList: true}}),
		EntraDevices: tenant.Present([]tenant.EntraDevice{{ID: "o1", DeviceID: "dev1", Name: "TT-01", TrustType: "AzureAd", Enabled: true,
			Registered: date("2023-01-02"), Autopilot: true}}),
		PolicyStates:   tenant.Present(map[string][]tenant.PolicyState{"m1": baseline}),
		PolicyReadings: tenant.PolicyReadings{"m1": {State: "noncompliant", Policies: baseline}},
		ConditionalAccess: tenant.Present([]tenant.ConditionalAccessPolicy{{ID: "f1", Name: "MFA", State: "enabled", IncludeAll: true,
			ExcludeUsers: []string{userBen}, ExcludeGuests: true, IncludeRoles: []string{tenant.GlobalAdministrator},
			IncludeGuestTypes: []string{"internalGuest", "b2bCollaborationGuest"}, IncludeGuestsOfSome: true}}),
		AuthorizationPolicy: tenant.Present(tenant.AuthorizationPolicy{UserConsentPolicies: []string{"ManagePermissionGrantsForSelf.low"}}),
		SecureScore: tenant.Present(tenant.SecureScore{Created: date("2026-11-22"), Current: 40.5, Max: 90, Actions: []tenant.ScoreAction{
			{Control: "Lock", Title: "Lock the door", Category: "Identity", Service: "AAD", URL: "https://portal.example/lock", Score: 3, Max: 9},
			{Control: "Bare", Category: "Data", Score: 1}}}),
		MailboxUsage: tenant.Present([]tenant.MailboxUsage{{UserPrincipalName: "ada@TAILSPIN.example", LastActivity: date("2026-11-20"), Items: 12,
			Used: 3400, WarningQuota: 100, SendQuota: 200, SendReceiveQuota: 300, RefreshDate: date("2026-11-21")}}),
		OneDriveUsage: tenant.Present([]tenant.OneDriveUsage{{OwnerPrincipalName: "ada@tailspin.example",
			SiteURL: "https://tailspin.example/personal/ada", Files: 4, Used: 80, Allocated: 900, RefreshDate: date("2026-11-21")}}),
		Mailboxes: tenant.Present([]tenant.Mailbox{{UserID: userAda, UserPrincipalName: "ada@tailspin.example", Type: "UserMailbox",
			ForwardingSMTPAddress: "smtp:x@fourthcoffee.example", DeliverAndForward: true, LitigationHold: true,
			PrimarySMTPAddress: "ada@tailspin.example"}}),
		CASMailboxes:   tenant.Present([]tenant.CASMailbox{{UserID: userAda, OWA: true, MAPI: true, ActiveSync: true, EWS: true}, {UserID: userBen}}),
		UnifiedAudit:   tenant.Present(true),
		BlockedSenders: tenant.Present([]string{"spam@tailspin.example"}),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(tenant.Snapshot{}, "ReadAt"), cmpopts.IgnoreFields(tenant.PolicyReading{}, "Read")); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if got.ReadAt.IsZero() {
		t.Error("no time of reading")
	}
	if n := c.count(routeToken); n != 2 {
		t.Errorf("%d tokens asked for, want one each for Graph and Exchange", n)
	}
	if n := c.count(routeBatch); n != 2 {
		t.Errorf("%d batches sent, want 2", n)
	}
}

func TestPartsFailAlone(t *testing.T) {
	const noPlans = `{"skuId":"` + skuMain + `","skuPartNumber":"BASIC","capabilityStatus":"Enabled","servicePlans":[{"servicePlanName":"INTUNE_O365","provisioningStatus":"Success"}]}`
	denied := func(c *cloud) http.HandlerFunc {
		return c.says(403, `{"error":{"code":"Authorization_RequestDenied","message":"denied to Ada Example"}}`)
	}
	tests := []struct {
		name  string
		setup func(*cloud)
		get   func(*tenant.Snapshot) string
		want  string
	}{
		{"no permission for policies",
			func(c *cloud) { c.on("GET /v1.0/identity/conditionalAccess/policies", denied(c)) },
			func(s *tenant.Snapshot) string { return s.ConditionalAccess.Reason },
			"Not available: the app lacks Policy.Read.All"},
		{"no premium licence",
			func(c *cloud) {
				c.on("GET /v1.0/subscribedSkus", c.value(noPlans))
				c.on(routeUsers, c.selected("999", `{"id":"`+userAda+`","assignedLicenses":[]}`))
				c.on("GET /v1.0/identity/conditionalAccess/policies", denied(c))
			},
			func(s *tenant.Snapshot) string { return s.ConditionalAccess.Reason },
			"Conditional Access needs Entra ID P1, which this tenant does not have"},
		{"no Intune licence, which proves nothing",
			func(c *cloud) {
				c.on("GET /v1.0/subscribedSkus", c.value(noPlans))
				c.on(routeUsers, c.selected("999", `{"id":"`+userAda+`","assignedLicenses":[]}`))
				c.on(routeManaged, denied(c))
			},
			func(s *tenant.Snapshot) string { return s.ManagedDevices.Reason },
			"Not available: the app lacks DeviceManagementManagedDevices.Read.All; no licence in this tenant includes Intune, which may be why"},
		{"no Intune licence, and the request is refused",
			func(c *cloud) {
				c.on("GET /v1.0/subscribedSkus", c.value(noPlans))
				c.on(routeUsers, c.selected("999", `{"id":"`+userAda+`","assignedLicenses":[]}`))
				h := c.says(400, `{"error":{"code":"BadRequest","message":"The request is not applicable."}}`)
				c.on(routeManaged, h)
				c.on("GET /v1.0/deviceManagement/managedDevices", h)
			},
			func(s *tenant.Snapshot) string { return s.ManagedDevices.Reason },
			"Not available: Microsoft Graph refused the request (BadRequest); no licence in this tenant includes Intune, which may be why"},
		{"no Intune licence, and the token is refused",
			func(c *cloud) {
				c.on("GET /v1.0/subscribedSkus", c.value(noPlans))
				c.on(routeUsers, c.selected("999", `{"id":"`+userAda+`","assignedLicenses":[]}`))
				c.on(routeManaged, answer401)
			},
			func(s *tenant.Snapshot) string { return s.PolicyStates.Reason },
			"Not available: Microsoft Graph does not accept the app's token; no licence in this tenant includes Intune, which may be why"},
		{"Intune says not applicable",
			func(c *cloud) {
				h := c.says(400, `{"error":{"code":"BadRequest","message":"{\"Message\":\"Request not applicable to target tenant.\"}"}}`)
				c.on(routeManaged, h)
				c.on("GET /v1.0/deviceManagement/managedDevices", h)
			},
			func(s *tenant.Snapshot) string { return s.PolicyStates.Reason },
			"Intune is not licensed in this tenant"},
		{"no permission for devices",
			func(c *cloud) { c.on(routeManaged, denied(c)) },
			func(s *tenant.Snapshot) string { return s.ManagedDevices.Reason },
			"Not available: the app lacks DeviceManagementManagedDevices.Read.All"},
		{"throttled for good",
			func(c *cloud) { c.on(routeDevices, c.says(429, "")) },
			func(s *tenant.Snapshot) string { return s.EntraDevices.Reason },
			"Not available: Microsoft Graph throttled the request; it is read again with the next sync"},
		{"server error",
			func(c *cloud) { c.on("GET /v1.0/domains", c.says(500, "<html>")) },
			func(s *tenant.Snapshot) string { return s.Domains.Reason },
			"Not available: Microsoft Graph was not able to answer; it is read again with the next sync"},
		{"HTML instead of JSON",
			func(c *cloud) { c.on(routeDevices, c.says(200, "<!doctype html><title>Sign in</title>")) },
			func(s *tenant.Snapshot) string { return s.EntraDevices.Reason },
			"Not available: Microsoft Graph gave an answer that cannot be used"},
		{"Exchange not permitted",
			func(c *cloud) { c.on(routeExchange, c.says(403, `{"error":{"code":"Unauthorized"}}`)) },
			func(s *tenant.Snapshot) string { return s.Mailboxes.Reason },
			"Not available: the app lacks Exchange.Manage"},
		{"no token for Exchange",
			func(c *cloud) {
				c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.FormValue("scope"), "outlook") {
						c.says(400, `{"error":"invalid_resource","error_codes":[500011]}`)(w, r)
						return
					}
					c.token(w, r)
				})
			},
			func(s *tenant.Snapshot) string { return s.UnifiedAudit.Reason },
			"Not available: the service is not set up in this tenant"},
		{"no score yet",
			func(c *cloud) { c.on("GET /v1.0/security/secureScores", c.value("")) },
			func(s *tenant.Snapshot) string { return s.SecureScore.Reason },
			"Microsoft has not computed a secure score for this tenant"},
		{"consent not said",
			func(c *cloud) {
				c.on("GET /v1.0/policies/authorizationPolicy", c.says(200, `{"defaultUserRolePermissions":{"permissionGrantPoliciesAssigned":null}}`))
			},
			func(s *tenant.Snapshot) string { return s.AuthorizationPolicy.Reason },
			"Microsoft Graph did not say what users may consent to"},
		{"always 401 in one place",
			func(c *cloud) { c.on("GET /v1.0/domains", answer401); c.on(routeDevices, answer401) },
			func(s *tenant.Snapshot) string { return s.EntraDevices.Reason },
			"Not available: Microsoft Graph does not accept the app's token"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			test.setup(c)
			s := c.read()
			if got := test.get(s); got != test.want {
				t.Errorf("reason %q, want %q", got, test.want)
			}
			if !s.Organization.OK() || !s.Users.OK() || !s.Groups.OK() {
				t.Error("a neighbour was lost")
			}
			if n := c.count(routeToken); n > 3 {
				t.Errorf("%d tokens asked for; a part that is always refused renews over and over", n)
			}
		})
	}
}

func TestReadFailsAsAWhole(t *testing.T) {
	t.Run("no consent", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeToken, c.says(400, `{"error":"invalid_grant","error_description":"AADSTS65001: Jo of tenant X has not consented","error_codes":[65001]}`))
		_, err := c.reader().Read(t.Context(), testRef, nil)
		var refusal *AuthError
		if !errors.As(err, &refusal) || refusal.Code != "AADSTS65001" || refusal.Action == "" || refusal.Tenant != testTenant {
			t.Fatalf("got %v", err)
		}
		if strings.Contains(err.Error(), "Jo") {
			t.Errorf("the error repeats Microsoft's text: %v", err)
		}
	})
	t.Run("Graph is down", func(t *testing.T) {
		c := newCloud(t)
		c.mu.Lock()
		for route := range c.routes {
			if strings.Contains(route, "/v1.0/") || strings.Contains(route, "/beta/") {
				c.routes[route] = c.says(503, "")
			}
		}
		for _, plain := range []string{"deviceManagement/managedDevices", "groups", "directoryRoles"} {
			c.routes["GET /v1.0/"+plain] = c.says(503, "")
		}
		c.routes[routeToken] = c.token
		c.mu.Unlock()
		_, err := c.reader().Read(t.Context(), testRef, nil)
		if !hasStatus(err, 503) || !strings.Contains(err.Error(), testTenant) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("Graph accepts no token", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeToken, c.says(200, `{"access_token":"forged","expires_in":"3600"}`))
		_, err := c.reader().Read(t.Context(), testRef, nil)
		var refusal *AuthError
		if !errors.As(err, &refusal) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("the id is not a GUID", func(t *testing.T) {
		c := newCloud(t)
		if _, err := c.reader().Read(t.Context(), tenant.Ref{ID: "../evil"}, nil); err == nil || c.count(routeToken) != 0 {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		c := newCloud(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.on(routeUsers, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		s, err := c.reader().Read(ctx, testRef, nil)
		if s != nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, %v", s, err)
		}
	})
	t.Run("cancelled while signing in", func(t *testing.T) {
		c := newCloud(t)
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		c.on(routeToken, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-release
			c.token(w, r)
		})
		_, err := c.reader().Read(ctx, testRef, nil)
		close(release)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestScopes(t *testing.T) {
	tests := []struct{ endpoint, want string }{
		{"https://graph.microsoft.com", "https://graph.microsoft.com/.default"},
		{"https://graph.microsoft.us", "https://graph.microsoft.us/.default"},
		{"http://127.0.0.1:7777", "https://graph.microsoft.com/.default"},
		{"https://proxy.example", "https://graph.microsoft.com/.default"},
	}
	for _, test := range tests {
		r := newReader(t, Deps{GraphEndpoint: address(t, test.endpoint)})
		if r.graph.scope != test.want || r.exchange.scope != "https://outlook.office365.com/.default" {
			t.Errorf("%s: scopes %s and %s", test.endpoint, r.graph.scope, r.exchange.scope)
		}
	}
}

func TestPermissionsCoverEveryPart(t *testing.T) {
	all := Permissions()
	if len(all) != int(partVulnerabilities)+1 {
		t.Fatalf("%d permissions", len(all))
	}
	for _, p := range all {
		if p.Part == "" || p.Service == "" || p.Delegated == "" || p.Application == "" {
			t.Errorf("incomplete: %+v", p)
		}
	}
}
