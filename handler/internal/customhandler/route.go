package customhandler

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is the route template of an HTTP function.
type route struct {
	template string
	segments []segment
	function *function
	handler  http.Handler
}

type segment struct {
	kind segmentKind
	text string // literal, or name of the parameter
}

// segmentKind orders segments: the more specific come first.
type segmentKind int

const (
	literal segmentKind = iota
	parameter
	optional
	rest
)

func parseRoute(prefix, template string) *route {
	rt := &route{template: strings.Trim(prefix, "/") + "/" + strings.Trim(template, "/")}
	parts := strings.Split(rt.template, "/")
	for i, p := range parts {
		seg := segment{literal, p}
		if inner, ok := strings.CutPrefix(p, "{"); ok && strings.HasSuffix(inner, "}") {
			seg = segment{parameter, strings.TrimSuffix(inner, "}")}
			if name, ok := strings.CutSuffix(seg.text, "?"); ok {
				seg = segment{optional, name}
			} else if name, ok := strings.CutPrefix(seg.text, "*"); ok {
				seg = segment{rest, name}
			}
		}
		last := i == len(parts)-1
		if seg.text == "" || strings.ContainsAny(seg.text, "{}*?:") || (seg.kind >= optional && !last) {
			panic("customhandler: route " + rt.template + " is malformed")
		}
		rt.segments = append(rt.segments, seg)
	}
	return rt
}

func (s *Server) addRoute(rt *route) {
	for _, other := range s.routes {
		if compareRoutes(rt, other) == 0 {
			panic("customhandler: route " + rt.template + " is registered twice")
		}
	}
	s.routes = append(s.routes, rt)
	slices.SortFunc(s.routes, compareRoutes)
}

// compareRoutes orders routes so that the first that matches is the right one.
func compareRoutes(a, b *route) int {
	return slices.CompareFunc(a.segments, b.segments, func(x, y segment) int {
		if x.kind != literal || y.kind != literal {
			return cmp.Compare(x.kind, y.kind)
		}
		return cmp.Compare(strings.ToLower(x.text), strings.ToLower(y.text))
	})
}

// route finds the route of a path, and the values of its parameters.
func (s *Server) route(u *url.URL) (*route, map[string]string) {
	parts, ok := pathSegments(u)
	if !ok {
		return nil, nil
	}
	for _, rt := range s.routes {
		if params, ok := rt.match(parts); ok {
			return rt, params
		}
	}
	return nil, nil
}

// pathSegments splits a path and decodes its segments; one slash may close it.
// A path that the host would have resolved or refused matches nothing: dot
// segments, empty ones, and ones that hold an escaped slash, which the host
// hands on as it is or escaped once more.
func pathSegments(u *url.URL) ([]string, bool) {
	path := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		decoded, err := url.PathUnescape(p)
		if err != nil || decoded == "" || decoded == "." || decoded == ".." || strings.ContainsAny(decoded, "/\x00") || strings.Contains(strings.ToUpper(decoded), "%2F") {
			return nil, false
		}
		parts[i] = decoded
	}
	return parts, true
}

func (rt *route) match(parts []string) (map[string]string, bool) {
	params := map[string]string{}
	for i, seg := range rt.segments {
		if seg.kind == rest {
			params[seg.text] = strings.Join(parts[min(i, len(parts)):], "/")
			return params, true
		}
		if i >= len(parts) {
			return params, seg.kind == optional
		}
		switch {
		case seg.kind != literal:
			params[seg.text] = parts[i]
		case !strings.EqualFold(seg.text, parts[i]):
			return nil, false
		}
	}
	return params, len(parts) == len(rt.segments)
}
