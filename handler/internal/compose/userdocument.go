package compose

import (
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/tenant"
)

// UserDocuments composes the documents of one tenant's users one at a time. All of them
// together may not fit into memory. It is safe for concurrent use.
type UserDocuments struct {
	*index
	tree      groupTree
	ownedBy   map[string][]owned                 // by user id
	heldBy    map[string][]*tenant.DirectoryRole // by user id, in order of name
	policies  []policy
	settings  map[string]*tenant.Mailbox    // by user id and by user name
	protocols map[string]*tenant.CASMailbox // by user id and by user name
	access    tenant.Part[MailboxAccess]
	// rolesOfGroups: groups that could not be read hold roles, so that heldBy
	// does not name everybody.
	rolesOfGroups bool
}

// NewUserDocuments prepares what the documents of all users have in common.
func NewUserDocuments(in Input, access tenant.Part[MailboxAccess]) *UserDocuments {
	x := &UserDocuments{
		index:    newIndex(in),
		policies: newPolicies(in.Snapshot.ConditionalAccess.Value),
		settings: greatest(in.Snapshot.Mailboxes.Value, func(a, b *tenant.Mailbox) int {
			return byName(a.PrimarySMTPAddress, b.PrimarySMTPAddress, a.Type, b.Type)
		}, func(m *tenant.Mailbox) string { return m.UserID }, func(m *tenant.Mailbox) string { return m.UserPrincipalName }),
		protocols: greatest(in.Snapshot.CASMailboxes.Value, func(a, b *tenant.CASMailbox) int {
			return byName(a.UserID, b.UserID, a.UserPrincipalName, b.UserPrincipalName)
		}, func(m *tenant.CASMailbox) string { return m.UserID }, func(m *tenant.CASMailbox) string { return m.UserPrincipalName }),
		access: access,
	}
	x.tree = newGroupTree(x.groups, tenant.MemberDevice)
	x.ownedBy = x.devicesOf()
	x.heldBy = x.rolesHeld()
	x.rolesOfGroups = slices.ContainsFunc(x.roles(), x.heldUnseen)
	return x
}

