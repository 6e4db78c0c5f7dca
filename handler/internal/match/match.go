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

// Evidence says why [Devices] took two devices for one machine.
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
	// Superseded are the other Intune records of the machine, newest check-in first. The
	// sync writes nothing of theirs to NinjaOne.
	Superseded []*tenant.ManagedDevice
	// Contesting are records of other Entra devices in use that claim to be the machine.
	// Each device has one here, which checked in within a day of the newest of all.
	// Newest comes first. Intune is then the record that complies worst, so that no
	// second device can make the machine look better.
	Contesting []*tenant.ManagedDevice
}

// Leftover is a device without counterpart.
type Leftover[D any] struct {
	Device D
	Reason string // for a technician, without the device's own name
	// Superseded says that it is an older Intune record of a machine whose newer
	// record is a leftover too.
	Superseded bool
}

// Result is the outcome of [Devices]. Every device of the input appears in it
// exactly once. Pairs and NinjaOnly are in order of NinjaOne's id, IntuneOnly
// in order of Intune's.
type Result struct {
	Pairs      []Pair
	IntuneOnly []Leftover[*tenant.ManagedDevice]
	NinjaOnly  []Leftover[*ninjaone.Device]
}

// IntuneMachines returns how many machines are in Intune only: older records of
// one that enrolled again do not count.
func (r Result) IntuneMachines() int {
	n := 0
	for _, l := range r.IntuneOnly {
		if !l.Superseded {
			n++
		}
	}
	return n
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
// that belong together.
type machine struct {
	records []*tenant.ManagedDevice // newest first
	serial  string                  // what is compared of its serial number; "" when none is usable
	name    string                  // normalized name of the newest record
	label   string                  // the host's part of that name; "" when that is all of it
	ninja   int                     // index of the matched candidate; none when there is none
	by      Kind
	reason  string // why the name did not decide either
	merged  bool   // its records went to another machine of the same pair
}

// candidate is a NinjaOne device with what identifies it.
type candidate struct {
	device  *ninjaone.Device
	serials []string // what is compared of its usable serial numbers, without duplicates
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
	unmanaged  []*ninjaone.Device // that no Intune device can be

	ninjaSerials map[string]holders // serial number → candidates
	ninjaNames   map[string]holders // normalized name → candidates
	intuneNames  map[string]holders // normalized name → machines
	// doubtful are the serial numbers that name no machine although they look as
	// if they did: NinjaOne devices of different names have them, or several
	// Intune devices in use.
	doubtful map[string]bool
}

func newMatcher(intune []tenant.ManagedDevice, ninja []ninjaone.Device) *matcher {
	m := &matcher{
		ninjaSerials: make(map[string]holders, len(ninja)),
		ninjaNames:   make(map[string]holders, 2*len(ninja)),
		intuneNames:  make(map[string]holders, len(intune)),
		doubtful:     map[string]bool{},
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
		if unmatchable(d) != "" {
			m.unmanaged = append(m.unmanaged, d)
			continue
		}
		c := candidate{device: d, names: names(d), machine: none}
		for _, raw := range []string{d.SerialNumber, d.BIOSSerialNumber} {
			if s := serialKey(raw); s != "" && !slices.Contains(c.serials, s) {
				c.serials = append(c.serials, s)
			}
		}
		index := len(m.candidates)
		for _, s := range c.serials {
			if h := m.ninjaSerials[s]; h.count > 0 && !share(m.candidates[h.first].names, c.names) {
				m.doubtful[s] = true
			}
			count(m.ninjaSerials, s, index)
		}
		for _, n := range c.names {
			count(m.ninjaNames, n, index)
		}
		m.candidates = append(m.candidates, c)
	}
}

// NewestFirst orders records by check-in, then enrolment, newest first, then
// by id.
func NewestFirst(a, b *tenant.ManagedDevice) int {
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
		serial := m.machines[i].serial
		if h := m.ninjaSerials[serial]; serial != "" && h.count == 1 && !m.doubtful[serial] {
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
	name := mc.name
	if m.ninjaNames[name].count == 0 && mc.label != "" {
		name = mc.label
	}
	h := m.ninjaNames[name]
	if h.count == 0 {
		return none, "no NinjaOne device in the organization has its name"
	}
	if h.count > 1 {
		return none, several(h.count, "NinjaOne devices have its name, so the name identifies none of them")
	}
	if n := m.intuneNames[name].count; n > 1 {
		return none, several(n, "Intune devices have its name, so the name does not tell which of them the NinjaOne device is")
	}
	c := &m.candidates[h.first]
	switch {
	case m.contradict(mc, c):
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

// contradict reports whether a machine and a candidate have different serial
// numbers that name machines.
func (m *matcher) contradict(mc *machine, c *candidate) bool {
	if mc.serial == "" || m.doubtful[mc.serial] || slices.Contains(c.serials, mc.serial) {
		return false
	}
	return slices.ContainsFunc(c.serials, func(s string) bool { return !m.doubtful[s] })
}

// differentSerials reports whether the machines have at least two different
// serial numbers that name machines.
func (m *matcher) differentSerials(machines []int) bool {
	first := ""
	for _, i := range machines {
		switch s := m.machines[i].serial; {
		case s == "" || s == first || m.doubtful[s]:
		case first == "":
			first = s
		default:
			return true
		}
	}
	return false
}

// join matches a machine with a candidate. When a newer machine has the candidate
// already, the two are one. The older one's records go to it.
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
			r.NinjaOnly = append(r.NinjaOnly, Leftover[*ninjaone.Device]{Device: c.device, Reason: m.ninjaReason(c)})
			continue
		}
		r.Pairs = append(r.Pairs, m.pair(c, &m.machines[c.machine]))
	}
	for _, d := range m.unmanaged {
		r.NinjaOnly = append(r.NinjaOnly, Leftover[*ninjaone.Device]{Device: d, Reason: unmatchable(d)})
	}
	slices.SortFunc(r.NinjaOnly, func(a, b Leftover[*ninjaone.Device]) int {
		return cmp.Compare(a.Device.ID, b.Device.ID)
	})

	for i := range m.machines {
		mc := &m.machines[i]
		if mc.ninja != none || mc.merged {
			continue
		}
		live, older := claimants(mc.records)
		for _, d := range live {
			r.IntuneOnly = append(r.IntuneOnly, Leftover[*tenant.ManagedDevice]{Device: d, Reason: m.intuneReason(mc)})
		}
		same := "same serial number"
		if mc.serial == "" {
			same = "same Entra device"
		}
		for _, d := range older {
			r.IntuneOnly = append(r.IntuneOnly, Leftover[*tenant.ManagedDevice]{Device: d, Superseded: true,
				Reason: "an older Intune record of a machine that enrolled again (" + same + "); the newer record has no NinjaOne device either"})
		}
	}
	slices.SortFunc(r.IntuneOnly, func(a, b Leftover[*tenant.ManagedDevice]) int {
		return cmp.Compare(a.Device.ID, b.Device.ID)
	})
	return r
}

func (m *matcher) pair(c *candidate, mc *machine) Pair {
	slices.SortFunc(mc.records, NewestFirst)
	live, older := claimants(mc.records)
	speaker := live[0]
	for _, d := range live[1:] {
		if speaksBefore(d, speaker, c.names) {
			speaker = d
		}
	}
	p := Pair{Intune: speaker, Ninja: c.device, Superseded: older}
	for _, d := range live {
		if d != speaker {
			p.Contesting = append(p.Contesting, d)
		}
	}
	p.Evidence = m.evidence(c, mc, p)
	return p
}

func pointers[T any](s []T) []*T {
	p := make([]*T, len(s))
	for i := range s {
		p[i] = &s[i]
	}
	return p
}

// share reports whether two lists have something in common, or one is empty.
func share(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
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
