package ninjaone

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/reply"
)

const reportPageSize = 1000 // the default of /v2/queries/custom-fields-detailed

// CustomFields returns the definitions of the custom fields that devices and
// organizations can have. It calls GET /v2/device-custom-fields, which lists every scope
// despite its name. The OpenAPI document knows one value of its parameter scopes, the
// list of all of them. CustomFields sends that, and drops the fields of other scopes
// itself.
func (c *Client) CustomFields(ctx context.Context) ([]CustomField, error) {
	r := newRequest(http.MethodGet, "/v2/device-custom-fields", nil, []param{{"scopes", "all,node,location,organization"}}, nil)
	r.timeout = pageTimeout
	fields, err := fetch(ctx, c, r, decodeList[CustomField])
	return slices.DeleteFunc(fields, func(f CustomField) bool {
		return f.Name == "" || len(f.DefinitionScope) > 0 &&
			!slices.Contains(f.DefinitionScope, ScopeNode) && !slices.Contains(f.DefinitionScope, ScopeOrganization)
	}), err
}

// DeviceFieldValues are the values that a device's custom fields have in
// NinjaOne. Source: schema NodeAttributesDetailed.
type DeviceFieldValues struct {
	DeviceID int
	Fields   []FieldValue
}

// FieldValue is the value of a custom field as read. Source: schema
// NodeAttributeInfo.
type FieldValue struct {
	Name    string
	Text    string    // the value; of a WYSIWYG field, the text that NinjaOne derives from its HTML
	HTML    string    // WYSIWYG fields only; not necessarily as it was sent
	Updated time.Time // UTC; zero when unknown
}

// DeviceFieldValues yields the values of the named custom fields of an organization's
// devices. It yields one element per device, page by page. No names mean all fields; a
// zero time means whenever they were updated. An error ends it. It calls GET
// /v2/queries/custom-fields-detailed. It never asks for secure values.
//
// The page after a short one has been empty so far, but only asking proves it.
// DeviceFieldValues does not ask where enough says that it needs no more; with nil it
// always asks.
//
// The client sends updatedAfter in seconds. A server that reads milliseconds takes it for
// a day in 1970, and answers too much, never too little. The client drops what is older.
func (c *Client) DeviceFieldValues(ctx context.Context, organizationID int, names []string, updatedAfter time.Time, enough func() bool) iter.Seq2[DeviceFieldValues, error] {
	query := append(organizationFilter(organizationID), param{"pageSize", strconv.Itoa(reportPageSize)})
	if len(names) > 0 {
		query = append(query, param{"fields", strings.Join(names, ",")})
	}
	if !updatedAfter.IsZero() {
		query = append(query, param{"updatedAfter", strconv.FormatInt(updatedAfter.Unix(), 10)})
	}
	old := func(f FieldValue) bool {
		return !f.Updated.IsZero() && f.Updated.Before(updatedAfter.Truncate(time.Second))
	}
	list := listCursor(ctx, c, "/v2/queries/custom-fields-detailed", query, func(v DeviceFieldValues) int { return v.DeviceID },
		func(results int) bool { return enough != nil && results < reportPageSize && enough() })
	return func(yield func(DeviceFieldValues, error) bool) {
		for v, err := range list {
			v.Fields = slices.DeleteFunc(v.Fields, old)
			if !yield(v, err) {
				return
			}
		}
	}
}

// OrganizationFields returns the values of an organization's custom fields. It
// calls GET /v2/organization/{id}/custom-fields.
func (c *Client) OrganizationFields(ctx context.Context, organizationID int) ([]FieldValue, error) {
	r := newRequest(http.MethodGet, "/v2/organization/{id}/custom-fields", []any{organizationID}, nil, nil)
	values, err := fetch(ctx, c, r, decodeValue[map[string]json.RawMessage])
	if err != nil {
		return nil, err
	}
	fields := make([]FieldValue, 0, len(values))
	for name, value := range values {
		f := FieldValue{Name: name}
		f.decode(value)
		fields = append(fields, f)
	}
	return fields, nil
}

type wireFieldValue struct {
	Name       string          `json:"name"`
	Value      json.RawMessage `json:"value"`
	UpdateTime float64         `json:"updateTime"`
}

// UnmarshalJSON decodes one result of the report. The device's id is deviceId
// in practice, and entityId by the OpenAPI document.
func (v *DeviceFieldValues) UnmarshalJSON(data []byte) error {
	var w struct {
		DeviceID int                        `json:"deviceId"`
		EntityID int                        `json:"entityId"`
		Fields   reply.List[wireFieldValue] `json:"fields"`
	}
	if err := reply.Unmarshal(data, &w); err != nil {
		return err
	}
	*v = DeviceFieldValues{DeviceID: w.DeviceID}
	if v.DeviceID == 0 {
		v.DeviceID = w.EntityID
	}
	for _, f := range w.Fields {
		value := FieldValue{Name: f.Name, Updated: epoch(f.UpdateTime)}
		value.decode(f.Value)
		v.Fields = append(v.Fields, value)
	}
	return nil
}

// decode reads a value: a text, {text, html} of a WYSIWYG field, or other JSON.
func (f *FieldValue) decode(value json.RawMessage) {
	var rich struct {
		Text string `json:"text"`
		HTML string `json:"html"`
	}
	switch {
	case json.Unmarshal(value, &f.Text) == nil:
	case bytes.HasPrefix(value, []byte("{")) && reply.Unmarshal(value, &rich) == nil:
		f.Text, f.HTML = rich.Text, rich.HTML
	default:
		f.Text = string(value)
	}
}
