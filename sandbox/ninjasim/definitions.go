package ninjasim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
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

// pageFieldDefinitions pages through all definitions. The cursor's name is the number of the next page's first element.
func (s *Server) pageFieldDefinitions(c *call) reply {
	size, start := 50, 0
	if text := c.query.Get("pageSize"); text != "" {
		size, _ = strconv.Atoi(text)
	}
	all := inOrder(s.definitions, func(CustomField) bool { return true })
	if name := c.query.Get("cursorName"); name != "" {
		var err error
		if start, err = strconv.Atoi(strings.TrimPrefix(name, "page-")); err != nil || start < 0 || start > len(all) {
			return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_cursor", map[string]any{"cursorName": name}))
		}
	}
	end := min(start+size, len(all))
	results := []map[string]any{}
	for _, field := range all[start:end] {
		results = append(results, s.definition(field))
	}
	body := map[string]any{"page": start / size, "pageSize": size, "count": len(results), "results": results}
	if end < len(all) {
		body["cursorName"] = "page-" + strconv.Itoa(end)
	}
	return answer(body)
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
