package match

import (
	"encoding/json"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// SerialIndex says in which NinjaOne organization the device with a serial number is. It
// is all that [Organizations] needs to know of the devices, so that its caller can stream
// them. The zero value is empty and ready to use.
type SerialIndex struct {
	at map[string]place
}

// place is where a serial number was found.
type place struct {
	organization, device int
	several              bool // more than one device has it, so it counts for none
}

// Add puts a NinjaOne device into the index, by the letters and digits of its usable
// serial numbers ([NormalizeSerial]). It leaves out devices that cannot be an Intune
// device. A device that is added again counts once.
func (x *SerialIndex) Add(d *ninjaone.Device) {
	if unmatchable(d) != "" {
		return
	}
	if x.at == nil {
		x.at = map[string]place{}
	}
	here := place{organization: d.OrganizationID, device: d.ID}
	for _, raw := range [...]string{d.SerialNumber, d.BIOSSerialNumber} {
		s := serialKey(raw)
		if s == "" {
			continue
		}
		if p, known := x.at[s]; !known {
			x.at[s] = here
		} else if p != here {
			x.at[s] = place{several: true}
		}
	}
}

// Len returns the number of different serial numbers in the index.
func (x *SerialIndex) Len() int { return len(x.at) }

// In returns how many devices of each organization have serial numbers that
// count. The zero pointer has none.
func (x *SerialIndex) In() map[int]int {
	in := map[int]int{}
	if x == nil {
		return in
	}
	seen := make(map[place]bool, len(x.at))
	for _, p := range x.at {
		if !p.several && !seen[p] {
			seen[p] = true
			in[p.organization]++
		}
	}
	return in
}

// Known returns the serial numbers that the index knows, normalized: the ones that matter
// to [Organizations]. They keep their order and number.
func (x *SerialIndex) Known(serials []string) []string {
	var known []string
	for _, raw := range serials {
		if s := serialKey(raw); s != "" {
			if _, ok := x.at[s]; ok {
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

// MarshalJSON writes an object from serial number to the ids of organization and device.
// These are [0,0] where several devices have the number.
func (x *SerialIndex) MarshalJSON() ([]byte, error) {
	out := make(map[string][2]int, len(x.at))
	for s, p := range x.at {
		out[s] = [2]int{p.organization, p.device}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (x *SerialIndex) UnmarshalJSON(data []byte) error {
	var in map[string][2]int
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	x.at = make(map[string]place, len(in))
	for s, ids := range in {
		p := place{organization: ids[0], device: ids[1], several: ids == [2]int{}}
		x.at[s] = p
	}
	return nil
}
