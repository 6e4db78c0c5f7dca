package m365

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/devices"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"cipp-ninjaone/handler/internal/tenant"
)

const (
	pageSize       = 999 // $top of large lists
	signInPageSize = 500 // with signInActivity Graph gives no larger pages
)

type wireOrganization struct {
	DisplayName           string `json:"displayName"`
	Created               when   `json:"createdDateTime"`
	OnPremisesSyncEnabled bool   `json:"onPremisesSyncEnabled"`
	OnPremisesLastSync    when   `json:"onPremisesLastSyncDateTime"`
}

func organizationOf(ctx context.Context, g *graph, a answer) (tenant.Organization, error) {
	var rows []wireOrganization
	if _, err := listOf(ctx, g, a, func(p []wireOrganization) { rows = append(rows, p...) }); err != nil {
		return tenant.Organization{}, err
	}
	if len(rows) == 0 {
		return tenant.Organization{}, absence("Microsoft Graph gave no record of the organization")
	}
	return tenant.Organization{
		DisplayName:           rows[0].DisplayName,
		Created:               rows[0].Created.Time,
		OnPremisesSyncEnabled: rows[0].OnPremisesSyncEnabled,
		OnPremisesLastSync:    rows[0].OnPremisesLastSync.Time,
	}, nil
}

type wireDomain struct {
	ID           string `json:"id"`
	IsDefault    bool   `json:"isDefault"`
	IsInitial    bool   `json:"isInitial"`
	IsVerified   bool   `json:"isVerified"`
	ValidityDays *int32 `json:"passwordValidityPeriodInDays"`
}

func domainsOf(ctx context.Context, g *graph, a answer) ([]tenant.Domain, error) {
	out := []tenant.Domain{}
	_, err := listOf(ctx, g, a, func(p []wireDomain) {
		for _, d := range p {
			out = append(out, tenant.Domain{Name: d.ID, IsDefault: d.IsDefault, IsInitial: d.IsInitial,
				IsVerified: d.IsVerified, PasswordValidityDays: d.ValidityDays})
		}
	})
	return out, err
}

type wireSKU struct {
	SKUID            string `json:"skuId"`
	PartNumber       string `json:"skuPartNumber"`
	AppliesTo        string `json:"appliesTo"`
	CapabilityStatus string `json:"capabilityStatus"`
	Consumed         int    `json:"consumedUnits"`
	Prepaid          struct {
		Enabled   int `json:"enabled"`
		Warning   int `json:"warning"`
		Suspended int `json:"suspended"`
	} `json:"prepaidUnits"`
	Plans []struct {
		ID     string `json:"servicePlanId"`
		Name   string `json:"servicePlanName"`
		Status string `json:"provisioningStatus"`
	} `json:"servicePlans"`
}

func skusOf(ctx context.Context, g *graph, a answer) ([]tenant.SKU, error) {
	out := []tenant.SKU{}
	_, err := listOf(ctx, g, a, func(p []wireSKU) {
		for _, s := range p {
			sku := tenant.SKU{ID: guid(s.SKUID), PartNumber: s.PartNumber, AppliesTo: s.AppliesTo,
				Status: s.CapabilityStatus, Consumed: s.Consumed, Enabled: s.Prepaid.Enabled,
				Warning: s.Prepaid.Warning, Suspended: s.Prepaid.Suspended}
			for _, plan := range s.Plans {
				sku.ServicePlans = append(sku.ServicePlans,
					tenant.ServicePlan{ID: guid(plan.ID), Name: plan.Name, Status: plan.Status})
			}
			out = append(out, sku)
		}
	})
	return out, err
}

// hasPlan reports whether a SKU in force contains a service plan of the prefix,
// leaving out those with one of the other names.
func hasPlan(skus []tenant.SKU, prefix string, except ...string) bool {
	for _, sku := range skus {
		if sku.Status != "Enabled" && sku.Status != "Warning" {
			continue
		}
	plans:
		for _, plan := range sku.ServicePlans {
			if !strings.HasPrefix(plan.Name, prefix) || plan.Status == "Disabled" {
				continue
			}
			for _, name := range except {
				if plan.Name == name {
					continue plans
				}
			}
			return true
		}
	}
	return false
}

// hasPremium reports whether the tenant has Entra ID P1 or P2.
func hasPremium(skus []tenant.SKU) bool { return hasPlan(skus, "AAD_PREMIUM") }

// hasIntune reports whether the tenant has Intune; the device management that
// comes with Office 365 is not it.
func hasIntune(skus []tenant.SKU) bool { return hasPlan(skus, "INTUNE_", "INTUNE_O365") }

type wireSubscription struct {
	ID            string `json:"id"`
	SKUID         string `json:"skuId"`
	Status        string `json:"status"`
	Total         int    `json:"totalLicenses"`
	Trial         bool   `json:"isTrial"`
	Created       when   `json:"createdDateTime"`
	NextLifecycle when   `json:"nextLifecycleDateTime"`
}

