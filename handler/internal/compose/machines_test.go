package compose

import (
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// machines is a tenant of one user, with a device that enrolled three times and
// a device that two Entra devices contest.
func machines(inNinjaOne bool) Input {
	in := believable()
	u := in.Snapshot.Users.Value[0]
	record := func(id, entra, name, serial, state string, silent int) tenant.ManagedDevice {
		return tenant.ManagedDevice{ID: id, AzureADDeviceID: entra, DeviceName: name, SerialNumber: serial, OperatingSystem: "Windows", ComplianceState: state,
			LastSync: ago(silent), Enrolled: ago(silent + 100), UserID: u.ID}
	}
	in.Snapshot.ManagedDevices.Value = []tenant.ManagedDevice{
		record("m1", "e1", "PC-NEW", "PF2XYZ01", tenant.StateCompliant, 1), record("m2", "e2", "PC-OLD", "PF2XYZ01", tenant.StateNoncompliant, 40),
		record("m3", "e3", "PC-OLDEST", "PF2XYZ01", tenant.StateUnknown, 90),
		record("m4", "e4", "PC-TRUE", "5CG1234AAA", tenant.StateNoncompliant, 2), record("m5", "e5", "RIVAL-VM", "5CG1234AAA", tenant.StateCompliant, 2),
	}
	ninja := []ninjaone.Device{{ID: 51, NodeClass: "WINDOWS_WORKSTATION", SystemName: "PC-TRUE", SerialNumber: "5CG1234AAA"}}
	if inNinjaOne {
		ninja = append(ninja, ninjaone.Device{ID: 52, NodeClass: "WINDOWS_WORKSTATION", SystemName: "PC-NEW", SerialNumber: "PF2XYZ01"})
	}
	in.Matches = match.Devices(in.Snapshot.ManagedDevices.Value, ninja)
	return in
}

func TestAMachineCountsOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		inNinjaOne bool
		matched    string
		devices    int
	}{
		"with NinjaOne device":    {true, "In NinjaOne too: 2 of 3", 2},
		"without NinjaOne device": {false, "In NinjaOne too: 1 of 3", 1},
	} {
		t.Run(name, func(t *testing.T) {
			in := machines(tt.inNinjaOne)
			f, _ := Sections(in)
			got := plain(t, f.TenantSummary)
			for _, want := range []string{"3 Devices", "Compliant: 2 Non-Compliant: 1 Not evaluated: 0", "Windows: 3", "Within 30 days: 3 Longer ago or never: 0", tt.matched} {
				if !strings.Contains(got, want) {
					t.Errorf("the summary lacks %q:\n%s", want, got)
				}
			}
			if got := plain(t, f.UsersSummary); strings.Contains(got, "PC-OLD") || !strings.Contains(got, "PC-NEW") || !strings.Contains(got, "RIVAL-VM") {
				t.Errorf("the user's devices are wrong:\n%s", got)
			}
			users := NewUserDocuments(in, tenant.Absent[MailboxAccess]("not read"))
			if got := users.Devices(in.Snapshot.Users.Value[0].ID); len(got) != tt.devices {
				t.Errorf("the user's document is related to the devices %v, want %d", got, tt.devices)
			}
		})
	}
}

func TestAContestedDevice(t *testing.T) {
	in := machines(true)
	devices := NewDevices(in)
	f := devices.Fields(in.Matches.Pairs[0])
	if f.DeviceCompliance != "Non-Compliant" {
		t.Errorf("the compliance is %q", f.DeviceCompliance)
	}
	got := plain(t, f.DeviceSummary)
	for _, want := range []string{"Name PC-TRUE", "Claimed by PC-TRUE (Non-Compliant, last check-in within 7 days) RIVAL-VM (Compliant, last check-in within 7 days)",
		"2 Intune devices in use claim to be this machine, so the worse compliance of them is shown."} {
		if !strings.Contains(got, want) {
			t.Errorf("the summary lacks %q:\n%s", want, got)
		}
	}
}
