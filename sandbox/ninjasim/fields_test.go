package ninjasim

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPatchRules(t *testing.T) {
	rich := func(markup string) string {
		encoded, err := json.Marshal(map[string]string{"html": markup})
		must(t, err)
		return string(encoded)
	}
	const device, organization = "/v2/device/11/custom-fields", "/v2/organization/1/custom-fields"
	tests := []struct {
		name, target, body string
		status             int
		code               string
		violation          bool
	}{
		{name: "text", target: device, body: `{"deviceCompliance":"Compliant"}`, status: 204},
		{name: "rich text", target: organization, body: `{"tenantSummary":{"html":"<p>x</p>"}}`, status: 204},
		{name: "clear", target: device, body: `{"deviceSummary":null}`, status: 204},
		{name: "unknown field", target: device, body: `{"gone":"x"}`, status: 400, code: "custom_field_not_found"},
		{name: "field of organizations on a device", target: device, body: `{"tenantSummary":{"html":"x"}}`, status: 400, code: "custom_field_not_in_scope"},
		{name: "field of devices on an organization", target: organization, body: `{"deviceSummary":{"html":"x"}}`, status: 400, code: "custom_field_not_in_scope"},
		{name: "read only", target: device, body: `{"readOnly":"x"}`, status: 400, code: "custom_field_not_writable"},
		{name: "hidden", target: device, body: `{"hidden":"x"}`, status: 400, code: "custom_field_not_writable"},
		{name: "rich text as string", target: device, body: `{"deviceSummary":"<p>x</p>"}`, status: 400, code: "invalid_value", violation: true},
		{name: "rich text with more members", target: device, body: `{"deviceSummary":{"html":"x","text":"x"}}`, status: 400, code: "invalid_value", violation: true},
		{name: "rich text without html", target: device, body: `{"deviceSummary":{"text":"x"}}`, status: 400, code: "invalid_value", violation: true},
		{name: "rich text null", target: device, body: `{"deviceSummary":{"html":null}}`, status: 400, code: "invalid_value", violation: true},
		{name: "text as object", target: device, body: `{"deviceCompliance":{"html":"x"}}`, status: 400, code: "invalid_value", violation: true},
		{name: "text of 200 characters", target: device, body: `{"deviceCompliance":"` + strings.Repeat("é", 200) + `"}`, status: 204},
		{name: "text of 201 characters", target: device, body: `{"deviceCompliance":"` + strings.Repeat("é", 201) + `"}`, status: 400, code: "invalid_value", violation: true},
		{name: "longest rich text", target: device, body: `{"deviceSummary":` + rich(strings.Repeat("a", 200_000)) + `}`, status: 204},
		{name: "rich text too long", target: device, body: `{"deviceSummary":` + rich(strings.Repeat("a", 200_001)) + `}`, status: 400, code: "invalid_value", violation: true},
		{name: "rich text too long with escapes", target: device, body: `{"deviceSummary":` + rich(strings.Repeat(`"`, 100_001)) + `}`, status: 400, code: "invalid_value", violation: true},
		{name: "a type that is not written", target: device, body: `{"flag":true}`, status: 400, code: "invalid_value", violation: true},
		{name: "same field twice", target: device, body: `{"deviceCompliance":"a","deviceCompliance":"b"}`, status: 400, code: "invalid_request", violation: true},
		{name: "one bad neighbour", target: device, body: `{"deviceCompliance":"Compliant","gone":"x"}`, status: 400, code: "custom_field_not_found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t)
			a := i.send("PATCH", test.target, test.body)
			if a.status != test.status {
				t.Fatalf("status %d, want %d: %.300s", a.status, test.status, a.body)
			}
			if got := len(i.Violations()) > 0; got != test.violation {
				t.Errorf("violations %q", i.Violations())
			}
			if test.status == 204 {
				if len(a.body) > 0 || len(i.Writes()) != 1 {
					t.Errorf("body %q, writes %v", a.body, i.Writes())
				}
				return
			}
			message, ok := a.object(t)["errorMessage"].(map[string]any)
			if !ok || message["code"] != test.code {
				t.Errorf("answer %s, want code %s", a.body, test.code)
			}
			if len(i.Writes()) > 0 {
				t.Errorf("a refused call wrote %v", i.Writes())
			}
			if _, ok := i.DeviceField(11, "deviceCompliance"); ok {
				t.Error("a refused call stored a value")
			}
		})
	}
}
