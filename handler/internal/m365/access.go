package m365

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// Access is what the app's tokens for a tenant say that it may do there. They name what
// the tenant consented to. Whether the service account also holds the roles (GDAP) shows
// only when the tenant is read.
type Access struct {
	// Missing are the permissions that the tokens do not name.
	Missing []Permission
	// Silent are the services whose token does not tell what it permits.
	Silent []string
	// ExchangeError says why there is no token for Exchange Online; nil when
	// there is one.
	ExchangeError error
}

// Access signs in to the tenant anew and compares the permissions in the tokens with what
// a reading needs. The error is an *AuthError when the tenant gives no token. It costs
// two calls of the sign-in service and none of Graph. It does not ask Defender:
// DefenderAccess does that, for tenants whose CVEs the app uploads.
func (r *Reader) Access(ctx context.Context, ref tenant.Ref) (Access, error) {
	var access Access
	granted := map[string]grants{}
	for _, s := range []service{r.graph, r.exchange} {
		value, err := r.tokens.fresh(ctx, ref, s.scope)
		switch granted[s.name] = grantsOf(value); {
		case err != nil && (s.name == serviceGraph || ctx.Err() != nil):
			return Access{}, err
		case err != nil:
			access.ExchangeError = err
		case granted[s.name] == nil:
			access.Silent = append(access.Silent, s.name)
		}
	}
	for _, p := range Permissions() {
		if g := granted[p.Service]; g != nil && !g.allow(p, r.application) {
			access.Missing = append(access.Missing, p)
		}
	}
	return access, nil
}

// Least is the permission that the way to sign in needs (setting GRAPH_AUTH).
func (p Permission) Least(application bool) string {
	if application {
		return p.Application
	}
	return p.Delegated
}

// grants are the permissions that a token names; nil when it does not tell.
type grants map[string]bool

// grantsOf reads the claims scp (delegated) and roles (application) of an access
// token. Such a token is meant for the service, not for us. It decides only what
// to tell people, so a token that cannot be read does no harm.
// https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
func grantsOf(token string) grants {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	var claims wire.Claims
	if reply.Unmarshal(payload, &claims) != nil {
		return nil
	}
	g := grants{}
	for _, name := range append(strings.Fields(claims.Scopes), claims.Roles...) {
		g[strings.ToLower(name)] = true
	}
	return g
}

// allow reports whether the permission, or a higher one, is among the grants.
func (g grants) allow(p Permission, application bool) bool {
	least := p.Least(application)
	if g[strings.ToLower(least)] || g[strings.ToLower(strings.Replace(least, ".Read.", ".ReadWrite.", 1))] {
		return true
	}
	return slices.ContainsFunc(p.higher, func(name string) bool { return g[strings.ToLower(name)] })
}

// fresh returns a token that was not kept, so that it names what the tenant
// consents to now.
func (t *tokens) fresh(ctx context.Context, ref tenant.Ref, scope string) (string, error) {
	t.kept.Forget(func(k tokenKey, _ token) bool { return k == keyOf(ref, scope) })
	return t.get(ctx, ref, scope)
}

// grants are those of the token for the part.
func (r *Reader) grants(ref tenant.Ref, p part) grants {
	scope := r.graph.scope
	if permissions[p].Service == serviceExchange {
		scope = r.exchange.scope
	}
	have, _ := r.tokens.kept.Peek(keyOf(ref, scope))
	return grantsOf(have.value)
}

// ServiceMissing reports whether a tenant gives no token because it does not
// have the service: nothing is wrong then.
func ServiceMissing(err error) bool {
	e, ok := errors.AsType[*AuthError](err)
	return ok && e.Meaning == noService.meaning
}
