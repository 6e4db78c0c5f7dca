package m365

import (
	"context"
	"errors"
	"net/http"
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

// managedDeviceBetaFields are the fields that v1.0 lacks.
var managedDeviceBetaFields = []string{"joinType", "chassisType", "autopilotEnrolled", "usersLoggedOn", "hardwareInformation"}

// managedDevices reads GET /beta/deviceManagement/managedDevices, or the v1.0
// list where beta is refused or down.
func (g *graph) managedDevices(ctx context.Context) ([]tenant.ManagedDevice, error) {
	fields := append(managedDeviceFields[:len(managedDeviceFields):len(managedDeviceFields)], managedDeviceBetaFields...)
	out, err := g.listManagedDevices(ctx, g.beta(), fields, true)
	if refused(err) || hasStatus(err, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout) {
		return g.listManagedDevices(ctx, g.v1(), managedDeviceFields, false)
	}
	return out, err
}

func (g *graph) listManagedDevices(ctx context.Context, base map[string]string, fields []string, beta bool) ([]tenant.ManagedDevice, error) {
	ri, err := devicemanagement.NewManagedDevicesRequestBuilderInternal(base, g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := []tenant.ManagedDevice{}
	_, err = list(ctx, g, query(ri, pageSize, fields...), func(p []wire.ManagedDevice) {
		for i := range p {
			out = append(out, p[i].Record(beta))
		}
	})
	return out, err
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
// whose policies could not be read is missing in the result; partial is then
// the reason of the first.
func (g *graph) policyStates(ctx context.Context, all []tenant.ManagedDevice) (states map[string][]tenant.PolicyState, partial, err error) {
	states = map[string][]tenant.PolicyState{}
	var ids []string
	for _, d := range all {
		if d.ID != "" && nonCompliant(d) {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) > maxPolicyDevices {
		ids, partial = ids[:maxPolicyDevices], errors.New("more than 500 devices do not comply; only those are read in detail")
	}
	requests := make([]*abstractions.RequestInformation, len(ids))
	for i, id := range ids {
		if requests[i], err = g.policyStateRequest(id).ToGetRequestInformation(ctx, nil); err != nil {
			return nil, nil, err
		}
	}
	var missing []missingSettings
	var failed error
	for i, a := range g.batch(ctx, requests) {
		device := []tenant.PolicyState{}
		var want []missingSettings
		_, err := listOf(ctx, g, a, func(p []wire.PolicyState) {
			for _, s := range p {
				if wire.Failing(s.State) && len(s.Settings) == 0 && s.SettingCount > 0 && s.ID != "" {
					want = append(want, missingSettings{device: ids[i], policy: s.ID, index: len(device)})
				}
				device = append(device, tenant.PolicyState{Policy: s.DisplayName, Platform: s.Platform,
					State: wire.ComplianceState(s.State), Settings: wire.FailingSettings(s.Settings)})
			}
		})
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
		partial = failed
	}
	g.readSettings(ctx, states, missing)
	return states, partial, nil
}

// missingSettings is a failing policy of a device that came without settings.
type missingSettings struct {
	device, policy string
	index          int
}

// readSettings adds the settings of failing policies. They are detail: a policy
// whose settings cannot be read is shown without.
func (g *graph) readSettings(ctx context.Context, states map[string][]tenant.PolicyState, missing []missingSettings) {
	var requests []*abstractions.RequestInformation
	var of []missingSettings
	for _, m := range missing {
		ri, err := g.policyStateRequest(m.device).ByDeviceCompliancePolicyStateId(m.policy).ToGetRequestInformation(ctx, nil)
		if err != nil {
			continue
		}
		ri.UrlTemplate = strings.Replace(ri.UrlTemplate, "{?", "/settingStates{?", 1)
		requests, of = append(requests, ri), append(of, m)
	}
	for i, a := range g.batch(ctx, requests) {
		p, err := pageOf[wire.SettingState](g, a)
		if err == nil {
			states[of[i].device][of[i].index].Settings = wire.FailingSettings(p.Items)
		}
	}
}

func (g *graph) policyStateRequest(deviceID string) *devicemanagement.ManagedDevicesItemDeviceCompliancePolicyStatesRequestBuilder {
	return devicemanagement.NewManagedDevicesRequestBuilderInternal(g.v1(), g.adapter).
		ByManagedDeviceId(deviceID).DeviceCompliancePolicyStates()
}
