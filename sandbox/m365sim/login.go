package m365sim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The resources that tokens are issued for, as scopes name them.
const (
	GraphResource    = "https://graph.microsoft.com"
	ExchangeResource = "https://outlook.office365.com"
	DefenderResource = "https://api.securitycenter.microsoft.com"
)

// defenderAppID names the same resource by the id of its application.
const defenderAppID = "fc780465-2017-40d4-a0c5-307022471b92"

// accessToken is what an issued access token stands for.
type accessToken struct {
	tenant   string
	resource string
	grant    string
	expires  time.Time
	revoked  bool
}

// loginError is a refusal of the token endpoint (RFC 6749 section 5.2 with
// Entra's additions).
type loginError struct {
	status    int
	err       string // for example invalid_grant
	code      int    // AADSTS number
	message   string
	suberror  string
	violation bool
}

func loginRefusal(err string, code int, message string) *loginError {
	return &loginError{status: http.StatusBadRequest, err: err, code: code, message: message}
}

func loginViolation(code int, message string) *loginError {
	return &loginError{status: http.StatusBadRequest, err: "invalid_request", code: code, message: message, violation: true}
}

var loginRefusals = map[LoginCode]*loginError{
	ConsentMissing: {status: http.StatusBadRequest, err: "invalid_grant", suberror: "consent_required",
		message: "The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource."},
	NoGDAP: {status: http.StatusBadRequest, err: "invalid_grant",
		message: "The guest user account is disabled or has no delegated relation with this tenant."},
	MFARequired: {status: http.StatusBadRequest, err: "invalid_grant", suberror: "basic_action",
		message: "Due to a configuration change made by your administrator you must use multi-factor authentication."},
}

// LoginHandler serves the login service: POST /{tenant}/oauth2/v2.0/token, and the
// OpenID configuration, of which the handler's check reads the date alone.
func (s *Server) LoginHandler() http.Handler {
	return s.door("login", s.answerLogin)
}

func (s *Server) answerLogin(r *http.Request) *answer {
	name, path, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	t := s.tenantByName(strings.ToLower(name))
	if path == "v2.0/.well-known/openid-configuration" {
		return s.trouble(r, "login", t, func(r *http.Request) *answer {
			return jsonAnswer(http.StatusOK, map[string]any{"token_endpoint": "http://" + r.Host + "/" + name + "/oauth2/v2.0/token"})
		})
	}
	if path != "oauth2/v2.0/token" {
		return s.errorAnswer(r, notFoundSegment(path))
	}
	s.count(r, "/{tenant}/oauth2/v2.0/token")
	return s.trouble(r, "login", t, func(r *http.Request) *answer {
		tokens, refusal := s.grant(r, t)
		if refusal != nil {
			return s.loginErrorAnswer(r, refusal)
		}
		a := jsonAnswer(http.StatusOK, tokens)
		a.header.Set("Cache-Control", "no-store, no-cache")
		return a
	})
}

func (s *Server) loginErrorAnswer(r *http.Request, e *loginError) *answer {
	if e.violation {
		s.violate(r, "login: "+e.message)
	}
	now := s.now().UTC()
	body := map[string]any{
		"error": e.err, "error_codes": []int{e.code}, "timestamp": now.Format("2006-01-02 15:04:05Z"),
		"trace_id": uuid.NewString(), "correlation_id": uuid.NewString(),
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", e.code, e.message,
			uuid.NewString(), uuid.NewString(), now.Format("2006-01-02 15:04:05Z")),
	}
	if e.suberror != "" {
		body["suberror"] = e.suberror
	}
	return jsonAnswer(e.status, body)
}

