package ninjasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
)

// maxRichFields is how many WYSIWYG fields a template can have.
const maxRichFields = 20

// Template is a document template.
type Template struct {
	ID                int
	Name, Description string
	AllowMultiple     bool // several documents in an organization
	Mandatory         bool
	Archived          bool
	// AllTechnicians lets every technician use the template, Roles those who have one of them.
	AllTechnicians bool
	Roles          []int
	// Items are the fields and the UI elements in the order shown.
	Items []TemplateItem
}

// TemplateItem is a field of a template, or a UI element when ElementType is set.
type TemplateItem struct {
	ID                                                    int
	Name, Label, Description, Type, Default               string
	TechnicianPermission, ScriptPermission, APIPermission string
	// Content is the field's content as it came or is answered: required, values, advancedSettings and texts.
	Content map[string]any

	// ElementType is TITLE, DESCRIPTION or SEPARATOR.
	ElementType, ElementUID, ElementName, ElementValue string
}

func (t Template) field(name string) (TemplateItem, bool) {
	i := slices.IndexFunc(t.Items, func(item TemplateItem) bool { return item.ElementType == "" && item.Name == name })
	if i < 0 {
		return TemplateItem{}, false
	}
	return t.Items[i], true
}

// custom is a field in the shape that knows how to check values.
func (item TemplateItem) custom() CustomField {
	return CustomField{Name: item.Name, Type: item.Type, APIPermission: item.APIPermission}
}

// required reports whether a document cannot be made without a value of the field.
func (item TemplateItem) required() bool { return item.Content["required"] == true }

// wireItem is an element of fields as it comes.
type wireItem struct {
	FieldID                                                               int
	FieldName, FieldLabel, FieldDescription, FieldType, FieldDefaultValue string
	FieldTechnicianPermission, FieldScriptPermission, FieldAPIPermission  string
	FieldContent                                                          map[string]any
	UIElementUID, UIElementName, UIElementType, UIElementValue            string
}

func (w wireItem) item() TemplateItem {
	return TemplateItem{
		ID: w.FieldID, Name: w.FieldName, Label: w.FieldLabel, Description: w.FieldDescription, Type: w.FieldType, Default: w.FieldDefaultValue,
		TechnicianPermission: w.FieldTechnicianPermission, ScriptPermission: w.FieldScriptPermission, APIPermission: w.FieldAPIPermission,
		Content: w.FieldContent, ElementType: w.UIElementType, ElementUID: w.UIElementUID, ElementName: w.UIElementName, ElementValue: w.UIElementValue,
	}
}

type wireTemplate struct {
	Name, Description                                   string
	AllowMultiple, Mandatory, AvailableToAllTechnicians bool
	AllowedTechnicianRoles                              []int
	Fields                                              []wireItem
}

func (s *Server) listTemplates(c *call) reply {
	body := []map[string]any{}
	for _, t := range inOrder(s.documentation.templates, func(Template) bool { return true }) {
		body = append(body, s.describeTemplate(t, c.query.Get("includeTechnicianRoles") == "true"))
	}
	return answer(body)
}

func (s *Server) showTemplate(c *call) reply {
	t, ok := s.documentation.templates[c.id]
	if !ok {
		return s.notFound(c, "template")
	}
	return answer(s.describeTemplate(t, c.query.Get("includeTechnicianRoles") == "true"))
}

// describeTemplate is a template as the API answers it: without roles unless they are asked for.
func (s *Server) describeTemplate(t Template, roles bool) map[string]any {
	created := s.epoch(s.documentation.createdFor)
	items := make([]map[string]any, len(t.Items))
	for i, item := range t.Items {
		if item.ElementType != "" {
			items[i] = map[string]any{"uiElementUid": item.ElementUID, "uiElementType": item.ElementType}
			putTexts(items[i], "uiElementName", item.ElementName, "uiElementValue", item.ElementValue)
			continue
		}
		items[i] = map[string]any{
			"fieldId": item.ID, "fieldName": item.Name, "fieldLabel": item.Label, "fieldType": item.Type,
			"fieldTechnicianPermission": item.TechnicianPermission, "fieldScriptPermission": item.ScriptPermission,
			"fieldApiPermission": item.APIPermission, "createdTime": created, "updatedTime": created,
		}
		putTexts(items[i], "fieldDescription", item.Description, "fieldDefaultValue", item.Default)
		if item.Content != nil {
			items[i]["fieldContent"] = item.Content
		}
	}
	body := map[string]any{
		"id": t.ID, "name": t.Name, "allowMultiple": t.AllowMultiple, "mandatory": t.Mandatory, "createTime": created, "updateTime": created,
		"fields": items, "availableToAllTechnicians": t.AllTechnicians, "archived": t.Archived,
	}
	putTexts(body, "description", t.Description)
	if t.Archived {
		body["archivedTime"] = created
	}
	if roles {
		body["allowedTechnicianRoles"] = append([]int{}, t.Roles...)
	}
	return body
}

