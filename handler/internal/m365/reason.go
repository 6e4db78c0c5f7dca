package m365

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// unavailable begins the reason of every part that should have been readable.
const unavailable = "Not available: "

// nextSync ends the reason of a part that is absent because of something that
// passes.
const nextSync = "; it is read again with the next sync"

// why says why a part is absent.
func (run *reading) why(f failure) tenant.Unknown {
	reason := run.reason(f)
	return tenant.Unknown{Reason: reason, Expected: !strings.HasPrefix(reason, unavailable), Cause: run.cause(f)}
}

// cause tells a missing permission from a missing role. It goes by what the service says,
// where that is known, and what the app's token names.
func (run *reading) cause(f failure) tenant.Cause {
	if _, signIn := errors.AsType[*AuthError](f.err); signIn || hasStatus(f.err, http.StatusUnauthorized) {
		return tenant.CausePermission // CIPP's permission check renews the consent
	}
	if f.part == partDetail || !hasStatus(f.err, http.StatusForbidden) {
		return tenant.CauseOther // a detail needs no permission of its own
	}
	granted := run.reader.grants(run.snapshot.Tenant, f.part)
	allowed := granted.allow(permissions[f.part], run.reader.application)
	switch meaning := meaningOf(f.err); {
	case meaning == refusedRight && allowed:
		return tenant.CauseRole // the refusal has another cause than the permission
	case meaning == refusedRight, meaning == refused && granted != nil && !allowed:
		return tenant.CausePermission
	}
	return tenant.CauseOther
}

// reason says why a part is absent, in words for a technician.
func (run *reading) reason(f failure) string {
	var (
		expected  absence
		signIn    *AuthError
		transport *transportError
		status    *statusError
		body      *bodyError
		link      *linkError
		endless   *endlessError
		empty     *emptyError
		service   = permissions[f.part].Service
		skus      = run.snapshot.SKUs
		meaning   = meaningOf(f.err)
		forbidden = hasStatus(f.err, http.StatusForbidden, http.StatusUnauthorized, http.StatusBadRequest)
	)
	if f.part == partDetail {
		service = serviceGraph
	}
	switch {
	case errors.As(f.err, &expected):
		return string(expected)
	case errors.As(f.err, &signIn):
		return unavailable + signIn.Meaning
	case errors.Is(f.err, context.DeadlineExceeded):
		return unavailable + "reading the tenant took longer than half of the sync's time" + nextSync
	case errors.As(f.err, &endless):
		return unavailable + endless.Error() + nextSync
	case errors.As(f.err, &empty):
		return unavailable + empty.Error() + nextSync
	case errors.Is(f.err, reply.ErrNoRoom):
		return unavailable + service + " gave more than there is room for in memory" + nextSync
	case errors.As(f.err, &body) && errors.Is(f.err, reply.ErrSlow):
		return unavailable + service + " sent its answer too slowly" + nextSync
	case errors.As(f.err, &link), errors.As(f.err, &body):
		return unavailable + service + " gave an answer that cannot be used"
	case !errors.As(f.err, &status):
		if errors.As(f.err, &transport) {
			service += " could not be reached (" + transport.err.Error() + ")"
		} else {
			service += " could not be reached"
		}
		return unavailable + service + nextSync
	}
	unlicensed := "" // a hint: what a tenant is licensed for proves nothing
	switch intune := f.part == partManagedDevices || f.part == partPolicyStates; {
	case intune && noIntune(f.err):
		return "Intune is not licensed in this tenant"
	case intune && forbidden && skus.OK() && !hasIntune(skus.Value):
		unlicensed = "; no licence in this tenant includes Intune, which may be why"
	}
	switch {
	case f.part == partConditionalAccess && forbidden && skus.OK() && !hasPremium(skus.Value):
		return "Conditional Access needs Entra ID P1, which this tenant does not have"
	case meaning == refusedPlan:
		return permissions[f.part].Part + ": the tenant does not have the licence that Microsoft asks for"
	case meaning == refusedQuota:
		return unavailable + service + "'s quota is used up (" + status.code + ")" + nextSync
	case status.status == http.StatusUnauthorized:
		return unavailable + service + " does not accept the app's token" + unlicensed
	case run.cause(f) == tenant.CauseRole:
		return unavailable + run.reader.roleMissing(f.part) + unlicensed
	case run.cause(f) == tenant.CausePermission:
		return unavailable + "the app lacks " + permissions[f.part].Least(run.reader.application) + unlicensed
	case status.status == http.StatusTooManyRequests:
		return unavailable + service + " throttled the request" + nextSync
	case status.status >= 500:
		return unavailable + service + " was not able to answer" + nextSync
	default:
		return unavailable + service + " refused the request (" + cmp.Or(status.code, "HTTP "+strconv.Itoa(status.status)) + ")" + unlicensed
	}
}

// roleMissing says that a service refuses although the app has the permission.
func (r *Reader) roleMissing(p part) string {
	if r.application {
		return "the app has " + permissions[p].Application + ", but no role in the tenant that goes with it"
	}
	return "the app has " + permissions[p].Delegated + ", but CIPP's service account has no role in the tenant that goes with it (GDAP)"
}
