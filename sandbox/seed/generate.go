package seed

import (
	"fmt"
	"math/rand/v2"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

// Size says how much [Generate] makes. Users, devices and groups are per
// tenant.
type Size struct {
	Tenants, Users, Devices, Groups int
	Day                             time.Time // zero = today, UTC
}

// Generate makes tenants of one or more sizes for measurements, the same ones for the
// same sizes. They have users with licences and mailboxes, and groups with members. Their
// devices checked in today, each with its NinjaOne device. The first size's day is that
// of all.
func Generate(sizes ...Size) *Seed {
	day := sizes[0].Day
	if day.IsZero() {
		day = time.Now()
	}
	s := newSeed(day)
	for _, size := range sizes {
		for range size.Tenants {
			s.generated(len(s.Tenants), size)
		}
	}
	return s
}

// generated adds the tenant with a number.
func (s *Seed) generated(i int, size Size) {
	rng := rand.New(rand.NewPCG(7, uint64(i)))
	name := fmt.Sprintf("Tenant %03d", i+1)
	b := newTenant(s, rng, name, fmt.Sprintf("tenant-%03d.example", i+1), 100+i)
	b.fresh = true
	s.organization(b, 100+i, name)
	list := b.users(size.Users*9/10, skuE3)
	b.users(size.Users - size.Users*9/10)
	b.products(10, skuE3)
	b.computers(size.Devices)
	b.compliancePolicies()
	for g := range size.Groups {
		n := 5 + rng.IntN(40)
		var members []m365sim.Member
		if g%10 == 9 {
			members = b.deviceRefs(n)
		} else {
			members = refs("user", some(rng, b.t.Users, n)...)
		}
		if g > 0 && g%7 == 0 {
			members = append(members, m365sim.Member{Type: "group", ID: b.t.Groups[g-1].ID()})
		}
		b.group(fmt.Sprintf("Group %04d", g+1), []string{"security", "unified", "dynamic"}[g%3], members...)
	}
	if len(list) > 1 {
		b.role(roleGlobalAdmin, refs("user", list[0], list[1])...)
		exclusions := b.group("CA exclusions", "security", refs("user", list[1])...)
		b.access(exclusions, b.t.Groups[0].ID(), list[0].ID())
	}
	b.security(0.5)
	b.mail()
}

// Changed lists what a typical day really changed, by tenant id.
type Changed struct {
	Users          map[string][]string // user ids
	ManagedDevices map[string][]string // Intune ids
}

// TypicalDay lets a day's work pass in every tenant. Every device checks in and every
// user signs in (within the seed's own day). Usage moves by some bytes. One user and one
// device in fifty really change.
func (s *Seed) TypicalDay(rng *rand.Rand) Changed {
	c := Changed{Users: map[string][]string{}, ManagedDevices: map[string][]string{}}
	for _, t := range s.Tenants {
		t.Change(func(t *m365sim.Tenant) { s.typicalDay(rng, t, &c) })
	}
	return c
}

func (s *Seed) typicalDay(rng *rand.Rand, t *m365sim.Tenant, c *Changed) {
	later := func() string { return stamp(s.Day.Add(time.Duration(2+rng.IntN(50)) * time.Minute)) }
	for _, d := range t.ManagedDevices {
		d["lastSyncDateTime"] = later()
		if list, ok := d["usersLoggedOn"].([]entity); ok && len(list) > 0 {
			d["usersLoggedOn"] = []entity{{"userId": list[0]["userId"], "lastLogOnDateTime": later()}}
		}
		if free, ok := d["freeStorageSpaceInBytes"].(int64); ok {
			d["freeStorageSpaceInBytes"] = free - int64(rng.IntN(4096))
		}
	}
	for _, d := range t.Devices {
		d["approximateLastSignInDateTime"] = later()
	}
	for _, u := range t.Users {
		if u["signInActivity"] != nil {
			u["signInActivity"] = entity{"lastSignInDateTime": later(), "lastNonInteractiveSignInDateTime": later()}
		}
	}
	for _, rows := range [][]entity{t.MailboxUsage, t.OneDriveUsage} {
		for _, r := range rows {
			if used, ok := r["storageUsedInBytes"].(int64); ok {
				r["storageUsedInBytes"] = used + int64(rng.IntN(2048))
			}
		}
	}
	for _, i := range rng.Perm(len(t.Users))[:len(t.Users)/50] {
		u := t.Users[i]
		u["displayName"] = u.String("displayName") + " II"
		c.Users[t.ID] = append(c.Users[t.ID], u.ID())
	}
	for _, i := range rng.Perm(len(t.ManagedDevices))[:len(t.ManagedDevices)/50] {
		d := t.ManagedDevices[i]
		d["osVersion"] = "10.0.26200.1000"
		if d["complianceState"] == "compliant" {
			d["complianceState"] = "noncompliant"
		} else {
			d["complianceState"] = "compliant"
		}
		c.ManagedDevices[t.ID] = append(c.ManagedDevices[t.ID], d.ID())
	}
}
