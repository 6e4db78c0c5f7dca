package m365sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query holds the OData options of a call, checked.
type query struct {
	selected []Property // nil = the default properties
	top      int        // 0 = not given
	filter   *filter
	orderBy  string
	desc     bool
	count    bool
	expand   string
	raw      url.Values
}

// rules say which options a path takes.
type rules struct {
	typ     string   // entity type, for $select; "" = the path checks $select itself
	options string   // the options allowed, without "$", for example "select top"
	maxTop  int      // largest $top
	filters []string // what $filter may compare, "+" after a name = an advanced query
	orderBy []string
	expand  []string
}

// parseQuery checks the options of a call against the rules of its path.
func parseQuery(r *http.Request, ru rules, beta, list bool) (*query, *apiError) {
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
			p, refusal := selectable(schema, strings.TrimSpace(name), beta, list)
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
	advanced := r.Header.Get("ConsistencyLevel") == "eventual"
	if v := values.Get("$count"); v != "" {
		if v != "true" && v != "false" {
			return nil, badRequest("Invalid value '%s' for $count query option found. Valid values are 'false', 'true'.", v)
		}
		if q.count = v == "true"; q.count && !advanced {
			return nil, unsupportedQuery("$count needs the header ConsistencyLevel: eventual.")
		}
	}
	if v := values.Get("$filter"); v != "" {
		f, refusal := parseFilter(v, ru.filters)
		if refusal != nil {
			return nil, refusal
		}
		if f.advanced && (!advanced || !q.count) {
			return nil, unsupportedQuery("The filter needs $count=true and the header ConsistencyLevel: eventual.")
		}
		q.filter = f
	}
	if v := values.Get("$orderby"); v != "" {
		name, direction, _ := strings.Cut(v, " ")
		if !slices.Contains(ru.orderBy, name) || !slices.Contains([]string{"", "asc", "desc"}, direction) {
			return nil, unsupportedQuery("Sorting by '" + v + "' is not supported for the resource.")
		}
		if q.filter != nil {
			return nil, unsupportedQuery("Sorting is not supported together with a filter.")
		}
		q.orderBy, q.desc = name, direction == "desc"
	}
	if v := values.Get("$expand"); v != "" {
		if !slices.Contains(ru.expand, v) {
			return nil, badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", v, ru.typ)
		}
		q.expand = v
	}
	return q, nil
}

func unsupportedQuery(message string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: "Request_UnsupportedQuery", message: message, violation: message}
}

func selectable(schema *EntityType, name string, beta, list bool) (Property, *apiError) {
	p, ok := schema.property(name)
	if !ok || p.BetaOnly && !beta {
		return p, badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, schema.Name)
	}
	if p.NotInList && list {
		m := "The property '" + name + "' cannot be selected in a list of " + schema.Name + "."
		return p, &apiError{status: http.StatusNotImplemented, code: "NotImplemented", message: m, violation: m}
	}
	return p, nil
}

// filter is a $filter: comparisons joined by "and" or by "or".
type filter struct {
	terms    []term
	any      bool // joined by "or"
	advanced bool
}

type term struct {
	property string
	count    bool // property/$count is compared
	not      bool // "ne"
	value    any  // string, bool or float64
}

// parseFilter reads the small part of OData's filter language that the simulated paths
// take. That is comparisons with eq and ne of the allowed properties.
func parseFilter(s string, allowed []string) (*filter, *apiError) {
	f := &filter{}
	words, ok := filterWords(s)
	if !ok || len(words)%4 != 3 {
		return nil, badRequest("Invalid filter clause.")
	}
	for i := 0; i < len(words); i += 4 {
		if i > 0 {
			joiner := words[i-1]
			if joiner != "and" && joiner != "or" || i > 4 && f.any != (joiner == "or") {
				return nil, unsupportedQuery("The filter is too complex.")
			}
			f.any = joiner == "or"
		}
		t := term{}
		t.property, t.count = strings.CutSuffix(words[i], "/$count")
		t.not = words[i+1] == "ne"
		if words[i+1] != "eq" && words[i+1] != "ne" {
			return nil, unsupportedQuery("The filter operator '" + words[i+1] + "' is not supported.")
		}
		name := words[i]
		if t.not && !t.count {
			name += " ne"
		}
		switch {
		case slices.Contains(allowed, name):
		case slices.Contains(allowed, name+"+"):
			f.advanced = true
		default:
			return nil, unsupportedQuery("Unsupported or invalid query filter clause specified for property '" + words[i] + "'.")
		}
		literal := words[i+2]
		switch {
		case strings.HasPrefix(literal, "'"):
			t.value = strings.ReplaceAll(literal[1:len(literal)-1], "''", "'")
		case literal == "true", literal == "false":
			t.value = literal == "true"
		default:
			n, err := strconv.ParseFloat(literal, 64)
			if err != nil {
				return nil, badRequest("Invalid filter clause: '%s' is no literal.", literal)
			}
			t.value = n
		}
		f.terms = append(f.terms, t)
	}
	return f, nil
}

// filterWords splits a filter at spaces outside of quoted text.
func filterWords(s string) ([]string, bool) {
	var words []string
	var b strings.Builder
	quoted := false
	for _, c := range s {
		switch {
		case c == '\'':
			quoted = !quoted
			b.WriteRune(c)
		case c == ' ' && !quoted:
			words = append(words, b.String())
			b.Reset()
		default:
			b.WriteRune(c)
		}
	}
	words = append(words, b.String())
	for _, w := range words {
		if w == "" || strings.HasPrefix(w, "'") && (len(w) < 2 || !strings.HasSuffix(w, "'")) {
			return nil, false
		}
	}
	return words, !quoted
}

func (f *filter) matches(e Entity) bool {
	if f == nil {
		return true
	}
	for _, t := range f.terms {
		var equal bool
		switch want := t.value.(type) {
		case float64:
			equal = t.count && float64(collectionLen(e[t.property])) == want
		case string:
			got, ok := e[t.property].(string)
			equal = ok && strings.EqualFold(got, want)
		case bool:
			got, ok := e[t.property].(bool)
			equal = ok && got == want
		}
		if hit := equal != t.not; hit == f.any {
			return f.any
		}
	}
	return !f.any
}

func collectionLen(v any) int {
	switch v := v.(type) {
	case []Entity:
		return len(v)
	case []string:
		return len(v)
	case []any:
		return len(v)
	}
	return 0
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
			case p.BetaOnly && !beta || p.NotInList:
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
