package compliance

import (
	"context"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// What decides that a job clears a device's field. Its state has no value, or no setting
// fails. Or it is not enrolled any more, or it matches no managed device any more.

// value is the one rule: what the compliance field is to say for a state of Intune's.
func value(state string) ninjaone.Value {
	if text := compose.ComplianceText(state); text != "" {
		return ninjaone.Text(text)
	}
	return ninjaone.Clear()
}

// values returns what the fields are to say of a device, of as many as is known.
func (j *job) values(d *tenant.ManagedDevice, policies map[string][]tenant.PolicyState) ninjaone.Fields {
	values := ninjaone.Fields{}
	if j.fields.Compliance != "" && d.ComplianceState != "" {
		values[j.fields.Compliance] = value(d.ComplianceState)
	}
	if j.fields.Settings == "" {
		return values
	}
	states, read := policies[d.ID]
	switch text, known := compose.NonCompliantSettings(d.ComplianceState, states, read, j.limit); {
	case text != "":
		values[j.fields.Settings] = ninjaone.Lines(text)
	case known:
		values[j.fields.Settings] = ninjaone.Clear()
	}
	return values
}

// cleared is what the fields are to say of a device that has no managed device.
func (j *job) cleared() ninjaone.Fields {
	values := ninjaone.Fields{}
	for _, name := range j.fields.Names() {
		values[name] = ninjaone.Clear()
	}
	return values
}

// onlyClear reports whether values say nothing of a device.
func onlyClear(values ninjaone.Fields) bool {
	for _, v := range values {
		if !v.IsClear() {
			return false
		}
	}
	return true
}

// readPolicies returns the policies of the devices that do not comply, as far as they can
// be read. Without them the job writes the compliance all the same.
func (j *job) readPolicies(ctx context.Context, found map[int]*tenant.ManagedDevice) (map[string][]tenant.PolicyState, error) {
	var devices []tenant.ManagedDevice
	for _, d := range found {
		if tenant.Judge(d.ComplianceState) == tenant.Violates {
			devices = append(devices, *d)
		}
	}
	if j.fields.Settings == "" || len(devices) == 0 {
		return nil, nil
	}
	known, err := j.Policies.Load(ctx, j.to.Ref.ID)
	if err != nil {
		return nil, err
	}
	states, read, err := j.Devices.PolicyStates(ctx, j.to.Ref, devices, known)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		j.log.InfoContext(ctx, "which settings fail could not be read of all devices; what NinjaOne shows of those stays", "error", err)
	}
	return states, j.Policies.Save(ctx, j.to.Ref.ID, read)
}

// left reports whether NinjaOne may show something of a device whose Entra device no
// managed device names any more. That alone does not prove that it is not enrolled: it
// may be registered anew. Intune's complete list tells.
func (j *job) left(ctx context.Context, book *devicematch.Book, gone []string) (bool, error) {
	for _, entraID := range gone {
		id, ok := book.Left(entraID)
		if !ok {
			continue
		}
		if noted, err := j.Ledger.Owned(ctx, j.to.Organization, id); noted || err != nil {
			return noted, err
		}
	}
	return false, nil
}

// differences returns the values that NinjaOne does not hold. While devices still wait
// for a match, it clears none for want of a managed device.
func (j *job) differences(found map[int]*tenant.ManagedDevice, policies map[string][]tenant.PolicyState, notes map[int]ledger.DeviceCompliance, open bool) map[int]ninjaone.Fields {
	values := map[int]ninjaone.Fields{}
	for id, d := range found {
		note := notes[id]
		if note.TenantID != "" && note.TenantID != j.to.Ref.ID {
			continue
		}
		differ := j.values(d, policies)
		for name, v := range differ {
			if note.Holds(name, v) {
				delete(differ, name)
			}
		}
		if len(differ) > 0 {
			values[id] = differ
		}
	}
	for id, note := range notes {
		if found[id] != nil || open || note.TenantID != j.to.Ref.ID {
			continue
		}
		ours := j.cleared()
		for name := range ours {
			if !note.Ours(name) {
				delete(ours, name)
			}
		}
		if len(ours) > 0 {
			values[id] = ours
		}
	}
	return values
}
