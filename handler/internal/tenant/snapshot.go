// Package tenant describes a Microsoft 365 tenant as plain data, without client library
// or I/O. Package m365 fills a Snapshot; packages match and compose read it. Where a
// field is as Graph gives it, its tag has Graph's name.
package tenant

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Ref names a tenant as CIPP's table Tenants knows it.
type Ref struct {
	ID            string // tenant id (customerId), a GUID in lower case
	DisplayName   string // as CIPP shows it, which may be an alias
	DefaultDomain string // default domain name; CIPP's logbook uses it to name the tenant
	InitialDomain string // the *.onmicrosoft.com domain
	Direct        bool   // no GDAP relation: the tenant has a refresh token of its own
	// SharePointAdmin is the address of the SharePoint admin centre as CIPP found
	// it; "" when it did not.
	SharePointAdmin string
}

// Part is one separately readable part of a tenant. It is either present or
// absent with the reason, so that "none" and "unknown" never look alike. [Daily] stores it
// as JSON: a tag on Unknown would make stored absence look present and empty.
type Part[T any] struct {
	Value T
	Unknown
}

// Unknown says why something is not known.
type Unknown struct {
	Reason string // in words for a technician; "" when it is known
	// Expected says that nothing went wrong: the tenant does not have the
	// service, or hides the data on purpose. There is nothing to mend.
	Expected bool
	Cause    Cause // what kind of reason it is
}

// Cause is the kind of reason why something was not read, by which people can be
// told what to do.
type Cause int

// The causes that are told apart.
const (
	CauseOther      Cause = iota
	CausePermission       // the app lacks a permission
	CauseRole             // the account that the app acts as has no role that allows it (GDAP)
)

// Present returns a part that was read.
func Present[T any](v T) Part[T] { return Part[T]{Value: v} }

// Absent returns a part that could not be read, and why.
func Absent[T any](reason string) Part[T] { return Part[T]{Unknown: Unknown{Reason: reason}} }

// OK reports whether the part was read.
func (p Part[T]) OK() bool { return p.Reason == "" }

// Snapshot is one reading of a tenant. The zero time in any field means that
// the service gave no time.
type Snapshot struct {
	Tenant Ref
	ReadAt time.Time // when the reading began, UTC
	DoD    bool      // of the cloud of the US Department of Defense, which no domain name tells

	Organization  Part[Organization]
	Domains       Part[[]Domain]
	Users         Part[[]User]
	Groups        Part[[]Group]
	Roles         Part[[]DirectoryRole]
	SKUs          Part[[]SKU]
	Subscriptions Part[[]Subscription]

	ManagedDevices Part[[]ManagedDevice]
	EntraDevices   Part[[]EntraDevice]
	// PolicyStates holds the compliance policies of the devices that do not
	// comply, by managed device id.
	PolicyStates Part[map[string][]PolicyState]
	// PolicyReadings are those of them that were read anew and whole.
	PolicyReadings PolicyReadings

	ConditionalAccess   Part[[]ConditionalAccessPolicy]
	AuthorizationPolicy Part[AuthorizationPolicy]
	SecureScore         Part[SecureScore]

	MailboxUsage   Part[[]MailboxUsage]
	OneDriveUsage  Part[[]OneDriveUsage]
	Mailboxes      Part[[]Mailbox]
	CASMailboxes   Part[[]CASMailbox]
	UnifiedAudit   Part[bool] // unified audit log ingestion is on
	BlockedSenders Part[[]string]

	// Unknown says why a detail is not known although its part was read. A detail
	// that is not in it is as the part has it.
	Unknown map[Detail]Unknown
}

// Detail names something of a part that may fail alone, in words for a technician.
type Detail string

