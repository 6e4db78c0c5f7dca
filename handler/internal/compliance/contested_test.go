package compliance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// rival is a device of a virtual machine that gives itself the serial number of
// another.
var rival = pair{managed: "0a0a0a0a-0000-4000-8000-00000000000a", object: "0c0c0c0c-0000-4000-8000-00000000000c"}

const rivalEntra = "0b0b0b0b-0000-4000-8000-00000000000b"

// contest enrols the rival of a machine, which checks in so much later.
func (w *world) contest(p pair, state string, later time.Duration) pair {
	w.t.Helper()
	r := rival
	r.tenantID, r.ninja = p.tenantID, p.ninja
	w.M365.Tenant(p.tenantID).Change(func(tn *m365sim.Tenant) {
		i := slices.IndexFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == p.managed })
		seen, err := time.Parse(time.RFC3339, tn.ManagedDevices[i].String("lastSyncDateTime"))
		if err != nil {
			w.t.Fatal(err)
		}
		tn.ManagedDevices = append(tn.ManagedDevices, m365sim.Entity{"id": r.managed, "azureADDeviceId": rivalEntra, "deviceName": "RIVAL-VM",
			"serialNumber": tn.ManagedDevices[i].String("serialNumber"), "operatingSystem": "Windows", "complianceState": state,
			"lastSyncDateTime": seen.Add(later).Format(time.RFC3339)})
		tn.Devices = append(tn.Devices, m365sim.Entity{"id": r.object, "deviceId": rivalEntra, "displayName": "RIVAL-VM", "isCompliant": true})
	})
	return r
}

// notify tells of a change of a device.
func (w *world) notify(p pair) {
	w.t.Helper()
	w.clock.advance(2 * bookLife)
	sub := w.subscription(p.tenantID)
	w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, p.object))
	w.work()
}

func TestAContestedDeviceShowsTheWorse(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.set(p, "noncompliant")
	r := w.contest(p, "compliant", time.Hour)
	w.sync(p.tenantID)
	w.wantField(p, "Non-Compliant")
	if got := w.syncLog(p.tenantID); !strings.Contains(got, "RIVAL-VM") || !strings.Contains(got, r.managed) || !strings.Contains(got, p.managed) {
		t.Errorf("the problems do not name both records: %s", got)
	}
	writes := w.writes(p.ninja)
	w.notify(r)
	w.sweep(p.tenantID)
	w.restart()
	w.notify(r)
	if n := w.writes(p.ninja) - writes; n != 0 {
		t.Errorf("the field was written %d times although nothing changed", n)
	}
	steps := []struct {
		of    pair
		state string
		want  string
	}{
		{p, "compliant", "Compliant"}, {r, "noncompliant", "Non-Compliant"}, {p, "noncompliant", "Non-Compliant"},
		{r, "compliant", "Non-Compliant"}, {p, "unknown", ""}, {p, "compliant", "Compliant"}, {r, "inGracePeriod", "Non-Compliant"},
	}
	for i, s := range steps {
		w.set(s.of, s.state)
		if i%2 == 0 {
			w.notify(s.of)
		} else {
			w.sweep(p.tenantID)
		}
		w.wantField(p, s.want)
		w.sync(p.tenantID)
		w.wantField(p, s.want)
	}
	w.M365.Tenant(p.tenantID).Change(func(tn *m365sim.Tenant) {
		tn.ManagedDevices = slices.DeleteFunc(tn.ManagedDevices, func(d m365sim.Entity) bool { return d.ID() == r.managed })
	})
	w.notify(r)
	w.wantField(p, "Compliant")
	w.noViolations()
}

func TestAContestBetweenSyncs(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.set(p, "noncompliant")
	w.notify(p)
	w.wantField(p, "Non-Compliant")
	r := w.contest(p, "compliant", time.Hour)
	w.clock.advance(2 * rematchAfter)
	w.notify(r)
	w.wantField(p, "Non-Compliant")
	w.set(p, "compliant")
	w.notify(p)
	w.wantField(p, "Compliant")
	w.noViolations()
}

func TestTheNewerOfTwoRecordsWinsOverASilentOne(t *testing.T) {
	w, all := running(t, 1, 5)
	p := all[0][0]
	w.set(p, "noncompliant")
	r := w.contest(p, "compliant", 25*time.Hour)
	w.sync(p.tenantID)
	w.wantField(p, "Compliant")
	w.notify(p)
	w.wantField(p, "Compliant")
	w.set(r, "noncompliant")
	w.notify(r)
	w.wantField(p, "Non-Compliant")
	if got := w.syncLog(p.tenantID); strings.Contains(got, "RIVAL-VM") {
		t.Errorf("a machine that was set up anew is told as a problem: %s", got)
	}
	w.noViolations()
}

// syncLog returns what a tenant's logbook says of its syncs.
func (w *world) syncLog(tenantID string) string {
	w.t.Helper()
	var lines []string
	for row, err := range w.app.Table("CippLogs").List(w.t.Context(), storage.Eq("API", "NinjaOneSync")) {
		if err != nil {
			w.t.Fatal(err)
		}
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
			w.set(p, "noncompliant")
			r := w.contest(p, "compliant", time.Hour)
			name := ""
			w.M365.Tenant(p.tenantID).Change(func(tn *m365sim.Tenant) {
				for _, d := range tn.ManagedDevices {
					if d.ID() == p.managed || d.ID() == r.managed {
						d["serialNumber"] = serial
					}
					if d.ID() == p.managed {
						name = d.String("deviceName")
					}
				}
			})
			w.NinjaOne.AddDevice(ninjasim.Device{ID: p.ninja, OrganizationID: w.Seed.Mappings[0].OrganizationID, NodeClass: "WINDOWS_WORKSTATION",
				SystemName: name, SerialNumber: serial})
			w.sync(p.tenantID)
			w.wantField(p, "Non-Compliant")
			w.notify(r)
			w.wantField(p, "Non-Compliant")
			w.sweep(p.tenantID)
			w.wantField(p, "Non-Compliant")
			if got := w.syncLog(p.tenantID); strings.Contains(got, "RIVAL-VM") {
				t.Errorf("a device that is not in NinjaOne is told to contest one: %s", got)
			}
			w.set(p, "compliant")
			w.set(r, "noncompliant")
			w.notify(p)
			w.notify(r)
			w.sync(p.tenantID)
			w.wantField(p, "Compliant")
			w.noViolations()
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
			w.set(p, "compliant")
			w.sweep(p.tenantID)
			w.wantField(p, "Compliant")
			w.M365.Tenant(p.tenantID).Change(func(m *m365sim.Tenant) { change(m365sim.Find(m.ManagedDevices, p.managed)) })
			w.clock.advance(2 * rematchAfter)
			w.set(other, "noncompliant")
			w.notify(p)
			w.sweep(p.tenantID)
			w.wantField(p, "Compliant")
			w.wantField(other, "Non-Compliant")
			w.noViolations()
		})
	}
}
