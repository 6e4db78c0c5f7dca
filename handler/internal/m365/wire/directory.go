package wire

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// Organization is a row of GET /organization.
type Organization struct {
	tenant.Organization
	Created            Time `json:"createdDateTime"`
	OnPremisesLastSync Time `json:"onPremisesLastSyncDateTime"`
}

// Domain is a row of GET /domains.
type Domain struct {
	tenant.Domain
	ValidityDays reply.Optional[int32] `json:"passwordValidityPeriodInDays"`
}

// SKU is a row of GET /subscribedSkus.
type SKU struct {
	tenant.SKU
	Consumed reply.Optional[int]            `json:"consumedUnits"`
	Prepaid  Units                          `json:"prepaidUnits"`
	Plans    reply.List[tenant.ServicePlan] `json:"servicePlans"`
}

// Units are the units of a SKU. Older answers have no lockedOut.
type Units struct {
	Enabled   reply.Optional[int] `json:"enabled"`
	Warning   Count               `json:"warning"`
	Suspended Count               `json:"suspended"`
	LockedOut Count               `json:"lockedOut"`
}

// Count is a number of which there are none where it is absent.
type Count struct {
	N   int
	Odd bool // it is null or of another type
}

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (c *Count) UnmarshalJSON(data []byte) error {
	var n reply.Optional[int]
	err := n.UnmarshalJSON(data)
	*c = Count{N: n.Value, Odd: !n.OK}
	return err
}

// Record is the SKU as the rest of the handler sees it.
func (s *SKU) Record() tenant.SKU {
	out := s.SKU
	out.ID, out.ServicePlans = guid.Fold(s.ID), s.Plans
	for i := range out.ServicePlans {
		out.ServicePlans[i].ID = guid.Fold(out.ServicePlans[i].ID)
	}
	out.Consumed, out.ConsumedUnknown = s.Consumed.Value, !s.Consumed.OK
	u := s.Prepaid
	if out.UnitsUnknown = !u.Enabled.OK || u.Warning.Odd || u.Suspended.Odd || u.LockedOut.Odd; !out.UnitsUnknown {
		out.Units = tenant.Units{Enabled: u.Enabled.Value, Warning: u.Warning.N, Suspended: u.Suspended.N, LockedOut: u.LockedOut.N}
	}
	return out
}

// Subscription is a row of GET /directory/subscriptions.
type Subscription struct {
	tenant.Subscription
	Created       Time `json:"createdDateTime"`
	NextLifecycle Time `json:"nextLifecycleDateTime"`
}

// User is a row of GET /users.
type User struct {
	tenant.User
	BusinessPhones   reply.List[string]          `json:"businessPhones"`
	ProxyAddresses   reply.List[string]          `json:"proxyAddresses"`
	Created          Time                        `json:"createdDateTime"`
	AssignedLicenses AssignedLicenses            `json:"assignedLicenses"`
	AssignmentStates reply.List[AssignmentState] `json:"licenseAssignmentStates"`
	SignIn           SignInActivity              `json:"signInActivity"`
}

// AssignedLicenses are the licences of a User. Where one lacks its id, or they are no list
// at all, the user may have others. A user without this property has none.
type AssignedLicenses struct {
	reply.List[AssignedLicense]
	Odd bool
}

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (l *AssignedLicenses) UnmarshalJSON(data []byte) error {
	var all []AssignedLicense
	if l.Odd = json.Unmarshal(data, &all) != nil || all == nil ||
		slices.ContainsFunc(all, func(a AssignedLicense) bool { return guid.Fold(a.SKUID) == "" }); l.Odd {
		return l.List.UnmarshalJSON(data)
	}
	l.List = all
	return nil
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
	out := u.User
	out.ID, out.Created = guid.Fold(u.ID), u.Created.Time
	out.BusinessPhones, out.ProxyAddresses = u.BusinessPhones, u.ProxyAddresses
	// A SKU may be assigned directly and through groups: the last change counts.
	assigned := make(map[string]time.Time, len(u.AssignmentStates))
	for _, s := range u.AssignmentStates {
		if id := guid.Fold(s.SKUID); strings.HasPrefix(s.State, "Active") {
			assigned[id] = later(assigned[id], s.Updated.Time)
		}
	}
	out.LicensesUnknown = u.AssignedLicenses.Odd
	for _, l := range u.AssignedLicenses.List {
		if id := guid.Fold(l.SKUID); id != "" {
			out.Licenses = append(out.Licenses, tenant.License{SKUID: id, Assigned: assigned[id]})
		}
	}
	out.LastSignIn = later(u.SignIn.Interactive.Time, u.SignIn.NonInteractive.Time)
	return out
}

// Device is a row of GET /devices.
type Device struct {
	tenant.EntraDevice
	Registered   Time               `json:"registrationDateTime"`
	PhysicalTags reply.List[string] `json:"physicalIds"`
}

func (r *User) identity() string { return r.ID }

func (r *Device) identity() string { return r.ID }

func (r *Domain) identity() string { return r.Name }

func (r *Subscription) identity() string { return r.ID }

func (r *SKU) identity() string { return r.ID }
