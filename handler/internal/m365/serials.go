package m365

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/devicemanagement"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

// Serials returns the serial numbers of the tenant's Intune devices, one per
// device in Intune's order, "" where Intune has none. A tenant without Intune
// has no devices. It calls GET /v1.0/deviceManagement/managedDevices for
// nothing but ids and serial numbers, so it costs a fraction of Read.
//
// The error says what it means: an *AuthError when the tenant gives no token,
// the context's error when it ended, else what Graph refused.
func (r *Reader) Serials(ctx context.Context, ref tenant.Ref) ([]string, error) {
	g, err := r.newGraph(ref)
	if err != nil {
		return nil, fmt.Errorf("reading tenant %s: %w", ref.ID, err)
	}
	if err = g.open(ctx); err == nil {
		var serials []string
		if serials, err = g.serials(ctx); err == nil {
			return serials, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if noIntune(err) {
		return nil, nil
	}
	if signIn := (*AuthError)(nil); errors.As(err, &signIn) {
		return nil, signIn
	}
	run := &reading{reader: r, snapshot: &tenant.Snapshot{Tenant: ref, SKUs: tenant.Absent[[]tenant.SKU]("not read")}}
	reason := strings.TrimPrefix(run.reason(failure{part: partManagedDevices, err: err}), "Not available: ")
	return nil, fmt.Errorf("reading the Intune devices of tenant %s: %s: %w", ref.ID, reason, err)
}

// serials counts a device that a paged list delivered twice once.
func (g *graph) serials(ctx context.Context) ([]string, error) {
	var serials []string
	asked := ask(ctx, devicemanagement.NewManagedDevicesRequestBuilderInternal(g.v1(), g.adapter), pageSize, "id", "serialNumber")
	_, err := list(ctx, g, asked, rows(&serials, func(d *wire.DeviceSerial) (string, string) {
		return guid.Fold(d.ID), d.SerialNumber
	}))
	return serials, err
}
