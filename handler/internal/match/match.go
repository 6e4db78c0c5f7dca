package match

import (
	"cmp"
	"slices"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// Kind is the kind of evidence that joined two devices.
type Kind string

// The kinds of evidence, strongest first.
const (
	KindSerial Kind = "serial" // one serial number, unique in NinjaOne
	KindName   Kind = "name"   // one name, unique on both sides
)

// Evidence says why two devices were taken for one machine.
type Evidence struct {
	Kind  Kind
	Value string // the serial number or name as Intune writes it
	Note  string // what a technician should know besides; often ""
}

// Pair is a machine that both Intune and NinjaOne manage.
type Pair struct {
	Intune   *tenant.ManagedDevice
	Ninja    *ninjaone.Device
	Evidence Evidence
	// Superseded are the other Intune records of the machine, newest check-in
	// first. Nothing of theirs is written to NinjaOne.
	Superseded []*tenant.ManagedDevice
}

// Leftover is a device without counterpart.
type Leftover[D any] struct {
	Device D
	Reason string // for a technician, without the device's own name
}

// Result is the outcome of [Devices]. Every device of the input appears in it
// exactly once. Pairs and NinjaOnly are in order of NinjaOne's id, IntuneOnly
// in order of Intune's.
type Result struct {
	Pairs      []Pair
	IntuneOnly []Leftover[*tenant.ManagedDevice]
	NinjaOnly  []Leftover[*ninjaone.Device]
}

// Devices matches the Intune devices of one tenant with the NinjaOne devices
// of one organization. The result points into the two slices, which it does
// not change. A device that a paged list delivered twice (one id) counts once.
func Devices(intune []tenant.ManagedDevice, ninja []ninjaone.Device) Result {
	m := newMatcher(intune, ninja)
	m.bySerial()
	m.byName()
	return m.result()
}

// machine is one physical device as Intune knows it: one record, or several
// of which only the newest counts.
type machine struct {
	records []*tenant.ManagedDevice // newest first
	serial  string                  // normalized; "" when none is usable
	name    string                  // normalized name of the newest record
	ninja   int                     // index of the matched candidate; none when there is none
	by      Kind
	reason  string // why the name did not decide either
	merged  bool   // its records went to another machine of the same pair
}

// candidate is a NinjaOne device with what it can be recognized by.
type candidate struct {
	device  *ninjaone.Device
	serials []string // normalized, usable, without duplicates
	names   []string // normalized, without duplicates
	machine int      // index of the matched machine; none when there is none
	reason  string   // why a machine of the same name was refused
}

// none is the index of no machine or candidate.
const none = -1

// holders counts who has a serial number or name, and remembers the first.
type holders struct {
	first, count int
}

type matcher struct {
	machines   []machine // newest check-in first
	candidates []candidate
	unmanaged  []*ninjaone.Device // of classes that Intune never manages

	ninjaSerials map[string]holders // normalized serial → candidates
	ninjaNames   map[string]holders // normalized name → candidates
	intuneNames  map[string]holders // normalized name → machines
}

func newMatcher(intune []tenant.ManagedDevice, ninja []ninjaone.Device) *matcher {
	m := &matcher{
		ninjaSerials: make(map[string]holders, len(ninja)),
		ninjaNames:   make(map[string]holders, 2*len(ninja)),
		intuneNames:  make(map[string]holders, len(intune)),
	}
	m.addNinja(ninja)
	m.addIntune(intune)
	return m
}

func (m *matcher) addNinja(devices []ninjaone.Device) {
	sorted := pointers(devices)
	slices.SortFunc(sorted, func(a, b *ninjaone.Device) int {
		return cmp.Or(
			cmp.Compare(a.ID, b.ID),
			b.LastContact.Compare(a.LastContact),
			cmp.Compare(a.SystemName, b.SystemName),
			cmp.Compare(a.SerialNumber, b.SerialNumber),
		)
	})
	sorted = slices.CompactFunc(sorted, func(a, b *ninjaone.Device) bool { return a.ID == b.ID && a.ID != 0 })

	for _, d := range sorted {
		if !manageable(d.NodeClass) {
			m.unmanaged = append(m.unmanaged, d)
			continue
		}
		c := candidate{device: d, names: names(d), machine: none}
		for _, raw := range []string{d.SerialNumber, d.BIOSSerialNumber} {
			if s, ok := NormalizeSerial(raw); ok && !slices.Contains(c.serials, s) {
				c.serials = append(c.serials, s)
			}
		}
		index := len(m.candidates)
		for _, s := range c.serials {
			count(m.ninjaSerials, s, index)
		}
		for _, n := range c.names {
			count(m.ninjaNames, n, index)
		}
		m.candidates = append(m.candidates, c)
	}
}

func (m *matcher) addIntune(devices []tenant.ManagedDevice) {
	sorted := pointers(devices)
	slices.SortFunc(sorted, newestFirst)

	type key struct{ serial, name string }
	machineOf := make(map[key]int, len(sorted))
	seen := make(map[string]bool, len(sorted))
	for _, d := range sorted {
		if seen[d.ID] {
			continue
		}
		seen[d.ID] = d.ID != ""
		name := normalizeName(d.DeviceName)
		serial, ok := NormalizeSerial(d.SerialNumber)
		if ok {
			k := key{serial: serial}
			if m.ninjaSerials[serial].count > 1 {
				// NinjaOne knows several machines by this serial number (cloned
				// virtual machines, say), so it takes the name as well to tell
				// that two records are of one machine.
				k.name = name
			}
			if i, known := machineOf[k]; known {
				m.machines[i].records = append(m.machines[i].records, d)
				continue
			}
			machineOf[k] = len(m.machines)
		}
		count(m.intuneNames, name, len(m.machines))
		m.machines = append(m.machines, machine{
			records: []*tenant.ManagedDevice{d}, serial: serial, name: name, ninja: none,
		})
	}
}

// newestFirst orders records by check-in, then enrolment, newest first, then
// by id.
func newestFirst(a, b *tenant.ManagedDevice) int {
	return cmp.Or(
		b.LastSync.Compare(a.LastSync),
		b.Enrolled.Compare(a.Enrolled),
		cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.DeviceName, b.DeviceName),
		cmp.Compare(a.SerialNumber, b.SerialNumber),
	)
}

