package compliance

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// running returns a world whose tenants are synced and subscribed to, and the
// machines of each tenant.
func running(t *testing.T, tenants, devices int) (*world, [][]pair) {
	t.Helper()
	w := newWorld(t, small(tenants, devices))
	var all [][]pair
	for _, m := range w.Seed.Mappings {
		pairs := w.pairs(m.TenantID)
		if len(pairs) < 2 {
			t.Fatalf("the seed gives tenant %s only %d machines", m.TenantID, len(pairs))
		}
		for _, p := range pairs {
			w.set(p, "compliant")
		}
		w.sync(m.TenantID)
		all = append(all, pairs)
	}
	w.reconcile()
	return w, all
}

func TestANotificationChangesTheField(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.wantField(p, "Compliant")
	sub := w.subscription(p.tenantID)
	if sub.LifecycleURL == "" || sub.ClientState == "" || sub.Resource != "devices" {
		t.Errorf("the subscription is %+v", sub)
	}
	w.set(p, "noncompliant")
	w.NinjaOne.ResetCounters()
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	if got := w.queue.delays; len(got) != 1 || got[0] != gather {
		t.Errorf("messages were sent with the delays %v", got)
	}
	w.work()
	w.wantField(p, "Non-Compliant")
	if calls := w.NinjaOne.Calls(); len(calls) != 2 { // the field's definition, once an hour, and the write
		t.Errorf("NinjaOne was called for %v", calls)
	}

	// Any other change of the device says nothing new.
	before := w.writes(p.ninja)
	w.clock.advance(2 * time.Second)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	w.work()
	if n := w.writes(p.ninja) - before; n != 0 {
		t.Errorf("a state that did not change was written %d times", n)
	}
	if w.status(p.tenantID).LastNotification.IsZero() {
		t.Error("the status does not tell that a notification came")
	}
	w.wantLogbook(0)
	w.noViolations()
}

func TestTheRule(t *testing.T) {
	w, all := running(t, 1, 3)
	p := all[0][0]
	sub := w.subscription(p.tenantID)
	for _, step := range []struct{ state, want string }{
		{"noncompliant", "Non-Compliant"}, {"compliant", "Compliant"}, {"conflict", "Non-Compliant"},
		{"unknown", ""}, {"error", "Non-Compliant"}, {"configManager", ""}, {"inGracePeriod", "Non-Compliant"}, {"compliant", "Compliant"},
	} {
		w.set(p, step.state)
		w.clock.advance(2 * time.Second)
		w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
		w.work()
		if got := w.field(p.ninja); got != step.want {
			t.Errorf("after %s the field says %q, want %q", step.state, got, step.want)
		}
	}
	w.noViolations()
}

