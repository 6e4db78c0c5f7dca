package match

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// hour is a record's last check-in, in hours after the first of the month.
func hour(n int) func(*tenant.ManagedDevice) {
	return func(d *tenant.ManagedDevice) { d.LastSync = day(1).Add(time.Duration(n) * time.Hour) }
}

func approval(s string) func(*ninjaone.Device) {
	return func(d *ninjaone.Device) { d.ApprovalStatus = s }
}

const good, bad, open = tenant.StateCompliant, tenant.StateNoncompliant, tenant.StateUnknown

func TestWhichDeviceIsWhich(t *testing.T) {
	checkDevices(t, []devicesTest{
		// Serial numbers that name no machine.
		{
			name:   "two tills with a placeholder: the name decides",
			intune: records{record("a", "TILL-01", "0123456789ABCDEF", in("e1"), is(good)), record("b", "TILL-02", "0123456789ABCDEF", in("e2"), is(bad))},
			ninja:  nodes{node(1, "TILL-02", "0123456789ABCDEF")},
			want:   []string{"b=1 name", "a -"},
		},
		{
			name: "three devices in use of different names: the name decides",
			intune: records{record("a", "TILL-01", "POS7K2M9", in("e1"), hour(1)), record("b", "TILL-02", "POS7K2M9", in("e2"), hour(2)),
				record("c", "TILL-03", "POS7K2M9", in("e3"), hour(20))},
			ninja: nodes{node(1, "TILL-02", "POS7K2M9")},
			want:  []string{"b=1 name", "a -", "c -"},
			texts: []string{"Several Intune devices in use have its serial number, so its name decided.",
				"several Intune devices in use have its serial number, so the number identifies none of them; no NinjaOne device in the organization has its name"},
		},
		{
			name: "three devices in use, NinjaOne reads another number of the one",
			intune: records{record("a", "TILL-01", "POS7K2M9", in("e1")), record("b", "TILL-02", "POS7K2M9", in("e2")),
				record("c", "TILL-03", "POS7K2M9", in("e3"))},
			ninja: nodes{node(1, "TILL-02", "PF2XYZ01")},
			want:  []string{"b=1 name", "a -", "c -"},
		},
		{
			name: "three devices, one of them silent for more than a day: two contest",
			intune: records{record("a", "TILL-01", "POS7K2M9", in("e1"), hour(0)), record("b", "TILL-02", "POS7K2M9", in("e2"), hour(30)),
				record("c", "TILL-03", "POS7K2M9", in("e3"), hour(40))},
			ninja: nodes{node(1, "TILL-02", "POS7K2M9")},
			want:  []string{"b=1 serial", "a>b", "c?b"},
		},
		{
			name: "three records of two devices are not three devices",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), hour(3)), record("b", "PC-B", "PF2XYZ01", in("e1"), hour(2)),
				record("c", "PC-C", "PF2XYZ01", in("e2"), hour(1))},
			ninja: nodes{node(1, "PC-A", "PF2XYZ01")},
			want:  []string{"a=1 serial", "b>a", "c?a"},
		},
		{
			name:   "NinjaOne devices of different names have it: it contradicts no name",
			intune: records{record("a", "PC-C", "PF2XYZ01")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01"), node(2, "PC-B", "PF2XYZ01"), node(3, "PC-C", "PF2XYZ03")},
			want:   []string{"a=3 name", "- 1", "- 2"},
		},
		{
			name:   "a number of several NinjaOne devices contradicts no name on its own side",
			intune: records{record("a", "PC-A", "PF2XYZ09")},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01"), node(2, "PC-B", "PF2XYZ01")},
			want:   []string{"a=1 name", "- 2"},
		},
		{
			name:   "virtual machines with their host's number are told apart by name",
			intune: records{record("a", "VM-1", "7HH8J99", in("e1")), record("b", "VM-2", "7HH8J99", in("e2"))},
			ninja:  nodes{node(1, "HOST-1", "7HH8J99"), node(2, "VM-2", "7HH8J99"), node(3, "VM-1", "7HH8J99")},
			want:   []string{"b=2 name", "a=3 name", "- 1"},
		},

		// Contested serial numbers.
		{
			name:   "two devices in use, the worse one is shown",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(bad), hour(1)), record("b", "KALI", "PF2XYZ01", in("e2"), is(good), hour(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b?a"},
			texts:  []string{"2 Intune devices in use claim to be this machine, so the worse compliance of them is shown."},
		},
		{
			name:   "the newer one is worse",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(good), hour(1)), record("b", "KALI", "PF2XYZ01", in("e2"), is(bad), hour(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a?b"},
			texts:  []string{"The names in Intune and NinjaOne differ. 2 Intune devices"},
		},
		{
			name:   "no verdict is worse than compliant",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(open), hour(1)), record("b", "KALI", "PF2XYZ01", in("e2"), is(good), hour(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b?a"},
		},
		{
			name:   "equal states: the one with NinjaOne's name, whoever checked in last",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(good), hour(1)), record("b", "KALI", "PF2XYZ01", in("e2"), is(good), hour(5), enrolled(1))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b?a"},
		},
		{
			name:   "the same name does not help either",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(bad), hour(1)), record("b", "PC-A", "PF2XYZ01", in("e2"), is(good), hour(5))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b?a"},
		},
		{
			name:   "NinjaOne has devices of both names: the names decide",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1")), record("b", "PC-B", "PF2XYZ01", in("e2"))},
			ninja:  nodes{node(1, "pc-b.fabrikam.example", ""), node(2, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 name", "a=2 name"},
			texts:  []string{"Several Intune devices in use have its serial number, so its name decided."},
		},
		{
			name:   "NinjaOne does not know the number: each goes by its name",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), hour(5)), record("b", "PC-B", "PF2XYZ01", in("e2"))},
			ninja:  nodes{node(1, "PC-B", "")},
			want:   []string{"b=1 name", "a -"},
		},
		{
			name: "NinjaOne does not know the number, and both have one name: they contest it",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(good), hour(5)), record("b", "PC-A", "PF2XYZ01", in("e2"), is(bad)),
				record("c", "PC-A", "PF2XYZ01", in("e2"), is(good), hour(-2))},
			ninja: nodes{node(1, "PC-A", "")},
			want:  []string{"b=1 name", "c>b", "a?b"},
		},
		{
			name: "two names of one NinjaOne device, two devices in use without number: they contest it",
			intune: records{record("a", "TILL-01", "Default string", in("e1"), is(bad)),
				record("b", "TILL-02", "Default string", in("e2"), is(good), hour(3))},
			ninja: nodes{node(1, "TILL-02", "Default string", dns("till-01.fabrikam.example"))},
			want:  []string{"a=1 name", "b?a"},
		},
		{
			name:   "silent for more than a day: the newest check-in wins",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(bad), hour(0)), record("b", "PC-A", "PF2XYZ01", in("e2"), is(good), hour(25))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "one Entra device: the newest check-in wins",
			intune: records{record("a", "DESKTOP-1", "PF2XYZ01", in("e1"), is(bad), hour(0)), record("b", "PC-A", "PF2XYZ01", in("e1"), is(good), hour(2))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "never checked in: not in use",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), is(good)), record("b", "PC-A", "PF2XYZ01", in("e2"), is(bad), func(d *tenant.ManagedDevice) { d.LastSync = time.Time{} })},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b>a"},
		},
		{
			name:   "phones without Entra device contest by their names",
			intune: records{record("a", "iPhone", "K7M2P9QW4X", is(good)), record("b", "Anna's iPhone", "K7M2P9QW4X", is(bad), hour(3))},
			ninja:  nodes{node(1, "iPhone", "K7M2P9QW4X")},
			want:   []string{"b=1 serial", "a?b"},
		},

		// Records that belong together.
		{
			name:   "no number yet, but the Entra device of one that has",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1"), hour(1)), record("b", "PC-A", "", in("e1"), hour(3))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"b=1 serial", "a>b"},
		},
		{
			name:   "an Entra device of two numbers lends none",
			intune: records{record("a", "PC-A", "PF2XYZ01", in("e1")), record("b", "PC-B", "PF2XYZ02", in("e1")), record("c", "PC-C", "", in("e1"))},
			ninja:  nodes{node(1, "PC-A", "PF2XYZ01")},
			want:   []string{"a=1 serial", "b -", "c -"},
		},
		{
			name:   "a placeholder, enrolled again with one Entra device",
			intune: records{record("a", "TILL-02", "Default string", in("e1"), hour(1)), record("b", "TILL-02", "Default string", in("e1"), hour(3))},
			ninja:  nodes{node(1, "TILL-02", "Default string")},
			want:   []string{"b=1 name", "a>b"},
		},
		{
			name:   "enrolled again, not in NinjaOne",
			intune: records{record("a", "PC-A", "PF2XYZ01", synced(3)), record("b", "PC-A", "PF2XYZ01", synced(9)), record("c", "TAB", "", in("e9"), synced(2)), record("d", "TAB", "", in("e9"), synced(1))},
			want:   []string{"a - old", "b -", "c -", "d - old"},
			texts:  []string{"(same serial number)", "(same Entra device)"},
		},

		// Spellings.
		{
			name:   "dashes in a serial number",
			intune: records{record("a", "PC-A", "5CG-1234-AAA"), record("b", "VM", "VMware-564d112233445566778899aabbccddee")},
			ninja:  nodes{node(1, "X", "5CG1234AAA"), node(2, "Y", "VMware-56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ee")},
			want:   []string{"a=1 serial", "b=2 serial"},
		},
		{
			name:   "names that differ in their domain",
			intune: records{record("a", "PC-A.fabrikam.local", ""), record("b", "pc-b", ""), record("c", "PC-C.a.example", ""), record("d", "PC-C.b.example", "")},
			ninja:  nodes{node(1, "PC-A", ""), node(2, "PC-B.fabrikam.example", ""), node(3, "pc-c.B.example", ""), node(4, "pc-c.A.example", "")},
			want:   []string{"a=1 name", "b=2 name", "d=3 name", "c=4 name"},
		},
		{
			name:   "one host's name in two domains identifies neither",
			intune: records{record("a", "PC-A.a.example", ""), record("b", "PC-A.b.example", "")},
			ninja:  nodes{node(1, "PC-A", "")},
			want:   []string{"a -", "b -", "- 1"},
		},
		{
			name:   "a full stop makes no domain",
			intune: records{record("a", "Dr. Smith's iPad", ""), record("b", "10.0.0.7", ""), record("c", "Till 1.2", "")},
			ninja:  nodes{node(1, "Dr", ""), node(2, "10", ""), node(3, "Till 1", "")},
			want:   []string{"a -", "b -", "c -", "- 1", "- 2", "- 3"},
		},
		{
			name:   "no names",
			intune: records{record("a", "(none)", ""), record("b", "---", ""), record("c", "localhost.local", "")},
			ninja:  nodes{node(1, "(none)", ""), node(2, "---", ""), node(3, "localhost", "")},
			want:   []string{"a -", "b -", "c -", "- 1", "- 2", "- 3"},
		},
		{
			name:   "letters that look alike are others",
			intune: records{record("a", "\u0422ILL-02", ""), record("b", "OTHER", "5\u0421G1234AAA")},
			ninja:  nodes{node(1, "TILL-02", ""), node(2, "PC-A", "5CG1234AAA")},
			want:   []string{"a -", "b -", "- 1", "- 2"},
		},

		// Devices that NinjaOne does not manage, or not any more.
		{
			name:   "a decommissioned device and one that waits do not hide the approved one",
			intune: records{record("a", "PC-A", "PF2XYZ01")},
			ninja: nodes{node(1, "PC-A", "PF2XYZ01", approval("DECOMMISSIONED")), node(2, "PC-A", "PF2XYZ01", approval("APPROVED")),
				node(3, "PC-A", "PF2XYZ01", approval("PENDING"))},
			want:  []string{"a=2 serial", "- 1", "- 3"},
			texts: []string{"it is decommissioned in NinjaOne", "nobody has approved it in NinjaOne yet"},
		},
	})
}
