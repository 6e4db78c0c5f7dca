package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/devicemanagement"
	"github.com/microsoftgraph/msgraph-sdk-go/devices"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

// sweepPage is the $top of lists that are read often. It is the largest that Intune
// takes: a thousand devices are one call.
const sweepPage = 1000

var (
	stateFields = []string{"id", "azureADDeviceId", "complianceState", "lastSyncDateTime"}
	matchFields = append(stateFields[:len(stateFields):len(stateFields)],
		"deviceName", "serialNumber", "operatingSystem", "enrolledDateTime")
	watchedFields = slices.DeleteFunc(slices.Clone(managedDeviceFields), func(name string) bool {
		return name == "freeStorageSpaceInBytes"
	})
)

// NoIntuneError says that a tenant has no Intune: there is nothing to read and nothing to
// mend.
type NoIntuneError struct{ Tenant string }

// Error implements error.
func (e *NoIntuneError) Error() string {
	return "tenant " + e.Tenant + " has no Intune"
}

// ComplianceStates lists the tenant's managed devices with ID, AzureADDeviceID,
// ComplianceState and LastSync only: one call per thousand devices. It calls GET
// /v1.0/deviceManagement/managedDevices. The error is an *AuthError when the
// tenant gives no token and a *NoIntuneError when it has no Intune.
func (r *Reader) ComplianceStates(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error) {
	return r.listForCompliance(ctx, ref, stateFields)
}

// MatchableDevices lists the tenant's managed devices with their compliance
// state and all that matching needs, otherwise as ComplianceStates does.
func (r *Reader) MatchableDevices(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error) {
	return r.listForCompliance(ctx, ref, matchFields)
}

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

func (r *Reader) listForCompliance(ctx context.Context, ref tenant.Ref, fields []string) ([]tenant.ManagedDevice, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return nil, err
	}
	out, err := g.listManagedDevices(ctx, g.v1(), sweepPage, fields, false)
	if err != nil {
		return nil, intuneError(ref, err)
	}
	return out, nil
}

// openGraph returns Graph as seen from the tenant, with a token.
func (r *Reader) openGraph(ctx context.Context, ref tenant.Ref) (*graph, error) {
	g, err := r.newGraph(ref)
	if err != nil {
		return nil, err
	}
	return g, g.open(ctx)
}

func intuneError(ref tenant.Ref, err error) error {
	if noIntune(err) {
		return &NoIntuneError{Tenant: ref.ID}
	}
	return notRead("the managed devices", ref, partManagedDevices, err)
}

// notRead says what could not be read of a tenant, and what to do where the app lacks the
// permission for a part.
func notRead(what string, ref tenant.Ref, p part, err error) error {
	if _, login := errors.AsType[*AuthError](err); login {
		return err // it names the tenant, and is the same for each list
	}
	if meaningOf(err) != refusedRight {
		return fmt.Errorf("reading %s of tenant %s: %w", what, ref.ID, err)
	}
	lacks := permissions[p].Delegated + " there"
	if p == partManagedDevices {
		lacks += ", or the tenant has no Intune"
	}
	return fmt.Errorf("reading %s of tenant %s: %w; the app lacks %s: run CIPP's permission check for this tenant", what, ref.ID, err, lacks)
}

// EntraDeviceIDs returns the deviceId of each directory object, in order: by the one
// notifications name a device, by the other Intune. It is "" for a device that does not
// exist any more. EntraDeviceIDs calls GET /v1.0/devices/{id} in batches of 20.
func (r *Reader) EntraDeviceIDs(ctx context.Context, ref tenant.Ref, objectIDs []string) ([]string, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return nil, err
	}
	requests := make([]request, len(objectIDs))
	for i, id := range objectIDs {
		requests[i] = ask(ctx, devices.NewDevicesRequestBuilderInternal(g.v1(), g.adapter).ByDeviceId(id), 0, "id", "deviceId")
	}
	out := make([]string, len(objectIDs))
	for i, a := range g.batch(ctx, requests) {
		d, err := objectOf[wire.Device](ctx, g, a)
		if err == nil && !strings.EqualFold(d.ID, objectIDs[i]) {
			err = &bodyError{g.name, errOther}
		}
		if hasStatus(err, http.StatusNotFound) {
			continue
		}
		if err != nil {
			return nil, notRead("devices", ref, partEntraDevices, err)
		}
		out[i] = guid.Fold(d.DeviceID)
	}
	return out, nil
}

// ManagedDevicesOf returns the managed devices enrolled for each Entra deviceId, in
// order. They have their compliance state and all that matching needs. A device that is
// not enrolled has none; one that enrolled more than once has several. It calls GET
// /v1.0/deviceManagement/managedDevices with a filter on azureADDeviceId, in batches of
// 20.
func (r *Reader) ManagedDevicesOf(ctx context.Context, ref tenant.Ref, deviceIDs []string) ([][]tenant.ManagedDevice, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return nil, err
	}
	requests := make([]request, len(deviceIDs))
	for i, id := range deviceIDs {
		requests[i] = ask(ctx, devicemanagement.NewManagedDevicesRequestBuilderInternal(g.v1(), g.adapter), 0, matchFields...)
		requests[i].set("filter", "azureADDeviceId eq '"+strings.ReplaceAll(id, "'", "''")+"'")
	}
	out := make([][]tenant.ManagedDevice, len(deviceIDs))
	for i, a := range g.batch(ctx, requests) {
		_, err := listOf(ctx, g, a, rows(&out[i], managedDevice(false)))
		all := len(out[i])
		out[i] = slices.DeleteFunc(out[i], func(d tenant.ManagedDevice) bool { return !strings.EqualFold(d.AzureADDeviceID, deviceIDs[i]) })
		if err == nil && all > 0 && len(out[i]) == 0 {
			err = &bodyError{g.name, errUnfiltered}
		}
		if err != nil {
			return nil, intuneError(ref, err)
		}
	}
	return out, nil
}

// noIntune is the one judge of whether an answer proves that a tenant has no Intune.
// Readings, sweeps and automaps all use it. Only Intune's own words prove it: a refusal
// may have any cause, whatever licences the tenant has.
func noIntune(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.status < http.StatusInternalServerError &&
		strings.Contains(strings.ToLower(status.message), "not applicable to target tenant")
}

// An answer that is not to what was asked says nothing about it.
var (
	errOther      = errors.New("it is another device than the one that was asked for")
	errUnfiltered = errors.New("it holds other devices than the one that was asked for, so the filter was not applied")
)
