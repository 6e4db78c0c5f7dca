package tenantsync

import (
	"context"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
)

// What CIPP's own engine wrote counts as ours (design section 6). That is a value of the
// one rule on a matched device. It is also the fields of devices that CIPP's map names
// for the tenant and Intune no longer has. No record of ours tells of either.

// readAbandoned finds devices of the organization that CIPP's map names for the tenant
// and Intune's complete list lacks. It leaves out a device that is, or may be, another
// tenant's of the organization.
func (j *job) readAbandoned(ctx context.Context, in *inputs) error {
	if !in.snapshot.DevicesKnown() || in.roster.Unusable {
		return nil
	}
	mapped, rows, err := j.CIPP.DeviceMap(ctx, in.ref.ID)
	if err != nil {
		return err
	}
	in.deviceMap = rows
	enrolled := map[string]bool{}
	for _, d := range in.snapshot.ManagedDevices.Value {
		enrolled[guid.Fold(d.ID)], enrolled[guid.Fold(d.AzureADDeviceID)] = true, true
	}
	here, abandoned := in.deviceNames(), map[int]bool{}
	for _, e := range mapped {
		if _, ok := here[e.NinjaOneID]; ok {
			abandoned[e.NinjaOneID] = true
		}
	}
	for _, e := range mapped { // of a machine that enrolled again there are several rows
		if enrolled[e.EntraDeviceID] || e.ManagedDeviceID != "" && enrolled[e.ManagedDeviceID] {
			delete(abandoned, e.NinjaOneID)
		}
	}
	for _, id := range in.sharing {
		if id == in.ref.ID || len(abandoned) == 0 {
			continue
		}
		theirs, _, err := j.CIPP.DeviceMap(ctx, id)
		if err != nil {
			return err
		}
		matches, err := devicematch.Load(ctx, j.Blobs, id)
		if err != nil {
			return err
		}
		for _, e := range theirs {
			if matches.Digest == "" || matches.Has(e.NinjaOneID) {
				delete(abandoned, e.NinjaOneID)
			}
		}
	}
	in.abandoned = abandoned
	return nil
}

// clearAbandoned plans the clearing of abandoned devices, once: afterwards the
// record stays, which tells that it is done.
func (p *Plan) clearAbandoned(in *inputs, changes map[ledger.Target]*change) {
	names := in.deviceNames()
	for _, id := range slices.Sorted(maps.Keys(in.abandoned)) {
		t := ledger.Device(id)
		r := in.records[t]
		if changes[t] != nil || in.nameless() || r != nil && (!in.clears(r) || !r.Written.IsZero()) {
			continue
		}
		if r == nil {
			r = &ledger.Record{Target: t, Fields: map[string]string{}}
			in.records[t] = r
		}
		cleared := in.deviceFields(compose.DeviceFields{})
		for _, f := range cleared {
			if f.ninja != "" && r.Fields[f.ninja] == "" {
				r.Fields[f.ninja] = ledger.Unknown
			}
		}
		changes[t] = &change{target: t, name: names[id], unmatched: true, fields: func() []field { return cleared }}
	}
}

// takeOver notes a matched device's value of the one rule, or failing settings, that no
// record of ours has. So they do not stay where the rule has none.
func (in *inputs) takeOver(t ledger.Target) {
	for ours, is := range map[string]func(string) bool{deviceCompliance: compose.IsCompliance, deviceSettings: compose.IsSettings} {
		name := in.fields[ours]
		if name == "" || !is(in.touched.texts[deviceField{t.ID, name}]) {
			continue
		}
		if in.records[t] == nil {
			in.records[t] = &ledger.Record{Target: t, Fields: map[string]string{}}
		}
		if r := in.records[t]; !ledger.Holds(r.Fields[name]) {
			r.Fields[name] = ledger.Unknown
		}
	}
}
