package compose

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/tenant"
)

func (x *index) domains() []*tenant.Domain {
	return distinct(x.snap.Domains.Value, func(d *tenant.Domain) string { return d.Name }, func(a, b *tenant.Domain) int {
		return byName(a.Name, b.Name)
	})
}

func (x *index) roles() []*tenant.DirectoryRole {
	return distinct(x.snap.Roles.Value, func(r *tenant.DirectoryRole) string { return r.ID }, func(a, b *tenant.DirectoryRole) int {
		return byName(a.DisplayName, b.DisplayName, a.ID, b.ID)
	})
}

func (x *index) tenantCard() card {
	c := card{Icon: iconTenant, Title: "Tenant", Href: x.links.entra()}
	ref, org := x.snap.Tenant, x.snap.Organization
	c.Facts = append(c.Facts,
		fact{"Name", one(orElse(x.tenantName(), "Not known"))},
		fact{"Default domain", one(orElse(ref.DefaultDomain, "Not known"))},
		fact{"Tenant id", one(orElse(ref.ID, "Not known"))},
	)
	created := one(orElse(date(org.Value.Created), "Not known"))
	if !org.OK() {
		created = absent(org.Reason)
	}
	verified := cell{More: line{Href: x.links.domains()}}
	for _, d := range x.domains() {
		if d.IsVerified {
			verified.Lines = append(verified.Lines, line{Text: text(d.Name)})
		}
	}
	switch {
	case !x.snap.Domains.OK():
		verified = absent(x.snap.Domains.Reason)
	case len(verified.Lines) == 0:
		verified = one("None")
	}
	c.Facts = append(c.Facts,
		fact{"Created", created},
		fact{"Verified domains", verified},
		fact{"Administrators", x.administrators()},
	)
	return c
}

// administrators lists everyone who holds a role of administration, each once
// with all such roles, global administrators first.
func (x *index) administrators() cell {
	if !x.snap.Roles.OK() {
		return absent(x.snap.Roles.Reason)
	}
	type admin struct {
		user  *tenant.User
		roles []*tenant.DirectoryRole
	}
	var admins []admin
	others := 0
	for id, roles := range x.rolesHeld() {
		roles = slices.DeleteFunc(roles, func(r *tenant.DirectoryRole) bool { return adminRank(r) == noAdmin })
		slices.SortStableFunc(roles, func(a, b *tenant.DirectoryRole) int { return cmp.Compare(adminRank(a), adminRank(b)) })
		switch u := x.userByID[id]; {
		case len(roles) == 0:
		case u == nil:
			others++
		default:
			admins = append(admins, admin{u, roles})
		}
	}
	c := cell{More: line{Href: x.links.roles()}}
	if slices.ContainsFunc(x.roles(), func(r *tenant.DirectoryRole) bool { return adminRank(r) != noAdmin && x.heldUnseen(r) }) {
		c.Lines = append(c.Lines, x.unseenHolders())
	}
	if !x.snap.Users.OK() {
		n := plural(others, "administrator", "administrators")
		c.Lines = append(c.Lines, line{Text: n, Href: x.links.roles()}, unavailableLine(x.snap.Users.Reason))
		return c
	}
	slices.SortFunc(admins, func(a, b admin) int {
		return cmp.Or(cmp.Compare(adminRank(a.roles[0]), adminRank(b.roles[0])),
			byName(a.user.DisplayName, b.user.DisplayName, a.user.UserPrincipalName, b.user.UserPrincipalName, a.user.ID, b.user.ID))
	})
	for _, a := range admins {
		var names []string
		for _, r := range a.roles {
			names = append(names, orElse(r.DisplayName, "Unnamed role"))
		}
		l := x.userLine(a.user)
		l.Tail = "(" + strings.Join(names, ", ") + ")"
		c.Lines = append(c.Lines, l)
	}
	if others > 0 {
		c.Lines = append(c.Lines, line{Text: plural(others, "application or other account", "applications and other accounts"), Href: x.links.roles()})
	}
	if len(c.Lines) == 0 {
		return one("None")
	}
	return c
}

// noAdmin is the rank of roles that are not roles of administration.
const noAdmin = 2

// adminRank orders roles of administration, that of global administrators first.
func adminRank(r *tenant.DirectoryRole) int {
	switch {
	case fold(r.TemplateID) == tenant.GlobalAdministrator:
		return 0
	case strings.Contains(fold(r.DisplayName), "administrator"):
		return 1
	}
	return noAdmin
}

// heldUnseen reports whether a group holds the role, and the groups could not be read.
func (x *index) heldUnseen(r *tenant.DirectoryRole) bool {
	return !x.snap.Groups.OK() && slices.ContainsFunc(r.Members, func(m tenant.Member) bool { return m.Kind == tenant.MemberGroup })
}

