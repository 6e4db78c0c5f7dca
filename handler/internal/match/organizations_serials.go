package match

import "cipp-ninjaone/handler/internal/ninjaone"

// SerialIndex says in which NinjaOne organization the device with a serial number is, by
// the letters and digits of the number. It is all that [Organizations] needs to know of
// the devices, so that its caller can stream them.
type SerialIndex map[string]Place

// Place is where a serial number was found: the ids of organization and device. It is
// zero where more than one device has the number, which counts for none then.
type Place [2]int

func (p Place) organization() int { return p[0] }
func (p Place) device() int       { return p[1] }
func (p Place) several() bool     { return p == Place{} }

// Add puts a NinjaOne device into the index, by its usable serial numbers
// ([NormalizeSerial]). It leaves out devices that cannot be an Intune device. A device
// that is added again counts once.
func (x SerialIndex) Add(d *ninjaone.Device) {
	if unmatchable(d) != "" {
		return
	}
	here := Place{d.OrganizationID, d.ID}
	for _, raw := range [...]string{d.SerialNumber, d.BIOSSerialNumber} {
		s := serialKey(raw)
		if s == "" {
			continue
		}
		if p, known := x[s]; !known {
			x[s] = here
		} else if p != here {
			x[s] = Place{}
		}
	}
}

// In returns how many devices of each organization have serial numbers that count.
func (x SerialIndex) In() map[int]int {
	in := map[int]int{}
	seen := make(map[Place]bool, len(x))
	for _, p := range x {
		if !p.several() && !seen[p] {
			seen[p] = true
			in[p.organization()]++
		}
	}
	return in
}

// Known returns the serial numbers that the index knows, normalized: the ones that matter
// to [Organizations]. They keep their order and number.
func (x SerialIndex) Known(serials []string) []string {
	var known []string
	for _, raw := range serials {
		if s := serialKey(raw); s != "" {
			if _, ok := x[s]; ok {
				known = append(known, s)
			}
		}
	}
	return known
}

// RealSerials returns how many of the serial numbers can identify a device.
func RealSerials(serials []string) (n int) {
	for _, raw := range serials {
		if serialKey(raw) != "" {
			n++
		}
	}
	return n
}
