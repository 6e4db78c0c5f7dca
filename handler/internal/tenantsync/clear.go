package tenantsync

import (
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
)

// clearUnmatched plans the clearing of devices that are no longer matched (design section
// 6). This tenant wrote on them, or one that is no longer mapped to the organization.
// Nobody else would clear them. It forgets a record when the device is no longer ours to
// clear. NinjaOne deleted the device, or another tenant's sync already writes it in its
// new organization.
func (p *Plan) clearUnmatched(in *inputs, changes map[ledger.Target]*change) {
	nameless, names := in.nameless(), in.deviceNames()
	for t, r := range in.records {
		switch {
		case t.Kind != ledger.KindDevice || !in.clears(r) || changes[t] != nil:
		case !r.HoldsAny() && !in.abandoned[t.ID], in.roster.Deleted(t.ID), in.elsewhere[t.ID]:
			p.forget = append(p.forget, t)
		case r.HoldsAny() && in.roster.Clearable(t.ID) && !nameless:
			changes[t] = &change{target: t, name: names[t.ID], unmatched: true, fields: func() []field {
				return in.deviceFields(compose.DeviceFields{})
			}}
		}
	}
}

// deviceNames are the names of the organization's devices, by NinjaOne's id.
func (in *inputs) deviceNames() map[int]string {
	names := map[int]string{}
	for i := range in.roster.Devices {
		names[in.roster.Devices[i].ID] = devicematch.NameOf(&in.roster.Devices[i])
	}
	return names
}

// clears reports whether a run of the tenant clears what was written on a device. It
// does if its own sync wrote it, or a tenant's that is not mapped any more.
func (in *inputs) clears(r *ledger.Record) bool {
	return r.TenantID == in.ref.ID || in.left[r.TenantID]
}
