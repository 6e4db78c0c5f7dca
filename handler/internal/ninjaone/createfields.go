package ninjaone

import (
	"context"
	"net/http"
)

// Scopes of a custom field's definition. Source: schema DefinitionScope.
const (
	ScopeNode         = "NODE"         // devices
	ScopeOrganization = "ORGANIZATION" // organizations
)

// NewCustomField is a custom field to define, whose values this application writes and
// technicians read. Source: schema CreateNodeAttributePublicApiRequest.
type NewCustomField struct {
	Name        string // the key in reads and writes of values, unique whatever its case
	Label       string // what technicians see
	Description string
	Type        string // TypeWYSIWYG, TypeText or TypeLines
	Scope       string // ScopeNode or ScopeOrganization
	Automations bool   // scripts and automations may read it
}

// CreateCustomField defines a custom field that the API reads and writes, technicians
// read, and scripts do not write. It calls POST /v2/custom-fields, which older and some
// government instances lack: then the error is ErrNotFound. NinjaOne refuses a name that
// is taken (400). The client repeats the call only where NinjaOne certainly did nothing.
// After an error of another kind, read the definitions to see whether the field is there.
func (c *Client) CreateCustomField(ctx context.Context, f NewCustomField) (CustomField, error) {
	body := struct {
		Label                string        `json:"label"`
		FieldName            string        `json:"fieldName"`
		Description          string        `json:"description,omitempty"`
		Type                 string        `json:"type"`
		TechnicianPermission string        `json:"technicianPermission"`
		ScriptPermission     string        `json:"scriptPermission"`
		APIPermission        string        `json:"apiPermission"`
		DefinitionScope      []string      `json:"definitionScope"`
		Content              *fieldContent `json:"content,omitempty"`
	}{f.Label, f.Name, f.Description, f.Type, PermissionReadOnly, PermissionNone, PermissionReadWrite, []string{f.Scope}, nil}
	if f.Automations {
		body.ScriptPermission = PermissionReadOnly
	}
	if f.Type == TypeWYSIWYG {
		body.Content = &fieldContent{Advanced: advancedSettings{Expand: true}}
	}
	r := newRequest(http.MethodPost, "/v2/custom-fields", nil, nil, body)
	return fetch(ctx, c, r, decodeValue[CustomField])
}
