package ninjasim

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// authFailure is an answer of NinjaOne's authentication layer. The code is 0 for answers in OAuth's own shape.
func authFailure(status int, name, description string, code int) reply {
	body := map[string]any{"error": name, "error_description": description}
	if code != 0 {
		body["error_code"] = code
	}
	return reply{status: status, body: body}
}

// applicationFailure is an answer of the service behind the API.
func applicationFailure(status int, result, message string) reply {
	body := map[string]any{"resultCode": result, "incidentId": "WEB_MGMT_SERVICE-" + uuid.NewString()}
	if message != "" {
		body["errorMessage"] = message
	}
	return reply{status: status, body: body}
}

// validationFailure is the answer to input that was understood and not accepted: errorMessage is an object.
func validationFailure(status int, code string, parameters map[string]any) reply {
	return reply{status: status, body: map[string]any{"errorMessage": map[string]any{"code": code, "params": parameters}}}
}

// Refusal is one request that was answered with a client error for what it asked, sent or presented. Throttling and
// injected faults are not refusals.
type Refusal struct {
	Call   string // method and path of the contract, such as "PATCH /v2/device/{id}/custom-fields"
	Path   string // path as requested
	Status int
	Reason string
}

// refusal notes a request that the instance's state refuses: an unknown device, a field that cannot
// be written.
func (s *Server) refusal(c *call, rep reply) reply {
	call := c.request.Method + " " + c.template
	if c.template == "" {
		call = c.request.Method + " (unknown path)"
	}
	s.refusals = append(s.refusals, Refusal{Call: call, Path: c.request.URL.Path, Status: rep.status, Reason: rep.reason()})
	return rep
}

// violation notes a request that no correct client sends, whatever the state of the instance. The lock must not be held.
func (s *Server) violation(c *call, rep reply) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.violationLocked(c, rep)
}

func (s *Server) violationLocked(c *call, rep reply) reply {
	s.violations = append(s.violations, fmt.Sprintf("%s %s: %d %s", c.request.Method, c.request.URL.Path, rep.status, rep.reason()))
	return s.refusal(c, rep)
}

// notFound is the refusal of an id that does not exist, or no longer.
func (s *Server) notFound(c *call, what string) reply {
	return s.refusal(c, applicationFailure(http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("%s %d does not exist", what, c.id)))
}

// reason renders the members of a failure for people.
func (rep reply) reason() string {
	body, ok := rep.body.(map[string]any)
	if !ok {
		return http.StatusText(rep.status)
	}
	var parts []string
	for _, name := range []string{"error", "error_description", "resultCode", "errorMessage"} {
		switch value := body[name].(type) {
		case nil:
		case map[string]any:
			parts = append(parts, fmt.Sprint(value["code"], " ", value["params"]))
		default:
			parts = append(parts, fmt.Sprint(value))
		}
	}
	return strings.Join(parts, ": ")
}

// Violations are the requests that broke the published contract, or a rule that holds whatever the
// instance contains. They are in order of time. A correct client leaves none.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.violations...)
}

// Refusals are all requests that were refused, violations among them, in order of time.
func (s *Server) Refusals() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Refusal(nil), s.refusals...)
}
