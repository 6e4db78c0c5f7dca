package ninjaone

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// A 403 names no reason, so the error names the right that is probably missing
// for that very call.
func TestForbiddenSaysWhichRightIsMissing(t *testing.T) {
	for _, tt := range []struct{ method, path, want string }{
		{http.MethodGet, "/v2/devices-detailed", "probably the API application lacks the scope Monitoring"},
		{http.MethodPatch, "/v2/device/7/custom-fields", "API permission is not Read/Write"},
		{http.MethodPatch, "/v2/device/7/custom-fields", "lacks the scope Management"},
		{http.MethodGet, "/v2/queries/custom-fields-detailed", "API permission is not Read/Write"},
		{http.MethodPost, "/v2/organization/documents", "NinjaOne Documentation is not turned on for this instance, or the API application lacks the scope Management"},
		{http.MethodDelete, "/v2/related-items/5", "NinjaOne Documentation is not turned on"},
		{http.MethodGet, "/v2/organization/7", "or it was made for a user whose role does not allow this"},
	} {
		op := operation{method: tt.method, template: tt.path, path: tt.path}
		err := newAPIError(op, http.StatusForbidden, http.Header{}, []byte(`{"resultCode":"FORBIDDEN"}`))
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %q does not say %q", tt.method, tt.path, err, tt.want)
		}
	}
	err := newAPIError(operation{method: http.MethodGet, path: "/v2/x"}, http.StatusBadRequest, http.Header{}, nil)
	if strings.Contains(err.Error(), "scope") {
		t.Errorf("an answer that is no 403 speaks of rights: %q", err)
	}
}

// A scope that is missing is told as one, whatever the status, and no new token
// is asked for: it would have the same scopes.
func TestMissingScope(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"401, by the authentication layer": status(401, `{"error":"insufficient_privileges","error_description":"not for this client","error_code":11}`),
		"401, by the application":          status(401, `{"resultCode":"FAILURE","errorMessage":"INSUFFICIENT_PRIVILEGES","incidentId":"WEB-1"}`),
		"401, by the validation":           status(401, `{"errorMessage":{"code":"insufficient_scope","params":{}}}`),
		"403":                              status(403, `{"error":"insufficient_privileges"}`),
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, answer)
			c := serve(t, fake)
			err := c.UpdateDeviceFields(t.Context(), 7, Fields{"a": Text("x"), "b": Text("y")}, false)
			if !errors.Is(err, ErrInvalidScope) || !errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "tick the scope Management") {
				t.Errorf("got %v", err)
			}
			if _, err = c.Templates(t.Context()); errors.Is(err, ErrNoDocumentation) || !errors.Is(err, ErrInvalidScope) || !strings.Contains(err.Error(), "tick the scope Monitoring") {
				t.Errorf("templates: %v", err)
			}
			if calls := fake.made(); len(calls) != 2 {
				t.Errorf("calls %q", calls)
			}
			if n := fake.tokens(); n != 1 {
				t.Errorf("%d tokens were asked for", n)
			}
		})
	}
}

// A connection that breaks is told in words, with the call that it was.
func TestBrokenConnectionIsToldInWords(t *testing.T) {
	fake := newFake(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, _, err := serve(t, fake).Devices(t.Context(), 42)
	if want := "NinjaOne GET /v2/devices-detailed: the connection was closed without an answer"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
