package funchost

import (
	"fmt"
	"regexp"
	"strings"
)

// route is an HTTP route template: literal segments, {name}, {name?},
// {name:constraint} and a last {*name}. Literals match in any case.
type route struct {
	segments []segment
}

type segment struct {
	literal    string // Empty for a parameter.
	name       string
	optional   bool
	catchAll   bool
	constraint *regexp.Regexp
}

var routeConstraints = map[string]*regexp.Regexp{
	"int":   regexp.MustCompile(`^-?[0-9]{1,10}$`),
	"long":  regexp.MustCompile(`^-?[0-9]{1,19}$`),
	"alpha": regexp.MustCompile(`^[A-Za-z]+$`),
	"bool":  regexp.MustCompile(`^(?i:true|false)$`),
	"guid":  regexp.MustCompile(`^\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?$`),
}

func parseRoute(template string) (*route, error) {
	r := &route{}
	for part := range strings.SplitSeq(strings.Trim(template, "/"), "/") {
		if len(r.segments) > 0 && r.segments[len(r.segments)-1].catchAll {
			return nil, fmt.Errorf("the route %q goes on after its catch-all parameter", template)
		}
		inner, isParameter := strings.CutPrefix(part, "{")
		if !isParameter {
			if strings.ContainsAny(part, "{}") || part == "" {
				return nil, fmt.Errorf("the segment %q of the route %q is neither plain text nor one parameter", part, template)
			}
			r.segments = append(r.segments, segment{literal: part})
			continue
		}
		inner, closed := strings.CutSuffix(inner, "}")
		var s segment
		if trimmed := strings.TrimLeft(inner, "*"); trimmed != inner {
			s.catchAll, inner = true, trimmed
		}
		inner, s.optional = strings.CutSuffix(inner, "?")
		name, constraint, constrained := strings.Cut(inner, ":")
		if constrained {
			if s.constraint = routeConstraints[constraint]; s.constraint == nil {
				return nil, fmt.Errorf("the constraint %q of the route %q is not one the stand-in knows", constraint, template)
			}
		}
		if s.name = name; !closed || !bindingName.MatchString(name) {
			return nil, fmt.Errorf("the segment %q of the route %q is not one well-formed parameter", part, template)
		}
		r.segments = append(r.segments, s)
	}
	return r, nil
}

// match returns the route parameters of a path, or false when it does not match.
// An optional or catch-all parameter that matches nothing is left out.
func (r *route) match(path string) (map[string]string, bool) {
	var parts []string
	if trimmed := strings.Trim(path, "/"); trimmed != "" {
		parts = strings.Split(trimmed, "/")
	}
	params := map[string]string{}
	for i, s := range r.segments {
		switch {
		case s.catchAll:
			if i < len(parts) {
				params[s.name] = strings.Join(parts[i:], "/")
			}
			return params, true
		case i >= len(parts):
			return params, s.optional && i == len(r.segments)-1
		case s.literal != "":
			if !strings.EqualFold(s.literal, parts[i]) {
				return nil, false
			}
		default:
			if parts[i] == "" || s.constraint != nil && !s.constraint.MatchString(parts[i]) {
				return nil, false
			}
			params[s.name] = parts[i]
		}
	}
	return params, len(parts) == len(r.segments)
}

// compare orders routes by how exactly they match: literals before constrained
// parameters before plain ones before catch-alls, from the left.
func (r *route) compare(other *route) int {
	for i := range min(len(r.segments), len(other.segments)) {
		if d := r.segments[i].rank() - other.segments[i].rank(); d != 0 {
			return d
		}
	}
	return len(other.segments) - len(r.segments)
}

func (s segment) rank() int {
	switch {
	case s.literal != "":
		return 0
	case s.catchAll:
		return 3
	case s.constraint != nil:
		return 1
	default:
		return 2
	}
}
