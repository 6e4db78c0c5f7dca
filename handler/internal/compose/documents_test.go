package compose

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestConditionalAccessSemantics(t *testing.T) {
	const (
		me, other     = "u1", "u2"
		sales, nested = "g1", "g2"
		admin         = "r1"
	)
	member := subject{id: me, groups: map[string]string{sales: "Group Sales", nested: "Group Outer"}, roles: map[string]string{admin: "Role Admin"}}
	alone := subject{id: me, groups: map[string]string{}, roles: map[string]string{}}
	blind := subject{id: me}
	guest := subject{id: me, guest: b2bCollaborationGuest, groups: map[string]string{}, roles: map[string]string{}}
	internal := subject{id: me, guest: internalGuest, groups: map[string]string{}, roles: map[string]string{}}
	type ca = tenant.ConditionalAccessPolicy
	yes := func(reasons ...string) []string { return reasons }
	tests := map[string]struct {
		policy  ca
		subject subject
		want    verdict
		because []string
	}{
		"all users":                              {ca{IncludeAll: true}, alone, applies, yes("All users")},
		"all users includes guests":              {ca{IncludeAll: true}, guest, applies, yes("All users")},
		"nobody named":                           {ca{}, member, appliesNot, nil},
		"named":                                  {ca{IncludeUsers: []string{other, "U1"}}, alone, applies, yes("This user")},
		"another named":                          {ca{IncludeUsers: []string{other}}, alone, appliesNot, nil},
		"by group":                               {ca{IncludeGroups: []string{sales}}, member, applies, yes("Group Sales")},
		"by nested group":                        {ca{IncludeGroups: []string{nested, sales}}, member, applies, yes("Group Outer", "Group Sales")},
		"another's group":                        {ca{IncludeGroups: []string{sales}}, alone, appliesNot, nil},
		"by role template":                       {ca{IncludeRoles: []string{admin}}, member, applies, yes("Role Admin")},
		"another's role":                         {ca{IncludeRoles: []string{admin}}, alone, appliesNot, nil},
		"excluded by name":                       {ca{IncludeAll: true, ExcludeUsers: []string{me}}, alone, appliesNot, nil},
		"excluded by group":                      {ca{IncludeUsers: []string{me}, ExcludeGroups: []string{nested}}, member, appliesNot, nil},
		"excluded by role":                       {ca{IncludeGroups: []string{sales}, ExcludeRoles: []string{admin}}, member, appliesNot, nil},
		"another is excluded":                    {ca{IncludeAll: true, ExcludeUsers: []string{other}}, alone, applies, yes("All users")},
		"included twice, excluded once":          {ca{IncludeAll: true, IncludeGroups: []string{sales}, ExcludeUsers: []string{me}}, member, appliesNot, nil},
		"guests, older form":                     {ca{IncludeGuests: true}, guest, applies, yes("Guests and external users")},
		"guests, older form, member":             {ca{IncludeGuests: true}, alone, appliesNot, nil},
		"guests, newer form":                     {ca{IncludeGuestTypes: []string{"b2bCollaborationGuest", "serviceProvider"}}, guest, applies, yes("Guests and external users")},
		"guests, newer form, other type":         {ca{IncludeGuestTypes: []string{"internalGuest"}}, guest, appliesNot, nil},
		"internal guest":                         {ca{IncludeGuestTypes: []string{"internalGuest"}}, internal, applies, yes("Guests and external users")},
		"guests excluded, older form":            {ca{IncludeAll: true, ExcludeGuests: true}, guest, appliesNot, nil},
		"guests excluded, newer form":            {ca{IncludeAll: true, ExcludeGuestTypes: []string{"b2bCollaborationGuest"}}, guest, appliesNot, nil},
		"other guests excluded":                  {ca{IncludeAll: true, ExcludeGuestTypes: []string{"b2bDirectConnectUser"}}, guest, applies, yes("All users")},
		"guests excluded, member":                {ca{IncludeAll: true, ExcludeGuests: true, ExcludeGuestTypes: []string{"internalGuest"}}, alone, applies, yes("All users")},
		"guests of some organizations":           {ca{IncludeGuestTypes: []string{"b2bCollaborationGuest"}, IncludeGuestsOfSome: true}, guest, undecided, yes("it names guests of certain organizations")},
		"guests of some organizations excluded":  {ca{IncludeAll: true, ExcludeGuestTypes: []string{"b2bCollaborationGuest"}, ExcludeGuestsOfSome: true}, guest, undecided, yes("it names guests of certain organizations")},
		"groups not read":                        {ca{IncludeGroups: []string{sales}}, blind, undecided, yes("groups could not be read")},
		"roles not read":                         {ca{IncludeRoles: []string{admin}}, blind, undecided, yes("roles could not be read")},
		"groups not read, excluded by name":      {ca{IncludeGroups: []string{sales}, ExcludeUsers: []string{me}}, blind, appliesNot, nil},
		"excluded groups not read":               {ca{IncludeAll: true, ExcludeGroups: []string{sales}}, blind, undecided, yes("groups could not be read")},
		"groups not read but not asked for":      {ca{IncludeAll: true}, blind, applies, yes("All users")},
		"groups not read, included all the same": {ca{IncludeAll: true, IncludeGroups: []string{sales}}, blind, applies, yes("All users")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, because := newPolicy(&tt.policy).judge(tt.subject)
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
			if diff := cmp.Diff(tt.because, because); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGuestType(t *testing.T) {
	for name, tt := range map[string]struct {
		user tenant.User
		want string
	}{
		"member":             {tenant.User{UserType: "Member", UserPrincipalName: "a@larkfield.example"}, ""},
		"no type":            {tenant.User{UserPrincipalName: "a@larkfield.example"}, ""},
		"invited guest":      {tenant.User{UserType: "Guest", UserPrincipalName: "a_x.example#EXT#@larkfield.onmicrosoft.com"}, b2bCollaborationGuest},
		"guest with account": {tenant.User{UserType: "Guest", UserPrincipalName: "a@larkfield.example"}, internalGuest},
		"external member":    {tenant.User{UserType: "Member", UserPrincipalName: "a_x.example#EXT#@larkfield.onmicrosoft.com"}, b2bCollaborationMember},
	} {
		if got := guestType(&tt.user); got != tt.want {
			t.Errorf("%s: %q, not %q", name, got, tt.want)
		}
	}
}

func TestUserDocument(t *testing.T) {
	in := believable()
	d := documentOf(t, in, id(kindUser, 1))
	if want := "Mira Sandström (mira@larkfield.example)"; d.Name != want {
		t.Errorf("the name is %q", d.Name)
	}
	for field, want := range map[string]string{
		FieldUserID: id(kindUser, 1), FieldUserUPN: "mira@larkfield.example", FieldTenantID: id(kindTenant, 1),
	} {
		if d.Fields[field] != ninjaone.Text(want) {
			t.Errorf("%s is %v", field, d.Fields[field])
		}
	}
	for field, want := range map[string][]string{
		FieldUserSummary: {
			"Sign-in Enabled", "Kind Member", "Title Senior surveyor", "Phones +44 7700 900123 +44 1632 960001", "Office Room 12",
			"Aliases m.sandstrom@larkfield.example sandstrom@larkfield.example", "Microsoft 365 E3 (SPE_E3) Visio Plan 2 (VISIO_CLIENT)",
			"Administrator roles Exchange Administrator", "Created 2021-03-09", "Last sign-in within 7 days",
			"17 GB of 100 GB, 17%", "Items Fewer than 1,000", "Warning at 49 GB Sending stops at 99 GB Receiving stops at 100 GB", "Last activity within 7 days",
			"Forwarding None", "Litigation hold On", "Archive mailbox On", "Protocols Outlook on the web, MAPI, Exchange Web Services, ActiveSync",
			"Full access assistant@larkfield.example (from CIPP's cache, read within 7 days) tobias@larkfield.example TOBIAS@larkfield.example",
			"Files About 12,000 Last activity within 30 days Owner Not deleted", "larkfield-my.sharepoint.com",
			"Policy State Applies because of Require MFA On All users Surveyors only from Larkfield Off Group Surveyors",
		},
		FieldUserDevices: {"LARK-L-014 Compliant Windows 10.0.26100.4349 LENOVO ThinkPad T14 Gen 5 PF4X9K2M 2026-01-27 within 7 days within 7 days Intune CIPP"},
		FieldUserGroups:  {"Surveyors surveyors@larkfield.example Microsoft 365 Direct Entra CIPP"},
	} {
		got := plain(t, d.Fields[field].String())
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q in:\n%s", field, w, got)
			}
		}
	}
	links := hrefs(t, d.Fields[FieldUserLinks].String())
	for _, want := range []string{
		"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/overview/userId/" + d.ID,
		"https://entra.microsoft.com/larkfield.example/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/SignIns/userId/" + d.ID,
		"https://admin.teams.microsoft.com/users/" + d.ID + "/account?delegatedOrg=larkfield.example",
		"https://intune.microsoft.com/larkfield.example/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/Devices/userId/" + d.ID,
		"https://cipp.msp.example/identity/administration/users/user?userId=" + d.ID + "&tenantFilter=larkfield.example",
		"https://cipp.msp.example/identity/administration/users/user/edit?userId=" + d.ID + "&tenantFilter=larkfield.example",
		"https://cipp.msp.example/identity/administration/bec/case?userId=" + d.ID + "&tenantFilter=larkfield.example",
	} {
		if !slices.Contains(links, want) {
			t.Errorf("%s lacks %s; it has\n%s", FieldUserLinks, want, strings.Join(links, "\n"))
		}
	}
	for n, want := range map[int][]string{
		2: {"Administrator roles Exchange Administrator Global Administrator", "Forwarding To private@elsewhere.example (a copy is kept)", "Protocols IMAP, POP", "Directory sync Yes"},
		3: {"No policy applies", "Protocols None", "Hidden from address lists Yes", "Forwarding To Mira Sandström (no copy is kept)", "Kind Shared mailbox"},
		4: {"The user has no mailbox.", "No mailbox is reported"},
		5: {"Sign-in Blocked"},
		6: {"Kind Guest", "Block guests On Guests and external users"},
	} {
		got := plain(t, documentOf(t, in, id(kindUser, n)).Fields[FieldUserSummary].String())
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("user %d lacks %q in:\n%s", n, w, got)
			}
		}
	}
}