func TestBatchesDuplicatesAndForgeries(t *testing.T) {
	w, all := running(t, 2, 4)
	a, b := all[0][0], all[1][0]
	victim := all[0][1]
	subA, subB := w.subscription(a.tenantID), w.subscription(b.tenantID)
	for _, p := range []pair{a, b, victim} {
		w.set(p, "noncompliant")
	}
	genuineA, genuineB := m365sim.DeviceNotification(subA, a.object), m365sim.DeviceNotification(subB, b.object)
	forged := m365sim.DeviceNotification(subA, victim.object)
	// One POST with items of two tenants, repeats, forgeries and rubbish.
	w.deliver(subA.NotificationURL, genuineA, genuineB, genuineA, genuineA,
		forge(forged, "clientState", subB.ClientState+"x"),
		forge(forged, "clientState", strings.Replace(subA.ClientState, ".", ".0", 1)),
		forge(forged, "clientState", ""),
		m365sim.Notification{"clientState": 7},
		forge(genuineB, "tenantId", a.tenantID), // what the body claims does not count
	)
	messages := w.queue.take()
	want := map[string]string{a.tenantID: a.object, b.tenantID: b.object}
	if len(messages) != 2 {
		t.Fatalf("queued %+v, want one message per tenant", messages)
	}
	for _, m := range messages {
		if len(m.DeviceIDs) != 1 || m.DeviceIDs[0] != want[m.TenantID] {
			t.Errorf("queued %+v", m)
		}
		for range 2 { // delivered at least once
			if err := w.process.worker.Update(t.Context(), m, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.wantField(a, "Non-Compliant")
	w.wantField(b, "Non-Compliant")
	w.wantField(victim, "Compliant")
	for _, p := range []pair{a, b} {
		if n := w.writes(p.ninja); n != 2 { // the sync's and ours
			t.Errorf("%s was written %d times, want 2", p, n)
		}
	}
	w.noViolations()
}

func TestABurstOfOneDeviceIsOneMessage(t *testing.T) {
	w, all := running(t, 1, 3)
	p := all[0][0]
	sub := w.subscription(p.tenantID)
	for range 20 {
		w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	}
	// The clock is real, so a slow machine may see a second message.
	if n := len(w.queue.take()); n > 3 {
		t.Errorf("20 notifications of one device in a moment made %d messages", n)
	}
	w.clock.advance(gather)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	if n := len(w.queue.take()); n != 1 {
		t.Errorf("a notification after the message could be taken made %d messages, want 1", n)
	}
}

func TestTheSweepFindsWhatNotificationsDidNotBring(t *testing.T) {
	w, all := running(t, 1, 6)
	tenantID := all[0][0].tenantID
	w.sweep(tenantID) // the first one has nothing to compare with
	w.M365.ResetCalls()
	w.NinjaOne.ResetCounters()
	w.clock.advance(15 * time.Minute)
	w.sweep(tenantID)
	if n := total(w.M365.Calls()) - w.M365.Calls()["login POST /{tenant}/oauth2/v2.0/token"]; n != 1 {
		t.Errorf("a sweep made %d calls of Graph: %v", n, w.M365.Calls())
	}
	if n := total(w.NinjaOne.Calls()); n != 0 {
		t.Errorf("a sweep that found nothing called NinjaOne: %v", w.NinjaOne.Calls())
	}

	for i, p := range all[0][:3] {
		w.clock.advance(time.Hour)
		w.set(p, "noncompliant")
		w.sweep(tenantID)
		w.wantField(p, "Non-Compliant")
		if s := w.status(tenantID); s.Missed != i+1 || s.Changes != 1 {
			t.Errorf("after %d missed notifications the status is %+v", i+1, s)
		}
	}
	if s := w.status(tenantID); !s.Silent(w.clock.now()) {
		t.Errorf("the status does not show that notifications do not arrive: %+v", s)
	}
	w.reconcile()
	w.reconcile()
	w.wantLogbook(1, "Warn", "does not send notifications", w.Seed.Tenants[0].DefaultDomain)

	p := all[0][0]
	sub := w.subscription(tenantID)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	w.work()
	if s := w.status(tenantID); s.Missed != 0 {
		t.Errorf("a notification came, and the status is %+v", s)
	}
	w.noViolations()
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
	tn := w.M365.Tenant(swept.tenantID)
	unenrol := func(p pair) {
		tn.Change(func(tn *m365sim.Tenant) {
			tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.managed })
			delete(tn.PolicyStates, p.managed)
		})
	}
	unenrol(named)
	sub := w.subscription(named.tenantID)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, named.object))
	w.work()
	w.wantField(named, "")
	unenrol(swept)
	// Its Entra device is gone too: the notification says nothing.
	tn.Change(func(tn *m365sim.Tenant) {
		tn.Devices = slices.DeleteFunc(tn.Devices, func(d m365sim.Entity) bool { return d.ID() == swept.object })
	})
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, swept.object))
	w.work()
	w.wantField(swept, "Compliant")
	w.sweep(swept.tenantID)
	w.wantField(swept, "")
	w.wantField(all[0][2], "Compliant")
	w.noViolations()
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
	w.t.Helper()
	for call, n := range w.NinjaOne.Calls() {
		if strings.Contains(strings.ToLower(call), "device") && !strings.Contains(strings.ToLower(call), "customfield") && !strings.Contains(call, "custom-fields") {
			w.t.Errorf("a device that is not in NinjaOne was looked up again: %s %d times", call, n)
		}
	}
}

