package changes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// shown is all that NinjaOne shows of ours in the tenant's organization.
func (w *watch) shown() []string {
	var lines []string
	organization := w.Seed.Organization(w.id)
	for _, field := range w.Seed.FieldMapping {
		if v, _ := w.NinjaOne.OrganizationField(organization, field); v.Sent != "" {
			lines = append(lines, fmt.Sprintf("organization %s: %s", field, v.Sent))
		}
		for _, d := range w.NinjaOne.Devices(organization) {
			if v, _ := w.NinjaOne.DeviceField(d.ID, field); v.Sent != "" {
				lines = append(lines, fmt.Sprintf("device %d %s: %s", d.ID, field, v.Sent))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// anything changes something of the tenant, in Microsoft 365 or in NinjaOne.
func (w *watch) anything(random *rand.Rand) {
	pick := func(list []m365sim.Entity) int { return random.IntN(len(list)) }
	organization, elsewhere := w.Seed.Organization(w.id), w.Seed.Organization(w.Seed.Tenants[1].ID)
	ninja := w.NinjaOne.Devices(organization)
	w.change(func(o *m365sim.Tenant) {
		switch n := random.IntN(1000); n % 10 {
		case 0:
			set(o.Users, pick(o.Users), "displayName", fmt.Sprint("Renamed ", n))
		case 1:
			set(o.Users, pick(o.Users), "assignedLicenses", []any{})
		case 2:
			set(o.Groups, pick(o.Groups), "displayName", fmt.Sprint("Group ", n))
		case 3:
			members := []m365sim.Member{}
			for _, u := range o.Users[:random.IntN(len(o.Users)+1)] {
				members = append(members, m365sim.Member{Type: "user", ID: u.ID()})
			}
			o.Members[o.Groups[pick(o.Groups)].ID()] = members
		case 4:
			o.Members[o.Roles[pick(o.Roles)].ID()] = []m365sim.Member{{Type: "user", ID: o.Users[pick(o.Users)].ID()}}
		case 5:
			states := []string{"compliant", "noncompliant", "unknown", "inGracePeriod"}
			set(o.ManagedDevices, pick(o.ManagedDevices), "complianceState", states[random.IntN(len(states))])
		case 6:
			u := o.Users[pick(o.Users)]
			i := pick(o.ManagedDevices)
			set(o.ManagedDevices, i, "userId", u.ID())
			set(o.ManagedDevices, i, "userPrincipalName", u.String("userPrincipalName"))
		case 7:
			set(o.ManagedDevices, pick(o.ManagedDevices), "osVersion", fmt.Sprint("10.0.", n))
		case 8:
			if len(o.ManagedDevices) > 2 {
				o.ManagedDevices = slices.Clone(o.ManagedDevices[1:])
			}
		case 9:
			switch d := ninja[random.IntN(len(ninja))]; {
			case n < 300 && len(ninja) > 2:
				w.NinjaOne.MoveDevice(d.ID, elsewhere)
			case n < 500:
				d.SystemName = fmt.Sprint("NAME-", n)
				w.NinjaOne.AddDevice(d)
			default:
				serial := o.ManagedDevices[pick(o.ManagedDevices)].String("serialNumber")
				w.NinjaOne.AddDevice(ninjasim.Device{ID: 80_000 + n, OrganizationID: organization, SystemName: fmt.Sprint("NEW-", n), SerialNumber: serial})
			}
		}
	})
}

// TestLooksAndRunsComeToTheSame lets everything change at random, with looks, runs
// and losses in between: links, messages, processes and calls are lost, messages
// come twice, and the tenant is paused now and then. In the end NinjaOne shows what a
// forced sync leaves, and a full sync before that writes nothing. Each day tries some
// sequences.
func TestLooksAndRunsComeToTheSame(t *testing.T) {
	for _, seed := range draw.Below(t, 2, uint64(5)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 77))
			w := newWatch(t, 2)
			type message struct {
				tenantsync.Message
				due time.Time
			}
			var waiting []message
			again := w.Own.Queue(tenantsync.QueueName) // where a run puts what it leaves to another
			seen := 0
			sync := func(ctx context.Context, m tenantsync.Message) bool {
				err := w.Process.Syncer.Run(ctx, m)
				if n, _ := again.Length(t.Context()); n > seen {
					seen = n
					waiting = append(waiting, message{tenantsync.Message{TenantID: w.id, Light: true, Devices: true}, w.Clock.Now()})
				}
				return err == nil
			}
			deliver := func(ctx context.Context) {
				all := waiting
				waiting = nil
				for _, m := range all {
					if m.due.After(w.Clock.Now()) || !sync(ctx, m.Message) {
						waiting = append(waiting, m)
					}
				}
			}
			graph := "" // what Graph refuses to looks
			look := func(ctx context.Context) {
				if graph != "" {
					w.M365.AddFault(m365sim.Fault{Path: regexp.MustCompile(graph), Status: 503, RetryAfter: "0"})
					defer w.M365.ClearFaults()
				}
				w.Clock.Advance(5 * time.Minute)
				_ = w.Process.Watcher.Tick(ctx)
				w.Looks.Take()
				_ = w.Process.Watcher.Look(ctx, changes.Message{TenantID: w.id})
				if random.IntN(4) == 0 { // the message came twice
					_ = w.Process.Watcher.Look(ctx, changes.Message{TenantID: w.id})
				}
				delays := w.Syncs.Delays
				for i, m := range w.Syncs.Take() {
					if m.TenantID == w.id {
						waiting = append(waiting, message{m, w.Clock.Now().Add(delays[i])})
					}
				}
			}
			pause := func(paused bool) {
				must(t, runs.New(w.Own.Table("NinjaOneSyncState")).Pause(t.Context(), w.id, paused))
				w.Clock.Advance(time.Minute)
			}
			for range 30 {
				for range random.IntN(3) {
					w.anything(random)
				}
				ctx, kill := context.WithCancel(t.Context())
				graph = ""
				heal := func() {}
				switch random.IntN(8) {
				case 0:
					w.M365.ForgetDeltaLinks()
				case 1: // during the look alone: what a run cannot read it says in its place
					graph = []string{"/users/delta$", "/groups/delta$", "/managedDevices$"}[random.IntN(3)]
				case 2:
					w.Syncs.Fail(errors.New("down"))
				case 3:
					heal = w.NinjaOne.InjectFault(ninjasim.Fault{Method: http.MethodPatch, Skip: random.IntN(3), Hang: true, OnHit: kill})
				case 4:
					heal = w.NinjaOne.InjectFault(ninjasim.Fault{Method: http.MethodPatch, Skip: random.IntN(3), Count: 3, Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`})
				}
				switch random.IntN(5) {
				case 0:
					if m := (tenantsync.Message{TenantID: w.id}); !sync(ctx, m) {
						waiting = append(waiting, message{m, w.Clock.Now()}) // the host delivers it again
					}
				case 1, 2:
					look(ctx)
				case 3:
					deliver(ctx)
				case 4:
					look(ctx)
					deliver(ctx)
				}
				kill()
				heal()
				w.Syncs.Fail(nil)
				if n := random.IntN(8); n < 2 {
					pause(n == 0)
				}
				if random.IntN(6) == 0 {
					w.Restart()
				}
			}
			graph = ""
			pause(false)
			for range 2 {
				w.Clock.Advance(time.Hour)
				look(t.Context())
				deliver(t.Context())
			}
			shown := w.shown()
			w.NinjaOne.ResetCounters()
			if !sync(t.Context(), tenantsync.Message{TenantID: w.id}) || len(w.NinjaOne.Writes()) > 0 {
				t.Errorf("the full run wrote %v", w.NinjaOne.Writes())
			}
			if !sync(t.Context(), tenantsync.Message{TenantID: w.id, Force: true}) {
				t.Error("the forced run failed")
			}
			if diff := cmp.Diff(shown, w.shown()); diff != "" {
				t.Errorf("looks and runs left something else than a forced sync (-left +forced):\n%s", diff)
			}
		})
	}
}
