package vulnerabilities

import (
	"cmp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// identifier is what a scan group finds devices by.
type identifier int

const (
	byName identifier = iota
	byIP
	byMAC
)

// identifierOf reads a group's deviceInternalMapping, whose words NinjaOne does not
// document. It is false for any other word. A file of the wrong kind would match
// nothing, and so empty the group.
func identifierOf(mapping string) (identifier, bool) {
	word := strings.ToLower(mapping)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(word, p) })
	}
	switch {
	case has("mac") && !has("machine"):
		return byMAC, true
	case has("name", "host", "dns", "computer"), strings.TrimSpace(word) == "":
		return byName, true
	case has("ip"):
		return byIP, true
	}
	return byName, false
}

// names finds the NinjaOne devices that a device of Defender is.
type names struct {
	by      identifier
	devices map[int]*ninjaone.Device
	paired  map[string][]int // by Intune's name, without domain
	named   map[string][]int // by NinjaOne's names, without domain
}

// newNames indexes the devices of an organization, and which of them the tenant's
// last sync matched.
func newNames(by identifier, devices []ninjaone.Device, m devicematch.Matches) *names {
	n := &names{by: by, devices: map[int]*ninjaone.Device{}, paired: map[string][]int{}, named: map[string][]int{}}
	for i := range devices {
		d := &devices[i]
		n.devices[d.ID] = d
		for _, name := range []string{d.SystemName, d.DNSName, d.NetBIOSName} {
			index(n.named, name, d.ID)
		}
	}
	for _, p := range m.Pairs {
		if n.devices[p.NinjaOneID] == nil {
			continue
		}
		index(n.paired, p.Name, p.NinjaOneID)
		for _, c := range p.Contesting {
			index(n.paired, c.Name, p.NinjaOneID)
		}
	}
	return n
}

func index(in map[string][]int, name string, id int) {
	if key := short(name); key != "" && !slices.Contains(in[key], id) {
		in[key] = append(in[key], id)
	}
}

// short is a name without its domain, in lower case.
func short(name string) string {
	host, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(name)), ".")
	return host
}

// netBIOSLength is how many characters of a computer's name its NetBIOS name has.
const netBIOSLength = 15

// of returns the devices that Defender's name means. Those of Intune's name come before
// those of NinjaOne's. Where nothing tells several apart it returns them all. People see
// a CVE too many, but not one too few.
func (n *names) of(name string) []*ninjaone.Device {
	key := short(name)
	ids := n.paired[key]
	if len(ids) == 0 {
		ids = n.named[key]
	}
	if len(ids) == 0 && len(key) > netBIOSLength {
		ids = n.named[key[:netBIOSLength]]
	}
	var all []*ninjaone.Device
	for _, id := range ids {
		all = append(all, n.devices[id])
	}
	if len(all) > 1 {
		for _, is := range []func(*ninjaone.Device) bool{
			func(d *ninjaone.Device) bool {
				return strings.Contains(name, ".") && strings.EqualFold(d.DNSName, name)
			},
			func(d *ninjaone.Device) bool { return d.SystemName == name || d.DNSName == name },
		} {
			if i := slices.IndexFunc(all, is); i >= 0 && !slices.ContainsFunc(all[i+1:], is) {
				return all[i : i+1]
			}
		}
	}
	return all
}

// called is what people call a device that a file calls value, which may be an address.
func (n *names) called(id int, value string) string {
	if n.by == byName {
		return value
	}
	return devicematch.NameOf(n.devices[id])
}

// value is what a file calls a device. It is "" where NinjaOne does not show it, or where
// a spreadsheet would take it for a formula.
func (n *names) value(d *ninjaone.Device) string {
	value := d.IPAddress
	switch n.by {
	case byName:
		dns, _, _ := strings.Cut(d.DNSName, ".")
		value = cmp.Or(strings.TrimSpace(d.SystemName), strings.TrimSpace(dns), strings.TrimSpace(d.NetBIOSName), d.DisplayName)
	case byMAC:
		value = d.MACAddress
	}
	value = strings.TrimSpace(value)
	if value != "" && strings.ContainsRune("=+-@", rune(value[0])) {
		return ""
	}
	return value
}
