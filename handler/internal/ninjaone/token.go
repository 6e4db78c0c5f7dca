package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
)

// renewEarly is how long before its end the client replaces a token.
const renewEarly = time.Minute

// scopes are what the API application needs: monitoring reads, management
// writes custom fields.
var scopes = []string{"monitoring", "management"}

// tokenCache keeps the access token of the client. Concurrent callers share
// one request for a new one.
type tokenCache struct {
	client   *Client
	clientID string
	secret   func(ctx context.Context, fresh bool) (string, error)

	kept lookup.Cache[struct{}, token]
}

type token struct {
	value   string
	renewAt time.Time // zero: NinjaOne did not say how long the token lives
}

// get returns a token that is good for a while.
func (t *tokenCache) get(ctx context.Context) (string, error) {
	good := func(have token) bool { return have.renewAt.IsZero() || time.Now().Before(have.renewAt) }
	got, err := t.kept.Get(ctx, struct{}{}, good, func(ctx context.Context, _ token) (token, error) { return t.renew(ctx) })
	if err != nil {
		return "", fmt.Errorf("getting an access token: %w", err)
	}
	return got.value, nil
}

// discard forgets the token, unless it was replaced already.
func (t *tokenCache) discard(refused string) {
	t.kept.Forget(func(_ struct{}, have token) bool { return have.value == refused })
}

// renew asks for a new token. When NinjaOne does not take the secret, renew reads it
// again, and tries once more if it has changed.
func (t *tokenCache) renew(ctx context.Context) (token, error) {
	secret, err := t.readSecret(ctx, false)
	if err != nil {
		return token{}, err
	}
	asked := time.Now()
	got, err := t.request(ctx, secret)
	if errors.Is(err, ErrUnauthorized) {
		fresh, readErr := t.readSecret(ctx, true)
		if readErr != nil {
			return token{}, errors.Join(err, readErr)
		}
		if fresh != secret {
			asked = time.Now()
			got, err = t.request(ctx, fresh)
		}
	}
	if err != nil {
		return token{}, err
	}
	have := token{value: got.AccessToken}
	if !got.Expiry.IsZero() {
		have.renewAt = got.Expiry.Add(-min(renewEarly, got.Expiry.Sub(asked)/2))
	}
	return have, nil
}

func (t *tokenCache) readSecret(ctx context.Context, fresh bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	secret, err := t.secret(ctx, fresh)
	if err != nil {
		return "", fmt.Errorf("reading the NinjaOne client secret: %w", err)
	}
	if secret == "" {
		return "", errors.New("the NinjaOne client secret is empty")
	}
	return secret, nil
}

// request calls POST /ws/oauth/token with the client credentials in the form body, where
// NinjaOne expects them. Asking again is harmless, so request retries it like a read.
func (t *tokenCache) request(ctx context.Context, secret string) (*oauth2.Token, error) {
	c := t.client
	op := operation{method: http.MethodPost, template: tokenPath, path: tokenPath, safe: true}
	conf := clientcredentials.Config{
		ClientID:     t.clientID,
		ClientSecret: secret,
		TokenURL:     c.base.String() + tokenPath,
		Scopes:       scopes,
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	var token *oauth2.Token
	err := c.retry(ctx, op, requestTimeout, func(ctx context.Context, call *Call) error {
		// checkResponse sees the answer before x/oauth2 does, whose errors
		// would hold the whole body.
		transport := roundTripper(func(req *http.Request) (*http.Response, error) {
			req.Header.Set("Accept", "application/json")
			req.Header.Set("User-Agent", userAgent)
			resp, err := c.http.Transport.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			sent := resp.Body
			in := reply.NewReader(ctx, sent, reply.Object)
			resp.Body = readCloser{in, sent}
			body, err := checkResponse(op, resp, call, secret, t.clientID)
			if err != nil {
				reply.Discard(sent)
				return nil, err
			}
			resp.Body = readCloser{body, sent}
			return resp, nil
		})
		var err error
		token, err = conf.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport}))
		if err == nil {
			return nil
		}
		if call.Status != 0 && !errors.As(err, new(*APIError)) {
			// A 2xx that x/oauth2 cannot use.
			return &APIError{Method: op.method, Path: op.path, Status: call.Status, RequestID: clean(call.requestID, maxErrorCode),
				Message: "the answer holds no usable access token", kinds: []error{ErrNotJSON}}
		}
		return netfault.Explain(err)
	})
	return token, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type readCloser struct {
	io.Reader
	io.Closer
}