func TestLicenseDocument(t *testing.T) {
	in := believable()
	d := documentOf(t, in, id(kindSKU, 1))
	if d.Name != "Microsoft 365 E3" || d.Fields[FieldLicenseID] != ninjaone.Text(id(kindSKU, 1)) || d.Fields[FieldTenantID] != ninjaone.Text(id(kindTenant, 1)) {
		t.Errorf("the document is %q, %v, %v", d.Name, d.Fields[FieldLicenseID], d.Fields[FieldTenantID])
	}
	for field, want := range map[string][]string{
		FieldLicenseSummary: {
			"Name Microsoft 365 E3 Part number SPE_E3 SKU id " + d.ID + " State Enabled Used 3 Total 25 Unused 22",
			"20 2025-10-19 2026-12-23 No Enabled 5 2026-08-15 2027-08-23 No Enabled",
			"EXCHANGE_S_ENTERPRISE User Success MDE_LITE User Success Microsoft Entra ID P1 (AAD_PREMIUM) User Success", "Service plan Applies to Status",
		},
		FieldLicenseUsers: {"Auditor (Quillmark)", "Mira Sandström mira@larkfield.example 2026-05-07 Tobias Okafor tobias@larkfield.example 2026-05-07"},
	} {
		got := plain(t, d.Fields[field].String())
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q in:\n%s", field, w, got)
			}
		}
	}
	if got, want := hrefs(t, d.Fields[FieldLicenseUsers].String()), "https://eu.ninjarmm.com/#/customerDashboard/7/documentation/appsAndServices/3/903"; !slices.Contains(got, want) {
		t.Errorf("the user's document %s is not linked: %v", want, got)
	}
	in.ExcludedSKUs = nil
	if got := plain(t, documentOf(t, in, id(kindSKU, 4)).Fields[FieldLicenseUsers].String()); !strings.Contains(got, "Nobody holds this licence.") {
		t.Errorf("a licence that nobody holds shows %s", got)
	}
}