// The details that a reading may have to do without.
const (
	DetailSignIns   Detail = "the last sign-in of users"
	DetailAssigned  Detail = "since when users hold their licences"
	DetailEnrolment Detail = "join type, chassis and Autopilot of Intune devices"
	DetailLoggedOn  Detail = "who logged on to Intune devices"
	DetailHardware  Detail = "hardware protection of Intune devices"
	DetailAutopilot Detail = "Autopilot registration of Entra devices"
	DetailPolicies  Detail = "compliance policies of some devices"
	DetailSettings  Detail = "settings that fail compliance policies"
	DetailTitles    Detail = "titles of secure score actions"
	// Records that came without their id: that somebody, or a licence, is not among
	// the others proves nothing.
	DetailSomeUsers Detail = "some users"
	DetailSomeSKUs  Detail = "some licences"
	// User.LicensesUnknown says whose.
	DetailLicenses Detail = "the licences of some users"
)

// DevicesKnown reports whether it is known which devices Intune manages: its list was
// read, or the tenant has no Intune. Otherwise nothing may be written or cleared on a
// device for want of a managed device.
func (s *Snapshot) DevicesKnown() bool { return s.ManagedDevices.OK() || s.ManagedDevices.Expected }

// AbsentPart is a part of a snapshot that was not read.
type AbsentPart struct {
	Name string // in words, for a technician
	Unknown
}

// Absent returns the parts and details that were not read.
func (s *Snapshot) Absent() []AbsentPart {
	var list []AbsentPart
	absent(&list, "the organization's record", s.Organization)
	absent(&list, "domains", s.Domains)
	absent(&list, "users", s.Users)
	absent(&list, "groups", s.Groups)
	absent(&list, "directory roles", s.Roles)
	absent(&list, "licences", s.SKUs)
	absent(&list, "subscriptions", s.Subscriptions)
	absent(&list, "Intune devices", s.ManagedDevices)
	absent(&list, "Entra devices", s.EntraDevices)
	absent(&list, "compliance policies", s.PolicyStates)
	absent(&list, "Conditional Access policies", s.ConditionalAccess)
	absent(&list, "the authorization policy", s.AuthorizationPolicy)
	absent(&list, "secure score", s.SecureScore)
	absent(&list, "mailbox usage", s.MailboxUsage)
	absent(&list, "OneDrive usage", s.OneDriveUsage)
	absent(&list, "mailboxes", s.Mailboxes)
	absent(&list, "mailbox protocols", s.CASMailboxes)
	absent(&list, "the unified audit log's state", s.UnifiedAudit)
	absent(&list, "blocked senders", s.BlockedSenders)
	for _, detail := range slices.Sorted(maps.Keys(s.Unknown)) {
		list = append(list, AbsentPart{string(detail), s.Unknown[detail]})
	}
	return list
}

func absent[T any](list *[]AbsentPart, name string, p Part[T]) {
	if !p.OK() {
		*list = append(*list, AbsentPart{name, p.Unknown})
	}
}

// Organization is the directory's own record of the tenant.
type Organization struct {
	DisplayName           string    `json:"displayName"`
	Created               time.Time `json:"-"`
	OnPremisesSyncEnabled bool      `json:"onPremisesSyncEnabled"`
	OnPremisesLastSync    time.Time `json:"-"`
}

// Domain is one domain of the tenant.
type Domain struct {
	Name       string `json:"id"`
	IsDefault  bool   `json:"isDefault"`
	IsInitial  bool   `json:"isInitial"`
	IsVerified bool   `json:"isVerified"`
	// PasswordValidityDays is the password's life in days; nil when the
	// service gave none. NeverExpires explains the value.
	PasswordValidityDays *int32 `json:"-"`
}

// NeverExpires is the value of Domain.PasswordValidityDays by which Entra says
// that passwords do not expire (the largest int32).
const NeverExpires int32 = 2147483647

// User is one user or guest.
type User struct {
	ID                    string    `json:"id"`
	DisplayName           string    `json:"displayName"`
	UserPrincipalName     string    `json:"userPrincipalName"`
	Mail                  string    `json:"mail"`
	UserType              string    `json:"userType"` // "Member" or "Guest"
	Enabled               bool      `json:"accountEnabled"`
	JobTitle              string    `json:"jobTitle"`
	Department            string    `json:"department"`
	OfficeLocation        string    `json:"officeLocation"`
	MobilePhone           string    `json:"mobilePhone"`
	BusinessPhones        []string  `json:"-"`
	ProxyAddresses        []string  `json:"-"` // "SMTP:primary", "smtp:alias", other kinds
	Created               time.Time `json:"-"`
	OnPremisesSyncEnabled bool      `json:"onPremisesSyncEnabled"`
	Licenses              []License `json:"-"`
	LicensesUnknown       bool      `json:"-"` // the user may hold others than Licenses
	LastSignIn            time.Time `json:"-"` // zero where sign-in activity is not readable
}

