package m365sim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// apiError is a refusal in the words of the service. It is answered as Graph's
// error object, and noted as a violation when the caller broke a rule.
type apiError struct {
	status    int
	code      string
	message   string
	violation string // what rule was broken; "" when the caller did nothing wrong
	header    http.Header
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

// badRequest is a refusal of something the contract does not allow.
func badRequest(format string, args ...any) *apiError {
	m := fmt.Sprintf(format, args...)
	return &apiError{status: http.StatusBadRequest, code: "BadRequest", message: m, violation: m}
}

func notFoundSegment(segment string) *apiError {
	m := "Resource not found for the segment '" + segment + "'."
	return &apiError{status: http.StatusNotFound, code: "BadRequest", message: m, violation: m}
}

func notFoundObject(id string) *apiError {
	return &apiError{status: http.StatusNotFound, code: "Request_ResourceNotFound",
		message: "Resource '" + id + "' does not exist or one of its queried reference-property objects are not present."}
}

// graphErrorBody builds Graph's error object.
func graphErrorBody(code, message string, now time.Time) []byte {
	b, _ := json.Marshal(map[string]any{"error": map[string]any{
		"code": code, "message": message,
		"innerError": map[string]string{
			"date": now.UTC().Format("2006-01-02T15:04:05"), "request-id": uuid.NewString(), "client-request-id": uuid.NewString(),
		},
	}})
	return b
}

// randomToken returns an opaque token that is safe in URLs and headers.
func randomToken() string {
	return rand.Text() + rand.Text()
}