func subscriptionsOf(ctx context.Context, g *graph, a answer) ([]tenant.Subscription, error) {
	out := []tenant.Subscription{}
	_, err := listOf(ctx, g, a, func(p []wireSubscription) {
		for _, s := range p {
			out = append(out, tenant.Subscription{ID: s.ID, SKUID: guid(s.SKUID), Status: s.Status, Total: s.Total,
				Trial: s.Trial, Created: s.Created.Time, NextLifecycle: s.NextLifecycle.Time})
		}
	})
	return out, err
}

type wireUser struct {
	ID                    string   `json:"id"`
	DisplayName           string   `json:"displayName"`
	UserPrincipalName     string   `json:"userPrincipalName"`
	Mail                  string   `json:"mail"`
	UserType              string   `json:"userType"`
	Enabled               bool     `json:"accountEnabled"`
	JobTitle              string   `json:"jobTitle"`
	Department            string   `json:"department"`
	OfficeLocation        string   `json:"officeLocation"`
	MobilePhone           string   `json:"mobilePhone"`
	BusinessPhones        []string `json:"businessPhones"`
	ProxyAddresses        []string `json:"proxyAddresses"`
	Created               when     `json:"createdDateTime"`
	OnPremisesSyncEnabled bool     `json:"onPremisesSyncEnabled"`
	AssignedLicenses      []struct {
		SKUID string `json:"skuId"`
	} `json:"assignedLicenses"`
	AssignmentStates []struct {
		SKUID   string `json:"skuId"`
		State   string `json:"state"`
		Updated when   `json:"lastUpdatedDateTime"`
	} `json:"licenseAssignmentStates"`
	SignIn *struct {
		Interactive    when `json:"lastSignInDateTime"`
		NonInteractive when `json:"lastNonInteractiveSignInDateTime"`
	} `json:"signInActivity"`
}

var userFields = []string{"id", "displayName", "userPrincipalName", "mail", "userType", "accountEnabled", "jobTitle",
	"department", "officeLocation", "mobilePhone", "businessPhones", "proxyAddresses", "createdDateTime",
	"onPremisesSyncEnabled", "assignedLicenses", "licenseAssignmentStates"}

// users reads GET /users. Sign-in activity is asked for only where a premium
// licence allows it, and done without where Graph refuses it all the same.
func (g *graph) users(ctx context.Context, premium bool) ([]tenant.User, error) {
	if premium {
		out, err := g.listUsers(ctx, signInPageSize, append(userFields[:len(userFields):len(userFields)], "signInActivity"))
		if !refused(err) && !hasStatus(err, http.StatusForbidden) {
			return out, err
		}
	}
	return g.listUsers(ctx, pageSize, userFields)
}

func (g *graph) listUsers(ctx context.Context, top int, fields []string) ([]tenant.User, error) {
	ri, err := users.NewUsersRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := []tenant.User{}
	_, err = list(ctx, g, query(ri, top, fields...), func(p []wireUser) {
		for i := range p {
			out = append(out, p[i].user())
		}
	})
	return out, err
}

