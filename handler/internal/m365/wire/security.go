package wire

import (
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// ConditionalAccessPolicy is a Conditional Access policy with what says for whom it applies.
type ConditionalAccessPolicy struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	State       string `json:"state"`
	Conditions  struct {
		Users struct {
			IncludeUsers  reply.List[string] `json:"includeUsers"`
			ExcludeUsers  reply.List[string] `json:"excludeUsers"`
			IncludeGroups reply.List[string] `json:"includeGroups"`
			ExcludeGroups reply.List[string] `json:"excludeGroups"`
			IncludeRoles  reply.List[string] `json:"includeRoles"`
			ExcludeRoles  reply.List[string] `json:"excludeRoles"`
			IncludeGuests Guests             `json:"includeGuestsOrExternalUsers"`
			ExcludeGuests Guests             `json:"excludeGuestsOrExternalUsers"`
		} `json:"users"`
	} `json:"conditions"`
}

// Guests says which guests a policy means.
type Guests struct {
	Types   string `json:"guestOrExternalUserTypes"` // a comma-separated set
	Tenants struct {
		Kind string `json:"membershipKind"` // all, or enumerated
	} `json:"externalTenants"`
}

// ofSome reports whether only guests of certain organizations are meant.
func (g Guests) ofSome() bool {
	return g.Tenants.Kind == "enumerated"
}

func (g Guests) types() reply.List[string] {
	var out []string
	for _, t := range strings.Split(g.Types, ",") {
		if t = strings.TrimSpace(t); t != "" && t != "none" {
			out = append(out, t)
		}
	}
	return out
}

// Record is the policy as the rest of the handler sees it.
func (p ConditionalAccessPolicy) Record() tenant.ConditionalAccessPolicy {
	u := p.Conditions.Users
	out := tenant.ConditionalAccessPolicy{
		ID:                guid.Fold(p.ID),
		Name:              p.DisplayName,
		State:             p.State,
		IncludeGroups:     guid.FoldAll(u.IncludeGroups),
		ExcludeGroups:     guid.FoldAll(u.ExcludeGroups),
		IncludeRoles:      guid.FoldAll(u.IncludeRoles),
		ExcludeRoles:      guid.FoldAll(u.ExcludeRoles),
		IncludeGuestTypes: u.IncludeGuests.types(),
		ExcludeGuestTypes: u.ExcludeGuests.types(),

		IncludeGuestsOfSome: u.IncludeGuests.ofSome(),
		ExcludeGuestsOfSome: u.ExcludeGuests.ofSome(),
	}
	for _, id := range u.IncludeUsers {
		switch id {
		case "All":
			out.IncludeAll = true
		case "None":
		case "GuestsOrExternalUsers":
			out.IncludeGuests = true
		default:
			out.IncludeUsers = append(out.IncludeUsers, guid.Fold(id))
		}
	}
	for _, id := range u.ExcludeUsers {
		if id == "GuestsOrExternalUsers" {
			out.ExcludeGuests = true
			continue
		}
		out.ExcludeUsers = append(out.ExcludeUsers, guid.Fold(id))
	}
	return out
}

// SecureScore is a row of GET /security/secureScores.
type SecureScore struct {
	Created  Time                     `json:"createdDateTime"`
	Current  float64                  `json:"currentScore"`
	Max      float64                  `json:"maxScore"`
	Controls reply.List[ControlScore] `json:"controlScores"`
}

// ControlScore is one control of a SecureScore.
type ControlScore struct {
	Category string  `json:"controlCategory"`
	Name     string  `json:"controlName"`
	Score    float64 `json:"score"`
}

// AuthorizationPolicy is the answer of GET /policies/authorizationPolicy.
type AuthorizationPolicy struct {
	Defaults struct {
		Assigned reply.List[string] `json:"permissionGrantPoliciesAssigned"`
	} `json:"defaultUserRolePermissions"`
}

// ScoreProfile is a row of GET /security/secureScoreControlProfiles.
type ScoreProfile struct {
	ID         string  `json:"id"`
	Title      string  `json:"title"`
	Max        float64 `json:"maxScore"`
	Category   string  `json:"controlCategory"`
	Service    string  `json:"service"`
	URL        string  `json:"actionUrl"`
	Deprecated bool    `json:"deprecated"`
}

func (r *ConditionalAccessPolicy) identity() string { return r.ID }

func (r *ScoreProfile) identity() string { return r.ID }
