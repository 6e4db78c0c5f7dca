package match

import (
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// WithFormerSerials returns the devices of both sides, with a serial number for those
// that came without. It takes the number of the device that each was matched with before.
// An enrolment stays with its machine, so a list that lacks the number says nothing
// against the match. The map pairs leads from managed device id to NinjaOne's device id.
func WithFormerSerials(intune []tenant.ManagedDevice, ninja []ninjaone.Device, pairs map[string]int) ([]tenant.ManagedDevice, []ninjaone.Device) {
	at, held := make(map[int]int, len(ninja)), make(map[string]bool, len(ninja))
	for i, n := range ninja {
		at[n.ID] = i
		for _, serial := range serialsOf(n) {
			held[serialKey(serial)] = true
		}
	}
	taken := map[string]bool{}
	for i := range intune {
		taken[serialKey(intune[i].SerialNumber)] = true
	}
	managed, managing := intune, ninja
	for i := range intune {
		d := &intune[i]
		j, there := at[pairs[d.ID]]
		switch {
		case d.ID == "" || !there:
		case blank(d.SerialNumber):
			if serial := untaken(taken, serialsOf(ninja[j])...); serial != "" {
				managed = own(managed, intune)
				managed[i].SerialNumber = serial
			}
		case blank(serialsOf(ninja[j])...):
			if serial := untaken(held, d.SerialNumber); serial != "" {
				managing = own(managing, ninja)
				managing[j].SerialNumber = serial
			}
		}
	}
	return managed, managing
}

func serialsOf(d ninjaone.Device) []string { return []string{d.SerialNumber, d.BIOSSerialNumber} }

func blank(serials ...string) bool { return strings.TrimSpace(strings.Join(serials, "")) == "" }

// untaken takes the first usable serial number that no device has, "" for none.
func untaken(taken map[string]bool, serials ...string) string {
	for _, serial := range serials {
		if key := serialKey(serial); key != "" && !taken[key] {
			taken[key] = true
			return serial
		}
	}
	return ""
}

// own returns a copy of a list of devices, unless it is one already.
func own[D any](list, given []D) []D {
	if &list[0] == &given[0] {
		return slices.Clone(given)
	}
	return list
}
