package customhandler

import (
	"net/http"
	"net/url"
	"strings"
)

// routePrefix is extensions.http.routePrefix of host.json.
const routePrefix = "api/"

// route is the route of an HTTP function.
type route struct {
	rest     string // name of the parameter for whatever follows; "" for none
	function *function
	handler  http.Handler
}

// addRoute adds the route of a template. An http.ServeMux would tell upper from lower
// case, which the host does not. It would also redirect what the host has resolved.
func (s *Server) addRoute(template string, rt *route) {
	path := routePrefix + template
	if literal, rest, ok := strings.Cut(path, "/{*"); ok {
		path, rt.rest = literal, strings.TrimSuffix(rest, "}")
	}
	path = strings.ToLower(path)
	if _, clean := pathSegments(&url.URL{Path: path}); !clean || template == "" || strings.ContainsAny(path+rt.rest, "{}*?:") || s.routes[path] != nil {
		panic("customhandler: route " + template + " is malformed, or registered twice")
	}
	s.routes[path] = rt
}

// route finds the route of a path, and what follows it. The longest one counts.
func (s *Server) route(u *url.URL) (*route, string) {
	parts, ok := pathSegments(u)
	for n := len(parts); ok && n > 0; n-- {
		rt := s.routes[strings.ToLower(strings.Join(parts[:n], "/"))]
		if rt != nil && (n == len(parts) || rt.rest != "") {
			return rt, strings.Join(parts[n:], "/")
		}
	}
	return nil, ""
}

// pathSegments splits a path and decodes its segments; one slash may close it. A path
// that the host would have resolved or refused matches nothing. Such a path has dot
// segments, empty ones, or ones that hold an escaped slash. The host hands an escaped
// slash on as it is, or escaped once more.
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
