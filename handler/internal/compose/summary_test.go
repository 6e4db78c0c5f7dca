package compose

import (
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestWidgets(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tenant.Snapshot)
		want   string
	}{
		"nobody may consent": {func(s *tenant.Snapshot) {
			s.AuthorizationPolicy.Value.UserConsentPolicies = []string{"ManagePermissionGrantsForOwnedResource.x"}
		}, "Yes User consent to apps restricted"},
		"consent to all": {func(s *tenant.Snapshot) {
			s.AuthorizationPolicy.Value.UserConsentPolicies = []string{"managePermissionGrantsForSelf.microsoft-user-default-legacy"}
		}, "No User consent to apps restricted. Users may consent to applications"},
		"consent by a policy of the tenant besides": {func(s *tenant.Snapshot) {
			s.AuthorizationPolicy.Value.UserConsentPolicies = append(s.AuthorizationPolicy.Value.UserConsentPolicies, "ManagePermissionGrantsForSelf.our-own")
		}, "No User consent to apps restricted"},
		"passwords expire": {func(s *tenant.Snapshot) {
			s.Domains.Value[0].PasswordValidityDays = ptr(int32(90))
		}, "No Password never expires. Passwords expire after 90 days"},
		"no default domain": {func(s *tenant.Snapshot) { s.Domains.Value[0].IsDefault = false }, "Unknown Password never expires. Not available: no domain is marked as the default one"},
		"restricted senders, one twice": {func(s *tenant.Snapshot) {
			s.BlockedSenders.Value = []string{"a@larkfield.example", "A@larkfield.example", "b@larkfield.example"}
		}, "2 Restricted senders. Blocked from sending mail"},
		"no directory sync":    {func(s *tenant.Snapshot) { s.Organization.Value.OnPremisesSyncEnabled = false }, "Off Directory sync. Cloud only"},
		"stale directory sync": {func(s *tenant.Snapshot) { s.Organization.Value.OnPremisesLastSync = ago(33) }, "On Directory sync. Last run within 90 days"},
		"better plans": {func(s *tenant.Snapshot) {
			s.SKUs.Value[1].ServicePlans = []tenant.ServicePlan{{Name: "AAD_PREMIUM_P2"}, {Name: "WINDEFATP"}}
		}, "P2 Entra ID licence Plan 2 Defender for Endpoint"},
		"plans of an expired or disabled product": {func(s *tenant.Snapshot) {
			s.SKUs.Value[0].Enabled, s.SKUs.Value[2].ServicePlans[0].Status, s.SKUs.Value[2].ServicePlans[1].Status = 0, "Disabled", "Disabled"
		}, "Free Entra ID licence None Defender for Endpoint"},
		"no unused licences": {func(s *tenant.Snapshot) {
			for i := range s.SKUs.Value {
				s.SKUs.Value[i].Consumed = s.SKUs.Value[i].Enabled
			}
		}, "None Unused licences"},
		"licences in the grace period only": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "Enabled", Consumed: 1100, Units: tenant.Units{Warning: 1100}}}
		}, "X 1,100 1,100 of them in the grace period 1,100 0 "},
		"unused licences in the grace period": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "Warning", Consumed: 3, Units: tenant.Units{Warning: 10}}}
		}, "7 Unused licences"},
		"suspended licences": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "Suspended", Consumed: 25, Units: tenant.Units{Suspended: 25}}}
		}, "X State: Suspended 0 25 more suspended 25 0 "},
		"locked out licences": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "LockedOut", Consumed: 4, Units: tenant.Units{LockedOut: 5}}}
		}, "X State: Locked out 0 5 more locked out 4 0 "},
		"assigned beyond every unit": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "Enabled", Consumed: 40, Units: tenant.Units{Enabled: 10, Warning: 5, Suspended: 7, LockedOut: 8}}}
		}, "X 15 5 of them in the grace period 7 more suspended 8 more locked out 40 0, 10 too many assigned"},
		"suspended licences are not unused": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Consumed: 12, Units: tenant.Units{Enabled: 10, Suspended: 50}}}
		}, "None Unused licences"},
		"licences whose numbers are not known": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", PartNumber: "X", Status: "Enabled", Consumed: 40, UnitsUnknown: true}, {ID: "b", PartNumber: "Y", ConsumedUnknown: true, Units: tenant.Units{Enabled: 9}}}
		}, "X Not known 40 Not known Y 9 Not known Not known "},
		"unused licences not known": {func(s *tenant.Snapshot) { s.SKUs.Value = []tenant.SKU{{ID: "a", ConsumedUnknown: true}} },
			"Unknown Unused licences. Not counted: 1 whose numbers could not be read"},
		"some unused licences not known": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", UnitsUnknown: true}, {ID: "b", Units: tenant.Units{Enabled: 9}}}
		}, "At least 9 Unused licences. Not counted: 1 whose"},
		"plans of a product whose numbers are not known": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", Status: "Enabled", UnitsUnknown: true, ServicePlans: []tenant.ServicePlan{{Name: "AAD_PREMIUM"}}}}
		}, "P1 Entra ID licence"},
		"plans of a product in the grace period": {func(s *tenant.Snapshot) {
			s.SKUs.Value = []tenant.SKU{{ID: "a", Units: tenant.Units{Warning: 1}, ServicePlans: []tenant.ServicePlan{{Name: "AAD_PREMIUM"}}}}
		}, "P1 Entra ID licence"},
		"no score yet": {func(s *tenant.Snapshot) { s.SecureScore.Value = tenant.SecureScore{} }, "Microsoft has not computed a score yet."},
		"many systems": {func(s *tenant.Snapshot) {
			for _, os := range strings.Fields("a b c d e f g h") {
				s.ManagedDevices.Value = append(s.ManagedDevices.Value, tenant.ManagedDevice{ID: os, OperatingSystem: os})
			}
		}, "Windows: 2 a: 1 b: 1 c: 1 d: 1 Other: 5"},
		"administrators of a group": {func(s *tenant.Snapshot) {
			s.Roles.Value[2].Members = []tenant.Member{{ID: s.Groups.Value[3].ID, Kind: tenant.MemberGroup}}
		}, "Mira Sandström (Exchange Administrator, Helpdesk Administrator)"},
		"administrators without users": {func(s *tenant.Snapshot) { s.Users = tenant.Absent[[]tenant.User]("throttled") }, "3 administrators Not available: throttled"},
	} {
		t.Run(name, func(t *testing.T) {
			in := believable()
			c.change(in.Snapshot)
			f, _ := Sections(in)
			if got := plain(t, f.TenantSummary); !strings.Contains(got, c.want) {
				t.Errorf("lacks %q:\n%s", c.want, got)
			}
		})
	}
}

