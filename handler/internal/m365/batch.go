package m365

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
)

const (
	batchSize        = 20 // parts of one $batch, Graph's limit
	batchConcurrency = 4
)

// answer is what came back for one part of a batch.
type answer struct {
	request request // what was asked
	body    json.RawMessage
	err     error
}

// take returns the body, once: it is not kept any longer than it takes to read it.
func (a *answer) take(ctx context.Context) json.RawMessage {
	body := a.body
	a.body = nil
	giveBack(ctx, int64(len(body)))
	return body
}

// pause is until when the batches of one call leave Graph alone.
type pause struct {
	mu    sync.Mutex
	until time.Time
}

func (p *pause) extend(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(wait); until.After(p.until) {
		p.until = until
	}
}

func (p *pause) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// batch sends GET requests as parts of $batch requests, some of those at once. It returns
// the answers in the order of the requests. Each part fails alone. batch sends throttled
// parts again after the longest wait that Graph told any of them. No other batch begins
// during that wait. A part whose token Graph refused goes once more with another. Facts:
// JSON batching in Graph's documentation.
func (g *graph) batch(ctx context.Context, requests []request) []*answer {
	return g.batchOn(ctx, "v1.0", requests)
}

// batchOn is batch for a version of Graph, whatever version the requests name.
func (g *graph) batchOn(ctx context.Context, version string, requests []request) []*answer {
	answers := make([]*answer, len(requests))
	var pause pause
	var group errgroup.Group
	group.SetLimit(batchConcurrency)
	for start := 0; start < len(requests); start += batchSize {
		end := min(start+batchSize, len(requests))
		group.Go(func() error {
			g.batchChunk(ctx, version, &pause, requests[start:end], answers[start:end])
			return nil
		})
	}
	_ = group.Wait()
	return answers
}

type batchRequest struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	URL    string `json:"url"`
}

var errPartMissing = errors.New("a part of the batch is missing")

func (g *graph) batchChunk(ctx context.Context, version string, pause *pause, requests []request, answers []*answer) {
	parts := make([]batchRequest, len(requests))
	pending := make([]int, 0, len(requests))
	for i, r := range requests {
		address, err := g.relative(r)
		if err != nil {
			answers[i] = &answer{request: r, err: err}
			continue
		}
		parts[i] = batchRequest{ID: strconv.Itoa(i + 1), Method: http.MethodGet, URL: address}
		pending = append(pending, i)
	}
	give := func(err error) {
		for _, i := range pending {
			answers[i] = &answer{request: requests[i], err: err}
		}
	}
	if left := pause.left(); left > 0 {
		if err := g.retry.sleep(ctx, left); err != nil {
			give(err)
			return
		}
	}
	var waited time.Duration
	renewed := false
	for round := 1; len(pending) > 0; round++ {
		responses, err := g.postBatch(ctx, version, parts, pending)
		if err != nil {
			give(err)
			return
		}
		var again, refused []int
		var wait time.Duration
		for _, i := range pending {
			response, ok := responses[parts[i].ID]
			switch {
			case !ok:
				answers[i] = &answer{request: requests[i], err: &bodyError{g.name, errPartMissing}}
				again = append(again, i)
			case response.Status == http.StatusOK:
				answers[i] = &answer{request: requests[i], body: response.Body}
				if err := g.keep(ctx, int64(len(response.Body))); err != nil {
					answers[i] = &answer{request: requests[i], err: err}
				}
			default:
				header := http.Header{}
				for k, v := range response.Headers {
					header.Set(k, string(v))
				}
				answers[i] = &answer{request: requests[i], err: newStatusError(g.name, response.Status, header, response.Body)}
				if response.Status == http.StatusUnauthorized {
					refused = append(refused, i)
				}
				if transient(response.Status) {
					again = append(again, i)
					wait = max(wait, retryDelay(header, round))
				}
			}
		}
		if len(refused) > 0 && !renewed {
			renewed = true
			err := g.renew(ctx)
			for _, i := range refused {
				if err != nil {
					answers[i].err = err
				} else {
					again = append(again, i)
				}
			}
		}
		if pending = again; len(pending) == 0 {
			return
		}
		if wait == 0 {
			wait = backoff(round)
		}
		wait = max(wait, pause.left()) // another batch may have been told to wait longer
		if round == patienceOf(ctx).attempts || !affords(ctx, waited, wait) {
			return
		}
		waited += wait
		pause.extend(wait)
		if err := g.retry.sleep(ctx, wait); err != nil {
			give(err)
			return
		}
	}
}

func (g *graph) postBatch(ctx context.Context, version string, parts []batchRequest, which []int) (map[string]wire.BatchResponse, error) {
	var content struct {
		Requests []batchRequest `json:"requests"`
	}
	for _, i := range which {
		content.Requests = append(content.Requests, parts[i])
	}
	build := func(ctx context.Context) (*http.Request, error) {
		return prioritize(g.call(ctx, http.MethodPost, g.base(version)+"/$batch", content))
	}
	got, err := fetch(ctx, g.session, build, func(r io.Reader) (wire.Page[wire.BatchResponse], error) {
		return wire.DecodePage[wire.BatchResponse](r, "responses")
	})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]wire.BatchResponse, len(got.Items))
	twice := map[string]bool{}
	for _, response := range got.Items {
		id := string(response.ID)
		_, have := byID[id]
		twice[id] = twice[id] || have
		byID[id] = response
	}
	// Of two answers with one id, nobody can say which belongs to the request.
	maps.DeleteFunc(byID, func(id string, _ wire.BatchResponse) bool { return twice[id] })
	return byID, nil
}

// objectOf reads the answer of a part that is one object.
func objectOf[T any](ctx context.Context, g *graph, a *answer) (T, error) {
	var v T
	if a.err != nil {
		return v, a.err
	}
	body := a.take(ctx)
	if len(body) == 0 || body[0] != '{' {
		return v, &bodyError{g.name, errors.New("it holds no object")}
	}
	if err := reply.Unmarshal(body, &v); err != nil {
		return v, &bodyError{g.name, err}
	}
	return v, nil
}
