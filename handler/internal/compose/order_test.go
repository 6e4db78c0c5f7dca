package compose

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/tenant"
)

// people are names in the order in which people sort them.
var people = []string{"Ada", "ada", "Ádám", "Adele", "Łukasz", "Mia", "Zoe", "Zoë", "zoé"}

// TestNamesAreSorted lists users whose names have accents and both cases, in any
// order of the input.
func TestNamesAreSorted(t *testing.T) {
	want := []string{"Ada", "Ádám", "Adele", "Łukasz", "Mia", "Zoë"}
	in := believable()
	for range 5 {
		in.Snapshot.Users.Value = nil
		for _, i := range rand.Perm(len(want)) {
			in.Snapshot.Users.Value = append(in.Snapshot.Users.Value, tenant.User{ID: id(kindUser, 100+i), DisplayName: want[i], UserPrincipalName: fmt.Sprint(i, "@larkfield.example")})
		}
		var got []string
		for _, u := range newIndex(in).users {
			got = append(got, u.DisplayName)
		}
		if !slices.Equal(got, want) {
			t.Errorf("users are listed as %q, want %q", got, want)
		}
	}
}

// TestCutIsByName shows who is among the first users of a table that is cut.
func TestCutIsByName(t *testing.T) {
	in := believable()
	in.Snapshot.Users.Value = []tenant.User{{ID: id(kindUser, 900), DisplayName: "Łukasz"}}
	for n := range maxUsers {
		in.Snapshot.Users.Value = append(in.Snapshot.Users.Value, tenant.User{ID: id(kindUser, 100+n), DisplayName: fmt.Sprintf("Zoe %03d", n)})
	}
	if got := plain(t, composeAll(t, in)["UsersSummary"]); !strings.Contains(got, "Łukasz") || strings.Contains(got, "Zoe 099") {
		t.Errorf("the table shows %.300s", got)
	}
}

// TestBothOrdersAgree compares the order of long lists with that of short ones.
func TestBothOrdersAgree(t *testing.T) {
	type item struct{ name, id string }
	var items []item
	for _, name := range append(slices.Clone(people), " Ada", "Ada ", "", "ADA", "-", "2", "10") {
		items = append(items, item{name, "b"}, item{name, "a"})
	}
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	none := func(*item) string { return "" }
	long := named(items, none, func(i *item) string { return i.name }, func(i *item) string { return i.id })
	short := distinct(items, none, func(a, b *item) int { return byName(a.name, b.name, a.id, b.id) })
	for i := range long {
		if *long[i] != *short[i] {
			t.Fatalf("place %d: %q and %q", i, *long[i], *short[i])
		}
	}
}

// BenchmarkNames sorts the names of a large tenant.
func BenchmarkNames(b *testing.B) {
	users := make([]tenant.User, 50_000)
	for i := range users {
		users[i] = tenant.User{ID: fmt.Sprint(i), DisplayName: fmt.Sprintf("%s %s %d", people[rand.IntN(len(people))], people[rand.IntN(len(people))], i)}
	}
	uid := func(u *tenant.User) string { return u.ID }
	for b.Loop() {
		named(users, uid, func(u *tenant.User) string { return u.DisplayName }, uid)
	}
}

// TestLinksOfActions names the tenant in the addresses of secure score actions.
func TestLinksOfActions(t *testing.T) {
	l := newLinks(believable())
	tid := id(kindTenant, 1)
	for address, want := range map[string]string{
		"https://security.microsoft.com/policies":                "https://security.microsoft.com/policies?tid=" + tid,
		"https://security.microsoft.com/x?tid=other&a=b#c":       "https://security.microsoft.com/x?a=b&tid=" + tid + "#c",
		"https://admin.microsoft.com/Adminportal/Home#/Settings": "https://admin.microsoft.com/Adminportal/Home?delegatedOrg=larkfield.example#/Settings",
		"https://portal.azure.com/#blade/Microsoft_AAD_IAM":      "https://portal.azure.com/larkfield.example/#blade/Microsoft_AAD_IAM",
		"https://entra.microsoft.com/Larkfield.example/#view/x":  "https://entra.microsoft.com/Larkfield.example/#view/x",
		"https://intune.microsoft.com/en-us/#view/x":             "https://security.microsoft.com/securescore?tid=" + tid,
		"https://learn.example/how-to":                           "https://security.microsoft.com/securescore?tid=" + tid,
		"javascript:alert(1)":                                    "",
		"http://security.microsoft.com/x":                        "",
		"":                                                       "",
	} {
		if got := string(l.action(address)); got != want {
			t.Errorf("%s became %s, want %s", address, got, want)
		}
	}
}

