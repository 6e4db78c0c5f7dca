package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// UpdateOrganizationFields writes values of an organization's custom fields,
// all in one call. It calls PATCH /v2/organization/{id}/custom-fields, which
// touches only the fields named and may be repeated.
//
// When NinjaOne refuses the call, the fields are sent one by one; the error is
// then a *RefusedError, and every field not in it was accepted. Values that
// are over NinjaOne's limits are refused without asking it. Any other error
// says nothing about which fields were written, but for ErrNotSent: none. It is
// ErrNotFound when there is no such organization, ErrForbidden when every field
// is forbidden.
func (c *Client) UpdateOrganizationFields(ctx context.Context, organizationID int, f Fields) error {
	return c.updateFields(ctx, "/v2/organization/{id}/custom-fields", organizationID, f)
}

// UpdateDeviceFields writes values of a device's custom fields. It calls
// PATCH /v2/device/{id}/custom-fields and behaves like
// UpdateOrganizationFields.
func (c *Client) UpdateDeviceFields(ctx context.Context, deviceID int, f Fields) error {
	return c.updateFields(ctx, "/v2/device/{id}/custom-fields", deviceID, f)
}

func (c *Client) updateFields(ctx context.Context, template string, id int, f Fields) error {
	refused := map[string]error{}
	send := Fields{}
	for name, value := range f {
		if err := value.check(); err != nil {
			refused[name] = err
			continue
		}
		send[name] = value
	}
	if len(send) > 0 {
		if err := c.patchFields(ctx, template, id, send); err != nil {
			byField, err := c.isolate(ctx, template, id, send, err)
			if err != nil {
				return err
			}
			maps.Copy(refused, byField)
		}
	}
	if len(refused) > 0 {
		return &RefusedError{Refused: refused}
	}
	return nil
}

// isolate finds out which fields a refusal is about, by sending each alone. It
// returns an error when the failure is not about the fields.
func (c *Client) isolate(ctx context.Context, template string, id int, f Fields, failure error) (map[string]error, error) {
	if !isRefusal(failure) {
		return nil, failure
	}
	refused := map[string]error{}
	if len(f) == 1 {
		for name := range f {
			refused[name] = failure
		}
	} else {
		tried := 0
		for _, name := range slices.Sorted(maps.Keys(f)) {
			switch err := c.patchFields(ctx, template, id, Fields{name: f[name]}); {
			case isRefusal(err):
				refused[name] = err
			case err != nil && len(refused) < tried:
				return nil, sentPartly(err)
			case err != nil:
				return nil, err
			}
			tried++
		}
	}
	if len(refused) == len(f) {
		aboutTarget := true
		for _, err := range refused {
			var answer *APIError
			aboutTarget = aboutTarget && errors.As(err, &answer) && (answer.Is(ErrForbidden) || answer.permanent())
		}
		if aboutTarget {
			return nil, failure
		}
	}
	return refused, nil
}

// sentPartly takes back that nothing was sent: of several calls the last was not.
func sentPartly(err error) error {
	if unsent, ok := errors.AsType[notSent](err); ok {
		return unsent.error
	}
	return err
}

func (c *Client) patchFields(ctx context.Context, template string, id int, f Fields) error {
	r, err := newRequest(http.MethodPatch, template, []any{id}, nil, f)
	if err != nil {
		return err
	}
	return c.do(ctx, r, nil)
}

// isRefusal reports whether NinjaOne refused the content of a write, as
// opposed to its target, its sender or its time. A 500 with a result code is
// such a refusal too: that is how NinjaOne answers what it did not foresee.
func isRefusal(err error) bool {
	var answer *APIError
	if !errors.As(err, &answer) || answer.Path == tokenPath || answer.Is(ErrThrottled) ||
		answer.Is(ErrMalformedAuth) || answer.Is(ErrInvalidScope) {
		return false
	}
	switch answer.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return answer.permanent()
}

// check refuses what NinjaOne would cut or refuse.
func (v Value) check() error {
	limit := 0
	switch v.kind {
	case kindHTML:
		limit = MaxHTML
	case kindText:
		limit = MaxText
	default:
		return nil
	}
	if n := JSONLength(v.s); n > limit {
		return fmt.Errorf("the value has %d characters as JSON, and NinjaOne takes %d at most; it was not sent", n, limit)
	}
	return nil
}