// unseenHolders says that nobody knows who holds roles through groups.
func (x *index) unseenHolders() line {
	return line{Icon: iconUnknown, Text: "Those held through groups: " + unavailable(x.snap.Groups.Reason)}
}

// rolesHeld returns the roles of whoever holds one, through a group too, in order of
// name. Groups that could not be read are not among them.
func (x *index) rolesHeld() map[string][]*tenant.DirectoryRole {
	var groups map[string]*tenant.Group
	if x.snap.Groups.OK() {
		groups = make(map[string]*tenant.Group, len(x.groups))
		for _, g := range x.groups {
			groups[fold(g.ID)] = g
		}
	}
	held := map[string][]*tenant.DirectoryRole{}
	for _, r := range x.roles() {
		for _, id := range expand(r.Members, groups) {
			held[id] = append(held[id], r)
		}
	}
	return held
}

// expand returns the ids of the members and of the members of known groups
// among them, each once. Without groups it leaves out those among the members.
func expand(members []tenant.Member, groups map[string]*tenant.Group) []string {
	var ids []string
	seen := map[string]bool{}
	for todo := members; len(todo) > 0; {
		var next []tenant.Member
		for _, m := range todo {
			id := fold(m.ID)
			if id == "" || seen[id] || groups == nil && m.Kind == tenant.MemberGroup {
				continue
			}
			seen[id] = true
			if g := groups[id]; g != nil && m.Kind == tenant.MemberGroup {
				next = append(next, g.Members...)
				continue
			}
			ids = append(ids, id)
		}
		todo = next
	}
	return ids
}

func (x *index) licencesCard() card {
	c := card{Width: half, Icon: iconLicence, Title: "Licences", Href: x.links.licences(), CIPP: x.links.inCIPP(cippLicences)}
	if !x.snap.SKUs.OK() {
		return c.with(absent(x.snap.SKUs.Reason))
	}
	shown := x.licences()
	if len(shown) == 0 {
		return c.with(one("The tenant has no licences."))
	}
	c.Table = &table{
		Head: []string{"Licence", "Total", "Consumed", "Unused"},
		Noun: [2]string{"licence", "licences"},
		Full: line{Text: "All licences", Href: x.links.licences()},
	}
	for _, sku := range shown {
		p := x.product(sku.ID)
		left := lines(unused(sku))
		label := lines(line{Text: p.name, Tail: p.part})
		if sku.Status != "" && !strings.EqualFold(sku.Status, "Enabled") {
			label.Lines = append(label.Lines, line{Icon: iconWarning, Tone: warning, Text: "State: " + readable(sku.Status)})
		}
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{label, total(sku), consumed(sku), left}})
	}
	return x.incomplete(c, "Some licences", tenant.DetailSomeSKUs)
}

// incomplete returns the card with a line about things that were left out of it, if any
// were.
func (x *index) incomplete(c card, what string, left tenant.Detail) card {
	if why, lost := x.unknown(left); lost {
		c.Lines.Lines = append(c.Lines.Lines, line{Icon: why.Icon, Text: what + ": " + why.Text})
	}
	return c
}

func (x *index) devicesCard() card {
	c := card{Icon: iconDevices, Title: "Devices", Href: x.links.devices(), CIPP: x.links.inCIPP(cippDevices)}
	if !x.snap.ManagedDevices.OK() {
		return c.with(absent(x.snap.ManagedDevices.Reason))
	}
	if len(x.devices) == 0 {
		return c.with(one("No devices are enrolled in Intune."))
	}
	var compliant, not, undecided, recent int
	systems := map[string]int{}
	for _, d := range x.devices {
		switch ComplianceText(d.ComplianceState) {
		case "Compliant":
			compliant++
		case "":
			undecided++
		default:
			not++
		}
		if date(d.LastSync) != "" && days(d.LastSync, x.in.Today) <= 30 {
			recent++
		}
		systems[orElse(d.OperatingSystem, "Not known")]++
	}
	c.Bars = []bar{
		shares("Compliance", share{good, "Compliant", compliant}, share{bad, "Non-Compliant", not}, share{neutral, "Not evaluated", undecided}),
		shares("Operating systems", largest(systems)...),
		shares("Last check-in", share{good, "Within 30 days", recent}, share{warning, "Longer ago or never", len(x.devices) - recent}),
	}
	return c.with(one("In NinjaOne too: " + count(x.matched) + " of " + count(len(x.devices))))
}

