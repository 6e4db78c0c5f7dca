package compose

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

var update = flag.Bool("update", false, "write the golden files anew")

// composeAll returns every value that an input yields, by field name.
func composeAll(t testing.TB, in Input) map[string]string {
	t.Helper()
	org, _ := Sections(in)
	all := map[string]string{"TenantLinks": org.TenantLinks, "TenantSummary": org.TenantSummary, "UsersSummary": org.UsersSummary}
	devices := NewDevices(in)
	for _, d := range in.Snapshot.ManagedDevices.Value {
		f := devices.Fields(pairOf(in, d.ID))
		n := strings.TrimLeft(d.ID[len(d.ID)-4:], "0")
		all["DeviceLinks-"+n], all["DeviceSummary-"+n] = f.DeviceLinks, f.DeviceSummary
		all["DeviceCompliance-"+n] = f.DeviceCompliance
	}
	for _, d := range composeDocuments(t, in) {
		n := strings.TrimLeft(d.ID[max(0, len(d.ID)-4):], "0")
		for name, value := range d.Fields {
			if _, wysiwyg := documentPages[name]; wysiwyg {
				all[name+"-"+n] = value.String()
			}
		}
	}
	return all
}

// preview wraps a value in a page for the browser, one element a line.
func preview(value string) string {
	return "<!doctype html>\n<meta charset=\"utf-8\">\n<link rel=\"stylesheet\" href=\"../preview.css\">\n" +
		strings.ReplaceAll(value, "><", ">\n<") + "\n"
}

func TestGolden(t *testing.T) {
	for name, in := range map[string]Input{"believable": believable(), "awkward": awkward(), "unreadable": unreadable(), "empty": empty()} {
		for field, value := range composeAll(t, in) {
			if strings.HasPrefix(field, "DeviceCompliance") {
				continue
			}
			t.Run(name+"/"+field, func(t *testing.T) {
				checkMarkup(t, value)
				file := filepath.Join("testdata", name, field+".html")
				got := preview(value)
				if *update {
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
					t.Errorf("%s differs (run the test with -update when this is meant):\n%s", file, diff)
				}
			})
		}
	}
}

