package m365sim_test

import (
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
)

// membership adds up the members of a delta answer by group.
func membership(rows []map[string]any) (members map[string]map[string]bool, repeats int) {
	members = map[string]map[string]bool{}
	for _, r := range rows {
		id := r["id"].(string)
		if members[id] != nil {
			repeats++
		} else {
			members[id] = map[string]bool{}
		}
		list, _ := r["members@delta"].([]any)
		for _, m := range list {
			m := m.(map[string]any)
			members[id][m["id"].(string)] = m["@removed"] == nil
		}
	}
	return members, repeats
}

func TestDelta(t *testing.T) {
	s := start(t, m365sim.Config{DeltaPageSize: 4, DeltaMembers: 10})
	rows, pages, last := s.all("/v1.0/groups/delta?$select=id,displayName,members")
	members, repeats := membership(rows)
	if len(members) != len(s.tenant.Groups) || pages < 3 || repeats == 0 {
		t.Errorf("%d groups on %d pages, %d repeated", len(members), pages, repeats)
	}
	for _, g := range s.tenant.Groups {
		if len(members[g.ID()]) != len(s.tenant.Members[g.ID()]) {
			t.Errorf("%s has %d members, want %d", g.String("displayName"), len(members[g.ID()]), len(s.tenant.Members[g.ID()]))
		}
	}
	link, _ := last["@odata.deltaLink"].(string)
	if !strings.Contains(link, "$deltatoken=") || strings.Contains(link, "$select") {
		t.Fatalf("delta link %q", link)
	}
	path := strings.TrimPrefix(link, s.Graph)

	again, _, _ := s.all(path)
	if len(again) != 0 {
		t.Errorf("nothing changed, but the next round gives %v", again)
	}
	group, left, gone := s.tenant.Groups[0].ID(), s.tenant.Members[s.tenant.Groups[0].ID()][0], s.tenant.Groups[8].ID()
	s.tenant.Change(func(t *m365sim.Tenant) {
		t.Members[group] = t.Members[group][1:]
		t.Groups[1]["displayName"] = "Renamed"
		t.Groups = append(t.Groups[:8], t.Groups[9:]...)
		delete(t.Members, gone)
	})
	changes, _, _ := s.all(path)
	members, _ = membership(changes)
	if len(members) != 3 || members[group][left.ID] || len(members[group]) != 1 {
		t.Errorf("changes: %v", changes)
	}
	var removed bool
	for _, r := range changes {
		removed = removed || r["id"] == gone && r["@removed"] != nil
	}
	if !removed {
		t.Errorf("the group that is gone is not among %v", changes)
	}
	s.noViolations()

	a := s.get(path + "&$select=id")
	if a.status != http.StatusBadRequest {
		t.Errorf("an altered delta link: %d", a.status)
	}
	s.violated()
	s.ExpireDeltaTokens()
	if a := s.get(path); a.status != http.StatusGone {
		t.Errorf("an expired delta token: %d", a.status)
	}
	s.noViolations()
}

func TestDeltaWithoutMembers(t *testing.T) {
	s := start(t, m365sim.Config{})
	rows, _, _ := s.all("/v1.0/groups/delta?$select=id")
	if _, ok := rows[0]["members@delta"]; ok || rows[0]["displayName"] != nil {
		t.Errorf("not asked for: %v", rows[0])
	}
	roles, _, last := s.all("/v1.0/directoryRoles/delta?$select=displayName,roleTemplateId,members", "Prefer", "odata.maxpagesize=2")
	if len(roles) < 5 || roles[0]["members@delta"] == nil || last["@odata.deltaLink"] == nil {
		t.Errorf("roles: %v", roles)
	}
	if users, _, _ := s.all("/v1.0/users/delta?$select=displayName"); len(users) != len(s.tenant.Users) {
		t.Errorf("%d users", len(users))
	}
	s.noViolations()
}
