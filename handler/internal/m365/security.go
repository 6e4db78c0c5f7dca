package m365

import (
	"context"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/security"

	"cipp-ninjaone/handler/internal/tenant"
)

// wirePolicy is a Conditional Access policy with what says for whom it applies.
type wirePolicy struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	State       string `json:"state"`
	Conditions  struct {
		Users struct {
			IncludeUsers  []string    `json:"includeUsers"`
			ExcludeUsers  []string    `json:"excludeUsers"`
			IncludeGroups []string    `json:"includeGroups"`
			ExcludeGroups []string    `json:"excludeGroups"`
			IncludeRoles  []string    `json:"includeRoles"`
			ExcludeRoles  []string    `json:"excludeRoles"`
			IncludeGuests *wireGuests `json:"includeGuestsOrExternalUsers"`
			ExcludeGuests *wireGuests `json:"excludeGuestsOrExternalUsers"`
		} `json:"users"`
	} `json:"conditions"`
}

type wireGuests struct {
	Types   string `json:"guestOrExternalUserTypes"` // a comma-separated set
	Tenants *struct {
		Kind string `json:"membershipKind"` // all, or enumerated
	} `json:"externalTenants"`
}

// ofSome reports whether only guests of certain organizations are meant.
func (g *wireGuests) ofSome() bool {
	return g != nil && g.Tenants != nil && g.Tenants.Kind == "enumerated"
}

func (g *wireGuests) types() []string {
	if g == nil {
		return nil
	}
	var out []string
	for _, t := range strings.Split(g.Types, ",") {
		if t = strings.TrimSpace(t); t != "" && t != "none" {
			out = append(out, t)
		}
	}
	return out
}

func (p wirePolicy) policy() tenant.ConditionalAccessPolicy {
	u := p.Conditions.Users
	out := tenant.ConditionalAccessPolicy{
		ID:                guid(p.ID),
		Name:              p.DisplayName,
		State:             p.State,
		IncludeGroups:     guids(u.IncludeGroups),
		ExcludeGroups:     guids(u.ExcludeGroups),
		IncludeRoles:      guids(u.IncludeRoles),
		ExcludeRoles:      guids(u.ExcludeRoles),
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
			out.IncludeNone = true
		case "GuestsOrExternalUsers":
			out.IncludeGuests = true
		default:
			out.IncludeUsers = append(out.IncludeUsers, guid(id))
		}
	}
	for _, id := range u.ExcludeUsers {
		if id == "GuestsOrExternalUsers" {
			out.ExcludeGuests = true
			continue
		}
		out.ExcludeUsers = append(out.ExcludeUsers, guid(id))
	}
	return out
}

func conditionalAccessOf(ctx context.Context, g *graph, a answer) ([]tenant.ConditionalAccessPolicy, error) {
	out := []tenant.ConditionalAccessPolicy{}
	_, err := listOf(ctx, g, a, func(p []wirePolicy) {
		for _, w := range p {
			out = append(out, w.policy())
		}
	})
	return out, err
}

func authorizationPolicyOf(g *graph, a answer) (tenant.AuthorizationPolicy, error) {
	w, err := objectOf[struct {
		Defaults struct {
			Assigned *[]string `json:"permissionGrantPoliciesAssigned"`
		} `json:"defaultUserRolePermissions"`
	}](g, a)
	if err != nil {
		return tenant.AuthorizationPolicy{}, err
	}
	if w.Defaults.Assigned == nil {
		return tenant.AuthorizationPolicy{}, absence("Microsoft Graph did not say what users may consent to")
	}
	return tenant.AuthorizationPolicy{UserConsentPolicies: *w.Defaults.Assigned}, nil
}

type wireScore struct {
	Created  when    `json:"createdDateTime"`
	Current  float64 `json:"currentScore"`
	Max      float64 `json:"maxScore"`
	Controls []struct {
		Category string  `json:"controlCategory"`
		Name     string  `json:"controlName"`
		Score    float64 `json:"score"`
	} `json:"controlScores"`
}

type wireProfile struct {
	ID         string  `json:"id"`
	Title      string  `json:"title"`
	Max        float64 `json:"maxScore"`
	Category   string  `json:"controlCategory"`
	Service    string  `json:"service"`
	URL        string  `json:"actionUrl"`
	Deprecated bool    `json:"deprecated"`
}

// scoreProfiles reads GET /security/secureScoreControlProfiles.
func (g *graph) scoreProfiles(ctx context.Context) (map[string]wireProfile, error) {
	ri, err := security.NewSecureScoreControlProfilesRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]wireProfile{}
	query(ri, pageSize, "id", "title", "maxScore", "controlCategory", "service", "actionUrl", "deprecated")
	_, err = list(ctx, g, ri, func(p []wireProfile) {
		for _, w := range p {
			out[w.ID] = w
		}
	})
	return out, err
}

// secureScoreOf joins the newest score with the profiles of its controls.
// Controls that Microsoft has retired are left out.
func secureScoreOf(g *graph, a answer, profiles map[string]wireProfile) (tenant.SecureScore, error) {
	// One page only: $top=1 asks for the newest of many days.
	p, err := pageOf[wireScore](g, a)
	if err != nil {
		return tenant.SecureScore{}, err
	}
	if len(p.items) == 0 {
		return tenant.SecureScore{}, absence("Microsoft has not computed a secure score for this tenant")
	}
	w := p.items[0]
	out := tenant.SecureScore{Created: w.Created.Time, Current: w.Current, Max: w.Max}
	for _, c := range w.Controls {
		profile := profiles[c.Name]
		if profile.Deprecated {
			continue
		}
		action := tenant.ScoreAction{Control: c.Name, Title: profile.Title, Category: profile.Category,
			Service: profile.Service, URL: profile.URL, Score: c.Score, Max: profile.Max}
		if action.Category == "" {
			action.Category = c.Category
		}
		out.Actions = append(out.Actions, action)
	}
	return out, nil
}
