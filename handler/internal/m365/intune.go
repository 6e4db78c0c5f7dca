package m365

import (
	"context"
	"net/http"
	"slices"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/devicemanagement"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

var managedDeviceFields = []string{"id", "azureADDeviceId", "deviceName", "serialNumber", "manufacturer", "model",
	"operatingSystem", "osVersion", "complianceState", "complianceGracePeriodExpirationDateTime", "enrolledDateTime",
	"lastSyncDateTime", "managedDeviceOwnerType", "deviceEnrollmentType", "deviceRegistrationState", "managementAgent",
	"managementState", "enrollmentProfileName", "isEncrypted", "isSupervised", "jailBroken", "totalStorageSpaceInBytes",
	"freeStorageSpaceInBytes", "physicalMemoryInBytes", "userId", "userPrincipalName", "userDisplayName", "emailAddress"}

// The details that only the beta list has, by the fields that bring them.
var (
	enrolmentFields = []string{"joinType", "chassisType", "autopilotEnrolled"}
	loggedOnFields  = []string{"usersLoggedOn"}
	hardwareFields  = []string{"hardwareInformation"}
)

// managedDevices reads GET /beta/deviceManagement/managedDevices, with as many of
// its details as can be read, or the v1.0 list.
func (g *graph) managedDevices(ctx context.Context) ([]tenant.ManagedDevice, []lost, error) {
	beta := func(details []tenant.Detail, fields ...[]string) form[[]tenant.ManagedDevice] {
		all := slices.Concat(append([][]string{managedDeviceFields}, fields...)...)
		return form[[]tenant.ManagedDevice]{details, func(ctx context.Context) ([]tenant.ManagedDevice, error) {
			return g.listManagedDevices(ctx, g.beta(), pageSize, all, true)
		}}
	}
	enrolment, loggedOn, hardware := tenant.DetailEnrolment, tenant.DetailLoggedOn, tenant.DetailHardware
	return firstOf(ctx,
		beta([]tenant.Detail{enrolment, loggedOn, hardware}, enrolmentFields, loggedOnFields, hardwareFields),
		beta([]tenant.Detail{enrolment, loggedOn}, enrolmentFields, loggedOnFields),
		beta([]tenant.Detail{enrolment, hardware}, enrolmentFields, hardwareFields),
		beta([]tenant.Detail{loggedOn, hardware}, loggedOnFields, hardwareFields),
		form[[]tenant.ManagedDevice]{nil, func(ctx context.Context) ([]tenant.ManagedDevice, error) {
			return g.listManagedDevices(ctx, g.v1(), pageSize, managedDeviceFields, false)
		}})
}

func (g *graph) listManagedDevices(ctx context.Context, base map[string]string, top int, fields []string, beta bool) ([]tenant.ManagedDevice, error) {
	ri, err := devicemanagement.NewManagedDevicesRequestBuilderInternal(base, g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []tenant.ManagedDevice
	odd := 0
	_, err = list(ctx, g, query(ri, top, fields...), rows(&out, managedDevice(beta)).counting(&odd))
	// A record that cannot be read is a device all the same, of which nothing is
	// known: what seems to lack in the list may be it.
	return append(out, make([]tenant.ManagedDevice, odd)...), err
}

func managedDevice(beta bool) func(*wire.ManagedDevice) (string, tenant.ManagedDevice) {
	return func(d *wire.ManagedDevice) (string, tenant.ManagedDevice) {
		device := d.Record(beta)
		return device.ID, device
	}
}

// maxPolicyDevices bounds the devices whose policies are read: 25 batches.
const maxPolicyDevices = 500

func nonCompliant(d tenant.ManagedDevice) bool {
	switch d.ComplianceState {
	case tenant.StateNoncompliant, tenant.StateConflict, tenant.StateError, tenant.StateInGracePeriod:
		return true
	}
	return false
}

// policyStates reads, for each device that does not comply,
// GET /deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates, and
// where that leaves out the settings of a failing policy, those too. A device
// whose policies could not be read is missing in the result, and they are lost.
func (g *graph) policyStates(ctx context.Context, all []tenant.ManagedDevice) (states map[string][]tenant.PolicyState, missed []lost, err error) {
	states = map[string][]tenant.PolicyState{}
	var ids []string
	for _, d := range all {
		if d.ID != "" && nonCompliant(d) {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) > maxPolicyDevices {
		ids = ids[:maxPolicyDevices]
		missed = append(missed, lost{tenant.DetailPolicies, absence("More than 500 devices do not comply: the policies of 500 are read")})
	}
	requests := make([]*abstractions.RequestInformation, len(ids))
	for i, id := range ids {
		if requests[i], err = g.policyStateRequest(g.v1(), id).ToGetRequestInformation(ctx, nil); err != nil {
			return nil, nil, err
		}
	}
	var missing []missingSettings
	var failed error
	for i, a := range g.batch(ctx, requests) {
		var all []wire.PolicyState
		_, err := listOf(ctx, g, a, rows(&all, func(s *wire.PolicyState) (string, wire.PolicyState) { return s.ID, *s }))
		device := []tenant.PolicyState{}
		var want []missingSettings
		for _, s := range all {
			if wire.Failing(s.State) && len(s.Settings) == 0 && s.SettingCount > 0 && s.ID != "" {
				want = append(want, missingSettings{device: ids[i], policy: s.ID, index: len(device)})
			}
			device = append(device, tenant.PolicyState{Policy: s.DisplayName, Platform: s.Platform,
				State: wire.ComplianceState(s.State), Settings: wire.FailingSettings(s.Settings)})
		}
		switch {
		case hasStatus(err, http.StatusNotFound): // gone since the list was read
		case err != nil:
			if failed == nil {
				failed = err
			}
		default:
			states[ids[i]] = device
			missing = append(missing, want...)
		}
	}
	if len(states) == 0 && failed != nil {
		return nil, nil, failed
	}
	if failed != nil {
		missed = append(missed, lost{tenant.DetailPolicies, failed})
	}
	if err := g.readSettings(ctx, states, missing); err != nil {
		missed = append(missed, lost{tenant.DetailSettings, err})
	}
	return states, missed, nil
}

// missingSettings is a failing policy of a device that came without settings.
type missingSettings struct {
	device, policy string
	index          int
}

// readSettings adds the settings of failing policies, from v1.0 or, where that
// refuses them, from beta. They are detail: a policy whose settings cannot be
// read is shown without, and the error is that of the first.
func (g *graph) readSettings(ctx context.Context, states map[string][]tenant.PolicyState, missing []missingSettings) error {
	for _, version := range []string{"v1.0", "beta"} {
		base := g.v1()
		if version == "beta" {
			base = g.beta()
		}
		requests := make([]*abstractions.RequestInformation, len(missing))
		for i, m := range missing {
			ri, err := g.policyStateRequest(base, m.device).ByDeviceCompliancePolicyStateId(m.policy).ToGetRequestInformation(ctx, nil)
			if err != nil {
				return err
			}
			ri.UrlTemplate = strings.Replace(ri.UrlTemplate, "{?", "/settingStates{?", 1)
			requests[i] = ri
		}
		var again []missingSettings
		var failed error
		for i, a := range g.batchOn(ctx, version, requests) {
			var settings []wire.SettingState
			_, err := listOf(ctx, g, a, rows(&settings, func(s *wire.SettingState) (string, wire.SettingState) { return s.Setting, *s }))
			if err != nil {
				again = append(again, missing[i])
				if failed == nil {
					failed = err
				}
				continue
			}
			states[missing[i].device][missing[i].index].Settings = wire.FailingSettings(settings)
		}
		if missing = again; len(missing) == 0 || version == "beta" || ctx.Err() != nil {
			return failed
		}
	}
	return nil
}

func (g *graph) policyStateRequest(base map[string]string, deviceID string) *devicemanagement.ManagedDevicesItemDeviceCompliancePolicyStatesRequestBuilder {
	return devicemanagement.NewManagedDevicesRequestBuilderInternal(base, g.adapter).
		ByManagedDeviceId(deviceID).DeviceCompliancePolicyStates()
}
