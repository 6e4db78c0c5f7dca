package match

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// MinSharedDevices is how many devices a tenant and an organization must share before
// devices decide its mapping. One device proves little: a machine that was sold, lent, or
// moved to another customer keeps its serial number. One is enough where it is the
// tenant's only one and nothing contradicts it.
const MinSharedDevices = 2

// maxExamples is how many serial numbers an evidence names.
const maxExamples = 5

// TenantEvidence is what is known of a tenant that has no organization yet.
type TenantEvidence struct {
	Tenant tenant.Ref
	// Serials are the serial numbers of its Intune devices, one per device, as Intune
	// writes them. The caller may leave out those that NinjaOne does not know.
	Serials []string
	// Devices is the number of its Intune devices; less than len(Serials)
	// counts as len(Serials).
	Devices int
	// Real is the number of its Intune devices with a usable serial number (see
	// NormalizeSerial). It includes those that NinjaOne does not know. Less than Serials
	// has of them counts as that many.
	Real int
	// Unread says, for a technician, why the devices could not be compared; ""
	// when they could.
	Unread string
	// Organized says that the tenant has an organization already: no rule matches it, but
	// its devices count.
	Organized bool
}

// NameEvidence says how a tenant's name equals an organization's.
type NameEvidence string

// The kinds of equal names, strongest first.
const (
	NameExact   NameEvidence = "exact"   // character by character
	NameSimilar NameEvidence = "similar" // apart from case, punctuation, accents and legal form
)

// OrganizationRule is the rule of [Organizations] that decided.
type OrganizationRule string

// The rules, strongest first.
const (
	RuleExactName   OrganizationRule = "exact name"
	RuleSimilarName OrganizationRule = "similar name"
	RuleDevices     OrganizationRule = "devices"
)

// OrganizationEvidence is what speaks for a tenant and an organization being
// the same customer.
type OrganizationEvidence struct {
	Name    NameEvidence `json:"name,omitempty"`    // "" when the names differ
	Devices int          `json:"devices,omitempty"` // shared devices in the organization
	Of      int          `json:"of,omitempty"`      // shared devices of the tenant in all organizations
	Serials []string     `json:"serials,omitempty"` // letters and digits of up to five of the shared devices' serial numbers
}

// OrganizationMatch is a tenant whose organization is beyond doubt.
type OrganizationMatch struct {
	Tenant       tenant.Ref
	Organization ninjaone.Organization
	By           OrganizationRule
	Evidence     OrganizationEvidence
	Why          string // for a technician, without the names
}

// OrganizationCandidate is an organization that something speaks for.
type OrganizationCandidate struct {
	Organization ninjaone.Organization
	Mapped       bool // another tenant has it already
	Evidence     OrganizationEvidence
}

// OrganizationSuggestion is a tenant that a technician has to decide on.
type OrganizationSuggestion struct {
	Tenant     tenant.Ref
	Candidates []OrganizationCandidate // best first
	Reason     string                  // why none of them was taken
}

// UnmatchedTenant is a tenant that no organization speaks for.
type UnmatchedTenant struct {
	Tenant tenant.Ref
	Reason string
}

// OrganizationResult is the outcome of [Organizations]. Every tenant of the
// input appears in it exactly once. Each list is in order of the tenants'
// default domains, then of their ids.
type OrganizationResult struct {
	Matches     []OrganizationMatch
	Suggestions []OrganizationSuggestion
	Unmatched   []UnmatchedTenant
}

