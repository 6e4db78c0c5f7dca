package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// notPublished marks, with its reason, what the contract says beyond the published document.
const notPublished = "x-not-published"

// comparison collects what two documents disagree about.
type comparison struct {
	differences                  []string
	calls, compared, unpublished int
}

func (c *comparison) differ(where, format string, arguments ...any) {
	c.differences = append(c.differences, where+": "+fmt.Sprintf(format, arguments...))
}

var pathVariable = regexp.MustCompile(`\{[^}]*\}`)

// compare holds each call of ours against the published document. The names of path variables do not matter.
func compare(ours, published *openapi3.T) *comparison {
	c := &comparison{}
	items := map[string]*openapi3.PathItem{}
	for path, item := range published.Paths.Map() {
		items[pathVariable.ReplaceAllString(path, "{}")] = item
	}
	for _, path := range slices.Sorted(maps.Keys(ours.Paths.Map())) {
		item := ours.Paths.Value(path)
		if item.Extensions[notPublished] != nil {
			c.unpublished++
			continue
		}
		theirs := items[pathVariable.ReplaceAllString(path, "{}")]
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			where := method + " " + path
			c.calls++
			if theirs == nil || theirs.GetOperation(method) == nil {
				c.differ(where, "is not published")
				continue
			}
			operation, their := item.GetOperation(method), theirs.GetOperation(method)
			c.parameters(where, slices.Concat(item.Parameters, operation.Parameters), slices.Concat(theirs.Parameters, their.Parameters))
			c.body(where, operation.RequestBody, their.RequestBody)
			c.answer(where, operation, their)
		}
	}
	return c
}

func (c *comparison) parameters(where string, ours, published openapi3.Parameters) {
	for _, reference := range ours {
		parameter := reference.Value
		if parameter.In == openapi3.ParameterInPath {
			continue
		}
		there := where + " parameter " + parameter.Name
		their := published.GetByInAndName(parameter.In, parameter.Name)
		if their == nil {
			c.compared++
			c.differ(there, "is not published")
			continue
		}
		c.schema(there, commaList(parameter), commaEnum(their))
	}
	for _, reference := range published {
		parameter := reference.Value
		if parameter.Required && parameter.In != openapi3.ParameterInPath && ours.GetByInAndName(parameter.In, parameter.Name) == nil {
			c.differ(where, "lacks the required parameter %s", parameter.Name)
		}
	}
}

// commaList is the schema of a parameter. For an array sent as a comma list it is the schema of the
// elements.
func commaList(p *openapi3.Parameter) *openapi3.SchemaRef {
	if p.Schema.Value.Type.Is(openapi3.TypeArray) && p.Explode != nil && !*p.Explode {
		return p.Schema.Value.Items
	}
	return p.Schema
}

// commaEnum is the schema of a parameter whose only allowed value is a comma list, with those
// values. The published document writes so that a caller may give any of the listed values.
func commaEnum(p *openapi3.Parameter) *openapi3.SchemaRef {
	schema := commaList(p)
	if schema == nil || len(schema.Value.Enum) != 1 || !strings.Contains(fmt.Sprint(schema.Value.Enum[0]), ",") {
		return schema
	}
	listed := *schema.Value
	listed.Enum = nil
	for value := range strings.SplitSeq(fmt.Sprint(schema.Value.Enum[0]), ",") {
		listed.Enum = append(listed.Enum, value)
	}
	return listed.NewRef()
}

func (c *comparison) body(where string, ours, published *openapi3.RequestBodyRef) {
	if ours == nil && published == nil {
		return
	}
	if ours == nil || published == nil {
		c.differ(where, "only one of both documents has a body")
		return
	}
	for _, contentType := range slices.Sorted(maps.Keys(ours.Value.Content)) {
		their := published.Value.Content[contentType]
		if their == nil {
			c.differ(where, "content type %s is not published", contentType)
			continue
		}
		schema := ours.Value.Content[contentType].Schema
		c.schema(where+" body", schema, their.Schema)
		for _, name := range their.Schema.Value.Required {
			if !slices.Contains(schema.Value.Required, name) {
				c.differ(where+" body", "does not require %s", name)
			}
		}
	}
}

// answer compares the successful JSON answers, where the published document describes one.
func (c *comparison) answer(where string, ours, published *openapi3.Operation) {
	response, their := ours.Responses.Status(200), published.Responses.Status(200)
	if their == nil {
		their = published.Responses.Default()
	}
	if response == nil || their == nil || their.Value.Content["application/json"] == nil {
		return
	}
	c.schema(where+" answer", response.Value.Content["application/json"].Schema, their.Value.Content["application/json"].Schema)
}

// schema compares type, format, values and range, and the same of each property and element that ours has.
func (c *comparison) schema(where string, ours, published *openapi3.SchemaRef) {
	if ours == nil {
		return
	}
	schema := ours.Value
	if schema.Extensions[notPublished] != nil {
		c.unpublished++
		return
	}
	c.compared++
	if published == nil {
		c.differ(where, "is not published")
		return
	}
	their := published.Value
	if !slices.Equal(schema.Type.Slice(), their.Type.Slice()) {
		c.differ(where, "type %v, published %v", schema.Type.Slice(), their.Type.Slice())
		return
	}
	if schema.Format != their.Format {
		c.differ(where, "format %q, published %q", schema.Format, their.Format)
	}
	if only, missing := without(schema.Enum, their.Enum), without(their.Enum, schema.Enum); len(only)+len(missing) > 0 {
		c.differ(where, "values %v are not published, values %v are missing", only, missing)
	}
	if their.Min != nil && (schema.Min == nil || *schema.Min < *their.Min) {
		c.differ(where, "allows less than the published minimum %v", *their.Min)
	}
	if their.Max != nil && (schema.Max == nil || *schema.Max > *their.Max) {
		c.differ(where, "allows more than the published maximum %v", *their.Max)
	}
	if schema.Items != nil {
		c.schema(where+"[]", schema.Items, their.Items)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		c.schema(where+" "+name, schema.Properties[name], their.Properties[name])
	}
}

func without(values, others []any) []any {
	return slices.DeleteFunc(slices.Clone(values), func(v any) bool { return slices.Contains(others, v) })
}