func TestSameTenantSameBytes(t *testing.T) {
	for name, build := range map[string]func() Input{"believable": believable, "awkward": awkward} {
		want := composeAll(t, build())
		for seed := range uint64(20) {
			if diff := cmp.Diff(want, composeAll(t, shuffle(build(), seed))); diff != "" {
				t.Fatalf("%s: the order of the input shows (seed %d):\n%s", name, seed, diff)
			}
		}
	}

	want := composeAll(t, believable())
	for name, change := range map[string]func(*Input){
		"a few hours later": func(in *Input) {
			in.Today = in.Today.Add(9 * time.Hour)
			in.Snapshot.ReadAt = in.Today
		},
		"every device checked in and synced again": func(in *Input) {
			for i := range in.Snapshot.ManagedDevices.Value {
				d := &in.Snapshot.ManagedDevices.Value[i]
				d.LastSync = d.LastSync.Add(7 * time.Hour)
				for j := range d.UsersLogged {
					d.UsersLogged[j].Last = d.UsersLogged[j].Last.Add(3 * time.Hour)
				}
				d.FreeStorage -= 20 << 20
			}
			in.Snapshot.Organization.Value.OnPremisesLastSync = in.Today.Add(30 * time.Minute)
		},
		"usage moved by bytes": func(in *Input) {
			for i := range in.Snapshot.MailboxUsage.Value {
				in.Snapshot.MailboxUsage.Value[i].Used += 4096
				in.Snapshot.MailboxUsage.Value[i].Items += 3
				in.Snapshot.MailboxUsage.Value[i].RefreshDate = ago(1)
			}
			for i := range in.Snapshot.OneDriveUsage.Value {
				in.Snapshot.OneDriveUsage.Value[i].Used += 5 << 20
			}
		},
		"the next day, everyone checked in": func(in *Input) {
			in.Today = in.Today.AddDate(0, 0, 1)
			for i := range in.Snapshot.ManagedDevices.Value {
				d := &in.Snapshot.ManagedDevices.Value[i]
				d.LastSync = d.LastSync.AddDate(0, 0, 1)
				for j := range d.UsersLogged {
					d.UsersLogged[j].Last = d.UsersLogged[j].Last.AddDate(0, 0, 1)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := believable()
			change(&in)
			if diff := cmp.Diff(want, composeAll(t, withMatches(in))); diff != "" {
				t.Errorf("the values changed:\n%s", diff)
			}
		})
	}
}

func TestContent(t *testing.T) {
	all := composeAll(t, believable())
	for field, want := range map[string][]string{
		"TenantSummary": {
			"23 Unused licences", "On Unified audit log", "Yes Password never expires", "Limited User consent to apps restricted",
			"None Restricted senders", "6 Users", "3 Devices", "4 Groups", "3 Roles in use", "P1 Entra ID licence", "Business Defender for Endpoint",
			"On Directory sync. Last run within 7 days",
			"Larkfield Surveyors", "2019-04-02", "Tobias Okafor (Global Administrator, Exchange Administrator) Mira Sandström (Exchange Administrator)", "1 application or other account",
			"Microsoft 365 Business Premium (SPB) 1 2 0, 1 too many assigned",
			"Compliant: 2 Non-Compliant: 1 Not evaluated: 0", "Windows: 2 iOS: 1", "Within 30 days: 3", "In NinjaOne too: 2 of 3",
			"59%: 612.4 of 1043 points", "Require multifactor authentication for administrators +10 points, +1% Identity", "no_profile +3 points",
			"Enabled: 5 Blocked: 1", "Licensed: 3 Unlicensed: 2 Guest: 1",
			"Audit log Remediate, Report Baseline Disable legacy authentication Alert Baseline",
		},
		"UsersSummary": {
			"Ann-Kathrin Vogel ak.vogel@larkfield.example Microsoft 365 Business Premium (SPB) None reported 3 GB of 5 TB, 1% AK's iPhone Compliant; not in NinjaOne; iOS 26.1; last logon not known",
			"17 GB of 100 GB, 17%", "850 GB of 1 TB, 83%, filling up", "48 GB of 50 GB, 96%, full or nearly full", "less than 1 GB, quota not known",
			"LARK-L-014 Compliant; Windows 10.0.26100.4349; last logon within 7 days", "Former Colleague Sign-in blocked", "Guest",
			"LARK-L-014 Compliant; Windows 10.0.26100.4349; last logon within 30 days",
		},
		"DeviceSummary-1": {
			"Name LARK-L-014", "Primary user Mira Sandström mira@larkfield.example", "Ownership Company", "Last check-in within 7 days", "Compliance Compliant",
			"Management Intune (MDM), managed", "Serial number PF4X9K2M", "Windows 10.0.26100.4349", "Chassis Laptop", "476 GB, about 60% used", "Memory 16 GB",
			"Type Windows, Entra join", "Join type Entra joined", "Autopilot Yes", "Device Guard Meets hardware requirements", "Credential Guard Running", "Encryption Encrypted",
			"Older records LARK-L-014 (enrolled 2024-12-23, last check-in more than 90 days ago)", "Matched by Serial number",
			"All endpoints Security Through Office laptops", "Everything Security Through All endpoints", "Office laptops Security, dynamic Direct",
		},
		"DeviceSummary-2": {
			"Non-Compliant: in grace period until 2026-11-29", "Windows baseline (Windows) Tobias Okafor Non-Compliant",
			"Windows10CompliancePolicy.OsMinimumVersion (Non-Compliant; is 10.0.22631.5039; The version is older than the policy asks for)",
			"within 30 days 2026-11-29", "Join type Entra hybrid joined", "about 95% used, nearly full", "Last check-in within 30 days",
		},
		"DeviceSummary-3": {"Not available: Entra has no device with the id that Intune reports", "Join type Not known"},
		"DeviceSummary-4": {"The device is not registered in Entra.", "Intune has not judged this device: Not evaluated", "Storage Not known"},
	} {
		got := plain(t, all[field])
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q in:\n%s", field, w, got)
			}
		}
	}
	for field, unwanted := range map[string]string{"TenantSummary": "Already done", "UsersSummary": "10.0.22631.2861", "DeviceSummary-1": "9999"} {
		if strings.Contains(plain(t, all[field]), unwanted) {
			t.Errorf("%s holds %q", field, unwanted)
		}
	}
	if got := plain(t, all["TenantSummary"]); strings.Contains(got, "Smallest gain") {
		t.Error("more than five actions are shown")
	}
	for field, want := range map[string]string{"DeviceCompliance-1": "Compliant", "DeviceCompliance-2": "Non-Compliant", "DeviceCompliance-4": ""} {
		if all[field] != want {
			t.Errorf("%s is %q, not %q", field, all[field], want)
		}
	}
}

