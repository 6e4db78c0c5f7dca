package match

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// customer is a tenant without an organization. Its id and domain are the
// given id, so that results are in order of it.
func customer(id, name string, serials ...string) TenantEvidence {
	return TenantEvidence{Tenant: tenant.Ref{ID: id, DisplayName: name, DefaultDomain: id + ".example"}, Serials: serials}
}

// organized makes it one that has an organization.
func organized(e TenantEvidence) TenantEvidence {
	e.Organized = true
	return e
}

// unread makes it one whose devices could not be read.
func unread(e TenantEvidence) TenantEvidence {
	e.Unread = "no consent"
	return e
}

// org is a NinjaOne organization with one device per serial number.
type org struct {
	id      int
	name    string
	serials []string
	taken   bool // another tenant is mapped to it
}

func organizationsOf(list []org) (out []ninjaone.Organization, mapped map[int]bool, index SerialIndex) {
	mapped, index = map[int]bool{}, SerialIndex{}
	for _, o := range list {
		out = append(out, ninjaone.Organization{ID: o.id, Name: o.name})
		mapped[o.id] = o.taken
		for i, s := range o.serials {
			d := node(1000*o.id+i, "", s)
			d.OrganizationID = o.id
			index.Add(&d)
		}
	}
	return out, mapped, index
}

// outline writes a result as lines: "a=1 name" is a match, "a?1!,2" a
// suggestion whose first candidate is mapped, "a-" a tenant without either.
func outline(r OrganizationResult) []string {
	lines := []string{}
	for _, m := range r.Matches {
		by := strings.TrimSuffix(string(m.By), " name")
		if m.By == RuleDevices {
			by = fmt.Sprintf("%d/%d", m.Evidence.Devices, m.Evidence.Of)
		}
		lines = append(lines, fmt.Sprintf("%s=%d %s", m.Tenant.ID, m.Organization.ID, by))
	}
	for _, s := range r.Suggestions {
		var ids []string
		for _, c := range s.Candidates {
			id := fmt.Sprint(c.Organization.ID)
			if c.Mapped {
				id += "!"
			}
			ids = append(ids, id)
		}
		lines = append(lines, s.Tenant.ID+"?"+strings.Join(ids, ","))
	}
	for _, u := range r.Unmatched {
		lines = append(lines, u.Tenant.ID+"-")
	}
	return lines
}

func organizationTexts(r OrganizationResult) string {
	var all []string
	for _, m := range r.Matches {
		all = append(all, m.Why)
	}
	for _, s := range r.Suggestions {
		all = append(all, s.Reason)
	}
	for _, u := range r.Unmatched {
		all = append(all, u.Reason)
	}
	return strings.Join(all, "\n")
}

type customers = []TenantEvidence

