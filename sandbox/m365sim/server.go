package m365sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/sandbox/fault"
	"cipp-ninjaone/sandbox/loopback"
)

// Credentials are those of the partner's application registration and of the
// service account that consented to it.
type Credentials struct {
	ClientID        string
	ClientSecret    string
	PartnerTenantID string
	RefreshToken    string // good for every tenant that is not direct
}

// Config sets up a Server.
type Config struct {
	Credentials Credentials

	TokenLifetime time.Duration // life of an access token; 0 = one hour

	// PageSize caps every page of Graph and Exchange, so that a small tenant needs
	// several. The services have their own sizes when it is 0.
	PageSize int
	// DeltaPageSize caps the objects of one page of a delta answer; 0 = 200.
	DeltaPageSize int

	Now func() time.Time // nil = time.Now
}

// Server simulates the four services for a set of tenants.
type Server struct {
	config Config

	mu            sync.Mutex
	credentials   Credentials
	opaque        bool // tokens tell nothing
	latency       time.Duration
	recent        map[string][]time.Time // calls that count towards a limit
	tenants       map[string]*Tenant
	order         []string
	tokens        map[string]*accessToken
	refreshTokens map[string]string // token to home tenant; "" = expired
	deltas        map[string]*deltaState

	// Further pages, by the $skiptoken that leads to them.
	chains              links[pageToken]
	exchangeChains      links[exchangePage]
	vulnerabilityChains links[vulnerabilityPage]
	endlessPages        links[endlessPage]

	downloads   map[string]*download
	downloadURL string // where they are served, set by Start
	faults      fault.Injector[Fault]
	calls       map[string]int
	violations  []string
	listeners   []*http.Server

	subscriptions subscriptions
}

// New returns a server for the tenants. It fails when a tenant's data could
// not come from the real service, for example an unknown property.
func New(c Config, tenants ...*Tenant) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = time.Hour
	}
	if c.DeltaPageSize == 0 {
		c.DeltaPageSize = 200
	}
	s := &Server{
		config: c, credentials: c.Credentials,
		recent: map[string][]time.Time{}, tenants: map[string]*Tenant{}, tokens: map[string]*accessToken{},
		refreshTokens: map[string]string{}, deltas: map[string]*deltaState{},
		downloads: map[string]*download{}, calls: map[string]int{},
		subscriptions: subscriptions{byID: map[string]*Subscription{}},
	}
	if c.Credentials.RefreshToken != "" {
		s.refreshTokens[c.Credentials.RefreshToken] = c.Credentials.PartnerTenantID
	}
	for _, t := range tenants {
		if err := t.Validate(); err != nil {
			return nil, err
		}
		if s.tenants[t.ID] != nil {
			return nil, fmt.Errorf("tenant %s: added twice", t.ID)
		}
		s.tenants[t.ID] = t
		s.order = append(s.order, t.ID)
	}
	return s, nil
}

// Tenant returns the tenant with the id, or nil.
func (s *Server) Tenant(id string) *Tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tenants[id]
}

// Tenants returns all tenants in the order they were added.
func (s *Server) Tenants() []*Tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Tenant
	for _, id := range s.order {
		out = append(out, s.tenants[id])
	}
	return out
}

// tenantByName finds a tenant by id or by one of its domains, in lower case.
func (s *Server) tenantByName(name string) *Tenant {
	for _, t := range s.Tenants() {
		if t.ID == name || strings.EqualFold(t.DefaultDomain, name) || strings.EqualFold(t.InitialDomain, name) {
			return t
		}
	}
	return nil
}

func (s *Server) now() time.Time { return s.config.Now() }

// SetLatency makes every call take at least d, batches once.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// Endpoints are the base URLs of a started server, without a trailing slash.
type Endpoints struct {
	Login, Graph, Exchange, Defender string

	Download string // only met in the redirects of reports
}

// Start listens on loopback addresses of its own, one per service, until Close.
func (s *Server) Start() (Endpoints, error) {
	var e Endpoints
	for _, door := range []struct {
		url     *string
		handler http.Handler
	}{
		{&e.Login, s.LoginHandler()}, {&e.Graph, s.GraphHandler()},
		{&e.Exchange, s.ExchangeHandler()}, {&e.Defender, s.DefenderHandler()}, {&e.Download, s.DownloadHandler()},
	} {
		l, err := loopback.Listen()
		if err != nil {
			s.Close()
			return Endpoints{}, fmt.Errorf("listening for the simulated Microsoft 365: %w", err)
		}
		*door.url = "http://" + l.Addr().String()
		srv := &http.Server{Handler: door.handler, ReadHeaderTimeout: 10 * time.Second}
		s.mu.Lock()
		s.listeners = append(s.listeners, srv)
		s.mu.Unlock()
		go srv.Serve(l)
	}
	s.mu.Lock()
	s.downloadURL = e.Download
	s.mu.Unlock()
	return e, nil
}

// Close stops the listeners of Start and ends the calls under way.
func (s *Server) Close() error {
	s.mu.Lock()
	listeners := s.listeners
	s.listeners = nil
	s.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Calls returns how often each endpoint was called, by keys like
// "graph GET /v1.0/users". The parts of a batch are counted apart, as
// "part GET /v1.0/users", since they cost no round trip. A later page counts
// as a call of its endpoint.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// ResetCalls sets all counts to zero.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.calls)
}

// Violations returns a line for every call that broke a rule of the services.
// Refusals that a tenant was set up for (missing permission, lost consent,
// faults) are not among them. Lines hold no values of the caller's but paths
// and query options.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// ResetViolations empties the list of violations.
func (s *Server) ResetViolations() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = nil
}

func (s *Server) violate(r *http.Request, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, r.Method+" "+r.URL.Path+": "+what)
}

type contextKey int

const (
	doorKey contextKey = iota // which service a request came to
	partKey                   // set for the parts of a batch
)

// door serves one of the services: it adds the latency and writes the answers.
func (s *Server) door(name string, serve func(*http.Request) *answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		latency := s.latency
		s.mu.Unlock()
		if !fault.Wait(r.Context(), latency) {
			return
		}
		serve(r.WithContext(context.WithValue(r.Context(), doorKey, name))).write(w)
	})
}

// count counts a call.
func (s *Server) count(r *http.Request, template string) {
	door, _ := r.Context().Value(doorKey).(string)
	if r.Context().Value(partKey) != nil {
		door = "part"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[door+" "+r.Method+" "+template]++
}

// overLimit notes a call that counts towards a limit and reports whether more
// than n were made within the period.
func (s *Server) overLimit(key string, n int, period time.Duration) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := slices.DeleteFunc(s.recent[key], func(t time.Time) bool { return now.Sub(t) >= period })
	if len(kept) >= n {
		s.recent[key] = kept
		return true
	}
	s.recent[key] = append(kept, now)
	return false
}