func TestLicenceNamesAreUnique(t *testing.T) {
	in := believable()
	in.SKUNames[id(kindSKU, 2)] = "Microsoft 365 E3"
	in.SKUNames[id(kindSKU, 3)] = "microsoft 365 e3"
	in.Snapshot.SKUs.Value[2].PartNumber = "SPE_E3"
	names := func() []string {
		var all []string
		for _, d := range composeDocuments(t, in)[len(in.Snapshot.Users.Value):] {
			all = append(all, d.Name)
		}
		slices.Sort(all)
		return all
	}
	want := []string{"Microsoft 365 E3 (" + id(kindSKU, 1) + ")", "Microsoft 365 E3 (VISIO_CLIENT)", "microsoft 365 e3 (" + id(kindSKU, 3) + ")"}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Error(diff)
	}
	in.Shared = true
	for i := range want {
		want[i] += " - larkfield.example"
	}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Error(diff)
	}
}

func TestWhoHasADocument(t *testing.T) {
	in := believable()
	in.Snapshot.Users.Value = append(in.Snapshot.Users.Value, tenant.User{DisplayName: "No id"})
	users := NewUserDocuments(in, tenant.Absent[MailboxAccess]("not read"))
	if n := len(users.IDs()); n != 6 {
		t.Errorf("%d users have a document", n)
	}
	in.LicensedOnly = true
	users = NewUserDocuments(in, tenant.Absent[MailboxAccess]("not read"))
	if got, want := users.IDs(), []string{id(kindUser, 4), id(kindUser, 6), id(kindUser, 1), id(kindUser, 2)}; !slices.Equal(got, want) {
		t.Errorf("licensed users: %v", got)
	}
	if !users.Has(id(kindUser, 3)) || users.Has(id(kindUser, 77)) {
		t.Error("Has does not tell the tenant's users")
	}
	if got := users.Devices(id(kindUser, 2)); !slices.Equal(got, []int{41, 42}) {
		t.Errorf("devices of a user: %v", got)
	}
	if got := users.Licenses(id(kindUser, 1)); !slices.Equal(got, []string{id(kindSKU, 1), id(kindSKU, 2)}) {
		t.Errorf("licences of a user: %v", got)
	}
	if _, err := users.Document(id(kindUser, 77)); err == nil {
		t.Errorf("an unknown user: %v", err)
	}
}

