package m365

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/retry"
)

// Bounds of one request. Every request is safe to repeat, but for the creation
// of a subscription, whose body cannot be sent twice.
const (
	maxAttempts        = 5
	sparingAttempts    = 3 // where something else can be asked for instead
	maxTransportErrors = 3
	maxStalls          = 2                 // attempts whose answer did not begin in time
	maxWait            = 3 * time.Minute   // of all waits between attempts
	sparingWait        = time.Minute       // the same, where something else can be asked for instead
	headerTimeout      = 100 * time.Second // until an attempt's answer begins
	bodyTimeout        = 5 * time.Minute   // of all reads of a body together
)

// steady gives up answers that do not begin, or do not keep coming.
func steady(next http.RoundTripper) http.RoundTripper {
	return &reply.Steady{Next: next, Begin: headerTimeout, Whole: bodyTimeout}
}

// retrier repeats requests that were throttled, met an unavailable service or lost their
// connection. It replaces kiota-http-go's retry handler. That one cuts decimals of
// Retry-After and so comes back too early. It leaves discarded answers open, and gives up
// on lost connections.
type retrier struct {
	next  http.RoundTripper
	sleep func(context.Context, time.Duration) error
}

// RoundTrip implements http.RoundTripper.
func (t *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var waited time.Duration
	stalls := 0
	for attempt := 1; ; attempt++ {
		try := req
		if attempt > 1 {
			try = req.Clone(ctx)
			if req.GetBody != nil {
				body, err := req.GetBody()
				if err != nil {
					return nil, fmt.Errorf("repeating a request: %w", err)
				}
				try.Body = body
			}
		}
		res, err := t.next.RoundTrip(try)
		last := attempt == patienceOf(ctx).attempts || req.Body != nil && req.GetBody == nil
		var wait time.Duration
		switch {
		case err != nil:
			if errors.Is(err, reply.ErrStopped) {
				stalls++
			}
			if ctx.Err() != nil || last || attempt == maxTransportErrors || stalls == maxStalls {
				return nil, err
			}
			wait = backoff(attempt)
		case !transient(res.StatusCode) || last:
			return res, nil
		default:
			wait = retryDelay(res.Header, attempt)
		}
		if !affords(ctx, waited, wait) {
			return res, err
		}
		waited += wait
		if res != nil {
			discard(res)
		}
		if err := t.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// affords reports whether a request whose attempts waited so long may wait more.
func affords(ctx context.Context, waited, more time.Duration) bool {
	deadline, limited := ctx.Deadline()
	return waited+more <= patienceOf(ctx).waits && (!limited || time.Until(deadline) >= more)
}

func transient(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryDelay is how long an answer says to wait. Without Retry-After it is the
// back-off of the attempt, counted from 1: Conditional Access throttles without
// saying for how long.
func retryDelay(h http.Header, attempt int) time.Duration {
	if wait, ok := retry.After(h); ok {
		return wait
	}
	return backoff(attempt)
}

func backoff(attempt int) time.Duration { return retry.Backoff(time.Second, attempt) }

func discard(res *http.Response) { reply.Discard(res.Body) }

// sameOrigin reports whether a token made for b may be sent to a.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.User == nil && hostPort(a) == hostPort(b)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
