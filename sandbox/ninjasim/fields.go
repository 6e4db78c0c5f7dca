package ninjasim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of values, in characters.
const (
	maxText      = 200
	maxMultiline = 10_000
	maxRich      = 200_000 // of the JSON text between the quotes as it came over the wire, in UTF-16 units, escapes in full
)

// readable reports whether the API shows values of the field.
func (f CustomField) readable() bool {
	return f.APIPermission == "READ_ONLY" || f.APIPermission == "READ_WRITE"
}

// visible are the values of a target that the API shows.
func (s *Server) visible(target Target) map[string]any {
	body := map[string]any{}
	for name, value := range s.values[target] {
		if field := s.definitions[name]; field.readable() && field.has(target.Kind) {
			body[name] = s.answered(value)
		}
	}
	return body
}

func (s *Server) getOrganizationFields(c *call) reply {
	if _, ok := s.organizations[c.id]; !ok {
		return s.notFound(c, "organization")
	}
	return answer(s.visible(Target{OrganizationKind, c.id}))
}

func (s *Server) patchOrganizationFields(c *call) reply {
	if _, ok := s.organizations[c.id]; !ok {
		return s.notFound(c, "organization")
	}
	return s.patchFields(c, Target{OrganizationKind, c.id})
}

func (s *Server) patchDeviceFields(c *call) reply {
	if _, ok := s.devices[c.id]; !ok {
		return s.notFound(c, "device")
	}
	return s.patchFields(c, Target{DeviceKind, c.id})
}

// patchFields writes all fields of the body, or none: one that is unknown, not writable or invalid refuses the call.
func (s *Server) patchFields(c *call, target Target) reply {
	fields, err := members(c.body)
	if err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": err.Error()}))
	}
	now := s.config.Now()
	accepted := map[string]*storedValue{}
	write := Write{Target: target, Time: now, RequestID: c.requestID, Token: c.token}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		field, ok := s.definitions[name]
		refused := ""
		switch {
		case !ok:
			refused = "custom_field_not_found"
		case !field.has(target.Kind):
			refused = "custom_field_not_in_scope"
		case field.APIPermission != "READ_WRITE":
			refused = "custom_field_not_writable"
		}
		if refused != "" {
			return s.refusal(c, validationFailure(http.StatusBadRequest, refused, map[string]any{"field": name}))
		}
		sent, value, err := field.accept(fields[name])
		if err != nil {
			return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_value", map[string]any{"field": name, "reason": err.Error()}))
		}
		if value == nil || sent == "" {
			accepted[name] = nil
			write.Cleared = append(write.Cleared, name)
			continue
		}
		accepted[name] = newStoredValue(sent, value, field.Type == "WYSIWYG", "API", now)
		write.Fields = append(write.Fields, name)
	}
	for _, name := range slices.Sorted(maps.Keys(accepted)) {
		value, before := accepted[name], s.values[target][name]
		if value == nil && before == nil || value != nil && before != nil && value.sent == before.sent {
			write.Repeated = append(write.Repeated, name)
		}
		if value == nil {
			delete(s.values[target], name)
		} else {
			s.store(target, name, value)
		}
	}
	s.writes = append(s.writes, write)
	return reply{status: http.StatusNoContent}
}

// accept checks a value against the field's type. A nil value means that the field is cleared.
func (f CustomField) accept(raw json.RawMessage) (sent string, value any, err error) {
	if string(raw) == "null" {
		return "", nil, nil
	}
	switch f.Type {
	case "WYSIWYG":
		return acceptRich(raw)
	case "TEXT", "TEXT_MULTILINE":
	default:
		return "", nil, errors.New("this project writes no field of the type " + f.Type)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", nil, errors.New("a string is needed")
	}
	limit := maxText
	if f.Type == "TEXT_MULTILINE" {
		limit = maxMultiline
	}
	if length := utf8.RuneCountInString(text); length > limit {
		return "", nil, fmt.Errorf("%d characters, of %d allowed", length, limit)
	}
	return text, text, nil
}

// acceptRich checks a rich text value: an object whose only member is html.
func acceptRich(raw json.RawMessage) (string, any, error) {
	object, err := members(raw)
	if err != nil {
		return "", nil, fmt.Errorf("an object with the member html is needed: %w", err)
	}
	literal, ok := object["html"]
	if !ok || len(object) != 1 {
		return "", nil, errors.New("an object with the member html and no other is needed")
	}
	var markup string
	if err := json.Unmarshal(literal, &markup); err != nil || literal[0] != '"' {
		return "", nil, errors.New("html has to be a string")
	}
	if length := len(utf16.Encode([]rune(string(literal)))) - 2; length > maxRich {
		return "", nil, fmt.Errorf("%d characters, JSON escapes counted, of %d allowed", length, maxRich)
	}
	return markup, markup, nil
}

// members splits a JSON object into its members as they were sent. A name that is given twice is an error.
func members(body []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	object := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errors.New("not a JSON object")
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("member " + strconv.Quote(name) + " is given twice")
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("member %q cannot be read: %w", name, err)
		}
		object[name] = value
	}
	return object, nil
}
