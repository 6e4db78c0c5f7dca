package compliance_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// running returns a world whose tenants are synced and subscribed to, and the
// machines of each tenant.
func running(t *testing.T, tenants, devices int) (*world, [][]triggertest.Pair) {
	t.Helper()
	w := newWorld(t, triggertest.Small(tenants, devices))
	var all [][]triggertest.Pair
	for _, m := range w.Seed.Mappings {
		pairs := w.Pairs(m.TenantID)
		if len(pairs) < 2 {
			t.Fatalf("the seed gives tenant %s only %d machines", m.TenantID, len(pairs))
		}
		for _, p := range pairs {
			w.Set(p, "compliant")
		}
		w.Sync(m.TenantID)
		all = append(all, pairs)
	}
	w.Reconcile()
	return w, all
}

func TestANotificationChangesTheField(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.WantField(p, "Compliant")
	sub := w.Subscription(p.TenantID)
	if sub.LifecycleURL == "" || sub.ClientState == "" || sub.Resource != "devices" {
		t.Errorf("the subscription is %+v", sub)
	}
	w.Set(p, "noncompliant")
	w.NinjaOne.ResetCounters()
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	if got := w.Queue.Delays; len(got) != 1 || got[0] != time.Second {
		t.Errorf("messages were sent with the delays %v", got)
	}
	w.Work()
	w.WantField(p, "Non-Compliant")
	if calls := w.NinjaOne.Calls(); len(calls) != 2 { // the field's definition, once an hour, and the write
		t.Errorf("NinjaOne was called for %v", calls)
	}

	// Any other change of the device says nothing new.
	before := w.Writes(p.Ninja)
	w.Clock.Advance(2 * time.Second)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	w.Work()
	if n := w.Writes(p.Ninja) - before; n != 0 {
		t.Errorf("a state that did not change was written %d times", n)
	}
	if w.Status(p.TenantID).LastNotification.IsZero() {
		t.Error("the status does not tell that a notification came")
	}
	w.WantLogbook(0)
	w.NoViolations()
}

func TestTheRule(t *testing.T) {
	w, all := running(t, 1, 3)
	p := all[0][0]
	sub := w.Subscription(p.TenantID)
	for _, step := range []struct{ state, want string }{
		{"noncompliant", "Non-Compliant"}, {"compliant", "Compliant"}, {"conflict", "Non-Compliant"},
		{"unknown", ""}, {"error", "Non-Compliant"}, {"configManager", ""}, {"inGracePeriod", "Non-Compliant"}, {"compliant", "Compliant"},
	} {
		w.Set(p, step.state)
		w.Clock.Advance(2 * time.Second)
		w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
		w.Work()
		if got := w.Field(p.Ninja); got != step.want {
			t.Errorf("after %s the field says %q, want %q", step.state, got, step.want)
		}
	}
	w.NoViolations()
}

func TestBatchesDuplicatesAndForgeries(t *testing.T) {
	w, all := running(t, 2, 4)
	a, b := all[0][0], all[1][0]
	victim := all[0][1]
	subA, subB := w.Subscription(a.TenantID), w.Subscription(b.TenantID)
	for _, p := range []triggertest.Pair{a, b, victim} {
		w.Set(p, "noncompliant")
	}
	genuineA, genuineB := m365sim.DeviceNotification(subA, a.Object), m365sim.DeviceNotification(subB, b.Object)
	forged := m365sim.DeviceNotification(subA, victim.Object)
	// One POST with items of two tenants, repeats, forgeries and rubbish.
	w.Deliver(subA.NotificationURL, genuineA, genuineB, genuineA, genuineA,
		triggertest.Forge(forged, "clientState", subB.ClientState+"x"),
		triggertest.Forge(forged, "clientState", strings.Replace(subA.ClientState, ".", ".0", 1)),
		triggertest.Forge(forged, "clientState", ""),
		m365sim.Notification{"clientState": 7},
		triggertest.Forge(genuineB, "tenantId", a.TenantID), // what the body claims does not count
	)
	messages := w.Queue.Take()
	want := map[string]string{a.TenantID: a.Object, b.TenantID: b.Object}
	if len(messages) != 2 {
		t.Fatalf("queued %+v, want one message per tenant", messages)
	}
	for _, m := range messages {
		if len(m.DeviceIDs) != 1 || m.DeviceIDs[0] != want[m.TenantID] {
			t.Errorf("queued %+v", m)
		}
		for range 2 { // delivered at least once
			must(t, w.Process.Worker.Update(t.Context(), m, 1))
		}
	}
	w.WantField(a, "Non-Compliant")
	w.WantField(b, "Non-Compliant")
	w.WantField(victim, "Compliant")
	for _, p := range []triggertest.Pair{a, b} {
		if n := w.Writes(p.Ninja); n != 2 { // the sync's and ours
			t.Errorf("%s was written %d times, want 2", p, n)
		}
	}
	w.NoViolations()
}

