package match

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/tenant"
)

// evidence words what joined a machine and a candidate.
func (m *matcher) evidence(c *candidate, mc *machine, p Pair) Evidence {
	e := Evidence{Kind: mc.by, Value: visible(p.Intune.DeviceName)}
	switch {
	case mc.by == KindSerial:
		for _, d := range append([]*tenant.ManagedDevice{p.Intune}, mc.records...) {
			if serialKey(d.SerialNumber) == mc.serial {
				e.Value = visible(d.SerialNumber)
				break
			}
		}
		if name := normalizeName(p.Intune.DeviceName); name != "" && len(c.names) > 0 && !slices.Contains(c.names, name) && !slices.Contains(c.names, hostLabel(name)) {
			e.Note = "The names in Intune and NinjaOne differ."
		}
	case mc.serial == "" && len(c.serials) == 0:
		e.Note = "Neither Intune nor NinjaOne has a usable serial number of it."
	case mc.serial == "":
		e.Note = "Intune has no usable serial number of it."
	case m.doubtful[mc.serial] && m.ninjaSerials[mc.serial].count < 2:
		e.Note = "Several Intune devices in use have its serial number, so its name decided."
	case m.ninjaSerials[mc.serial].count < 2:
		e.Note = "NinjaOne has no usable serial number of it."
	default:
		e.Note = several(m.ninjaSerials[mc.serial].count, "NinjaOne devices have its serial number, so its name decided.")
	}
	if n := len(p.Contesting); n > 0 {
		e.Note = strings.TrimSpace(e.Note + " " + several(n+1, "Intune devices in use claim to be this machine, so the worse compliance of them is shown."))
	}
	return e
}

// intuneReason words why the newest record of a machine has no NinjaOne device. First
// comes what its serial number said, then what its name said.
func (m *matcher) intuneReason(mc *machine) string {
	serial := "Intune has no usable serial number of it"
	if mc.serial != "" {
		serial = cmp.Or(m.ambiguous(mc.serial), "no NinjaOne device in the organization has its serial number")
	}
	return serial + "; " + mc.reason
}

// ambiguous words why a serial number identifies no machine; "" when it does.
func (m *matcher) ambiguous(serial string) string {
	const none = "so the number identifies none of them"
	switch n := m.ninjaSerials[serial].count; {
	case n > 1:
		return several(n, "NinjaOne devices have its serial number, "+none)
	case m.doubtful[serial]:
		return "several Intune devices in use have its serial number, " + none
	}
	return ""
}

// ninjaReason words why a candidate has no Intune device.
func (m *matcher) ninjaReason(c *candidate) string {
	serial := "no Intune device of the tenant has its serial number"
	if len(c.serials) == 0 {
		serial = "NinjaOne has no usable serial number of it"
	}
	for _, s := range c.serials {
		if why := m.ambiguous(s); why != "" {
			serial = why
			break
		}
	}
	return serial + "; " + m.ninjaNameReason(c)
}

func (m *matcher) ninjaNameReason(c *candidate) string {
	if len(c.names) == 0 {
		return "it has no name that could identify it"
	}
	if c.reason != "" {
		return c.reason
	}
	for _, name := range c.names {
		h := m.intuneNames[name]
		switch shared := m.ninjaNames[name].count; {
		case h.count == 0:
		case h.count > 1:
			return several(h.count, "Intune devices have its name, so the name does not tell which of them it is")
		case shared > 1:
			return several(shared, "NinjaOne devices have its name, so the name identifies none of them")
		default:
			return "the Intune device with its name was matched with another NinjaOne device"
		}
	}
	return "no Intune device of the tenant has its name"
}

func several(n int, what string) string { return strconv.Itoa(n) + " " + what }
