package compliance

import (
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// What decides that a device is cleared: its state has no value, or it is not
// enrolled any more, or no managed device is its any more.

// value is the one rule: what the field is to say for a state of Intune's.
func value(state string) ninjaone.Value {
	if text := compose.ComplianceText(state); text != "" {
		return ninjaone.Text(text)
	}
	return ninjaone.Clear()
}

// clearGone adds the clearing of what was written for Entra devices that are not
// enrolled any more, unless another managed device speaks for theirs.
func clearGone(values map[int]ninjaone.Value, book *devicematch.Book, gone []string) {
	for _, entraID := range gone {
		if id, ok := book.Left(entraID); ok {
			if _, taken := values[id]; !taken {
				values[id] = ninjaone.Clear()
			}
		}
	}
}

// differences returns the values that NinjaOne does not hold. While devices
// are still to be matched, nothing is cleared for want of a managed device.
func (j *job) differences(found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance, open bool) map[int]ninjaone.Value {
	values := map[int]ninjaone.Value{}
	for id, d := range found {
		note := notes[id]
		if d.ComplianceState == "" {
			continue // Intune said nothing: the field stays
		}
		if v := value(d.ComplianceState); !note.Holds(v) && (note.TenantID == "" || note.TenantID == j.to.Ref.ID) {
			values[id] = v
		}
	}
	for id, note := range notes {
		if found[id] == nil && !open && note.TenantID == j.to.Ref.ID && note.Ours() {
			values[id] = ninjaone.Clear()
		}
	}
	return values
}