func TestABurstOfOneDeviceIsOneMessage(t *testing.T) {
	w, all := running(t, 1, 3)
	p := all[0][0]
	sub := w.Subscription(p.TenantID)
	for range 20 {
		w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	}
	// The clock is real, so a slow machine may see a second message.
	if n := len(w.Queue.Take()); n > 3 {
		t.Errorf("20 notifications of one device in a moment made %d messages", n)
	}
	w.Clock.Advance(time.Second)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	if n := len(w.Queue.Take()); n != 1 {
		t.Errorf("a notification after the message could be taken made %d messages, want 1", n)
	}
}

func TestTheSweepFindsWhatNotificationsDidNotBring(t *testing.T) {
	w, all := running(t, 1, 6)
	tenantID := all[0][0].TenantID
	w.Sweep(tenantID) // the first one has nothing to compare with
	w.M365.ResetCalls()
	w.NinjaOne.ResetCounters()
	w.Clock.Advance(15 * time.Minute)
	w.Sweep(tenantID)
	if n := total(w.M365.Calls()) - w.M365.Calls()["login POST /{tenant}/oauth2/v2.0/token"]; n != 1 {
		t.Errorf("a sweep made %d calls of Graph: %v", n, w.M365.Calls())
	}
	if n := total(w.NinjaOne.Calls()); n != 0 {
		t.Errorf("a sweep that found nothing called NinjaOne: %v", w.NinjaOne.Calls())
	}

	for i, p := range all[0][:3] {
		w.Clock.Advance(time.Hour)
		w.Set(p, "noncompliant")
		w.Sweep(tenantID)
		w.WantField(p, "Non-Compliant")
		if s := w.Status(tenantID); s.Missed != i+1 || s.Changes != 1 {
			t.Errorf("after %d missed notifications the status is %+v", i+1, s)
		}
	}
	if s := w.Status(tenantID); !s.Silent(w.Clock.Now()) {
		t.Errorf("the status does not show that notifications do not arrive: %+v", s)
	}
	w.Reconcile()
	w.Reconcile()
	w.WantLogbook(1, "Warn", "does not send notifications", w.Seed.Tenants[0].DefaultDomain)

	p := all[0][0]
	sub := w.Subscription(tenantID)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	w.Work()
	if s := w.Status(tenantID); s.Missed != 0 {
		t.Errorf("a notification came, and the status is %+v", s)
	}
	w.NoViolations()
}

func total(calls map[string]int) int {
	n := 0
	for _, c := range calls {
		n += c
	}
	return n
}

func TestADeviceThatIsNotEnrolledAnyMoreIsCleared(t *testing.T) {
	w, all := running(t, 1, 5)
	swept, named := all[0][0], all[0][1]
	tn := w.M365.Tenant(swept.TenantID)
	unenrol := func(p triggertest.Pair) {
		tn.Change(func(tn *m365sim.Tenant) {
			tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.Managed })
			delete(tn.PolicyStates, p.Managed)
		})
	}
	unenrol(named)
	sub := w.Subscription(named.TenantID)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, named.Object))
	w.Work()
	w.WantField(named, "")
	unenrol(swept)
	// Its Entra device is gone too: the notification says nothing.
	tn.Change(func(tn *m365sim.Tenant) {
		tn.Devices = slices.DeleteFunc(tn.Devices, func(d m365sim.Entity) bool { return d.ID() == swept.Object })
	})
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, swept.Object))
	w.Work()
	w.WantField(swept, "Compliant")
	w.Sweep(swept.TenantID)
	w.WantField(swept, "")
	w.WantField(all[0][2], "Compliant")
	w.NoViolations()
}

