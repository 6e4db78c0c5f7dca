package ninjasim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// definition is a custom field as the API describes it.
func (s *Server) definition(f CustomField) map[string]any {
	created := s.epoch(time.Date(2025, 3, 4, 8, 0, 0, 250_000_000, time.UTC))
	return map[string]any{
		"name": f.Name, "label": f.Label, "type": f.Type, "entityType": "NODE", "definitionScope": f.DefinitionScope,
		"apiPermission": f.APIPermission, "technicianPermission": f.TechnicianPermission, "scriptPermission": f.ScriptPermission,
		"system": false, "active": true, "createTime": created, "updateTime": created,
	}
}

// listFieldDefinitions lists the definitions of the scopes asked for, and those of devices when none is.
func (s *Server) listFieldDefinitions(c *call) reply {
	body := []map[string]any{}
	for _, field := range inOrder(s.definitions, inScopes(c.query.Get("scopes"), "node")) {
		body = append(body, s.definition(field))
	}
	return answer(body)
}

// inScopes compiles a comma list of all, node, location and organization.
func inScopes(list, otherwise string) func(CustomField) bool {
	if list == "" {
		list = otherwise
	}
	scopes := strings.Split(list, ",")
	return func(f CustomField) bool {
		return slices.Contains(scopes, "all") ||
			slices.ContainsFunc(f.DefinitionScope, func(scope string) bool { return slices.Contains(scopes, strings.ToLower(scope)) })
	}
}

// createFieldDefinition adds a definition. Names are unique whatever their case.
func (s *Server) createFieldDefinition(c *call) reply {
	var request struct {
		Label, FieldName, Type, APIPermission, TechnicianPermission, ScriptPermission string
		DefinitionScope                                                               []string
	}
	if err := json.Unmarshal(c.body, &request); err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "body cannot be read"}))
	}
	for name := range s.definitions {
		if strings.EqualFold(name, request.FieldName) {
			return s.refusal(c, validationFailure(http.StatusBadRequest, "custom_field_exists", map[string]any{"fieldName": request.FieldName}))
		}
	}
	if request.Type == "" {
		request.Type = "TEXT"
	}
	s.addCustomField(CustomField{
		Name: request.FieldName, Label: request.Label, Type: request.Type, APIPermission: request.APIPermission,
		TechnicianPermission: request.TechnicianPermission, ScriptPermission: request.ScriptPermission, DefinitionScope: request.DefinitionScope,
	})
	return answer(s.definition(s.definitions[request.FieldName]))
}
