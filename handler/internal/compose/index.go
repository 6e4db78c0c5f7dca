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

// byName orders by name as people read it, then by ids so that the order does
// not depend on the input's.
func byName(a, b string, ids ...string) int {
	c := cmp.Or(cmp.Compare(fold(a), fold(b)), cmp.Compare(a, b))
	for i := 0; c == 0 && i+1 < len(ids); i += 2 {
		c = cmp.Compare(ids[i], ids[i+1])
	}
	return c
}

// distinct returns pointers to the items, in the given order, each id once. An
// item without id is kept.
func distinct[T any](items []T, id func(*T) string, order func(a, b *T) int) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	slices.SortStableFunc(all, order)
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(t *T) bool {
		key := fold(id(t))
		if key == "" {
			return false
		}
		was := seen[key]
		seen[key] = true
		return was
	})
}

// index joins the parts of a snapshot, once.
type index struct {
	in    Input
	snap  *tenant.Snapshot
	links links

	users     []*tenant.User // in order of name
	userByID  map[string]*tenant.User
	skus      []*tenant.SKU      // in order of name
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
		userByID:  map[string]*tenant.User{},
		products:  map[string]product{},
		ninja:     map[string]int{},
		mailboxes: map[string]*tenant.MailboxUsage{},
		oneDrives: map[string]*tenant.OneDriveUsage{},
	}
	x.users = distinct(s.Users.Value, func(u *tenant.User) string { return u.ID }, func(a, b *tenant.User) int {
		return byName(a.DisplayName, b.DisplayName, a.UserPrincipalName, b.UserPrincipalName, a.ID, b.ID)
	})
	for _, u := range x.users {
		x.userByID[fold(u.ID)] = u
	}
	for _, k := range s.SKUs.Value {
		x.products[fold(k.ID)] = newProduct(in.SKUNames[fold(k.ID)], k.PartNumber, k.ID)
	}
	x.skus = distinct(s.SKUs.Value, func(k *tenant.SKU) string { return k.ID }, func(a, b *tenant.SKU) int {
		return byName(x.product(a.ID).name, x.product(b.ID).name, a.PartNumber, b.PartNumber, a.ID, b.ID)
	})
	x.groups = distinct(s.Groups.Value, func(g *tenant.Group) string { return g.ID }, func(a, b *tenant.Group) int {
		return byName(a.DisplayName, b.DisplayName, a.ID, b.ID)
	})
	old := superseded(in.Matches)
	x.devices = distinct(s.ManagedDevices.Value, func(d *tenant.ManagedDevice) string { return d.ID }, func(a, b *tenant.ManagedDevice) int {
		return byName(a.DeviceName, b.DeviceName, a.ID, b.ID)
	})
	x.devices = slices.DeleteFunc(x.devices, func(d *tenant.ManagedDevice) bool { return old[fold(d.ID)] })
	for _, p := range in.Matches.Pairs {
		if p.Intune == nil || p.Ninja == nil {
			continue
		}
		x.matched++
		x.ninja[fold(p.Intune.ID)] = p.Ninja.ID
		for _, d := range p.Contesting {
			x.ninja[fold(d.ID)] = p.Ninja.ID
		}
	}
	for i := range s.MailboxUsage.Value {
		m := &s.MailboxUsage.Value[i]
		keep(x.mailboxes, fold(m.UserPrincipalName), m, func(a, b *tenant.MailboxUsage) int {
			return cmp.Or(a.RefreshDate.Compare(b.RefreshDate), cmp.Compare(a.Used, b.Used), cmp.Compare(quota(a), quota(b)))
		})
	}
	for i := range s.OneDriveUsage.Value {
		o := &s.OneDriveUsage.Value[i]
		keep(x.oneDrives, fold(o.OwnerPrincipalName), o, func(a, b *tenant.OneDriveUsage) int {
			return cmp.Or(a.RefreshDate.Compare(b.RefreshDate), cmp.Compare(a.Used, b.Used), cmp.Compare(a.Allocated, b.Allocated))
		})
	}
	return x
}

// superseded returns the Intune ids of the older records of machines that
// enrolled again, whether or not NinjaOne has the machine.
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

// keep puts v under key unless what is there already is greater.
func keep[V any](m map[string]V, key string, v V, compare func(a, b V) int) {
	if old, ok := m[key]; key != "" && (!ok || compare(v, old) > 0) {
		m[key] = v
	}
}

// tenantName is the name a technician knows the tenant by.
func (x *index) tenantName() string {
	return orElse(x.snap.Tenant.DisplayName, orElse(x.snap.Organization.Value.DisplayName, x.snap.Tenant.DefaultDomain))
}

// product is a SKU as it is shown: its name and, beside it, the part number in
// brackets, which is "" when the name is all there is.
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

// excluded tells that a SKU does not count towards the unused licences.
func (x *index) excluded(sku *tenant.SKU) bool { return x.in.ExcludedSKUs[fold(sku.ID)] }

// unused says how many licences of a SKU nobody holds, or how many more than
// there are were assigned.
func unused(sku *tenant.SKU) line {
	if over := sku.OverAssigned(); over > 0 {
		return line{Icon: iconWarning, Tone: warning, Text: "0, " + count(over) + " too many assigned"}
	}
	return line{Text: count(sku.Unused())}
}

// total says how many licences of a SKU may be assigned, and what became of the
// others.
func total(sku *tenant.SKU) cell {
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

// unknown returns the line in place of a detail that is not known although its
// part was read. It is false for what the tenant merely lacks.
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
