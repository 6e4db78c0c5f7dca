package compose

import (
	"cmp"
	"slices"

	"cipp-ninjaone/handler/internal/tenant"
)

// groupTree finds the groups that hold an object: groups by the folded id of a
// direct member.
type groupTree struct {
	holding map[string][]*tenant.Group
	rank    map[*tenant.Group]int // place in the order of names
}

// newGroupTree joins the groups, in the order of their names, with their members. It
// leaves out members of one kind.
func newGroupTree(groups []*tenant.Group, without tenant.MemberKind) groupTree {
	t := groupTree{holding: map[string][]*tenant.Group{}, rank: make(map[*tenant.Group]int, len(groups))}
	for i, g := range groups {
		t.rank[g] = i
		seen := map[string]bool{}
		for _, m := range g.Members {
			id := fold(m.ID)
			if id == "" || m.Kind == without || seen[id] {
				continue
			}
			seen[id] = true
			t.holding[id] = append(t.holding[id], g)
		}
	}
	return t
}

// membership is a group that an object belongs to. The group through lies between, and is
// nil for a direct member.
type membership struct{ group, through *tenant.Group }

// how words the membership.
func (m membership) how() string {
	if m.through == nil {
		return "Direct"
	}
	return "Through " + orElse(m.through.DisplayName, "a group without name")
}

// of returns the groups that hold the object directly or through other groups,
// each once, in order of name.
func (t groupTree) of(objectID string) []membership {
	var all []membership
	seen := map[*tenant.Group]bool{}
	add := func(id string, through *tenant.Group) {
		for _, g := range t.holding[fold(id)] {
			if !seen[g] {
				seen[g] = true
				all = append(all, membership{g, through})
			}
		}
	}
	add(objectID, nil)
	for i := 0; i < len(all); i++ {
		add(all[i].group.ID, all[i].group)
	}
	slices.SortFunc(all, func(a, b membership) int {
		return cmp.Compare(t.rank[a.group], t.rank[b.group])
	})
	return all
}

// groupType names a group's kind as Entra's admin centre does.
func groupType(g *tenant.Group) string {
	kind := "Security"
	switch {
	case slices.Contains(g.GroupTypes, "Unified"):
		kind = "Microsoft 365"
	case g.MailEnabled && g.SecurityEnabled:
		kind = "Mail-enabled security"
	case g.MailEnabled:
		kind = "Distribution"
	}
	if slices.Contains(g.GroupTypes, "DynamicMembership") {
		kind += ", dynamic"
	}
	return kind
}