func TestLongTextsFit(t *testing.T) {
	in := believable()
	in.Snapshot.Users.Value[0].UserPrincipalName = strings.Repeat(`"é`, 200) + "@larkfield.example"
	in.Snapshot.Users.Value[0].DisplayName = strings.Repeat("ż", 400)
	d := documentOf(t, in, id(kindUser, 1))
	for name, value := range d.Fields {
		if !documentPages[name] && ninjaone.JSONLength(value.String()) > ninjaone.MaxText {
			t.Errorf("%s has %d characters", name, ninjaone.JSONLength(value.String()))
		}
	}
	if n := len([]rune(d.Name)); n > 2*256 {
		t.Errorf("the name has %d characters", n)
	}
}

func TestDocumentsNotReadIsNeverZero(t *testing.T) {
	in := believable()
	const why = "the app lacks a permission"
	s := in.Snapshot
	s.Groups, s.Roles = tenant.Absent[[]tenant.Group](why), tenant.Absent[[]tenant.DirectoryRole](why)
	s.ManagedDevices = tenant.Absent[[]tenant.ManagedDevice](why)
	s.Mailboxes, s.CASMailboxes = tenant.Absent[[]tenant.Mailbox](why), tenant.Absent[[]tenant.CASMailbox](why)
	s.Subscriptions = tenant.Absent[[]tenant.Subscription](why)
	in = withMatches(in)
	user, licence := documentOf(t, in, id(kindUser, 2)), documentOf(t, in, id(kindSKU, 1))
	for field, value := range map[string]ninjaone.Value{
		FieldUserGroups: user.Fields[FieldUserGroups], FieldUserDevices: user.Fields[FieldUserDevices],
		FieldUserSummary: user.Fields[FieldUserSummary], FieldLicenseSummary: licence.Fields[FieldLicenseSummary],
	} {
		got := plain(t, value.String())
		if !strings.Contains(got, "Not available: "+why) {
			t.Errorf("%s does not say what is missing: %s", field, got)
		}
	}
	if got := plain(t, user.Fields[FieldUserSummary].String()); !strings.Contains(got, "Cannot be told: roles could not be read") {
		t.Errorf("a policy for a role is decided without the roles: %s", got)
	}
}

