package ninjasim

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestPatchRules(t *testing.T) {
	rich := func(markup string) string {
		encoded, err := json.Marshal(map[string]string{"html": markup})
		if err != nil {
			t.Fatal(err)
		}
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
		{name: "checkbox", target: device, body: `{"flag":true}`, status: 204},
		{name: "checkbox as text", target: device, body: `{"flag":"true"}`, status: 400, code: "invalid_value", violation: true},
		{name: "number", target: device, body: `{"count":3}`, status: 204},
		{name: "fraction", target: device, body: `{"count":3.5}`, status: 400, code: "invalid_value", violation: true},
		{name: "address", target: device, body: `{"portal":"https://example.com"}`, status: 204},
		{name: "address without https", target: device, body: `{"portal":"http://example.com"}`, status: 400, code: "invalid_value", violation: true},
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

func TestValuesAreSanitisedAndReadBack(t *testing.T) {
	i := newInstance(t)
	i.send("PATCH", "/v2/organization/1/custom-fields", `{"tenantSummary":{"html":"<div class=\"row x\"><b>Users</b></div><p>12</p>"},"tenantNote":"note"}`)
	want := map[string]any{
		"tenantSummary": map[string]any{"html": `<div class="row">Users</div><p>12</p>`, "text": "Users\n12"}, "tenantNote": "note",
	}
	if got := i.send("GET", "/v2/organization/1/custom-fields", "").object(t); !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	value, ok := i.OrganizationField(1, "tenantSummary")
	if !ok || value.Sent != `<div class="row x"><b>Users</b></div><p>12</p>` || value.UpdatedBy != "API" ||
		!slices.Equal(value.Removed, []string{"class x", "element b"}) {
		t.Errorf("value %+v", value)
	}
	if got := i.send("GET", "/v2/device/11/custom-fields", "").object(t); len(got) != 0 {
		t.Errorf("without inheritance %v", got)
	}
	if got := i.send("GET", "/v2/device/11/custom-fields?withInheritance=true", "").object(t); !reflect.DeepEqual(got, map[string]any{"tenantNote": "note"}) {
		t.Errorf("with inheritance %v", got)
	}
	i.clock.advance(time.Minute)
	i.send("PATCH", "/v2/organization/1/custom-fields", `{"tenantSummary":null,"tenantNote":"other"}`)
	if got := i.send("GET", "/v2/organization/1/custom-fields", "").object(t); !reflect.DeepEqual(got, map[string]any{"tenantNote": "other"}) {
		t.Errorf("after clearing %v", got)
	}
	writes := i.Writes()
	if len(writes) != 2 || writes[0].Target != (Target{OrganizationKind, 1}) || !slices.Equal(writes[0].Fields, []string{"tenantNote", "tenantSummary"}) ||
		!slices.Equal(writes[1].Cleared, []string{"tenantSummary"}) || !slices.Equal(writes[1].Fields, []string{"tenantNote"}) ||
		writes[1].Time.Sub(writes[0].Time) != time.Minute || writes[0].RequestID == "" {
		t.Errorf("writes %+v", writes)
	}
	i.ResetCounters()
	if len(i.Writes()) != 0 || len(i.Calls()) != 0 {
		t.Errorf("after reset: %v %v", i.Writes(), i.Calls())
	}
}

func TestAdministratorsAndTechnicians(t *testing.T) {
	i := newInstance(t)
	i.SetDeviceField(11, "deviceCompliance", "Compliant")
	i.SetDeviceField(21, "deviceCompliance", "Non-Compliant")
	i.SetOrganizationField(1, "tenantNote", "by hand")
	if value, ok := i.DeviceField(11, "deviceCompliance"); !ok || value.Sent != "Compliant" || value.UpdatedBy != "USER" {
		t.Errorf("value %+v", value)
	}
	before, _ := i.DeviceField(11, "deviceCompliance")
	i.Age(time.Hour)
	if aged, _ := i.DeviceField(11, "deviceCompliance"); before.UpdatedAt.Sub(aged.UpdatedAt) != time.Hour || aged.Sent != "Compliant" {
		t.Errorf("value %+v, an hour older than %+v", aged, before)
	}
	if len(i.Writes()) != 0 {
		t.Errorf("a technician's change is not a write through the API: %v", i.Writes())
	}
	i.SetDeviceField(21, "deviceCompliance", "")
	if _, ok := i.DeviceField(21, "deviceCompliance"); ok {
		t.Error("an emptied field has a value")
	}
	i.MoveDevice(12, 2)
	if got := ids(i.send("GET", "/v2/organization/2/devices", "").list(t), "id"); !slices.Equal(got, []int{12, 21}) {
		t.Errorf("devices after the move %v", got)
	}
	i.RemoveDevice(12)
	if a := i.send("GET", "/v2/device/12", ""); a.status != 404 {
		t.Errorf("removed device: %d", a.status)
	}
	i.RemoveCustomField("deviceCompliance")
	if a := i.send("PATCH", "/v2/device/11/custom-fields", `{"deviceCompliance":"Compliant"}`); a.status != 400 {
		t.Errorf("removed field: %d", a.status)
	}
	if _, ok := i.DeviceField(11, "deviceCompliance"); ok {
		t.Error("a removed field has a value")
	}
	i.RemoveOrganization(1)
	for _, target := range []string{"/v2/organization/1", "/v2/organization/1/custom-fields", "/v2/device/11"} {
		if a := i.send("GET", target, ""); a.status != 404 {
			t.Errorf("%s of a removed organization: %d", target, a.status)
		}
	}
	if got := i.Organizations(); len(got) != 2 || len(i.Devices(1)) != 0 {
		t.Errorf("organizations %v", got)
	}
	if v := i.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

func TestDefinitions(t *testing.T) {
	i := newInstance(t)
	names := func(target string) []string {
		var found []string
		for _, field := range i.send("GET", target, "").list(t) {
			found = append(found, field["name"].(string))
		}
		return found
	}
	if got := names("/v2/device-custom-fields?scopes=organization"); !slices.Equal(got, []string{"tenantNote", "tenantSummary"}) {
		t.Errorf("organization scope %v", got)
	}
	if got := names("/v2/device-custom-fields?scopes=node,organization"); len(got) != 9 {
		t.Errorf("both scopes %v", got)
	}
	if got := names("/v2/device-custom-fields"); slices.Contains(got, "tenantSummary") || len(got) != 8 {
		t.Errorf("no scope %v", got)
	}
	created := i.send("POST", "/v2/custom-fields", `{"label":"New","fieldName":"newField","type":"WYSIWYG","apiPermission":"READ_WRITE","definitionScope":["ORGANIZATION"]}`)
	if created.status != 200 || created.object(t)["name"] != "newField" {
		t.Fatalf("create: %d %s", created.status, created.body)
	}
	if a := i.send("PATCH", "/v2/organization/1/custom-fields", `{"newField":{"html":"x"}}`); a.status != 204 {
		t.Errorf("write to the new field: %d", a.status)
	}
	if a := i.send("POST", "/v2/custom-fields", `{"label":"New","fieldName":"NEWFIELD"}`); a.status != 400 {
		t.Errorf("same name: %d", a.status)
	}
	for _, body := range []string{`{"label":"x"}`, `{"label":"x","fieldName":"y","kind":"z"}`, `{"label":"x","fieldName":"y","type":"HTML"}`} {
		if a := i.send("POST", "/v2/custom-fields", body); a.status != 400 {
			t.Errorf("create with %s: %d", body, a.status)
		}
	}
	var found []string
	for target := "/v2/custom-fields?pageSize=5"; target != ""; {
		answer := i.send("GET", target, "").object(t)
		for _, field := range answer["results"].([]any) {
			found = append(found, field.(map[string]any)["name"].(string))
		}
		target = ""
		if name, ok := answer["cursorName"].(string); ok {
			target = "/v2/custom-fields?pageSize=5&cursorName=" + name
		}
	}
	if len(found) != 10 || !slices.IsSorted(found) {
		t.Errorf("paged definitions %v", found)
	}
	if a := i.send("GET", "/v2/custom-fields?cursorName=none", ""); a.status != 400 {
		t.Errorf("unknown cursor: %d", a.status)
	}
}

func TestReports(t *testing.T) {
	i := newInstance(t)
	i.SetTokenLifetime(24 * time.Hour)
	i.token = i.newToken("")
	for id := 100; id < 125; id++ {
		i.AddDevice(Device{ID: id, OrganizationID: 5, SystemName: "CED-" + strconv.Itoa(id)})
		i.SetDeviceField(id, "deviceCompliance", "Compliant")
	}
	i.clock.advance(time.Hour)
	i.send("PATCH", "/v2/device/11/custom-fields", `{"deviceCompliance":"Non-Compliant","deviceSummary":{"html":"<p>x</p>"},"flag":true}`)
	i.send("PATCH", "/v2/organization/1/custom-fields", `{"tenantNote":"n"}`)
	rows := func(answer map[string]any) []map[string]any {
		var list []map[string]any
		for _, row := range answer["results"].([]any) {
			list = append(list, row.(map[string]any))
		}
		return list
	}

	t.Run("pages until an empty one", func(t *testing.T) {
		var sizes []int
		target := "/v2/queries/custom-fields?df=org%20%3D%205&pageSize=10"
		for next := target; ; {
			answer := i.send("GET", next, "").object(t)
			sizes = append(sizes, len(rows(answer)))
			if len(rows(answer)) == 0 {
				break
			}
			next = target + "&cursor=" + answer["cursor"].(map[string]any)["name"].(string)
		}
		if !slices.Equal(sizes, []int{10, 10, 5, 0}) {
			t.Errorf("sizes %v", sizes)
		}
	})
	t.Run("cursor expires and belongs to its report", func(t *testing.T) {
		name := i.send("GET", "/v2/queries/custom-fields?pageSize=10", "").object(t)["cursor"].(map[string]any)["name"].(string)
		if a := i.send("GET", "/v2/queries/custom-fields-detailed?cursor="+name, ""); a.status != 400 {
			t.Errorf("cursor of another report: %d", a.status)
		}
		i.clock.advance(14 * time.Minute)
		if a := i.send("GET", "/v2/queries/custom-fields?pageSize=10&cursor="+name, ""); a.status != 200 {
			t.Errorf("before it expires: %d", a.status)
		}
		i.clock.advance(time.Minute)
		if a := i.send("GET", "/v2/queries/custom-fields?pageSize=10&cursor="+name, ""); a.status != 400 {
			t.Errorf("after it expired: %d", a.status)
		}
	})
	t.Run("chosen fields, updated since", func(t *testing.T) {
		answer := i.send("GET", "/v2/queries/custom-fields?fields=deviceCompliance,flag&updatedAfter=2026-03-01T12:30:00Z", "").object(t)
		want := []map[string]any{{"deviceId": 11.0, "fields": map[string]any{"deviceCompliance": "Non-Compliant", "flag": true}}}
		if got := rows(answer); !reflect.DeepEqual(got, want) {
			t.Errorf("rows %v", got)
		}
		for _, since := range []string{"2026-03-01", "20260301", "1772323200"} {
			if got := rows(i.send("GET", "/v2/queries/custom-fields?updatedAfter="+since, "").object(t)); len(got) != 26 {
				t.Errorf("since %s: %d rows", since, len(got))
			}
		}
		if a := i.send("GET", "/v2/queries/custom-fields?updatedAfter=yesterday", ""); a.status != 400 {
			t.Errorf("not a date: %d", a.status)
		}
	})
	t.Run("detailed", func(t *testing.T) {
		got := rows(i.send("GET", "/v2/queries/custom-fields-detailed?df=id%20=%2011&fields=deviceCompliance", "").object(t))
		if len(got) != 1 || got[0]["entityType"] != "NODE" || got[0]["entityId"] != 11.0 {
			t.Fatalf("rows %v", got)
		}
		field := got[0]["fields"].([]any)[0].(map[string]any)
		if field["name"] != "deviceCompliance" || field["value"] != "Non-Compliant" || field["updateTime"] != 1772370000.5 ||
			field["updatedBy"].(map[string]any)["source"] != "API" {
			t.Errorf("field %v", field)
		}
	})
	t.Run("scoped", func(t *testing.T) {
		got := rows(i.send("GET", "/v2/queries/scoped-custom-fields?scopes=organization", "").object(t))
		want := []map[string]any{{"scope": "ORGANIZATION", "entityId": 1.0, "fields": map[string]any{"tenantNote": "n"}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("rows %v", got)
		}
		if got := rows(i.send("GET", "/v2/queries/scoped-custom-fields", "").object(t)); len(got) != 27 {
			t.Errorf("all scopes: %d rows", len(got))
		}
	})
	t.Run("values without permission are left out", func(t *testing.T) {
		i.SetDeviceField(21, "hidden", "x")
		if got := rows(i.send("GET", "/v2/queries/custom-fields?df=org=2", "").object(t)); len(got) != 0 {
			t.Errorf("rows %v", got)
		}
	})
}
