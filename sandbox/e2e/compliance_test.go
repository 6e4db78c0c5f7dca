package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/loopback"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

const (
	complianceQueue = "ninjaone-compliance"
	complianceField = "cippDeviceCompliance"
)

// reachable gives the bundle a public address that outlives the host. Until the
// host is started again its timers are off.
func reachable(t testing.TB) option {
	address := ""
	return func(c *funchost.Config) {
		listen := func() (net.Listener, error) { return net.Listen("tcp4", address) }
		if address == "" {
			listen = loopback.Listen
			c.Settings["AzureWebJobs.SweepCompliance.Disabled"] = "true"
			c.Settings["AzureWebJobs.RenewSubscriptions.Disabled"] = "true"
		}
		if c.Listener == nil || address == "" {
			l, err := listen()
			must(t, err)
			if address = l.Addr().String(); c.Listener == nil {
				c.Listener = l
			} else {
				_ = l.Close()
			}
		}
		c.Settings["PUBLIC_BASE_URL"] = "http://" + address
	}
}

// machine is one device that Intune and NinjaOne know by the same serial number.
type machine struct {
	tenantID        string
	managed, object string // Intune's id, and the directory object's
	ninja           int
}

// machines returns the tenant's machines, all of them compliant from now on.
func (w *world) machines(domain string) []machine {
	w.t.Helper()
	t := w.tenant(domain)
	ids := map[string]int{}
	for _, d := range w.Seed.NinjaDevices {
		ids[d.SerialNumber] = d.ID
	}
	var list []machine
	t.View(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			if id := ids[d.String("serialNumber")]; id != 0 {
				list = append(list, machine{tenantID: t.ID, managed: d.ID(), ninja: id})
			}
		}
	})
	for i := range list {
		list[i].object = w.M365.ChangeCompliance(t.ID, list[i].managed, "compliant")
	}
	return list
}

func (w *world) compliance(m machine) string {
	v, _ := w.NinjaOne.DeviceField(m.ninja, complianceField)
	return v.Text
}

// awaitCompliance waits until the devices show what they should.
func (w *world) awaitCompliance(want map[machine]string) {
	w.t.Helper()
	w.await("the compliance of devices", func() bool {
		for m, text := range want {
			if w.compliance(m) != text {
				return false
			}
		}
		return true
	})
}

// subscription returns the tenant's one subscription.
func (w *world) subscription(tenantID string) m365sim.Subscription {
	w.t.Helper()
	all := w.M365.Subscriptions(tenantID)
	if len(all) != 1 {
		w.t.Fatalf("Graph has %d subscriptions of tenant %s, want one", len(all), tenantID)
	}
	return all[0]
}

// notify posts notifications as Graph does, and wants them accepted.
func (w *world) notify(address string, items ...m365sim.Notification) {
	w.t.Helper()
	if status, err := w.M365.Deliver(context.Background(), address, items...); err != nil || status != http.StatusAccepted {
		w.t.Fatalf("the notifications were answered %d (%v), want 202", status, err)
	}
}

// run runs a timer function.
func (w *world) run(function string) {
	w.t.Helper()
	if err := w.Host.Invoke(context.Background(), function, ""); err != nil {
		w.t.Fatalf("%s: %v", function, err)
	}
}

func complianceMessage(m machine) string { return fmt.Sprintf(`{"tenantId":%q}`, m.tenantID) }

func TestComplianceFollowsIntune(t *testing.T) {
	t.Parallel()
	w := start(t, generated(3), reachable(t))
	var all [][]machine
	var subs []m365sim.Subscription
	for _, tn := range w.Seed.Tenants {
		machines := w.machines(tn.DefaultDomain)
		w.sync(tn.DefaultDomain).completed()
		all, subs = append(all, machines), append(subs, w.subscription(tn.ID)) // a sync subscribes
	}
	if row := w.rows("NinjaOneSubscriptions", "PartitionKey eq 'subscription'"); len(row) != 3 {
		t.Fatalf("our table has %d subscriptions, want 3", len(row))
	}

	t.Run("a batch over several tenants with repeats and forgeries", func(t *testing.T) {
		want := map[machine]string{}
		var items []m365sim.Notification
		for i, sub := range subs {
			for _, m := range all[i][:3] {
				w.M365.ChangeCompliance(m.tenantID, m.managed, "noncompliant")
				items = append(items, m365sim.DeviceNotification(sub, m.object), m365sim.DeviceNotification(sub, m.object))
				want[m] = "Non-Compliant"
			}
		}
		victim := all[0][5]
		w.M365.ChangeCompliance(victim.tenantID, victim.managed, "noncompliant")
		forged := m365sim.DeviceNotification(subs[0], victim.object)
		forged["clientState"] = strings.ToUpper(subs[0].ClientState)
		items = append(items, forged)
		w.notify(subs[0].NotificationURL, items...)
		w.awaitCompliance(want)
		if got := w.compliance(victim); got != "Compliant" {
			t.Errorf("a forged notification made the field %q", got)
		}
		// Nobody announced it, so the sweep finds it.
		w.send(complianceQueue, complianceMessage(victim))
		w.awaitCompliance(map[machine]string{victim: "Non-Compliant"})
	})

	t.Run("a crash in the middle", func(t *testing.T) {
		want := map[machine]string{}
		for _, m := range all[2][4:8] {
			w.M365.ChangeCompliance(m.tenantID, m.managed, "noncompliant")
			w.notify(subs[2].NotificationURL, m365sim.DeviceNotification(subs[2], m.object))
			want[m] = "Non-Compliant"
		}
		w.Host.Crash()
		w.boot()
		w.awaitCompliance(want)
	})

	t.Run("lifecycle", func(t *testing.T) {
		sub := w.subscription(all[0][0].tenantID)
		w.notify(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "reauthorizationRequired"))
		w.await("the reauthorization", func() bool { return w.M365.Subscriptions(sub.TenantID)[0].Reauthorized > 0 })
		w.M365.LoseSubscription(sub.ID)
		w.notify(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "subscriptionRemoved"))
		w.await("a new subscription", func() bool { return len(w.M365.Subscriptions(sub.TenantID)) == 1 })
	})

	t.Run("the sync has nothing left to do", func(t *testing.T) {
		w.awaitQuiet()
		for i, tn := range w.Seed.Tenants {
			for _, fields := range w.sync(tn.DefaultDomain).completed().devices() {
				if slices.Contains(fields, complianceField) {
					t.Errorf("the sync of tenant %d wrote the compliance again", i+1)
				}
			}
			w.correct(tn.DefaultDomain)
		}
	})

	t.Run("sweeps are queued", func(t *testing.T) {
		seen := len(w.logged())
		w.run("SweepCompliance")
		queued := -1 // they may be handled as soon as they are there
		w.await("the sweeper's log line", func() bool {
			for _, line := range w.lines[seen:] {
				if l, ok := parseLog(line); ok && l.Msg == "compliance sweeps queued" {
					queued = l.Queued
				}
			}
			return queued >= 0
		})
		if queued != 3 {
			t.Errorf("%d sweeps were queued, want 3", queued)
		}
	})
	if n := w.waiting(complianceQueue + "-poison"); n != 0 {
		t.Errorf("%d messages are in the poison queue", n)
	}
}