func TestOrganizations(t *testing.T) {
	tests := []struct {
		name          string
		tenants       customers
		organizations []org
		want          []string
		text          string // must occur among the reasons
	}{
		{name: "nothing on either side", want: []string{}},
		{
			name:    "no organizations at all",
			tenants: customers{customer("a", "Alpine Ski House", "SN-A001")},
			want:    []string{"a-"},
			text:    "no organization has its name; no organization has a device with the serial number",
		},

		// Exact names.
		{
			name:          "exact name",
			tenants:       customers{customer("a", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}, {id: 2, name: "Bellows College"}},
			want:          []string{"a=1 exact"},
			text:          "the organization has the tenant's name",
		},
		{
			name:          "exact name although another compares equal",
			tenants:       customers{customer("a", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "ALPINE SKI HOUSE Ltd"}, {id: 2, name: "Alpine Ski House"}},
			want:          []string{"a=2 exact"},
		},
		{
			name:          "exact names of several tenants",
			tenants:       customers{customer("a", "Alpine Ski House"), customer("b", "Alpine Ski House Ltd")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}, {id: 2, name: "Alpine Ski House Ltd"}},
			want:          []string{"a=1 exact", "b=2 exact"},
		},
		{
			name:          "exact name of two organizations",
			tenants:       customers{customer("a", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}, {id: 2, name: "Alpine Ski House"}},
			want:          []string{"a?1,2"},
			text:          "2 organizations have its name; it has no Intune devices to compare",
		},
		{
			name:          "exact name of two tenants",
			tenants:       customers{customer("a", "Alpine Ski House"), customer("b", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}},
			want:          []string{"a?1", "b?1"},
			text:          "2 tenants without an organization have this name",
		},
		{
			name:          "exact name of a mapped organization",
			tenants:       customers{customer("a", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "Alpine Ski House", taken: true}},
			want:          []string{"a?1!"},
			text:          "the organization with its name is mapped to another tenant",
		},
		{
			name:          "exact name of a mapped and of a free organization",
			tenants:       customers{customer("a", "Alpine Ski House")},
			organizations: []org{{id: 1, name: "Alpine Ski House", taken: true}, {id: 2, name: "Alpine Ski House"}},
			want:          []string{"a?1!,2"},
		},
		{
			name:          "exact name wins over devices elsewhere",
			tenants:       customers{customer("a", "Alpine Ski House", "SN-A001", "SN-A002", "SN-A003")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}, {id: 2, name: "Bellows", serials: []string{"SN-A001", "SN-A002", "SN-A003"}}},
			want:          []string{"a=1 exact"},
		},
		{
			name:          "an exact match takes the organization from a similar name",
			tenants:       customers{customer("a", "Alpine Ski House"), customer("b", "Alpine Ski House Inc.")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}},
			want:          []string{"a=1 exact", "b?1!"},
		},
		{
			name:          "no names on either side are not equal names",
			tenants:       customers{customer("a", ""), customer("b", "  ")},
			organizations: []org{{id: 1, name: ""}, {id: 2, name: "  "}},
			want:          []string{"a-", "b-"},
		},
		{
			name:          "a name of signs only is equal to itself alone",
			tenants:       customers{customer("a", "***"), customer("b", "+++")},
			organizations: []org{{id: 1, name: "***"}, {id: 2, name: "---"}},
			want:          []string{"a=1 exact", "b-"},
		},

		// Similar names.
		{
			name:          "another case",
			tenants:       customers{customer("a", "ALPINE SKI HOUSE")},
			organizations: []org{{id: 1, name: "Alpine Ski House"}},
			want:          []string{"a=1 similar"},
			text:          "apart from case, punctuation, accents and legal form",
		},
		{
			name:          "punctuation",
			tenants:       customers{customer("a", "A. Datum - North/East, Inc.")},
			organizations: []org{{id: 1, name: "A.Datum (North East)"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "accents",
			tenants:       customers{customer("a", "Café Zürich")},
			organizations: []org{{id: 1, name: "Cafe Zurich"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "accents composed and decomposed",
			tenants:       customers{customer("a", "Cafe\u0301 Coho")},
			organizations: []org{{id: 1, name: "Caf\u00e9 Coho"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "legal form on one side",
			tenants:       customers{customer("a", "Humongous Insurance GmbH")},
			organizations: []org{{id: 1, name: "Humongous Insurance"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "legal form written in two ways",
			tenants:       customers{customer("a", "Humongous Insurance Pty. Ltd.")},
			organizations: []org{{id: 1, name: "HUMONGOUS INSURANCE (PTY) LIMITED"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "ampersand and word",
			tenants:       customers{customer("a", "Lamna & Sons")},
			organizations: []org{{id: 1, name: "Lamna and Sons Ltd"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "two organizations compare equal",
			tenants:       customers{customer("a", "LAMNA")},
			organizations: []org{{id: 1, name: "Lamna Ltd"}, {id: 2, name: "Lamna GmbH"}},
			want:          []string{"a?1,2"},
			text:          "2 organizations have names that equal its own apart from",
		},
		{
			name:          "two tenants compare equal",
			tenants:       customers{customer("a", "Lamna Ltd"), customer("b", "Lamna GmbH")},
			organizations: []org{{id: 1, name: "LAMNA"}},
			want:          []string{"a?1", "b?1"},
		},
		{
			name:          "the rest of two equal names stays undecided",
			tenants:       customers{customer("a", "Lamna"), customer("b", "Lamna Ltd")},
			organizations: []org{{id: 1, name: "Lamna"}, {id: 2, name: "Lamna GmbH"}},
			want:          []string{"a=1 exact", "b?1!,2"},
		},
		{
			name:          "similar name of a mapped organization",
			tenants:       customers{customer("a", "Lamna Ltd")},
			organizations: []org{{id: 1, name: "Lamna", taken: true}},
			want:          []string{"a?1!"},
		},
		{
			name:          "a mapped organization makes a similar name ambiguous",
			tenants:       customers{customer("a", "LAMNA")},
			organizations: []org{{id: 1, name: "Lamna Ltd", taken: true}, {id: 2, name: "Lamna"}},
			want:          []string{"a?1!,2"},
		},
		{
			name:          "part of a name is not the name",
			tenants:       customers{customer("a", "Lamna Healthcare")},
			organizations: []org{{id: 1, name: "Lamna"}, {id: 2, name: "Lamna Healthcare Group"}},
			want:          []string{"a-"},
		},
		{
			name:          "a company named like a legal form",
			tenants:       customers{customer("a", "AS")},
			organizations: []org{{id: 1, name: "A.S."}, {id: 2, name: "SA"}},
			want:          []string{"a=1 similar"},
		},
		{
			name:          "names in other scripts",
			tenants:       customers{customer("a", "株式会社ラムナ"), customer("b", "Ламна ООО")},
			organizations: []org{{id: 1, name: "株式会社ラムナ"}, {id: 2, name: "ЛАМНА ООО"}},
			want:          []string{"a=1 exact", "b=2 similar"},
		},

		// Devices.
		{
			name:          "all shared devices in one organization",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Coffee shop", serials: []string{"SN-A001", "SN-A002", "SN-Z001"}}},
			want:          []string{"a=1 2/2"},
			text:          "all 2 devices that the tenant shares with NinjaOne are in the organization",
		},
		{
			name:          "devices that NinjaOne does not know count for nothing",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004", "SN-A005")},
			organizations: []org{{id: 1, name: "Coffee shop", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a=1 2/2"},
		},
		{
			name:          "a majority of shared devices",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004", "SN-A005")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-A003"}}, {id: 2, name: "Depot", serials: []string{"SN-A004", "SN-A005"}}},
			want:          []string{"a=1 3/5"},
			text:          "3 of the 5 devices that the tenant shares with NinjaOne are in the organization",
		},
		{
			name:          "exactly half is a tie",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}, {id: 2, name: "Depot", serials: []string{"SN-A003", "SN-A004"}}},
			want:          []string{"a?1,2"},
			text:          "the 4 devices that it shares with NinjaOne are in 2 organizations, and none of these has more than half",
		},
		{
			name:          "the most is not a majority",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A003"}}, {id: 2, name: "Depot", serials: []string{"SN-A001", "SN-A002"}}, {id: 3, name: "Kiosk", serials: []string{"SN-A004"}}},
			want:          []string{"a?2,1,3"},
		},
		{
			name:          "one shared device is thin",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a?1"},
			text:          "one shared device is too little evidence: at least 2 are needed",
		},
		{
			name:          "the only device",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), customer("b", "Proseware", "SN-B001", "SN-B002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-Z001"}}, {id: 2, name: "Depot", serials: []string{"SN-B001", "SN-B002"}}},
			want:          []string{"a=1 1/1", "b=2 2/2"},
			text:          "the tenant's only device with a real serial number is in the organization, and in no other",
		},
		{
			name:          "the only device, written with spaces",
			tenants:       customers{customer("a", "Fourth Coffee", " SN A0 01")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"sn a001 "}}},
			want:          []string{"a=1 1/1"},
		},
		{
			name:          "one of five devices",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004", "SN-A005")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a?1"},
			text:          "one shared device is too little evidence: at least 2 are needed, since the tenant has 5",
		},
		{
			name:          "one of five devices, the others not listed",
			tenants:       customers{{Tenant: customer("a", "Fourth Coffee").Tenant, Serials: []string{"SN-A001"}, Devices: 5, Real: 5}},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a?1"},
		},
		{
			name:          "the only device has a placeholder",
			tenants:       customers{customer("a", "Fourth Coffee", "Default string")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"Default string"}}},
			want:          []string{"a-"},
		},
		{
			name:          "the only device is contested in Intune",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), organized(customer("b", "Proseware", "SN-A001"))},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a-"},
		},
		{
			name:          "the only device is contested in NinjaOne",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}, {id: 2, name: "Depot", serials: []string{"SN-A001"}}},
			want:          []string{"a-"},
		},
		{
			name:          "the only device is beside another tenant's",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), organized(customer("b", "Proseware", "SN-B001"))},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-B001"}}},
			want:          []string{"a?1"},
			text:          "as many or more of other tenants' devices",
		},
		{
			name:          "the only device is where another tenant's name is",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), organized(customer("b", "Shop Ltd"))},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a?1"},
			text:          "the organization with its only device has another tenant's name",
		},
		{
			name:          "the only device is not where the name is",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}, {id: 2, name: "Fourth Coffee", taken: true}},
			want:          []string{"a?2!,1"},
			text:          "its only device is in one organization, and its name leads to another",
		},
		{
			name:          "the only device decides between equal names",
			tenants:       customers{customer("a", "Lamna", "SN-A001")},
			organizations: []org{{id: 1, name: "Lamna Ltd"}, {id: 2, name: "Lamna GmbH", serials: []string{"SN-A001"}}},
			want:          []string{"a=2 1/1"},
		},
		{
			name:          "the only device, and somebody's others beside it while a tenant could not be read",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), unread(customer("b", "Proseware"))},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-Z001"}}},
			want:          []string{"a?1", "b-"},
			text:          "which may be those of a tenant that could not be read",
		},
		{
			name:          "the only device on both sides while a tenant could not be read",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), unread(customer("b", "Proseware"))},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001"}}},
			want:          []string{"a=1 1/1", "b-"},
		},
		{
			name:          "no shared device",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-Z001"}}},
			want:          []string{"a-"},
		},
		{
			name:          "serials are compared in normal form",
			tenants:       customers{customer("a", "Fourth Coffee", " sn-a001", "Sn-A0\u200b02")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002 "}}},
			want:          []string{"a=1 2/2"},
		},
		{
			name:          "placeholder serials count for nothing",
			tenants:       customers{customer("a", "Fourth Coffee", "Default string", "0", "", "SN-A001")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"Default string", "0", "", "SN-A001"}}},
			want:          []string{"a=1 1/1"},
		},
		{
			name:          "a serial of two NinjaOne devices counts for neither",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}, {id: 2, name: "Depot", serials: []string{"SN-A002"}}},
			want:          []string{"a?1"},
		},
		{
			name:          "a serial of two NinjaOne devices of one organization does not count",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-A002"}}},
			want:          []string{"a?1"},
		},
		{
			name:          "a serial of two tenants counts for neither",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "Proseware", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a?1", "b-"},
		},
		{
			name:          "a serial of two Intune devices of one tenant does not count",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a?1"},
		},
		{
			name:          "most devices in a mapped organization",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-A003"}, taken: true}},
			want:          []string{"a?1!"},
			text:          "the organization with most of its devices is mapped to another tenant",
		},
		{
			name:          "a mapped organization with most devices shuts out the next",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002", "SN-A003", "SN-A004", "SN-A005")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-A003"}, taken: true}, {id: 2, name: "Depot", serials: []string{"SN-A004", "SN-A005"}}},
			want:          []string{"a?1!,2"},
		},
		{
			name:          "the devices of an organization belong to another tenant than its name",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "Shop")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a?1", "b?1"},
			text:          "the organization with its name has 2 devices of other tenants and 0 of its own",
		},
		{
			name:          "they contradict a similar name as well",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "SHOP Ltd", "SN-B001")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-B001"}}},
			want:          []string{"a?1", "b?1"},
			text:          "the organization with most of its devices has another tenant's name",
		},
		{
			name:          "they belong to a tenant that has another organization",
			tenants:       customers{organized(customer("a", "Fourth Coffee", "SN-A001", "SN-A002")), customer("b", "Shop")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002"}}, {id: 2, name: "Fourth Coffee", taken: true}},
			want:          []string{"b?1"},
		},
		{
			name:          "names and devices are crosswise",
			tenants:       customers{customer("a", "Alpine", "SN-A001", "SN-A002"), customer("b", "Bellows", "SN-B001", "SN-B002")},
			organizations: []org{{id: 1, name: "Alpine", serials: []string{"SN-B001", "SN-B002"}}, {id: 2, name: "Bellows", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a?1,2", "b?2,1"},
		},
		{
			name:          "one device of another tenant proves nothing",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001"), customer("b", "Shop")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-Z002"}}},
			want:          []string{"b=1 exact", "a?1!"},
		},
		{
			name:          "most devices are the tenant's own",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "Shop", "SN-B001", "SN-B002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-B001", "SN-B002"}}},
			want:          []string{"b=1 exact", "a?1!"},
		},
		{
			name:          "a tenant that has an organization is no namesake",
			tenants:       customers{organized(customer("a", "Shop")), customer("b", "Shop Ltd")},
			organizations: []org{{id: 1, name: "SHOP"}},
			want:          []string{"b=1 similar"},
		},
		{
			name:          "serial numbers that name no machine have no weight, whatever their number",
			tenants:       customers{customer("a", "Fourth Coffee", "0123456789ABCDEF", "SYS-1234567890", "0101010101", "serialnumber0", "None Specified"), customer("b", "Shop")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"0123456789ABCDEF", "SYS-1234567890", "0101010101", "serialnumber0", "None Specified"}}},
			want:          []string{"b=1 exact", "a-"},
		},
		{
			name:          "devices decide between equal names",
			tenants:       customers{customer("a", "Lamna", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Lamna Ltd"}, {id: 2, name: "Lamna GmbH", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a=2 2/2"},
			text:          "all 2 devices",
		},
		{
			name:          "devices decide between tenants of one name",
			tenants:       customers{customer("a", "Lamna"), customer("b", "Lamna", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Lamna", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"b=1 2/2", "a?1!"},
		},
		{
			name:          "a mapped name leaves the decision to the devices",
			tenants:       customers{customer("a", "Lamna", "SN-A001", "SN-A002")},
			organizations: []org{{id: 1, name: "Lamna", taken: true}, {id: 2, name: "Lamna Berlin", serials: []string{"SN-A001", "SN-A002"}}},
			want:          []string{"a=2 2/2"},
		},
		{
			name:          "two tenants in one organization: the one with most of its devices",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "Proseware", "SN-B001", "SN-B002", "SN-B003")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-B001", "SN-B002", "SN-B003"}}},
			want:          []string{"b=1 3/3", "a?1!"},
			text:          "the organization with most of its devices has as many or more of other tenants' devices (2 of 5 are its own)",
		},
		{
			name:          "two tenants with equally many devices in one organization",
			tenants:       customers{customer("a", "Fourth Coffee", "SN-A001", "SN-A002"), customer("b", "Proseware", "SN-B001", "SN-B002")},
			organizations: []org{{id: 1, name: "Shop", serials: []string{"SN-A001", "SN-A002", "SN-B001", "SN-B002"}}},
			want:          []string{"a?1", "b?1"},
		},
		{
			name:          "names come before devices among the candidates",
			tenants:       customers{customer("a", "Lamna", "SN-A001", "SN-A002", "SN-A003", "SN-A004")},
			organizations: []org{{id: 1, name: "Depot", serials: []string{"SN-A001", "SN-A002"}}, {id: 2, name: "Shop", serials: []string{"SN-A003"}}, {id: 3, name: "Kiosk", serials: []string{"SN-A004"}}, {id: 4, name: "LAMNA Inc", taken: true}, {id: 5, name: "Lamna", taken: true}},
			want:          []string{"a?5!,4!,1,2,3"},
		},
		{
			name:          "an unread tenant is matched by name all the same",
			tenants:       customers{{Tenant: tenant.Ref{ID: "a", DisplayName: "Lamna"}, Unread: "no consent"}, {Tenant: tenant.Ref{ID: "b", DisplayName: "Proseware"}, Unread: "no consent"}},
			organizations: []org{{id: 1, name: "Lamna"}},
			want:          []string{"a=1 exact", "b-"},
			text:          "no organization has its name; its devices could not be compared: no consent",
		},
		{
			name:          "lists that name something twice",
			tenants:       customers{customer("a", "Lamna"), customer("a", "Lamna")},
			organizations: []org{{id: 1, name: "Lamna"}, {id: 1, name: "Lamna"}},
			want:          []string{"a=1 exact"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			organizations, mapped, index := organizationsOf(tt.organizations)
			got := Organizations(tt.tenants, organizations, mapped, index)
			if diff := cmp.Diff(tt.want, outline(got)); diff != "" {
				t.Errorf("result (-want +got):\n%s\n%s", diff, organizationTexts(got))
			}
			if !strings.Contains(organizationTexts(got), tt.text) {
				t.Errorf("no reason says %q:\n%s", tt.text, organizationTexts(got))
			}
		})
	}
}