func TestGroupType(t *testing.T) {
	for want, g := range map[string]tenant.Group{
		"Security":               {SecurityEnabled: true},
		"Security, dynamic":      {SecurityEnabled: true, GroupTypes: []string{"DynamicMembership"}},
		"Microsoft 365":          {MailEnabled: true, GroupTypes: []string{"Unified"}},
		"Microsoft 365, dynamic": {MailEnabled: true, SecurityEnabled: true, GroupTypes: []string{"DynamicMembership", "Unified"}},
		"Mail-enabled security":  {MailEnabled: true, SecurityEnabled: true},
		"Distribution":           {MailEnabled: true},
	} {
		if got := groupType(&g); got != want {
			t.Errorf("%+v is %q, not %q", g, got, want)
		}
	}
}

func TestStateIsShownInWords(t *testing.T) {
	for state, want := range map[string][2]string{
		tenant.StateCompliant:     {"Compliant", "success"},
		tenant.StateNoncompliant:  {"Non-Compliant", "danger"},
		tenant.StateConflict:      {"Non-Compliant: policies conflict", "danger"},
		tenant.StateError:         {"Non-Compliant: evaluation failed", "danger"},
		tenant.StateInGracePeriod: {"Non-Compliant: in grace period until 2026-11-23", "warning"},
		tenant.StateConfigManager: {"Left to Configuration Manager", "unknown"},
		tenant.StateUnknown:       {"Not evaluated", "unknown"},
		"notApplicable":           {"Not applicable", "unknown"},
		"notAssigned":             {"Not assigned", "unknown"},
		"remediated":              {"Remediated", "success"},
		"somethingNew":            {"Something new", "unknown"},
	} {
		if got := [2]string{compliance(state, today).Text, string(rowState(state))}; got != want {
			t.Errorf("%s is shown as %q, not %q", state, got, want)
		}
	}
}