// awaitQuiet waits until the compliance queue is empty.
func (w *world) awaitQuiet() {
	w.t.Helper()
	w.await("the compliance queue to be empty", func() bool { return w.waiting(complianceQueue) == 0 })
}

// BenchmarkCompliance changes devices and reports the time from each
// notification to the field, with all remote calls delayed by 100 ms and the
// settings as they are deployed.
func BenchmarkCompliance(b *testing.B) {
	tests := []struct {
		name             string
		tenants, devices int // devices of each tenant
		changes          int
		every            time.Duration // between two changes
	}{
		{"one every two seconds", 5, 12, 45, 2 * time.Second},
		{"two a second", 5, 30, 100, time.Second / 2},
		{"each after a rest", 2, 12, 10, 20 * time.Second}, // the host polls a queue that was empty more and more rarely
		{"fifty of one tenant at once", 1, 60, 50, 0},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				measure(b, seed.Generate(seed.Size{Tenants: tt.tenants, Users: 20, Devices: tt.devices, Groups: 4}), tt.changes, tt.every)
			}
		})
	}
}

func measure(b *testing.B, data *seed.Seed, changes int, every time.Duration) {
	w := start(b, data, reachable(b), func(c *funchost.Config) {
		delete(c.Settings, "NINJAONE_RATE")
		delete(c.Settings, "AzureFunctionsJobHost__extensions__queues__maxPollingInterval")
	})
	w.Host.Stop()
	deployed := w.options
	w.options = append(w.options[:len(w.options):len(w.options)], setting("NINJAONE_RATE", "100000")) // for the first writes
	w.boot()
	var all []machine
	for _, tn := range w.Seed.Tenants {
		all = append(all, w.machines(tn.DefaultDomain)...)
	}
	if len(all) < changes {
		b.Fatalf("the seed has only %d machines", len(all))
	}
	compliant := map[machine]string{}
	for _, m := range all {
		compliant[m] = "Compliant"
	}
	for _, tn := range w.Seed.Tenants {
		w.send(complianceQueue, fmt.Sprintf(`{"tenantId":%q}`, tn.ID))
	}
	w.awaitCompliance(compliant)
	w.options = deployed
	w.restart()
	w.run("RenewSubscriptions")
	w.M365.SetLatency(100 * time.Millisecond)
	w.NinjaOne.SetLatency(100 * time.Millisecond)
	before := len(w.NinjaOne.Writes())
	sent := map[int]time.Time{}
	want := map[machine]string{}
	due := time.NewTicker(max(every, 1))
	defer due.Stop()
	for _, m := range all[:changes] {
		<-due.C
		w.M365.ChangeCompliance(m.tenantID, m.managed, "noncompliant")
		sub := w.subscription(m.tenantID)
		sent[m.ninja] = time.Now()
		w.notify(sub.NotificationURL, m365sim.DeviceNotification(sub, m.object))
		want[m] = "Non-Compliant"
	}
	w.awaitCompliance(want)
	took := map[int]time.Duration{}
	for _, write := range w.NinjaOne.Writes()[before:] {
		if at, ok := sent[write.ID]; ok && write.Kind == ninjasim.DeviceKind {
			took[write.ID] = write.Time.Sub(at)
		}
	}
	sorted := slices.Sorted(maps.Values(took))
	for name, share := range map[string]float64{"p50-s": 0.5, "p95-s": 0.95, "max-s": 1} {
		b.ReportMetric(sorted[int(share*float64(len(sorted)-1))].Seconds(), name)
	}
	b.ReportMetric(float64(len(sent)-len(took)), "lost")
}