func TestADeviceThatTheSyncDidNotFindIsNotLookedUp(t *testing.T) {
	w, all := running(t, 1, 4)
	tenantID := all[0][0].tenantID
	w.enrolLoner(tenantID)
	w.sync(tenantID)
	w.NinjaOne.ResetCounters()
	sub := w.subscription(tenantID)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, lonerObject))
	w.work()
	w.notLookedUp()
	w.noViolations()
}

func TestADeviceThatIsNotInNinjaOneIsRemembered(t *testing.T) {
	w, all := running(t, 1, 4)
	known := all[0][0]
	w.enrolLoner(known.tenantID)
	sub := w.subscription(known.tenantID)
	notify := func() {
		w.clock.advance(2 * bookLife)
		w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, lonerObject))
		w.work()
	}
	notify()
	if n := w.NinjaOne.Calls()["getDevicesDetailed"]; n == 0 && total(w.NinjaOne.Calls()) == 0 {
		t.Error("a device that nobody knew was not looked up")
	}
	w.NinjaOne.ResetCounters()
	notify()
	w.restart()
	notify()
	w.sweep(known.tenantID)
	w.notLookedUp()

	// The agent is installed, and another device makes us look again.
	w.NinjaOne.AddDevice(ninjasim.Device{ID: 9001, OrganizationID: w.Seed.Organization(known.tenantID), SystemName: "LONER-1", DisplayName: "LONER-1",
		NodeClass: "WINDOWS_WORKSTATION", SerialNumber: "QX7731-LONER", BIOSSerialNumber: "QX7731-LONER"})
	w.clock.advance(absentLife)
	notify()
	if got := w.field(9001); got != "Compliant" {
		t.Errorf("the new NinjaOne device shows %q", got)
	}
	var mapped storage.Entity
	for row, err := range w.app.Table("NinjaOneDeviceMap").List(t.Context(), storage.Eq("RowKey", lonerEntra)) {
		if err != nil {
			t.Fatal(err)
		}
		mapped = row
	}
	if mapped.Int("NinjaOneID") != 9001 || mapped.String("M365ID") != lonerManaged {
		t.Errorf("CIPP's device map has %v", mapped)
	}
	w.noViolations()
}

func TestWithoutAnySyncTheSweepCarriesTheFeature(t *testing.T) {
	w := newWorld(t, small(1, 5))
	pairs := w.pairs(w.Seed.Tenants[0].ID)
	for _, p := range pairs {
		w.set(p, "noncompliant")
	}
	w.sweep(pairs[0].tenantID)
	for _, p := range pairs {
		w.wantField(p, "Non-Compliant")
	}
	w.noViolations()
}

func TestCIPPsDeviceMapIsEnough(t *testing.T) {
	w := newWorld(t, small(1, 4))
	p := w.pairs(w.Seed.Tenants[0].ID)[0]
	w.set(p, "noncompliant")
	entra := ""
	w.M365.Tenant(p.tenantID).View(func(tn *m365sim.Tenant) {
		entra = m365sim.Find(tn.ManagedDevices, p.managed).String("azureADDeviceId")
	})
	w.merge("NinjaOneDeviceMap", storage.Entity{"PartitionKey": p.tenantID, "RowKey": entra, "NinjaOneID": int32(p.ninja), "M365ID": p.managed})
	if err := w.process.worker.Update(t.Context(), Message{TenantID: p.tenantID, DeviceIDs: []string{p.object}}, 1); err != nil {
		t.Fatal(err)
	}
	w.wantField(p, "Non-Compliant")
	for _, call := range []string{"graph GET /v1.0/deviceManagement/managedDevices"} {
		if n := w.M365.Calls()[call]; n != 0 {
			t.Errorf("the whole tenant was read %d times for a device that the map names", n)
		}
	}
	w.noViolations()
}

func TestTheReceiverWantsARetryWhenTheQueueIsDown(t *testing.T) {
	w, all := running(t, 1, 3)
	p := all[0][0]
	sub := w.subscription(p.tenantID)
	w.set(p, "noncompliant")
	w.queue.fail(errors.New("the queue is out of reach"))
	for range 2 {
		if status, err := w.M365.Deliver(t.Context(), sub.NotificationURL, m365sim.DeviceNotification(sub, p.object)); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("answered %d (%v), want 503", status, err)
		}
	}
	w.queue.fail(nil)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	w.work()
	w.wantField(p, "Non-Compliant")
}