// IDs returns the users that get a document, in lower case and in order of name. That is
// all, or only those who are or may be licensed when Input says so.
func (d *UserDocuments) IDs() []string {
	var ids []string
	for _, u := range d.listedUsers() {
		if id := fold(u.ID); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Has reports whether the tenant has the user, with a document or without.
func (d *UserDocuments) Has(id string) bool { return d.userByID[fold(id)] != nil }

// Devices returns the NinjaOne ids of the user's matched devices, in
// ascending order.
func (d *UserDocuments) Devices(id string) []int {
	var ids []int
	for _, o := range d.ownedBy[fold(id)] {
		if n, ok := d.ninja[fold(o.device.ID)]; ok {
			ids = append(ids, n)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// LicensesUnknown reports whether the user may hold others than Licenses.
func (d *UserDocuments) LicensesUnknown(id string) bool {
	u := d.userByID[fold(id)]
	return u != nil && u.LicensesUnknown
}

// Licenses returns the ids of the SKUs that the user is known to hold, in lower case and
// in ascending order.
func (d *UserDocuments) Licenses(id string) []string {
	u := d.userByID[fold(id)]
	if u == nil {
		return nil
	}
	held := map[string]bool{}
	for _, l := range u.Licenses {
		held[fold(l.SKUID)] = true
	}
	return slices.Sorted(maps.Keys(held))
}

// Document composes the document of one of the tenant's users.
func (d *UserDocuments) Document(id string) (Document, error) {
	u := d.userByID[fold(id)]
	if u == nil {
		return Document{}, d.none("user", id)
	}
	groups := d.tree.of(u.ID)
	texts := map[string]string{FieldUserID: fold(u.ID), FieldUserUPN: u.UserPrincipalName}
	return d.document(u.ID, userDocumentName(u), texts, map[string]page{
		FieldUserLinks:   d.userLinks(u),
		FieldUserSummary: d.userSummary(u, groups),
		FieldUserDevices: d.userDevices(u),
		FieldUserGroups:  d.userGroups(u, groups),
	}), nil
}

// userDocumentName is "Display Name (UPN)", as CIPP names the documents.
func userDocumentName(u *tenant.User) string {
	name, upn := clip(u.DisplayName, maxName), text(u.UserPrincipalName)
	switch {
	case upn == "":
		return orElse(name, fold(u.ID))
	case name == "":
		return upn
	}
	return name + " (" + upn + ")"
}

func (d *UserDocuments) userLinks(u *tenant.User) page {
	portals := card{Width: half, Icon: iconPortal, Title: "Microsoft portals", Links: usable(
		line{Icon: "fas fa-user", Text: "Entra profile", Href: d.links.user(u.ID)},
		line{Icon: "fas fa-clock-rotate-left", Text: "Sign-in logs", Href: d.links.signIns(u.ID)},
		line{Icon: "fas fa-comments", Text: "Teams admin", Href: d.links.userInTeams(u.ID)},
		line{Icon: iconDevices, Text: "Intune devices", Href: d.links.devicesOfUser(u.ID)},
	)}
	p := page{Cards: []card{portals}}
	if d.links.cipp != "" {
		p.Cards = append(p.Cards, card{Width: half, Icon: "fas fa-compass", Title: "CIPP", Links: usable(
			line{Icon: iconView, Text: "View user", Href: d.links.userInCIPP(cippUser, u.ID)},
			line{Icon: "fas fa-user-pen", Text: "Edit user", Href: d.links.userInCIPP(cippUser+"/edit", u.ID)},
			line{Icon: "fas fa-magnifying-glass", Text: "Investigate a compromise", Href: d.links.userInCIPP(cippInvestigate, u.ID)},
		)})
	}
	return p
}

func (d *UserDocuments) userSummary(u *tenant.User, groups []membership) page {
	return page{Cards: []card{
		d.userCard(u),
		d.mailboxCard(u),
		d.mailboxSettingsCard(u),
		d.oneDriveCard(u),
		d.policiesCard(u, groups),
	}}
}

func (d *UserDocuments) userCard(u *tenant.User) card {
	signIn := line{Icon: iconGood, Tone: good, Text: "Enabled"}
	if !u.Enabled {
		signIn = line{Icon: "fas fa-ban", Tone: bad, Text: "Blocked"}
	}
	kind := "Member"
	switch {
	case u.Guest():
		kind = "Guest"
	case guestType(u) != "":
		kind = "Member from another organization"
	}
	list := func(values ...string) cell {
		v := cell{More: line{Href: d.links.user(u.ID)}}
		for _, s := range values {
			if s = text(s); s != "" {
				v.Lines = append(v.Lines, line{Text: s})
			}
		}
		return v
	}
	var signedIn cell
	if date(u.LastSignIn) != "" {
		signedIn = one(bracket(u.LastSignIn, d.in.Today))
	} else if why, lost := d.unknown(tenant.DetailSignIns); lost {
		signedIn = lines(why)
	}
	return card{Icon: "fas fa-user", Title: "User", Href: d.links.user(u.ID), CIPP: d.links.userInCIPP(cippUser, u.ID), Facts: d.shared(known(
		fact{"Name", one(orElse(u.DisplayName, "No name"))},
		factText("User name", u.UserPrincipalName),
		factText("Object id", u.ID),
		fact{"Sign-in", lines(signIn)},
		fact{"Kind", one(kind)},
		fact{"Title", list(u.JobTitle)},
		fact{"Department", list(u.Department)},
		fact{"Phones", list(append([]string{u.MobilePhone}, u.BusinessPhones...)...)},
		fact{"Office", list(u.OfficeLocation)},
		fact{"Aliases", list(aliases(u)...)},
		fact{"Licences", d.licencesHeld(u)},
		fact{"Administrator roles", d.rolesOf(u)},
		fact{"Directory sync", one(yesNo(u.OnPremisesSyncEnabled))},
		fact{"Created", one(date(u.Created))},
		fact{"Last sign-in", signedIn},
	))}
}

// licencesHeld is licencesOf with the reason why some have no name.
func (d *UserDocuments) licencesHeld(u *tenant.User) cell {
	c := d.licencesOf(u)
	if u.Licensed() && !d.snap.SKUs.OK() {
		c.Lines = append([]line{unavailableLine(d.snap.SKUs.Reason)}, c.Lines...)
	}
	return c
}

// aliases returns the user's further mail addresses, in order.
func aliases(u *tenant.User) []string {
	set := map[string]bool{}
	for _, a := range u.ProxyAddresses {
		if address, found := strings.CutPrefix(a, "smtp:"); found {
			set[fold(address)] = true
		}
	}
	delete(set, fold(u.Mail))
	return slices.Sorted(maps.Keys(set))
}

func (d *UserDocuments) rolesOf(u *tenant.User) cell {
	if !d.snap.Roles.OK() {
		return absent(d.snap.Roles.Reason)
	}
	c := cell{More: line{Href: d.links.user(u.ID)}}
	if d.rolesOfGroups {
		c.Lines = append(c.Lines, d.unseenHolders())
	}
	for _, r := range d.heldBy[fold(u.ID)] {
		c.Lines = append(c.Lines, line{Icon: iconRoles, Text: orElse(r.DisplayName, "Unnamed role"), Href: d.links.inCIPP(cippRoles)})
	}
	if len(c.Lines) == 0 {
		return one("None")
	}
	return c
}

func (d *UserDocuments) mailboxCard(u *tenant.User) card {
	c := card{Icon: "fas fa-envelope", Title: "Mailbox", Href: d.links.exchange()}
	if !d.snap.MailboxUsage.OK() {
		return c.with(absent(d.snap.MailboxUsage.Reason))
	}
	m := d.mailboxes[fold(u.UserPrincipalName)]
	if m == nil {
		return c.with(one("No mailbox is reported for this user."))
	}
	c.Facts = []fact{
		{"Size", lines(usage(m.Used, quota(m)))},
		{"Items", one(roughly(m.Items))},
		factText("Warning at", knownSize(m.WarningQuota)),
		factText("Sending stops at", knownSize(m.SendQuota)),
		factText("Receiving stops at", knownSize(m.SendReceiveQuota)),
		factText("Last activity", bracket(m.LastActivity, d.in.Today)),
	}
	return c
}

func (d *UserDocuments) mailboxSettingsCard(u *tenant.User) card {
	c := card{Icon: "fas fa-sliders", Title: "Mailbox settings", Href: d.links.exchange()}
	if !d.snap.Mailboxes.OK() {
		return c.with(absent(d.snap.Mailboxes.Reason))
	}
	m := of(d.settings, u)
	if m == nil {
		return c.with(one("The user has no mailbox."))
	}
	forwarding := line{Text: "None"}
	to := orElse(m.ForwardingAddress, text(m.ForwardingSMTPAddress)) // Exchange ignores the second where both are set
	if kind, address, found := strings.Cut(to, ":"); found && fold(kind) == "smtp" {
		to = text(address)
	}
	if to != "" {
		forwarding = line{Icon: iconWarning, Tone: warning, Text: "To " + to, Tail: "(no copy is kept)"}
		if m.DeliverAndForward {
			forwarding.Tail = "(a copy is kept)"
		}
	}
	c.Facts = []fact{
		factText("Kind", readable(m.Type)),
		factText("Address", m.PrimarySMTPAddress),
		{"Forwarding", lines(forwarding)},
		{"Litigation hold", one(onOff(m.LitigationHold))},
		{"Archive mailbox", one(onOff(m.ArchiveEnabled))},
		{"Hidden from address lists", one(yesNo(m.HiddenFromAddressLists))},
		{"Protocols", d.protocolsOf(u)},
		{"Full access", d.fullAccess(u, m)},
	}
	return c
}

func onOff(b bool) string {
	if b {
		return "On"
	}
	return "Off"
}

func (d *UserDocuments) protocolsOf(u *tenant.User) cell {
	if !d.snap.CASMailboxes.OK() {
		return absent(d.snap.CASMailboxes.Reason)
	}
	m := of(d.protocols, u)
	if m == nil {
		return one("Not known")
	}
	var on []string
	for _, p := range []struct {
		name string
		on   bool
	}{
		{"Outlook on the web", m.OWA}, {"MAPI", m.MAPI}, {"Exchange Web Services", m.EWS},
		{"ActiveSync", m.ActiveSync}, {"IMAP", m.IMAP}, {"POP", m.POP},
	} {
		if p.on {
			on = append(on, p.name)
		}
	}
	return one(orElse(strings.Join(on, ", "), "None"))
}

// fullAccess lists who may open the mailbox. It dates CIPP's cache only once that is old.
// A date that moves every night would rewrite every document every night.
func (d *UserDocuments) fullAccess(u *tenant.User, m *tenant.Mailbox) cell {
	if !d.access.OK() {
		return absent(d.access.Reason)
	}
	accounts := map[string]bool{}
	for _, key := range []string{u.ID, u.UserPrincipalName, m.UserID, m.UserPrincipalName, m.PrimarySMTPAddress} {
		for _, a := range d.access.Value.Full[fold(key)] {
			if a = text(a); a != "" && fold(a) != fold(u.UserPrincipalName) {
				accounts[a] = true
			}
		}
	}
	c := cell{More: line{Href: d.links.userInCIPP(cippUser, u.ID)}}
	for _, a := range slices.SortedFunc(maps.Keys(accounts), func(a, b string) int { return byName(a, b) }) {
		c.Lines = append(c.Lines, line{Text: a})
	}
	if len(c.Lines) == 0 {
		c.Lines = append(c.Lines, line{Text: "Nobody else"})
	}
	asOf := d.access.Value.AsOf
	switch day := date(asOf); {
	case day == "":
		c.Lines[0].Tail = "(from CIPP's cache, of unknown date)"
	case days(asOf, d.in.Today) <= 7:
		c.Lines[0].Tail = "(from CIPP's cache, read within 7 days)"
	default:
		c.Lines[0].Tail = "(from CIPP's cache of " + day + ")"
	}
	return c
}

func (d *UserDocuments) oneDriveCard(u *tenant.User) card {
	c := card{Icon: "fas fa-cloud", Title: "OneDrive"}
	if !d.snap.OneDriveUsage.OK() {
		return c.with(absent(d.snap.OneDriveUsage.Reason))
	}
	o := d.oneDrives[fold(u.UserPrincipalName)]
	if o == nil {
		return c.with(one("No OneDrive is reported for this user."))
	}
	owner := line{Text: "Not deleted"}
	if o.Deleted {
		owner = line{Icon: iconWarning, Tone: warning, Text: "Deleted"}
	}
	c.Href = tenantURL(o.SiteURL)
	c.Facts = known(
		fact{"Size", lines(usage(o.Used, o.Allocated))},
		fact{"Files", one(roughly(o.Files))},
		factText("Last activity", bracket(o.LastActivity, d.in.Today)),
		fact{"Owner", lines(owner)},
		fact{"Address", lines(line{Text: text(o.SiteURL), Href: c.Href})},
	)
	return c
}

// policiesCard lists the Conditional Access policies that apply to the user,
// whatever their state, which is shown.
func (d *UserDocuments) policiesCard(u *tenant.User, groups []membership) card {
	c := card{Width: full, Icon: iconScore, Title: "Conditional Access policies that apply", Href: d.links.policies()}
	if !d.snap.ConditionalAccess.OK() {
		return c.with(absent(d.snap.ConditionalAccess.Reason))
	}
	s := subject{id: fold(u.ID), guest: guestType(u), moreRoles: d.rolesOfGroups}
	if d.snap.Groups.OK() {
		s.groups = make(map[string]string, len(groups))
		for _, m := range groups {
			s.groups[fold(m.group.ID)] = "Group " + orElse(m.group.DisplayName, "without name")
		}
	}
	if d.snap.Roles.OK() {
		s.roles = make(map[string]string)
		for _, r := range d.heldBy[s.id] {
			s.roles[fold(r.TemplateID)] = "Role " + orElse(r.DisplayName, "without name")
		}
	}
	t := &table{
		Head: []string{"Policy", "State", "Applies because of"},
		Noun: [2]string{"policy", "policies"},
		Full: line{Text: "All policies", Href: c.Href},
	}
	for _, p := range d.policies {
		v, reasons := p.judge(s)
		if v == appliesNot {
			continue
		}
		state, _ := policyState(p.State)
		because := cell{More: line{Href: d.links.policy(p.ID)}}
		for _, r := range reasons {
			because.Lines = append(because.Lines, line{Text: r})
		}
		if v == undecided {
			because.Lines[0] = line{Icon: iconUnknown, Text: "Cannot be told: " + reasons[0]}
		}
		t.Rows = append(t.Rows, row{Cells: []cell{
			lines(line{Text: orElse(p.Name, "No name"), Href: d.links.policy(p.ID)}), lines(state), because,
		}})
	}
	if len(t.Rows) == 0 {
		return c.with(one("No policy applies to this user."))
	}
	c.Table = t
	return c
}

func (d *UserDocuments) userDevices(u *tenant.User) page {
	const title = "Devices"
	if !d.snap.ManagedDevices.OK() {
		return absentNotice(title, d.snap.ManagedDevices.Reason)
	}
	all := d.ownedBy[fold(u.ID)]
	var notices []notice
	if why, lost := d.unknown(tenant.DetailLoggedOn); lost {
		notices = []notice{{Icon: iconUnknown, Title: "Devices that the user logged on to", Text: why.Text}}
	}
	if len(all) == 0 {
		if notices != nil {
			return page{Notices: notices}
		}
		return noneNotice(title, "The user has no devices in Intune.")
	}
	t := &table{
		Head: []string{"Name", "Compliance", "System", "Make and model", "Serial number", "Enrolled", "Last logon", "Last check-in", "Open in"},
		Noun: [2]string{"device", "devices"},
		Full: line{Text: "The user's devices in Intune", Href: d.links.devicesOfUser(u.ID)},
	}
	for _, o := range all {
		name := line{Text: orElse(o.device.DeviceName, "No name"), Tail: "(not in NinjaOne)"}
		if id, ok := d.ninja[fold(o.device.ID)]; ok {
			name.Href, name.Tail = d.links.ninjaDevice(id), ""
		}
		t.Rows = append(t.Rows, row{Class: rowState(o.device.ComplianceState), Cells: []cell{
			lines(name),
			lines(compliance(o.device.ComplianceState, o.device.ComplianceGraceUntil)),
			one(orElse(osName(o.device), "Not known")),
			one(orElse(o.device.Manufacturer+" "+o.device.Model, "Not known")),
			one(orElse(o.device.SerialNumber, "Not known")),
			one(orElse(date(o.device.Enrolled), "Not known")),
			one(bracket(o.last, d.in.Today)),
			one(bracket(o.device.LastSync, d.in.Today)),
			lines(usable(
				line{Text: "Intune", Href: d.links.device(o.device.ID)},
				line{Text: "CIPP", Href: d.links.deviceInCIPP(o.device.ID)},
			)...),
		}})
	}
	return page{Notices: notices, Table: t}
}

func (d *UserDocuments) userGroups(u *tenant.User, groups []membership) page {
	const title = "Groups"
	if !d.snap.Groups.OK() {
		return absentNotice(title, d.snap.Groups.Reason)
	}
	if len(groups) == 0 {
		return noneNotice(title, "The user is in no group.")
	}
	t := &table{
		Head: []string{"Group", "Mail", "Type", "Membership", "Open in"},
		Noun: [2]string{"group", "groups"},
		Full: line{Text: "The user in Entra", Href: d.links.user(u.ID)},
	}
	for _, m := range groups {
		t.Rows = append(t.Rows, row{Cells: []cell{
			lines(line{Text: orElse(m.group.DisplayName, "No name"), Href: d.links.group(m.group.ID)}),
			one(orElse(m.group.Mail, "–")),
			one(groupType(m.group)),
			one(m.how()),
			lines(usable(
				line{Text: "Entra", Href: d.links.group(m.group.ID)},
				line{Text: "CIPP", Href: d.links.groupInCIPP(m.group.ID)},
			)...),
		}})
	}
	return page{Table: t}
}
