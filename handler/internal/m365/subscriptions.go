package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/isotime"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

// MaxSubscriptionLife is how long Graph lets a subscription on directory
// objects last at most.
const MaxSubscriptionLife = 41760 * time.Minute

// Subscription is a subscription of Graph to the changes of a tenant's Entra
// devices (resource type subscription).
type Subscription struct {
	ID              string
	NotificationURL string
	Expires         time.Time // UTC
}

// SubscriptionRequest says what a new subscription is to be.
type SubscriptionRequest struct {
	NotificationURL string // also told of the subscription's own life
	ClientState     string // 128 characters at most; comes back with every notification
	Expires         time.Time
}

// The reasons why Graph refuses something about a subscription.
const (
	SubscriptionGone        = "gone"        // there is none with the id
	SubscriptionQuota       = "quota"       // the tenant or the app has as many as it may
	SubscriptionForbidden   = "forbidden"   // the app may not read devices in the tenant
	SubscriptionUnreachable = "unreachable" // the notification URL did not answer Graph's handshake
	SubscriptionExists      = "exists"      // the app subscribes to the same already
	SubscriptionThrottled   = "throttled"   // too many calls; later
	SubscriptionRefused     = "refused"     // anything else, followed by Graph's code where it gave one
)

// SubscriptionError is a refusal by Graph, which created and changed nothing. Any other
// error of the calls below, but for *AuthError, leaves that open.
type SubscriptionError struct {
	Tenant string
	Reason string // SubscriptionGone, …
	cause  error
}

// Error says what it means and what to do.
func (e *SubscriptionError) Error() string {
	return fmt.Sprintf("subscription on the devices of tenant %s: %s (%v)", e.Tenant, ExplainSubscription(e.Reason), e.cause)
}

// ExplainSubscription says, for a technician, what the reason of a SubscriptionError means
// and what to do.
func ExplainSubscription(reason string) string {
	if code, ok := strings.CutPrefix(reason, SubscriptionRefused+" "); ok {
		return "Graph refused it (" + code + ")"
	}
	return map[string]string{
		SubscriptionGone: "Graph has no such subscription any more",
		SubscriptionQuota: "the limit of Graph subscriptions is reached (100 per app and tenant, 1,000 per tenant, 50,000 per app): " +
			"find out what else subscribes with CIPP's app and remove what is not needed",
		SubscriptionForbidden: "the app lacks Device.Read.All there: run CIPP's permission check for this tenant",
		SubscriptionUnreachable: "Graph could not reach this app at its public address: check PUBLIC_BASE_URL, and that the address " +
			"is open to the internet without a login on /api/ninjaone/notifications",
		SubscriptionExists:    "CIPP's app has a subscription on the tenant's devices already: turn CIPP's own one off",
		SubscriptionThrottled: "Graph throttled the call; it is tried again later",
		SubscriptionRefused:   "Graph refused it",
	}[reason]
}

// Unwrap returns Graph's answer.
func (e *SubscriptionError) Unwrap() error { return e.cause }

// Subscribe creates a subscription to the tenant's devices. Graph calls the notification
// URL before it answers. Subscribe never repeats the call, because a second one would
// make a second subscription. It calls POST /v1.0/subscriptions, and /beta/subscriptions
// where v1.0 does not know devices.
func (r *Reader) Subscribe(ctx context.Context, ref tenant.Ref, s SubscriptionRequest) (Subscription, error) {
	return r.subscription(ctx, ref, http.MethodPost, "", wire.ChangeSubscription{
		ChangeType:               "updated",
		NotificationURL:          s.NotificationURL,
		LifecycleNotificationURL: s.NotificationURL,
		Resource:                 "devices",
		ClientState:              s.ClientState,
		Expires:                  wireTime(s.Expires),
	})
}

// RenewSubscription moves a subscription's end, which also authorizes it
// again. It calls PATCH /v1.0/subscriptions/{id}.
func (r *Reader) RenewSubscription(ctx context.Context, ref tenant.Ref, id string, expires time.Time) (Subscription, error) {
	return r.subscription(ctx, ref, http.MethodPatch, "/"+url.PathEscape(id), wire.ChangeSubscription{Expires: wireTime(expires)})
}

