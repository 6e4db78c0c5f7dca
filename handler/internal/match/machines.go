package match

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

// liveWithin is how far apart the last check-ins of two records may be that are
// both in use. The older record of a machine that enrolled again stays silent.
const liveWithin = 24 * time.Hour

// manyDevices is how many devices in use, of different names, prove that their
// serial number names no machine.
const manyDevices = 3

// addIntune makes machines of Intune's records. Those of one serial number are one
// machine. Those without a usable one are one machine where they are one Entra device.
func (m *matcher) addIntune(devices []tenant.ManagedDevice) {
	sorted := pointers(devices)
	slices.SortFunc(sorted, NewestFirst)
	seen := make(map[string]bool, len(sorted))
	sorted = slices.DeleteFunc(sorted, func(d *tenant.ManagedDevice) bool {
		twice := seen[d.ID]
		seen[d.ID] = d.ID != ""
		return twice
	})

	serials := make([]string, len(sorted))
	known := map[string]string{} // Entra device → its serial number; "" when it has several
	for i, d := range sorted {
		serials[i] = serialKey(d.SerialNumber)
		id := d.AzureADDeviceID
		if id == "" || serials[i] == "" {
			continue
		}
		if s, ok := known[id]; ok && s != serials[i] {
			known[id] = ""
		} else {
			known[id] = serials[i]
		}
	}
	groups := make(map[string][]*tenant.ManagedDevice, len(sorted))
	var order []string
	for i, d := range sorted {
		// A record that enrolled just now has no serial number yet.
		key := cmp.Or(serials[i], known[d.AzureADDeviceID])
		if key == "" {
			// Blanks are in no serial number.
			if key = "entra " + d.AzureADDeviceID; d.AzureADDeviceID == "" {
				m.addMachine("", d)
				continue
			}
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], d)
	}
	for _, key := range order {
		if strings.HasPrefix(key, "entra ") {
			m.addMachine("", groups[key]...)
			continue
		}
		m.addGroup(key, groups[key])
	}
	slices.SortStableFunc(m.machines, func(a, b machine) int { return NewestFirst(a.records[0], b.records[0]) })
	for i := range m.machines {
		count(m.intuneNames, m.machines[i].name, i)
		count(m.intuneNames, m.machines[i].label, i)
	}
}

func (m *matcher) addMachine(serial string, records ...*tenant.ManagedDevice) {
	name := normalizeName(records[0].DeviceName)
	m.machines = append(m.machines, machine{records: records, serial: serial, name: name, label: hostLabel(name), ninja: none})
}

// addGroup makes machines of the records of one serial number, newest first.
// They are one machine, unless the number names none or several.
func (m *matcher) addGroup(serial string, records []*tenant.ManagedDevice) {
	live, _ := claimants(records)
	if len(live) > 1 && (namesMany(live) || m.namesDecide(live)) {
		m.doubtful[serial] = true
	}
	// Different Entra devices are one machine only because NinjaOne has just one
	// of this number.
	if m.doubtful[serial] || m.ninjaSerials[serial].count > 1 || m.ninjaSerials[serial].count == 0 && len(live) > 1 {
		for _, one := range m.byNameOf(records) {
			m.addMachine(serial, one...)
		}
		return
	}
	m.addMachine(serial, records...)
}

// byNameOf splits records into those of one name each. A name that NinjaOne does
// not know is a former one where its Entra device has another.
func (m *matcher) byNameOf(records []*tenant.ManagedDevice) [][]*tenant.ManagedDevice {
	var split [][]*tenant.ManagedDevice
	for _, d := range records {
		name := normalizeName(d.DeviceName)
		i := slices.IndexFunc(split, func(one []*tenant.ManagedDevice) bool { return normalizeName(one[0].DeviceName) == name })
		if i < 0 && m.ninjaNames[name].count == 0 && d.AzureADDeviceID != "" {
			i = slices.IndexFunc(split, func(one []*tenant.ManagedDevice) bool { return one[0].AzureADDeviceID == d.AzureADDeviceID })
		}
		if i < 0 {
			split = append(split, nil)
			i = len(split) - 1
		}
		split[i] = append(split[i], d)
	}
	return split
}

// namesDecide reports whether NinjaOne has a device of each name of the
// records.
func (m *matcher) namesDecide(records []*tenant.ManagedDevice) bool {
	found := map[int]bool{}
	for _, d := range records {
		h := m.ninjaNames[normalizeName(d.DeviceName)]
		if h.count == 0 {
			h = m.ninjaNames[hostLabel(normalizeName(d.DeviceName))]
		}
		if h.count != 1 || found[h.first] {
			return false
		}
		found[h.first] = true
	}
	return true
}

// namesMany reports whether records in use, of different Entra devices, have too many
// names for one machine's serial number.
func namesMany(live []*tenant.ManagedDevice) bool {
	names := map[string]bool{}
	for _, d := range live {
		names[normalizeName(d.DeviceName)] = true
	}
	delete(names, "")
	return len(names) >= manyDevices
}

// claimants splits the records of one machine, newest first. The result live has the
// newest record of each device in use, one at least; older has the others.
func claimants(records []*tenant.ManagedDevice) (live, older []*tenant.ManagedDevice) {
	newest := records[0].LastSync
	for i, d := range records {
		inUse := i == 0 || !d.LastSync.IsZero() && newest.Sub(d.LastSync) <= liveWithin
		if inUse && !slices.ContainsFunc(live, func(other *tenant.ManagedDevice) bool { return !apart(d, other) }) {
			live = append(live, d)
			continue
		}
		older = append(older, d)
	}
	return live, older
}

// apart reports whether two records are of different Entra devices. Where one has none,
// their names decide.
func apart(a, b *tenant.ManagedDevice) bool {
	if ea, eb := a.AzureADDeviceID, b.AzureADDeviceID; ea != "" && eb != "" {
		return ea != eb
	}
	return normalizeName(a.DeviceName) != normalizeName(b.DeviceName)
}

// speaksBefore reports whether a stands for a contested machine rather than b. The one
// that complies worse does. Else it is the one with one of the machine's names in
// NinjaOne, then the one that enrolled first. So the choice does not change with every
// check-in.
func speaksBefore(a, b *tenant.ManagedDevice, names []string) bool {
	stranger := func(d *tenant.ManagedDevice) int {
		if name := normalizeName(d.DeviceName); slices.Contains(names, name) || slices.Contains(names, hostLabel(name)) {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(tenant.Judge(b.ComplianceState), tenant.Judge(a.ComplianceState)),
		cmp.Compare(stranger(a), stranger(b)),
		a.Enrolled.Compare(b.Enrolled),
		cmp.Compare(a.ID, b.ID),
	) < 0
}
