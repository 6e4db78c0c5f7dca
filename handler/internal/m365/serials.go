package m365

import (
	"context"
	"errors"

	"cipp-ninjaone/handler/internal/tenant"
)

// Serials returns one serial number for each of the tenant's Intune devices, in Intune's
// order. It is "" where Intune has none. A tenant without Intune has no devices.
// Otherwise it does as ComplianceStates does.
func (r *Reader) Serials(ctx context.Context, ref tenant.Ref) ([]string, error) {
	devices, err := r.listForCompliance(ctx, ref, []string{"id", "serialNumber"})
	if _, none := errors.AsType[*NoIntuneError](err); none {
		return nil, nil
	}
	serials := make([]string, len(devices))
	for i, d := range devices {
		serials[i] = d.SerialNumber
	}
	return serials, err
}
