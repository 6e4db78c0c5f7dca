package m365sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// query holds the OData options of a call, checked.
type query struct {
	selected []Property // nil = the default properties
	top      int        // 0 = not given
	filter   *filter
	raw      url.Values
}

// rules say which options a path takes.
type rules struct {
	typ     string // entity type, for $select; "" = the path checks $select itself
	options string // the options allowed, without "$", for example "select top"
	maxTop  int    // largest $top
	filter  string // the property that $filter may compare
}

// parseQuery checks the options of a call against the rules of its path.
func parseQuery(r *http.Request, ru rules, beta bool) (*query, *apiError) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string is malformed.")
	}
	q := &query{raw: values}
	allowed := strings.Fields(ru.options)
	for name, v := range values {
		option, ok := strings.CutPrefix(name, "$")
		if !ok || !slices.Contains(allowed, option) {
			return nil, badRequest("The query parameter '%s' is not supported.", name)
		}
		if len(v) != 1 || v[0] == "" {
			return nil, badRequest("The query parameter '%s' is empty or repeated.", name)
		}
	}
	schema := entityTypes[ru.typ]
	if v := values.Get("$select"); v != "" && schema != nil {
		for _, name := range strings.Split(v, ",") {
			p, refusal := selectable(schema, strings.TrimSpace(name), beta)
			if refusal != nil {
				return nil, refusal
			}
			if !slices.ContainsFunc(q.selected, func(x Property) bool { return x.Name == p.Name }) {
				q.selected = append(q.selected, p)
			}
		}
	}
	if v := values.Get("$top"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > ru.maxTop {
			return nil, badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", v, ru.maxTop)
		}
		q.top = n
	}
	if v := values.Get("$filter"); v != "" {
		var refusal *apiError
		if q.filter, refusal = parseFilter(v, ru.filter); refusal != nil {
			return nil, refusal
		}
	}
	return q, nil
}

func unsupportedQuery(message string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "Request_UnsupportedQuery", message: message, violation: message}
}

func selectable(schema *EntityType, name string, beta bool) (Property, *apiError) {
	p, ok := schema.property(name)
	if !ok || p.BetaOnly && !beta {
		return p, badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, schema.Name)
	}
	return p, nil
}

// filter is a $filter that compares a property with a text. Of OData's language this
// project sends nothing else.
type filter struct{ property, value string }

var comparison = regexp.MustCompile(`^(\w+) eq '((?:[^']|'')*)'$`)

func parseFilter(s, allowed string) (*filter, *apiError) {
	m := comparison.FindStringSubmatch(s)
	switch {
	case m == nil:
		return nil, badRequest("Invalid filter clause, or one that is not simulated.")
	case m[1] != allowed:
		return nil, unsupportedQuery("Unsupported or invalid query filter clause specified for property '" + m[1] + "'.")
	}
	return &filter{m[1], strings.ReplaceAll(m[2], "''", "'")}, nil
}

func (f *filter) matches(e Entity) bool {
	if f == nil {
		return true
	}
	value, ok := e[f.property].(string) // null equals no text
	return ok && strings.EqualFold(value, f.value)
}

// project returns the JSON object of an entity. It has the selected properties, or the
// default ones, and the entity's annotations ("@odata.type").
func project(typ string, e Entity, selected []Property, beta bool) json.RawMessage {
	schema := entityTypes[typ]
	out := map[string]any{}
	for k, v := range e {
		if strings.HasPrefix(k, "@odata.") {
			out[k] = v
		}
	}
	put := func(p Property) {
		v := e[p.Name]
		if v == nil && p.Collection {
			v = []string{}
		}
		out[p.Name] = v
	}
	for _, p := range selected {
		put(p)
	}
	if selected == nil {
		for _, p := range schema.Properties {
			switch {
			case p.BetaOnly && !beta:
			case !p.SelectOnly:
				put(p)
			case schema.placeholders && p.Collection:
				out[p.Name] = []string{}
			case schema.placeholders && p.Name == "physicalMemoryInBytes":
				out[p.Name] = 0
			case schema.placeholders:
				out[p.Name] = nil
			}
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"id": e.ID(), "error": err.Error()})
	}
	return b
}
