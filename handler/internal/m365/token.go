package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// Names of the secrets, as CIPP stores them.
const (
	secretApplicationID     = "ApplicationID"
	secretApplicationSecret = "ApplicationSecret"
	secretRefreshToken      = "RefreshToken"
)

const (
	tokenMargin  = 120 * time.Second // a token is not used so near its end
	tokenTimeout = 5 * time.Minute   // of one renewal with all its retries
)

// tokens obtains access tokens from {login}/{tenant}/oauth2/v2.0/token, and keeps them
// until shortly before they end. It uses CIPP's refresh-token grant, or client
// credentials. It only ever reads the stored refresh token: CIPP owns and rotates it.
type tokens struct {
	login       *url.URL
	client      *http.Client
	credentials Credentials
	application bool
	now         func() time.Time

	kept lookup.Cache[tokenKey, token]
}

type tokenKey struct {
	tenant string
	direct bool
	scope  string
}

type token struct {
	value   string
	expires time.Time
}

func keyOf(ref tenant.Ref, scope string) tokenKey {
	return tokenKey{strings.ToLower(ref.ID), ref.Direct, scope}
}

// get returns a token for the tenant and scope.
func (t *tokens) get(ctx context.Context, ref tenant.Ref, scope string) (string, error) {
	return t.lookUp(ctx, keyOf(ref, scope), false)
}

// renew returns another token than the one a service has refused.
func (t *tokens) renew(ctx context.Context, ref tenant.Ref, scope, refused string) (string, error) {
	key, fresh := keyOf(ref, scope), false
	t.kept.Forget(func(k tokenKey, have token) bool {
		forget := k == key && have.value == refused
		fresh = fresh || forget
		return forget
	})
	return t.lookUp(ctx, key, fresh)
}

// lookUp returns the kept token, or a new one. With fresh the secrets for it are
// read anew.
func (t *tokens) lookUp(ctx context.Context, key tokenKey, fresh bool) (string, error) {
	good := func(have token) bool { return t.now().Before(have.expires) }
	got, err := t.kept.Get(ctx, key, good, func(ctx context.Context, _ token) (token, error) {
		t.kept.Forget(func(_ tokenKey, have token) bool { return !good(have) })
		return t.fetch(ctx, key, fresh)
	})
	return got.value, err
}

func (t *tokens) fetch(ctx context.Context, key tokenKey, fresh bool) (token, error) {
	form, err := t.form(ctx, key, fresh)
	if err != nil {
		return token{}, err
	}
	got, err := t.post(ctx, key, form)
	if refusal, ok := errors.AsType[*AuthError](err); ok && refusal.secrets && !fresh {
		// CIPP may have rotated a secret since it was read.
		again, formErr := t.form(ctx, key, true)
		if formErr != nil {
			return token{}, formErr
		}
		if again.Encode() != form.Encode() {
			got, err = t.post(ctx, key, again)
		}
	}
	return got, err
}

func (t *tokens) form(ctx context.Context, key tokenKey, fresh bool) (url.Values, error) {
	form := url.Values{"scope": {key.scope}}
	secrets := map[string]string{"client_id": secretApplicationID, "client_secret": secretApplicationSecret}
	if t.application {
		form.Set("grant_type", "client_credentials")
	} else {
		form.Set("grant_type", "refresh_token")
		secrets["refresh_token"] = secretRefreshToken
		if key.direct {
			secrets["refresh_token"] = key.tenant
		}
	}
	for parameter, name := range secrets {
		value, err := t.credentials.Secret(ctx, name, fresh)
		if err != nil {
			return nil, fmt.Errorf("reading CIPP's secret %s: %w", name, err)
		}
		if value == "" {
			return nil, &AuthError{Tenant: key.tenant, Meaning: "CIPP's secret " + name + " is empty",
				Action: "run CIPP's setup wizard again"}
		}
		form.Set(parameter, value)
	}
	return form, nil
}

