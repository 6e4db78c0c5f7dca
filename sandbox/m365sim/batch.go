package m365sim

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// maxBatch is the number of requests that one JSON batch may hold.
const maxBatch = 20

// batchPart is a part as this project sends it: without headers, body or dependencies.
type batchPart struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	URL    string `json:"url"`
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
	var out []batchAnswer
	for _, p := range in.Requests {
		out = append(out, s.answerPart(c, p))
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
		}
		ids[strings.ToLower(p.ID)] = true
	}
	return nil
}

func (s *Server) answerPart(c *call, p batchPart) batchAnswer {
	version := "/v1.0/"
	if c.beta {
		version = "/beta/"
	}
	ctx := context.WithValue(c.r.Context(), partKey, true)
	r, err := http.NewRequestWithContext(ctx, p.Method, "http://"+c.r.Host+version+strings.TrimPrefix(p.URL, "/"), nil)
	if err != nil {
		return batchAnswer{ID: p.ID, Status: http.StatusBadRequest,
			Body: json.RawMessage(graphErrorBody("BadRequest", "The url of the request is malformed.", s.now()))}
	}
	r.Header.Set("Authorization", c.r.Header.Get("Authorization"))
	a := s.answerGraph(r)
	out := batchAnswer{ID: p.ID, Status: a.status, Headers: map[string]string{}}
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