func TestLinks(t *testing.T) {
	all := composeAll(t, believable())
	tid := id(kindTenant, 1)
	for field, want := range map[string][]string{
		"TenantLinks": {
			"https://admin.cloud.microsoft?delegatedOrg=larkfield.example",
			"https://admin.cloud.microsoft/exchange?delegatedOrg=larkfield.example",
			"https://entra.microsoft.com/larkfield.example",
			"https://intune.microsoft.com/larkfield.example/",
			"https://larkfield-admin.sharepoint.com",
			"https://admin.teams.microsoft.com?delegatedOrg=larkfield.example",
			"https://security.microsoft.com/?tid=" + tid,
			"https://purview.microsoft.com/?tid=" + tid,
			"https://portal.azure.com/larkfield.example",
			"https://admin.powerplatform.microsoft.com/account/login/" + tid,
			"https://app.powerbi.com/admin-portal?ctid=" + tid,
			"https://cipp.msp.example/?tenantFilter=larkfield.example",
			"https://cipp.msp.example/identity/administration/users?tenantFilter=larkfield.example",
			"https://cipp.msp.example/identity/administration/groups?tenantFilter=larkfield.example",
			"https://cipp.msp.example/endpoint/MEM/devices?tenantFilter=larkfield.example",
			"https://cipp.msp.example/identity/administration/users/add?tenantFilter=larkfield.example",
			"https://cipp.msp.example/identity/administration/groups/add?tenantFilter=larkfield.example",
		},
		"TenantSummary": {
			"https://security.microsoft.com/example?tid=" + id(kindTenant, 1) + "#frag/ment",
			"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_IAM/RolesManagementMenuBlade/~/AllRoles",
			"https://admin.cloud.microsoft/?delegatedOrg=larkfield.example#/licenses",
		},
		"UsersSummary": {
			"https://eu.ninjarmm.com/#/deviceDashboard/41/overview",
			"https://cipp.msp.example/identity/administration/users/user?userId=" + id(kindUser, 1) + "&tenantFilter=larkfield.example",
			"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/overview/userId/" + id(kindUser, 1),
		},
		"DeviceLinks-1": {
			"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_Devices/DeviceDetailsMenuBlade/~/Properties/objectId/" + id(kindObject, 1),
			"https://intune.microsoft.com/larkfield.example/#view/Microsoft_Intune_Devices/DeviceSettingsMenuBlade/~/overview/mdmDeviceId/" + id(kindDevice, 1),
			"https://cipp.msp.example/endpoint/MEM/devices/device?deviceId=" + id(kindDevice, 1) + "&tenantFilter=larkfield.example",
			"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_Devices/DeviceDetailsMenuBlade/~/LocalAdminPassword/objectId/" + id(kindObject, 1),
			"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_Devices/DeviceDetailsMenuBlade/~/BitlockerKeys/objectId/" + id(kindObject, 1),
		},
	} {
		got := hrefs(t, all[field])
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s lacks the link %s; it has\n%s", field, w, strings.Join(got, "\n"))
			}
		}
	}
	if got := all["DeviceLinks-3"]; strings.Contains(got, "Bitlocker") || strings.Contains(got, "AAD_Devices") {
		t.Error("a phone that Entra does not know has links to Entra")
	}
	if got := hrefs(t, composeAll(t, awkward())["TenantLinks"]); slices.ContainsFunc(got, func(s string) bool {
		return strings.Contains(s, "cipp") || strings.Contains(s, "sharepoint")
	}) {
		t.Error("links are built on hosts that are none")
	}
}

func TestNothingReadIsNeverZero(t *testing.T) {
	all := composeAll(t, unreadable())
	got := plain(t, all["TenantSummary"])
	if n := strings.Count(got, "Unknown"); n != 13 {
		t.Errorf("%d of 13 widgets say Unknown:\n%s", n, got)
	}
	for _, absent := range []string{" 0 ", "None", "0%"} {
		if strings.Contains(got, absent) {
			t.Errorf("TenantSummary says %q of a tenant that could not be read:\n%s", absent, got)
		}
	}
	if got := plain(t, all["UsersSummary"]); !strings.Contains(got, "Not available: the app lacks a permission") {
		t.Errorf("UsersSummary does not say why it is empty: %s", got)
	}
	if got := plain(t, composeAll(t, awkward())["UsersSummary"]); !strings.Contains(got, "Not available: Usage reports hide user names in this tenant") {
		t.Error("UsersSummary does not say that the reports are concealed")
	}
}

