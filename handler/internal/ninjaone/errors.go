package ninjaone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Conditions that callers tell apart with errors.Is. An *APIError matches the
// ones that fit its status.
var (
	// ErrNotFound: the organization, device or path does not exist (404).
	ErrNotFound = errors.New("not found in NinjaOne")
	// ErrForbidden: the API application may not do this (403).
	ErrForbidden = errors.New("forbidden by NinjaOne")
	// ErrUnauthorized: NinjaOne does not accept client id, secret or token, even after
	// the client renewed the last two.
	ErrUnauthorized = errors.New("NinjaOne does not accept the API application's credentials")
	// ErrThrottled: NinjaOne asks for fewer calls, for longer than the client
	// is willing to wait; try again later (APIError.RetryAfter).
	ErrThrottled = errors.New("throttled by NinjaOne")
	// ErrNotSent: the client did not make the call, or NinjaOne refused it for now.
	// NinjaOne wrote nothing.
	ErrNotSent = errors.New("the call was not sent")
	// ErrOutOfTime: the client did not make the call, because its context ends before its
	// turn comes. Whoever works under that context is out of time, although it may not
	// have ended yet. It is also context.DeadlineExceeded.
	ErrOutOfTime error = outOfTime{}
	// ErrNotJSON: the answer is not the JSON document that the call asked for.
	ErrNotJSON = errors.New("the answer is not JSON")
	// ErrWrongInstance: the token URL answered 404. NinjaOne answers so for a client id
	// that it does not know. The id may be right, but belong to another instance.
	ErrWrongInstance = errors.New("wrong instance or client ID")
	// ErrMalformedAuth: NinjaOne found no usable Authorization header (400,
	// missing_header or invalid_header). The client always sends one, so the defect is in
	// the client or between it and NinjaOne.
	ErrMalformedAuth = errors.New("the Authorization header did not reach NinjaOne intact, which is a defect and not a matter of configuration")
	// ErrInvalidScope: the API application lacks the scopes that this application needs,
	// monitoring and management. NinjaOne says so when the client asks for a token (400),
	// or in a call (401 or 403). In a call the error is ErrForbidden, too.
	ErrInvalidScope = errors.New("the API application lacks the scope monitoring or management")
)

type outOfTime struct{}

// Error says what is missing.
func (outOfTime) Error() string { return "there is not enough time left for it" }

// Is matches context.DeadlineExceeded.
func (outOfTime) Is(target error) bool { return target == context.DeadlineExceeded }

// notSent is an error that matches ErrNotSent.
type notSent struct{ error }

// Unwrap returns why the call was not sent.
func (e notSent) Unwrap() error { return e.error }

// Is matches ErrNotSent.
func (e notSent) Is(target error) bool { return target == ErrNotSent }

// APIError is an answer of NinjaOne that is not a success.
type APIError struct {
	Method     string        // HTTP method
	Path       string        // path without query, for example /v2/device/7
	Status     int           // HTTP status; 0 when the call was held back because of earlier throttling
	Code       string        // NinjaOne's code (resultCode, error, errorMessage.code or errorCode); may be empty
	Message    string        // NinjaOne's message, without markup, shortened; may be empty
	RequestID  string        // header x-nj-request-id
	IncidentID string        // incidentId, which NinjaOne's support asks for
	RetryAfter time.Duration // how long to wait before trying again; 0 when unknown

	kinds []error // what errors.Is matches
	cause error   // why the answer could not be read
}

// Error says which call failed, how, and what NinjaOne's support needs to
// know about it. It never holds headers, bodies or credentials.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "NinjaOne %s %s", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d", e.Status)
		if t := http.StatusText(e.Status); t != "" {
			b.WriteString(" " + t)
		}
	}
	for _, k := range e.kinds {
		if explained(k) {
			b.WriteString(": " + e.explain(k))
		}
	}
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Message != "" && e.Message != e.Code {
		b.WriteString(": " + e.Message)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	switch {
	case e.Is(ErrForbidden) && e.Is(ErrInvalidScope):
		b.WriteString(" (tick the scope " + scopeOf(e.Method) + " in Administration, Apps, API, Client App IDs)")
	case e.Is(ErrForbidden):
		b.WriteString(" (" + missingRight(e.Method, e.Path) + ")")
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (retry after %s)", e.RetryAfter.Round(time.Second))
	}
	switch {
	case e.RequestID != "" && e.IncidentID != "":
		fmt.Fprintf(&b, " (request %s, incident %s)", e.RequestID, e.IncidentID)
	case e.RequestID != "":
		fmt.Fprintf(&b, " (request %s)", e.RequestID)
	case e.IncidentID != "":
		fmt.Fprintf(&b, " (incident %s)", e.IncidentID)
	}
	return b.String()
}

// missingRight says what NinjaOne most probably misses when it answers a call with 403,
// which names no reason. An API application has scopes: monitoring lets it read,
// management lets it change. A custom field also has an API permission of its own.
// Documents are a product of their own, which somebody has to turn on.
func missingRight(method, path string) string {
	first := ""
	switch {
	case strings.HasSuffix(path, "/custom-fields"), strings.HasPrefix(path, "/v2/queries/custom-fields"):
		first = "the custom field's API permission is not Read/Write (Administration, Devices, Global Custom Fields), or "
	case strings.Contains(path, "document"), strings.HasPrefix(path, "/v2/related-items"):
		first = "NinjaOne Documentation is not turned on for this instance, or "
	}
	return "probably " + first + "the API application lacks the scope " + scopeOf(method) +
		" (Administration, Apps, API, Client App IDs), or it was made for a user whose role does not allow this: make one of the platform API Services"
}

// scopeOf is the scope that a call needs.
func scopeOf(method string) string {
	if method == http.MethodGet {
		return "Monitoring"
	}
	return "Management"
}

// explain says what a condition is. An answer that is JSON, but not what the call asked
// for, is only unreadable.
func (e *APIError) explain(kind error) string {
	var syntax *json.SyntaxError
	if kind == ErrNotJSON && e.cause != nil && !errors.As(e.cause, &syntax) {
		return "the answer cannot be read"
	}
	return kind.Error()
}

// explained reports whether the condition says more than the status does.
func explained(kind error) bool {
	return kind != ErrNotFound && kind != ErrForbidden && kind != ErrTimedOut
}

// Is matches the conditions of this package.
func (e *APIError) Is(target error) bool { return slices.Contains(e.kinds, target) }

// Unwrap returns why the answer could not be read, if that is what failed.
func (e *APIError) Unwrap() error { return e.cause }

// RefusedError tells which fields of a write NinjaOne, or the client before it, refused.
// NinjaOne accepted every other field of that write, but for those left.
type RefusedError struct {
	Refused map[string]error // field name to reason
	// Left are the fields that the client could not try alone, because of Cause. The
	// value says whether the field certainly holds what it held before; if not, it may
	// have been written.
	Left  map[string]bool
	Cause error
}

// Unwrap returns why fields are left.
func (e *RefusedError) Unwrap() error { return e.Cause }

// Error lists the refused fields in alphabetical order.
func (e *RefusedError) Error() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(e.Refused)) {
		parts = append(parts, fmt.Sprintf("field %q refused: %v", name, e.Refused[name]))
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, "; ")
}
