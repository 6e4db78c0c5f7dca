package m365sim

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
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
			"date": now.UTC().Format("2006-01-02T15:04:05"), "request-id": randomGUID(), "client-request-id": randomGUID(),
		},
	}})
	return b
}

// randomGUID returns a random version 4 GUID.
func randomGUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// randomToken returns an opaque token that is safe in URLs and headers.
func randomToken() string {
	var b [30]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
