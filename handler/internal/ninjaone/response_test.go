package ninjaone

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/retry"
)

var allKinds = []error{ErrNotFound, ErrForbidden, ErrUnauthorized, ErrThrottled, ErrNotJSON, ErrWrongInstance, ErrInvalidScope, ErrMalformedAuth}

func TestNewAPIError(t *testing.T) {
	const jsonType, htmlType = "application/json;charset=UTF-8", "text/html"
	api := operation{method: "PATCH", path: "/v2/device/7/custom-fields"}
	token := operation{method: "POST", path: tokenPath}
	for _, tt := range []struct {
		name              string
		op                operation
		status            int
		contentType, body string
		code, message     string
		incident          string
		kinds             []error
	}{
		{name: "authentication layer", op: api, status: 401, contentType: jsonType,
			body: `{"error":"not_authenticated","error_description":"token is gone","error_code":10}`,
			code: "not_authenticated", message: "token is gone", kinds: []error{ErrUnauthorized}},
		{name: "missing header", op: api, status: 400, contentType: jsonType,
			body: `{"error":"missing_header","error_code":2}`,
			code: "missing_header", kinds: []error{ErrMalformedAuth}},
		{name: "invalid header", op: api, status: 400, contentType: jsonType,
			body: `{"error":"invalid_header","error_code":1}`,
			code: "invalid_header", kinds: []error{ErrMalformedAuth}},
		{name: "application layer", op: api, status: 500, contentType: jsonType,
			body: `{"resultCode":"FAILURE","errorMessage":"NullPointerException","incidentId":"WEB_MGMT_SERVICE-77"}`,
			code: "FAILURE", message: "NullPointerException", incident: "WEB_MGMT_SERVICE-77"},
		{name: "application layer without message", op: api, status: 404, contentType: jsonType,
			body: `{"resultCode":"ENTITY_NOT_FOUND","incidentId":"WEB_MGMT_SERVICE-78"}`,
			code: "ENTITY_NOT_FOUND", incident: "WEB_MGMT_SERVICE-78", kinds: []error{ErrNotFound}},
		{name: "validation", op: api, status: 400, contentType: jsonType,
			body: `{"errorMessage":{"code":"field_value_invalid","params":{"field":"summary","max":200}}}`,
			code: "field_value_invalid"},
		{name: "validation with message", op: api, status: 422, contentType: jsonType,
			body: `{"errorMessage":{"code":"too_long","message":"too long","params":{}}}`,
			code: "too_long", message: "too long"},
		{name: "billing", op: api, status: 403, contentType: jsonType,
			body: `{"errorCode":4711,"message":"no such product"}`,
			code: "4711", message: "no such product", kinds: []error{ErrForbidden}},
		{name: "gateway page", op: api, status: 502, contentType: htmlType,
			body:    "<html><head><style>b{color:red}</style><title>502</title></head><body>Bad <b>Gateway</b></body>",
			message: "502 Bad Gateway"},
		{name: "rate-limit page", op: api, status: 403, contentType: htmlType,
			body:    "<html><h1>Too Many Requests</h1></html>",
			message: "Too Many Requests", kinds: []error{ErrThrottled}},
		{name: "rate-limit page with 200", op: api, status: 200, contentType: htmlType,
			body:    "<html>API rate-limit reached</html>",
			message: "API rate-limit reached", kinds: []error{ErrThrottled}},
		{name: "page of something else with 200", op: api, status: 200, contentType: htmlType,
			body: "<!doctype html><title>Sign in</title>", message: "Sign in", kinds: []error{ErrNotJSON}},
		{name: "404 of a web server", op: api, status: 404, contentType: htmlType,
			body: "<html>nothing here</html>", message: "nothing here", kinds: []error{ErrNotJSON}},
		{name: "429", op: api, status: 429, contentType: jsonType, body: `{}`, kinds: []error{ErrThrottled}},
		{name: "503 without body", op: api, status: 503, kinds: []error{ErrThrottled}},
		{name: "plain text", op: api, status: 400, contentType: "text/plain", body: "no", message: "no"},
		{name: "token: unknown client", op: token, status: 404, contentType: jsonType,
			body: `{"resultCode":"Client app not exist","incidentId":"WEB_MGMT_SERVICE-1"}`,
			code: "Client app not exist", incident: "WEB_MGMT_SERVICE-1", kinds: []error{ErrWrongInstance}},
		{name: "token: scope", op: token, status: 400, contentType: jsonType,
			body: `{"error":"invalid_scope"}`, code: "invalid_scope", kinds: []error{ErrInvalidScope}},
		{name: "token: secret by 400", op: token, status: 400, contentType: jsonType,
			body: `{"error":"invalid_client"}`, code: "invalid_client", kinds: []error{ErrUnauthorized}},
		{name: "unexpected types", op: api, status: 400, contentType: jsonType,
			body: `{"resultCode":{"a":1},"errorMessage":[1],"error":true,"message":null,"incidentId":5}`, incident: "5"},
		{name: "array", op: api, status: 400, contentType: jsonType, body: `["x"]`, message: `["x"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {tt.contentType}, "X-Nj-Request-Id": {"req-1"}}
			e := newAPIError(tt.op, tt.status, h, []byte(tt.body))
			if e.Code != tt.code || e.Message != tt.message || e.IncidentID != tt.incident || e.RequestID != "req-1" || e.Status != tt.status {
				t.Errorf("got %+v", e)
			}
			for _, kind := range allKinds {
				if got, want := errors.Is(e, kind), slices.Contains(tt.kinds, kind); got != want {
					t.Errorf("errors.Is(_, %v) = %v, want %v", kind, got, want)
				}
			}
			if s := e.Error(); !strings.HasPrefix(s, "NinjaOne "+tt.op.method+" "+tt.op.path+": ") || !strings.Contains(s, "req-1") {
				t.Errorf("Error() = %q", s)
			}
		})
	}
}

func TestErrorTextIsShortAndPlain(t *testing.T) {
	long := `{"resultCode":"FAILURE","errorMessage":"<script>alert(1)</script>bad\u0000\n<img src=x onerror=y> ` + strings.Repeat("é", 5000) + `"}`
	e := newAPIError(operation{method: "GET", path: "/v2/x"}, 400, http.Header{}, []byte(long))
	if n := utf8.RuneCountInString(e.Message); n != maxErrorMessage {
		t.Errorf("the message has %d characters, want %d", n, maxErrorMessage)
	}
	if !strings.HasPrefix(e.Message, "bad éé") || strings.ContainsAny(e.Message, "<>\n\x00") {
		t.Errorf("message %q", e.Message)
	}
}

func TestErrorDescribesRedirect(t *testing.T) {
	e := newAPIError(operation{method: "GET", path: "/v2/x"}, 302, http.Header{"Location": {"https://elsewhere.example/?token=1"}}, nil)
	if want := `redirected to host "elsewhere.example", which is not followed`; e.Message != want {
		t.Errorf("message %q, want %q", e.Message, want)
	}
}

func TestBlanksBeforeAnAnswer(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(" \t\r\n[]"))}
	body, err := checkResponse(operation{method: "GET", path: "/v2/x"}, resp, &Call{})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := io.ReadAll(body); string(left) != "[]" {
		t.Errorf("left to read is %q, %v", left, err)
	}
}

func FuzzNewAPIError(f *testing.F) {
	for _, s := range []string{
		`{"error":"x","error_code":1}`, `{"errorMessage":{"code":"x","params":{}}}`, `{"errorMessage":"x"}`, `null`, `[]`, `<html>rate limit`,
		`{"resultCode":"FAILURE","errorMessage":null,"incidentId":"WEB_MGMT_SERVICE-1"}`, "\xff\xfe", "<script>", "",
	} {
		f.Add(400, "application/json", s)
		f.Add(200, "text/html", s)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		h := http.Header{"Content-Type": {contentType}, "Retry-After": {body}, "Location": {body}, "X-Nj-Request-Id": {body}}
		e := newAPIError(operation{method: "GET", path: "/v2/x"}, status, h, []byte(body))
		text := e.Error()
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") || utf8.RuneCountInString(text) > 1200 {
			t.Fatalf("unfit for a log line: %q", text)
		}
		if strings.Contains(strings.ToLower(e.Message+e.Code), "<script") {
			t.Fatalf("markup survived: %q", text)
		}
		if e.RetryAfter < 0 || e.RetryAfter > retry.Longest {
			t.Fatalf("RetryAfter = %s", e.RetryAfter)
		}
	})
}

func TestAnswersThatAreNotTheDocument(t *testing.T) {
	for _, tt := range []struct {
		name              string
		status            int
		contentType, body string
		attempts          int
	}{
		{"page", 200, "text/html", "<html>Sign in</html>", maxFailed},
		{"page that says it is JSON", 200, "application/json", "<html>Sign in</html>", maxFailed},
		{"JSON that says it is text", 200, "text/plain", `[]`, maxFailed},
		{"no content type", 200, "", `[]`, maxFailed},
		{"nothing", 200, "application/json", "", maxFailed},
		{"204 where a list is due", 204, "", "", maxFailed},
		{"half a list", 200, "application/json", `[{"id":1},{"id":`, maxFailed},
		{"list without end", 200, "application/json", `[{"id":1}`, maxFailed},
		{"null", 200, "application/json", `null`, maxFailed},
		{"object", 200, "application/json", `{}`, maxFailed},
		{"two documents", 200, "application/json", `[] []`, maxFailed},
		{"wrong type", 200, "application/json", `[{"id":"one"}]`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header()["Content-Type"] = nil
					if tt.contentType != "" {
						w.Header().Set("Content-Type", tt.contentType)
					}
					w.WriteHeader(tt.status)
					_, _ = w.Write([]byte(tt.body))
				})
				list, err := inProcess(t, fake).Organizations(t.Context())
				if !errors.Is(err, ErrNotJSON) || list != nil {
					t.Fatalf("got %v, %v; want ErrNotJSON", list, err)
				}
				if got := len(fake.made()); got != tt.attempts {
					t.Errorf("%d attempts, want %d", got, tt.attempts)
				}
			})
		})
	}
}

// Half an answer to a write does not prove that it was done, even where no
// answer is needed: it is made again.
func TestHalfAnswerToWrite(t *testing.T) {
	n := 0
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			answer(w, 200, `[{"id":1,"name":"`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := serve(t, f).UpdateDeviceFields(t.Context(), 7, Fields{"f": Text("x")}, false); err != nil || n != 2 {
		t.Errorf("%d calls, error %v", n, err)
	}
}

func TestEmptyAnswerToWrite(t *testing.T) {
	for _, status := range []int{200, 204} {
		fake := newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		if err := call(t.Context(), serve(t, fake), http.MethodPatch, nil); err != nil {
			t.Errorf("%d without body: %v", status, err)
		}
	}
}

func TestDecodeMembers(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"any order, unknown members", `{"x":{"a":[1]},"results":[1,2],"cursor":null}`, ""},
		{"required member missing", `{"cursor":{}}`, "no member"},
		{"results null", `{"results":null}`, "expected form"},
		{"list", `[]`, "expected form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list []int
			var next cursor
			err := decodeMembers(map[string]func(*json.Decoder) error{"results": into(&list, decodeList[int]), "cursor": into(&next, decodeValue[cursor])}, "results")(json.NewDecoder(strings.NewReader(tt.in)))
			if tt.want == "" && (err != nil || len(list) != 2) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, %v", list, err)
			}
		})
	}
}
