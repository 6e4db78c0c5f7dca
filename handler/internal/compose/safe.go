package compose

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"cipp-ninjaone/handler/internal/words"
)

// Only this file makes literals, hosts and links of texts. A page writes what it holds of
// these types as it is, or nearly so.

// literal is a piece of markup, or a class of it. Only constants of this package are
// literals: Go turns them into one, but no variable.
type literal string

// link is an https address in which nothing is left that could end an attribute.
type link string

// tone is the colour of an icon or of a part of a bar. The colours are legible
// on a light and on a dark page; words always say the same as the colour.
type tone int

const (
	neutral tone = iota
	good
	bad
	warning
	information
	rest // what is left of a bar: faint on either background
)

var palette = [...]literal{
	neutral:     "#7d838c",
	good:        "#2e9e5b",
	bad:         "#d64550",
	warning:     "#b7791f",
	information: "#3b7ddd",
	rest:        "rgb(125,131,140,0.3)",
}

// shades colours the parts of a bar that have no meaning of their own.
var shades = [...]literal{"#3b7ddd", "#2a9d8f", "#b7791f", "#8f6bc9", "#c2557a", "#7d838c"}

// value is the colour.
func (t tone) value() literal {
	if t >= shadeBase {
		return shades[int(t-shadeBase)%len(shades)]
	}
	if t < 0 || int(t) >= len(palette) {
		t = neutral
	}
	return palette[t]
}

// shadeBase and above are the tones that name an entry of shades.
const shadeBase tone = 100

// shade returns the tone of the i-th part of a bar without meaning.
func shade(i int) tone { return shadeBase + tone(i) }

// hostname is what may stand as the host of a link: a DNS name, with a port
// if need be.
var hostname = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$`)

// host is what a link may be built on: one of Microsoft's, or a checked one.
type host string

// checkedHost returns a configured host in lower case. It returns "" for a text that is
// not a host, on which no link may be built.
func checkedHost(name string) host {
	name = strings.ToLower(strings.TrimSpace(name))
	if !hostname.MatchString(name) {
		return ""
	}
	return host(name)
}

// address is a link under construction: a host, and parts that are escaped when
// the link is made.
type address struct {
	host     host
	path     []string    // segments, escaped one by one
	query    [][2]string // pairs, in order
	fragment []string    // segments after "#", escaped one by one
}

// url returns the https link, or "" when there is no host.
func (a address) url() link {
	if a.host == "" {
		return ""
	}
	b := append(append(make([]byte, 0, 256), "https://"...), a.host...)
	for _, s := range a.path {
		b = append(append(b, '/'), url.PathEscape(s)...)
	}
	separator := byte('?')
	for _, kv := range a.query {
		b = append(append(b, separator), url.QueryEscape(kv[0])...)
		b = append(append(b, '='), url.QueryEscape(kv[1])...)
		separator = '&'
	}
	separator = '#'
	for _, s := range a.fragment {
		b = append(append(b, separator), url.PathEscape(s)...)
		separator = '/'
	}
	return link(b)
}

// maxURL is the longest link taken from a tenant.
const maxURL = 2000

// plainURL parses an address that came from a tenant. It returns nil when that is
// not a plain absolute https address.
func plainURL(s string) *url.URL {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxURL {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || !strings.EqualFold(u.Scheme, "https") || u.User != nil || u.Opaque != "" {
		return nil
	}
	u.Scheme, u.Host = "https", string(checkedHost(u.Host))
	if u.Host == "" {
		return nil
	}
	return u
}

// tenantURL returns a link that came from a tenant, or "" when it is not a
// plain absolute https address.
func tenantURL(s string) link {
	u := plainURL(s)
	if u == nil {
		return ""
	}
	return link(unsafe.ReplaceAllStringFunc(u.String(), func(s string) string {
		if len(s) == len("%20") && s[0] == '%' {
			return s
		}
		return strings.ToLower(url.PathEscape(s))
	}))
}

// unsafe finds what an address may hold escaped only, and what is escaped already.
// Quotation marks and parentheses count, as they do for html/template.
var unsafe = regexp.MustCompile(`%[0-9A-Fa-f]{2}|[^-._~!#$&*+,/:;=?@\[\]0-9A-Za-z]`)

// Limits of one piece of text, in runes. Entra limits a display name to 256. The rest is
// free text that must not crowd out its neighbours.
const (
	maxText   = 256
	maxReason = 400
)

// text makes a tenant's text fit for one line: valid UTF-8, without control
// and direction characters, at most maxText runes. [markup] escapes what it holds.
func text(s string) string { return clip(s, maxText) }

func clip(s string, limit int) string {
	if len(s) <= limit && tidy(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return words.Clip(strings.Join(strings.Fields(s), " "), limit)
}

// tidy reports whether s is one line of printable ASCII that needs no change.
func tidy(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == ' ' && (i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			return false
		}
	}
	return true
}

// orElse returns the text of s, or other when nothing is left of it.
func orElse(s, other string) string {
	if s = text(s); s == "" {
		return other
	}
	return s
}