// grant checks a token request as RFC 6749 and Entra's v2.0 endpoint do, and
// issues a token.
func (s *Server) grant(r *http.Request, t *Tenant) (map[string]any, *loginError) {
	if r.Method != http.MethodPost {
		return nil, loginViolation(900561, "The endpoint only accepts POST requests.")
	}
	if r.URL.RawQuery != "" {
		return nil, loginViolation(900144, "The request must carry its parameters in the body.")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, loginViolation(900144, "The request body must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, loginViolation(900144, "The request body cannot be read.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, loginViolation(900144, "The request body is not a form.")
	}
	known := []string{"client_id", "client_secret", "grant_type", "refresh_token", "scope", "client_info"}
	for name, values := range form {
		if !slices.Contains(known, name) || len(values) != 1 {
			return nil, loginViolation(900144, "The parameter '"+name+"' is unknown or repeated.")
		}
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if id == "" {
		return nil, loginViolation(900144, "The request body must contain the following parameter: 'client_id'.")
	}
	resource, refusal := scopeResource(form.Get("scope"))
	if refusal != nil {
		return nil, refusal
	}
	if t == nil {
		return nil, loginRefusal("invalid_request", 90002, "Tenant not found. Check to make sure you have the correct tenant ID.")
	}

	s.mu.Lock()
	cred, lifetime := s.credentials, s.config.TokenLifetime
	home, issued := s.refreshTokens[form.Get("refresh_token")]
	s.mu.Unlock()

	if id != cred.ClientID {
		return nil, loginRefusal("unauthorized_client", 700016, "Application was not found in the directory.")
	}
	if secret != cred.ClientSecret {
		e := loginRefusal("invalid_client", 7000215, "Invalid client secret provided.")
		e.status = http.StatusUnauthorized
		return nil, e
	}
	var direct bool
	var code LoginCode
	var directToken string
	t.View(func(t *Tenant) { direct, code, directToken = t.Direct, t.Login, t.RefreshToken })
	grant := form.Get("grant_type")
	switch grant {
	case "client_credentials":
		if form.Has("refresh_token") {
			return nil, loginViolation(900144, "A client_credentials grant carries no refresh_token.")
		}
	case "refresh_token":
		token := form.Get("refresh_token")
		switch {
		case token == "":
			return nil, loginViolation(900144, "The request body must contain the following parameter: 'refresh_token'.")
		case directToken != "" && token == directToken:
			home, issued = t.ID, true
		}
		switch {
		case !issued:
			return nil, loginRefusal("invalid_grant", 9002313, "The refresh token is malformed or was revoked.")
		case home == "":
			return nil, loginRefusal("invalid_grant", 700082, "The refresh token has expired due to inactivity.")
		case home != t.ID && (direct || home != cred.PartnerTenantID):
			code = NoGDAP
		}
	default:
		e := loginViolation(70003, "The app requested an unsupported grant type.")
		e.err = "unsupported_grant_type"
		return nil, e
	}
	if code != LoginOK {
		e := *loginRefusals[code]
		e.code = int(code)
		return nil, &e
	}

	refresh := randomToken()
	token := s.signed(t, id, resource, grant, lifetime)
	answer := map[string]any{
		"token_type": "Bearer", "access_token": token, "scope": resource + "/.default",
		"expires_in": int(lifetime / time.Second), "ext_expires_in": int(lifetime / time.Second),
	}
	s.mu.Lock()
	s.tokens[token] = &accessToken{tenant: t.ID, resource: resource, grant: grant, expires: s.config.Now().Add(lifetime)}
	if grant == "refresh_token" {
		s.refreshTokens[refresh] = home
		answer["refresh_token"] = refresh
	}
	s.mu.Unlock()
	return answer, nil
}

// signed returns an access token in the form of Entra's. The claim scp (delegated) or
// roles (application) names what the tenant consented to. The signature is random:
// services here know a token when they see it.
func (s *Server) signed(t *Tenant, clientID, resource, grant string, lifetime time.Duration) string {
	s.mu.Lock()
	opaque := s.opaque
	s.mu.Unlock()
	if opaque {
		return randomToken()
	}
	var permissions []string
	t.View(func(t *Tenant) {
		for _, p := range t.Permissions {
			if resourceOf(p) != resource || p == delegatedPermission && grant == "client_credentials" || p == applicationPermission && grant != "client_credentials" {
				continue
			}
			if p == "Exchange.Manage" && grant == "client_credentials" {
				p = "Exchange.ManageAsApp"
			}
			permissions = append(permissions, p)
		}
	})
	now := s.now()
	claims := map[string]any{
		"aud": resource, "tid": t.ID, "appid": clientID, "ver": "1.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}
	if grant == "client_credentials" {
		claims["roles"] = permissions
	} else {
		claims["scp"] = strings.Join(permissions, " ")
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of texts and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"typ": "JWT", "alg": "RS256"}) + "." + part(claims) + "." + randomToken()
}

// resourceOf returns the resource that a permission is one of.
func resourceOf(permission string) string {
	switch {
	case strings.HasPrefix(permission, "Exchange."):
		return ExchangeResource
	case permission == delegatedPermission, permission == applicationPermission:
		return DefenderResource
	}
	return GraphResource
}

// OpaqueTokens makes the tokens issued from now on tell nothing: Entra owes
// only the service a readable token, not the application.
func (s *Server) OpaqueTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opaque = true
}

// scopeResource checks that the scope asks for exactly one resource's default
// permissions, and returns the resource.
func scopeResource(scope string) (string, *loginError) {
	resource := ""
	for _, word := range strings.Fields(scope) {
		switch word {
		case "offline_access", "openid", "profile":
		case GraphResource + "/.default", ExchangeResource + "/.default", DefenderResource + "/.default", defenderAppID + "/.default":
			if resource != "" {
				return "", loginViolation(28000, "Provided value for the input parameter scope is not valid because it contains more than one resource.")
			}
			resource = strings.TrimSuffix(word, "/.default")
			if resource == defenderAppID {
				resource = DefenderResource
			}
		default:
			e := loginViolation(70011, "The provided value for the input parameter 'scope' is not valid: "+word+".")
			e.err = "invalid_scope"
			return "", e
		}
	}
	if resource == "" {
		return "", loginViolation(900144, "The request body must contain the following parameter: 'scope'.")
	}
	return resource, nil
}

// authorize checks the bearer token of a call to the resource and returns the token's
// tenant. An expired or revoked token is not a violation.
func (s *Server) authorize(r *http.Request, resource string) (*Tenant, *apiError) {
	refuse := func(message, violation string) *apiError {
		h := http.Header{}
		h.Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`)
		return &apiError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message, violation: violation, header: h}
	}
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || value == "" || len(r.Header.Values("Authorization")) != 1 {
		return nil, refuse("Access token is empty.", "the call carries no bearer token")
	}
	s.mu.Lock()
	token := s.tokens[value]
	var a accessToken
	if token != nil {
		a = *token
	}
	s.mu.Unlock()
	switch {
	case token == nil:
		return nil, refuse("IDX14100: JWT is not well formed.", "the token was not issued by the login service")
	case a.resource != resource:
		return nil, refuse("Access token validation failure. Invalid audience.", "the token is for another resource")
	case a.revoked, !s.now().Before(a.expires):
		return nil, refuse("Lifetime validation failed, the token is expired.", "")
	}
	return s.Tenant(a.tenant), nil
}

// RevokeTokens makes every access token issued so far invalid; callers get 401
// until they ask for a new one.
func (s *Server) RevokeTokens() { s.revoke(func(*accessToken) bool { return true }) }

func (s *Server) revoke(which func(*accessToken) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if which(t) {
			t.revoked = true
		}
	}
}

// SetRefreshToken replaces the partner's refresh token, as when CIPP rotates
// it; the earlier ones are answered AADSTS700082 from now on.
func (s *Server) SetRefreshToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, home := range s.refreshTokens {
		if home == s.credentials.PartnerTenantID {
			s.refreshTokens[old] = ""
		}
	}
	s.credentials.RefreshToken = token
	s.refreshTokens[token] = s.credentials.PartnerTenantID
}

// SetClientSecret replaces the application's secret; the old one is refused
// with AADSTS7000215.
func (s *Server) SetClientSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials.ClientSecret = secret
}