func (u *wireUser) user() tenant.User {
	out := tenant.User{
		ID:                    guid(u.ID),
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
	for _, l := range u.AssignedLicenses {
		license := tenant.License{SKUID: guid(l.SKUID)}
		// A SKU may be assigned directly and through groups: the last change counts.
		for _, s := range u.AssignmentStates {
			if guid(s.SKUID) == license.SKUID && strings.HasPrefix(s.State, "Active") && s.Updated.After(license.Assigned) {
				license.Assigned = s.Updated.Time
			}
		}
		out.Licenses = append(out.Licenses, license)
	}
	if u.SignIn != nil {
		out.LastSignIn = later(u.SignIn.Interactive.Time, u.SignIn.NonInteractive.Time)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

type wireDevice struct {
	ID           string   `json:"id"`
	DeviceID     string   `json:"deviceId"`
	DisplayName  string   `json:"displayName"`
	TrustType    string   `json:"trustType"`
	Enabled      bool     `json:"accountEnabled"`
	Registered   when     `json:"registrationDateTime"`
	PhysicalTags []string `json:"physicalIds"`
}

// entraDevices reads GET /devices.
func (g *graph) entraDevices(ctx context.Context) ([]tenant.EntraDevice, error) {
	ri, err := devices.NewDevicesRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := []tenant.EntraDevice{}
	query(ri, pageSize, "id", "deviceId", "displayName", "trustType", "accountEnabled", "registrationDateTime", "physicalIds")
	_, err = list(ctx, g, ri, func(p []wireDevice) {
		for _, d := range p {
			device := tenant.EntraDevice{ID: guid(d.ID), DeviceID: guid(d.DeviceID), Name: d.DisplayName,
				TrustType: d.TrustType, Enabled: d.Enabled, Registered: d.Registered.Time}
			for _, tag := range d.PhysicalTags {
				device.Autopilot = device.Autopilot || strings.HasPrefix(tag, "[ZTDID]")
			}
			out = append(out, device)
		}
	})
	return out, err
}

// deltaObject is a group or directory role in a delta answer. Members that are
// missing on a page are unchanged, not gone, so absent and empty differ.
type deltaObject struct {
	ID              string       `json:"id"`
	DisplayName     *string      `json:"displayName"`
	TemplateID      *string      `json:"roleTemplateId"`
	Mail            *string      `json:"mail"`
	GroupTypes      []string     `json:"groupTypes"`
	SecurityEnabled *bool        `json:"securityEnabled"`
	MailEnabled     *bool        `json:"mailEnabled"`
	Members         []wireMember `json:"members@delta"`
	Removed         *removed     `json:"@removed"`
}

type wireMember struct {
	ID      string   `json:"id"`
	Type    string   `json:"@odata.type"`
	Removed *removed `json:"@removed"`
}

type removed struct {
	Reason string `json:"reason"`
}

func (m wireMember) kind() tenant.MemberKind {
	return tenant.MemberKind(strings.TrimPrefix(m.Type, "#microsoft.graph."))
}

// memberships accumulates groups or roles over the pages of a delta list, which
// splits large ones over several pages and may repeat what it said.
type memberships struct {
	order []string
	byID  map[string]*membership
}

type membership struct {
	deltaObject
	order []string
	kinds map[string]tenant.MemberKind
}

func (m *memberships) add(p []deltaObject) {
	for _, o := range p {
		m.object(o).change(o.Members)
	}
}

func (m *memberships) object(o deltaObject) *membership {
	id := guid(o.ID)
	have, ok := m.byID[id]
	if !ok {
		have = &membership{kinds: map[string]tenant.MemberKind{}}
		have.ID = id
		m.byID[id] = have
		m.order = append(m.order, id)
	}
	keep(&have.DisplayName, o.DisplayName)
	keep(&have.TemplateID, o.TemplateID)
	keep(&have.Mail, o.Mail)
	keep(&have.SecurityEnabled, o.SecurityEnabled)
	keep(&have.MailEnabled, o.MailEnabled)
	if o.GroupTypes != nil {
		have.GroupTypes = o.GroupTypes
	}
	have.Removed = o.Removed
	return have
}

func keep[T any](dst **T, v *T) {
	if v != nil {
		*dst = v
	}
}

func (m *membership) change(members []wireMember) {
	for _, member := range members {
		id := guid(member.ID)
		if member.Removed != nil {
			delete(m.kinds, id)
			continue
		}
		if _, ok := m.kinds[id]; !ok {
			m.order = append(m.order, id)
		}
		m.kinds[id] = member.kind()
	}
}

// members returns the members in the order in which they came.
func (m *membership) members() []tenant.Member {
	var out []tenant.Member
	for _, id := range m.order {
		if kind, ok := m.kinds[id]; ok {
			out = append(out, tenant.Member{ID: id, Kind: kind})
			delete(m.kinds, id) // one that left and came back is in the order twice
		}
	}
	return out
}

func (m *memberships) each(give func(*membership)) {
	for _, id := range m.order {
		if o := m.byID[id]; o.Removed == nil {
			give(o)
		}
	}
}

var errNoDeltaLink = errors.New("a delta list ended without its delta link")

// readMemberships reads objects with their members from a delta list that was
// begun by begin, or where Graph refuses that, from a plain list and one list of
// members for each object, in batches.
func (g *graph) readMemberships(ctx context.Context,
	begin func(each func([]deltaObject)) (deltaLink string, err error),
	plain func() (*abstractions.RequestInformation, error),
	members func(id string) (*abstractions.RequestInformation, error),
) (*memberships, error) {
	all := &memberships{byID: map[string]*membership{}}
	deltaLink, err := begin(all.add)
	if err == nil && deltaLink == "" {
		err = &bodyError{g.service, errNoDeltaLink}
	}
	if !refused(err) {
		return all, err
	}

	all = &memberships{byID: map[string]*membership{}}
	ri, err := plain()
	if err != nil {
		return nil, err
	}
	if _, err := list(ctx, g, ri, all.add); err != nil {
		return nil, err
	}
	requests := make([]*abstractions.RequestInformation, len(all.order))
	for i, id := range all.order {
		if requests[i], err = members(id); err != nil {
			return nil, err
		}
	}
	for i, a := range g.batch(ctx, requests) {
		if _, err := listOf(ctx, g, a, all.byID[all.order[i]].change); err != nil {
			return nil, err
		}
	}
	return all, nil
}
