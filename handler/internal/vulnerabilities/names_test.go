package vulnerabilities

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

func TestNames(t *testing.T) {
	devices := []ninjaone.Device{
		{ID: 1, SystemName: "Renamed-1", DNSName: "renamed-1.corp.example"},
		{ID: 2, SystemName: "SRV", DNSName: "srv.corp.example"},
		{ID: 3, SystemName: "SRV", DNSName: "srv.branch.example"},
		{ID: 4, SystemName: "Case"}, {ID: 5, SystemName: "case"},
		{ID: 6, SystemName: "AVERYLONGCOMPUT", NetBIOSName: "AVERYLONGCOMPUT"},
		{ID: 7, SystemName: "PC-7"},
		{ID: 8, DisplayName: "Only shown"},
	}
	n := newNames(byName, devices, devicematch.Matches{Pairs: []devicematch.Pair{
		{Name: "PC-7", NinjaOneID: 1, Contesting: []devicematch.Contestant{{Name: "PC-8"}}}, {Name: "gone", NinjaOneID: 99},
	}})
	for name, want := range map[string][]int{
		"PC-7":                    {1}, // Intune's name counts before NinjaOne's
		"pc-7.corp.example":       {1},
		"PC-8":                    {1},
		"renamed-1.other.example": {1},
		"srv.branch.example":      {3},
		"SRV.CORP.EXAMPLE":        {2},
		"srv":                     {2, 3}, // nothing tells them apart
		"srv.elsewhere.example":   {2, 3},
		"Case":                    {4},
		"case":                    {5},
		"CASE":                    {4, 5},
		"AveryLongComputerName":   {6},
		"gone":                    nil,
		"":                        nil,
		"Only shown":              nil,
	} {
		var got []int
		for _, d := range n.of(name) {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is %v, want %v", name, got, want)
		}
	}
}

