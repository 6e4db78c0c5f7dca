package m365

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/tenant"
)

const routeSerials = "GET /v1.0/deviceManagement/managedDevices"

func TestSerials(t *testing.T) {
	c := newCloud(t)
	c.on(routeSerials, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") != "" {
			c.value(`{"id":"m2","serialNumber":"SN2"},{"id":"m3","serialNumber":null},{"id":"m4"},{"id":"","serialNumber":"SN5"},{"id":"","serialNumber":"SN6"}`)(w, r)
			return
		}
		if q := r.URL.Query(); q.Get("$select") != "id,serialNumber" || q.Get("$top") != "1000" {
			c.problem("asked with %s", r.URL.RawQuery)
		}
		c.says(200, `{"@odata.nextLink":"{host}/v1.0/deviceManagement/managedDevices?$skiptoken=2","value":[{"id":"m1","serialNumber":"SN1"},{"id":"m2","serialNumber":"SN2"}]}`)(w, r)
	})
	got, err := c.reader().Serials(t.Context(), testRef)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"SN1", "SN2", "", "", "SN5", "SN6"}; !slices.Equal(got, want) {
		t.Errorf("serial numbers %q, want %q", got, want)
	}
	if n := c.count(routeSerials); n != 2 {
		t.Errorf("%d calls for two pages", n)
	}
}

func TestSerialsFailures(t *testing.T) {
	tests := []struct {
		name    string
		ref     tenant.Ref
		answer  func(*cloud)
		want    string // of the error; "" for an empty list
		refused bool   // the error is an *AuthError
	}{
		{name: "no device", ref: testRef, answer: func(c *cloud) { c.on(routeSerials, c.value("")) }},
		{name: "Intune is not licensed", ref: testRef, answer: func(c *cloud) {
			c.on(routeSerials, c.says(400, `{"error":{"code":"BadRequest","message":"Request not applicable to target tenant."}}`))
		}},
		{name: "permission missing", ref: testRef, want: "the app lacks DeviceManagementManagedDevices.Read.All", answer: func(c *cloud) {
			c.on(routeSerials, c.says(403, `{"error":{"code":"Forbidden","message":"{\"Message\":\"Application is not authorized to perform this operation.\"}"}}`))
		}},
		{name: "half a page", ref: testRef, want: "gave an answer that cannot be read", answer: func(c *cloud) {
			c.on(routeSerials, c.says(200, `{"value":[{"id":"m1","serialNumber":"SN1"},`))
		}},
		{name: "a link to another host", ref: testRef, want: "gave a link to another host", answer: func(c *cloud) {
			c.on(routeSerials, c.says(200, `{"value":[],"@odata.nextLink":"https://graph.fabrikam.example/v1.0/x"}`))
		}},
		{name: "no consent", ref: testRef, want: "signing in to tenant", refused: true, answer: func(c *cloud) {
			c.on(routeToken, c.says(400, `{"error":"invalid_grant","error_description":"AADSTS65001: The user has not consented.","error_codes":[65001]}`))
		}},
		{name: "the id is not a GUID", ref: tenant.Ref{ID: "tailspin.example"}, want: "its id is not a GUID", answer: func(*cloud) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			tt.answer(c)
			got, err := c.reader().Serials(t.Context(), tt.ref)
			if len(got) > 0 || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, error %v; want %q", got, err, tt.want)
			}
			if refused := errors.As(err, new(*AuthError)); refused != tt.refused {
				t.Errorf("an AuthError: %v, want %v", refused, tt.refused)
			}
		})
	}
	t.Run("context ended", func(t *testing.T) {
		c := newCloud(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.on(routeSerials, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			c.says(503, "")(w, r)
		})
		if _, err := c.reader().Serials(ctx, testRef); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}
