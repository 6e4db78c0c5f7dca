package compliance_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// rival is a device of a virtual machine that gives itself the serial number of
// another.
var rival = triggertest.Pair{Managed: "0a0a0a0a-0000-4000-8000-00000000000a", Object: "0c0c0c0c-0000-4000-8000-00000000000c"}

const rivalEntra = "0b0b0b0b-0000-4000-8000-00000000000b"

// contest enrols the rival of a machine, which checks in so much later.
func (w *world) contest(p triggertest.Pair, state string, later time.Duration) triggertest.Pair {
	w.T.Helper()
	r := rival
	r.TenantID, r.Ninja = p.TenantID, p.Ninja
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
		i := slices.IndexFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.Managed })
		seen, err := time.Parse(time.RFC3339, tn.ManagedDevices[i].String("lastSyncDateTime"))
		must(w.T, err)
		tn.ManagedDevices = append(tn.ManagedDevices, m365sim.Entity{"id": r.Managed, "azureADDeviceId": rivalEntra, "deviceName": "RIVAL-VM",
			"serialNumber": tn.ManagedDevices[i].String("serialNumber"), "operatingSystem": "Windows", "complianceState": state,
			"lastSyncDateTime": seen.Add(later).Format(time.RFC3339)})
		tn.Devices = append(tn.Devices, m365sim.Entity{"id": r.Object, "deviceId": rivalEntra, "displayName": "RIVAL-VM", "isCompliant": true})
	})
	return r
}

// notify tells of a change of a device.
func (w *world) notify(p triggertest.Pair) {
	w.T.Helper()
	w.Clock.Advance(2 * time.Minute)
	sub := w.Subscription(p.TenantID)
	w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.Object))
	w.Work()
}

func TestAContestedDeviceShowsTheWorse(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.Set(p, "noncompliant")
	r := w.contest(p, "compliant", time.Hour)
	w.Sync(p.TenantID)
	w.WantField(p, "Non-Compliant")
	if got := w.syncLog(p.TenantID); !strings.Contains(got, "RIVAL-VM") || !strings.Contains(got, r.Managed) || !strings.Contains(got, p.Managed) {
		t.Errorf("the problems do not name both records: %s", got)
	}
	writes := w.Writes(p.Ninja)
	w.notify(r)
	w.Sweep(p.TenantID)
	w.Restart()
	w.notify(r)
	if n := w.Writes(p.Ninja) - writes; n != 0 {
		t.Errorf("the field was written %d times although nothing changed", n)
	}
	steps := []struct {
		of    triggertest.Pair
		state string
		want  string
	}{
		{p, "compliant", "Compliant"}, {r, "noncompliant", "Non-Compliant"}, {p, "noncompliant", "Non-Compliant"},
		{r, "compliant", "Non-Compliant"}, {p, "unknown", ""}, {p, "compliant", "Compliant"}, {r, "inGracePeriod", "Non-Compliant"},
	}
	for i, s := range steps {
		w.Set(s.of, s.state)
		if i%2 == 0 {
			w.notify(s.of)
		} else {
			w.Sweep(p.TenantID)
		}
		w.WantField(p, s.want)
		w.Sync(p.TenantID)
		w.WantField(p, s.want)
	}
	w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == r.Managed })
	})
	w.notify(r)
	w.WantField(p, "Compliant")
	w.NoViolations()
}

func TestAContestBetweenSyncs(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.Set(p, "noncompliant")
	w.notify(p)
	w.WantField(p, "Non-Compliant")
	r := w.contest(p, "compliant", time.Hour)
	w.Clock.Advance(4 * time.Minute)
	w.notify(r)
	w.WantField(p, "Non-Compliant")
	w.Set(p, "compliant")
	w.notify(p)
	w.WantField(p, "Compliant")
	w.NoViolations()
}

