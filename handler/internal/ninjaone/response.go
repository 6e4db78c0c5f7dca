package ninjaone

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/words"
)

const (
	maxErrorBody    = 64 << 10 // bytes of an error answer that are looked at
	maxErrorMessage = 300      // characters of NinjaOne's message that are kept
	maxErrorCode    = 100
)

// statusOriginTimeout is how Cloudflare says that a server gave no answer in time.
const statusOriginTimeout = 524

// tokenPath is the OAuth token endpoint, outside the API's root.
const tokenPath = "/ws/oauth/token"

// checkResponse tells success from failure. It notes the status and request id
// in call, and returns the answer's body for reading. A success is a 2xx whose
// body is JSON by its content type and its first character, or empty. The private texts
// were sent, and no error repeats them.
func checkResponse(op operation, resp *http.Response, call *Call, private ...string) (*bufio.Reader, error) {
	call.Status = resp.StatusCode
	call.requestID = resp.Header.Get("X-Nj-Request-Id")
	body := bufio.NewReader(resp.Body)
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		switch first, err := firstByte(body); {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, fmt.Errorf("reading the answer: %w", netfault.Explain(err))
		case isJSONType(resp.Header.Get("Content-Type")) && bytes.IndexByte([]byte(`{["-0123456789tfn`), first) >= 0:
			return body, nil
		}
	}
	head, _ := io.ReadAll(io.LimitReader(body, maxErrorBody))
	return nil, newAPIError(op, resp.StatusCode, resp.Header, head, private...)
}

// firstByte returns the first byte that is not white space, without consuming
// it.
func firstByte(r *bufio.Reader) (byte, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, r.UnreadByte()
		}
	}
}

func isJSONType(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// decodeAnswer hands the answer to decode and makes sure that nothing follows.
// Whatever goes wrong is ErrNotJSON: half an answer must never pass for a
// short one.
func (op operation) decodeAnswer(resp *http.Response, content io.Reader, decode func(*json.Decoder) error) error {
	dec := json.NewDecoder(content)
	err := decode(dec)
	if err == nil {
		err = reply.End(dec)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the answer ends too early")
	}
	return &APIError{
		Method: op.method, Path: op.path, Status: resp.StatusCode,
		RequestID: clean(resp.Header.Get("X-Nj-Request-Id"), maxErrorCode),
		kinds:     []error{ErrNotJSON}, cause: err,
	}
}

// newAPIError describes an answer that is not a success. It takes every form of error
// that NinjaOne is known to send. NinjaOne's OpenAPI document describes none of them:
//
//   - the authentication layer's {error, error_description, error_code};
//   - the application's {resultCode, errorMessage, incidentId};
//   - the validation's {errorMessage: {code, params}};
//   - the billing part's {errorCode, message};
//   - a gateway's HTML page.
func newAPIError(op operation, status int, h http.Header, body []byte, private ...string) *APIError {
	// Of a private text that is clipped first, the beginning would stay.
	tidy := func(s string, limit int) string { return clean(redact(s, private), limit) }
	e := &APIError{Method: op.method, Path: op.path, Status: status, RequestID: tidy(h.Get("X-Nj-Request-Id"), maxErrorCode)}
	e.RetryAfter, _ = retry.After(h)
	html := isHTML(h.Get("Content-Type"), body)
	if !e.fromJSON(body, tidy) {
		e.Message = tidy(string(body), maxErrorMessage)
	}
	if status >= 300 && status < 400 {
		e.Message = "redirected elsewhere, which is not followed"
		if to, err := url.Parse(h.Get("Location")); err == nil && to.Host != "" {
			e.Message = fmt.Sprintf("redirected to host %q, which is not followed", tidy(to.Host, maxErrorCode))
		}
	}
	e.kinds = kindsOf(op, status, e.Code, html, body)
	return e
}

// fromJSON takes what it can from a JSON object, and reports whether the body
// is one.
func (e *APIError) fromJSON(body []byte, tidy func(string, int) string) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return false
	}
	var nested struct {
		Code, Message json.RawMessage
	}
	message := scalar(m["errorMessage"])
	if message == "" && json.Unmarshal(m["errorMessage"], &nested) == nil {
		message = scalar(nested.Message)
	}
	e.Code = tidy(cmp.Or(scalar(m["resultCode"]), scalar(nested.Code), scalar(m["error"]), scalar(m["errorCode"]), scalar(m["error_code"])), maxErrorCode)
	e.Message = tidy(cmp.Or(message, scalar(m["error_description"]), scalar(m["message"]), scalar(m["errorDetails"])), maxErrorMessage)
	e.IncidentID = tidy(scalar(m["incidentId"]), maxErrorCode)
	return true
}

// scalar returns a JSON string's or number's text, "" for anything else.
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

func kindsOf(op operation, status int, code string, html bool, body []byte) []error {
	token := op.path == tokenPath
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable,
		html && saysThrottled.Match(body):
		return []error{ErrThrottled}
	case status >= 200 && status < 300:
		return []error{ErrNotJSON}
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && saysScope.Match(body):
		return []error{ErrInvalidScope, ErrForbidden}
	case status == http.StatusUnauthorized,
		token && (code == "invalid_client" || code == "unauthorized_client"):
		return []error{ErrUnauthorized}
	case token && code == "invalid_scope":
		return []error{ErrInvalidScope}
	case status == http.StatusBadRequest && (code == "missing_header" || code == "invalid_header"):
		return []error{ErrMalformedAuth}
	case status == http.StatusForbidden:
		return []error{ErrForbidden}
	case status == http.StatusNotFound && html:
		// A web server that knows nothing of the API: no proof that an
		// organization or a device is gone.
		return []error{ErrNotJSON}
	case status == http.StatusNotFound && token:
		return []error{ErrWrongInstance}
	case status == http.StatusNotFound:
		return []error{ErrNotFound}
	case status == http.StatusGatewayTimeout, status == http.StatusRequestTimeout, status == statusOriginTimeout:
		return []error{ErrTimedOut}
	}
	return nil
}

var saysThrottled = regexp.MustCompile(`(?i)rate[\s_-]*limit|too[\s_-]+many[\s_-]+requests|throttl|request[\s_-]+limit`)

// saysScope matches refusals of a token that is good, but whose scopes do not reach. A
// new token would have the same.
var saysScope = regexp.MustCompile(`(?i)insufficient[\s_-]*(privilege|scope|permission)`)

func isHTML(contentType string, body []byte) bool {
	t, _, _ := mime.ParseMediaType(contentType)
	return t == "text/html" || t == "application/xhtml+xml" || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

var (
	invisibleElement = regexp.MustCompile(`(?is)<(script|style)\b.*?(</(script|style)[^>]*>|$)`)
	markup           = regexp.MustCompile(`(?s)<[^>]*(>|$)`)
)

// redact removes what is private from what NinjaOne says.
func redact(s string, private []string) string {
	for _, p := range private {
		s = strings.ReplaceAll(s, p, "…")
		s = strings.ReplaceAll(s, url.QueryEscape(p), "…")
	}
	return s
}

// clean makes text from NinjaOne fit for a log line, of at most limit characters. It
// removes markup and control characters, and joins runs of space.
func clean(s string, limit int) string {
	s = invisibleElement.ReplaceAllString(s, " ")
	s = markup.ReplaceAllString(s, " ")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return words.Clip(strings.Join(strings.Fields(s), " "), limit)
}
