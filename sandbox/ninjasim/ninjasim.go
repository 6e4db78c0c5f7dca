// Package ninjasim is a NinjaOne instance to run the synchronisation against: real HTTP, its own
// state, and strict. It holds every request to contract.yaml first, and to the rules that NinjaOne
// applies without describing them. It answers a wrong request as NinjaOne would, and keeps it in
// Violations and Refusals.
//
// It shares no type with the handler, so that it cannot share a misunderstanding. It knows nothing
// of Microsoft 365. Where NinjaOne's behaviour is not documented it takes the stricter reading.
package ninjasim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"cipp-ninjaone/sandbox/fault"
	"cipp-ninjaone/sandbox/loopback"
)

// Config is how an instance is set up. The zero value of every field but the credentials is usable.
type Config struct {
	// ClientID and ClientSecret are the only API application of the instance.
	ClientID, ClientSecret string
	// Scopes are those granted to the application; monitoring and management when empty.
	Scopes []string
	// TokenLifetime is answered as expires_in, in whole seconds; one hour when zero.
	TokenLifetime time.Duration
	// HTMLAsSent answers WYSIWYG values as they were sent, and without their text. Applying the
	// allow-list takes so long that it would drown what a benchmark measures.
	HTMLAsSent bool
	// Milliseconds is the unit of all times in answers and of updatedAfter, which is disputed; seconds when false.
	Milliseconds bool
	// Now is the clock of tokens, cursors and stored values; time.Now when nil.
	Now func() time.Time
}

// Server is one simulated instance. It is an http.Handler, and Start serves it. All methods may be called at any time.
type Server struct {
	config Config
	router routers.Router

	mu            sync.Mutex
	secret        string
	latency       time.Duration
	grants        map[string]grant
	issued        int // tokens
	organizations map[int]Organization
	devices       map[int]Device
	devicesOf     map[int][]int // ids by organization, in order
	definitions   map[string]CustomField
	values        map[Target]map[string]*storedValue
	cursors       map[string]*cursor
	faults        fault.Injector[Fault]
	ignored       []string
	hidden        map[int]bool
	activities    []activity // oldest first
	lastActivity  int
	reversed      bool
	limit         RateLimit
	limiter       *rate.Limiter
	throttled     int
	calls         map[string]int
	writes        []Write
	documentation documentation
	scanGroups    map[int64]*scanGroup
	imports       Imports
	violations    []string
	refusals      []Refusal

	http    *http.Server
	address string
}

// New returns an instance without organizations, devices or custom fields.
func New(config Config) *Server {
	if len(config.Scopes) == 0 {
		config.Scopes = []string{scopeRead, scopeWrite}
	}
	if config.TokenLifetime == 0 {
		config.TokenLifetime = time.Hour
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Server{
		config: config, router: contractRouter(), secret: config.ClientSecret,
		grants: map[string]grant{}, organizations: map[int]Organization{}, devices: map[int]Device{}, devicesOf: map[int][]int{},
		definitions: map[string]CustomField{}, values: map[Target]map[string]*storedValue{}, cursors: map[string]*cursor{},
		calls: map[string]int{}, documentation: newDocumentation(), scanGroups: map[int64]*scanGroup{},
	}
}

// Start serves the instance on a loopback address of its own until Close.
func (s *Server) Start() error {
	listener, err := loopback.Listen()
	if err != nil {
		return fmt.Errorf("start the simulated NinjaOne: %w", err)
	}
	s.address = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }()
	return nil
}

// URL is the base address after Start, without a trailing slash.
func (s *Server) URL() string { return s.address }

// Close ends what Start began, and cuts open connections.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	return s.http.Close()
}

// call is one request on its way through the instance.
type call struct {
	request   *http.Request
	template  string            // path of the contract, such as /v2/device/{id}
	id        int               // the {id} of the path
	variables map[string]string // all of the path
	query     url.Values
	body      []byte
	requestID string
	token     int // the number of its access token
}

// reply is an answer before it is written. Without a body only the status is sent.
type reply struct {
	status int
	header http.Header
	body   any
}

func answer(body any) reply { return reply{status: http.StatusOK, body: body} }

