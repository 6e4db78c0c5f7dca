package wire

import (
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// Organization is a row of GET /organization.
type Organization struct {
	DisplayName           string `json:"displayName"`
	Created               Time   `json:"createdDateTime"`
	OnPremisesSyncEnabled bool   `json:"onPremisesSyncEnabled"`
	OnPremisesLastSync    Time   `json:"onPremisesLastSyncDateTime"`
}

// Domain is a row of GET /domains.
type Domain struct {
	ID           string                `json:"id"`
	IsDefault    bool                  `json:"isDefault"`
	IsInitial    bool                  `json:"isInitial"`
	IsVerified   bool                  `json:"isVerified"`
	ValidityDays reply.Optional[int32] `json:"passwordValidityPeriodInDays"`
}

// SKU is a row of GET /subscribedSkus.
type SKU struct {
	SKUID            string `json:"skuId"`
	PartNumber       string `json:"skuPartNumber"`
	AppliesTo        string `json:"appliesTo"`
	CapabilityStatus string `json:"capabilityStatus"`
	Consumed         int    `json:"consumedUnits"`
	Prepaid          struct {
		Enabled   int `json:"enabled"`
		Warning   int `json:"warning"`
		Suspended int `json:"suspended"`
		LockedOut int `json:"lockedOut"`
	} `json:"prepaidUnits"`
	Plans reply.List[ServicePlan] `json:"servicePlans"`
}

// ServicePlan is a part of a SKU.
type ServicePlan struct {
	ID        string `json:"servicePlanId"`
	Name      string `json:"servicePlanName"`
	AppliesTo string `json:"appliesTo"`
	Status    string `json:"provisioningStatus"`
}

// Subscription is a row of GET /directory/subscriptions.
type Subscription struct {
	ID            string `json:"id"`
	SKUID         string `json:"skuId"`
	Status        string `json:"status"`
	Total         int    `json:"totalLicenses"`
	Trial         bool   `json:"isTrial"`
	Created       Time   `json:"createdDateTime"`
	NextLifecycle Time   `json:"nextLifecycleDateTime"`
}

// User is a row of GET /users.
type User struct {
	ID                    string                      `json:"id"`
	DisplayName           string                      `json:"displayName"`
	UserPrincipalName     string                      `json:"userPrincipalName"`
	Mail                  string                      `json:"mail"`
	UserType              string                      `json:"userType"`
	Enabled               bool                        `json:"accountEnabled"`
	JobTitle              string                      `json:"jobTitle"`
	Department            string                      `json:"department"`
	OfficeLocation        string                      `json:"officeLocation"`
	MobilePhone           string                      `json:"mobilePhone"`
	BusinessPhones        reply.List[string]          `json:"businessPhones"`
	ProxyAddresses        reply.List[string]          `json:"proxyAddresses"`
	Created               Time                        `json:"createdDateTime"`
	OnPremisesSyncEnabled bool                        `json:"onPremisesSyncEnabled"`
	AssignedLicenses      reply.List[AssignedLicense] `json:"assignedLicenses"`
	AssignmentStates      reply.List[AssignmentState] `json:"licenseAssignmentStates"`
	SignIn                SignInActivity              `json:"signInActivity"`
}

// AssignedLicense is a licence of a User.
type AssignedLicense struct {
	SKUID string `json:"skuId"`
}

// AssignmentState says since when a User has a licence.
type AssignmentState struct {
	SKUID   string `json:"skuId"`
	State   string `json:"state"`
	Updated Time   `json:"lastUpdatedDateTime"`
}

// SignInActivity says when a User signed in last.
type SignInActivity struct {
	Interactive    Time `json:"lastSignInDateTime"`
	NonInteractive Time `json:"lastNonInteractiveSignInDateTime"`
}

// Record is the user as the rest of the handler sees it.
func (u *User) Record() tenant.User {
	out := tenant.User{
		ID:                    guid.Fold(u.ID),
		DisplayName:           u.DisplayName,
		UserPrincipalName:     u.UserPrincipalName,
		Mail:                  u.Mail,
		UserType:              u.UserType,
		Enabled:               u.Enabled,
		JobTitle:              u.JobTitle,
		Department:            u.Department,
		OfficeLocation:        u.OfficeLocation,
		MobilePhone:           u.MobilePhone,
		BusinessPhones:        u.BusinessPhones,
		ProxyAddresses:        u.ProxyAddresses,
		Created:               u.Created.Time,
		OnPremisesSyncEnabled: u.OnPremisesSyncEnabled,
	}
	// A SKU may be assigned directly and through groups: the last change counts.
	assigned := make(map[string]time.Time, len(u.AssignmentStates))
	for _, s := range u.AssignmentStates {
		if id := guid.Fold(s.SKUID); strings.HasPrefix(s.State, "Active") {
			assigned[id] = later(assigned[id], s.Updated.Time)
		}
	}
	for _, l := range u.AssignedLicenses {
		if id := guid.Fold(l.SKUID); id != "" {
			out.Licenses = append(out.Licenses, tenant.License{SKUID: id, Assigned: assigned[id]})
		}
	}
	out.LastSignIn = later(u.SignIn.Interactive.Time, u.SignIn.NonInteractive.Time)
	return out
}

// Device is a row of GET /devices.
type Device struct {
	ID           string             `json:"id"`
	DeviceID     string             `json:"deviceId"`
	DisplayName  string             `json:"displayName"`
	TrustType    string             `json:"trustType"`
	Enabled      bool               `json:"accountEnabled"`
	Registered   Time               `json:"registrationDateTime"`
	PhysicalTags reply.List[string] `json:"physicalIds"`
}

func (r *User) identity() string { return r.ID }

func (r *Device) identity() string { return r.ID }

func (r *Domain) identity() string { return r.ID }

func (r *Subscription) identity() string { return r.ID }

func (r *SKU) identity() string { return r.SKUID }