// Organizations decides which NinjaOne organization each tenant belongs to. The tenants
// are those without an organization, and others with one whose devices are known (see
// TenantEvidence.Organized). The map mapped holds the ids of the organizations that other
// tenants have. The index serials may be nil when nobody read devices.
//
// In order of strength:
//
//  1. The name is equal, character by character, and only one tenant and one
//     organization have it.
//  2. The name is equal apart from case, punctuation, accents and legal form,
//     and only one tenant and one organization have such a name.
//  3. Devices: a serial number counts when exactly one Intune device and
//     exactly one NinjaOne device have it. More than half of the tenant's
//     counted devices are in the organization. They are more than half of the
//     counted devices there, and at least [MinSharedDevices].
//  4. The only device: the tenant has one device with a real serial number, which
//     counts, and no other tenant has one in the organization. The tenant's name
//     does not lead elsewhere, and no other tenant has the organization's. Where
//     nobody could read some tenant, the organization has no other device.
//
// A name does not decide when the devices contradict it. Then at least [MinSharedDevices]
// counted devices in the organization are other tenants', and more than the tenant's own.
// Nor do the devices decide then, since the organization has another tenant's name.
//
// No rule matches an organization that is mapped, or that a stronger rule matched. Such a
// one can only be a candidate of a suggestion. Names count over all organizations, mapped
// ones too. So a first and a second call on the same customers agree.
func Organizations(tenants []TenantEvidence, organizations []ninjaone.Organization, mapped map[int]bool, serials SerialIndex) OrganizationResult {
	m := newOrganizationMatcher(tenants, organizations, mapped)
	m.countDevices(serials)
	m.byNames()
	m.byDevices()
	return m.result()
}

// contender is a tenant in the matcher.
type contender struct {
	evidence   *TenantEvidence
	exact      []int       // organizations with its name
	similar    []int       // organizations whose names compare equal, those in exact too
	key        string      // what is compared of its name; "" where it is organized
	devices    map[int]int // organization id → shared devices there
	serials    map[int][]string
	shared     int // sum of devices
	real       int // devices with a serial number that can identify one
	matched    int // index of the organization; none when there is none
	by         OrganizationRule
	why        string
	deviceNote string // why the devices did not decide
	nameNote   string // why the devices contradict its name; "" when they do not
}

type organizationMatcher struct {
	contenders    []contender
	organizations []ninjaone.Organization // in order of id
	byID          map[int]int             // organization id → index
	mapped        map[int]bool            // as given
	taken         map[int]bool            // matched here, by index
	devicesIn     map[int]int             // organization id → shared devices of all contenders
	contradicted  map[int]bool            // by index: a tenant has its name, others have its devices
	named         map[string][]string     // tenants' ids by the key of their name, organized ones too
	namesakes     map[string]int          // tenants without an organization by that key
	unread        int                     // tenants whose devices could not be compared
	inNinja       map[int]int             // organization id → devices with serial numbers that count
}

func newOrganizationMatcher(tenants []TenantEvidence, organizations []ninjaone.Organization, mapped map[int]bool) *organizationMatcher {
	m := &organizationMatcher{
		byID: make(map[int]int, len(organizations)), mapped: mapped,
		taken: map[int]bool{}, devicesIn: map[int]int{}, contradicted: map[int]bool{}, named: map[string][]string{}, namesakes: map[string]int{},
	}
	m.organizations = slices.SortedFunc(slices.Values(organizations), func(a, b ninjaone.Organization) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	})
	m.organizations = slices.CompactFunc(m.organizations, func(a, b ninjaone.Organization) bool { return a.ID == b.ID })
	sorted := slices.SortedFunc(slices.Values(pointers(tenants)), func(a, b *TenantEvidence) int {
		return cmp.Or(cmp.Compare(a.Tenant.DefaultDomain, b.Tenant.DefaultDomain),
			cmp.Compare(a.Tenant.ID, b.Tenant.ID), cmp.Compare(a.Tenant.DisplayName, b.Tenant.DisplayName))
	})

	exact, similar := map[string][]int{}, map[string][]int{}
	for i, o := range m.organizations {
		m.byID[o.ID] = i
		if strings.TrimSpace(o.Name) != "" {
			exact[o.Name] = append(exact[o.Name], i)
		}
		if key := organizationKey(o.Name); key != "" {
			similar[key] = append(similar[key], i)
		}
	}
	seen := make(map[string]bool, len(sorted))
	for _, e := range sorted {
		if seen[e.Tenant.ID] {
			continue
		}
		seen[e.Tenant.ID] = true
		key := organizationKey(e.Tenant.DisplayName)
		if key != "" {
			m.named[key] = append(m.named[key], e.Tenant.ID)
		}
		if e.Unread != "" {
			m.unread++
		}
		c := contender{evidence: e, matched: none}
		if !e.Organized {
			m.namesakes[key]++
			c.key, c.exact, c.similar = key, exact[e.Tenant.DisplayName], similar[key]
		}
		m.contenders = append(m.contenders, c)
	}
	return m
}