// Licensed reports whether the user is known to hold any licence.
func (u User) Licensed() bool { return len(u.Licenses) > 0 }

// MayBeLicensed reports whether the user holds a licence, or it is not known.
func (u User) MayBeLicensed() bool { return u.Licensed() || u.LicensesUnknown }

// Guest reports whether the user is a guest of the tenant.
func (u User) Guest() bool { return u.UserType == "Guest" }

// License is one SKU assigned to a user.
type License struct {
	SKUID    string
	Assigned time.Time // when the assignment last changed; zero when unknown
}

// Member is a direct member of a group or role.
type Member struct {
	ID   string
	Kind MemberKind
}

// MemberKind is the kind of directory object a member is.
type MemberKind string

// The kinds of member the handler tells apart; any other is left as Graph
// names it, without the "#microsoft.graph." prefix.
const (
	MemberUser   MemberKind = "user"
	MemberGroup  MemberKind = "group"
	MemberDevice MemberKind = "device"
)

// Group is one group with its direct members.
type Group struct {
	ID              string
	DisplayName     string
	Mail            string
	GroupTypes      []string // "Unified", "DynamicMembership"
	SecurityEnabled bool
	MailEnabled     bool
	Members         []Member
}

// DirectoryRole is an activated directory role with its members.
type DirectoryRole struct {
	ID          string
	TemplateID  string // roleTemplateId, the id Conditional Access uses
	DisplayName string
	Members     []Member
}

// GlobalAdministrator is the role template id of Global Administrator.
const GlobalAdministrator = "62e90394-69f5-4237-9190-012177145e10"

// SKU is a product the tenant has licences of (subscribedSku).
type SKU struct {
	ID           string `json:"skuId"`            // a GUID
	PartNumber   string `json:"skuPartNumber"`    // for example SPE_E3
	AppliesTo    string `json:"appliesTo"`        // "User" or "Company"
	Status       string `json:"capabilityStatus"` // Enabled, Warning, Suspended, Deleted, LockedOut
	Consumed     int    `json:"-"`
	Units        `json:"-"`
	ServicePlans []ServicePlan `json:"-"`

	ConsumedUnknown, UnitsUnknown bool `json:"-"` // then they are zero
}

// Units are the units of a SKU by their state.
type Units struct {
	Enabled   int
	Warning   int // in the grace period after the end, still assignable
	Suspended int // cancelled, not assignable until it is renewed
	LockedOut int // cancelled by the customer, not assignable
}

// Usable returns how many units may be assigned.
func (s *SKU) Usable() int { return s.Enabled + s.Warning }

// Counted reports whether it is known how many units there are and are held.
func (s *SKU) Counted() bool { return !s.ConsumedUnknown && !s.UnitsUnknown }

// Unused returns how many usable units nobody holds, as far as they are counted.
func (s *SKU) Unused() int { return max(0, s.Usable()-s.Consumed) }

// OverAssigned returns how many units are assigned beyond all that the tenant has. Units
// that are suspended or locked out may still be held by those who held them before.
func (s *SKU) OverAssigned() int {
	return max(0, s.Consumed-s.Usable()-s.Suspended-s.LockedOut)
}

// ServicePlan is one service contained in a SKU.
type ServicePlan struct {
	ID        string `json:"servicePlanId"`
	Name      string `json:"servicePlanName"`
	AppliesTo string `json:"appliesTo"` // "User" or "Company"
	Status    string `json:"provisioningStatus"`
}

