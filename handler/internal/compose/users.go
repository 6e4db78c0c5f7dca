package compose

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

// maxUsers is how many users UsersSummary lists.
const maxUsers = 100

// owned is a device of a user.
type owned struct {
	device *tenant.ManagedDevice
	last   time.Time // the user's last logon; zero when it is not known
}

// devicesOf returns the devices of each user, in order of name. The user is the device's
// primary user, or logged on to it.
func (x *index) devicesOf() map[string][]owned {
	all := make(map[string][]owned, len(x.users))
	for _, d := range x.devices {
		last := map[string]time.Time{}
		if id := fold(d.UserID); id != "" {
			last[id] = time.Time{}
		}
		for _, l := range d.UsersLogged {
			if id := fold(l.UserID); id != "" && !l.Last.Before(last[id]) {
				last[id] = l.Last
			}
		}
		for id, t := range last {
			all[id] = append(all[id], owned{d, t})
		}
	}
	return all
}

// quota is the size at which a mailbox stops working, or 0 when unknown.
func quota(m *tenant.MailboxUsage) int64 {
	for _, q := range []int64{m.SendReceiveQuota, m.SendQuota, m.WarningQuota} {
		if q > 0 {
			return q
		}
	}
	return 0
}

// usage shows how much of a quota is used. Neither may be known.
func usage(used, quota int64) line {
	switch {
	case used < 0:
		return line{Text: "Not known"}
	case quota <= 0:
		return line{Text: size(used) + ", quota not known"}
	}
	p := percent(float64(used), float64(quota))
	l := line{Text: size(used) + " of " + size(quota) + ", " + strconv.Itoa(p) + "%", Bar: &bar{Plain: true}}
	t := information
	switch {
	case p >= 95:
		l.Icon, l.Tone, t = iconBad, bad, bad
		l.Text += ", full or nearly full"
	case p >= 80:
		l.Icon, l.Tone, t = iconWarning, warning, warning
		l.Text += ", filling up"
	}
	l.Bar.Parts = []part{{Tone: t, Percent: p}, {Tone: rest, Percent: 100 - p}}
	return l
}

// usersSummary composes UsersSummary.
func (x *index) usersSummary() page {
	if !x.snap.Users.OK() {
		p := absentNotice("Users", x.snap.Users.Reason)
		p.Notices[0].Link = line{Text: "Users in Entra", Href: x.links.users()}
		return p
	}
	shown, noun := x.listedUsers(), [2]string{"user", "users"}
	if x.in.LicensedOnly {
		noun = [2]string{"licensed user", "licensed users"}
	}
	if len(shown) == 0 {
		return noneNotice("Users", "The tenant has no "+noun[1]+".")
	}
	t := &table{
		Head:  []string{"Name", "User name", "Licences", "Mailbox", "OneDrive", "Devices", "Open in"},
		Noun:  noun,
		Total: len(shown),
		Full:  line{Text: "All users", Href: x.links.users()},
	}
	if href := x.links.inCIPP(cippUsers); href != "" {
		t.Full.Href = href
	}
	devices := x.devicesOf()
	for _, u := range shown[:min(len(shown), maxUsers)] {
		t.Rows = append(t.Rows, x.userRow(u, devices[fold(u.ID)]))
	}
	return page{Notices: x.usersNotices(), Table: t}
}

// usersNotices names the parts that the columns of the table lack.
func (x *index) usersNotices() []notice {
	var all []notice
	for _, p := range []struct{ title, reason string }{
		{"Mailbox use", x.snap.MailboxUsage.Reason},
		{"OneDrive use", x.snap.OneDriveUsage.Reason},
		{"Devices", x.snap.ManagedDevices.Reason},
		{"Names of licences", x.snap.SKUs.Reason},
		{"Some users", x.snap.Unknown[tenant.DetailSomeUsers].Reason},
		{licencesOfSome, x.snap.Unknown[tenant.DetailLicenses].Reason},
		{"Devices that users logged on to", x.snap.Unknown[tenant.DetailLoggedOn].Reason},
	} {
		if p.reason != "" {
			all = append(all, notice{Icon: iconUnknown, Title: p.title, Text: unavailable(p.reason)})
		}
	}
	return all
}

