package ninjasim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/sandbox/fault"

	"golang.org/x/time/rate"
)

// throttlePage stands for the page that NinjaOne's gateway shows instead of an answer.
const throttlePage = `<!DOCTYPE html><html><head><title>Too many requests</title></head>` +
	`<body><h1>Rate limit exceeded</h1><p>Please try again later.</p></body></html>`

// Fault makes requests go wrong that the instance would have answered.
type Fault struct {
	// Method and Path choose the requests: any method when empty; Path is a regular expression over the path without the
	// /api prefix, any path when empty.
	Method, Path string
	// Organization leaves out requests that are about no single organization, or about another one; 0 leaves out none.
	Organization int
	// Holds leaves out requests whose body does not hold it.
	Holds string
	// Skip lets that many matching requests pass first. Count is how many then fail; all when zero.
	Skip, Count int
	// AfterHandling carries the request out before it fails, so that a write takes effect and its answer is lost.
	AfterHandling bool

	// Delay holds the answer back.
	Delay time.Duration
	// Reset cuts the connection without an answer. Hang leaves the client waiting until it gives
	// up. When the fault is taken away before, the server cuts the connection.
	Reset, Hang bool
	// HTML answers with the gateway's page, and status 200 unless Status says otherwise.
	HTML bool
	// Malformed answers with JSON that ends in the middle: the real answer's with AfterHandling.
	Malformed bool
	// Status, Header and Body are the answer otherwise. Without a status the request is carried out and answered as
	// usual, after Delay and with Header added.
	Status int
	Header http.Header
	Body   string

	// OnHit hears of every request that meets the fault, before its answer.
	OnHit func()
}

// InjectFault adds a fault behind those there are; the first that matches a request is used. The function that it returns
// takes the fault away. The path must be a valid regular expression.
func (s *Server) InjectFault(f Fault) (remove func()) {
	plain := !f.Reset && !f.Hang && !f.HTML && !f.Malformed && f.Status == 0
	f.AfterHandling = f.AfterHandling || plain
	return s.faults.Add(f, fault.Rule{Method: f.Method, Path: regexp.MustCompile(f.Path), Skip: f.Skip, Count: f.Count, OnHit: f.OnHit})
}

// ClearFaults takes every fault away.
func (s *Server) ClearFaults() { s.faults.Clear() }

// meet returns the fault that a request meets, or nil.
func (s *Server) meet(r *http.Request, body []byte) *fault.Active[Fault] {
	return s.faults.Meet(r, func(f *Fault) bool {
		if holds := bytes.Contains(body, []byte(f.Holds)); !holds || f.Organization == 0 {
			return holds
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return f.Organization == s.organizationOf(r, body)
	})
}

// organizationOf is the organization that a request's path, filter or first element of the body is
// about. It is 0 when there is none or several. The caller holds the lock.
func (s *Server) organizationOf(r *http.Request, body []byte) int {
	number := func(text string) int {
		n, _ := strconv.Atoi(strings.TrimSpace(text))
		return n
	}
	entity := func(entityType string, id int) int {
		switch entityType {
		case "NODE":
			return s.devices[id].OrganizationID
		case "DOCUMENT":
			return s.documentation.documents[id].OrganizationID
		}
		return 0
	}
	query := r.URL.Query()
	if filter, ok := strings.CutPrefix(strings.ReplaceAll(query.Get("df"), " ", ""), "org="); ok {
		return number(filter)
	}
	if ids := query.Get("organizationIds"); ids != "" {
		return number(ids)
	}
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	switch {
	case len(part) >= 2 && part[0] == "organization" && part[1] == "documents":
		var batch []json.RawMessage
		if json.Unmarshal(body, &batch) != nil || len(batch) == 0 {
			return 0
		}
		var document struct{ OrganizationID, DocumentID int }
		if id := number(string(batch[0])); id != 0 {
			document.DocumentID = id
		} else if json.Unmarshal(batch[0], &document) != nil {
			return 0
		}
		return cmp.Or(document.OrganizationID, entity("DOCUMENT", document.DocumentID))
	case len(part) >= 3 && part[0] == "organization" && part[1] == "document":
		return entity("DOCUMENT", number(part[2]))
	case len(part) >= 2 && part[0] == "organization":
		return number(part[1])
	case len(part) >= 2 && part[0] == "device":
		return entity("NODE", number(part[1]))
	case len(part) == 2 && part[0] == "related-items":
		host := s.documentation.relations[number(part[1])]
		return entity(host.EntityType, host.EntityID)
	case len(part) >= 4 && part[0] == "related-items":
		return entity(part[2], number(part[3]))
	}
	return 0
}

// serve answers in place of, or after, the real answer.
func serve(active *fault.Active[Fault], w http.ResponseWriter, r *http.Request, real *reply) {
	f := active.Fault
	if !fault.Wait(r.Context(), f.Delay) {
		return
	}
	maps.Copy(w.Header(), f.Header)
	switch {
	case f.Hang:
		active.Hang(r)
		fault.Reset(w)
	case f.Reset:
		fault.Reset(w)
	case f.HTML:
		reply{status: cmp.Or(f.Status, http.StatusOK), body: throttlePage}.write(w)
	case f.Malformed:
		body := []byte(`[{"id":1,"name":"`)
		if real != nil {
			if _, encoded := real.encode(); len(encoded) > 1 {
				body = encoded[:len(encoded)/2]
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		_, _ = w.Write(body)
	case f.Status != 0:
		if f.Body != "" && w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	default:
		real.write(w)
	}
}

// SetLatency changes how long every answer is held back.
func (s *Server) SetLatency(latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = latency
}

// RateLimit is how the instance throttles. Token requests are not counted.
type RateLimit struct {
	// PerSecond is the number of calls allowed per second; no limit when zero.
	PerSecond float64
	// Burst is how many calls may come at once; PerSecond rounded up when zero.
	Burst int
	// RetryAfter is sent with status 429, in whole seconds rounded up; no such header when zero.
	RetryAfter time.Duration
}

// SetRateLimit starts, changes or, with the zero value, ends throttling.
func (s *Server) SetRateLimit(limit RateLimit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.limiter = limit, nil
	if limit.PerSecond > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(limit.PerSecond), cmp.Or(limit.Burst, int(math.Ceil(limit.PerSecond))))
	}
}

// throttle answers a call that comes too soon.
func (s *Server) throttle() (reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limiter == nil || s.limiter.AllowN(s.config.Now(), 1) {
		return reply{}, true
	}
	s.throttled++
	rep := authFailure(http.StatusTooManyRequests, "too_many_requests", "rate limit exceeded", 0)
	if s.limit.RetryAfter > 0 {
		rep.header = http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(s.limit.RetryAfter.Seconds())))}}
	}
	return rep, false
}

// Throttled is the number of calls that the rate limit turned away.
func (s *Server) Throttled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.throttled
}

// count notes a call under its method and path of the contract.
func (s *Server) count(operation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[operation]++
}

// Calls is the number of requests received by method and path of the contract, such as "GET
// /v2/device/{id}". Throttled and failed ones count too.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// ResetCounters forgets calls, writes, violations, refusals and throttled calls, and leaves the instance's content alone.
func (s *Server) ResetCounters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.calls)
	s.writes, s.violations, s.refusals, s.throttled = nil, nil, nil, 0
	s.documentation.changes = nil
}