// Subscription is one commercial subscription of a SKU (directory/subscriptions).
type Subscription struct {
	ID            string    `json:"id"`
	SKUID         string    `json:"skuId"`
	Status        string    `json:"status"`
	Total         int       `json:"totalLicenses"`
	Trial         bool      `json:"isTrial"`
	Created       time.Time `json:"-"`
	NextLifecycle time.Time `json:"-"` // renewal or end; zero when there is none
}

// Compliance states of Intune (managedDevice.complianceState).
const (
	StateCompliant     = "compliant"
	StateNoncompliant  = "noncompliant"
	StateConflict      = "conflict"
	StateError         = "error"
	StateInGracePeriod = "inGracePeriod"
	StateUnknown       = "unknown"
	StateConfigManager = "configManager"
)

// Verdict is what a compliance state comes to; a greater one is worse.
type Verdict int

// The verdicts.
const (
	Complies Verdict = iota
	NoVerdict
	Violates
)

// Judge returns the verdict of a compliance state of Intune's.
func Judge(state string) Verdict {
	switch state {
	case StateCompliant:
		return Complies
	case StateNoncompliant, StateConflict, StateError, StateInGracePeriod:
		return Violates
	}
	return NoVerdict
}

// Fails reports whether the state of a policy or setting says that something is wrong. A
// grace period does not.
func Fails(status string) bool {
	switch strings.ToLower(status) {
	case StateNoncompliant, StateConflict, StateError:
		return true
	}
	return false
}

// ManagedDevice is a device enrolled in Intune.
type ManagedDevice struct {
	ID                   string // Intune's id
	AzureADDeviceID      string // Entra deviceId, not the object id; "" when none or all zeros
	DeviceName           string
	SerialNumber         string
	Manufacturer         string
	Model                string
	OperatingSystem      string
	OSVersion            string
	ComplianceState      string
	ComplianceGraceUntil time.Time
	Enrolled             time.Time
	LastSync             time.Time
	OwnerType            string // company, personal, unknown
	EnrollmentType       string
	RegistrationState    string
	ManagementAgent      string
	ManagementState      string
	EnrollmentProfile    string
	Encrypted            bool
	TotalStorage         int64 // bytes; 0 when unknown
	FreeStorage          int64 // bytes
	PhysicalMemory       int64 // bytes; 0 when unknown
	UserID               string
	UserPrincipalName    string
	UserDisplayName      string
	EmailAddress         string

	// From the beta list where Graph delivers them; zero values otherwise.
	JoinType     string
	ChassisType  string
	Autopilot    *bool
	UsersLogged  []LoggedOn
	Hardware     *HardwareSecurity
	FromBetaList bool
}

// LoggedOn is a user who logged on to a managed device.
type LoggedOn struct {
	UserID string
	Last   time.Time
}

// HardwareSecurity holds the protections Intune reports of a Windows device.
// A value is Intune's own word, or "" when it gave none.
type HardwareSecurity struct {
	DeviceGuard                 string
	VirtualizationBasedSecurity string
	CredentialGuard             string
}

// EntraDevice is a device registered in Entra.
type EntraDevice struct {
	ID         string    `json:"id"`       // object id
	DeviceID   string    `json:"deviceId"` // equals ManagedDevice.AzureADDeviceID
	Name       string    `json:"displayName"`
	TrustType  string    `json:"trustType"` // AzureAd, ServerAd, Workplace
	Enabled    bool      `json:"accountEnabled"`
	Registered time.Time `json:"-"`
	Autopilot  bool      `json:"-"` // carries a [ZTDID] physical id
}

// PolicyState is the state of one compliance policy on one device.
type PolicyState struct {
	Policy   string
	Platform string
	State    string
	Settings []SettingState // only those that do not comply
	// Unread says that which settings do not comply could not be read, or not whole.
	Unread bool
}

// PolicyReading is what was read of a device's compliance policies, and how the device
// stood in Intune's list then. It counts until the device checks in or changes its
// state.
type PolicyReading struct {
	CheckIn  time.Time // ManagedDevice.LastSync
	State    string    // ManagedDevice.ComplianceState
	Policies []PolicyState
	Read     time.Time // when it was read
}

