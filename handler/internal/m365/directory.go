package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/devices"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	pageSize       = 999 // $top of large lists
	signInPageSize = 500 // with signInActivity Graph gives no larger pages
)

func organizationOf(ctx context.Context, g *graph, a *answer) (tenant.Organization, error) {
	var out []tenant.Organization
	_, err := listOf(ctx, g, a, rows(&out, func(o *wire.Organization) (string, tenant.Organization) {
		org := o.Organization
		org.Created, org.OnPremisesLastSync = o.Created.Time, o.OnPremisesLastSync.Time
		return "", org
	}))
	if out, err = never(g, "organizations", out, err); err != nil {
		return tenant.Organization{}, err
	}
	return out[0], nil
}

func domainsOf(ctx context.Context, g *graph, a *answer) ([]tenant.Domain, error) {
	var out []tenant.Domain
	_, err := listOf(ctx, g, a, rows(&out, func(d *wire.Domain) (string, tenant.Domain) {
		domain := d.Domain
		domain.PasswordValidityDays = d.ValidityDays.Pointer()
		return domain.Name, domain
	}))
	return never(g, "domains", out, err)
}

func skusOf(ctx context.Context, g *graph, a *answer) ([]tenant.SKU, []lost, error) {
	var out []tenant.SKU
	odd := 0
	_, err := listOf(ctx, g, a, rows(&out, func(s *wire.SKU) (string, tenant.SKU) {
		sku := s.Record()
		return sku.ID, sku
	}).counting(&odd))
	return out, leftOut(g, tenant.DetailSomeSKUs, "licences", odd), err
}

// leftOut is the loss of records that came without their id, if there were any.
func leftOut(g *graph, detail tenant.Detail, what string, odd int) []lost {
	if odd == 0 {
		return nil
	}
	return []lost{{detail, absence(fmt.Sprintf("%s%s gave %d %s without their id, which are left out%s", unavailable, g.name, odd, what, nextSync))}}
}

// hasPlan reports whether a SKU in force contains a service plan of the prefix, other
// than the exceptions.
func hasPlan(skus []tenant.SKU, prefix string, except ...string) bool {
	for _, sku := range skus {
		if sku.Status != "Enabled" && sku.Status != "Warning" {
			continue
		}
		for _, plan := range sku.ServicePlans {
			if strings.HasPrefix(plan.Name, prefix) && plan.Status != "Disabled" && !slices.Contains(except, plan.Name) {
				return true
			}
		}
	}
	return false
}

// hasPremium reports whether the tenant has Entra ID P1 or P2.
func hasPremium(skus []tenant.SKU) bool { return hasPlan(skus, "AAD_PREMIUM") }

// hasIntune reports whether the tenant has Intune; the device management that
// comes with Office 365 is not it.
func hasIntune(skus []tenant.SKU) bool { return hasPlan(skus, "INTUNE_", "INTUNE_O365") }

func subscriptionsOf(ctx context.Context, g *graph, a *answer) ([]tenant.Subscription, error) {
	var out []tenant.Subscription
	_, err := listOf(ctx, g, a, rows(&out, func(s *wire.Subscription) (string, tenant.Subscription) {
		sub := s.Subscription
		sub.SKUID, sub.Created, sub.NextLifecycle = guid.Fold(s.SKUID), s.Created.Time, s.NextLifecycle.Time
		return sub.ID, sub
	}))
	return out, err
}

// never returns the list, or an error where it is empty: there is no tenant
// without any of these.
func never[T any](g *graph, what string, list []T, err error) ([]T, error) {
	if err == nil && len(list) == 0 {
		return nil, &emptyError{g.name, what}
	}
	return list, err
}

// The properties of users; the last two are details that a tenant or an outage
// may withhold.
var (
	userFields = []string{"id", "displayName", "userPrincipalName", "mail", "userType", "accountEnabled", "jobTitle",
		"department", "officeLocation", "mobilePhone", "businessPhones", "proxyAddresses", "createdDateTime",
		"onPremisesSyncEnabled", "assignedLicenses"}
	fieldAssigned = "licenseAssignmentStates"
	fieldSignIns  = "signInActivity"
)

