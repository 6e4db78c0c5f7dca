package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// estates makes up tenants and organizations with so few different names and
// serial numbers that nearly every rule applies somewhere.
func estates(r *rand.Rand) (customers, []ninjaone.Organization, map[int]bool, []ninjaone.Device) {
	names := []string{"", "Lamna", "LAMNA", "Lamna Ltd", "Lämna GmbH", "Proseware", "Proseware, Inc.", "Wingtip", "Relecloud", "***"}
	serials := []string{"", "Default string"}
	for i := range 24 {
		serials = append(serials, fmt.Sprintf("SN-%c%03d", 'A'+i%3, i))
	}
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	var tenants customers
	for i := range r.IntN(6) {
		e := customer(fmt.Sprintf("t%d", i), pick(names))
		if r.IntN(6) == 0 {
			e.Unread = "no consent"
		} else {
			for range r.IntN(9) {
				e.Serials = append(e.Serials, pick(serials))
			}
		}
		tenants = append(tenants, e)
	}
	var organizations []ninjaone.Organization
	mapped := map[int]bool{}
	for i := range r.IntN(6) {
		organizations = append(organizations, ninjaone.Organization{ID: i + 1, Name: pick(names)})
		mapped[i+1] = r.IntN(4) == 0
	}
	var devices []ninjaone.Device
	for i := range r.IntN(24) {
		d := node(i+1, "", pick(serials), bios(pick(serials)))
		d.OrganizationID = 1 + r.IntN(6)
		devices = append(devices, d)
	}
	return tenants, organizations, mapped, devices
}

func indexOf(devices []ninjaone.Device) SerialIndex {
	x := SerialIndex{}
	for i := range devices {
		x.Add(&devices[i])
	}
	return x
}

func TestOrganizationsProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 4000 {
		tenants, organizations, mapped, devices := estates(r)
		index := indexOf(devices)
		got := Organizations(tenants, organizations, mapped, index)
		checkOrganizations(t, tenants, mapped, got)

		r.Shuffle(len(tenants), func(i, j int) { tenants[i], tenants[j] = tenants[j], tenants[i] })
		r.Shuffle(len(organizations), func(i, j int) { organizations[i], organizations[j] = organizations[j], organizations[i] })
		r.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
		for i := range tenants {
			r.Shuffle(len(tenants[i].Serials), func(a, b int) {
				s := tenants[i].Serials
				s[a], s[b] = s[b], s[a]
			})
		}
		if diff := cmp.Diff(got, Organizations(tenants, organizations, mapped, indexOf(devices))); diff != "" {
			t.Errorf("the order of the input changes the result:\n%s", diff)
		}

		// Only what NinjaOne knows of the serial numbers matters.
		for i := range tenants {
			tenants[i].Devices, tenants[i].Real = len(tenants[i].Serials), RealSerials(tenants[i].Serials)
			tenants[i].Serials = index.Known(tenants[i].Serials)
		}
		if diff := cmp.Diff(got, Organizations(tenants, organizations, mapped, index)); diff != "" {
			t.Errorf("serial numbers that NinjaOne does not know change the result:\n%s", diff)
		}

		// What was matched by name is matched when devices are known, or is a
		// suggestion because they contradict it. Without such, a second call on
		// what is left, after the matches of the first, agrees.
		contradicted := false
		named := Organizations(tenants, organizations, mapped, nil)
		for _, m := range named.Matches {
			if !slices.ContainsFunc(got.Matches, func(o OrganizationMatch) bool { return o.Tenant == m.Tenant && o.Organization == m.Organization }) {
				contradicted = true
				if !slices.ContainsFunc(got.Suggestions, func(s OrganizationSuggestion) bool {
					return s.Tenant == m.Tenant && s.Candidates[0].Organization == m.Organization && strings.Contains(s.Reason, "devices of other tenants")
				}) {
					t.Errorf("%s is matched with %d by name, but not even suggested when devices are known", m.Tenant.ID, m.Organization.ID)
				}
			}
		}
		if contradicted {
			continue
		}
		var rest customers
		for _, e := range tenants {
			if !slices.ContainsFunc(named.Matches, func(m OrganizationMatch) bool { return m.Tenant.ID == e.Tenant.ID }) {
				rest = append(rest, e)
			}
		}
		later := map[int]bool{}
		for id, taken := range mapped {
			later[id] = taken
		}
		for _, m := range named.Matches {
			later[m.Organization.ID] = true
		}
		again := Organizations(rest, organizations, later, nil)
		if len(again.Matches) != 0 {
			t.Errorf("a second call matches by name what the first did not: %v", outline(again))
		}
		if t.Failed() {
			t.Fatalf("tenants: %+v\norganizations: %+v\nmapped: %v\ndevices: %+v", tenants, organizations, mapped, devices)
		}
	}
}