func TestARestartInTheMiddle(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	sub := w.subscription(p.tenantID)
	w.set(p, "noncompliant")
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	message := w.queue.take()[0]
	// NinjaOne takes the write and its answers are lost; then the process ends.
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusBadGateway})
	if err := w.process.worker.Update(t.Context(), message, 1); err == nil {
		t.Fatal("a failed write was taken for done")
	}
	remove()
	w.restart()
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, all[0][1].object)) // the new process verifies too
	if err := w.process.worker.Update(t.Context(), message, 2); err != nil {
		t.Fatal(err)
	}
	w.wantField(p, "Non-Compliant")
	w.noViolations()
}

func TestAWriteThatWasAcceptedUnseenIsMadeSureOf(t *testing.T) {
	w, all := running(t, 1, 4)
	p := all[0][0]
	w.set(p, "noncompliant")
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Reset: true, AfterHandling: true})
	if err := w.process.worker.Update(t.Context(), Message{TenantID: p.tenantID, DeviceIDs: []string{p.object}}, attempts); err != nil {
		t.Errorf("the last attempt failed: %v; the sweep carries the rest", err)
	}
	remove()
	w.set(p, "compliant")
	w.sweep(p.tenantID)
	w.wantField(p, "Compliant")
}

func TestARefusedFieldIsLeftAlone(t *testing.T) {
	w, all := running(t, 1, 5)
	tenantID := all[0][0].tenantID
	for _, p := range all[0] {
		w.set(p, "noncompliant")
	}
	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Path: "custom-fields", Status: http.StatusBadRequest,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"resultCode":"FAILURE","errorMessage":"not allowed"}`})
	w.sweep(tenantID)
	w.NinjaOne.ResetCounters()
	w.clock.advance(15 * time.Minute)
	w.sweep(tenantID)
	if n := total(w.NinjaOne.Calls()); n != 0 {
		t.Errorf("a refused field was sent again: %v", w.NinjaOne.Calls())
	}
	if s := w.status(tenantID); s.Kind != kindField || s.Problem == "" {
		t.Errorf("the status is %+v", s)
	}
	w.clock.advance(failingFor)
	w.reconcile()
	w.reconcile()
	w.wantLogbook(1, "cannot be brought up to date", "refused")
	remove()
	w.clock.advance(refusedFor)
	w.sweep(tenantID)
	for _, p := range all[0] {
		w.wantField(p, "Non-Compliant")
	}
}

func TestTenantsThatCannotBeRead(t *testing.T) {
	w, all := running(t, 2, 3)
	noSignIn, noIntune := all[0][0], all[1][0]
	w.M365.Tenant(noIntune.tenantID).Change(func(tn *m365sim.Tenant) { tn.NoIntune = true })
	w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: noSignIn.tenantID, Path: regexp.MustCompile("managedDevices"), Status: http.StatusForbidden})
	w.sweep(noIntune.tenantID)
	w.sweep(noSignIn.tenantID)
	if s := w.status(noIntune.tenantID); s.Kind != kindNoIntune || s.Problem != "" {
		t.Errorf("a tenant without Intune has the status %+v", s)
	}
	if s := w.status(noSignIn.tenantID); s.Kind != kindFailed || !strings.Contains(s.Problem, "DeviceManagementManagedDevices.Read.All") {
		t.Errorf("a tenant without permission has the status %+v", s)
	}
	w.wantField(noSignIn, "Compliant") // unknown is not cleared
	if err := w.process.sweeper.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := w.queue.take(); len(m) != 1 || m[0].TenantID != noSignIn.tenantID {
		t.Errorf("queued %+v, want the tenant with Intune only", m)
	}
}

func TestSweepsAreSpread(t *testing.T) {
	w := newWorld(t, small(12, 1))
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
			w.process.sweeper.Every = tt.every
			seen := map[string]int{}
			for range max(tt.ticks, 3) {
				if err := w.process.sweeper.Tick(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, d := range w.queue.delays {
					if d < 0 || d >= tick {
						t.Errorf("a sweep is delayed by %s", d)
					}
				}
				for _, m := range w.queue.take() {
					seen[m.TenantID]++
				}
				w.clock.advance(tick)
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