// users reads GET /users. Sign-in activity is asked for only where a premium
// licence may allow it.
func (g *graph) users(ctx context.Context, premium bool) ([]tenant.User, []lost, error) {
	odd := 0
	reading := func(top int, fields ...string) func(context.Context) ([]tenant.User, error) {
		return func(ctx context.Context) ([]tenant.User, error) { return g.listUsers(ctx, top, fields, &odd) }
	}
	forms := []form[[]tenant.User]{
		{[]tenant.Detail{tenant.DetailAssigned}, reading(pageSize, fieldAssigned)},
		{nil, reading(pageSize)},
	}
	if premium {
		forms = []form[[]tenant.User]{
			{[]tenant.Detail{tenant.DetailSignIns, tenant.DetailAssigned}, reading(signInPageSize, fieldAssigned, fieldSignIns)},
			forms[0],
			{[]tenant.Detail{tenant.DetailSignIns}, reading(signInPageSize, fieldSignIns)},
			forms[1],
		}
	}
	out, details, err := firstOf(ctx, forms...)
	details = append(details, leftOut(g, tenant.DetailSomeUsers, "users", odd)...)
	unknown := 0
	for _, u := range out {
		if u.LicensesUnknown {
			unknown++
		}
	}
	if unknown > 0 {
		details = append(details, lost{tenant.DetailLicenses, absence(fmt.Sprintf("%s%s gave %d users without a whole list of their licences%s", unavailable, g.name, unknown, nextSync))})
	}
	return out, details, err
}

func (g *graph) listUsers(ctx context.Context, top int, details []string, odd *int) ([]tenant.User, error) {
	var out []tenant.User
	asked := ask(ctx, users.NewUsersRequestBuilderInternal(g.v1(), g.adapter), top, slices.Concat(userFields, details)...)
	_, err := list(ctx, g, asked, rows(&out, func(u *wire.User) (string, tenant.User) {
		user := u.Record()
		return user.ID, user
	}).counting(odd))
	return never(g, "users", out, err)
}

var deviceFields = []string{"id", "deviceId", "displayName", "trustType", "accountEnabled", "registrationDateTime"}

// entraDevices reads GET /devices.
func (g *graph) entraDevices(ctx context.Context) ([]tenant.EntraDevice, []lost, error) {
	reading := func(details ...string) func(context.Context) ([]tenant.EntraDevice, error) {
		return func(ctx context.Context) ([]tenant.EntraDevice, error) { return g.listEntraDevices(ctx, details) }
	}
	return firstOf(ctx,
		form[[]tenant.EntraDevice]{[]tenant.Detail{tenant.DetailAutopilot}, reading("physicalIds")},
		form[[]tenant.EntraDevice]{nil, reading()})
}

func (g *graph) listEntraDevices(ctx context.Context, details []string) ([]tenant.EntraDevice, error) {
	var out []tenant.EntraDevice
	asked := ask(ctx, devices.NewDevicesRequestBuilderInternal(g.v1(), g.adapter), pageSize, slices.Concat(deviceFields, details)...)
	_, err := list(ctx, g, asked, rows(&out, func(d *wire.Device) (string, tenant.EntraDevice) {
		device := d.EntraDevice
		device.ID, device.DeviceID, device.Registered = guid.Fold(d.ID), guid.Fold(d.DeviceID), d.Registered.Time
		for _, tag := range d.PhysicalTags {
			device.Autopilot = device.Autopilot || strings.HasPrefix(tag, "[ZTDID]")
		}
		return device.ID, device
	}))
	return out, err
}

// intoMemberships gathers groups or roles with their members.
func intoMemberships(all *wire.Memberships) gather[wire.DeltaObject] {
	return gather[wire.DeltaObject]{begin: func() { *all = *wire.NewMemberships() }, page: all.Add}
}

var errNoDeltaLink = errors.New("a delta list ended without its delta link")

// readMemberships reads objects with their members from a delta list. Where that
// fails, it reads a plain list, and in batches the members of each object.
func (g *graph) readMemberships(ctx context.Context,
	delta func(context.Context, gather[wire.DeltaObject]) (deltaLink string, err error),
	plain request,
	members func(id string) request,
) (*wire.Memberships, error) {
	all, _, err := firstOf(ctx,
		form[*wire.Memberships]{nil, func(ctx context.Context) (*wire.Memberships, error) {
			all := wire.NewMemberships()
			_, err := g.led(delta(ctx, intoMemberships(all)))
			return all, err
		}},
		form[*wire.Memberships]{nil, func(ctx context.Context) (*wire.Memberships, error) {
			return g.plainMemberships(ctx, plain, members)
		}})
	return all, err
}

func (g *graph) plainMemberships(ctx context.Context, plain request, members func(id string) request) (*wire.Memberships, error) {
	all := wire.NewMemberships()
	if _, err := list(ctx, g, plain, intoMemberships(all)); err != nil {
		return nil, err
	}
	requests := make([]request, len(all.IDs()))
	for i, id := range all.IDs() {
		requests[i] = members(id)
	}
	for i, a := range g.batch(ctx, requests) {
		of := all.Of(all.IDs()[i])
		_, err := listOf(ctx, g, a, gather[wire.Member]{begin: of.Forget, page: of.Change})
		switch {
		case hasStatus(err, http.StatusNotFound): // gone since the list was read
			of.Removed.OK = true
		case errors.Is(err, wire.ErrNoIDs): // its members alone are odd
		case err != nil:
			return nil, err
		}
	}
	return all, nil
}
