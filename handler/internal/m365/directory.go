package m365

import (
	"context"
	"errors"
	"net/http"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/devices"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	pageSize       = 999 // $top of large lists
	signInPageSize = 500 // with signInActivity Graph gives no larger pages
)

func organizationOf(ctx context.Context, g *graph, a answer) (tenant.Organization, error) {
	var rows []wire.Organization
	if _, err := listOf(ctx, g, a, func(p []wire.Organization) { rows = append(rows, p...) }); err != nil {
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

func domainsOf(ctx context.Context, g *graph, a answer) ([]tenant.Domain, error) {
	out := []tenant.Domain{}
	_, err := listOf(ctx, g, a, func(p []wire.Domain) {
		for _, d := range p {
			out = append(out, tenant.Domain{Name: d.ID, IsDefault: d.IsDefault, IsInitial: d.IsInitial,
				IsVerified: d.IsVerified, PasswordValidityDays: d.ValidityDays.Pointer()})
		}
	})
	return out, err
}

func skusOf(ctx context.Context, g *graph, a answer) ([]tenant.SKU, error) {
	out := []tenant.SKU{}
	_, err := listOf(ctx, g, a, func(p []wire.SKU) {
		for _, s := range p {
			sku := tenant.SKU{ID: wire.GUID(s.SKUID), PartNumber: s.PartNumber, AppliesTo: s.AppliesTo,
				Status: s.CapabilityStatus, Consumed: s.Consumed, Enabled: s.Prepaid.Enabled,
				Warning: s.Prepaid.Warning, Suspended: s.Prepaid.Suspended, LockedOut: s.Prepaid.LockedOut}
			for _, plan := range s.Plans {
				sku.ServicePlans = append(sku.ServicePlans,
					tenant.ServicePlan{ID: wire.GUID(plan.ID), Name: plan.Name, Status: plan.Status})
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

func subscriptionsOf(ctx context.Context, g *graph, a answer) ([]tenant.Subscription, error) {
	out := []tenant.Subscription{}
	_, err := listOf(ctx, g, a, func(p []wire.Subscription) {
		for _, s := range p {
			out = append(out, tenant.Subscription{ID: s.ID, SKUID: wire.GUID(s.SKUID), Status: s.Status, Total: s.Total,
				Trial: s.Trial, Created: s.Created.Time, NextLifecycle: s.NextLifecycle.Time})
		}
	})
	return out, err
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
	_, err = list(ctx, g, query(ri, top, fields...), func(p []wire.User) {
		for i := range p {
			out = append(out, p[i].Record())
		}
	})
	return out, err
}

// entraDevices reads GET /devices.
func (g *graph) entraDevices(ctx context.Context) ([]tenant.EntraDevice, error) {
	ri, err := devices.NewDevicesRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := []tenant.EntraDevice{}
	query(ri, pageSize, "id", "deviceId", "displayName", "trustType", "accountEnabled", "registrationDateTime", "physicalIds")
	_, err = list(ctx, g, ri, func(p []wire.Device) {
		for _, d := range p {
			device := tenant.EntraDevice{ID: wire.GUID(d.ID), DeviceID: wire.GUID(d.DeviceID), Name: d.DisplayName,
				TrustType: d.TrustType, Enabled: d.Enabled, Registered: d.Registered.Time}
			for _, tag := range d.PhysicalTags {
				device.Autopilot = device.Autopilot || strings.HasPrefix(tag, "[ZTDID]")
			}
			out = append(out, device)
		}
	})
	return out, err
}

var errNoDeltaLink = errors.New("a delta list ended without its delta link")

// readMemberships reads objects with their members from a delta list that was
// begun by begin, or where Graph refuses that, from a plain list and one list of
// members for each object, in batches.
func (g *graph) readMemberships(ctx context.Context,
	begin func(each func([]wire.DeltaObject)) (deltaLink string, err error),
	plain func() (*abstractions.RequestInformation, error),
	members func(id string) (*abstractions.RequestInformation, error),
) (*wire.Memberships, error) {
	all := wire.NewMemberships()
	deltaLink, err := begin(all.Add)
	if err == nil && deltaLink == "" {
		err = &bodyError{g.service, errNoDeltaLink}
	}
	if !refused(err) {
		return all, err
	}

	all = wire.NewMemberships()
	ri, err := plain()
	if err != nil {
		return nil, err
	}
	if _, err := list(ctx, g, ri, all.Add); err != nil {
		return nil, err
	}
	requests := make([]*abstractions.RequestInformation, len(all.IDs()))
	for i, id := range all.IDs() {
		if requests[i], err = members(id); err != nil {
			return nil, err
		}
	}
	for i, a := range g.batch(ctx, requests) {
		if _, err := listOf(ctx, g, a, all.Of(all.IDs()[i]).Change); err != nil {
			return nil, err
		}
	}
	return all, nil
}
