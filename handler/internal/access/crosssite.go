package access

import (
	"net/http"
	"net/url"
	"strings"
)

// ownPage reports whether a request comes from one of this app's own pages, or not from a
// browser. A browser sends the user's login along with whatever any site makes it
// request. So its requests must prove where they come from.
func (g *Guard) ownPage(r *http.Request) bool {
	// The standard library's check lets GET through. Here GET may change something, so
	// every method obeys the rule for POST.
	probe := *r
	probe.Method = http.MethodPost
	if err := g.cross.Check(&probe); err != nil {
		// A proxy in between may have changed Host. No page of another site can
		// set the header that keeps the original without asking first.
		forwarded := r.Header.Values("X-Forwarded-Host")
		if r.Header.Get("Sec-Fetch-Site") != "" || len(forwarded) != 1 {
			return false
		}
		probe.Host = forwarded[0]
		if err := g.cross.Check(&probe); err != nil {
			return false
		}
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !safe:
		return true
	case r.Header.Get("Sec-Fetch-Site") != "":
		// "none" is an address that somebody typed, a bookmark, or a link in a mail.
		return r.Header.Get("Sec-Fetch-Site") == "same-origin"
	case r.Header.Get("Origin") != "":
		return true // it was compared
	}
	// Neither header: a program, or a browser from before 2023. The headers below need
	// another site to ask first, and this app never grants that.
	if r.Header.Get("X-Requested-With") != "" || r.Header.Get("Authorization") != "" {
		return true
	}
	if referer := r.Header.Get("Referer"); referer != "" {
		u, err := url.Parse(referer)
		// The Functions host, while it proxies, tells its own Host from the client's.
		forwarded := r.Header.Values("X-Forwarded-Host")
		return err == nil && u.Host != "" && (strings.EqualFold(u.Host, r.Host) || len(forwarded) == 1 && strings.EqualFold(u.Host, forwarded[0]))
	}
	return !strings.HasPrefix(r.UserAgent(), "Mozilla/") // as every browser's begins
}