func TestDevicePartsMissing(t *testing.T) {
	in := believable()
	in.Snapshot.PolicyStates = tenant.Absent[map[string][]tenant.PolicyState]("Intune is throttled")
	in.Snapshot.Groups = tenant.Absent[[]tenant.Group]("the app lacks Group.Read.All")
	if got := plain(t, composeAll(t, in)["DeviceSummary-2"]); !strings.Contains(got, "Not available: Intune is throttled") || !strings.Contains(got, "Not available: the app lacks Group.Read.All") {
		t.Errorf("missing parts are not explained: %s", got)
	}
}

func TestUsersAreCutAtAHundred(t *testing.T) {
	in := believable()
	in.Snapshot.Users.Value = nil
	for n := range 1234 {
		u := tenant.User{ID: id(kindUser, n), DisplayName: fmt.Sprintf("User %04d", n), UserPrincipalName: fmt.Sprintf("u%d@larkfield.example", n), Enabled: true}
		if n%2 == 0 {
			u.Licenses = []tenant.License{{SKUID: id(kindSKU, 1)}}
		}
		in.Snapshot.Users.Value = append(in.Snapshot.Users.Value, u)
	}
	value := composeAll(t, in)["UsersSummary"]
	checkMarkup(t, value)
	got := plain(t, value)
	if !strings.Contains(got, "The first 100 of 1,234 users") || !strings.Contains(got, "1,134 not shown") || !strings.Contains(got, "User 0099") || strings.Contains(got, "User 0100") {
		t.Errorf("not the first hundred:\n%s", got)
	}
	if !slices.Contains(hrefs(t, value), "https://cipp.msp.example/identity/administration/users?tenantFilter=larkfield.example") {
		t.Error("there is no link to the full list")
	}
	in.LicensedOnly = true
	if got := plain(t, composeAll(t, in)["UsersSummary"]); !strings.Contains(got, "The first 100 of 617 licensed users") || strings.Contains(got, "User 0001") {
		t.Errorf("not only licensed users:\n%s", got)
	}
}

// pathological is a tenant whose values are far too long.
func pathological() Input {
	in := believable()
	long := strings.Repeat(`"Ω<`, 167)
	s := in.Snapshot
	s.Users.Value = nil
	for n := range 100 {
		u := tenant.User{ID: id(kindUser, n+1), DisplayName: fmt.Sprint(n, long), UserPrincipalName: fmt.Sprint(n, long), Enabled: true}
		for k := range 300 {
			u.Licenses = append(u.Licenses, tenant.License{SKUID: id(kindSKU, k)})
		}
		s.Users.Value = append(s.Users.Value, u)
	}
	s.SKUs.Value = nil
	for k := range 300 {
		s.SKUs.Value = append(s.SKUs.Value, tenant.SKU{ID: id(kindSKU, k), PartNumber: fmt.Sprint("P", k, long), Consumed: k, Units: tenant.Units{Enabled: 10}})
		in.SKUNames[id(kindSKU, k)] = fmt.Sprint("N", k, long)
	}
	s.Groups.Value = nil
	for n := range 2000 {
		s.Groups.Value = append(s.Groups.Value, tenant.Group{ID: id(kindGroup, n), DisplayName: fmt.Sprintf("Group %04d", n), SecurityEnabled: true,
			Members: []tenant.Member{{ID: id(kindObject, 1), Kind: tenant.MemberDevice}}})
	}
	for n := range 900 {
		s.Domains.Value = append(s.Domains.Value, tenant.Domain{Name: fmt.Sprintf("d%03d%s", n, long), IsVerified: true})
	}
	for i := range s.Roles.Value {
		for n := range 100 {
			s.Roles.Value[i].Members = append(s.Roles.Value[i].Members, tenant.Member{ID: id(kindUser, n+1), Kind: tenant.MemberUser})
		}
	}
	return in
}

func TestTooLongIsCutAtRows(t *testing.T) {
	in := pathological()
	for field, value := range composeAll(t, in) {
		if strings.HasPrefix(field, "DeviceCompliance") {
			continue
		}
		checkMarkup(t, value)
		if n := ninjaone.JSONLength(value); n == 0 || n > ninjaone.MaxHTML {
			t.Errorf("%s has %d characters", field, n)
		}
	}
	pages := newIndex(in).organization()
	pages["DeviceSummary"] = NewDevices(in).deviceSummary(pairOf(in, id(kindDevice, 1)))
	for _, limit := range []int{ninjaone.MaxHTML, 60_000} {
		for _, field := range []string{"TenantSummary", "UsersSummary", "DeviceSummary"} {
			value, cut := pages[field].fit(limit)
			checkMarkup(t, value)
			if got := plain(t, value); cut != FewerRows || !strings.Contains(got, "not shown") {
				t.Errorf("%s is cut %s, and does not say that rows are missing", field, cut)
			}
			if n := ninjaone.JSONLength(value); n > limit || n < limit*3/5 {
				t.Errorf("%s wastes its room: %d characters, limit %d", field, n, limit)
			}
		}
	}
}

