package bench

import (
	"math/rand/v2"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// BenchmarkTenant syncs a tenant of 1,000 users, 1,000 devices and 200 groups:
// for the first time, again with nothing changed, and after a typical day.
func BenchmarkTenant(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 1, Users: 1000, Devices: 1000, Groups: 200})
	tenant := data.Tenants[0]
	w := start(b, data, delay)
	first := w.first(b, tenant.ID)
	b.Run("first", func(b *testing.B) { first.report(b, delay) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant.ID).report(b, delay) })
	b.Run("typical-day", func(b *testing.B) {
		changed := data.TypicalDay(rand.New(rand.NewPCG(11, 0)))
		r := w.sync(b, tenant.ID)
		checkWrites(b, w.Stack, changed)
		r.report(b, delay)
	})
}

// checkWrites fails unless NinjaOne was sent the tenants' organization fields,
// every device that changed, and no other but those of users that changed, whose
// names their pages show.
func checkWrites(b *testing.B, s *stack.Stack, changed seed.Changed) {
	b.Helper()
	due, allowed := map[ninjasim.Target]bool{}, map[ninjasim.Target]bool{}
	for _, tenant := range s.Seed.Tenants {
		organization := s.Seed.Organization(tenant.ID)
		due[ninjasim.Target{Kind: ninjasim.OrganizationKind, ID: organization}] = true
		bySerial := map[string]int{}
		for _, d := range s.NinjaOne.Devices(organization) {
			bySerial[d.SerialNumber] = d.ID
		}
		users, devices := setOf(changed.Users[tenant.ID]), setOf(changed.ManagedDevices[tenant.ID])
		tenant.View(func(t *m365sim.Tenant) {
			for _, d := range t.ManagedDevices {
				target := ninjasim.Target{Kind: ninjasim.DeviceKind, ID: bySerial[d.String("serialNumber")]}
				due[target] = due[target] || devices[d.ID()]
				allowed[target] = allowed[target] || devices[d.ID()] || users[d.String("userId")]
			}
		})
	}
	written := map[ninjasim.Target]int{}
	needless, writes := 0, s.NinjaOne.Writes()
	for _, write := range writes {
		written[write.Target]++
		if write.Kind == ninjasim.DeviceKind && !allowed[write.Target] || written[write.Target] > 1 {
			needless++
		}
	}
	if needless > 0 {
		b.Errorf("%d of %d writes were for nothing that changed", needless, len(writes))
	}
	for target, is := range due {
		if is && written[target] == 0 {
			b.Errorf("%s %d changed and was not written", target.Kind, target.ID)
		}
	}
}

func setOf(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}
