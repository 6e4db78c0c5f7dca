package m365sim

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
)

// call is one call of Graph on its way to an answer.
type call struct {
	r      *http.Request
	t      *Tenant
	route  *route
	beta   bool
	params map[string]string
}

// route is one path of Graph.
type route struct {
	method   string
	path     string // with {name} for a variable segment
	versions string // "v1.0 beta"
	rules    rules
	list     bool
	perms    []string // any of them suffices
	refusal  func(message string) *apiError
	serve    func(s *Server, c *call, q *query) *answer
}

// GraphHandler serves Microsoft Graph: paths start with /v1.0 or /beta.
func (s *Server) GraphHandler() http.Handler {
	return s.door("graph", s.answerGraph)
}

// answerGraph answers a call of Graph, or one part of a batch.
func (s *Server) answerGraph(r *http.Request) *answer {
	t, refusal := s.authorize(r, GraphResource)
	c := &call{r: r, t: t}
	route := c.find()
	template := "(unknown)"
	if route != nil {
		version, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		template = "/" + version + strings.Replace(route.path, "({})", "(period)", 1)
	}
	s.count(r, template)
	return s.trouble(r, "graph", t, func(r *http.Request) *answer {
		c.r = r
		if refusal != nil {
			return s.errorAnswer(r, refusal)
		}
		if route == nil {
			return s.errorAnswer(r, c.noRoute())
		}
		return s.serveRoute(c)
	})
}

// find sets the route of the call; nil when there is none.
func (c *call) find() *route {
	version, rest, ok := strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/"), "/")
	if !ok || version != "v1.0" && version != "beta" {
		return nil
	}
	c.beta = version == "beta"
	segments := strings.Split(rest, "/")
next:
	for i := range routes {
		ro := &routes[i]
		want := strings.Split(strings.TrimPrefix(ro.path, "/"), "/")
		if ro.method != c.r.Method || len(want) != len(segments) || !strings.Contains(ro.versions, version) {
			continue
		}
		params := map[string]string{}
		for j, w := range want {
			switch {
			case strings.HasPrefix(w, "{"):
				if segments[j] == "" || strings.HasPrefix(segments[j], "$") {
					continue next
				}
				params[strings.Trim(w, "{}")] = segments[j]
			case strings.HasSuffix(w, "({})"):
				name, args, ok := strings.Cut(segments[j], "(")
				if !ok || name != strings.TrimSuffix(w, "({})") || !strings.HasSuffix(args, ")") {
					continue next
				}
				params["args"] = strings.TrimSuffix(args, ")")
			case w != segments[j]:
				continue next
			}
		}
		c.route, c.params = ro, params
		return ro
	}
	return nil
}

func (c *call) noRoute() *apiError {
	path := strings.Trim(c.r.URL.Path, "/")
	for i := range routes {
		if p, _, _ := strings.Cut(path, "/"); (p == "v1.0" || p == "beta") && "/"+strings.TrimPrefix(path, p+"/") == routes[i].path &&
			strings.Contains(routes[i].versions, p) {
			m := "The method " + c.r.Method + " is not allowed here."
			return &apiError{status: http.StatusMethodNotAllowed, code: "Request_BadRequest", message: m, violation: m}
		}
	}
	return notFoundSegment(path[strings.LastIndex(path, "/")+1:])
}

func (s *Server) serveRoute(c *call) *answer {
	if c.r.Method == http.MethodGet && c.r.ContentLength != 0 {
		return s.errorAnswer(c.r, badRequest("A GET request must not have a body."))
	}
	var granted, noIntune bool
	c.t.View(func(t *Tenant) { granted, noIntune = t.granted(c.route.perms), t.NoIntune })
	if !granted {
		refuse := c.route.refusal
		if refuse == nil {
			refuse = deniedDirectory
		}
		return s.errorAnswer(c.r, refuse(strings.Join(c.route.perms, ", ")))
	}
	if noIntune && strings.HasPrefix(c.route.path, "/deviceManagement/") {
		return s.errorAnswer(c.r, &apiError{status: http.StatusBadRequest, code: "BadRequest",
			message: `{"_version":3,"Message":"Request not applicable to target tenant. - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000"}`})
	}
	if c.route.list && strings.Contains(c.r.URL.RawQuery, "skiptoken=") {
		return s.nextPage(c.r, c.t)
	}
	q, refusal := parseQuery(c.r, c.route.rules, c.beta)
	if refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	return c.route.serve(s, c, q)
}

// The refusals for a missing permission differ by the service behind Graph.

func deniedDirectory(string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "Authorization_RequestDenied",
		message: "Insufficient privileges to complete the operation."}
}

func deniedIntune(permissions string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "Forbidden",
		message: `{"_version":3,"Message":"Application is not authorized to perform this operation. Application must have one of the following scopes: ` + permissions + `"}`}
}

func deniedPolicy(permissions string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "AccessDenied",
		message: "You cannot perform the requested operation, required scopes are missing in the token."}
}

func deniedSecurity(permissions string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "UnknownError",
		message: "Auth token does not contain valid permissions or user does not have valid roles. Required: " + permissions}
}

func deniedReports(permissions string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "S2SUnauthorized",
		message: "Invalid permission. Required: " + permissions}
}

// entities answers a list of a tenant's entities: filtered, sorted, projected
// and paged.
func (s *Server) entities(c *call, q *query, typ string, rows func(t *Tenant) []Entity, defaultSize int) *answer {
	var out []json.RawMessage
	c.t.View(func(t *Tenant) {
		for _, e := range rows(t) {
			if q.filter.matches(e) {
				out = append(out, project(typ, e, q.selected, c.beta))
			}
		}
	})
	return s.list(c, q, out, defaultSize)
}

// list answers rows that are JSON already.
func (s *Server) list(c *call, q *query, rows []json.RawMessage, defaultSize int) *answer {
	size := defaultSize
	if q.top > 0 {
		size = q.top
	}
	if s.config.PageSize > 0 {
		size = min(size, s.config.PageSize)
	}
	context := strings.TrimPrefix(c.route.path, "/")
	if v := q.raw.Get("$select"); v != "" {
		context += "(" + v + ")"
	}
	return s.page(c.r, &pageToken{tenant: c.t.ID, path: c.r.URL.Path, query: q.raw, size: size, rows: rows, context: context})
}

// single answers one entity, or 404 when it is nil.
func (s *Server) single(c *call, q *query, typ string, find func(t *Tenant) Entity) *answer {
	var body json.RawMessage
	c.t.View(func(t *Tenant) {
		if e := find(t); e != nil {
			body = project(typ, e, q.selected, c.beta)
		}
	})
	if body == nil {
		return s.errorAnswer(c.r, notFoundObject(c.params["id"]))
	}
	context, _ := json.Marshal(baseURL(c.r) + "/$metadata#" + strings.TrimPrefix(c.route.path, "/") + "/$entity")
	return rawAnswer(http.StatusOK, append([]byte(`{"@odata.context":`+string(context)+`,`), body[1:]...))
}

// readJSON reads a JSON body, which may be compressed.
func readJSON(r *http.Request, v any) *apiError {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return badRequest("The Content-Type must be application/json.")
	}
	body := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return badRequest("The body is not gzip.")
		}
		body = z
	default:
		return badRequest("The Content-Encoding is not supported.")
	}
	d := json.NewDecoder(io.LimitReader(body, 8<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("Unable to read JSON request payload: %v.", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badRequest("Unable to read JSON request payload: something follows the object.")
	}
	return nil
}
