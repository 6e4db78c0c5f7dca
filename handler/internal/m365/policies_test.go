package m365

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

const policyPath = "GET /v1.0/deviceManagement/managedDevices/%s/deviceCompliancePolicyStates"

// failing is the answer that one policy fails, with one setting that does.
const failing = `{"id":"p1","displayName":"Baseline","state":"nonCompliant","settingCount":1,"settingStates":[{"settingName":"BitLocker","state":"nonCompliant"}]}`

// TestPoliciesAreReadOnce reads policies only of devices that do not comply, and only
// when a device checked in or its state changed since the last reading.
func TestPoliciesAreReadOnce(t *testing.T) {
	day := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	before := []tenant.PolicyState{{Policy: "Before", State: tenant.StateNoncompliant}}
	known := tenant.PolicyReadings{
		"same":       {CheckIn: day, State: tenant.StateNoncompliant, Policies: before, Read: day},
		"checked in": {CheckIn: day, State: tenant.StateNoncompliant, Policies: before, Read: day},
		"worse":      {CheckIn: day, State: tenant.StateInGracePeriod, Policies: before, Read: day},
	}
	devices := []tenant.ManagedDevice{
		{ID: "same", ComplianceState: tenant.StateNoncompliant, LastSync: day},
		{ID: "checked in", ComplianceState: tenant.StateNoncompliant, LastSync: day.Add(time.Hour)},
		{ID: "worse", ComplianceState: tenant.StateNoncompliant, LastSync: day},
		{ID: "new", ComplianceState: tenant.StateNoncompliant, LastSync: day},
		{ID: "mended", ComplianceState: tenant.StateCompliant, LastSync: day},
	}
	c := newCloud(t)
	for _, id := range []string{"checked in", "worse", "new"} {
		c.on(fmt.Sprintf(policyPath, id), c.value(failing))
	}
	states, read, err := c.reader().PolicyStates(t.Context(), testRef, devices, known)
	if err != nil || len(states) != 4 || len(read) != 3 || states["same"][0].Policy != "Before" || states["worse"][0].Policy != "Baseline" {
		t.Errorf("%v, %v, %v", states, read, err)
	}
	for id, r := range read {
		i := slices.IndexFunc(devices, func(d tenant.ManagedDevice) bool { return d.ID == id })
		if !r.Counts(&devices[i]) || r.Read.IsZero() {
			t.Errorf("the reading of %s does not count: %+v", id, r)
		}
	}
	tokens := c.count(routeToken)
	if _, again, err := c.reader().PolicyStates(t.Context(), testRef, devices[:1], known); len(again) != 0 || err != nil || c.count(routeToken) != tokens {
		t.Errorf("where nothing changed, %v was read, %v", again, err)
	}
}

