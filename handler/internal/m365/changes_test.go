package m365

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/m365sim"
)

// look looks at the changes since a look before, and fails on any trouble.
func (s *simulated) look(t *testing.T, since DeltaLinks) Changes {
	t.Helper()
	got, err := s.reader.Changes(t.Context(), s.ref, since)
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range got.Failed {
		t.Errorf("%s: %v", l, err)
	}
	for _, v := range s.Violations() {
		t.Errorf("violation: %s", v)
	}
	return got
}

// TestChanges looks at a tenant again and again while things change in it.
func TestChanges(t *testing.T) {
	s := simulate(t)
	first := s.look(t, nil)
	if len(first.Anew) != 4 || len(first.Links) != 4 {
		t.Fatalf("the first look: %+v", first)
	}
	if n := deltaCalls(s); n != 4 {
		t.Errorf("the first look took %d calls", n)
	}
	links := first.Links
	tenant := s.Tenant(s.ref.ID)
	for name, tt := range map[string]struct {
		change func(*m365sim.Tenant)
		want   map[DeltaList]int
	}{
		"nothing":            {func(*m365sim.Tenant) {}, map[DeltaList]int{}},
		"a name":             {func(o *m365sim.Tenant) { set(o.Users, 1, "displayName", "Renamed") }, map[DeltaList]int{DeltaUsers: 1}},
		"a licence":          {func(o *m365sim.Tenant) { set(o.Users, 2, "assignedLicenses", []any{}) }, map[DeltaList]int{DeltaUsers: 1}},
		"what nobody shows":  {func(o *m365sim.Tenant) { set(o.Users, 3, "faxNumber", "1") }, map[DeltaList]int{}},
		"a user left":        {func(o *m365sim.Tenant) { o.Users = slices.Clone(o.Users[:len(o.Users)-1]) }, map[DeltaList]int{DeltaUsers: 1}},
		"a group's name":     {func(o *m365sim.Tenant) { set(o.Groups, 0, "displayName", "Other") }, map[DeltaList]int{DeltaGroups: 1}},
		"a group's member":   {func(o *m365sim.Tenant) { o.Members[o.Groups[0].ID()] = nil }, map[DeltaList]int{DeltaGroups: 1}},
		"a role's member":    {func(o *m365sim.Tenant) { o.Members[o.Roles[0].ID()] = nil }, map[DeltaList]int{DeltaRoles: 1}},
		"an Entra device":    {func(o *m365sim.Tenant) { set(o.Devices, 0, "displayName", "Other") }, map[DeltaList]int{DeltaDevices: 1}},
		"many users at once": {func(o *m365sim.Tenant) { setAll(o.Users, "jobTitle", "Moved") }, map[DeltaList]int{DeltaUsers: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			s.ResetCalls()
			tenant.Change(tt.change)
			if tt.want[DeltaUsers] < 0 {
				tt.want[DeltaUsers] = len(tenant.Users)
			}
			got := s.look(t, links)
			links = got.Links
			maps.DeleteFunc(got.Changed, func(_ DeltaList, n int) bool { return n == 0 })
			if diff := cmp.Diff(tt.want, got.Changed); diff != "" || len(got.Anew) > 0 {
				t.Errorf("changes (-want +got):\n%s; anew %v", diff, got.Anew)
			}
			if n := deltaCalls(s); n != 4 && tt.want[DeltaUsers] < 2 {
				t.Errorf("took %d calls", n)
			}
		})
	}
}

func set(list []m365sim.Entity, i int, property string, v any) {
	list[i] = maps.Clone(list[i])
	list[i][property] = v
}

func setAll(list []m365sim.Entity, property string, v any) {
	for i := range list {
		set(list, i, property, v)
	}
}

func deltaCalls(s *simulated) (n int) {
	for call, count := range s.Calls() {
		if strings.Contains(call, "/delta") {
			n += count
		}
	}
	return n
}

// TestLostLinks has Graph refuse links: the list begins anew, and says so.
func TestLostLinks(t *testing.T) {
	for name, spoil := range map[string]func(*simulated, DeltaLinks){
		"forgotten": func(s *simulated, _ DeltaLinks) { s.ForgetDeltaLinks() },
		"resync": func(s *simulated, _ DeltaLinks) {
			s.AddFault(m365sim.Fault{Query: regexp.MustCompile(`deltatoken=[^l]`), Status: 410, Code: "resyncRequired", Count: 4})
		},
		"refused as bad": func(s *simulated, _ DeltaLinks) {
			s.AddFault(m365sim.Fault{Query: regexp.MustCompile(`deltatoken=[^l]`), Status: 400, Code: "syncStateNotFound", Count: 4})
		},
		"of another cloud": func(_ *simulated, links DeltaLinks) {
			for l := range links {
				links[l] = "https://graph.example.com/v1.0/users/delta?$deltatoken=x"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t)
			links := s.look(t, nil).Links
			spoil(s, links)
			got := s.look(t, links)
			if len(got.Anew) != 4 {
				t.Fatalf("begun anew: %v", got.Anew)
			}
			if again := s.look(t, got.Links); len(again.Anew) != 0 {
				t.Errorf("begun anew once more: %v", again.Anew)
			}
		})
	}
}

// TestOneListFails has one list fail: the others are read, and its link stays.
func TestOneListFails(t *testing.T) {
	s := simulate(t)
	links := s.look(t, nil).Links
	s.Tenant(s.ref.ID).Deny("RoleManagement.Read.Directory", "Directory.Read.All")
	s.RevokeTokens()
	got, err := s.reader.Changes(t.Context(), s.ref, links)
	if err != nil {
		t.Fatal(err)
	}
	why := got.Failed[DeltaRoles]
	if len(got.Failed) != 1 || why == nil || !strings.Contains(why.Error(), "RoleManagement.Read.Directory") {
		t.Errorf("failed: %v", got.Failed)
	}
	if got.Links[DeltaRoles] != links[DeltaRoles] || len(got.Anew) > 0 {
		t.Errorf("the link of the list that failed did not stay: %+v", got)
	}
}

// TestLatestIsNotKnown begins where the service knows no $deltatoken=latest: it
// refuses that, or lists all that there is.
func TestLatestIsNotKnown(t *testing.T) {
	for name, refuses := range map[string]bool{"refused": true, "ignored": false} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			for _, list := range []string{"users", "groups", "directoryRoles", "devices"} {
				c.on("GET /v1.0/"+list+"/delta", func(w http.ResponseWriter, r *http.Request) {
					if latest := r.URL.Query().Get("$deltatoken") == "latest"; latest && refuses {
						c.says(400, `{"error":{"code":"Request_UnsupportedQuery","message":"x"}}`)(w, r)
						return
					}
					if r.URL.Query().Get("$select") == "" {
						c.problem("asked for %s with %s", list, r.URL.RawQuery)
					}
					c.says(200, `{"value":[{"id":"1"}],"@odata.deltaLink":"`+c.server.URL+`/v1.0/`+list+`/delta?$deltatoken=t"}`)(w, r)
				})
			}
			got, err := c.reader().Changes(t.Context(), testRef, nil)
			if err != nil || len(got.Failed) > 0 || len(got.Links) != 4 {
				t.Errorf("got %+v, %v", got, err)
			}
			for l, link := range got.Links {
				if !strings.HasSuffix(link, "deltatoken=t") {
					t.Errorf("%s goes on from %q", l, link)
				}
			}
		})
	}
}
