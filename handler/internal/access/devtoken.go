package access

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
)

// HeaderDevToken carries the token of a developer's machine. On a page that somebody
// opens by hand, the parameter does.
const (
	HeaderDevToken = "X-Dev-Token"
	tokenParameter = "token"
)

// devToken is what lets callers in where nobody logs people in. Nothing else does. In
// every header, a tunnel, a rebound name or a neighbour on the network can look like this
// machine.
type devToken struct {
	token string
	// cookie and value are the cookie that stands for the token in a browser. A
	// browser shows it to every port of this machine, so it is not the token
	// itself. Each token has a cookie of its own.
	cookie, value string
}

// newDevToken returns a token, a new one for "".
func newDevToken(token string) devToken {
	token = cmp.Or(token, rand.Text())
	sum := func(purpose string) string {
		s := sha256.Sum256([]byte(purpose + "\x00" + token))
		return hex.EncodeToString(s[:])
	}
	return devToken{token: token, cookie: "dev-" + sum("name")[:16], value: sum("value")}
}

func same(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// carriedBy reports whether a request has the token in its header, or the cookie
// that stands for it.
func (d devToken) carriedBy(r *http.Request) bool {
	if same(r.Header.Get(HeaderDevToken), d.token) {
		return true
	}
	for _, c := range r.CookiesNamed(d.cookie) {
		if same(c.Value, d.value) {
			return true
		}
	}
	return false
}

// Enter answers a page's address that holds the right token of a developer's machine. It
// sets a cookie below path, and redirects to the address without the token. It reports
// whether it did; else the caller has to answer the request.
func (g *Guard) Enter(w http.ResponseWriter, r *http.Request, path string) bool {
	if !g.byToken() || r.Method != http.MethodGet {
		return false
	}
	query := r.URL.Query()
	if given := query[tokenParameter]; len(given) != 1 || !same(given[0], g.dev.token) {
		return false
	}
	query.Del(tokenParameter)
	http.SetCookie(w, &http.Cookie{Name: g.dev.cookie, Value: g.dev.value, Path: cmp.Or(path, "/"), HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, (&url.URL{Path: r.URL.Path, RawQuery: query.Encode()}).String(), http.StatusSeeOther)
	return true
}

// Address returns a page's address, below that of the host, with the token of a
// developer's machine. It returns "" where people log in, or where nobody gets in.
func (g *Guard) Address(page string) string {
	if !g.byToken() {
		return ""
	}
	return page + "?" + url.Values{tokenParameter: {g.dev.token}}.Encode()
}

// byToken reports whether the token is what lets callers in.
func (g *Guard) byToken() bool { return g.Development && !g.PlatformAuth }