// TestADeviceThatIsRegisteredAnewKeepsItsCompliance gives an enrolled device another
// Entra device, or none that is known yet. A notification of the former one then finds
// no managed device, which does not prove that the device left Intune.
func TestADeviceThatIsRegisteredAnewKeepsItsCompliance(t *testing.T) {
	for name, entra := range map[string]any{
		"another Entra device": "0d0d0d0d-0000-4000-8000-00000000000d",
		"not known yet":        "00000000-0000-0000-0000-000000000000",
		"none":                 nil,
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 4)
			p, other := all[0][0], all[0][1]
			tn := w.M365.Tenant(p.TenantID)
			tn.Change(func(tn *m365sim.Tenant) { m365sim.Find(tn.ManagedDevices, p.Managed)["azureADDeviceId"] = entra })
			writes := w.Writes(p.Ninja)
			w.notify(p)
			w.WantField(p, "Compliant")
			w.Sweep(p.TenantID)
			w.WantField(p, "Compliant")
			if n := w.Writes(p.Ninja) - writes; n != 0 {
				t.Errorf("the field was written %d times although nothing changed", n)
			}
			w.Set(p, "noncompliant")
			w.notify(p)
			w.WantField(p, "Non-Compliant")
			tn.Change(func(tn *m365sim.Tenant) {
				tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.Managed })
			})
			w.notify(p)
			w.WantField(p, "")
			w.WantField(other, "Compliant")
			w.NoViolations()
		})
	}
}

// The ids of a device that NinjaOne does not have: Intune's, and Entra's two.
const lonerManaged, lonerEntra, lonerObject = "0a0a0a0a-0000-4000-8000-00000000000a", "0b0b0b0b-0000-4000-8000-00000000000b", "0c0c0c0c-0000-4000-8000-00000000000c"

// enrolLoner enrols it.
func (w *world) enrolLoner(tenantID string) {
	w.M365.Tenant(tenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = append(tn.ManagedDevices, m365sim.Entity{"id": lonerManaged, "azureADDeviceId": lonerEntra, "deviceName": "LONER-1",
			"serialNumber": "QX7731-LONER", "operatingSystem": "Windows", "complianceState": "compliant", "lastSyncDateTime": "2026-11-22T10:00:00Z"})
		tn.Devices = append(tn.Devices, m365sim.Entity{"id": lonerObject, "deviceId": lonerEntra, "displayName": "LONER-1", "isCompliant": true})
	})
}

// notLookedUp fails the test if NinjaOne was asked for its devices.
func (w *world) notLookedUp() {
	w.T.Helper()
	for call, n := range w.NinjaOne.Calls() {
		if strings.Contains(strings.ToLower(call), "device") && !strings.Contains(strings.ToLower(call), "customfield") && !strings.Contains(call, "custom-fields") {
			w.T.Errorf("a device that is not in NinjaOne was looked up again: %s %d times", call, n)
		}
	}
}

func TestADeviceThatTheSyncDidNotFindIsNotLookedUp(t *testing.T) {
	w, all := running(t, 1, 4)
	tenantID := all[0][0].TenantID
	w.enrolLoner(tenantID)
	w.Sync(tenantID)
	w.NinjaOne.ResetCounters()
	sub := w.Subscription(tenantID)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, lonerObject))
	w.Work()
	w.notLookedUp()
	w.NoViolations()
}

