package ninjaone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"cipp-ninjaone/handler/internal/reply"
)

// ErrNoDocumentation: NinjaOne refuses to show its document templates. Documentation is a
// part of NinjaOne that is licensed and enabled separately. Nobody has written down what
// an instance without it answers. So this stands for 402, 403 and 404 alike, and the
// APIError beneath it says which.
var ErrNoDocumentation = errors.New("NinjaOne Documentation cannot be used: it is not enabled for this instance, or the API application may not use it")

// Permissions of a template's field. Source: schemas
// AttributeTechnicianPermission, AttributeScriptPermission and
// AttributeApiPermission.
const (
	PermissionNone      = "NONE"
	PermissionReadOnly  = "READ_ONLY"
	PermissionReadWrite = "READ_WRITE"
)

// Template is a document template ("Apps & Services"). It keeps what NinjaOne said beyond
// these members, so that UpdateTemplate sends that back unchanged. Source: schema
// DocumentTemplatePublicApiDTO.
type Template struct {
	ID            int    // 0 for one that is to be created
	Name          string // documented as unique; duplicates occur nevertheless
	Description   string
	AllowMultiple bool // several documents per organization; cannot be changed later
	Archived      bool
	// Fields are the fields and the UI elements (titles, separators), in the
	// order in which NinjaOne shows them.
	Fields []TemplateField

	raw map[string]json.RawMessage // as read; nil for one that is to be created
}

// TemplateField is a field of a template, or a UI element of it, which has no
// Name. Source: schema DocumentItemPublicApiDTO.
type TemplateField struct {
	ID    int    // 0 for one that is to be added
	Name  string // the key in Fields and Document.Fields; cannot be changed
	Label string
	Type  string // TypeWYSIWYG, TypeText, …

	TechnicianPermission string // NONE, READ_ONLY or EDITABLE
	ScriptPermission     string // NONE, READ_ONLY, WRITE_ONLY or READ_WRITE
	APIPermission        string // NONE, READ_ONLY, WRITE_ONLY or READ_WRITE

	// Expanded keeps NinjaOne from collapsing a long WYSIWYG value.
	Expanded bool

	raw map[string]json.RawMessage // as read; nil for one that is to be added
}

// Field returns the field of that name, if the template has it.
func (t Template) Field(name string) (TemplateField, bool) {
	i := slices.IndexFunc(t.Fields, func(f TemplateField) bool { return f.Name == name })
	if i < 0 {
		return TemplateField{}, false
	}
	return t.Fields[i], true
}

// WithFields returns the template with the wanted fields whose names it lacks, added at
// its end. It returns their names, too. Fields that the template has stay as they are,
// whatever their type and permissions.
func (t Template) WithFields(want []TemplateField) (merged Template, added []string) {
	merged = t
	merged.Fields = slices.Clone(t.Fields)
	for _, f := range want {
		if _, has := merged.Field(f.Name); !has {
			merged.Fields = append(merged.Fields, f)
			added = append(added, f.Name)
		}
	}
	return merged, added
}

// Templates returns the document templates, archived ones included as far as NinjaOne
// lists them, in order of id. It calls GET /v2/document-templates, which has no pages,
// without its filter by name. Nobody has written down how that compares, and the caller
// would create a hidden template twice. The error is ErrNoDocumentation when NinjaOne
// refuses.
func (c *Client) Templates(ctx context.Context) ([]Template, error) {
	// Without includeTechnicianRoles the answer lacks the roles, and a later update would
	// take the template from them.
	r := newRequest(http.MethodGet, "/v2/document-templates", nil, []param{{"includeTechnicianRoles", "true"}}, nil)
	r.timeout = pageTimeout
	templates, err := fetch(ctx, c, r, decodeSelected(func(t Template) (Template, bool, error) {
		return t, true, t.check()
	}))
	if answer, ok := errors.AsType[*APIError](err); ok && !answer.Is(ErrInvalidScope) &&
		(answer.Status == http.StatusPaymentRequired || answer.Is(ErrForbidden) || answer.Is(ErrNotFound)) {
		return nil, fmt.Errorf("%w: %w", ErrNoDocumentation, err)
	}
	slices.SortFunc(templates, func(a, b Template) int { return a.ID - b.ID })
	return templates, err
}

// Template returns one document template. It calls
// GET /v2/document-templates/{id}. The error is ErrNotFound when there is none.
func (c *Client) Template(ctx context.Context, id int) (Template, error) {
	r := newRequest(http.MethodGet, "/v2/document-templates/{id}", []any{id}, []param{{"includeTechnicianRoles", "true"}}, nil)
	return one(ctx, c, r, id, func(t Template) int { return t.ID })
}

// CreateTemplate creates a template and returns it with its id and those of
// its fields. It calls POST /v2/document-templates, once: when the error is
// ErrOutcomeUnknown, only reading tells whether the template exists now.
// ErrBatchRefused means that NinjaOne did not take it.
func (c *Client) CreateTemplate(ctx context.Context, t Template) (Template, error) {
	body, err := t.body()
	if err != nil {
		return Template{}, err
	}
	if body["allowMultiple"], err = encodeJSON(t.AllowMultiple); err != nil {
		return Template{}, err
	}
	r := newRequest(http.MethodPost, "/v2/document-templates", nil, nil, body)
	created, err := fetch(ctx, c, r, func(dec *json.Decoder) (t Template, err error) {
		if t, err = decodeValue[Template](dec); err == nil {
			err = t.check()
		}
		return t, err
	})
	return created, classifyWrite(r, err)
}

