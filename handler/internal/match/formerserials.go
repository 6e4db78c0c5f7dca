package match

import (
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// WithFormerSerials returns Intune's devices, with a serial number for those that came
// without. It takes the number of the NinjaOne device that each was matched with before.
// An enrolment stays with its machine, so a list that lacks the number says nothing
// against the match. The map pairs leads from managed device id to NinjaOne's device id.
func WithFormerSerials(intune []tenant.ManagedDevice, ninja []ninjaone.Device, pairs map[string]int) []tenant.ManagedDevice {
	byID := make(map[int]*ninjaone.Device, len(ninja))
	for i := range ninja {
		byID[ninja[i].ID] = &ninja[i]
	}
	taken := map[string]bool{}
	for i := range intune {
		taken[serialKey(intune[i].SerialNumber)] = true
	}
	out := intune
	for i := range intune {
		d := &intune[i]
		n := byID[pairs[d.ID]]
		if d.ID == "" || n == nil || strings.TrimSpace(d.SerialNumber) != "" {
			continue
		}
		for _, serial := range []string{n.SerialNumber, n.BIOSSerialNumber} {
			key := serialKey(serial)
			if key == "" || taken[key] {
				continue
			}
			if &out[0] == &intune[0] {
				out = slices.Clone(intune)
			}
			out[i].SerialNumber, taken[key] = serial, true
			break
		}
	}
	return out
}