// byNames matches the tenants whose names decide.
func (m *organizationMatcher) byNames() {
	claims := map[int]int{} // organization → tenants with exactly its name
	for i := range m.contenders {
		if c := &m.contenders[i]; len(c.exact) == 1 {
			claims[c.exact[0]]++
		}
	}
	for i := range m.contenders {
		if c := &m.contenders[i]; len(c.exact) == 1 && claims[c.exact[0]] == 1 && m.free(c.exact[0]) && !m.contradict(c, c.exact[0]) {
			m.match(c, c.exact[0], RuleExactName, "the organization has the tenant's name")
		}
	}
	for i := range m.contenders {
		if c := &m.contenders[i]; c.matched == none && c.nameNote == "" && len(c.similar) == 1 && m.namesakes[c.key] == 1 && m.free(c.similar[0]) && !m.contradict(c, c.similar[0]) {
			m.match(c, c.similar[0], RuleSimilarName, "the names are equal apart from case, punctuation, accents and legal form, and no other tenant or organization has such a name")
		}
	}
}

// contradict reports whether the devices in an organization, by index, are
// other tenants', and notes it.
func (m *organizationMatcher) contradict(c *contender, index int) bool {
	id := m.organizations[index].ID
	own, others := c.devices[id], m.devicesIn[id]-c.devices[id]
	if others < MinSharedDevices || others <= own {
		return false
	}
	m.contradicted[index] = true
	c.nameNote = contradictedWhy(own, others)
	return true
}

// countDevices finds the devices that tenants and organizations share.
func (m *organizationMatcher) countDevices(serials SerialIndex) {
	m.inNinja = serials.In()
	known := make([][]string, len(m.contenders))
	times := map[string]int{} // serial → Intune devices that have it
	for i := range m.contenders {
		e := m.contenders[i].evidence
		known[i] = serials.Known(e.Serials)
		m.contenders[i].real = max(RealSerials(e.Serials), e.Real)
		for _, s := range known[i] {
			times[s]++
		}
	}
	for i := range m.contenders {
		c := &m.contenders[i]
		c.devices, c.serials = map[int]int{}, map[int][]string{}
		seen := map[int]bool{} // a device may share both of its serial numbers
		slices.Sort(known[i])
		for _, s := range known[i] {
			p := serials[s]
			if times[s] > 1 || p.several() || seen[p.device()] {
				continue
			}
			seen[p.device()] = true
			in := p.organization()
			c.devices[in]++
			c.shared++
			m.devicesIn[in]++
			if len(c.serials[in]) < maxExamples {
				c.serials[in] = append(c.serials[in], s)
			}
		}
	}
}

// byDevices matches the tenants whose devices decide, among those whose names
// did not.
func (m *organizationMatcher) byDevices() {
	for i := range m.contenders {
		c := &m.contenders[i]
		if c.matched != none || c.evidence.Organized {
			continue
		}
		if c.deviceNote = m.deviceReason(c); c.deviceNote == "" {
			id, n := c.most()
			m.match(c, m.byID[id], RuleDevices, devicesWhy(n, c.shared))
		}
	}
}

// onlyDevice says why the device that a tenant shares does not decide by itself. The
// reason is "" when the device is the tenant's only one and nothing contradicts it.
func (m *organizationMatcher) onlyDevice(c *contender) string {
	id, n := c.most()
	index, listed := m.byID[id]
	if n != 1 || !listed {
		return "no organization is the one with its device"
	}
	others := func(id string) bool { return id != c.evidence.Tenant.ID }
	unread := m.unread
	if c.evidence.Unread != "" {
		unread--
	}
	switch {
	case c.real != 1:
		return fmt.Sprintf("one shared device is too little evidence: at least %d are needed, since the tenant has %d with a serial number of their own", MinSharedDevices, c.real)
	case len(c.exact)+len(c.similar) > 0 && !slices.Contains(c.exact, index) && !slices.Contains(c.similar, index):
		return "its only device is in one organization, and its name leads to another"
	case slices.ContainsFunc(m.named[organizationKey(m.organizations[index].Name)], others):
		return "the organization with its only device has another tenant's name"
	case unread > 0 && m.inNinja[id] > 1:
		return "the organization with its only device has others, which may be those of a tenant that could not be read"
	}
	return ""
}