func TestTheNewerOfTwoRecordsWinsOverASilentOne(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.Set(p, "noncompliant")
	r := w.contest(p, "compliant", 25*time.Hour)
	w.Sync(p.TenantID)
	w.WantField(p, "Compliant")
	w.notify(p)
	w.WantField(p, "Compliant")
	w.Set(r, "noncompliant")
	w.notify(r)
	w.WantField(p, "Non-Compliant")
	if got := w.syncLog(p.TenantID); strings.Contains(got, "RIVAL-VM") {
		t.Errorf("a machine that was set up anew is told as a problem: %s", got)
	}
	w.NoViolations()
}

// syncLog returns what a tenant's logbook says of its syncs.
func (w *world) syncLog(tenantID string) string {
	w.T.Helper()
	var lines []string
	for row, err := range w.App.Table("CippLogs").List(w.T.Context(), storage.Eq("API", cipp.LogbookSync)) {
		must(w.T, err)
		if row.String("TenantID") == tenantID {
			lines = append(lines, row.String("Message"))
		}
	}
	return strings.Join(lines, "\n")
}

// TestTwoTillsWithOnePlaceholder gives two devices in use one serial number that
// names none: the one that NinjaOne has is found by its name, and neither a
// sync, nor a sweep, nor a notification takes the other for it.
func TestTwoTillsWithOnePlaceholder(t *testing.T) {
	for _, serial := range []string{"0123456789ABCDEF", "SYS-1234567890", "To Be Filled By O.E.M. by More String"} {
		t.Run(serial, func(t *testing.T) {
			w, all := running(t, 1, 5)
			p := all[0][0]
			w.Set(p, "noncompliant")
			r := w.contest(p, "compliant", time.Hour)
			name := ""
			w.M365.Tenant(p.TenantID).Change(func(tn *m365sim.Tenant) {
				for _, d := range tn.ManagedDevices {
					if d.ID() == p.Managed || d.ID() == r.Managed {
						d["serialNumber"] = serial
					}
					if d.ID() == p.Managed {
						name = d.String("deviceName")
					}
				}
			})
			w.NinjaOne.AddDevice(ninjasim.Device{ID: p.Ninja, OrganizationID: w.Seed.Mappings[0].OrganizationID, NodeClass: "WINDOWS_WORKSTATION",
				SystemName: name, SerialNumber: serial})
			w.Sync(p.TenantID)
			w.WantField(p, "Non-Compliant")
			w.notify(r)
			w.WantField(p, "Non-Compliant")
			w.Sweep(p.TenantID)
			w.WantField(p, "Non-Compliant")
			if got := w.syncLog(p.TenantID); strings.Contains(got, "RIVAL-VM") {
				t.Errorf("a device that is not in NinjaOne is told to contest one: %s", got)
			}
			w.Set(p, "compliant")
			w.Set(r, "noncompliant")
			w.notify(p)
			w.notify(r)
			w.Sync(p.TenantID)
			w.WantField(p, "Compliant")
			w.NoViolations()
		})
	}
}

// TestRecordsThatAreNotWhole lets Intune's list come with records that lack
// something: neither a sweep nor a notification clears a field for it.
func TestRecordsThatAreNotWhole(t *testing.T) {
	for name, change := range map[string]func(m365sim.Entity){
		"a compliance state that is a number": func(d m365sim.Entity) { d["complianceState"] = 7 },
		"no compliance state":                 func(d m365sim.Entity) { d["complianceState"] = nil },
		"no serial number and another name": func(d m365sim.Entity) {
			d["serialNumber"], d["deviceName"] = nil, "RENAMED-PC"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, all := running(t, 1, 3)
			p, other := all[0][0], all[0][1]
			w.Set(p, "compliant")
			w.Sweep(p.TenantID)
			w.WantField(p, "Compliant")
			w.M365.Tenant(p.TenantID).Change(func(m *m365sim.Tenant) { change(m365sim.Find(m.ManagedDevices, p.Managed)) })
			w.Clock.Advance(4 * time.Minute)
			w.Set(other, "noncompliant")
			w.notify(p)
			w.Sweep(p.TenantID)
			w.WantField(p, "Compliant")
			w.WantField(other, "Non-Compliant")
			w.NoViolations()
		})
	}
}