func TestADeviceThatIsNotInNinjaOneIsRemembered(t *testing.T) {
	w, all := running(t, 1, 4)
	known := all[0][0]
	w.enrolLoner(known.TenantID)
	sub := w.Subscription(known.TenantID)
	notify := func() {
		w.Clock.Advance(2 * time.Minute)
		w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, lonerObject))
		w.Work()
	}
	notify()
	if n := w.NinjaOne.Calls()["getDevicesDetailed"]; n == 0 && total(w.NinjaOne.Calls()) == 0 {
		t.Error("a device that nobody knew was not looked up")
	}
	w.NinjaOne.ResetCounters()
	notify()
	w.Restart()
	notify()
	w.Sweep(known.TenantID)
	w.notLookedUp()

	// The agent is installed, and another device makes us look again.
	w.NinjaOne.AddDevice(ninjasim.Device{ID: 9001, OrganizationID: w.Seed.Organization(known.TenantID), SystemName: "LONER-1", DisplayName: "LONER-1",
		NodeClass: "WINDOWS_WORKSTATION", SerialNumber: "QX7731-LONER", BIOSSerialNumber: "QX7731-LONER"})
	w.Clock.Advance(24 * time.Hour)
	notify()
	if got := w.Field(9001); got != "Compliant" {
		t.Errorf("the new NinjaOne device shows %q", got)
	}
	mapped := storagetest.Rows(t, w.App.Table("NinjaOneDeviceMap"), storage.Eq("RowKey", lonerEntra))
	if len(mapped) != 1 || mapped[0].Int("NinjaOneID") != 9001 || mapped[0].String("M365ID") != lonerManaged {
		t.Errorf("CIPP's device map has %v", mapped)
	}
	w.NoViolations()
}

func TestWithoutAnySyncTheSweepCarriesTheFeature(t *testing.T) {
	w := newWorld(t, triggertest.Small(1, 5))
	pairs := w.Pairs(w.Seed.Tenants[0].ID)
	for _, p := range pairs {
		w.Set(p, "noncompliant")
	}
	w.Sweep(pairs[0].TenantID)
	for _, p := range pairs {
		w.WantField(p, "Non-Compliant")
	}
	w.NoViolations()
}

func TestCIPPsDeviceMapIsEnough(t *testing.T) {
	w := newWorld(t, triggertest.Small(1, 4))
	p := w.Pairs(w.Seed.Tenants[0].ID)[0]
	w.Set(p, "noncompliant")
	entra := ""
	w.M365.Tenant(p.TenantID).View(func(tn *m365sim.Tenant) {
		entra = m365sim.Find(tn.ManagedDevices, p.Managed).String("azureADDeviceId")
	})
	w.Merge("NinjaOneDeviceMap", storage.Entity{"PartitionKey": p.TenantID, "RowKey": entra, "NinjaOneID": int32(p.Ninja), "M365ID": p.Managed})
	must(t, w.Process.Worker.Update(t.Context(), notify.Message{TenantID: p.TenantID, DeviceIDs: []string{p.Object}}, 1))
	w.WantField(p, "Non-Compliant")
	for _, call := range []string{"graph GET /v1.0/deviceManagement/managedDevices"} {
		if n := w.M365.Calls()[call]; n != 0 {
			t.Errorf("the whole tenant was read %d times for a device that the map names", n)
		}
	}
	w.NoViolations()
}

func TestARestartInTheMiddle(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	sub := w.Subscription(p.TenantID)
	w.Set(p, "noncompliant")
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	message := w.Queue.Take()[0]
	// NinjaOne takes the write and its answers are lost; then the process ends.
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusBadGateway})
	if err := w.Process.Worker.Update(t.Context(), message, 1); err == nil {
		t.Fatal("a failed write was taken for done")
	}
	remove()
	w.Restart()
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, all[0][1].Object)) // the new process verifies too
	must(t, w.Process.Worker.Update(t.Context(), message, 2))
	w.WantField(p, "Non-Compliant")
	w.NoViolations()
}

