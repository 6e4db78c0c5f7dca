package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// day returns the n-th day of an arbitrary month.
func day(n int) time.Time { return time.Date(2026, 5, n, 9, 0, 0, 0, time.UTC) }

// record is an Intune record that checked in on day 1.
func record(id, name, serial string, more ...func(*tenant.ManagedDevice)) tenant.ManagedDevice {
	d := tenant.ManagedDevice{ID: id, DeviceName: name, SerialNumber: serial, LastSync: day(1), Enrolled: day(1)}
	for _, f := range more {
		f(&d)
	}
	return d
}

func synced(n int) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.LastSync = day(n) }
}

func enrolled(n int) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.Enrolled = day(n) }
}

func runs(os string) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.OperatingSystem = os }
}

// in is the Entra device of a record.
func in(entra string) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.AzureADDeviceID = entra }
}

// is is the compliance state of a record.
func is(state string) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.ComplianceState = state }
}

func node(id int, name, serial string, more ...func(*ninjaone.Device)) ninjaone.Device {
	d := ninjaone.Device{ID: id, SystemName: name, SerialNumber: serial}
	for _, f := range more {
		f(&d)
	}
	return d
}

func bios(s string) func(*ninjaone.Device) {
	return func(d *ninjaone.Device) { d.BIOSSerialNumber = s }
}

func dns(s string) func(*ninjaone.Device) {
	return func(d *ninjaone.Device) { d.DNSName = s }
}

func netbios(s string) func(*ninjaone.Device) {
	return func(d *ninjaone.Device) { d.NetBIOSName = s }
}

func class(s string) func(*ninjaone.Device) {
	return func(d *ninjaone.Device) { d.NodeClass = s }
}

// describe writes a result as lines such as "a=1 serial", "b>a" (b is
// superseded by a), "b?a" (b contests a), "c -", "c - old" and "- 2".
func describe(r Result) []string {
	lines := []string{}
	for _, p := range r.Pairs {
		lines = append(lines, fmt.Sprintf("%s=%d %s", p.Intune.ID, p.Ninja.ID, p.Evidence.Kind))
		for _, s := range p.Superseded {
			lines = append(lines, s.ID+">"+p.Intune.ID)
		}
		for _, c := range p.Contesting {
			lines = append(lines, c.ID+"?"+p.Intune.ID)
		}
	}
	for _, l := range r.IntuneOnly {
		line := l.Device.ID + " -"
		if l.Superseded {
			line += " old"
		}
		lines = append(lines, line)
	}
	for _, l := range r.NinjaOnly {
		lines = append(lines, fmt.Sprintf("- %d", l.Device.ID))
	}
	return lines
}

type records = []tenant.ManagedDevice
type nodes = []ninjaone.Device

// devicesTest is a case of Devices.
type devicesTest struct {
	name   string
	intune records
	ninja  nodes
	want   []string // as described
	texts  []string // must occur among the reasons and notes
}

