package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// pageSize is what working integrations ask for; NinjaOne documents no maximum.
const pageSize = 1000

// errOtherThing guards against an answer that is not about what was asked.
var errOtherThing = errors.New("the answer describes something else than was asked for")

// Organizations returns all organizations. It calls GET /v2/organizations.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	return collect(listAfter(ctx, c, "/v2/organizations", nil, pageSize, func(o Organization) int { return o.ID }))
}

// Organization returns one organization, or ErrNotFound. It calls
// GET /v2/organization/{id}.
func (c *Client) Organization(ctx context.Context, id int) (Organization, error) {
	return one(ctx, c, newRequest(http.MethodGet, "/v2/organization/{id}", []any{id}, nil, nil), id, func(o Organization) int { return o.ID })
}

// one makes a call whose answer is the thing with an id, and makes sure that it is.
func one[T any, ID comparable](ctx context.Context, c *Client, r *request, id ID, idOf func(T) ID) (v T, err error) {
	if v, err = fetch(ctx, c, r, decodeValue[T]); err == nil && idOf(v) != id {
		var none T
		return none, r.wrap(errOtherThing)
	}
	return v, err
}

// Test proves that the API application can read what a sync reads first:
// organizations and custom fields. A token alone proves neither. Whether it
// may write shows only when it writes.
func (c *Client) Test(ctx context.Context) error {
	r := newRequest(http.MethodGet, "/v2/organizations", nil, []param{{"pageSize", strconv.Itoa(1)}}, nil)
	if _, err := fetch(ctx, c, r, decodeList[Organization]); err != nil {
		return fmt.Errorf("reading organizations: %w", err)
	}
	if _, err := c.CustomFields(ctx); err != nil {
		return fmt.Errorf("reading custom fields: %w", err)
	}
	return nil
}
