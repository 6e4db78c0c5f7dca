package ninjaone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"

	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
)

// renewEarly is how long before its end a token is replaced.
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

	flight singleflight.Group

	mu      sync.Mutex
	token   string
	renewAt time.Time // zero: NinjaOne did not say how long the token lives
}

func newTokenCache(c *Client, clientID string, secret func(context.Context, bool) (string, error)) *tokenCache {
	return &tokenCache{client: c, clientID: clientID, secret: secret}
}

// get returns a token that is good for a while.
func (t *tokenCache) get(ctx context.Context) (string, error) {
	if token := t.cached(); token != "" {
		return token, nil
	}
	// The request serves all callers, so it must outlive the one who began it.
	ch := t.flight.DoChan("", func() (any, error) {
		if token := t.cached(); token != "" {
			return token, nil
		}
		return t.renew(context.WithoutCancel(ctx))
	})
	select {
	case r := <-ch:
		if r.Err != nil {
			return "", fmt.Errorf("getting an access token: %w", r.Err)
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", fmt.Errorf("getting an access token: %w", ctx.Err())
	}
}

func (t *tokenCache) cached() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.renewAt.IsZero() && !time.Now().Before(t.renewAt) {
		return ""
	}
	return t.token
}

// discard forgets the token, unless it was replaced already.
func (t *tokenCache) discard(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.token = ""
	}
}

// renew asks for a new token. When NinjaOne does not take the secret, the
// secret is read again, and if it has changed, tried once more.
func (t *tokenCache) renew(ctx context.Context) (string, error) {
	secret, err := t.readSecret(ctx, false)
	if err != nil {
		return "", err
	}
	asked := time.Now()
	token, err := t.request(ctx, secret)
	if errors.Is(err, ErrUnauthorized) {
		fresh, readErr := t.readSecret(ctx, true)
		if readErr != nil {
			return "", errors.Join(err, readErr)
		}
		if fresh != secret {
			asked = time.Now()
			token, err = t.request(ctx, fresh)
		}
	}
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = token.AccessToken
	t.renewAt = time.Time{}
	if !token.Expiry.IsZero() {
		t.renewAt = token.Expiry.Add(-min(renewEarly, token.Expiry.Sub(asked)/2))
	}
	return t.token, nil
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

// request calls POST /ws/oauth/token with the client credentials in the form
// body, where NinjaOne expects them. Asking again is harmless, so it is
// retried like a read.
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
			body, err := checkResponse(op, resp, call)
			if err != nil {
				reply.Discard(resp.Body)
				return nil, err
			}
			resp.Body = readCloser{body, resp.Body}
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
	var answer *APIError
	if errors.As(err, &answer) {
		answer.Code = t.redact(answer.Code, secret)
		answer.Message = t.redact(answer.Message, secret)
	}
	return token, err
}

// redact removes the credentials from what NinjaOne says about them.
func (t *tokenCache) redact(s, secret string) string {
	for _, private := range []string{secret, t.clientID} {
		s = strings.ReplaceAll(s, private, "…")
		s = strings.ReplaceAll(s, url.QueryEscape(private), "…")
	}
	return s
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type readCloser struct {
	*bufio.Reader
	io.Closer
}
