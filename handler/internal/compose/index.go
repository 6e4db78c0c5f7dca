package compose

import (
	"cmp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/tenant"
)

// fold makes ids, addresses and names comparable.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// index joins the parts of a snapshot, once.
type index struct {
	in    Input
	snap  *tenant.Snapshot
	links links

	users     []*tenant.User // in order of name
	userByID  map[string]*tenant.User
	skus      []*tenant.SKU      // in order of name, those that CIPP leaves out included
	rank      map[string]int     // place of a SKU in that order, by SKU id
	products  map[string]product // by SKU id
	groups    []*tenant.Group
	devices   []*tenant.ManagedDevice // in order of name; of a machine that enrolled again the newest record
	ninja     map[string]int          // Intune id to NinjaOne id, of matched devices and of those that contest them
	matched   int                     // devices of NinjaOne
	mailboxes map[string]*tenant.MailboxUsage
	oneDrives map[string]*tenant.OneDriveUsage
}

func newIndex(in Input) *index {
	s := in.Snapshot
	x := &index{
		in: in, snap: s, links: newLinks(in),
		userByID: map[string]*tenant.User{},
		products: map[string]product{},
		ninja:    map[string]int{},
		mailboxes: greatest(s.MailboxUsage.Value, func(a, b *tenant.MailboxUsage) int {
			return cmp.Or(a.RefreshDate.Compare(b.RefreshDate), cmp.Compare(a.Used, b.Used), cmp.Compare(quota(a), quota(b)))
		}, func(m *tenant.MailboxUsage) string { return m.UserPrincipalName }),
		oneDrives: greatest(s.OneDriveUsage.Value, func(a, b *tenant.OneDriveUsage) int {
			if a.Deleted != b.Deleted {
				return map[bool]int{true: -1, false: 1}[a.Deleted]
			}
			return cmp.Or(a.RefreshDate.Compare(b.RefreshDate), cmp.Compare(a.Used, b.Used), cmp.Compare(a.Allocated, b.Allocated))
		}, func(o *tenant.OneDriveUsage) string { return o.OwnerPrincipalName }),
	}
	userID := func(u *tenant.User) string { return u.ID }
	x.users = named(s.Users.Value, userID, func(u *tenant.User) string { return u.DisplayName },
		func(u *tenant.User) string { return u.UserPrincipalName }, userID)
	for _, u := range x.users {
		x.userByID[fold(u.ID)] = u
	}
	for _, k := range s.SKUs.Value {
		x.products[fold(k.ID)] = newProduct(in.SKUNames[fold(k.ID)], k.PartNumber, k.ID)
	}
	x.skus = distinct(s.SKUs.Value, func(k *tenant.SKU) string { return k.ID }, func(a, b *tenant.SKU) int {
		return byName(x.product(a.ID).name, x.product(b.ID).name, a.PartNumber, b.PartNumber, a.ID, b.ID)
	})
	x.rank = make(map[string]int, len(x.skus))
	for i, k := range x.skus {
		x.rank[fold(k.ID)] = i
	}
	groupID := func(g *tenant.Group) string { return g.ID }
	x.groups = named(s.Groups.Value, groupID, func(g *tenant.Group) string { return g.DisplayName }, groupID)
	old := superseded(in.Matches)
	deviceID := func(d *tenant.ManagedDevice) string { return d.ID }
	x.devices = named(s.ManagedDevices.Value, deviceID, func(d *tenant.ManagedDevice) string { return d.DeviceName }, deviceID)
	x.devices = slices.DeleteFunc(x.devices, func(d *tenant.ManagedDevice) bool { return old[fold(d.ID)] })
	for _, p := range in.Matches.Pairs {
		x.matched++
		x.ninja[fold(p.Intune.ID)] = p.Ninja.ID
		for _, d := range p.Contesting {
			x.ninja[fold(d.ID)] = p.Ninja.ID
		}
	}
	return x
}

// superseded returns the Intune ids of the older records of machines that enrolled again.
// NinjaOne need not have the machine.
func superseded(m match.Result) map[string]bool {
	old := map[string]bool{}
	for _, p := range m.Pairs {
		for _, d := range p.Superseded {
			old[fold(d.ID)] = true
		}
	}
	for _, l := range m.IntuneOnly {
		if l.Superseded {
			old[fold(l.Device.ID)] = true
		}
	}
	return old
}