func TestOrganizationsDevices(t *testing.T) {
	organization := []ninjaone.Organization{{ID: 1, Name: "Shop"}, {ID: 2, Name: "Depot"}}
	in := func(o, id int, serial, biosSerial string, more ...func(*ninjaone.Device)) ninjaone.Device {
		d := node(id, "", serial, append(more, bios(biosSerial))...)
		d.OrganizationID = o
		return d
	}
	tests := []struct {
		name    string
		serials []string
		ninja   nodes
		want    string
	}{
		{"either serial field", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", "BOARD-1"), in(1, 2, "INVALID", "SN-A002")}, "a=1 2/2"},
		{"one device that has both serials is one device", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", "SN-A002")}, "a?1"},
		{"one serial in both fields", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", "sn-a001"), in(1, 2, "SN-A002", "SN-A002")}, "a=1 2/2"},
		{"one serial in different fields of two devices", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", ""), in(1, 2, "SN-A002", ""), in(2, 3, "BOARD-9", "SN-A001")}, "a?1"},
		{"a device listed twice counts once", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", ""), in(1, 1, "SN-A001", ""), in(1, 2, "SN-A002", "")}, "a=1 2/2"},
		{"a device that moves while it is listed does not count", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", ""), in(2, 1, "SN-A001", ""), in(1, 2, "SN-A002", "")}, "a?1"},
		{"three devices with one serial", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", ""), in(1, 2, "SN-A001", ""), in(1, 3, "SN-A001", ""), in(1, 4, "SN-A002", "")}, "a?1"},
		{"the view from the host of a virtual machine does not disturb its agent", []string{"SN-A001", "SN-A002"}, nodes{in(1, 1, "SN-A001", ""), in(1, 2, "SN-A002", ""), in(2, 3, "SN-A001", "", class("HYPERV_VMM_GUEST"))}, "a=1 2/2"},
		{"an organization that is not listed", []string{"SN-A001", "SN-A002"}, nodes{in(7, 1, "SN-A001", ""), in(7, 2, "SN-A002", "")}, "a-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			index := SerialIndex{}
			for i := range tt.ninja {
				index.Add(&tt.ninja[i])
			}
			tenants := customers{customer("a", "Fourth Coffee", tt.serials...)}
			got := Organizations(tenants, organization, nil, index)
			if diff := cmp.Diff([]string{tt.want}, outline(got)); diff != "" {
				t.Errorf("result (-want +got):\n%s\n%s", diff, organizationTexts(got))
			}

			stored, err := json.Marshal(index)
			if err != nil {
				t.Fatal(err)
			}
			var back SerialIndex
			if err := json.Unmarshal(stored, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, Organizations(tenants, organization, nil, back)); diff != "" {
				t.Errorf("the index stored and read again decides differently:\n%s", diff)
			}
		})
	}
}
