package m365

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
)

// transportError: a service could not be reached, or did not answer in time.
type transportError struct {
	service string
	err     error
}

func (e *transportError) Error() string { return e.service + " cannot be reached: " + e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// statusError: a service answered with an error. The service's message is kept
// for decisions, and stays out of Error because it may name people.
type statusError struct {
	service   string
	status    int
	code      string
	message   string
	requestID string
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answered HTTP %d", e.service, e.status)
	if e.code != "" {
		text += " (" + e.code + ")"
	}
	if e.requestID != "" {
		text += ", request " + e.requestID
	}
	return text
}

// bodyError: a service answered 200 with something that is not the whole and
// well-formed answer.
type bodyError struct {
	service string
	err     error
}

func (e *bodyError) Error() string {
	return e.service + " gave an answer that cannot be read: " + e.err.Error()
}
func (e *bodyError) Unwrap() error { return e.err }

// endlessError: a service gave a list that does not end.
type endlessError struct {
	service string
	err     error
}

func (e *endlessError) Error() string {
	return e.service + " gave a list that never ends (" + strings.TrimPrefix(e.err.Error(), bounds.ErrEndless.Error()+": ") + ")"
}
func (e *endlessError) Unwrap() error { return e.err }

// emptyError: a service gave an empty list of what every tenant has.
type emptyError struct{ service, what string }

func (e *emptyError) Error() string {
	return e.service + " gave an empty list of " + e.what + ", which cannot be"
}

// linkError: an answer pointed to a host that may not be followed.
type linkError struct{ service string }

func (e *linkError) Error() string {
	return e.service + " gave a link to another host, which was not followed"
}

// absence is a reason, in words for a technician, why a part is absent although
// nothing went wrong.
type absence string

func (a absence) Error() string { return string(a) }

var codePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func newStatusError(service string, status int, header http.Header, body []byte) *statusError {
	e := &statusError{service: service, status: status, requestID: header.Get("request-id")}
	var said wire.ServiceError
	if reply.Unmarshal(body, &said) == nil {
		parts := []string{string(said.Error.Message), string(said.Error.Inner.InternalException.Message)}
		for _, d := range said.Error.Details {
			parts = append(parts, string(d.Message))
		}
		e.message = strings.Join(parts, "\n")
		if codePattern.MatchString(string(said.Error.Code)) {
			e.code = string(said.Error.Code)
		}
		e.requestID = cmp.Or(e.requestID, string(said.Error.Inner.RequestID))
	}
	if !codePattern.MatchString(e.requestID) {
		e.requestID = ""
	}
	return e
}

// errorOf reads the answer that is an error, and closes it. The second value is
// not nil when not all of it came.
func errorOf(service string, res *http.Response) (*statusError, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	discard(res)
	return newStatusError(service, res.StatusCode, res.Header, body), err
}

// hasStatus reports whether a service answered with one of the statuses.
func hasStatus(err error, statuses ...int) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && slices.Contains(statuses, e.status)
}
