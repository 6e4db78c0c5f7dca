package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// call is one request that a service answered.
type call struct {
	service    string // login, graph, exchange, ninjaone, table or blob
	name       string // method and path, ids left out; for Exchange the cmdlet
	start, end time.Time
}

// recorder notes the calls that pass it.
type recorder struct {
	mu    sync.Mutex
	calls []call
}

// wrap notes every request to a service, and by which name. Those to queues are the host's.
func (r *recorder) wrap(service string, next http.Handler) http.Handler {
	if service == "queue" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := call{service: service, name: nameOf(service, req), start: time.Now()}
		next.ServeHTTP(w, req)
		c.end = time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, c)
	})
}

// take returns the calls noted so far and forgets them.
func (r *recorder) take() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

var (
	ids  = regexp.MustCompile(`[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|/\d+(/|$)`)
	keys = regexp.MustCompile(`\(.*\)`)
)

func nameOf(service string, r *http.Request) string {
	switch service {
	case "exchange":
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var command struct {
			CmdletInput struct{ CmdletName string }
		}
		_ = json.Unmarshal(body, &command)
		return r.Method + " " + command.CmdletInput.CmdletName
	case "table", "blob":
		// The account comes first in the emulator's paths.
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		path = keys.ReplaceAllString(path, "(key)")
		if container, blob, ok := strings.Cut(path, "/"); ok && service == "blob" {
			path = container + "/" + strings.SplitN(blob, "/", 2)[0]
		}
		if comp := r.URL.Query().Get("comp"); comp != "" {
			path += "?comp=" + comp
		}
		return r.Method + " " + path
	}
	return r.Method + " " + ids.ReplaceAllStringFunc(r.URL.Path, func(id string) string {
		if strings.HasPrefix(id, "/") {
			return "/{id}" + strings.TrimLeft(id, "/0123456789") + strings.Repeat("/", strings.Count(id[1:], "/"))
		}
		return "{id}"
	})
}

// counts are numbers of calls by service and name.
type counts map[string]int

func countOf(calls []call) counts {
	c := counts{}
	for _, k := range calls {
		c[k.service+" "+k.name]++
	}
	return c
}

// of sums the calls of a service whose name contains a text.
func (c counts) of(service, text string) (n int) {
	for name, k := range c {
		if strings.HasPrefix(name, service+" ") && strings.Contains(name, text) {
			n += k
		}
	}
	return n
}

func (c counts) names() []string { return slices.Sorted(maps.Keys(c)) }

// isWrite reports whether a call changes something in NinjaOne.
func (c call) isWrite() bool {
	return c.service == "ninjaone" && !strings.HasPrefix(c.name, "GET ") && !strings.HasSuffix(c.name, "/ws/oauth/token")
}

// isRead reports whether a call reads Microsoft 365 or NinjaOne.
func (c call) isRead() bool {
	return c.service != "table" && c.service != "blob" && !c.isWrite()
}

// busiest is the largest number of calls under way at once.
func busiest(calls []call) int {
	type edge struct {
		at time.Time
		by int
	}
	var edges []edge
	for _, c := range calls {
		edges = append(edges, edge{c.start, 1}, edge{c.end, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return a.by - b.by
	})
	most, now := 0, 0
	for _, e := range edges {
		now += e.by
		most = max(most, now)
	}
	return most
}
