package m365sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// Endless is a way in which a list never ends. Its pages are served to whoever
// follows their links as they were given; other links are refused as ever.
type Endless string

// The ways in which a list never ends.
const (
	EndlessLink  Endless = "link"  // every page leads to itself
	EndlessEmpty Endless = "empty" // every further page is empty and has a new link
	EndlessSame  Endless = "same"  // every further page brings the first one's records again, behind a new link
	EndlessNew   Endless = "new"   // every further page is full of records that were not there before
)

// endlessPage is what the $skiptoken of an endless list stands for.
type endlessPage struct {
	tenant, path string
	rows         []map[string]json.RawMessage // of the first page
	n            int                          // pages served before this one
}

// endless answers a page of a list that never ends.
func (s *Server) endless(r *http.Request, t *Tenant, f *Fault, next func(*http.Request) *answer) *answer {
	values, _ := url.ParseQuery(r.URL.RawQuery)
	page := s.endlessPages.find(values.Get("$skiptoken"))
	if t == nil || page != nil && (page.tenant != t.ID || page.path != r.URL.Path) {
		return next(r) // which refuses it
	}
	body := map[string]any{}
	if page == nil {
		a := next(r)
		var first struct {
			Value []map[string]json.RawMessage `json:"value"`
		}
		if a.status != http.StatusOK || json.Unmarshal(a.body, &body) != nil || json.Unmarshal(a.body, &first) != nil {
			return a
		}
		page = &endlessPage{tenant: t.ID, path: r.URL.Path, rows: first.Value}
	} else {
		body["value"] = page.later(f.Endless)
	}
	delete(body, "@odata.deltaLink")
	token := values.Get("$skiptoken")
	if f.Endless != EndlessLink || page.n == 0 {
		following := *page
		following.n++
		token = s.endlessPages.give(following)
	}
	// Of the query only what chose the list stays, as in the service's own links.
	q := url.Values{"$skiptoken": {token}}
	if v := values.Get("$select"); v != "" && !strings.HasSuffix(r.URL.Path, "/delta") {
		q.Set("$select", v)
	}
	body["@odata.nextLink"] = "http://" + r.Host + r.URL.EscapedPath() + "?" + encodeQuery(q)
	return jsonAnswer(http.StatusOK, body)
}

// later returns the records of a page after the first.
func (p *endlessPage) later(how Endless) []map[string]json.RawMessage {
	out := []map[string]json.RawMessage{}
	if how == EndlessEmpty {
		return out
	}
	for i, row := range p.rows {
		again := map[string]json.RawMessage{}
		for name, value := range row {
			again[name] = value
			if how != EndlessNew {
				continue
			}
			switch name { // what tells records apart
			case "id", "ExternalDirectoryObjectId":
				again[name], _ = json.Marshal(uuid.NewString())
			case "userPrincipalName", "UserPrincipalName", "PrimarySmtpAddress", "SenderAddress":
				again[name], _ = json.Marshal(fmt.Sprintf("new-%d-%d@fabrikam.example", p.n, i))
			}
		}
		out = append(out, again)
	}
	return out
}

// emptied takes the records out of a list, and its link to more.
func emptied(a *answer) *answer {
	var body map[string]any
	if a.status != http.StatusOK || json.Unmarshal(a.body, &body) != nil {
		return a
	}
	if _, list := body["value"].([]any); !list {
		return a
	}
	body["value"] = []any{}
	delete(body, "@odata.nextLink")
	return jsonAnswer(a.status, body)
}

// decodedQuery returns the query with its escapes undone, or as it is.
func decodedQuery(r *http.Request) string {
	if q, err := url.QueryUnescape(r.URL.RawQuery); err == nil {
		return q
	}
	return r.URL.RawQuery
}