// TestNoRoom lets the room for a tenant's pages become less and less: they give
// way step by step, never fail, and keep their markup whole.
func TestNoRoom(t *testing.T) {
	for name, in := range map[string]Input{"believable": believable(), "pathological": pathological(), "unreadable": unreadable()} {
		for field, p := range newIndex(in).organization() {
			last, seen := Whole, map[Cut]bool{}
			for limit := ninjaone.MaxHTML; ; limit = limit * 9 / 10 {
				s, cut := p.fit(max(limit, 1))
				checkMarkup(t, s)
				if n := ninjaone.JSONLength(s); n > limit && s != "" {
					t.Errorf("%s, %s has %d characters, limit %d", name, field, n, limit)
				}
				if cut < last {
					t.Errorf("%s, %s is %s with less room, and was %s", name, field, cut, last)
				}
				if last = cut; cut == OneLine && !strings.Contains(plain(t, s), p.Name.Text) {
					t.Errorf("%s, %s does not name the tenant: %s", name, field, s)
				}
				if seen[cut] = true; limit == 0 {
					break
				}
			}
			if !seen[NameOnly] || !seen[NotShown] || field == "TenantSummary" && !(seen[FewerCards] && seen[OneLine]) {
				t.Errorf("%s, %s: only the steps %v", name, field, seen)
			}
		}
	}
}

// large is a tenant of 1,000 users, 1,000 devices and 200 groups.
func large() Input {
	in := believable()
	s := in.Snapshot
	s.Users.Value, s.Groups.Value, s.EntraDevices.Value = nil, nil, nil
	template := s.ManagedDevices.Value[0]
	s.ManagedDevices.Value = nil
	for n := range 200 {
		s.Groups.Value = append(s.Groups.Value, tenant.Group{ID: id(kindGroup, n), DisplayName: fmt.Sprintf("Group %03d", n), SecurityEnabled: true})
	}
	var ninja []ninjaone.Device
	for n := range 1000 {
		u := tenant.User{ID: id(kindUser, n), DisplayName: fmt.Sprintf("User %04d", n), UserPrincipalName: fmt.Sprintf("u%d@larkfield.example", n), Enabled: true,
			Licenses: []tenant.License{{SKUID: id(kindSKU, 1)}}}
		d := template
		d.ID, d.AzureADDeviceID, d.DeviceName, d.SerialNumber = id(kindDevice, n), id(kindEntra, n), fmt.Sprintf("PC-%04d", n), fmt.Sprintf("SERIAL%05d", n)
		d.UserID, d.UserPrincipalName, d.UserDisplayName, d.UsersLogged = u.ID, u.UserPrincipalName, u.DisplayName, nil
		s.Users.Value = append(s.Users.Value, u)
		s.ManagedDevices.Value = append(s.ManagedDevices.Value, d)
		s.EntraDevices.Value = append(s.EntraDevices.Value, tenant.EntraDevice{ID: id(kindObject, n), DeviceID: d.AzureADDeviceID})
		s.MailboxUsage.Value = append(s.MailboxUsage.Value, tenant.MailboxUsage{UserPrincipalName: u.UserPrincipalName, Used: gb, SendReceiveQuota: 50 * gb})
		for k := range 5 {
			g := &s.Groups.Value[(n*7+k*31)%200]
			g.Members = append(g.Members, tenant.Member{ID: id(kindObject, n), Kind: tenant.MemberDevice})
		}
		ninja = append(ninja, ninjaone.Device{ID: n + 1, NodeClass: "WINDOWS_WORKSTATION", SerialNumber: d.SerialNumber, SystemName: d.DeviceName})
	}
	in.Matches = match.Devices(s.ManagedDevices.Value, ninja)
	return in
}

func BenchmarkLargeTenant(b *testing.B) {
	in := large()
	for b.Loop() {
		Sections(in)
		d := NewDevices(in)
		for _, p := range in.Matches.Pairs {
			d.Fields(p)
		}
	}
}