// greatest finds items by their folded keys: of several that have a key, the greatest.
func greatest[T any](items []T, compare func(a, b *T) int, keys ...func(*T) string) map[string]*T {
	by := map[string]*T{}
	for i := range items {
		for _, key := range keys {
			k := fold(key(&items[i]))
			if old := by[k]; k != "" && (old == nil || compare(&items[i], old) > 0) {
				by[k] = &items[i]
			}
		}
	}
	return by
}

// of returns what is known of a user, by id or by name.
func of[T any](by map[string]*T, u *tenant.User) *T {
	return cmp.Or(by[fold(u.ID)], by[fold(u.UserPrincipalName)])
}

// listedUsers are the users in the table and with a document.
func (x *index) listedUsers() []*tenant.User {
	if x.in.LicensedOnly {
		return slices.DeleteFunc(slices.Clone(x.users), func(u *tenant.User) bool { return !u.MayBeLicensed() })
	}
	return x.users
}

// tenantName is the name a technician knows the tenant by.
func (x *index) tenantName() string {
	return orElse(x.snap.Tenant.DisplayName, orElse(x.snap.Organization.Value.DisplayName, x.snap.Tenant.DefaultDomain))
}

// product is a SKU as we show it: its name and, in brackets, the part number. The part is
// "" when the name is all there is.
type product struct{ name, part string }

// product names a SKU, one that the tenant does not list (any more) included.
func (x *index) product(id string) product {
	if p, ok := x.products[fold(id)]; ok {
		return p
	}
	return newProduct(x.in.SKUNames[fold(id)], "", id)
}

func newProduct(name, part, id string) product {
	name, part = text(name), text(part)
	switch {
	case name == "" && part == "":
		return product{name: orElse(id, "Unknown licence")}
	case name == "":
		return product{name: part}
	case part == "" || strings.EqualFold(name, part):
		return product{name: name}
	}
	return product{name, "(" + part + ")"}
}

// excluded tells that CIPP leaves a SKU out everywhere: it has no document, no row
// and no part in sums.
func (x *index) excluded(sku *tenant.SKU) bool { return x.in.ExcludedSKUs[fold(sku.ID)] }

// licences are the SKUs that are shown.
func (x *index) licences() []*tenant.SKU {
	return slices.DeleteFunc(slices.Clone(x.skus), x.excluded)
}

// unused says how many licences of a SKU nobody holds, or how many more than
// there are were assigned.
func unused(sku *tenant.SKU) line {
	if !sku.Counted() {
		return line{Text: "Not known"}
	}
	if over := sku.OverAssigned(); over > 0 {
		return line{Icon: iconWarning, Tone: warning, Text: "0, " + count(over) + " too many assigned"}
	}
	return line{Text: count(sku.Unused())}
}

// consumed says how many licences of a SKU are held.
func consumed(sku *tenant.SKU) cell {
	if sku.ConsumedUnknown {
		return one("Not known")
	}
	return one(count(sku.Consumed))
}

// total says how many licences of a SKU may be assigned, and what became of the
// others.
func total(sku *tenant.SKU) cell {
	if sku.UnitsUnknown {
		return one("Not known")
	}
	c := one(count(sku.Usable()))
	if sku.Warning > 0 {
		c.Lines = append(c.Lines, line{Icon: iconWarning, Tone: warning, Text: count(sku.Warning) + " of them in the grace period"})
	}
	if sku.Suspended > 0 {
		c.Lines = append(c.Lines, line{Icon: iconWarning, Tone: warning, Text: count(sku.Suspended) + " more suspended"})
	}
	if sku.LockedOut > 0 {
		c.Lines = append(c.Lines, line{Icon: iconWarning, Tone: warning, Text: count(sku.LockedOut) + " more locked out"})
	}
	return c
}

// unknown returns the line for an unknown detail of a part that was read. It is false for
// what the tenant merely lacks.
func (x *index) unknown(d tenant.Detail) (line, bool) {
	why, lost := x.snap.Unknown[d]
	return unavailableLine(why.Reason), lost && !why.Expected
}

// userLine names a user, linked to the user's page.
func (x *index) userLine(u *tenant.User) line {
	return line{Text: orElse(u.DisplayName, orElse(u.UserPrincipalName, u.ID)), Href: x.links.user(u.ID)}
}

// osName is a device's system and version.
func osName(d *tenant.ManagedDevice) string {
	return text(d.OperatingSystem + " " + d.OSVersion)
}