// TestPoliciesUnread has an answer that proves nothing: the device is missing, or
// its policy says that it was not read, and nothing counts as read.
func TestPoliciesUnread(t *testing.T) {
	device := []tenant.ManagedDevice{{ID: "m1", ComplianceState: tenant.StateNoncompliant}}
	settings := fmt.Sprintf(policyPath, "m1") + "/p1/settingStates"
	plain := `{"id":"p1","displayName":"Baseline","state":"nonCompliant","settingCount":1}`
	for name, tt := range map[string]struct {
		policies, settings func(c *cloud) http.HandlerFunc
		partly             bool // the policies are known, the settings are not
	}{
		"refused":                {policies: func(c *cloud) http.HandlerFunc { return c.says(403, "") }},
		"gone":                   {policies: func(c *cloud) http.HandlerFunc { return c.says(404, "") }},
		"null":                   {policies: func(c *cloud) http.HandlerFunc { return c.says(200, `{"value":null}`) }},
		"no list":                {policies: func(c *cloud) http.HandlerFunc { return c.says(200, `{}`) }},
		"a state that is none":   {policies: func(c *cloud) http.HandlerFunc { return c.value(`7`) }},
		"a state without state":  {policies: func(c *cloud) http.HandlerFunc { return c.value(`{"id":"p1","displayName":"Baseline"}`) }, partly: true},
		"settings refused":       {settings: func(c *cloud) http.HandlerFunc { return c.says(403, "") }, partly: true},
		"settings null":          {settings: func(c *cloud) http.HandlerFunc { return c.says(200, `{"value":null}`) }, partly: true},
		"a setting that is none": {settings: func(c *cloud) http.HandlerFunc { return c.value(`{"setting":"S1","state":"nonCompliant"},"S2"`) }, partly: true},
		"a setting without state": {settings: func(c *cloud) http.HandlerFunc {
			return c.value(`{"setting":"S1","state":"nonCompliant"},{"setting":"S2"}`)
		},
			partly: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on("POST /beta/$batch", c.batch)
			c.on(strings.Replace(settings, "v1.0", "beta", 1), c.says(403, ""))
			c.on(fmt.Sprintf(policyPath, "m1"), c.value(plain))
			if tt.policies != nil {
				c.on(fmt.Sprintf(policyPath, "m1"), tt.policies(c))
			}
			if tt.settings != nil {
				c.on(settings, tt.settings(c))
			}
			states, read, err := c.reader().PolicyStates(t.Context(), testRef, device, nil)
			if len(read) != 0 || (len(states["m1"]) == 1) != tt.partly || tt.partly && !states["m1"][0].Unread {
				t.Errorf("%+v, %+v, %v", states, read, err)
			}
		})
	}
}

// TestPoliciesOfUsers: Intune reports a policy, and a setting, once for each user,
// with the same id.
func TestPoliciesOfUsers(t *testing.T) {
	c := newCloud(t)
	c.on(fmt.Sprintf(policyPath, "m1"), c.value(`{"id":"p1","displayName":"Baseline","state":"compliant"},{"id":"p1","displayName":"Baseline","state":"nonCompliant"}`))
	c.on(fmt.Sprintf(policyPath, "m1")+"/p1/settingStates", c.value(
		`{"setting":"S1","state":"compliant","userName":"Ada"},{"setting":"S1","state":"nonCompliant","userName":"Ben"}`))
	states, _, err := c.reader().PolicyStates(t.Context(), testRef, []tenant.ManagedDevice{{ID: "m1", ComplianceState: tenant.StateNoncompliant}}, nil)
	if s := states["m1"]; err != nil || len(s) != 2 || len(s[1].Settings) != 1 || s[1].Settings[0].UserName != "Ben" {
		t.Errorf("%+v, %v", states, err)
	}
}

// TestPoliciesTakeTurns has more devices than are read at a time: those that were
// read longest ago come first, and the others stay as they were.
func TestPoliciesTakeTurns(t *testing.T) {
	day := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	c := newCloud(t)
	var devices []tenant.ManagedDevice
	known := tenant.PolicyReadings{}
	for i := range maxPolicyDevices + 20 {
		id := fmt.Sprintf("m%d", i)
		devices = append(devices, tenant.ManagedDevice{ID: id, ComplianceState: tenant.StateNoncompliant, LastSync: day})
		c.on(fmt.Sprintf(policyPath, id), c.value(failing))
		if i < 20 { // in the last run
			known[id] = tenant.PolicyReading{CheckIn: day.Add(-time.Hour), State: tenant.StateNoncompliant, Read: day, Policies: []tenant.PolicyState{{Policy: "Before"}}}
		}
	}
	p, missed, err := c.graph().policyStates(t.Context(), devices, known)
	if err != nil || len(p.read) != maxPolicyDevices || len(p.states) != len(devices) || p.states["m3"][0].Policy != "Before" || p.states["m519"][0].Policy != "Baseline" {
		t.Errorf("%d were read, %d are known, %v", len(p.read), len(p.states), err)
	}
	if len(missed) != 1 || missed[0].detail != tenant.DetailPolicies {
		t.Errorf("missed %v", missed)
	}
	// 500 devices are 25 batches, and their settings came with them.
	if n := c.count("POST /v1.0/$batch"); n != maxPolicyDevices/batchSize {
		t.Errorf("%d batches", n)
	}
}