// post sends one token request (RFC 6749 sections 4.4 and 6).
func (t *tokens) post(ctx context.Context, key tokenKey, form url.Values) (token, error) {
	address := t.login.JoinPath(key.tenant, "oauth2/v2.0/token").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, fmt.Errorf("asking for a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := t.client.Do(req)
	if err != nil {
		return token{}, &transportError{"Microsoft's sign-in service", netfault.Explain(err)}
	}
	defer discard(res)
	var said wire.Token
	decodeErr := decodeObject(ctx, res.Body, &said)
	switch {
	case decodeErr == nil && res.StatusCode == http.StatusOK && said.AccessToken != "":
		seconds, _ := strconv.ParseFloat(string(said.ExpiresIn), 64)
		life := time.Duration(min(max(seconds, 0), 24*3600)) * time.Second
		return token{said.AccessToken, t.now().Add(max(life-tokenMargin, life/2))}, nil
	case decodeErr == nil && said.Error != "" && res.StatusCode >= 400 && res.StatusCode < 500 && !transient(res.StatusCode):
		return token{}, newAuthError(key.tenant, said.Error, said.Description, said.Codes)
	case errors.Is(decodeErr, reply.ErrSlow), errors.Is(decodeErr, reply.ErrTooLarge):
		return token{}, &transportError{"Microsoft's sign-in service", decodeErr}
	case transient(res.StatusCode) || res.StatusCode >= 500:
		return token{}, &transportError{"Microsoft's sign-in service", fmt.Errorf("answered HTTP %d", res.StatusCode)}
	default:
		return token{}, &transportError{"Microsoft's sign-in service",
			fmt.Errorf("answered HTTP %d without a token; check LOGIN_ENDPOINT", res.StatusCode)}
	}
}

// AuthError says that a tenant gives no token, why, and what to do about it.
type AuthError struct {
	Tenant  string // tenant id
	Code    string // Microsoft's code such as AADSTS65001, or the OAuth error; "" when the app's own data is missing
	Meaning string // what it means, for a technician
	Action  string // what to do about it

	secrets bool // other secrets may help
}

// Error implements error. It holds no text of Microsoft's, which may carry ids
// and names.
func (e *AuthError) Error() string {
	code := ""
	if e.Code != "" {
		code = " (" + e.Code + ")"
	}
	return fmt.Sprintf("signing in to tenant %s failed%s: %s; %s", e.Tenant, code, e.Meaning, e.Action)
}

var (
	aadstsPattern = regexp.MustCompile(`AADSTS(\d{4,9})`)
	oauthPattern  = regexp.MustCompile(`^[a-z_]{1,40}$`)
)

func newAuthError(tenantID, oauth, description string, codes []int) *AuthError {
	if m := aadstsPattern.FindStringSubmatch(description); m != nil && len(codes) == 0 {
		n, _ := strconv.Atoi(m[1])
		codes = []int{n}
	}
	e := &AuthError{
		Tenant:  tenantID,
		Meaning: "Microsoft refused the sign-in",
		Action:  "look the code up in Microsoft's list of sign-in errors, and check the tenant in CIPP",
		secrets: oauth == "invalid_grant" || oauth == "invalid_client",
	}
	if oauthPattern.MatchString(oauth) {
		e.Code = oauth
	}
	for i, n := range codes {
		advice, known := aadsts[n]
		if i == 0 || known {
			e.Code = "AADSTS" + strconv.Itoa(n)
		}
		if known {
			e.Meaning, e.Action = advice.meaning, advice.action
			break
		}
	}
	return e
}

type advice struct{ meaning, action string }

var (
	noConsent = advice{"the app has no consent in this tenant",
		"run CIPP's permission check with a CPV refresh for this tenant"}
	noRelation = advice{"the service account has no way into this tenant: the GDAP relation is missing or ended",
		"check the tenant's GDAP relation and its roles in CIPP"}
	blocked = advice{"multi-factor authentication or Conditional Access stops CIPP's service account",
		"exempt service providers in the tenant's Conditional Access policies, and sign in again in CIPP's setup wizard"}
	expired = advice{"CIPP's refresh token has expired or was revoked",
		"sign in again with CIPP's setup wizard"}
	badSecret = advice{"the secret of CIPP's app is wrong or has expired",
		"renew the application secret with CIPP's setup wizard"}
	badAccount = advice{"CIPP's service account is disabled, locked, or its password has ended",
		"repair the service account, then sign in again with CIPP's setup wizard"}
	noTenant = advice{"the tenant does not exist any more, or is blocked",
		"check the tenant, and exclude it in CIPP if it is gone"}
	noService = advice{"the service is not set up in this tenant",
		"nothing, if the tenant has no licence of it; else run CIPP's permission check for this tenant"}
)

// aadsts explains the codes of Microsoft's sign-in errors that occur here.
var aadsts = map[int]advice{
	65001: noConsent, 65004: noConsent, 90094: noConsent, 700016: noConsent, 7000229: noConsent, 7000112: noConsent,
	50020: noRelation, 50034: noRelation, 90072: noRelation, 500571: noRelation, 50105: noRelation,
	50072: blocked, 50074: blocked, 50076: blocked, 50079: blocked, 50158: blocked,
	53000: blocked, 53001: blocked, 53002: blocked, 53003: blocked, 53004: blocked, 530032: blocked, 530034: blocked,
	50173: expired, 70000: expired, 70008: expired, 70043: expired, 700081: expired, 700082: expired, 700084: expired, 9002313: expired,
	7000215: badSecret, 7000218: badSecret, 7000222: badSecret,
	50053: badAccount, 50055: badAccount, 50057: badAccount,
	90002: noTenant, 5000225: noTenant,
	500011: noService, 500014: noService, 650052: noService,
}