func TestAWriteThatWasAcceptedUnseenIsMadeSureOf(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.Set(p, "noncompliant")
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Reset: true, AfterHandling: true})
	if err := w.Process.Worker.Update(t.Context(), notify.Message{TenantID: p.TenantID, DeviceIDs: []string{p.Object}}, compliance.Attempts); err != nil {
		t.Errorf("the last attempt failed: %v; the sweep carries the rest", err)
	}
	remove()
	w.Set(p, "compliant")
	w.Sweep(p.TenantID)
	w.WantField(p, "Compliant")
}

func TestARefusedFieldIsLeftAlone(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].TenantID
	for _, p := range all[0] {
		w.Set(p, "noncompliant")
	}
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusBadRequest,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"resultCode":"FAILURE","errorMessage":"not allowed"}`})
	w.Sweep(tenantID)
	w.NinjaOne.ResetCounters()
	w.Clock.Advance(15 * time.Minute)
	w.Sweep(tenantID)
	if n := total(w.NinjaOne.Calls()); n != 0 {
		t.Errorf("a refused field was sent again: %v", w.NinjaOne.Calls())
	}
	if s := w.Status(tenantID); s.Kind != assignments.KindField || s.Problem == "" {
		t.Errorf("the status is %+v", s)
	}
	w.Clock.Advance(time.Hour)
	w.Reconcile()
	w.Reconcile()
	w.WantLogbook(1, "cannot be brought up to date", "refused")
	remove()
	w.Clock.Advance(compliance.FieldLife)
	w.Sweep(tenantID)
	for _, p := range all[0] {
		w.WantField(p, "Non-Compliant")
	}
}

func TestTenantsThatCannotBeRead(t *testing.T) {
	w, all := running(t, 2, 3)
	noSignIn, noIntune := all[0][0], all[1][0]
	w.M365.Tenant(noIntune.TenantID).Change(func(tn *m365sim.Tenant) { tn.NoIntune = true })
	w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: noSignIn.TenantID, Path: regexp.MustCompile("managedDevices"), Status: http.StatusForbidden})
	w.Sweep(noIntune.TenantID)
	w.Sweep(noSignIn.TenantID)
	if s := w.Status(noIntune.TenantID); s.Kind != assignments.KindNoIntune || s.Problem != "" {
		t.Errorf("a tenant without Intune has the status %+v", s)
	}
	if s := w.Status(noSignIn.TenantID); s.Kind != assignments.KindFailed || !strings.Contains(s.Problem, "DeviceManagementManagedDevices.Read.All") {
		t.Errorf("a tenant without permission has the status %+v", s)
	}
	w.WantField(noSignIn, "Compliant") // unknown is not cleared
	must(t, w.Process.Worker.QueueSweeps(t.Context()))
	if m := w.Queue.Take(); len(m) != 1 || m[0].TenantID != noSignIn.TenantID {
		t.Errorf("queued %+v, want the tenant with Intune only", m)
	}
}

func TestSweepsAreSpread(t *testing.T) {
	w := newWorld(t, triggertest.Small(12, 1))
	tests := map[string]struct {
		every time.Duration
		ticks int
	}{
		"every quarter of an hour": {15 * time.Minute, 1},
		"every hour":               {time.Hour, 4},
		"never":                    {0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.Process.Worker.SweepEvery = tt.every
			seen := map[string]int{}
			for range max(tt.ticks, 3) {
				must(t, w.Process.Worker.QueueSweeps(t.Context()))
				for _, d := range w.Queue.Delays {
					if d < 0 || d >= compliance.Tick {
						t.Errorf("a sweep is delayed by %s", d)
					}
				}
				for _, m := range w.Queue.Take() {
					seen[m.TenantID]++
				}
				w.Clock.Advance(compliance.Tick)
			}
			want := 0
			if tt.ticks > 0 {
				want = max(tt.ticks, 3) / tt.ticks
			}
			for _, tn := range w.Seed.Tenants {
				if seen[tn.ID] != want {
					t.Errorf("tenant %s was swept %d times, want %d", tn.ID, seen[tn.ID], want)
				}
			}
		})
	}
}
