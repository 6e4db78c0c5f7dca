package compose

import (
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// This file shares the room of an organization's fields among its tenants.

// Form is one tenant's section of a field, whole or cut down.
type Form struct {
	HTML string `json:"html"`
	Cut  Cut    `json:"cut"`
}

// Forms are the shorter forms of a tenant's sections, by field from the longest
// to the shortest. They do not depend on how many tenants share the
// organization. So everyone who joins the same sections gets the same value.
type Forms struct {
	Heading       string // names the tenant above a section that was composed for it alone
	TenantLinks   []Form
	TenantSummary []Form
	UsersSummary  []Form
}

// splits are the parts of NinjaOne's limit to which a section is cut down.
var splits = [...]int{2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}

// Sections composes a tenant's sections of the organization's fields, whole and in the
// shorter forms. What does not fit into a field gives way. A tenant that is alone in its
// organization gets the shortest forms only. They serve once another tenant is mapped to
// it, until the first one's next sync.
func Sections(in Input) (whole OrganizationFields, f Forms) {
	x := newIndex(in)
	if !in.Shared {
		f.Heading, _ = written(ninjaone.MaxHTML, func(m *markup) { m.heading(x.name()) })
	}
	pages := x.organization()
	section := func(name string) (string, []Form) {
		value := pages[name].html()
		return value, pages[name].shorter(value, in.Shared)
	}
	whole.TenantLinks, f.TenantLinks = section("TenantLinks")
	whole.TenantSummary, f.TenantSummary = section("TenantSummary")
	whole.UsersSummary, f.UsersSummary = section("UsersSummary")
	return whole, f
}

// shorter returns the forms of a page that are shorter than its whole.
func (p page) shorter(whole string, shared bool) []Form {
	length := ninjaone.JSONLength(whole)
	var forms []Form
	add := func(s string, cut Cut) {
		if n := ninjaone.JSONLength(s); n < length && s != "" {
			forms, length = append(forms, Form{s, cut}), n
		}
	}
	for _, part := range splits {
		limit := ninjaone.MaxHTML / part
		if shared && limit < length {
			add(p.fit(limit))
		}
	}
	for _, last := range []Cut{OneLine, NameOnly} {
		s, _ := p.cut(last, ninjaone.MaxHTML)
		add(s, last)
	}
	return forms
}

// name is what a tenant is called in every case.
func (x *index) name() string {
	return orElse(x.tenantName(), orElse(x.snap.Tenant.ID, "Tenant without a name"))
}

// brief is what is left of a field beside the tenant's name, where there is room
// for a line only.
func (x *index) brief(field string) []line {
	users := counted(x.snap.Users, len(x.users), "user", "users")
	cippUsers := line{Text: "Users in CIPP", Href: x.links.inCIPP(cippUsers)}
	switch field {
	case "TenantLinks":
		return usable(line{Text: "Entra", Href: x.links.entra()}, line{Text: "Intune", Href: x.links.intune()},
			line{Text: "Exchange", Href: x.links.exchange()}, line{Text: "CIPP", Href: x.links.inCIPP("")})
	case "UsersSummary":
		return append([]line{{Text: users}}, usable(line{Text: "Users in Entra", Href: x.links.users()}, cippUsers)...)
	}
	numbers := []string{users, counted(x.snap.ManagedDevices, len(x.devices), "device", "devices"),
		counted(x.snap.Groups, len(x.groups), "group", "groups"), counted(x.snap.SKUs, len(x.licences()), "licence", "licences")}
	return append([]line{{Text: strings.Join(numbers, ", ")}}, usable(line{Text: "Entra", Href: x.links.entra()}, line{Text: "CIPP", Href: x.links.inCIPP("")})...)
}

// counted says how many there are of a part, or that the number is unknown.
func counted[T any](p tenant.Part[T], n int, one, many string) string {
	if !p.OK() {
		return many + " not known"
	}
	return plural(n, one, many)
}

// Join puts the sections of several tenants into one value of a shared field, in the
// order given. The value has at most limit characters.
// Each section is in its longest form that leaves the others room, and the longest give
// way first. Join returns how it cut each section. At the end it counts sections of which
// not even the name fits.
func Join(limit int, sections ...[]Form) (value string, cuts []Cut) {
	form := make([]int, len(sections)) // the form that each is in
	length := make([]int, len(sections))
	total := 0
	for i, forms := range sections {
		length[i] = ninjaone.JSONLength(forms[0].HTML)
		total += length[i]
	}
	for total > limit {
		longest := -1
		for i, forms := range sections {
			if form[i]+1 < len(forms) && (longest < 0 || length[i] > length[longest]) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		form[longest]++
		total -= length[longest]
		length[longest] = ninjaone.JSONLength(sections[longest][form[longest]].HTML)
		total += length[longest]
	}
	cuts = make([]Cut, len(sections))
	parts := make([]string, len(sections))
	for i, forms := range sections {
		parts[i], cuts[i] = forms[form[i]].HTML, forms[form[i]].Cut
	}
	hidden, shown := 0, total // what is shown less the line about what is hidden
	for total > limit && hidden < len(sections) {
		// The longest first: it may be of an earlier version, which kept no shorter form.
		longest := 0
		for i := range length {
			if length[i] >= length[longest] {
				longest = i
			}
		}
		hidden++
		parts[longest], cuts[longest] = "", NotShown
		shown -= length[longest]
		length[longest] = 0
		total = shown + ninjaone.JSONLength(missingTenants(hidden))
	}
	if hidden > 0 {
		parts = append(parts, missingTenants(hidden))
	}
	value = strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "")
	if ninjaone.JSONLength(value) > limit {
		return "", cuts
	}
	return value, cuts
}

// missingTenants says how many tenants have no room in a field.
func missingTenants(n int) string {
	s, _ := inOneLine([]line{{Icon: iconInfo, Text: plural(n, "tenant", "tenants") + " of this organization not shown: there is no room for more in this field."}}, ninjaone.MaxHTML)
	return s
}