// checkOrganizations holds a result to what is true of every result.
func checkOrganizations(t *testing.T, tenants customers, mapped map[int]bool, r OrganizationResult) {
	t.Helper()
	var ids []string
	taken := map[int]bool{}
	for _, m := range r.Matches {
		ids = append(ids, m.Tenant.ID)
		if mapped[m.Organization.ID] || taken[m.Organization.ID] {
			t.Errorf("%s is matched with %d, which another tenant has", m.Tenant.ID, m.Organization.ID)
		}
		taken[m.Organization.ID] = true
		if m.Why == "" {
			t.Errorf("the match of %s has no reason", m.Tenant.ID)
		}
		if e := m.Evidence; m.By != RuleDevices && e.Name == "" || m.By == RuleDevices && (e.Devices < MinSharedDevices && e.Of != 1 || 2*e.Devices <= e.Of) {
			t.Errorf("%s is matched with too little evidence: %+v", m.Tenant.ID, e)
		}
	}
	for _, s := range r.Suggestions {
		ids = append(ids, s.Tenant.ID)
		checkReason(t, s.Reason)
		if len(s.Candidates) == 0 {
			t.Errorf("the suggestion for %s has no candidate", s.Tenant.ID)
		}
		for _, c := range s.Candidates {
			if c.Evidence.Name == "" && c.Evidence.Devices == 0 {
				t.Errorf("nothing speaks for candidate %d of %s", c.Organization.ID, s.Tenant.ID)
			}
			if want := mapped[c.Organization.ID] || taken[c.Organization.ID]; c.Mapped != want {
				t.Errorf("candidate %d of %s: mapped is %v", c.Organization.ID, s.Tenant.ID, c.Mapped)
			}
			if c.Evidence.Devices > c.Evidence.Of || len(c.Evidence.Serials) > maxExamples {
				t.Errorf("candidate %d of %s: evidence %+v", c.Organization.ID, s.Tenant.ID, c.Evidence)
			}
		}
	}
	for _, u := range r.Unmatched {
		ids = append(ids, u.Tenant.ID)
		checkReason(t, u.Reason)
	}
	checkOnce(t, "tenants", ids, len(tenants))
}

// BenchmarkOrganizations decides on 1,000 tenants with 100 Intune devices each
// and 100,000 NinjaOne devices. Half of the tenants have their name in
// NinjaOne; the devices of the others decide.
func BenchmarkOrganizations(b *testing.B) {
	const tenants, each = 1000, 100
	list := make(customers, tenants)
	organizations := make([]ninjaone.Organization, tenants)
	devices := make([]ninjaone.Device, 0, tenants*each)
	for i := range tenants {
		name := fmt.Sprintf("Customer %d", i)
		list[i] = customer(fmt.Sprintf("%04d", i), name+" Ltd")
		organizations[i] = ninjaone.Organization{ID: i + 1, Name: strings.ToUpper(name)}
		if i%2 == 1 {
			organizations[i].Name = fmt.Sprintf("Site %d", i)
		}
		for j := range each {
			serial := fmt.Sprintf("SN%04dX%03d", i, j)
			list[i].Serials = append(list[i].Serials, strings.ToLower(serial))
			d := node(i*each+j+1, "", serial)
			d.OrganizationID = i + 1
			devices = append(devices, d)
		}
	}
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(indexOf(devices)) != tenants*each {
				b.Fatal("serial numbers are missing")
			}
		}
	})
	b.Run("decide", func(b *testing.B) {
		index := indexOf(devices)
		b.ReportAllocs()
		for b.Loop() {
			if r := Organizations(list, organizations, nil, index); len(r.Matches) != tenants {
				b.Fatalf("%d matches", len(r.Matches))
			}
		}
	})
}