func TestDevices(t *testing.T) {
	checkDevices(t, []devicesTest{
		{name: "nothing on either side", want: []string{}},
		{
			name:   "only Intune has devices",
			intune: records{record("a", "PC-A", "5CG1234AAA")},
			want:   []string{"a -"},
			texts:  []string{"no NinjaOne device in the organization has its serial number; no NinjaOne device in the organization has its name"},
		},
		{
			name:  "only NinjaOne has devices",
			ninja: nodes{node(1, "PC-A", "5CG1234AAA")},
			want:  []string{"- 1"},
			texts: []string{"no Intune device of the tenant has its serial number; no Intune device of the tenant has its name"},
		},
		{
			name:   "equal system serial",
			intune: records{record("a", "PC-A", "5CG1234AAA")},
			ninja:  nodes{node(1, "PC-A", "5CG1234AAA")},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "equal BIOS serial, system serial empty",
			intune: records{record("a", "PC-A", "5CG1234AAA")},
			ninja:  nodes{node(1, "PC-A", "", bios("5CG1234AAA"))},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "equal BIOS serial, system serial another one",
			intune: records{record("a", "PC-A", "5CG1234AAA")},
			ninja:  nodes{node(1, "PC-A", "BOARD-77120", bios("5CG1234AAA"))},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "one serial in both fields counts once",
			intune: records{record("a", "PC-A", "5CG1234AAA")},
			ninja:  nodes{node(1, "PC-A", "5CG1234AAA", bios("5cg1234aaa"))},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "serial with white space, zero-width characters and other case",
			intune: records{record("a", "PC-A", " 5cg1234\u200baaa\t")},
			ninja:  nodes{node(1, "OTHER", "5CG 1234 AAA")},
			want:   []string{"a=1 serial"},
			texts:  []string{"The names in Intune and NinjaOne differ."},
		},
		{
			name:   "serial in full-width digits",
			intune: records{record("a", "PC-A", "５ＣＧ１２３４ＡＡＡ")},
			ninja:  nodes{node(1, "OTHER", "5CG1234AAA")},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "hypervisor serials are real",
			intune: records{record("a", "VM-A", "VMware-56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ee"), record("b", "VM-B", "VMware-56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ef")},
			ninja:  nodes{node(1, "VM-X", "VMware-56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ef"), node(2, "VM-Y", "VMware-564d112233445566-778899aabbccddee")},
			want:   []string{"b=1 serial", "a=2 serial"},
		},
		{
			name:   "empty serial never equals empty serial",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "PC-B", "")},
			want:   []string{"a -", "- 1"},
			texts:  []string{"Intune has no usable serial number of it", "NinjaOne has no usable serial number of it"},
		},
		{
			name:   "white space only is an empty serial",
			intune: records{record("a", "PC-A", "  \u00a0")},
			ninja:  nodes{node(1, "PC-B", " ")},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "equal placeholder serials do not match",
			intune: records{record("a", "PC-A", "To be filled by O.E.M.")},
			ninja:  nodes{node(1, "PC-B", "To Be Filled By O.E.M.")},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "placeholder on both sides leaves the decision to the name",
			intune: records{record("a", "PC-A", "Default string"), record("b", "PC-B", "Default string")},
			ninja:  nodes{node(1, "PC-B", "Default string"), node(2, "PC-A", "System Serial Number")},
			want:   []string{"b=1 name", "a=2 name"},
			texts:  []string{"Neither Intune nor NinjaOne has a usable serial number of it."},
		},
		{
			name:   "placeholder in one NinjaOne field, serial in the other",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-B", "INVALID", bios("PF2XYZ01"))},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "serial wins over name",
			intune: records{record("a", "PC-A", "PF2XYZ01"), record("b", "PC-B", "PF2XYZ02")},
			ninja:  nodes{node(1, "PC-B", "PF2XYZ01"), node(2, "PC-A", "PF2XYZ02")},
			want:   []string{"a=1 serial", "b=2 serial"},
		},
		{
			name:   "two NinjaOne devices with one serial, names unknown",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-X", "PF2XYZ01"), node(2, "PC-Y", "PF2XYZ01")},
			want:   []string{"a -", "- 1", "- 2"},
			texts:  []string{"2 NinjaOne devices have its serial number, so the number identifies none of them; no NinjaOne device in the organization has its name", "2 NinjaOne devices have its serial number, so the number identifies none of them; no Intune device of the tenant has its name"},
		},
		{
			name:   "two NinjaOne devices with one serial across the two fields",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-X", "PF2XYZ01"), node(2, "PC-Y", "PF2XYZ99", bios("PF2XYZ01"))},
			want:   []string{"a -", "- 1", "- 2"},
		},
		{
			name:   "two NinjaOne devices with one serial, the name decides",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-OLD", "PF2XYZ01"), node(2, "PC-A", "PF2XYZ01")},
			want:   []string{"a=2 name", "- 1"},
			texts:  []string{"2 NinjaOne devices have its serial number, so its name decided."},
		},
		{
			name:   "cloned machines with one serial are told apart by name",
			intune: records{record("a", "VM-A", "CLONE-0042"), record("b", "VM-B", "CLONE-0042"), record("c", "VM-C", "CLONE-0042")},
			ninja:  nodes{node(1, "VM-B", "CLONE-0042"), node(2, "VM-A", "CLONE-0042")},
			want:   []string{"b=1 name", "a=2 name", "c -"},
		},
		{
			name:   "enrolled again: the newest check-in wins",
			intune: records{record("a", "PC-A", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "enrolled again under another name",
			intune: records{record("a", "DESKTOP-1", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9))},
			ninja:  nodes{node(1, "DESKTOP-1", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "equal check-in: the newest enrolment wins",
			intune: records{record("a", "PC-A", "PF2XYZ01", enrolled(2)), record("b", "PC-A", "PF2XYZ01", enrolled(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "equal times: the id decides",
			intune: records{record("b", "PC-A", "PF2XYZ01"), record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b>a"},
		},
		{
			name:   "a record that never checked in loses",
			intune: records{record("a", "PC-A", "PF2XYZ01", func(d *tenant.ManagedDevice) { d.LastSync = time.Time{} }, enrolled(20)), record("b", "PC-A", "PF2XYZ01", enrolled(2))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "three records of one machine, newest first",
			intune: records{record("a", "PC-A", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9)), record("c", "PC-A", "pf2xyz01", synced(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "c>b", "a>b"},
		},
		{
			name:   "both serial fields of one device, two Intune machines: the newest wins",
			intune: records{record("a", "PC-A", "BOARD-77120", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9))},
			ninja:  nodes{node(1, "PC-A", "BOARD-77120", bios("PF2XYZ01"))},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "records of one machine, NinjaOne without serial: matched once by name",
			intune: records{record("a", "PC-A", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9))},
			ninja:  nodes{node(1, "PC-A", "None")},
			want:   []string{"b=1 name", "a>b"},
			texts:  []string{"NinjaOne has no usable serial number of it."},
		},
		{
			name:   "records of one machine without NinjaOne device",
			intune: records{record("a", "PC-A", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9))},
			want:   []string{"a - old", "b -"},
			texts:  []string{"an older Intune record of a machine that enrolled again (same serial number)"},
		},
		{
			name:   "the old name of a machine enrolled again does not disturb another",
			intune: records{record("a", "PC-SHARED", "PF2XYZ01", synced(3)), record("b", "PC-B", "PF2XYZ01", synced(9)), record("c", "PC-SHARED", "")},
			ninja:  nodes{node(1, "PC-B", "PF2XYZ01"), node(2, "PC-SHARED", "")},
			want:   []string{"b=1 serial", "a>b", "c=2 name"},
		},
		{
			name:   "cloned serial and enrolled again: one machine by serial and name",
			intune: records{record("a", "VM-A", "CLONE-0042", synced(3)), record("b", "VM-A", "CLONE-0042", synced(9)), record("c", "VM-C", "CLONE-0042")},
			ninja:  nodes{node(1, "VM-A", "CLONE-0042"), node(2, "VM-C", "CLONE-0042")},
			want:   []string{"b=1 name", "a>b", "c=2 name"},
		},
		{
			name:   "name in another case",
			intune: records{record("a", "pc-a", "")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 name"},
			texts:  []string{"Intune has no usable serial number of it."},
		},
		{
			name:   "name with blanks around and inside",
			intune: records{record("a", " Front  Desk ", "")},
			ninja:  nodes{node(1, "front desk", "")},
			want:   []string{"a=1 name"},
		},
		{
			name:   "host label of the DNS name",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "", "", dns("pc-a.corp.fabrikam.example"))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "full DNS name",
			intune: records{record("a", "PC-A.corp.fabrikam.example", "")},
			ninja:  nodes{node(1, "SOMETHING", "", dns("pc-a.corp.fabrikam.example."))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "one host label in two domains is not unique",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "", "", dns("pc-a.east.fabrikam.example")), node(2, "", "", dns("pc-a.west.fabrikam.example"))},
			want:   []string{"a -", "- 1", "- 2"},
		},
		{
			name:   "an address in place of a DNS name has no host label",
			intune: records{record("a", "10", "")},
			ninja:  nodes{node(1, "", "", dns("10.1.2.3"))},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "NetBIOS name",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "workshop", "", netbios("PC-A"))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "the display name that a technician typed does not count",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "PC-Z", "", func(d *ninjaone.Device) { d.DisplayName = "PC-A" })},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "name twice in Intune",
			intune: records{record("a", "PC-A", ""), record("b", "PC-A", "")},
			ninja:  nodes{node(1, "PC-A", "")},
			want:   []string{"a -", "b -", "- 1"},
			texts:  []string{"2 Intune devices have its name, so the name does not tell which of them the NinjaOne device is", "2 Intune devices have its name, so the name does not tell which of them it is"},
		},
		{
			name:   "name twice in NinjaOne",
			intune: records{record("a", "PC-A", "")},
			ninja:  nodes{node(1, "PC-A", ""), node(2, "PC-A", "")},
			want:   []string{"a -", "- 1", "- 2"},
			texts:  []string{"2 NinjaOne devices have its name, so the name identifies none of them"},
		},
		{
			name:   "name twice in Intune, one of them matched by serial: not unique overall",
			intune: records{record("a", "PC-A", "PF2XYZ01"), record("b", "PC-A", "PF2XYZ02")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01"), node(2, "PC-A.", "")},
			want:   []string{"a=1 serial", "b -", "- 2"},
		},
		{
			name:   "name twice in NinjaOne, one of them matched by serial: not unique overall",
			intune: records{record("a", "PC-Z", "PF2XYZ01"), record("b", "PC-A", "")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01"), node(2, "PC-A", "")},
			want:   []string{"a=1 serial", "b -", "- 2"},
		},
		{
			name:   "serials contradict the name",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ02")},
			want:   []string{"a -", "- 1"},
			texts:  []string{"the NinjaOne device with its name has another serial number", "the Intune device with its name has another serial number"},
		},
		{
			name:   "a serial against a placeholder does not contradict",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-A", "Not Specified", bios("0"))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "the device of that name was matched by serial already",
			intune: records{record("a", "PC-NEW", "PF2XYZ01"), record("b", "PC-A", "")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b -"},
			texts:  []string{"the NinjaOne device with its name was matched with another Intune device by serial number"},
		},
		{
			name:   "the Intune device of that name was matched elsewhere",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-B", "PF2XYZ01"), node(2, "PC-A", "")},
			want:   []string{"a=1 serial", "- 2"},
			texts:  []string{"the Intune device with its name was matched with another NinjaOne device"},
		},
		{
			name:   "two names of one NinjaOne device, two records without serial: the newest wins",
			intune: records{record("a", "PC-A", "", synced(3)), record("b", "PC-B", "", synced(9))},
			ninja:  nodes{node(1, "PC-A", "", dns("pc-b.fabrikam.example"))},
			want:   []string{"b=1 name", "a>b"},
		},
		{
			name:   "two names of one NinjaOne device, different serials: neither",
			intune: records{record("a", "PC-A", "PF2XYZ01"), record("b", "PC-B", "PF2XYZ02")},
			ninja:  nodes{node(1, "PC-A", "", dns("pc-b.fabrikam.example"))},
			want:   []string{"a -", "b -", "- 1"},
			texts:  []string{"Intune devices with different serial numbers go by the names of the NinjaOne device", "Intune devices with different serial numbers go by its names"},
		},
		{
			name:   "a generic phone name is fine while it is unique",
			intune: records{record("a", "iPhone", "", runs("iOS"))},
			ninja:  nodes{node(1, "iPhone", "", class("APPLE_IOS"))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "a generic phone name that is not unique",
			intune: records{record("a", "iPhone", "", runs("iOS")), record("b", "iPhone", "", runs("iOS"))},
			ninja:  nodes{node(1, "iPhone", "", class("APPLE_IOS"))},
			want:   []string{"a -", "b -", "- 1"},
		},
		{
			name:   "tablets count as one system whatever their class",
			intune: records{record("a", "iPad", "", runs("iPadOS"))},
			ninja:  nodes{node(1, "iPad", "", class("APPLE_IOS"))},
			want:   []string{"a=1 name"},
		},
		{
			name:   "another operating system contradicts the name",
			intune: records{record("a", "RECEPTION", "", runs("Android"))},
			ninja:  nodes{node(1, "RECEPTION", "", class("WINDOWS_WORKSTATION"))},
			want:   []string{"a -", "- 1"},
			texts:  []string{"the NinjaOne device with its name runs another operating system", "the Intune device with its name runs another operating system"},
		},
		{
			name:   "an operating system that is not known does not contradict",
			intune: records{record("a", "RECEPTION", "", runs("Unknown")), record("b", "KIOSK", "", runs("Windows"))},
			ninja:  nodes{node(1, "RECEPTION", "", class("WINDOWS_WORKSTATION")), node(2, "KIOSK", "", class("UNMANAGED_DEVICE"))},
			want:   []string{"a=1 name", "b=2 name"},
		},
		{
			name:   "a virtual machine seen from its host does not hide the agent",
			intune: records{record("a", "SRV-A", "", runs("Windows"))},
			ninja:  nodes{node(1, "SRV-A", "", class("VMWARE_VM_GUEST")), node(2, "SRV-A", "", class("WINDOWS_SERVER"))},
			want:   []string{"a=2 name", "- 1"},
			texts:  []string{"NinjaOne monitors it as VMWARE_VM_GUEST, a kind of device that Intune does not manage"},
		},
		{
			name:   "network equipment is never matched",
			intune: records{record("a", "EDGE", "PF2XYZ01")},
			ninja:  nodes{node(1, "EDGE", "PF2XYZ01", class("NMS_SWITCH"))},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "nameless devices without serial",
			intune: records{record("a", "", ""), record("b", "", "")},
			ninja:  nodes{node(1, "", ""), node(2, "", "")},
			want:   []string{"a -", "b -", "- 1", "- 2"},
			texts:  []string{"Intune has no usable serial number of it; it has no name that could identify it", "NinjaOne has no usable serial number of it; it has no name that could identify it"},
		},
		{
			name:   "localhost is no name",
			intune: records{record("a", "localhost", "")},
			ninja:  nodes{node(1, "localhost", "", dns("localhost.localdomain"))},
			want:   []string{"a -", "- 1"},
		},
		{
			name:   "a device that a paged list delivered twice counts once",
			intune: records{record("a", "PC-A", "PF2XYZ01"), record("a", "PC-A", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01"), node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial"},
		},
		{
			name:   "markup in a name is a name",
			intune: records{record("a", "<b>PC</b>", "")},
			ninja:  nodes{node(1, "<B>pc</B>", "")},
			want:   []string{"a=1 name"},
		},
	})
}

func checkDevices(t *testing.T, tests []devicesTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			intune, ninja := slices.Clone(tt.intune), slices.Clone(tt.ninja)
			r := Devices(intune, ninja)
			if diff := cmp.Diff(tt.want, describe(r)); diff != "" {
				t.Errorf("matches (-want +got):\n%s", diff)
			}
			texts := texts(r)
			for _, want := range tt.texts {
				if !strings.Contains(texts, want) {
					t.Errorf("no reason or note says %q:\n%s", want, texts)
				}
			}
			if !cmp.Equal(intune, tt.intune) || !cmp.Equal(ninja, tt.ninja) {
				t.Error("the input was changed")
			}
		})
	}
}

func texts(r Result) string {
	var b strings.Builder
	for _, p := range r.Pairs {
		fmt.Fprintln(&b, p.Evidence.Note)
	}
	for _, l := range r.IntuneOnly {
		fmt.Fprintln(&b, l.Reason)
	}
	for _, l := range r.NinjaOnly {
		fmt.Fprintln(&b, l.Reason)
	}
	return b.String()
}

func TestEvidenceValue(t *testing.T) {
	r := Devices(
		records{record("a", "PC-A", " 5cg 1234aaa\u200b"), record("b", "Front  Desk ", "")},
		nodes{node(1, "PC-A", "5CG1234AAA"), node(2, "FRONT DESK", "")},
	)
	want := []Evidence{
		{Kind: KindSerial, Value: "5cg 1234aaa"},
		{Kind: KindName, Value: "Front Desk", Note: "Neither Intune nor NinjaOne has a usable serial number of it."},
	}
	got := []Evidence{r.Pairs[0].Evidence, r.Pairs[1].Evidence}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	if len(r.Pairs) != 2 {
		t.Errorf("%d pairs, want 2", len(r.Pairs))
	}
}

func TestDuplicateKeepsNewestContact(t *testing.T) {
	older := node(1, "PC-OLD", "", func(d *ninjaone.Device) { d.LastContact = day(1) })
	newer := node(1, "PC-NEW", "", func(d *ninjaone.Device) { d.LastContact = day(2) })
	for _, ninja := range []nodes{{older, newer}, {newer, older}} {
		r := Devices(records{record("a", "PC-NEW", "")}, ninja)
		if diff := cmp.Diff([]string{"a=1 name"}, describe(r)); diff != "" {
			t.Errorf("matches (-want +got):\n%s", diff)
		}
	}
}
