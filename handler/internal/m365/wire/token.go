package wire

import (
	"cipp-ninjaone/handler/internal/reply"
)

// Token is the answer of the token endpoint, a token or a refusal (RFC 6749
// sections 5.1 and 5.2).
type Token struct {
	AccessToken string          `json:"access_token"`
	ExpiresIn   Text            `json:"expires_in"` // seconds
	Error       string          `json:"error"`
	Description string          `json:"error_description"`
	Codes       reply.List[int] `json:"error_codes"`
}

// Claims are those of an access token that say what it allows.
type Claims struct {
	Scopes string             `json:"scp"`
	Roles  reply.List[string] `json:"roles"`
}