func TestDeviceKeysWithoutEntraObject(t *testing.T) {
	in := believable()
	in.CIPPHost = ""
	d := NewDevices(in)
	f := d.Fields(match.Pair{Intune: &tenant.ManagedDevice{ID: "x", OperatingSystem: "Windows"}, Ninja: &ninjaone.Device{ID: 1}})
	want := []string{
		"https://intune.microsoft.com/larkfield.example/#view/Microsoft_Intune_Devices/DeviceSettingsMenuBlade/~/overview/mdmDeviceId/x",
		"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_Devices/DevicesMenuBlade/~/LocalAdminPassword",
		"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_Devices/DevicesMenuBlade/~/BitlockerKeys",
	}
	if got := hrefs(t, f.DeviceLinks); !slices.Equal(got, want) {
		t.Errorf("links %q, not %q", got, want)
	}
	if f.DeviceCompliance != "" {
		t.Errorf("a device without state is %q", f.DeviceCompliance)
	}
}

// TestVulnerabilities: the cards follow what the last file said, and a day alone
// changes the tenant's card only.
func TestVulnerabilities(t *testing.T) {
	summaries := func(e *exposure.Tenant) (organization, first, second string) {
		in := believable()
		in.Exposure = e
		all := composeAll(t, in)
		return plain(t, all["TenantSummary"]), plain(t, all["DeviceSummary-1"]), plain(t, all["DeviceSummary-2"])
	}
	organization, first, second := summaries(exposed())
	for text, wants := range map[string][]string{
		organization: {"51 open CVEs by severity", "Critical: 3 High: 12 Medium: 31 Low: 4 Unrated: 1", "As uploaded to NinjaOne on 2026-11-20", "NPF4X9K2M 2 9 14 0 FRONT-DESK 1 0 0 0 LARK-D-3 0 4 0 1 LARK-D-2"},
		first:        {"2 critical, 9 high", "The first 10 of 11 CVEs The worst first; 1 not shown.", "CVE-2026-90002 Critical google chrome 129.0.6668.58 131.0.6778.139", "No fix is known"},
		second:       {"Vulnerabilities Open No critical or high CVEs."},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("a summary lacks %q:\n%s", want, text)
			}
		}
	}
	if strings.Contains(organization, "LARK-D-0") {
		t.Error("more than five devices are listed")
	}
	later := exposed()
	later.Day = later.Day.AddDate(0, 0, 1)
	later.Devices[0].Open[exposure.Medium]++
	if o, f, s := summaries(later); o == organization || f != first || s != second {
		t.Error("a file of the next day does not change the tenant's card alone")
	}
	clean := &exposure.Tenant{Day: ago(3)}
	if o, f, _ := summaries(clean); !strings.Contains(o, "No open CVEs.") || strings.Contains(f, "CVE") {
		t.Errorf("a tenant without CVEs is shown as\n%s\n%s", o, f)
	}
	if o, f, _ := summaries(nil); strings.Contains(o, "Vulnerabilities") || strings.Contains(f, "Vulnerabilities") {
		t.Error("a card is shown without a file")
	}
}