// most returns the id of the organization with the most shared devices, and their number.
// Of several it takes the lowest id. It returns 0, 0 when there are none.
func (c *contender) most() (id, n int) {
	for _, o := range slices.Sorted(maps.Keys(c.devices)) {
		if c.devices[o] > n {
			id, n = o, c.devices[o]
		}
	}
	return id, n
}

// ByOnlyDevice reports whether a tenant's only device alone decided the match:
// every tenant must have been compared for that.
func (m OrganizationMatch) ByOnlyDevice() bool {
	return m.By == RuleDevices && m.Evidence.Devices < MinSharedDevices
}

// free reports whether a rule may match an organization, by index.
func (m *organizationMatcher) free(index int) bool {
	return !m.taken[index] && !m.mapped[m.organizations[index].ID]
}

func (m *organizationMatcher) match(c *contender, index int, by OrganizationRule, why string) {
	c.matched, c.by, c.why = index, by, why
	m.taken[index] = true
}

func (m *organizationMatcher) result() OrganizationResult {
	var r OrganizationResult
	for i := range m.contenders {
		c := &m.contenders[i]
		if c.evidence.Organized {
			continue
		}
		if c.matched != none {
			r.Matches = append(r.Matches, OrganizationMatch{
				Tenant: c.evidence.Tenant, Organization: m.organizations[c.matched],
				By: c.by, Evidence: m.evidence(c, c.matched), Why: c.why,
			})
			continue
		}
		reason := cmp.Or(c.nameNote, m.nameReason(c)) + "; " + c.deviceNote
		candidates := m.candidates(c)
		if len(candidates) == 0 {
			r.Unmatched = append(r.Unmatched, UnmatchedTenant{c.evidence.Tenant, reason})
			continue
		}
		r.Suggestions = append(r.Suggestions, OrganizationSuggestion{c.evidence.Tenant, candidates, reason})
	}
	return r
}

// candidates returns the organizations that something speaks for. Those with an equal
// name come first, then those with the most shared devices.
func (m *organizationMatcher) candidates(c *contender) []OrganizationCandidate {
	indices := slices.Clone(c.similar)
	for _, i := range c.exact { // a name without letters and digits is not among the similar ones
		if !slices.Contains(indices, i) {
			indices = append(indices, i)
		}
	}
	for id := range c.devices {
		if i, listed := m.byID[id]; listed && !slices.Contains(indices, i) {
			indices = append(indices, i)
		}
	}
	list := make([]OrganizationCandidate, 0, len(indices))
	for _, i := range indices {
		list = append(list, OrganizationCandidate{
			Organization: m.organizations[i], Mapped: !m.free(i), Evidence: m.evidence(c, i),
		})
	}
	rank := map[NameEvidence]int{NameExact: 0, NameSimilar: 1, "": 2}
	slices.SortFunc(list, func(a, b OrganizationCandidate) int {
		return cmp.Or(
			cmp.Compare(rank[a.Evidence.Name], rank[b.Evidence.Name]),
			cmp.Compare(b.Evidence.Devices, a.Evidence.Devices),
			cmp.Compare(a.Organization.ID, b.Organization.ID),
		)
	})
	return list
}

// evidence returns what speaks for an organization, by index.
func (m *organizationMatcher) evidence(c *contender, index int) OrganizationEvidence {
	id := m.organizations[index].ID
	e := OrganizationEvidence{Devices: c.devices[id], Serials: c.serials[id]}
	if e.Devices > 0 {
		e.Of = c.shared
	}
	switch {
	case slices.Contains(c.exact, index):
		e.Name = NameExact
	case slices.Contains(c.similar, index):
		e.Name = NameSimilar
	}
	return e
}