func (x *index) usersCard() card {
	c := card{Icon: iconUsers, Title: "Users", Href: x.links.users(), CIPP: x.links.inCIPP(cippUsers)}
	if !x.snap.Users.OK() {
		return c.with(absent(x.snap.Users.Reason))
	}
	if len(x.users) == 0 {
		return c.with(one("The tenant has no users."))
	}
	var enabled, licensed, guests, unknown int
	for _, u := range x.users {
		if u.Enabled {
			enabled++
		}
		// Each user counts once: a guest is a guest, with a licence or without.
		if u.Guest() {
			guests++
		} else if u.Licensed() {
			licensed++
		} else if u.LicensesUnknown {
			unknown++
		}
	}
	kinds := []share{{shade(0), "Licensed", licensed}, {shade(2), "Unlicensed", len(x.users) - licensed - guests - unknown}, {shade(3), "Guest", guests}}
	if unknown > 0 {
		kinds = append(kinds, share{neutral, "Not known", unknown})
	}
	c.Bars = []bar{
		shares("Sign-in", share{good, "Enabled", enabled}, share{bad, "Blocked", len(x.users) - enabled}),
		shares("Kinds", kinds...),
	}
	return x.incomplete(x.incomplete(c, "Some users", tenant.DetailSomeUsers), licencesOfSome, tenant.DetailLicenses)
}

func (x *index) standardsCard() card {
	c := card{Width: full, Icon: iconStandard, Title: "CIPP standards applied", CIPP: x.links.inCIPP(cippStandards)}
	if !x.in.Standards.OK() {
		return c.with(absent(x.in.Standards.Reason))
	}
	all := slices.Clone(x.in.Standards.Value)
	slices.SortStableFunc(all, func(a, b tenant.Standard) int {
		return cmp.Or(byName(standardName(a), standardName(b), a.Name, b.Name, a.Template, b.Template), slices.Compare(a.Actions, b.Actions))
	})
	if len(all) == 0 {
		return c.with(one("No CIPP standard applies to this tenant."))
	}
	c.Table = &table{
		Head: []string{"Standard", "Actions", "Template"},
		Noun: [2]string{"standard", "standards"},
		Full: line{Text: "Standards in CIPP", Href: x.links.inCIPP(cippStandards)},
	}
	for _, s := range all {
		actions := slices.Clone(s.Actions)
		slices.Sort(actions)
		for i := range actions {
			actions[i] = text(actions[i])
		}
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			one(orElse(standardName(s), "No name")), one(orElse(strings.Join(actions, ", "), "None")), one(orElse(s.Template, "–")),
		}})
	}
	return c
}

// standardName is what a standard is called, with the templates that it deploys.
func standardName(s tenant.Standard) string {
	name := readable(s.Name)
	if len(s.Deploys) > 0 {
		name += ": " + strings.Join(s.Deploys, ", ")
	}
	return text(name)
}

// maxActions is how many open actions the secure score card lists.
const maxActions = 5

func (x *index) secureScoreCard() card {
	c := card{Width: half, Icon: iconScore, Title: "Secure score", Href: x.links.defender("securescore")}
	score := x.snap.SecureScore
	switch {
	case !score.OK():
		return c.with(absent(score.Reason))
	case score.Value.Max <= 0:
		return c.with(one("Microsoft has not computed a score yet."))
	}
	v := score.Value
	p := percent(v.Current, v.Max)
	c.Bars = []bar{{
		Caption: strconv.Itoa(p) + "%: " + points(v.Current) + " of " + points(v.Max) + " points",
		Parts:   []part{{Tone: information, Percent: p}, {Tone: rest, Percent: 100 - p}},
		Plain:   true,
	}}
	var open []tenant.ScoreAction
	for _, a := range v.Actions {
		if a.Max-a.Score >= 0.05 {
			open = append(open, a)
		}
	}
	slices.SortStableFunc(open, func(a, b tenant.ScoreAction) int {
		return cmp.Or(cmp.Compare(b.Max-b.Score, a.Max-a.Score),
			byName(title(a), title(b), a.Control, b.Control, a.Category, b.Category, a.URL, b.URL))
	})
	why, lost := x.unknown(tenant.DetailTitles) // the profiles also say how much an action gains
	switch {
	case lost:
		return c.with(lines(line{Icon: iconUnknown, Text: "Open actions: " + why.Text}))
	case len(open) == 0:
		return c.with(one("No open actions."))
	}
	c.Table = &table{
		Head: []string{"Most valuable open actions", "Gain", "Category"},
		Noun: [2]string{"action", "actions"},
		Full: line{Text: "All actions", Href: c.Href},
	}
	for _, a := range open[:min(len(open), maxActions)] {
		gain := a.Max - a.Score
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			lines(line{Text: orElse(title(a), "No name"), Href: x.links.action(a.URL)}),
			one("+" + points(gain) + " points, +" + points(gain/v.Max*100) + "%"),
			one(orElse(a.Category, "–")),
		}})
	}
	return c
}

func title(a tenant.ScoreAction) string { return cmp.Or(a.Title, a.Control) }
