package funchost

import (
	"fmt"
	"strings"
)

// route is an HTTP route template. Its literal segments match in any case. A last {*name}
// may take the rest of the path.
type route struct {
	literals []string
	catchAll bool
}

func parseRoute(template string) (*route, error) {
	r := &route{}
	for part := range strings.SplitSeq(strings.Trim(template, "/"), "/") {
		switch {
		case r.catchAll:
			return nil, fmt.Errorf("the route %q goes on after its catch-all parameter", template)
		case strings.HasPrefix(part, "{*") && strings.HasSuffix(part, "}"):
			r.catchAll = true
		case part == "" || strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("the stand-in does not know the segment %q of the route %q", part, template)
		default:
			r.literals = append(r.literals, part)
		}
	}
	return r, nil
}

func (r *route) match(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < len(r.literals) || len(parts) > len(r.literals) && !r.catchAll {
		return false
	}
	for i, literal := range r.literals {
		if !strings.EqualFold(literal, parts[i]) {
			return false
		}
	}
	return true
}