// Subscription reads one subscription. It calls GET /v1.0/subscriptions/{id}.
func (r *Reader) Subscription(ctx context.Context, ref tenant.Ref, id string) (Subscription, error) {
	return r.subscription(ctx, ref, http.MethodGet, "/"+url.PathEscape(id), nil)
}

// Subscriptions lists the subscriptions that the app has in one tenant. Graph throttles
// it far harder than other calls, so it is for finding one of unknown id. It calls GET
// /v1.0/subscriptions.
func (r *Reader) Subscriptions(ctx context.Context, ref tenant.Ref) ([]Subscription, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return nil, err
	}
	var all []Subscription
	_, err = linkedList(ctx, g, g.base("v1.0")+"/subscriptions", rows(&all, func(s *wire.ChangeSubscription) (string, Subscription) {
		return s.ID, subscriptionOn(*s)
	}))
	if err != nil {
		return nil, subscriptionError(ref, err)
	}
	return all, nil
}

// Unsubscribe removes a subscription; one that is not there is fine. It calls
// DELETE /v1.0/subscriptions/{id}.
func (r *Reader) Unsubscribe(ctx context.Context, ref tenant.Ref, id string) error {
	_, err := r.subscription(ctx, ref, http.MethodDelete, "/"+url.PathEscape(id), nil)
	if e, ok := errors.AsType[*SubscriptionError](err); ok && e.Reason == SubscriptionGone {
		return nil
	}
	return err
}

func wireTime(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// subscription makes one call, with body as JSON unless it is nil. Graph does not
// document subscriptions on devices. Where v1.0 refuses for an unknown reason,
// subscription tries once on beta.
func (r *Reader) subscription(ctx context.Context, ref tenant.Ref, method, path string, body any) (Subscription, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return Subscription{}, err
	}
	s, err := g.subscription(ctx, "v1.0", method, path, body)
	if unsupported := hasStatus(err, http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented) ||
		path == "" && hasStatus(err, http.StatusNotFound); unsupported && meaningOf(err) == refused {
		again, beta := g.subscription(ctx, "beta", method, path, body)
		if beta == nil || meaningOf(beta) != refused {
			s, err = again, beta
		}
	}
	if err != nil {
		return Subscription{}, subscriptionError(ref, err)
	}
	return s, nil
}

func (g *graph) subscription(ctx context.Context, version, method, path string, body any) (Subscription, error) {
	res, err := g.do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := prioritize(g.call(ctx, method, g.base(version)+"/subscriptions"+path, body))
		if err == nil && method == http.MethodPost {
			req.GetBody = nil // it is never repeated
		}
		return req, err
	})
	if err != nil {
		return Subscription{}, err
	}
	defer discard(res)
	if method == http.MethodDelete {
		return Subscription{}, nil
	}
	var said wire.ChangeSubscription
	if err := decodeObject(ctx, res.Body, &said); err != nil {
		return Subscription{}, &bodyError{g.name, err}
	}
	if path == "" && said.ID == "" {
		return Subscription{}, &bodyError{g.name, errors.New("it has no id")}
	}
	return subscriptionOn(said), nil
}

func subscriptionOn(w wire.ChangeSubscription) Subscription {
	expires, _ := isotime.Parse(w.Expires)
	return Subscription{ID: w.ID, NotificationURL: w.NotificationURL, Expires: expires}
}

func subscriptionError(ref tenant.Ref, err error) error {
	if _, body := errors.AsType[*bodyError](err); body {
		return fmt.Errorf("subscription on the devices of tenant %s: %w", ref.ID, err)
	}
	status, ok := errors.AsType[*statusError](err)
	if !ok || status.status >= 500 {
		return err
	}
	reason := strings.TrimSpace(SubscriptionRefused + " " + status.code)
	switch meaning := meaningOf(err); {
	case status.status == http.StatusNotFound:
		reason = SubscriptionGone
	case status.status == http.StatusConflict:
		reason = SubscriptionExists
	case status.status == http.StatusTooManyRequests:
		reason = SubscriptionThrottled
	case meaning == refusedQuota:
		reason = SubscriptionQuota
	case meaning == refusedRight || status.status == http.StatusUnauthorized:
		reason = SubscriptionForbidden
	case meaning == refusedHost:
		reason = SubscriptionUnreachable
	}
	return &SubscriptionError{Tenant: ref.ID, Reason: reason, cause: status}
}
