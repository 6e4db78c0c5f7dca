package m365

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestUsersFollowNextLinksUntouched(t *testing.T) {
	c := newCloud(t)
	c.on(routeUsers, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("$skiptoken") {
		case "":
			c.says(200, `{"value":[{"id":"u1"}],"@odata.nextLink":"{host}/v1.0/users?$skiptoken=a%24b%2Ec"}`)(w, r)
		case "a$b.c":
			if r.URL.RawQuery != "$skiptoken=a%24b%2Ec" {
				c.problem("the link was changed to %s", r.URL.RawQuery)
			}
			c.says(200, `{"@odata.nextLink":"{host}/v1.0/users?$skiptoken=last","value":[]}`)(w, r)
		default:
			c.says(200, `{"value":[{"id":"u2"},{"id":"u3"}]}`)(w, r)
		}
	})
	users, _, err := c.graph().users(t.Context(), true)
	if err != nil || len(users) != 3 || users[2].ID != "u3" {
		t.Fatalf("got %v, %v", users, err)
	}
}

func TestGroupsSplitOverPages(t *testing.T) {
	c := newCloud(t)
	pages := []string{
		`{"id":"G1","displayName":"Big","groupTypes":["Unified"],"members@delta":[{"@odata.type":"#microsoft.graph.user","id":"U1"},{"@odata.type":"#microsoft.graph.device","id":"d1"}]},{"id":"g2","displayName":"Empty"}`,
		`{"id":"g1","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"u2"},{"@odata.type":"#microsoft.graph.user","id":"u1"}]},{"id":"g3","displayName":"Going"}`,
		`{"id":"g1","displayName":"Big, renamed","members@delta":[{"id":"d1","@removed":{"reason":"deleted"}},{"@odata.type":"#microsoft.graph.servicePrincipal","id":"sp1"},{"id":"u2","@removed":{"reason":"deleted"}},{"@odata.type":"#microsoft.graph.user","id":"u2"}]},{"id":"g3","@removed":{"reason":"deleted"}}`,
	}
	c.on(routeGroups, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
		link := fmt.Sprintf(`"@odata.nextLink":"{host}/v1.0/groups/delta?$skiptoken=%d"`, n+1)
		if n == len(pages)-1 {
			link = `"@odata.deltaLink":"{host}/v1.0/groups/delta?$deltatoken=t"`
		}
		c.says(200, `{`+link+`,"value":[`+pages[n]+`]}`)(w, r)
	})
	got, err := c.graph().groups(t.Context())
	want := []tenant.Group{
		{ID: "g1", DisplayName: "Big, renamed", GroupTypes: []string{"Unified"}, Members: []tenant.Member{
			{ID: "u1", Kind: "user"}, {ID: "u2", Kind: "user"}, {ID: "sp1", Kind: "servicePrincipal"}}},
		{ID: "g2", DisplayName: "Empty"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestGroupsWithoutDelta(t *testing.T) {
	tests := []struct {
		name  string
		delta func(*cloud) http.HandlerFunc
	}{
		{"refused", func(c *cloud) http.HandlerFunc { return c.says(400, `{"error":{"code":"BadRequest"}}`) }},
		{"ended without its link", func(c *cloud) http.HandlerFunc { return c.value(`{"id":"g1"}`) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeGroups, test.delta(c))
			const groups = 45
			var rows []string
			for i := range groups {
				rows = append(rows, fmt.Sprintf(`{"id":"g%d","displayName":"Group %d"}`, i, i))
				route := fmt.Sprintf("GET /v1.0/groups/g%d/members", i)
				c.on(route, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Query().Get("$skiptoken") != "" {
						c.value(`{"@odata.type":"#microsoft.graph.user","id":"second"}`)(w, r)
						return
					}
					c.says(200, `{"@odata.nextLink":"{host}`+r.URL.Path+`?$skiptoken=1","value":[{"@odata.type":"#microsoft.graph.user","id":"first"}]}`)(w, r)
				})
			}
			c.on("GET /v1.0/groups", c.selected("999", strings.Join(rows, ",")))
			got, err := c.graph().groups(t.Context())
			if err != nil || len(got) != groups {
				t.Fatalf("%d groups, %v", len(got), err)
			}
			for _, g := range got {
				if len(g.Members) != 2 {
					t.Errorf("%s has members %v", g.ID, g.Members)
				}
			}
			if n := c.count(routeBatch); n != 3 {
				t.Errorf("%d batches, want 3", n)
			}
		})
	}
	t.Run("a group whose members are refused", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeGroups, c.says(501, ""))
		c.on("GET /v1.0/groups", c.value(`{"id":"g1"}`))
		c.on("GET /v1.0/groups/g1/members", c.says(403, ""))
		if got, err := c.graph().groups(t.Context()); !hasStatus(err, 403) {
			t.Errorf("got %v, %v; a list of members must never be silently empty", got, err)
		}
	})
}

