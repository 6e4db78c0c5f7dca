package access

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/words"
)

// Claim types of Entra app roles and of the object id. App Service hands them over mapped
// to a URI or not. See
// https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities#decoding-the-client-principal-header
const (
	claimRoles    = "roles"
	claimRolesURI = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
	claimID       = "oid"
	claimIDURI    = "http://schemas.microsoft.com/identity/claims/objectidentifier"
)

// claimNames are the claims that name a caller to people, the best first: CIPP's
// logbook shows the user principal name. A program has an application id alone.
var claimNames = []string{
	"preferred_username",
	"upn", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
	"email", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
	"appid", "azp",
}

// maxCallerName is the longest name of a caller, in characters.
const maxCallerName = 200

// entra is what App Service calls Microsoft Entra ID in a principal.
const entra = "aad"

// principalOf reads the header X-MS-CLIENT-PRINCIPAL, which App Service sets and takes from
// clients. It returns the caller, and whether the caller has the role reader. Only role
// claims of Microsoft Entra ID count: other providers may let people name their own. The
// list userRoles of Static Web Apps counts for nothing, since its roles are not this app's.
// False when there is not a single readable principal of Entra.
func principalOf(h http.Header) (p Caller, reader, ok bool) {
	values := h.Values("X-Ms-Client-Principal")
	if len(values) != 1 {
		return Caller{}, false, false
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(values[0]), "="))
	if err != nil {
		return Caller{}, false, false
	}
	var w struct {
		AuthType         string `json:"auth_typ"`
		IdentityProvider string `json:"identityProvider"` // Static Web Apps in place of auth_typ
		Claims           []struct {
			Type  string `json:"typ"`
			Value string `json:"val"`
		} `json:"claims"`
	}
	if err := json.Unmarshal(data, &w); err != nil || !strings.EqualFold(w.AuthType, entra) || w.IdentityProvider != "" {
		return Caller{}, false, false
	}
	best := len(claimNames)
	for _, c := range w.Claims {
		if i := slices.Index(claimNames, c.Type); i >= 0 && i < best && strings.TrimSpace(c.Value) != "" {
			p.Name, best = words.Clip(strings.TrimSpace(c.Value), maxCallerName), i
		}
		switch c.Type {
		case claimRoles, claimRolesURI:
			reader = reader || c.Value == RoleReader
			p.Editor = p.Editor || c.Value == RoleEditor
		case claimID, claimIDURI:
			p.ID = c.Value
		}
	}
	p.Name = cmp.Or(p.Name, p.ID)
	return p, reader, true
}
