package ninjaone

import (
	"context"
	"fmt"
	"iter"
	"net/http"
)

// Devices returns the approved devices of an organization. NinjaOne leaves
// pending ones out unless they are asked for. It calls GET /v2/devices-detailed
// with the device filter "org = {organizationID}".
func (c *Client) Devices(ctx context.Context, organizationID int) ([]Device, error) {
	return collect(c.devices(ctx, organizationFilter(organizationID)))
}

// AllDevices yields the approved devices of all organizations, page by page.
// An error ends it. It calls GET /v2/devices-detailed.
func (c *Client) AllDevices(ctx context.Context) iter.Seq2[Device, error] {
	return c.devices(ctx, nil)
}

func (c *Client) devices(ctx context.Context, filter []param) iter.Seq2[Device, error] {
	return listAfter(ctx, c, "/v2/devices-detailed", filter, pageSize, func(d Device) int { return d.ID })
}

// Device returns one device, or ErrNotFound. It calls GET /v2/device/{id}.
func (c *Client) Device(ctx context.Context, id int) (Device, error) {
	var d Device
	r, err := newRequest(http.MethodGet, "/v2/device/{id}", []any{id}, nil, nil)
	if err != nil {
		return Device{}, err
	}
	if err := c.do(ctx, r, decodeValue(&d)); err != nil {
		return Device{}, err
	}
	if d.ID != id {
		return Device{}, r.wrap(errOtherThing)
	}
	return d, nil
}

// organizationFilter is the device filter for one organization.
func organizationFilter(organizationID int) []param {
	return []param{{"df", fmt.Sprintf("org = %d", organizationID)}}
}
