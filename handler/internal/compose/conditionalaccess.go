package compose

import (
	"cmp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/tenant"
)

// verdict is whether a Conditional Access policy applies to a user.
type verdict int

const (
	applies    verdict = iota
	undecided          // what could not be read decides
	appliesNot         // not included, or excluded
)

// Types of guests and external users in Graph's newer form
// (conditionalAccessGuestOrExternalUserTypes) that a directory has an object
// of. The others (b2bDirectConnectUser, otherExternalUser, serviceProvider)
// sign in without one.
const (
	internalGuest           = "internalguest"
	b2bCollaborationGuest   = "b2bcollaborationguest"
	b2bCollaborationMember  = "b2bcollaborationmember"
	externalMarkInPrincipal = "#ext#"
)

// guestType is the type of a guest or external user, "" of a member of the
// tenant itself.
func guestType(u *tenant.User) string {
	external := strings.Contains(fold(u.UserPrincipalName), externalMarkInPrincipal)
	switch {
	case u.Guest() && external:
		return b2bCollaborationGuest
	case u.Guest():
		return internalGuest
	case external:
		return b2bCollaborationMember
	}
	return ""
}

// subject is what of a user decides which policies apply. Ids are folded; the
// values are names for the reasons.
type subject struct {
	id     string
	guest  string            // guestType
	groups map[string]string // by id, nested ones included; nil when they could not be read
	roles  map[string]string // by template id; nil when they could not be read
	// moreRoles: there may be further roles, held through groups that could not
	// be read.
	moreRoles bool
}

// policy is a Conditional Access policy made ready for many subjects.
type policy struct {
	*tenant.ConditionalAccessPolicy
	include, exclude condition
}

// condition is one side of a policy: those it includes, or those it excludes.
type condition struct {
	all                  bool
	users, groups, roles map[string]bool // folded ids
	guests               bool            // the older form, every guest and external user
	guestTypes           map[string]bool // the newer form, folded
	guestsOfSome         bool            // the newer form holds for guests of some organizations only
}

func newPolicy(p *tenant.ConditionalAccessPolicy) policy {
	side := func(all bool, users, groups, roles []string, guests bool, types []string, some bool) condition {
		return condition{
			all: all, users: folded(users), groups: folded(groups), roles: folded(roles),
			guests: guests, guestTypes: folded(types), guestsOfSome: some,
		}
	}
	return policy{
		ConditionalAccessPolicy: p,
		include:                 side(p.IncludeAll, p.IncludeUsers, p.IncludeGroups, p.IncludeRoles, p.IncludeGuests, p.IncludeGuestTypes, p.IncludeGuestsOfSome),
		exclude:                 side(false, p.ExcludeUsers, p.ExcludeGroups, p.ExcludeRoles, p.ExcludeGuests, p.ExcludeGuestTypes, p.ExcludeGuestsOfSome),
	}
}

func folded(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[fold(id)] = true
	}
	return set
}

// holds tells whether the condition names the subject, and why, or why nobody can tell.
func (c condition) holds(s subject) (verdict, []string) {
	var because []string
	if c.all {
		because = append(because, "All users")
	}
	if c.users[s.id] {
		because = append(because, "This user")
	}
	var open []string
	named := func(what string, ids map[string]bool, has map[string]string, more bool) {
		if len(ids) == 0 {
			return
		}
		if has == nil || more {
			open = append(open, what+" could not be read")
		}
		var names []string
		for id, name := range has {
			if ids[id] {
				names = append(names, name)
			}
		}
		slices.SortFunc(names, func(a, b string) int { return byName(a, b) })
		because = append(because, names...)
	}
	named("groups", c.groups, s.groups, false)
	named("roles", c.roles, s.roles, s.moreRoles)
	switch {
	case s.guest == "":
	case c.guests, c.guestTypes[s.guest] && !c.guestsOfSome:
		because = append(because, "Guests and external users")
	case c.guestTypes[s.guest]:
		open = append(open, "it names guests of certain organizations")
	}
	switch {
	case len(because) > 0:
		return applies, because
	case len(open) > 0:
		return undecided, open
	}
	return appliesNot, nil
}

// judge tells whether the policy applies to the subject. It includes the subject, and
// does not exclude it, since an exclusion always wins. The reasons say why it applies, or
// why nobody can tell.
func (p policy) judge(s subject) (verdict, []string) {
	out, outReasons := p.exclude.holds(s)
	if out == applies {
		return appliesNot, nil
	}
	in, inReasons := p.include.holds(s)
	switch {
	case in == appliesNot:
		return appliesNot, nil
	case in == undecided:
		return undecided, inReasons
	case out == undecided:
		return undecided, outReasons
	}
	return applies, inReasons
}

// policyState is a policy's state as it is shown, and its place in the order.
func policyState(state string) (line, int) {
	switch fold(state) {
	case "enabled":
		return line{Icon: iconGood, Tone: good, Text: "On"}, 0
	case "enabledforreportingbutnotenforced":
		return line{Icon: iconView, Tone: information, Text: "Report-only"}, 1
	case "disabled":
		return line{Icon: "fas fa-circle-minus", Text: "Off"}, 2
	}
	return line{Icon: iconUnknown, Text: orElse(readable(state), "Not known")}, 3
}

// newPolicies prepares a tenant's policies, in the order in which they are
// shown: those in force first, then by name.
func newPolicies(all []tenant.ConditionalAccessPolicy) []policy {
	sorted := distinct(all, func(p *tenant.ConditionalAccessPolicy) string { return p.ID }, func(a, b *tenant.ConditionalAccessPolicy) int {
		_, first := policyState(a.State)
		_, second := policyState(b.State)
		return cmp.Or(cmp.Compare(first, second), byName(a.Name, b.Name, a.ID, b.ID))
	})
	policies := make([]policy, len(sorted))
	for i, p := range sorted {
		policies[i] = newPolicy(p)
	}
	return policies
}