func TestPolicyStates(t *testing.T) {
	const path = "GET /v1.0/deviceManagement/managedDevices/%s/deviceCompliancePolicyStates"
	devices := []tenant.ManagedDevice{
		{ID: "good", ComplianceState: tenant.StateCompliant},
		{ID: "bare", ComplianceState: tenant.StateNoncompliant},
		{ID: "gone", ComplianceState: tenant.StateError},
		{ID: "shut", ComplianceState: tenant.StateInGracePeriod},
		{ID: "odd", ComplianceState: tenant.StateUnknown},
	}
	c := newCloud(t)
	c.on(fmt.Sprintf(path, "bare"), c.value(`{"id":"p1","displayName":"A","state":"nonCompliant","settingCount":3,"settingStates":null},{"id":"p2","displayName":"B","state":"compliant","settingCount":3}`))
	c.on(fmt.Sprintf(path, "bare")+"/p1/settingStates", c.value(`{"setting":"S1","state":"error","errorDescription":"no answer","currentValue":5},{"setting":"S2","state":"notApplicable"}`))
	c.on(fmt.Sprintf(path, "shut"), c.says(403, ""))
	p, missed, err := c.graph().policyStates(t.Context(), devices, nil)
	want := map[string][]tenant.PolicyState{"bare": {
		{Policy: "A", State: "noncompliant", Settings: []tenant.SettingState{{Setting: "S1", State: "error", ErrorDescription: "no answer", CurrentValue: "5"}}},
		{Policy: "B", State: "compliant"}}}
	if diff := cmp.Diff(want, p.states); diff != "" || err != nil || len(missed) != 1 || missed[0].detail != tenant.DetailPolicies || !hasStatus(missed[0].err, 403) {
		t.Errorf("%v, %v (-want +got):\n%s", missed, err, diff)
	}
	if n := c.count(fmt.Sprintf(path, "good")) + c.count(fmt.Sprintf(path, "odd")); n != 0 {
		t.Errorf("%d reads of devices that are not non-compliant", n)
	}
	c.on(fmt.Sprintf(path, "bare"), c.says(403, ""))
	if _, _, err := c.graph().policyStates(t.Context(), devices, nil); !hasStatus(err, 403) {
		t.Errorf("nothing read: got %v", err)
	}
}

func TestBatchRetriesThrottledPartsAlone(t *testing.T) {
	c := newCloud(t)
	round := 0
	var sizes []int
	c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
		round++
		requests := c.requests(r)
		sizes = append(sizes, len(requests))
		var out []map[string]any
		for _, part := range requests {
			answer := map[string]any{"id": part.ID, "status": 200, "body": map[string]any{"value": []any{map[string]any{"id": part.URL}}}}
			switch {
			case round == 1 && part.URL == "/users/1":
				answer = map[string]any{"id": part.ID, "status": 429, "headers": map[string]any{"Retry-After": "7"}}
			case round == 1 && part.URL == "/users/2":
				answer = map[string]any{"id": part.ID, "status": 503, "headers": map[string]any{"retry-after": 2}}
			case round == 1 && part.URL == "/users/3":
				continue // forgotten
			case part.URL == "/users/4":
				answer = map[string]any{"id": part.ID, "status": 404, "body": map[string]any{"error": map[string]any{"code": "Gone"}}}
			}
			out = append(out, answer)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"responses": out})
	})
	g := c.graph()
	answers := g.batch(t.Context(), requestsFor(t, g, 5))
	for i, a := range answers {
		p, err := pageOf[wire.User](t.Context(), g, a)
		switch {
		case i == 4 && !hasStatus(err, 404):
			t.Errorf("part 4: %v", err)
		case i != 4 && (err != nil || p.Items[0].ID != fmt.Sprintf("/users/%d", i)):
			t.Errorf("part %d: %+v, %v", i, p, err)
		}
	}
	if diff := cmp.Diff([]int{5, 3}, sizes); diff != "" {
		t.Errorf("sizes of the batches (-want +got):\n%s", diff)
	}
	if len(c.sleeps) != 1 || c.sleeps[0].Seconds() != 7 {
		t.Errorf("waits %v, want the longest, 7s", c.sleeps)
	}
}

func TestBatchGivesUpOnThrottledParts(t *testing.T) {
	c := newCloud(t)
	c.on("GET /v1.0/users/0", c.says(429, ""))
	c.on("GET /v1.0/users/1", c.value(""))
	g := c.graph()
	answers := g.batch(t.Context(), requestsFor(t, g, 2))
	if !hasStatus(answers[0].err, 429) || answers[1].err != nil {
		t.Errorf("got %v and %v", answers[0].err, answers[1].err)
	}
	if n := c.count(routeBatch); n != maxAttempts {
		t.Errorf("%d rounds, want %d", n, maxAttempts)
	}
}
