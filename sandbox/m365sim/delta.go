package m365sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// deltaMembers is how many members one page of a delta answer has.
const deltaMembers = 1000

// deltaState is what a $deltatoken stands for: what the caller has seen.
type deltaState struct {
	tenant   string
	path     string
	selected []Property
	members  bool
	seen     map[string]string // id to the JSON of its properties
	holds    map[string][]Member
}

func deltaRoute(path, typ string, perms []string, rows func(t *Tenant) []Entity) {
	routes = append(routes, route{method: http.MethodGet, path: path, versions: both, list: true, perms: perms,
		serve: func(s *Server, c *call, q *query) *answer { return s.serveDelta(c, q, typ, rows) },
		rules: rules{options: "select deltatoken"},
	})
}

// serveDelta answers a round of a delta query: everything, or what changed
// since the round that gave out the $deltatoken.
func (s *Server) serveDelta(c *call, q *query, typ string, rows func(t *Tenant) []Entity) *answer {
	values := q.raw
	state := &deltaState{tenant: c.t.ID, path: c.r.URL.Path, seen: map[string]string{}, holds: map[string][]Member{}}
	latest := false
	if token := values.Get("$deltatoken"); token == "latest" {
		latest = true
	} else if token != "" {
		s.mu.Lock()
		old := s.deltas[token]
		s.mu.Unlock()
		switch {
		case len(values) != 1:
			return s.errorAnswer(c.r, badRequest("The delta link was altered; it must be followed as it is."))
		case old == nil || old.tenant != c.t.ID || old.path != c.r.URL.Path:
			return s.errorAnswer(c.r, &apiError{status: http.StatusGone, code: "syncStateNotFound",
				message: "The delta token is expired or not known; start again without a token."})
		}
		state = old
	}
	for name := range strings.SplitSeq(values.Get("$select"), ",") {
		switch name = strings.TrimSpace(name); {
		case name == "" && !latest && values.Has("$deltatoken"): // which stands for what was selected
		case name == "members" && (typ == "group" || typ == "directoryRole"):
			state.members = true
		default:
			p, refusal := selectable(entityTypes[typ], name, c.beta)
			if refusal != nil {
				return s.errorAnswer(c.r, refusal)
			}
			state.selected = append(state.selected, p)
		}
	}

	next := *state
	next.seen, next.holds = map[string]string{}, map[string][]Member{}
	var pages [][]json.RawMessage
	c.t.View(func(t *Tenant) {
		var changed []deltaObject
		for _, e := range rows(t) {
			o := deltaObject{id: e.ID(), properties: deltaProperties(e, next.selected)}
			text, _ := json.Marshal(o.properties)
			next.seen[o.id] = string(text)
			if next.members {
				next.holds[o.id] = slices.Clone(t.Members[o.id])
				o.added, o.removed = difference(state.holds[o.id], next.holds[o.id])
			}
			if state.seen[o.id] != string(text) || len(o.added)+len(o.removed) > 0 {
				changed = append(changed, o)
			}
		}
		for id := range state.seen {
			if _, ok := next.seen[id]; !ok {
				changed = append(changed, deltaObject{id: id, gone: true})
			}
		}
		if !latest {
			pages = deltaPages(changed, s.config.DeltaPageSize, deltaMembers)
		}
	})

	token := randomToken()
	s.mu.Lock()
	s.deltas[token] = &next
	s.mu.Unlock()
	link := "http://" + c.r.Host + c.r.URL.EscapedPath() + "?$deltatoken=" + token
	flat, sizes := []json.RawMessage(nil), []int(nil)
	for _, p := range pages {
		flat = append(flat, p...)
		sizes = append(sizes, len(p))
	}
	first := &pageToken{tenant: c.t.ID, path: c.r.URL.Path, query: values, rows: flat, sizes: sizes,
		context: strings.TrimPrefix(strings.TrimSuffix(c.route.path, "/delta"), "/"), last: map[string]any{"@odata.deltaLink": link}}
	return s.page(c.r, first)
}

type deltaObject struct {
	id             string
	properties     map[string]any
	added, removed []Member
	gone           bool
}

// deltaProperties returns the properties that a delta answer shows. They are the id, and
// those selected that have a value.
func deltaProperties(e Entity, selected []Property) map[string]any {
	out := map[string]any{"id": e.ID()}
	for _, p := range selected {
		if v := e[p.Name]; v != nil {
			out[p.Name] = v
		}
	}
	return out
}

func difference(old, now []Member) (added, removed []Member) {
	for _, m := range now {
		if !slices.Contains(old, m) {
			added = append(added, m)
		}
	}
	for _, m := range old {
		if !slices.Contains(now, m) {
			removed = append(removed, m)
		}
	}
	return added, removed
}

// deltaPages lays objects out on pages. A page ends when it is full of objects or of
// members. The next page repeats an object with too many members, with the rest of them.
// Graph does so for large groups.
func deltaPages(objects []deltaObject, size, maxMembers int) [][]json.RawMessage {
	var pages [][]json.RawMessage
	var page []json.RawMessage
	used := 0
	flush := func() {
		if len(page) > 0 {
			pages = append(pages, page)
		}
		page, used = nil, 0
	}
	for _, o := range objects {
		if o.gone {
			b, _ := json.Marshal(map[string]any{"id": o.id, "@removed": map[string]string{"reason": "deleted"}})
			page = append(page, b)
		} else {
			refs := []map[string]any{}
			for _, m := range o.added {
				refs = append(refs, map[string]any{"@odata.type": "#microsoft.graph." + m.Type, "id": m.ID})
			}
			for _, m := range o.removed {
				refs = append(refs, map[string]any{"@odata.type": "#microsoft.graph." + m.Type, "id": m.ID,
					"@removed": map[string]string{"reason": "deleted"}})
			}
			for first := true; first || len(refs) > 0; first = false {
				if used >= maxMembers || len(page) >= size {
					flush()
				}
				n := min(len(refs), maxMembers-used)
				row := maps.Clone(o.properties)
				if n > 0 {
					row["members@delta"] = refs[:n]
				}
				b, _ := json.Marshal(row)
				page = append(page, b)
				refs, used = refs[n:], used+n
			}
		}
		if len(page) >= size {
			flush()
		}
	}
	flush()
	return pages
}

// ForgetDeltaLinks makes the service refuse every delta link that it gave out
// so far, as it does after seven days.
func (s *Server) ForgetDeltaLinks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.deltas)
}
