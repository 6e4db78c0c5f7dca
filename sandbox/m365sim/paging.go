package m365sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// pageToken is what a $skiptoken stands for. It is the rest of a list as it was at the
// request for the first page.
type pageToken struct {
	tenant  string
	path    string
	query   url.Values // the whole query of the next link
	size    int
	sizes   []int // rows of each page, where they differ; replaces size
	rows    []json.RawMessage
	context string
	// last is added to the page that ends the list, for example a delta link.
	last map[string]any
}

// maxLinks bounds the next links that are remembered for later pages.
const maxLinks = 4096

// links remembers what the $skiptoken of each next link stands for, and forgets the
// oldest. The zero value is empty.
type links[T any] struct {
	mu    sync.Mutex
	pages map[string]*T
	order []string
}

// give returns a new token that stands for a page.
func (l *links[T]) give(page T) string {
	token := randomToken()
	l.put(token, page)
	return token
}

func (l *links[T]) put(token string, page T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pages == nil {
		l.pages = map[string]*T{}
	}
	l.pages[token] = &page
	if l.order = append(l.order, token); len(l.order) > maxLinks {
		delete(l.pages, l.order[0])
		l.order = l.order[1:]
	}
}

// find returns the page, or nil where the token is not known.
func (l *links[T]) find(token string) *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pages[token]
}

// page answers the first size rows and remembers the rest.
func (s *Server) page(r *http.Request, p *pageToken) *answer {
	body := map[string]any{"@odata.context": baseURL(r) + "/$metadata#" + p.context}
	rows, size, sizes := p.rows, p.size, p.sizes
	if len(sizes) > 0 {
		size, sizes = sizes[0], sizes[1:]
	}
	if len(rows) > size {
		rows = rows[:size]
		next := *p
		next.rows, next.sizes = p.rows[size:], sizes
		token := randomToken()
		next.query = url.Values{}
		for k, v := range p.query {
			if k != "$skiptoken" && k != "$deltatoken" {
				next.query[k] = v
			}
		}
		if strings.HasSuffix(p.path, "/delta") {
			next.query = url.Values{} // a delta link keeps the options to itself
		}
		next.query.Set("$skiptoken", token)
		s.chains.put(token, next)
		body["@odata.nextLink"] = "http://" + r.Host + r.URL.EscapedPath() + "?" + encodeQuery(next.query)
	} else {
		maps.Copy(body, p.last)
	}
	if rows == nil {
		rows = []json.RawMessage{}
	}
	body["value"] = rows
	return jsonAnswer(http.StatusOK, body)
}

// nextPage answers a call that carries a $skiptoken. The tenant that got the link must
// call, and call exactly that link.
func (s *Server) nextPage(r *http.Request, t *Tenant) *answer {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return s.errorAnswer(r, badRequest("The query string is malformed."))
	}
	p := s.chains.find(values.Get("$skiptoken"))
	switch {
	case p == nil || p.tenant != t.ID:
		return s.errorAnswer(r, badRequest("The skip token was not given out for this tenant."))
	case p.path != r.URL.Path || !sameQuery(p.query, values):
		return s.errorAnswer(r, badRequest("The next link was altered; it must be followed as it is."))
	}
	return s.page(r, p)
}

func sameQuery(a, b url.Values) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

// encodeQuery writes a query as Graph does in its links: names as they are,
// values escaped.
func encodeQuery(v url.Values) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(v)) {
		for _, x := range v[k] {
			parts = append(parts, k+"="+url.QueryEscape(x))
		}
	}
	return strings.Join(parts, "&")
}

// baseURL returns the scheme, host and version of a Graph call.
func baseURL(r *http.Request) string {
	version, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return "http://" + r.Host + "/" + version
}