// bySerial joins machines and candidates by serial number.
func (m *matcher) bySerial() {
	for i := range m.machines {
		if h := m.ninjaSerials[m.machines[i].serial]; m.machines[i].serial != "" && h.count == 1 {
			m.join(i, h.first, KindSerial)
		}
	}
}

// byName joins what the serial numbers left over by name.
func (m *matcher) byName() {
	claims := make(map[int][]int) // candidate → machines, newest first
	for i := range m.machines {
		mc := &m.machines[i]
		if mc.ninja != none || mc.merged {
			continue
		}
		c, reason := m.nameClaim(mc)
		if reason != "" {
			mc.reason = reason
			continue
		}
		claims[c] = append(claims[c], i)
	}
	for c, machines := range claims {
		if m.differentSerials(machines) {
			m.candidates[c].reason = "Intune devices with different serial numbers go by its names"
			for _, i := range machines {
				m.machines[i].reason = "Intune devices with different serial numbers go by the names of the NinjaOne device"
			}
			continue
		}
		for _, i := range machines {
			m.join(i, c, KindName)
		}
	}
}

// nameClaim returns the candidate that the machine's name points to, or why
// there is none.
func (m *matcher) nameClaim(mc *machine) (int, string) {
	if mc.name == "" {
		return none, "it has no name that could identify it"
	}
	h := m.ninjaNames[mc.name]
	if h.count == 0 {
		return none, "no NinjaOne device in the organization has its name"
	}
	if h.count > 1 {
		return none, several(h.count, "NinjaOne devices have its name, so the name identifies none of them")
	}
	if n := m.intuneNames[mc.name].count; n > 1 {
		return none, several(n, "Intune devices have its name, so the name does not tell which of them the NinjaOne device is")
	}
	c := &m.candidates[h.first]
	switch {
	case mc.serial != "" && len(c.serials) > 0 && !slices.Contains(c.serials, mc.serial):
		c.reason = "the Intune device with its name has another serial number"
		return none, "the NinjaOne device with its name has another serial number"
	case c.machine != none:
		return none, "the NinjaOne device with its name was matched with another Intune device by serial number"
	case contradict(mc.records[0].OperatingSystem, c.device.NodeClass):
		c.reason = "the Intune device with its name runs another operating system"
		return none, "the NinjaOne device with its name runs another operating system"
	}
	return h.first, ""
}