// createTemplate adds a template, also one whose name is taken: duplicates occur in NinjaOne, whatever its document says.
func (s *Server) createTemplate(c *call) reply {
	t, items, refused := s.readTemplate(c)
	if refused != nil {
		return *refused
	}
	for _, w := range items {
		t.Items = append(t.Items, w.item())
	}
	if refused := s.checkTemplate(c, t); refused != nil {
		return *refused
	}
	id := s.addTemplate(t)
	s.changed("template created", id)
	return answer(s.describeTemplate(s.documentation.templates[id], true))
}

// replaceTemplate does what the body says in full: what it leaves out is gone, fields with their values included. Nobody
// has written down whether NinjaOne does so.
func (s *Server) replaceTemplate(c *call) reply {
	t, items, refused := s.readTemplate(c)
	if refused != nil {
		return *refused
	}
	before, ok := s.documentation.templates[c.id]
	if !ok {
		return s.notFound(c, "template")
	}
	t.ID, t.AllowMultiple, t.Archived = before.ID, before.AllowMultiple, before.Archived
	for i, w := range items {
		item := w.item()
		if item.ElementType != "" && item.ElementUID == "" {
			item.ElementUID = uuid.NewString()
		}
		if item.ElementType == "" && item.ID == 0 && (item.Name == "" || item.Label == "") {
			return *s.invalid(c, i, "invalid_template_field", "a new field needs a name and a label")
		}
		if item.ID != 0 {
			was := slices.IndexFunc(before.Items, func(was TemplateItem) bool { return was.ElementType == "" && was.ID == item.ID })
			if was < 0 {
				return *s.invalid(c, i, "invalid_template_field", fmt.Sprintf("the template has no field %d", item.ID))
			}
			if old := before.Items[was]; old.Name != item.Name || old.Type != item.Type {
				return *s.invalid(c, i, "invalid_template_field", "name and type of a field cannot be changed")
			}
		}
		t.Items = append(t.Items, item)
	}
	if refused := s.checkTemplate(c, t); refused != nil {
		return *refused
	}
	s.addTemplate(t)
	s.dropValues(s.documentation.templates[t.ID])
	s.changed("template updated", t.ID)
	return answer(s.describeTemplate(s.documentation.templates[t.ID], true))
}

func (s *Server) readTemplate(c *call) (Template, []wireItem, *reply) {
	var w wireTemplate
	if err := json.Unmarshal(c.body, &w); err != nil {
		return Template{}, nil, new(s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "body cannot be read"})))
	}
	return Template{
		Name: w.Name, Description: w.Description, AllowMultiple: w.AllowMultiple, Mandatory: w.Mandatory,
		AllTechnicians: w.AvailableToAllTechnicians, Roles: w.AllowedTechnicianRoles,
	}, w.Fields, nil
}

func (s *Server) checkTemplate(c *call, t Template) *reply {
	names, rich := map[string]bool{}, 0
	for i, item := range t.Items {
		if item.ElementType != "" {
			continue
		}
		if names[item.Name] {
			return s.invalid(c, i, "invalid_template_field", "field "+item.Name+" is given twice")
		}
		names[item.Name] = true
		if item.Type == "WYSIWYG" {
			rich++
		}
	}
	if rich > maxRichFields {
		return s.invalid(c, 0, "invalid_template", fmt.Sprintf("%d WYSIWYG fields, of %d allowed", rich, maxRichFields))
	}
	return nil
}
