package m365

import (
	"context"
	"errors"
	"net/http"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/devicemanagement"

	"cipp-ninjaone/handler/internal/tenant"
)

type wireManagedDevice struct {
	ID                string `json:"id"`
	AzureADDeviceID   string `json:"azureADDeviceId"`
	DeviceName        string `json:"deviceName"`
	SerialNumber      string `json:"serialNumber"`
	Manufacturer      string `json:"manufacturer"`
	Model             string `json:"model"`
	OperatingSystem   string `json:"operatingSystem"`
	OSVersion         string `json:"osVersion"`
	ComplianceState   string `json:"complianceState"`
	GraceUntil        when   `json:"complianceGracePeriodExpirationDateTime"`
	Enrolled          when   `json:"enrolledDateTime"`
	LastSync          when   `json:"lastSyncDateTime"`
	OwnerType         string `json:"managedDeviceOwnerType"`
	EnrollmentType    string `json:"deviceEnrollmentType"`
	RegistrationState string `json:"deviceRegistrationState"`
	ManagementAgent   string `json:"managementAgent"`
	ManagementState   string `json:"managementState"`
	EnrollmentProfile string `json:"enrollmentProfileName"`
	Encrypted         bool   `json:"isEncrypted"`
	Supervised        bool   `json:"isSupervised"`
	JailBroken        string `json:"jailBroken"`
	TotalStorage      int64  `json:"totalStorageSpaceInBytes"`
	FreeStorage       int64  `json:"freeStorageSpaceInBytes"`
	PhysicalMemory    int64  `json:"physicalMemoryInBytes"`
	UserID            string `json:"userId"`
	UserPrincipalName string `json:"userPrincipalName"`
	UserDisplayName   string `json:"userDisplayName"`
	EmailAddress      string `json:"emailAddress"`

	JoinType    string `json:"joinType"`
	ChassisType string `json:"chassisType"`
	Autopilot   *bool  `json:"autopilotEnrolled"`
	UsersLogged []struct {
		UserID string `json:"userId"`
		Last   when   `json:"lastLogOnDateTime"`
	} `json:"usersLoggedOn"`
	Hardware *struct {
		SerialNumber    string `json:"serialNumber"`
		DeviceGuard     string `json:"deviceGuardVirtualizationBasedSecurityHardwareRequirementState"`
		Virtualization  string `json:"deviceGuardVirtualizationBasedSecurityState"`
		CredentialGuard string `json:"deviceGuardLocalSystemAuthorityCredentialGuardState"`
	} `json:"hardwareInformation"`
}

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
	_, err = list(ctx, g, query(ri, pageSize, fields...), func(p []wireManagedDevice) {
		for i := range p {
			out = append(out, p[i].device(beta))
		}
	})
	return out, err
}

