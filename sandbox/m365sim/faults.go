package m365sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"cipp-ninjaone/sandbox/fault"
)

// Fault orders trouble for the calls it matches. Exactly one of Status, Reset, Hang,
// HTML, Truncate, Malformed, ExpireToken, Empty and Endless says what
// happens. With none of them the call is only delayed.
type Fault struct {
	Service string         // "login", "graph", "exchange", "defender" or "download"; "" = any
	Tenant  string         // tenant id; "" = any
	Method  string         // "" = any
	Path    *regexp.Regexp // matched against the path with its version; nil = any
	Query   *regexp.Regexp // matched against the decoded query; nil = any
	Skip    int            // so many matching calls pass first
	Count   int            // then so many are hit; 0 = all

	Delay       time.Duration
	Status      int    // answered with the service's error object
	RetryAfter  string // header value with Status; "" = no such header
	Code        string // error code with Status; "" = a usual one
	Message     string
	Reset       bool // the connection is cut without an answer
	Hang        bool // no answer until the client gives up, or the fault is taken away and the connection is cut
	HTML        bool // 200 with a page of HTML
	Truncate    bool // the right answer, cut in the middle with the connection closed
	Malformed   bool // the right answer, cut in the middle, but complete for HTTP
	ExpireToken bool // 401, and the tenant's tokens are revoked

	Empty   bool    // the right answer, whose list holds nothing and ends
	Endless Endless // a list that never ends; begins with the right first page

	// OnHit hears of every call that the fault hits, before its answer.
	OnHit func()
}

// AddFault adds a fault; the first one that matches a call applies. Reset, Hang and
// Truncate do not apply to single parts of a batch.
func (s *Server) AddFault(f Fault) {
	s.faults.Add(f, fault.Rule{Method: f.Method, Path: f.Path, Skip: f.Skip, Count: f.Count, OnHit: f.OnHit})
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() { s.faults.Clear() }

// meet returns the fault that applies to the call, if any.
func (s *Server) meet(r *http.Request, service string, t *Tenant) *fault.Active[Fault] {
	part := r.Context().Value(partKey) != nil
	return s.faults.Meet(r, func(f *Fault) bool {
		return (f.Service == "" || f.Service == service) &&
			(f.Query == nil || f.Query.MatchString(decodedQuery(r))) &&
			(f.Tenant == "" || t != nil && t.ID == f.Tenant) &&
			(!part || !f.Reset && !f.Truncate && !f.Hang)
	})
}

// answer is what a service answers to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
	cut    bool // half the body, then the connection is closed
	reset  bool // no answer at all
}

func jsonAnswer(status int, v any) *answer {
	b, err := json.Marshal(v)
	if err != nil {
		return &answer{status: http.StatusInternalServerError, header: http.Header{}, body: []byte(err.Error())}
	}
	return rawAnswer(status, b)
}

func rawAnswer(status int, body []byte) *answer {
	return &answer{status: status, body: body, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}}
}

// write sends the answer; it aborts the connection where the answer says so.
func (a *answer) write(w http.ResponseWriter) {
	if a.reset {
		fault.Reset(w)
		return
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if !a.cut {
		w.Write(a.body)
		return
	}
	w.Write(a.body[:len(a.body)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// trouble answers by the fault that matches the call, or else by next.
func (s *Server) trouble(r *http.Request, service string, t *Tenant, next func(*http.Request) *answer) *answer {
	met := s.meet(r, service, t)
	if met == nil {
		return next(r)
	}
	f := &met.Fault
	if !fault.Wait(r.Context(), f.Delay) {
		return &answer{reset: true}
	}
	switch {
	case f.Reset:
		return &answer{reset: true}
	case f.Hang:
		met.Hang(r)
		return &answer{reset: true}
	case f.HTML:
		return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
			body: []byte("<!DOCTYPE html><html><head><title>Service</title></head><body>The page cannot be displayed.</body></html>")}
	case f.ExpireToken:
		s.revoke(func(token *accessToken) bool { return t == nil || token.tenant == t.ID })
		return s.errorAnswer(r, &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken",
			message: "Lifetime validation failed, the token is expired."})
	case f.Status != 0:
		return s.errorAnswer(r, f.refusal())
	case f.Endless != "":
		return s.endless(r, t, f, next)
	case f.Empty:
		return emptied(next(r))
	}
	a := next(r)
	a.cut = f.Truncate
	if f.Malformed {
		a.body = a.body[:len(a.body)/2]
	}
	return a
}

func (f *Fault) refusal() *apiError {
	e := &apiError{status: f.Status, code: f.Code, message: f.Message, header: http.Header{}}
	if f.RetryAfter != "" {
		e.header.Set("Retry-After", f.RetryAfter)
	}
	if e.code == "" {
		e.code = map[int]string{
			http.StatusTooManyRequests: "TooManyRequests", http.StatusServiceUnavailable: "serviceNotAvailable",
			http.StatusForbidden: "Authorization_RequestDenied", http.StatusUnauthorized: "InvalidAuthenticationToken",
		}[f.Status]
	}
	if e.code == "" {
		e.code = "UnknownError"
	}
	if e.message == "" {
		e.message = http.StatusText(f.Status)
	}
	return e
}

// errorAnswer answers with Graph's error object, and notes the violation if
// there was one.
func (s *Server) errorAnswer(r *http.Request, e *apiError) *answer {
	if e.violation != "" {
		s.violate(r, e.violation)
	}
	a := rawAnswer(e.status, graphErrorBody(e.code, e.message, s.now()))
	maps.Copy(a.header, e.header)
	return a
}
