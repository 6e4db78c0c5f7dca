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
// When NinjaOne refuses the call, the client sends the fields one by one. The error is
// then a *RefusedError, and NinjaOne accepted every field that is not in it. The client
// itself refuses values over NinjaOne's limits. Any other error says nothing about which
// fields were written, but for ErrNotSent: none. It is ErrNotFound when there is no such
// organization, ErrForbidden when every field is forbidden. Fields that NinjaOne refused
// together before are sent alone: one by one at once.
func (c *Client) UpdateOrganizationFields(ctx context.Context, organizationID int, f Fields, alone bool) error {
	return c.updateFields(ctx, "/v2/organization/{id}/custom-fields", organizationID, f, alone)
}

// UpdateDeviceFields writes values of a device's custom fields. It calls
// PATCH /v2/device/{id}/custom-fields and behaves like
// UpdateOrganizationFields.
func (c *Client) UpdateDeviceFields(ctx context.Context, deviceID int, f Fields, alone bool) error {
	return c.updateFields(ctx, "/v2/device/{id}/custom-fields", deviceID, f, alone)
}

func (c *Client) updateFields(ctx context.Context, template string, id int, f Fields, alone bool) error {
	found := &RefusedError{Refused: map[string]error{}}
	send := Fields{}
	for name, value := range f {
		if err := value.check(); err != nil {
			found.Refused[name] = err
			continue
		}
		send[name] = value
	}
	switch {
	case len(send) == 0:
	case alone:
		if err := c.isolate(ctx, template, id, send, found); err != nil {
			return err
		}
	default:
		err := c.patchFields(ctx, template, id, send)
		switch {
		case err == nil:
		case !isRefusal(err):
			return err
		case len(send) == 1:
			if aboutTarget(err) {
				return err
			}
			for name := range send {
				found.Refused[name] = err
			}
		default:
			before := len(found.Refused)
			if failure := c.isolate(ctx, template, id, send, found); failure != nil {
				return failure
			}
			if len(found.Refused)-before == len(send) && found.allAboutTarget(send) {
				return err
			}
		}
	}
	if len(found.Refused)+len(found.Left) > 0 {
		return found
	}
	return nil
}

// isolate finds out which fields a refusal is about, by sending each alone. What
// it finds stays found when it cannot go on to the end. It returns an error when
// it found out nothing because the target is not there.
func (c *Client) isolate(ctx context.Context, template string, id int, f Fields, found *RefusedError) error {
	names, taken := slices.Sorted(maps.Keys(f)), false
	for i, name := range names {
		err := c.patchFields(ctx, template, id, Fields{name: f[name]})
		switch {
		case isRefusal(err):
			found.Refused[name] = err
		case errors.Is(err, ErrNotFound):
			return err
		case err != nil:
			found.Cause, found.Left = err, map[string]bool{}
			if taken {
				found.Cause = sentPartly(err)
			}
			for _, later := range names[i:] {
				found.Left[later] = later != name || errors.Is(err, ErrNotSent)
			}
			return nil
		default:
			taken = true
		}
	}
	return nil
}

// sentPartly takes back that nothing was sent: of several calls the last was not.
func sentPartly(err error) error {
	if unsent, ok := errors.AsType[notSent](err); ok {
		return unsent.error
	}
	return err
}

// aboutTarget reports whether a refusal may concern the target as a whole.
func aboutTarget(err error) bool {
	answer, ok := errors.AsType[*APIError](err)
	return ok && (answer.Is(ErrForbidden) || answer.permanent())
}

// allAboutTarget reports whether the refusals of fields may all concern the target.
func (e *RefusedError) allAboutTarget(f Fields) bool {
	for name := range f {
		if !aboutTarget(e.Refused[name]) {
			return false
		}
	}
	return true
}

func (c *Client) patchFields(ctx context.Context, template string, id int, f Fields) error {
	r := newRequest(http.MethodPatch, template, []any{id}, nil, f)
	return c.do(ctx, r, nil)
}

// isRefusal reports whether NinjaOne refused the content of a write, not its target, its
// sender or its time. A 500 with a result code is such a refusal too: NinjaOne answers so
// what it did not foresee.
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
	n, limit, as := 0, 0, ""
	switch v.kind {
	case kindHTML:
		n, limit, as = JSONLength(v.s), MaxHTML, " as JSON"
	case kindText:
		n, limit, as = JSONLength(v.s), MaxText, " as JSON"
	case kindLines:
		n, limit = UTF16Length(v.s), MaxLines
	}
	if n > limit {
		return fmt.Errorf("the value has %d characters%s, and NinjaOne takes %d at most; it was not sent", n, as, limit)
	}
	return nil
}
