package ninjaone

import (
	"context"
	"fmt"
	"iter"
	"net/http"
)

// Devices returns the approved devices of an organization. It calls GET
// /v2/devices-detailed with the device filter "org = {organizationID}".
//
// A server may ignore the filter, so Devices drops the devices of other organizations;
// foreign is how many.
func (c *Client) Devices(ctx context.Context, organizationID int) (own []Device, foreign int, err error) {
	for d, err := range c.devices(ctx, organizationFilter(organizationID)) {
		switch {
		case err != nil:
			return nil, 0, err
		case d.OrganizationID != organizationID:
			foreign++
		default:
			own = append(own, d)
		}
	}
	return own, foreign, nil
}

// AllDevices yields the approved devices of all organizations, page by page.
// An error ends it. It calls GET /v2/devices-detailed.
func (c *Client) AllDevices(ctx context.Context) iter.Seq2[Device, error] {
	return c.devices(ctx, nil)
}

// devices yields the approved devices that a filter wants. NinjaOne leaves the others out
// unless a call asks for them; where it does not, devices drops them.
func (c *Client) devices(ctx context.Context, filter []param) iter.Seq2[Device, error] {
	return func(yield func(Device, error) bool) {
		for d, err := range listAfter(ctx, c, "/v2/devices-detailed", filter, pageSize, func(d Device) int { return d.ID }) {
			if (err != nil || d.Approved()) && !yield(d, err) {
				return
			}
		}
	}
}

// Approved reports whether a device takes part, so that NinjaOne lists it by default. One
// whose status NinjaOne does not tell does.
func (d Device) Approved() bool { return d.ApprovalStatus == "" || d.ApprovalStatus == statusApproved }

// Device returns one device, or ErrNotFound. It calls GET /v2/device/{id}.
func (c *Client) Device(ctx context.Context, id int) (Device, error) {
	return one(ctx, c, newRequest(http.MethodGet, "/v2/device/{id}", []any{id}, nil, nil), id, func(d Device) int { return d.ID })
}

// organizationFilter is the device filter for one organization.
func organizationFilter(organizationID int) []param {
	return []param{{"df", fmt.Sprintf("org = %d", organizationID)}}
}