// TestCIPPsPages looks for links into CIPP beside those of the portals.
func TestCIPPsPages(t *testing.T) {
	in := believable()
	summary := hrefs(t, composeAll(t, in)["TenantSummary"])
	for _, page := range []string{cippUsers, cippGroups, cippDevices, cippRoles, cippLicences, cippStandards, cippPractices, cippDomains} {
		if want := "https://cipp.msp.example/" + page + "?tenantFilter=larkfield.example"; !slices.Contains(summary, want) {
			t.Errorf("the tenant's summary lacks %s", want)
		}
	}
	if got := standardName(tenant.Standard{Name: "IntuneTemplate", Deploys: []string{"A", "B"}}); got != "Intune template: A, B" {
		t.Errorf("a standard is called %q", got)
	}
	user := documentOf(t, in, id(kindUser, 1))
	for field, want := range map[string]string{
		FieldUserSummary: "https://cipp.msp.example/identity/administration/roles?tenantFilter=larkfield.example",
		FieldUserGroups:  "https://cipp.msp.example/identity/administration/groups/group?groupId=" + id(kindGroup, 4) + "&tenantFilter=larkfield.example",
	} {
		if got := hrefs(t, user.Fields[field].String()); !slices.Contains(got, want) {
			t.Errorf("%s lacks %s: %q", field, want, got)
		}
	}
	if got := plain(t, composeAll(t, in)["TenantSummary"]); !strings.Contains(got, "Audit log Remediate, Report Baseline") || !strings.Contains(got, "4 Licensed users") {
		t.Errorf("the summary shows %s", got)
	}
}

// TestExcludedLicences leaves a SKU out that CIPP leaves out everywhere.
func TestExcludedLicences(t *testing.T) {
	in := believable()
	in.ExcludedSKUs = map[string]bool{id(kindSKU, 1): true}
	if got := plain(t, composeAll(t, in)["TenantSummary"]); strings.Contains(got, "SPE_E3") {
		t.Errorf("the tenant's summary names it: %s", got)
	}
	if got := plain(t, documentOf(t, in, id(kindUser, 1)).Fields[FieldUserSummary].String()); !strings.Contains(got, "Microsoft 365 E3 (SPE_E3)") {
		t.Errorf("the user's document does not name it: %s", got)
	}
	d := NewLicenseDocuments(in, DocumentPages{})
	if slices.Contains(d.IDs(), id(kindSKU, 1)) || !d.Has(id(kindSKU, 1)) {
		t.Errorf("documents for %q", d.IDs())
	}
}

// TestOwnerOfOneDrive tells a OneDrive whose owner was deleted.
func TestOwnerOfOneDrive(t *testing.T) {
	in := believable()
	o := &in.Snapshot.OneDriveUsage.Value[0]
	summary := func() string { return plain(t, documentOf(t, in, id(kindUser, 1)).Fields[FieldUserSummary].String()) }
	o.Deleted = true
	if got := summary(); !strings.Contains(got, "Owner Deleted") {
		t.Errorf("%s", got)
	}
	again := *o
	again.Deleted, again.Used = false, 1
	in.Snapshot.OneDriveUsage.Value = append(in.Snapshot.OneDriveUsage.Value, again)
	if got := summary(); !strings.Contains(got, "Owner Not deleted") {
		t.Errorf("one that is not deleted: %s", got)
	}
}

// TestUsersOfPolicies lists for whom a policy was evaluated, and the most exposed
// devices where equally many CVEs are open.
func TestUsersOfPolicies(t *testing.T) {
	want := []string{"Ada", "Ádám", "Adele", "Łukasz", "Zoë"}
	var s tenant.PolicyState
	var exposed []exposure.Device
	for _, i := range rand.Perm(len(want)) {
		s.Settings = append(s.Settings, tenant.SettingState{UserName: want[i]})
		exposed = append(exposed, exposure.Device{Name: want[i]})
	}
	slices.SortFunc(exposed, exposure.Compare)
	x := NewDevices(believable())
	for i, l := range x.policyUsers(&tenant.ManagedDevice{}, s).Lines {
		if l.Text != want[i] || exposed[i].Name != want[i] {
			t.Errorf("place %d: the user %q and the device %q, want %q", i, l.Text, exposed[i].Name, want[i])
		}
	}
}
