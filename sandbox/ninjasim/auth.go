package ninjasim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	tokenPath  = "/ws/oauth/token"
	scopeRead  = "monitoring"
	scopeWrite = "management"
)

// grant is what an access token stands for.
type grant struct {
	number  int // in order of issue, from 1
	scopes  []string
	expires time.Time
}

// issueToken answers the client credentials grant.
func (s *Server) issueToken(c *call) reply {
	form, err := url.ParseQuery(string(c.body))
	switch {
	case err != nil:
		return s.violationLocked(c, authFailure(http.StatusBadRequest, "invalid_request", "form cannot be parsed", 0))
	case c.request.Header.Get("Authorization") != "":
		return s.violationLocked(c, authFailure(http.StatusBadRequest, "invalid_request", "credentials belong in the form", 0))
	case form.Get("grant_type") != "client_credentials":
		return s.violationLocked(c, authFailure(http.StatusBadRequest, "unsupported_grant_type", form.Get("grant_type"), 0))
	case form.Get("client_id") != s.config.ClientID:
		return s.refusal(c, applicationFailure(http.StatusNotFound, "Client app not exist", ""))
	case form.Get("client_secret") != s.secret:
		return s.refusal(c, authFailure(http.StatusUnauthorized, "invalid_client", "client authentication failed", 0))
	}
	scopes := strings.Fields(form.Get("scope"))
	for _, scope := range scopes {
		if !slices.Contains(s.config.Scopes, scope) {
			return s.refusal(c, authFailure(http.StatusBadRequest, "invalid_scope", "scope "+scope+" is not granted to the application", 0))
		}
	}
	if len(scopes) == 0 {
		scopes = s.config.Scopes
	}
	token := "sim-" + uuid.NewString()
	s.issued++
	s.grants[token] = grant{number: s.issued, scopes: scopes, expires: s.config.Now().Add(s.config.TokenLifetime)}
	rep := answer(map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(s.config.TokenLifetime / time.Second), "scope": strings.Join(scopes, " "),
	})
	rep.header = http.Header{"Cache-Control": {"no-store"}}
	return rep
}

// authorize checks the bearer token of a call and that its scopes cover the call.
func (s *Server) authorize(c *call) (reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := c.request.Header.Values("Authorization")
	if len(header) == 0 {
		return s.violationLocked(c, authFailure(http.StatusBadRequest, "missing_header", "authorization header is missing", 2)), false
	}
	token, ok := strings.CutPrefix(header[0], "Bearer ")
	if !ok || len(header) > 1 || token == "" || strings.ContainsAny(token, " \t") {
		return s.violationLocked(c, authFailure(http.StatusBadRequest, "invalid_header", "authorization header is malformed", 1)), false
	}
	granted, ok := s.grants[token]
	if !ok || !s.config.Now().Before(granted.expires) {
		return s.refusal(c, authFailure(http.StatusUnauthorized, "not_authenticated", "token is expired or unknown", 10)), false
	}
	needed := scopeWrite
	if c.request.Method == http.MethodGet {
		needed = scopeRead
	}
	if !slices.Contains(granted.scopes, needed) {
		return s.refusal(c, applicationFailure(http.StatusForbidden, "FORBIDDEN", "scope "+needed+" is needed")), false
	}
	c.token = granted.number
	return reply{}, true
}

// SetClientSecret replaces the secret of the application; tokens issued before stay valid.
func (s *Server) SetClientSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

// RevokeTokens makes every token issued so far unknown.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.grants)
}
