package devicematch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/words"
)

// doubts is how many devices NinjaOne's list may lack before no more are asked for: each
// costs a call.
const doubts = 10

var errNowhere = errors.New("NinjaOne did not say of which organization it is")

// Roster is what is known of the NinjaOne devices of an organization. That a list lacks
// a device does not prove that the device is gone. The list may be cut, empty or wrongly
// filtered. So each device that was there is asked for by its id. Sync, preview and
// package compliance judge by it alike.
type Roster struct {
	// Devices are the approved devices of the organization, also those that NinjaOne shows
	// and its list lacks.
	Devices []ninjaone.Device
	// Unusable says that NinjaOne shows so many devices that the list lacks that
	// the list says nothing. Nothing is matched, written or cleared by it.
	Unusable bool
	// Odd says what is wrong with the list, for a technician.
	Odd []problems.Problem

	organizationID int

	has  map[int]bool            // ids of Devices
	gone map[int]ninjaone.Device // the list lacks them rightly; without an id where NinjaOne deleted them
	// Lacked are those of Devices that NinjaOne shows and does not list: reports
	// may lack them as well.
	Lacked map[int]bool
	// Doubtful are known devices whose whereabouts NinjaOne did not tell.
	Doubtful []int
}

// JudgeDevices compares NinjaOne's list of an organization with the ids of devices that
// were there. The caller left the foreign devices out of the list. For each device that
// is not listed, it calls GET /v2/device/{id}. The error is one that concerns more than
// one device.
func JudgeDevices(ctx context.Context, client *ninjaone.Client, organizationID int, listed []ninjaone.Device, foreign int, known []int) (*Roster, error) {
	r := Remembered(organizationID, slices.Clip(listed))
	if foreign > 0 {
		r.odd("devices:foreign", "NinjaOne listed %d devices that are not of organization %d, although it was asked for those of this organization alone. "+
			"They are left out. If this lasts, ask NinjaOne's support why the device filter is not applied.", foreign, organizationID)
	}
	shown, failures := 0, 0
	first := ""
	for _, id := range slices.Compact(slices.Sorted(slices.Values(known))) {
		if r.has[id] {
			continue
		}
		if shown > doubts || failures > doubts {
			r.Doubtful = append(r.Doubtful, id)
			continue
		}
		d, err := client.Device(ctx, id)
		switch {
		case errors.Is(err, ninjaone.ErrNotFound):
			r.gone[id] = ninjaone.Device{}
		case err != nil && !ninjaone.Tolerable(ctx, err):
			return nil, fmt.Errorf("NinjaOne device %d, which NinjaOne lists no more, could not be read: %w", id, err)
		case err != nil, d.OrganizationID == 0:
			if failures++; first == "" {
				first = fmt.Sprintf("device %d: %v", id, cmp.Or(err, errNowhere))
			}
			r.Doubtful = append(r.Doubtful, id)
		case d.OrganizationID == organizationID && d.Approved():
			shown++
			r.has[id], r.Lacked[id], r.Devices = true, true, append(r.Devices, d)
		default: // of another organization, or not approved at present
			r.gone[id] = d
		}
	}
	r.Unusable = shown > doubts
	switch {
	case r.Unusable:
		r.odd("devices:contradiction", "NinjaOne's list of the devices of organization %d lacks more than %d devices that NinjaOne shows as approved and in it. "+
			"So the list is not believed: what the devices show stays as it is. If this lasts, ask NinjaOne's support.", organizationID, doubts)
	case shown > 0:
		r.odd("devices:contradiction", "NinjaOne's list of the devices of organization %d lacks %d devices that NinjaOne shows as approved and in the organization. "+
			"They are taken to be there. If this lasts, ask NinjaOne's support.", organizationID, shown)
	}
	if first != "" {
		r.odd("left", "NinjaOne does not list %d devices any more, and what became of them could not be looked up. Their fields stay. The first is %s", len(r.Doubtful), words.End(first))
	}
	return r, nil
}

// Remembered is the roster of an organization by the list of an earlier run. Of a
// device that it lacks nothing is known.
func Remembered(organizationID int, listed []ninjaone.Device) *Roster {
	r := &Roster{Devices: listed, organizationID: organizationID, has: map[int]bool{}, gone: map[int]ninjaone.Device{}, Lacked: map[int]bool{}}
	for _, d := range listed {
		r.has[d.ID] = true
	}
	return r
}

// Unlisted is the roster of an organization whose list of devices came to no end.
func Unlisted(organizationID int, err error) *Roster {
	r := &Roster{Unusable: true, organizationID: organizationID}
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		why = "it took longer than half of the sync's time, which SYNC_TIME_BUDGET sets"
	}
	r.odd("devices:unlisted", "NinjaOne's list of the devices of organization %d came to no end: %s. What the devices show stays as it is. "+
		"The next sync reads it again. If this lasts, ask NinjaOne's support.", organizationID, why)
	return r
}

func (r *Roster) odd(key, format string, args ...any) {
	r.Odd = append(r.Odd, problems.Problem{Key: key, Message: fmt.Sprintf(format, args...)})
}

// Known reports whether the list was believed, and it is known of every device
// what became of it.
func (r *Roster) Known() bool { return !r.Unusable && len(r.Doubtful) == 0 }

// MovedTo is the other organization that a device is in by now; 0 for none.
func (r *Roster) MovedTo(id int) int {
	if d := r.gone[id]; d.OrganizationID != r.organizationID {
		return d.OrganizationID
	}
	return 0
}

// Unsure reports whether nothing may be concluded from the device not being
// among Devices.
func (r *Roster) Unsure(id int) bool {
	_, gone := r.gone[id]
	return r.Unusable || !gone && !r.has[id]
}

// Deleted reports whether NinjaOne deleted the device.
func (r *Roster) Deleted(id int) bool {
	d, gone := r.gone[id]
	return gone && d.ID == 0
}

// Clearable reports whether NinjaOne can be asked to clear a device that is not matched.
func (r *Roster) Clearable(id int) bool { return !r.Unsure(id) && (r.has[id] || r.gone[id].ID != 0) }