// operations are the handlers by method and path of the contract.
var operations = map[string]func(*Server, *call) reply{
	"POST /ws/oauth/token":                      (*Server).issueToken,
	"GET /v2/organizations":                     (*Server).listOrganizations,
	"GET /v2/organization/{id}":                 (*Server).getOrganization,
	"GET /v2/organization/{id}/custom-fields":   (*Server).getOrganizationFields,
	"PATCH /v2/organization/{id}/custom-fields": (*Server).patchOrganizationFields,
	"GET /v2/devices-detailed":                  (*Server).listDevices,
	"GET /v2/device/{id}":                       (*Server).getDevice,
	"PATCH /v2/device/{id}/custom-fields":       (*Server).patchDeviceFields,
	"GET /v2/device-custom-fields":              (*Server).listFieldDefinitions,
	"POST /v2/custom-fields":                    (*Server).createFieldDefinition,
	"GET /v2/queries/custom-fields-detailed":    (*Server).reportFieldsDetailed,
	"GET /v2/activities":                        (*Server).listActivities,

	"GET /v2/document-templates":                                      (*Server).listTemplates,
	"POST /v2/document-templates":                                     (*Server).createTemplate,
	"GET /v2/document-templates/{id}":                                 (*Server).showTemplate,
	"PUT /v2/document-templates/{id}":                                 (*Server).replaceTemplate,
	"GET /v2/organization/documents":                                  (*Server).listDocuments,
	"POST /v2/organization/documents":                                 (*Server).createDocuments,
	"PATCH /v2/organization/documents":                                (*Server).updateDocuments,
	"POST /v2/organization/documents/archive":                         (*Server).archiveDocuments,
	"POST /v2/organization/documents/restore":                         (*Server).restoreDocuments,
	"POST /v2/organization/document/{id}/archive":                     (*Server).archiveDocument,
	"POST /v2/organization/document/{id}/restore":                     (*Server).restoreDocument,
	"GET /v2/related-items/with-entity-type/{entityType}":             (*Server).listRelationsOfType,
	"GET /v2/related-items/with-entity/{entityType}/{entityId}":       (*Server).listRelationsOf,
	"POST /v2/related-items/entity/{entityType}/{entityId}/relations": (*Server).createRelations,
	"DELETE /v2/related-items/{id}":                                   (*Server).deleteRelation,

	"GET /v2/vulnerability/scan-groups":              (*Server).listScanGroups,
	"GET /v2/vulnerability/scan-groups/{id}":         (*Server).getScanGroup,
	"POST /v2/vulnerability/scan-groups/{id}/upload": (*Server).uploadScanGroup,
}

// maxBody is the largest request body, in bytes. An upload's is maxUpload, a little more
// than its file.
const (
	maxBody   = 32 << 20
	maxUpload = maxCSV + 1<<20
)

// ServeHTTP answers one request: latency, faults and rate limit first, then contract, token, scope, and the operation.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := uuid.NewString()
	w.Header().Set("X-Nj-Request-Id", requestID)
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v2/"); ok {
		r.URL.Path, r.URL.RawPath = "/v2/"+rest, ""
	}
	largest := int64(maxBody)
	if isUpload(r.URL.Path) {
		largest = maxUpload
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largest))
	if err != nil {
		http.Error(w, "request body cannot be read", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := &call{request: r, body: body, requestID: requestID}

	s.mu.Lock()
	latency := s.latency
	s.mu.Unlock()
	met := s.meet(r, body)
	if !fault.Wait(r.Context(), latency) {
		return
	}
	if met != nil && !met.Fault.AfterHandling {
		s.count(r.Method + " " + s.templateOf(r))
		serve(met, w, r, nil)
		return
	}
	rep := s.handle(c)
	if met != nil {
		serve(met, w, r, &rep)
		return
	}
	rep.write(w)
}

// handle runs a request through the rules and its operation.
func (s *Server) handle(c *call) reply {
	route, parameters, err := s.router.FindRoute(c.request)
	if err != nil {
		s.count(c.request.Method + " (unknown path)")
		return s.violation(c, s.noOperation(c.request))
	}
	c.template = route.Path
	s.count(route.Method + " " + route.Path)
	if route.Path != tokenPath {
		if rep, ok := s.throttle(); !ok {
			return rep
		}
		if rep, ok := s.authorize(c); !ok {
			return rep
		}
	}
	if rep := s.holdToContract(c, route, parameters); rep != nil {
		return *rep
	}
	c.variables = parameters
	if id, ok := parameters["id"]; ok {
		c.id, _ = strconv.Atoi(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.ignored {
		c.query.Del(name)
	}
	if s.documentation.off && ofDocumentation(route.Path) {
		return s.refusal(c, applicationFailure(http.StatusForbidden, "FORBIDDEN", "documentation is not enabled"))
	}
	return operations[route.Method+" "+route.Path](s, c)
}

// noOperation answers a path that does not exist, or that does not take the method.
func (s *Server) noOperation(r *http.Request) reply {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		if _, _, err := s.router.FindRoute(&http.Request{Method: method, URL: r.URL}); err == nil {
			return applicationFailure(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "method "+r.Method)
		}
	}
	return applicationFailure(http.StatusNotFound, "NOT_FOUND", "no such call")
}

func (s *Server) templateOf(r *http.Request) string {
	route, _, err := s.router.FindRoute(r)
	if err != nil {
		return "(unknown path)"
	}
	return route.Path
}

// encode renders the body as JSON; a string is taken for an HTML page.
func (rep reply) encode() (contentType string, body []byte) {
	switch content := rep.body.(type) {
	case nil:
		return "", nil
	case streamed:
		var all bytes.Buffer
		content(&all)
		return "application/json", all.Bytes()
	case string:
		return "text/html; charset=utf-8", []byte(content)
	default:
		encoded, err := json.Marshal(content)
		if err != nil {
			encoded = []byte(`{"resultCode":"FAILURE","errorMessage":"answer cannot be encoded"}`)
		}
		return "application/json", encoded
	}
}

// streamed writes a JSON body piece by piece. It is called without the server's lock.
type streamed func(io.Writer)

func (rep reply) write(w http.ResponseWriter) {
	if write, ok := rep.body.(streamed); ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rep.status)
		write(w)
		return
	}
	contentType, body := rep.encode()
	for name, values := range rep.header {
		w.Header()[name] = values
	}
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(rep.status)
	_, _ = w.Write(body)
}