func (x *index) userRow(u *tenant.User, devices []owned) row {
	name := lines(line{Text: orElse(u.DisplayName, "No name"), Href: x.links.user(u.ID)})
	if !u.Enabled {
		name.Lines = append(name.Lines, line{Icon: "fas fa-ban", Tone: bad, Text: "Sign-in blocked"})
	}
	if u.Guest() {
		name.Lines = append(name.Lines, line{Icon: "fas fa-user-tag", Text: "Guest"})
	}
	return row{Cells: []cell{
		name,
		one(orElse(u.UserPrincipalName, "–")),
		x.licencesOf(u),
		x.mailboxOf(u),
		x.oneDriveOf(u),
		x.devicesCell(devices),
		lines(usable(
			line{Text: "CIPP", Href: x.links.userInCIPP(cippUser, u.ID)},
			line{Text: "Entra", Href: x.links.user(u.ID)},
		)...),
	}}
}

func (x *index) licencesOf(u *tenant.User) cell {
	if !u.Licensed() {
		return one(map[bool]string{false: "None", true: "Not known"}[u.LicensesUnknown])
	}
	held := make(map[string]product, len(u.Licenses))
	for _, l := range u.Licenses {
		held[fold(l.SKUID)] = x.product(l.SKUID)
	}
	c := cell{More: line{Href: x.links.user(u.ID)}}
	for _, id := range slices.SortedFunc(maps.Keys(held), func(a, b string) int {
		if i, listed := x.rank[a]; listed {
			if j, both := x.rank[b]; both {
				return cmp.Compare(i, j)
			}
		}
		return byName(held[a].name, held[b].name, a, b)
	}) {
		c.Lines = append(c.Lines, line{Text: held[id].name, Tail: held[id].part})
	}
	if u.LicensesUnknown {
		c.Lines = append(c.Lines, line{Icon: iconUnknown, Text: "Others are not known"})
	}
	return c
}

// licencesOfSome heads the reason why the licences of some users are not known.
const licencesOfSome = "Licences of some users"

// notRead stands in a cell whose column is explained above the table.
const notRead = "Not available"

func (x *index) mailboxOf(u *tenant.User) cell {
	if !x.snap.MailboxUsage.OK() {
		return one(notRead)
	}
	if m := x.mailboxes[fold(u.UserPrincipalName)]; m != nil {
		return lines(usage(m.Used, quota(m)))
	}
	return one("None reported")
}

func (x *index) oneDriveOf(u *tenant.User) cell {
	if !x.snap.OneDriveUsage.OK() {
		return one(notRead)
	}
	if o := x.oneDrives[fold(u.UserPrincipalName)]; o != nil {
		return lines(usage(o.Used, o.Allocated))
	}
	return one("None reported")
}

func (x *index) devicesCell(devices []owned) cell {
	if !x.snap.ManagedDevices.OK() {
		return one(notRead)
	}
	if len(devices) == 0 {
		return one("None")
	}
	c := cell{More: line{Href: x.links.devices()}}
	if href := x.links.inCIPP(cippDevices); href != "" {
		c.More.Href = href
	}
	for _, o := range devices {
		l := compliance(o.device.ComplianceState, o.device.ComplianceGraceUntil)
		state := l.Text
		l.Text = orElse(o.device.DeviceName, "No name")
		if id, ok := x.ninja[fold(o.device.ID)]; ok {
			l.Href = x.links.ninjaDevice(id)
		} else {
			state += "; not in NinjaOne"
		}
		l.Tail = state
		if s := osName(o.device); s != "" {
			l.Tail += "; " + s
		}
		l.Tail += "; last logon " + bracket(o.last, x.in.Today)
		c.Lines = append(c.Lines, l)
	}
	return c
}
