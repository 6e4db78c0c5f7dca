package ninjasim

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPaging(t *testing.T) {
	i := newInstance(t)
	for target, want := range map[string][]int{
		"/v2/organizations":                              {1, 2, 5},
		"/v2/organizations?pageSize=2":                   {1, 2},
		"/v2/organizations?pageSize=2&after=2":           {5},
		"/v2/organizations?pageSize=2&after=5":           {},
		"/v2/locations?pageSize=1&after=1":               {2},
		"/v2/devices":                                    {11, 12, 21},
		"/v2/devices-detailed?pageSize=1&after=11":       {12},
		"/v2/devices?df=org%20%3D%201&pageSize=5":        {11, 12},
		"/v2/organization/1/devices":                     {11, 12, 13},
		"/v2/organization/1/devices?after=12&pageSize=9": {13},
	} {
		if got := ids(i.send("GET", target, "").list(t), "id"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
}

func TestDeviceShape(t *testing.T) {
	i := newInstance(t)
	for name, device := range map[string]map[string]any{
		"list": i.send("GET", "/v2/devices-detailed?df=id=11", "").list(t)[0],
		"one":  i.send("GET", "/v2/device/11", "").object(t),
	} {
		if device["lastContact"] != 1772366400.5 || device["netbiosName"] != "ALD-LT-01" || device["approvalStatus"] != "APPROVED" {
			t.Errorf("%s: %v", name, device)
		}
		want := map[string]any{"name": "ALD-LT-01", "manufacturer": "Example Works", "model": "Book 14", "serialNumber": "SN11", "biosSerialNumber": "BIOS11",
			"chassisType": "LAPTOP", "virtualMachine": false}
		if !reflect.DeepEqual(device["system"], want) {
			t.Errorf("%s: system %v", name, device["system"])
		}
		if _, ok := device["dnsName"]; ok {
			t.Errorf("%s: an unset property is answered: %v", name, device)
		}
	}
	brief := i.send("GET", "/v2/devices?df=id=11", "").list(t)[0]
	if _, ok := brief["system"]; ok {
		t.Errorf("the brief list shows hardware: %v", brief)
	}
	if a := i.send("GET", "/v2/organization/1", ""); a.object(t)["name"] != "Alder Clinics" || len(a.object(t)["locations"].([]any)) != 1 {
		t.Errorf("organization %s", a.body)
	}
	if i.Calls()["GET /v2/device/{id}"] != 1 {
		t.Errorf("calls %v", i.Calls())
	}
}

func TestDeviceFilter(t *testing.T) {
	i := newInstance(t)
	tests := []struct {
		filter string
		want   []int // nil: refused
	}{
		{"", []int{11, 12, 21}},
		{"org = 1", []int{11, 12}},
		{"organization=1", []int{11, 12}},
		{"org eq 1 AND class = WINDOWS_SERVER", []int{12}},
		{"org=1 and online", []int{11}},
		{"org in (1, 2) && offline", []int{12}},
		{"org != 1", []int{21}},
		{"id !in (11,12)", []int{21}},
		{"id nin (11)", []int{12, 21}},
		{"class in (MAC,WINDOWS_SERVER)", []int{12, 21}},
		{"class neq MAC", []int{11, 12}},
		{"status = PENDING", []int{13}},
		{"status != PENDING AND org = 1", []int{11, 12}},
		{"loc = 2", []int{21}},
		{"org = 99", []int{}},
		{"org = 1 OR org = 2", nil},
		{"org = 1 org = 2", nil},
		{"org = x", nil},
		{"org = 1 AND", nil},
		{"org in 1", nil},
		{"org in (1", nil},
		{"org in (1,)", nil},
		{"org > 1", nil},
		{"org", nil},
		{"class = LAPTOP", nil},
		{"status = DECOMMISSIONED", nil},
		{"search = abc", nil},
		{"group 5", nil},
		{"org = '1'", nil},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			i.ResetCounters()
			escaped := strings.ReplaceAll(url.PathEscape(test.filter), "&", "%26")
			a := i.send("GET", "/v2/devices?df="+escaped, "")
			if test.want == nil {
				if a.status != 400 || len(i.Violations()) == 0 {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				return
			}
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if got := ids(a.list(t), "id"); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{"org = 1", "org in (1,2) AND status = PENDING", "class !in (MAC)", "online && offline", "((", "org=", "id in (,)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := parseFilter(text)
		if (err == nil) == (filter.wants == nil) {
			t.Fatalf("%q: filter and error are both set or both missing", text)
		}
		if err != nil {
			return
		}
		if !strings.Contains(strings.ToLower(text), "status") && filter.wants(Device{ApprovalStatus: "PENDING"}) {
			t.Fatalf("%q lets a pending device pass", text)
		}
		if filter.organization != 0 && filter.wants(Device{ApprovalStatus: "APPROVED", OrganizationID: filter.organization + 1}) {
			t.Fatalf("%q wants devices outside organization %d", text, filter.organization)
		}
	})
}

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{"a":{"html":"x"},"b":null}`, `{"a":1,"a":2}`, `[1]`, `{"a":`, `{"a" 1}`, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := members(body)
		if err == nil && object == nil {
			t.Fatal("neither members nor an error")
		}
		for _, raw := range object {
			for _, kind := range []string{"WYSIWYG", "TEXT", "CHECKBOX", "NUMERIC", "MULTI_SELECT", "URL"} {
				if sent, value, err := (CustomField{Type: kind}).accept(raw); err != nil && (sent != "" || value != nil) {
					t.Fatalf("%s %s: refused and accepted", kind, raw)
				}
			}
		}
	})
}
