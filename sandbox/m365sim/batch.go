package m365sim

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// maxBatch is the number of requests that one JSON batch may hold.
const maxBatch = 20

type batchPart struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// serveBatch answers POST /$batch, and hands redirects back. Every part is a call of its
// own, with its own status, in another order than asked.
func serveBatch(s *Server, c *call, _ *query) *answer {
	var in struct {
		Requests []batchPart `json:"requests"`
	}
	if refusal := readJSON(c.r, &in); refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	if refusal := checkBatch(in.Requests); refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	status := map[string]int{}
	var out []batchAnswer
	for _, p := range in.Requests {
		failed := slices.ContainsFunc(p.DependsOn, func(id string) bool { return status[id] < 200 || status[id] > 399 })
		var a batchAnswer
		if failed {
			a = batchAnswer{Status: http.StatusFailedDependency,
				Body: json.RawMessage(graphErrorBody("FailedDependency", "A request this one depends on failed.", s.now()))}
		} else {
			a = s.answerPart(c, p)
		}
		a.ID = p.ID
		status[p.ID] = a.Status
		out = append(out, a)
	}
	slices.Reverse(out)
	return jsonAnswer(http.StatusOK, map[string]any{"responses": out})
}

func checkBatch(parts []batchPart) *apiError {
	if len(parts) == 0 || len(parts) > maxBatch {
		return badRequest("A batch must have between 1 and %d requests.", maxBatch)
	}
	ids := map[string]bool{}
	for _, p := range parts {
		switch {
		case p.ID == "" || ids[strings.ToLower(p.ID)]:
			return badRequest("Every request of a batch needs an id of its own.")
		case p.Method == "" || p.URL == "":
			return badRequest("Every request of a batch needs a method and a url.")
		case strings.Contains(p.URL, "://"):
			return badRequest("The url of a request in a batch must be relative.")
		case strings.Contains(p.URL, "$batch"):
			return badRequest("A batch cannot hold a batch.")
		case len(p.Body) > 0 && string(p.Body) != "null" && header(p.Headers, "Content-Type") == "":
			return badRequest("A request with a body needs a Content-Type of its own.")
		}
		for name := range p.Headers {
			if strings.EqualFold(name, "Authorization") {
				return badRequest("A request in a batch must not carry a token of its own.")
			}
		}
		for _, id := range p.DependsOn {
			if !ids[strings.ToLower(id)] {
				return badRequest("A request depends on one that does not come before it.")
			}
		}
		ids[strings.ToLower(p.ID)] = true
	}
	return nil
}

func header(h map[string]string, name string) string {
	for k, v := range h {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

func (s *Server) answerPart(c *call, p batchPart) batchAnswer {
	version := "/v1.0/"
	if c.beta {
		version = "/beta/"
	}
	var body []byte
	if string(p.Body) != "null" {
		body = p.Body
	}
	ctx := context.WithValue(c.r.Context(), partKey, true)
	r, err := http.NewRequestWithContext(ctx, p.Method, "http://"+c.r.Host+version+strings.TrimPrefix(p.URL, "/"), bytes.NewReader(body))
	if err != nil {
		return batchAnswer{Status: http.StatusBadRequest,
			Body: json.RawMessage(graphErrorBody("BadRequest", "The url of the request is malformed.", s.now()))}
	}
	for k, v := range p.Headers {
		r.Header.Set(k, v)
	}
	r.Header.Set("Authorization", c.r.Header.Get("Authorization"))
	a := s.answerGraph(r)
	out := batchAnswer{Status: a.status, Headers: map[string]string{}}
	for k := range a.header {
		out.Headers[k] = a.header.Get(k)
	}
	switch {
	case len(a.body) == 0:
	case json.Valid(a.body):
		out.Body = json.RawMessage(a.body)
	default:
		out.Body = a.body // encoded as base64 text
	}
	return out
}