func (d *wireManagedDevice) device(beta bool) tenant.ManagedDevice {
	out := tenant.ManagedDevice{
		ID:                   guid(d.ID),
		AzureADDeviceID:      guid(d.AzureADDeviceID),
		DeviceName:           d.DeviceName,
		SerialNumber:         d.SerialNumber,
		Manufacturer:         d.Manufacturer,
		Model:                d.Model,
		OperatingSystem:      d.OperatingSystem,
		OSVersion:            d.OSVersion,
		ComplianceState:      d.ComplianceState,
		ComplianceGraceUntil: d.GraceUntil.Time,
		Enrolled:             d.Enrolled.Time,
		LastSync:             d.LastSync.Time,
		OwnerType:            d.OwnerType,
		EnrollmentType:       d.EnrollmentType,
		RegistrationState:    d.RegistrationState,
		ManagementAgent:      d.ManagementAgent,
		ManagementState:      d.ManagementState,
		EnrollmentProfile:    d.EnrollmentProfile,
		Encrypted:            d.Encrypted,
		Supervised:           d.Supervised,
		JailBroken:           d.JailBroken,
		TotalStorage:         d.TotalStorage,
		FreeStorage:          d.FreeStorage,
		PhysicalMemory:       d.PhysicalMemory,
		UserID:               guid(d.UserID),
		UserPrincipalName:    d.UserPrincipalName,
		UserDisplayName:      d.UserDisplayName,
		EmailAddress:         d.EmailAddress,
		FromBetaList:         beta,
	}
	if out.AzureADDeviceID == zeroGUID {
		out.AzureADDeviceID = ""
	}
	if !beta {
		return out
	}
	out.JoinType, out.ChassisType, out.Autopilot = d.JoinType, d.ChassisType, d.Autopilot
	for _, u := range d.UsersLogged {
		out.UsersLogged = append(out.UsersLogged, tenant.LoggedOn{UserID: guid(u.UserID), Last: u.Last.Time})
	}
	// Lists often carry the block unfilled, and its defaults read like "running".
	// Intune's inventory of the hardware always has the serial number.
	if h := d.Hardware; h != nil && h.SerialNumber != "" {
		out.Hardware = &tenant.HardwareSecurity{DeviceGuard: h.DeviceGuard,
			VirtualizationBasedSecurity: h.Virtualization, CredentialGuard: h.CredentialGuard}
	}
	return out
}

// maxPolicyDevices bounds the devices whose policies are read: 25 batches.
const maxPolicyDevices = 500

type wirePolicyState struct {
	ID           string             `json:"id"`
	DisplayName  string             `json:"displayName"`
	Platform     string             `json:"platformType"`
	State        string             `json:"state"`
	SettingCount int                `json:"settingCount"`
	Settings     []wireSettingState `json:"settingStates"`
}

type wireSettingState struct {
	Setting          string `json:"setting"`
	SettingName      string `json:"settingName"`
	State            string `json:"state"`
	CurrentValue     text   `json:"currentValue"`
	ErrorDescription string `json:"errorDescription"`
	UserName         string `json:"userName"`
}

func failing(complianceStatus string) bool {
	switch strings.ToLower(complianceStatus) {
	case "noncompliant", "error", "conflict":
		return true
	}
	return false
}

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
		if nonCompliant(d) {
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
		_, err := listOf(ctx, g, a, func(p []wirePolicyState) {
			for _, s := range p {
				if failing(s.State) && len(s.Settings) == 0 && s.SettingCount > 0 && s.ID != "" {
					want = append(want, missingSettings{device: ids[i], policy: s.ID, index: len(device)})
				}
				device = append(device, tenant.PolicyState{Policy: s.DisplayName, Platform: s.Platform,
					State: policyState(s.State), Settings: failingSettings(s.Settings)})
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
		p, err := pageOf[wireSettingState](g, a)
		if err == nil {
			states[of[i].device][of[i].index].Settings = failingSettings(p.items)
		}
	}
}

func failingSettings(all []wireSettingState) []tenant.SettingState {
	var out []tenant.SettingState
	for _, s := range all {
		if !failing(s.State) {
			continue
		}
		name := s.SettingName
		if name == "" {
			name = s.Setting
		}
		out = append(out, tenant.SettingState{Setting: name, State: policyState(s.State), CurrentValue: string(s.CurrentValue),
			ErrorDescription: s.ErrorDescription, UserName: s.UserName})
	}
	return out
}

// policyState gives the state of a policy or setting (complianceStatus) in the
// spelling of managedDevice.complianceState, where the two differ.
func policyState(s string) string {
	if strings.EqualFold(s, tenant.StateNoncompliant) {
		return tenant.StateNoncompliant
	}
	return s
}

func (g *graph) policyStateRequest(deviceID string) *devicemanagement.ManagedDevicesItemDeviceCompliancePolicyStatesRequestBuilder {
	return devicemanagement.NewManagedDevicesRequestBuilderInternal(g.v1(), g.adapter).
		ByManagedDeviceId(deviceID).DeviceCompliancePolicyStates()
}