// differentSerials reports whether the machines have at least two different
// usable serial numbers.
func (m *matcher) differentSerials(machines []int) bool {
	first := ""
	for _, i := range machines {
		switch s := m.machines[i].serial; {
		case s == "" || s == first:
		case first == "":
			first = s
		default:
			return true
		}
	}
	return false
}

// join matches a machine with a candidate. When a newer machine has the
// candidate already, the two are one: the records of the older one are
// superseded.
func (m *matcher) join(machineIndex, candidateIndex int, by Kind) {
	mc, c := &m.machines[machineIndex], &m.candidates[candidateIndex]
	if c.machine == none {
		c.machine, mc.ninja, mc.by = machineIndex, candidateIndex, by
		return
	}
	winner := &m.machines[c.machine]
	winner.records = append(winner.records, mc.records...)
	mc.merged = true
}

func (m *matcher) result() Result {
	var r Result
	for i := range m.candidates {
		c := &m.candidates[i]
		if c.machine == none {
			r.NinjaOnly = append(r.NinjaOnly, Leftover[*ninjaone.Device]{c.device, m.ninjaReason(c)})
			continue
		}
		r.Pairs = append(r.Pairs, m.pair(c, &m.machines[c.machine]))
	}
	for _, d := range m.unmanaged {
		r.NinjaOnly = append(r.NinjaOnly, Leftover[*ninjaone.Device]{d,
			"NinjaOne monitors it as " + d.NodeClass + ", a kind of device that Intune does not manage"})
	}
	slices.SortFunc(r.NinjaOnly, func(a, b Leftover[*ninjaone.Device]) int {
		return cmp.Compare(a.Device.ID, b.Device.ID)
	})

	for i := range m.machines {
		mc := &m.machines[i]
		if mc.ninja != none || mc.merged {
			continue
		}
		r.IntuneOnly = append(r.IntuneOnly, Leftover[*tenant.ManagedDevice]{mc.records[0], m.intuneReason(mc)})
		for _, d := range mc.records[1:] {
			r.IntuneOnly = append(r.IntuneOnly, Leftover[*tenant.ManagedDevice]{d,
				"an older Intune record of a machine that enrolled again (same serial number); the newer record has no NinjaOne device either"})
		}
	}
	slices.SortFunc(r.IntuneOnly, func(a, b Leftover[*tenant.ManagedDevice]) int {
		return cmp.Compare(a.Device.ID, b.Device.ID)
	})
	return r
}

func (m *matcher) pair(c *candidate, mc *machine) Pair {
	older := mc.records[1:]
	slices.SortFunc(older, newestFirst)
	p := Pair{Intune: mc.records[0], Ninja: c.device, Evidence: m.evidence(c, mc)}
	if len(older) > 0 {
		p.Superseded = older
	}
	return p
}

func pointers[T any](s []T) []*T {
	p := make([]*T, len(s))
	for i := range s {
		p[i] = &s[i]
	}
	return p
}

func count(m map[string]holders, key string, index int) {
	if key == "" {
		return
	}
	h := m[key]
	if h.count == 0 {
		h.first = index
	}
	h.count++
	m[key] = h
}