// Counts reports whether nothing is known to have changed since the reading.
func (r PolicyReading) Counts(d *ManagedDevice) bool {
	return !r.Read.IsZero() && r.CheckIn.Equal(d.LastSync) && r.State == d.ComplianceState
}

// PolicyReadings are readings by managed device id.
type PolicyReadings map[string]PolicyReading

// SettingState is one setting of a policy that a device does not meet.
type SettingState struct {
	Setting          string
	State            string
	CurrentValue     string
	ErrorDescription string
	UserName         string
}

// ConditionalAccessPolicy says for whom a policy applies.
type ConditionalAccessPolicy struct {
	ID    string
	Name  string
	State string // enabled, disabled, enabledForReportingButNotEnforced

	// Users, groups and roles by id; roles by template id. All and GuestsOrExternalUsers
	// are taken out of the lists into the fields below, and None, which names nobody.
	IncludeUsers, ExcludeUsers   []string
	IncludeGroups, ExcludeGroups []string
	IncludeRoles, ExcludeRoles   []string
	IncludeAll                   bool
	IncludeGuests, ExcludeGuests bool
	// Guest types of the newer form, as Graph lists them; "" when not used.
	IncludeGuestTypes, ExcludeGuestTypes []string
	// The guest types count only for guests of certain organizations
	// (externalTenants.membershipKind is enumerated).
	IncludeGuestsOfSome, ExcludeGuestsOfSome bool
}

// AuthorizationPolicy holds what members may do by default.
type AuthorizationPolicy struct {
	// UserConsentPolicies are the permission grant policies assigned to
	// members; none of "ManagePermissionGrantsForSelf.*" means that users may
	// not consent to applications.
	UserConsentPolicies []string
}

// SecureScore is the newest secure score with its open actions.
type SecureScore struct {
	Created time.Time
	Current float64
	Max     float64
	Actions []ScoreAction // every control, in Graph's order
}

// ScoreAction is one control of the secure score, joined with its profile.
type ScoreAction struct {
	Control  string
	Title    string // "" when there is no profile for the control
	Category string
	Service  string
	URL      string // from the tenant's own data: check before linking
	Score    float64
	Max      float64
}

// MailboxUsage is one row of the mailbox usage report.
type MailboxUsage struct {
	UserPrincipalName string
	LastActivity      time.Time
	Items             int64 // -1 when not known
	Used              int64 // bytes; -1 when not known
	WarningQuota      int64 // bytes; -1 when not known
	SendQuota         int64 // bytes, prohibit send; -1 when not known
	SendReceiveQuota  int64 // bytes, prohibit send and receive; -1 when not known
	RefreshDate       time.Time
}

// OneDriveUsage is one row of the OneDrive usage report.
type OneDriveUsage struct {
	OwnerPrincipalName string
	SiteURL            string // "" when concealed
	Deleted            bool   // the report calls it deleted, as when its owner is
	LastActivity       time.Time
	Files              int64 // -1 when not known
	Used               int64 // bytes; -1 when not known
	Allocated          int64 // bytes; -1 when not known
	RefreshDate        time.Time
}

// Mailbox holds a mailbox's settings (Get-Mailbox).
type Mailbox struct {
	UserID                 string // ExternalDirectoryObjectId
	UserPrincipalName      string
	Type                   string // RecipientTypeDetails
	ForwardingAddress      string
	ForwardingSMTPAddress  string
	DeliverAndForward      bool
	LitigationHold         bool
	HiddenFromAddressLists bool
	PrimarySMTPAddress     string
	ArchiveEnabled         bool
}

// CASMailbox holds the protocols of a mailbox (Get-CASMailbox).
type CASMailbox struct {
	UserID            string // ExternalDirectoryObjectId
	UserPrincipalName string
	OWA               bool
	MAPI              bool
	IMAP              bool
	POP               bool
	ActiveSync        bool
	EWS               bool
}

// Standard is one CIPP standard that applies to the tenant.
type Standard struct {
	Template string   // name of the standards template it comes from
	Name     string   // CIPP's name of the standard
	Deploys  []string // names of the templates of policies or groups that it deploys
	Actions  []string // what CIPP does with it: Report, Alert, Remediate
}