// TestDetailsNotReadAreNeverZero has every detail be unknown though its part was
// read: what stands in its place says so.
func TestDetailsNotReadAreNeverZero(t *testing.T) {
	in := believable()
	const why = "Microsoft Graph was not able to answer"
	s := in.Snapshot
	s.Unknown = map[tenant.Detail]tenant.Unknown{}
	for _, d := range []tenant.Detail{tenant.DetailSignIns, tenant.DetailEnrolment, tenant.DetailLoggedOn, tenant.DetailHardware,
		tenant.DetailAutopilot, tenant.DetailPolicies, tenant.DetailTitles, tenant.DetailAssigned, tenant.DetailSettings,
		tenant.DetailSomeUsers, tenant.DetailSomeSKUs, tenant.DetailLicenses} {
		s.Unknown[d] = tenant.Unknown{Reason: "Not available: " + why}
	}
	unlicensed := slices.IndexFunc(s.Users.Value, func(u tenant.User) bool { return !u.Licensed() && !u.Guest() })
	for i := range s.Users.Value {
		s.Users.Value[i].LastSignIn = time.Time{}
		s.Users.Value[i].LicensesUnknown = i == 1 || i == unlicensed
		for j := range s.Users.Value[i].Licenses {
			s.Users.Value[i].Licenses[j].Assigned = time.Time{}
		}
	}
	for i := range s.ManagedDevices.Value {
		d := &s.ManagedDevices.Value[i]
		d.JoinType, d.ChassisType, d.Autopilot, d.UsersLogged, d.Hardware = "", "", nil, nil, nil
		d.ComplianceState = tenant.StateNoncompliant
	}
	for i := range s.SecureScore.Value.Actions {
		a := &s.SecureScore.Value.Actions[i]
		a.Title, a.Max = "", 0
	}
	for i := range s.EntraDevices.Value {
		s.EntraDevices.Value[i].Autopilot, s.EntraDevices.Value[i].TrustType = false, ""
	}
	in = withMatches(in)
	user, licence := documentOf(t, in, id(kindUser, 2)), documentOf(t, in, id(kindSKU, 1))
	organization, _ := Sections(in)
	odd := *s
	odd.SKUs.Value = slices.Clone(s.SKUs.Value)
	odd.SKUs.Value[0].ConsumedUnknown, odd.SKUs.Value[0].UnitsUnknown = true, true
	inOdd := in
	inOdd.Snapshot = &odd
	uncounted := documentOf(t, inOdd, id(kindSKU, 1))
	device := func(states ...tenant.PolicyState) string {
		p := in.Matches.Pairs[0]
		s.PolicyStates = tenant.Present(map[string][]tenant.PolicyState{p.Intune.ID: states})
		return NewDevices(in).Fields(p).DeviceSummary
	}
	unread, some := device(), device(tenant.PolicyState{Policy: "Baseline", State: tenant.StateNoncompliant, Unread: true,
		Settings: []tenant.SettingState{{Setting: "Firewall", State: tenant.StateNoncompliant}}})
	s.Unknown[tenant.DetailSettings] = tenant.Unknown{}
	stateless := device(tenant.PolicyState{Policy: "Baseline", State: tenant.StateNoncompliant, Unread: true})
	for name, tt := range map[string]struct{ text, want string }{
		"user":      {user.Fields[FieldUserSummary].String(), "Last sign-in Not available: " + why},
		"others":    {user.Fields[FieldUserSummary].String(), "Others are not known Administrator roles"},
		"none":      {documentOf(t, in, s.Users.Value[unlicensed].ID).Fields[FieldUserSummary].String(), "Licences Not known"},
		"numbers":   {uncounted.Fields[FieldLicenseSummary].String(), "Used Not known Total Not known Unused Not known"},
		"devices":   {user.Fields[FieldUserDevices].String(), "Devices that the user logged on to Not available: " + why},
		"users":     {organization.UsersSummary, "Devices that users logged on to Not available: " + why},
		"score":     {organization.TenantSummary, "Open actions: Not available: " + why},
		"no user":   {organization.UsersSummary, "Some users Not available: " + why},
		"users all": {organization.TenantSummary, "Unlicensed: 1 Guest: 1 Not known: 1 Some users: Not available: " + why + " Licences of some users: Not available: " + why},
		"no holder": {documentOf(t, in, id(kindSKU, 2)).Fields[FieldLicenseUsers].String(), "Licences of some users Not available: " + why},
		"licensed":  {organization.TenantSummary, "At least 4 Licensed users. Not available: " + why},
		"licences":  {organization.TenantSummary, "Some licences: Not available: " + why},
		"assigned":  {licence.Fields[FieldLicenseUsers].String(), "Assignment last changed Not available: " + why},
		"settings":  {some, "Firewall (Non-Compliant) Not available: " + why},
		"stateless": {stateless, "Non-Compliant Not available: Intune did not say which settings fail"},
		"join":      {unread, "Join type Not available: " + why},
		"autopilot": {unread, "Autopilot Not available: " + why},
		"hardware":  {unread, "Device Guard and Credential Guard Not available: " + why},
		"policies":  {unread, "Compliance policies Open Not available: " + why},
	} {
		if got := plain(t, tt.text); !strings.Contains(got, tt.want) {
			t.Errorf("%s lacks %q: %s", name, tt.want, got)
		}
	}
	s.Unknown[tenant.DetailSignIns] = tenant.Unknown{Reason: "the tenant does not have the licence", Expected: true}
	if got := plain(t, documentOf(t, in, id(kindUser, 2)).Fields[FieldUserSummary].String()); strings.Contains(got, "Last sign-in") {
		t.Errorf("what the tenant does not have is shown: %s", got)
	}
}