func TestValue(t *testing.T) {
	d := &ninjaone.Device{SystemName: " PC-1 ", DNSName: "pc-1.corp.example", IPAddress: "10.0.0.1", MACAddress: "02:00:00:00:00:01"}
	for by, want := range map[identifier]string{byName: "PC-1", byIP: "10.0.0.1", byMAC: "02:00:00:00:00:01"} {
		if got := (&names{by: by}).value(d); got != want {
			t.Errorf("%d: %q, want %q", by, got, want)
		}
	}
	n := &names{}
	for _, tt := range []struct {
		d    ninjaone.Device
		want string
	}{
		{ninjaone.Device{DNSName: "pc-2.corp.example"}, "pc-2"}, {ninjaone.Device{NetBIOSName: "PC-3"}, "PC-3"}, {ninjaone.Device{DisplayName: "PC-4"}, "PC-4"},
		{ninjaone.Device{SystemName: "=cmd|' /C calc'!A0"}, ""}, {ninjaone.Device{SystemName: "@x"}, ""}, {ninjaone.Device{SystemName: "+1"}, ""}, {ninjaone.Device{SystemName: "-1"}, ""},
		{ninjaone.Device{}, ""},
	} {
		if got := n.value(&tt.d); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestIdentifierOf(t *testing.T) {
	for mapping, want := range map[string]identifier{"": byName, "HOSTNAME": byName, "host name": byName, "systemName": byName, "DNS_NAME": byName, "machine name": byName,
		"IP_ADDRESS": byIP, "ip": byIP, "ipAddress": byIP, "MAC_ADDRESS": byMAC, "mac": byMAC} {
		if got, ok := identifierOf(mapping); !ok || got != want {
			t.Errorf("%q: %v, %v", mapping, got, ok)
		}
	}
	for _, mapping := range []string{"SERIAL", "uid"} {
		if _, ok := identifierOf(mapping); ok {
			t.Errorf("%q is taken for one of the three", mapping)
		}
	}
}

// TestOddNames: quotes and line breaks stay what they are, and a formula does not
// get into the file; records of duplicates by case are one row.
func TestOddNames(t *testing.T) {
	odd := []string{`a "quoted" name`, "two\nlines", "comma, name", "=cmd|' /C calc'!A0", "ordinary"}
	l := newLab(t, len(odd), func(s *seed.Seed) {
		for i := range s.NinjaDevices {
			s.NinjaDevices[i].SystemName, s.NinjaDevices[i].DNSName = odd[i], ""
		}
		s.ScanGroups[0].DeviceHeader, s.ScanGroups[0].CVEHeader = `Device "name"`, "=CVE, id"
	})
	var list []m365sim.Vulnerability
	for i := range odd {
		list = append(list, vulnerable(pc(i), cve(1)))
	}
	bad := vulnerable(pc(4), "=HYPERLINK(\"x\")")
	again := vulnerable(strings.ToLower(pc(4)), strings.ToLower(cve(1)))
	again.DeviceID = "another record of it"
	l.report(append(list, bad, again)...)
	s := l.run(Message{})
	raw := string(l.NinjaOne.Uploads(groupID)[0].Bytes)
	rows, err := csv.NewReader(strings.NewReader(raw)).ReadAll()
	must(t, err)
	want := [][]string{{`Device "name"`, "=CVE, id"}, {odd[0], cve(1)}, {odd[2], cve(1)}, {odd[4], cve(1)}, {odd[1], cve(1)}}
	if !slices.EqualFunc(rows, want, slices.Equal) {
		t.Errorf("the file is %q", rows)
	}
	l.wantOpen(0, 1, 2, 4)
	if s.Unmatched != 1 || s.Unknown[0] != pc(3) {
		t.Errorf("the status is %+v", s)
	}
	l.wantLine(1, "1 records of vulnerabilities have no name of a device, or a CVE id that cannot be one")
}

// TestByAddress: a group that finds devices by another identifier gets that, and people
// are shown names.
func TestByAddress(t *testing.T) {
	for by, header := range map[ninjasim.Identifier]string{ninjasim.IPAddress: "10.", ninjasim.MACAddress: "02:00:"} {
		l := newLab(t, 2)
		l.group(groupID, func(g *ninjasim.ScanGroup) { g.Identifier = by })
		l.reportMany(2, 1)
		l.run(Message{})
		if f := l.file(); len(f) != 3 || !strings.HasPrefix(f[1][0], header) {
			t.Errorf("the file is %q", f)
		}
		l.wantOpen(0, 1)
		e, err := l.worker.Files.Exposure(t.Context(), l.ref)
		must(t, err)
		for _, d := range e.Devices {
			i := slices.IndexFunc(l.Seed.NinjaDevices, func(n ninjasim.Device) bool { return n.ID == d.NinjaOneID })
			if want := l.Seed.NinjaDevices[i].DisplayName; d.Name != want || want == "" {
				t.Errorf("a device is shown as %q, want %q", d.Name, want)
			}
		}
	}
}

// TestServer: a device that Intune does not know, and NinjaOne has, is no less
// vulnerable.
func TestServer(t *testing.T) {
	l := newLab(t, 2)
	l.match(devicematch.Matches{Pairs: []devicematch.Pair{{ManagedDeviceID: "m0", Name: pc(0), NinjaOneID: l.Seed.NinjaDevices[0].ID}}})
	l.reportMany(2, 1)
	l.run(Message{})
	l.wantOpen(0, 1)
}

// TestTwoNamesOfADevice: the records of a device that was renamed count under each
// of its names, in whatever order they come.
func TestTwoNamesOfADevice(t *testing.T) {
	names := newNames(byName, []ninjaone.Device{{ID: 1, SystemName: "NEW"}}, devicematch.Matches{})
	var digests []string
	for _, order := range [][]string{{"old.corp.example", "NEW", "new.corp.example"}, {"new.corp.example", "NEW", "old.corp.example"}} {
		f := newFound(t.Context())
		for _, name := range order {
			must(t, f.add(&wire.Vulnerability{DeviceID: "x", DeviceName: name, CVE: cve(len(name)), Severity: "High"}))
		}
		p, err := decide(inputs{group: ninjaone.ScanGroup{ID: 1, DeviceHeader: "d", CVEHeader: "c"}, found: f, names: names})
		must(t, err)
		if len(p.file.rows) != 2 || p.status.Matched != 1 || strings.Join(p.status.Unknown, " ") != "old.corp.example" {
			t.Errorf("%q: %d rows, %+v", order, len(p.file.rows), p.status)
		}
		digests = append(digests, p.file.digest)
	}
	if digests[0] != digests[1] {
		t.Error("the order of records changes the bytes")
	}
}