// UpdateTemplate replaces a template that was read with Templates, and returns it as
// NinjaOne has it afterwards. It calls PUT /v2/document-templates/{id} with everything
// that was read, ids included. Nobody knows whether NinjaOne removes what is left out. It
// changes nothing of an existing field.
func (c *Client) UpdateTemplate(ctx context.Context, t Template) (Template, error) {
	body, err := t.body()
	if err != nil {
		return Template{}, err
	}
	r := newRequest(http.MethodPut, "/v2/document-templates/{id}", []any{t.ID}, nil, body)
	updated, err := one(ctx, c, r, t.ID, func(t Template) int { return t.ID })
	return updated, classifyWrite(r, err)
}

func (t Template) check() error {
	if t.ID <= 0 {
		return errors.New("the answer has a template without an id")
	}
	return nil
}

// UnmarshalJSON decodes a template and keeps its members for an update.
func (t *Template) UnmarshalJSON(data []byte) error {
	var w struct {
		ID            int                       `json:"id"`
		Name          string                    `json:"name"`
		Description   string                    `json:"description"`
		AllowMultiple bool                      `json:"allowMultiple"`
		Archived      bool                      `json:"archived"`
		Fields        reply.List[TemplateField] `json:"fields"`
	}
	if err := reply.Unmarshal(data, &w); err != nil {
		return err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*t = Template{
		ID: w.ID, Name: w.Name, Description: w.Description,
		AllowMultiple: w.AllowMultiple, Archived: w.Archived, Fields: w.Fields, raw: raw,
	}
	return nil
}

// fieldContent says how NinjaOne treats the values of a field.
type fieldContent struct {
	Required bool             `json:"required"`
	Advanced advancedSettings `json:"advancedSettings,omitzero"`
}

type advancedSettings struct {
	Expand bool `json:"expandLargeValueOnRender"`
}

// UnmarshalJSON decodes a field or UI element and keeps its members for an
// update.
func (f *TemplateField) UnmarshalJSON(data []byte) error {
	var w struct {
		ID         int          `json:"fieldId"`
		Name       string       `json:"fieldName"`
		Label      string       `json:"fieldLabel"`
		Type       string       `json:"fieldType"`
		Technician string       `json:"fieldTechnicianPermission"`
		Script     string       `json:"fieldScriptPermission"`
		API        string       `json:"fieldApiPermission"`
		Content    fieldContent `json:"fieldContent"`
	}
	if err := reply.Unmarshal(data, &w); err != nil {
		return err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*f = TemplateField{
		ID: w.ID, Name: w.Name, Label: w.Label, Type: w.Type,
		TechnicianPermission: w.Technician, ScriptPermission: w.Script, APIPermission: w.API,
		Expanded: w.Content.Advanced.Expand, raw: raw,
	}
	return nil
}

// body returns what both writes of a template have in common. Source: schemas
// NewDocumentTemplatePublicApiRequest and UpdateDocumentTemplatePublicApiRequest.
func (t Template) body() (map[string]json.RawMessage, error) {
	body := map[string]json.RawMessage{}
	for _, name := range []string{"description", "mandatory", "availableToAllTechnicians", "allowedTechnicianRoles"} {
		if v, has := t.raw[name]; has && string(v) != "null" {
			body[name] = v
		}
	}
	if t.raw == nil {
		body["mandatory"] = json.RawMessage("false")
		body["availableToAllTechnicians"] = json.RawMessage("true")
	}
	fields := make([]json.RawMessage, len(t.Fields))
	for i, f := range t.Fields {
		var err error
		if fields[i], err = f.body(); err != nil {
			return nil, err
		}
	}
	members := map[string]any{"name": t.Name, "fields": fields}
	if t.Description != "" {
		members["description"] = t.Description
	}
	for name, v := range members {
		encoded, err := encodeJSON(v)
		if err != nil {
			return nil, err
		}
		body[name] = encoded
	}
	return body, nil
}

// body returns a field as read, without what only NinjaOne sets, or as the
// caller wants it. Source: schema UpdateDocumentItemPublicApiRequest.
func (f TemplateField) body() (json.RawMessage, error) {
	if f.raw != nil {
		kept := map[string]json.RawMessage{}
		for name, v := range f.raw {
			if name != "createdTime" && name != "updatedTime" && string(v) != "null" {
				kept[name] = v
			}
		}
		return encodeJSON(kept)
	}
	return encodeJSON(struct {
		Label      string       `json:"fieldLabel"`
		Name       string       `json:"fieldName"`
		Type       string       `json:"fieldType"`
		Technician string       `json:"fieldTechnicianPermission,omitempty"`
		Script     string       `json:"fieldScriptPermission,omitempty"`
		API        string       `json:"fieldApiPermission,omitempty"`
		Content    fieldContent `json:"fieldContent"`
	}{f.Label, f.Name, f.Type, f.TechnicianPermission, f.ScriptPermission, f.APIPermission, fieldContent{Advanced: advancedSettings{f.Expanded}}})
}