// TestRolesThroughGroupsNotRead hides the groups, of which one holds a role.
func TestRolesThroughGroupsNotRead(t *testing.T) {
	in := believable()
	roles, users := in.Snapshot.Roles.Value, in.Snapshot.Users
	roles[0].Members = append(roles[0].Members, tenant.Member{ID: id(kindGroup, 1), Kind: tenant.MemberGroup})
	in.Snapshot.ConditionalAccess = tenant.Present([]tenant.ConditionalAccessPolicy{{ID: "p", Name: "For a role", State: "enabled", IncludeRoles: []string{roles[0].TemplateID}}})
	in.Snapshot.Groups = tenant.Absent[[]tenant.Group]("the app lacks a permission")
	organization, _ := Sections(in)
	in.Snapshot.Users, in.Snapshot.Roles.Value[1].Members = tenant.Absent[[]tenant.User]("throttled"), nil
	nobody, _ := Sections(in)
	in.Snapshot.Users = users
	for value, want := range map[string]string{
		organization.TenantSummary: "Administrators Those held through groups: Not available: the app lacks a permission Tobias",
		nobody.TenantSummary:       "Administrators Those held through groups: Not available: the app lacks a permission 1 administrator Not available: throttled",
	} {
		if got := plain(t, value); !strings.Contains(got, want) || strings.Contains(got, "2 applications") {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
	got := plain(t, documentOf(t, in, id(kindUser, 3)).Fields[FieldUserSummary].String())
	for _, want := range []string{"Administrator roles Those held through groups: Not available: the app lacks a permission", "Cannot be told: roles could not be read"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
}

// TestLicenceNamesNotRead leaves the user's licences without the tenant's list
// of them.
func TestLicenceNamesNotRead(t *testing.T) {
	in := believable()
	in.SKUNames = nil
	in.Snapshot.SKUs = tenant.Absent[[]tenant.SKU]("the app lacks a permission")
	if got, want := plain(t, documentOf(t, in, id(kindUser, 1)).Fields[FieldUserSummary].String()), "Licences Not available: the app lacks a permission "+id(kindSKU, 1); !strings.Contains(got, want) {
		t.Errorf("lacks %q: %s", want, got)
	}
	if got := plain(t, documentOf(t, in, id(kindUser, 3)).Fields[FieldUserSummary].String()); !strings.Contains(got, "Licences None") {
		t.Errorf("a user without licences: %s", got)
	}
}

// TestUsageNotKnown has a report leave cells empty.
func TestUsageNotKnown(t *testing.T) {
	in := believable()
	for i := range in.Snapshot.MailboxUsage.Value {
		m := &in.Snapshot.MailboxUsage.Value[i]
		m.Items, m.Used, m.WarningQuota, m.SendQuota, m.SendReceiveQuota = -1, -1, -1, -1, -1
	}
	for i := range in.Snapshot.OneDriveUsage.Value {
		o := &in.Snapshot.OneDriveUsage.Value[i]
		o.Files, o.Used, o.Allocated = -1, -1, -1
	}
	got := plain(t, documentOf(t, in, id(kindUser, 1)).Fields[FieldUserSummary].String())
	for _, want := range []string{
		"Size Not known Items Not known Warning at Not known Sending stops at Not known Receiving stops at Not known",
		"Size Not known Files Not known",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
}

func TestCacheAge(t *testing.T) {
	in := believable()
	for name, tt := range map[string]struct {
		access tenant.Part[MailboxAccess]
		want   string
	}{
		"fresh":   {tenant.Present(MailboxAccess{AsOf: ago(7)}), "Nobody else (from CIPP's cache, read within 7 days)"},
		"old":     {tenant.Present(MailboxAccess{AsOf: ago(8)}), "Nobody else (from CIPP's cache of 2026-11-15)"},
		"unknown": {tenant.Present(MailboxAccess{}), "Nobody else (from CIPP's cache, of unknown date)"},
		"absent":  {tenant.Absent[MailboxAccess]("CIPP has not read it"), "Not available: CIPP has not read it"},
	} {
		users := NewUserDocuments(in, tt.access)
		d, err := users.Document(id(kindUser, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := plain(t, d.Fields[FieldUserSummary].String()); !strings.Contains(got, tt.want) {
			t.Errorf("%s: lacks %q in %s", name, tt.want, got)
		}
	}
}

func TestRoughly(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "Not known", 0: "None", 1: "Fewer than 1,000", 999: "Fewer than 1,000", 1000: "About 1,000", 1099: "About 1,000", 1100: "About 1,100",
		9999: "About 9,900", 12_345: "About 12,000", 987_654: "About 980,000",
	} {
		if got := roughly(n); got != want {
			t.Errorf("roughly(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDocumentsOfNobody(t *testing.T) {
	users, licences := NewUserDocuments(believable(), tenant.Absent[MailboxAccess]("not read")), NewLicenseDocuments(believable(), DocumentPages{})
	if _, err := users.Document("other"); err == nil || !strings.Contains(err.Error(), "no user other") {
		t.Errorf("an unknown user: %v", err)
	}
	if _, err := licences.Document("other"); err == nil || licences.Has("other") || !licences.Has(id(kindSKU, 1)) {
		t.Errorf("an unknown licence: %v", err)
	}
}

func TestManyHoldersAreCutAtRows(t *testing.T) {
	in := large()
	for n := range 20_000 {
		in.Snapshot.Users.Value = append(in.Snapshot.Users.Value, tenant.User{ID: id(kindUser, 5000+n), DisplayName: fmt.Sprintf("Zz %05d", n), Licenses: []tenant.License{{SKUID: id(kindSKU, 1)}}})
	}
	licences := NewLicenseDocuments(in, DocumentPages{})
	d, err := licences.Document(id(kindSKU, 1))
	if err != nil {
		t.Fatal(err)
	}
	value := d.Fields[FieldLicenseUsers].String()
	checkMarkup(t, value)
	if got := plain(t, value); !strings.Contains(got, "of 21,000 users") || ninjaone.JSONLength(value) > ninjaone.MaxHTML {
		t.Errorf("%d characters: %.200s", ninjaone.JSONLength(value), got)
	}
}

func BenchmarkUserDocuments(b *testing.B) {
	in := large()
	for b.Loop() {
		users := NewUserDocuments(in, tenant.Absent[MailboxAccess]("not read"))
		for _, id := range users.IDs() {
			if _, err := users.Document(id); err != nil {
				b.Fatal(err)
			}
		}
	}
}
