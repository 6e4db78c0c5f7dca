package wire

import (
	"cmp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// ManagedDevice is a row of GET /deviceManagement/managedDevices. One without an id
// counts: the machine is enrolled, and its serial number and name identify it.
type ManagedDevice struct {
	ID                string `json:"id"`
	AzureADDeviceID   string `json:"azureADDeviceId"`
	DeviceName        string `json:"deviceName"`
	SerialNumber      string `json:"serialNumber"`
	Manufacturer      string `json:"manufacturer"`
	Model             string `json:"model"`
	OperatingSystem   string `json:"operatingSystem"`
	OSVersion         string `json:"osVersion"`
	ComplianceState   string `json:"complianceState"`
	GraceUntil        Time   `json:"complianceGracePeriodExpirationDateTime"`
	Enrolled          Time   `json:"enrolledDateTime"`
	LastSync          Time   `json:"lastSyncDateTime"`
	OwnerType         string `json:"managedDeviceOwnerType"`
	EnrollmentType    string `json:"deviceEnrollmentType"`
	RegistrationState string `json:"deviceRegistrationState"`
	ManagementAgent   string `json:"managementAgent"`
	ManagementState   string `json:"managementState"`
	EnrollmentProfile string `json:"enrollmentProfileName"`
	Encrypted         bool   `json:"isEncrypted"`
	TotalStorage      int64  `json:"totalStorageSpaceInBytes"`
	FreeStorage       int64  `json:"freeStorageSpaceInBytes"`
	PhysicalMemory    int64  `json:"physicalMemoryInBytes"`
	UserID            string `json:"userId"`
	UserPrincipalName string `json:"userPrincipalName"`
	UserDisplayName   string `json:"userDisplayName"`
	EmailAddress      string `json:"emailAddress"`

	JoinType    string               `json:"joinType"`
	ChassisType string               `json:"chassisType"`
	Autopilot   reply.Optional[bool] `json:"autopilotEnrolled"`
	UsersLogged reply.List[LoggedOn] `json:"usersLoggedOn"`
	Hardware    Hardware             `json:"hardwareInformation"`
}

// LoggedOn is a user who logged on to a ManagedDevice.
type LoggedOn struct {
	UserID string `json:"userId"`
	Last   Time   `json:"lastLogOnDateTime"`
}

// Hardware is what Intune inventories of a ManagedDevice.
type Hardware struct {
	SerialNumber    string `json:"serialNumber"`
	DeviceGuard     string `json:"deviceGuardVirtualizationBasedSecurityHardwareRequirementState"`
	Virtualization  string `json:"deviceGuardVirtualizationBasedSecurityState"`
	CredentialGuard string `json:"deviceGuardLocalSystemAuthorityCredentialGuardState"`
}

// Record is the device as the rest of the handler sees it. The beta list alone fills some
// fields.
func (d *ManagedDevice) Record(beta bool) tenant.ManagedDevice {
	out := tenant.ManagedDevice{
		ID:                   guid.Fold(d.ID),
		AzureADDeviceID:      guid.Fold(d.AzureADDeviceID),
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
		TotalStorage:         d.TotalStorage,
		FreeStorage:          d.FreeStorage,
		PhysicalMemory:       d.PhysicalMemory,
		UserID:               guid.Fold(d.UserID),
		UserPrincipalName:    d.UserPrincipalName,
		UserDisplayName:      d.UserDisplayName,
		EmailAddress:         d.EmailAddress,
		FromBetaList:         beta,
	}
	if out.AzureADDeviceID == ZeroGUID {
		out.AzureADDeviceID = ""
	}
	if !beta {
		return out
	}
	out.JoinType, out.ChassisType, out.Autopilot = d.JoinType, d.ChassisType, d.Autopilot.Pointer()
	for _, u := range d.UsersLogged {
		out.UsersLogged = append(out.UsersLogged, tenant.LoggedOn{UserID: guid.Fold(u.UserID), Last: u.Last.Time})
	}
	// Lists often carry the block unfilled, and its defaults read like "running".
	// Intune's inventory of the hardware always has the serial number.
	if h := d.Hardware; h.SerialNumber != "" {
		out.Hardware = &tenant.HardwareSecurity{DeviceGuard: h.DeviceGuard,
			VirtualizationBasedSecurity: h.Virtualization, CredentialGuard: h.CredentialGuard}
	}
	return out
}

// PolicyState is a row of deviceCompliancePolicyStates of a managed device.
type PolicyState struct {
	ID           string                   `json:"id"`
	DisplayName  string                   `json:"displayName"`
	Platform     string                   `json:"platformType"`
	State        string                   `json:"state"`
	SettingCount int                      `json:"settingCount"`
	Settings     reply.List[SettingState] `json:"settingStates"`
}

// SettingState is a row of the settingStates of a PolicyState.
type SettingState struct {
	Setting          string `json:"setting"`
	SettingName      string `json:"settingName"`
	State            string `json:"state"`
	CurrentValue     Text   `json:"currentValue"`
	ErrorDescription string `json:"errorDescription"`
	UserName         string `json:"userName"`
}

// Stateless reports whether some setting came without its state, so that whether
// it fails is not known.
func Stateless(all []SettingState) bool {
	return slices.ContainsFunc(all, func(s SettingState) bool { return s.State == "" })
}

// FailingSettings returns the settings that fail.
func FailingSettings(all []SettingState) []tenant.SettingState {
	var out []tenant.SettingState
	for _, s := range all {
		if !tenant.Fails(s.State) {
			continue
		}
		out = append(out, tenant.SettingState{Setting: cmp.Or(s.SettingName, s.Setting), State: ComplianceState(s.State), CurrentValue: string(s.CurrentValue),
			ErrorDescription: s.ErrorDescription, UserName: s.UserName})
	}
	return out
}

// ComplianceState gives the state of a policy or setting (complianceStatus) in the
// spelling of managedDevice.complianceState, where the two differ.
func ComplianceState(s string) string {
	if strings.EqualFold(s, tenant.StateNoncompliant) {
		return tenant.StateNoncompliant
	}
	return s
}
