package m365

import (
	"cmp"
	"context"
	"slices"

	"github.com/microsoftgraph/msgraph-sdk-go/security"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

func conditionalAccessOf(ctx context.Context, g *graph, a *answer) ([]tenant.ConditionalAccessPolicy, error) {
	var out []tenant.ConditionalAccessPolicy
	_, err := listOf(ctx, g, a, rows(&out, func(p *wire.ConditionalAccessPolicy) (string, tenant.ConditionalAccessPolicy) {
		policy := p.Record()
		return policy.ID, policy
	}))
	return out, err
}

func authorizationPolicyOf(ctx context.Context, g *graph, a *answer) (tenant.AuthorizationPolicy, error) {
	w, err := objectOf[wire.AuthorizationPolicy](ctx, g, a)
	if err != nil {
		return tenant.AuthorizationPolicy{}, err
	}
	if w.Defaults.Assigned == nil {
		return tenant.AuthorizationPolicy{}, absence("Microsoft Graph did not say what users may consent to")
	}
	return tenant.AuthorizationPolicy{UserConsentPolicies: w.Defaults.Assigned}, nil
}

// scoreProfiles reads GET /security/secureScoreControlProfiles.
func (g *graph) scoreProfiles(ctx context.Context) (map[string]wire.ScoreProfile, error) {
	var all []wire.ScoreProfile
	asked := ask(ctx, security.NewSecureScoreControlProfilesRequestBuilderInternal(g.v1(), g.adapter), pageSize,
		"id", "title", "maxScore", "controlCategory", "service", "actionUrl", "deprecated")
	_, err := list(ctx, g, asked, rows(&all, func(p *wire.ScoreProfile) (string, wire.ScoreProfile) { return p.ID, *p }))
	out := make(map[string]wire.ScoreProfile, len(all))
	for _, p := range all {
		out[p.ID] = p
	}
	return out, err
}

// secureScoreOf joins the newest score with the profiles of its controls.
// Controls that Microsoft has retired are left out.
func secureScoreOf(ctx context.Context, g *graph, a *answer, profiles map[string]wire.ScoreProfile) (tenant.SecureScore, error) {
	// One page only: $top=1 asks for the newest of many days.
	p, err := pageOf[wire.SecureScore](ctx, g, a)
	if err != nil {
		return tenant.SecureScore{}, err
	}
	if len(p.Items) == 0 && p.Odd > 0 {
		return tenant.SecureScore{}, &bodyError{g.name, wire.ErrNoIDs}
	}
	if len(p.Items) == 0 {
		return tenant.SecureScore{}, absence("Microsoft has not computed a secure score for this tenant")
	}
	// A service that ignores $top or its order gives many days at once.
	w := slices.MaxFunc(p.Items, func(a, b wire.SecureScore) int { return a.Created.Compare(b.Created.Time) })
	out := tenant.SecureScore{Created: w.Created.Time, Current: w.Current, Max: w.Max}
	for _, c := range w.Controls {
		profile := profiles[c.Name]
		if profile.Deprecated {
			continue
		}
		out.Actions = append(out.Actions, tenant.ScoreAction{Control: c.Name, Title: profile.Title, Category: cmp.Or(profile.Category, c.Category),
			Service: profile.Service, URL: profile.URL, Score: c.Score, Max: profile.Max})
	}
	return out, nil
}
