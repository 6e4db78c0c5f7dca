package m365

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// session is one service as seen from one tenant during one reading. Only a session puts
// a token on a request, and it refuses any origin but the configured one.
type session struct {
	service
	client *http.Client
	tokens *tokens
	ref    tenant.Ref

	first string // token at the beginning of the reading; open alone sets it

	mu      sync.Mutex
	givenUp int // attempts in a row whose answer did not come, or too slowly
}

// maxGivenUp is how many attempts in a row a reading gives up before it stops asking the
// service. Attempts under way at the same time are in a row.
const maxGivenUp = 4

var errAnswersNothing = fmt.Errorf("%w, so often that it was asked for nothing more", reply.ErrSlow)

// tell notes what became of a call, or of so many attempts at one.
func (s *session) tell(err error, attempts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.givenUp = 0
	case errors.Is(err, reply.ErrSlow):
		s.givenUp += attempts
	}
}

// answersNothing reports whether the service let too many calls wait.
func (s *session) answersNothing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.givenUp >= maxGivenUp
}

// open obtains the token, so that a tenant without one is told apart from
// parts that cannot be read.
func (s *session) open(ctx context.Context) (err error) {
	s.first, err = s.tokens.get(ctx, s.ref, s.scope)
	return err
}

// do sends a request built by build and returns an answer below 400. A reading renews a
// token that got 401 once, for all requests together. A resource that always answers 401
// must not renew for ever.
func (s *session) do(ctx context.Context, build func(context.Context) (*http.Request, error)) (*http.Response, error) {
	value, err := s.tokens.get(ctx, s.ref, s.scope)
	if err != nil {
		return nil, err
	}
	if s.answersNothing() {
		return nil, &transportError{s.name, errAnswersNothing}
	}
	for {
		req, err := build(ctx)
		if err != nil {
			return nil, err
		}
		if !sameOrigin(req.URL, s.origin) {
			return nil, &linkError{s.name}
		}
		req.Header.Set("Authorization", "Bearer "+value)
		res, err := s.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.tell(err, maxStalls)
			return nil, &transportError{s.name, netfault.Explain(err)}
		}
		if res.StatusCode < 400 {
			return res, nil
		}
		failure, err := errorOf(s.name, res)
		s.tell(err, 1)
		if res.StatusCode != http.StatusUnauthorized || value != s.first {
			return nil, failure
		}
		renewed, err := s.tokens.renew(ctx, s.ref, s.scope, value)
		if err != nil {
			return nil, err
		}
		if renewed == value {
			return nil, failure
		}
		value = renewed
	}
}

// get returns the request of a link, as it came.
func (s *session) get(ctx context.Context, link string) (*http.Request, error) {
	return s.call(ctx, http.MethodGet, link, nil)
}

// call returns a request to an address, with a body as JSON unless it is nil.
func (s *session) call(ctx context.Context, method, address string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("building a request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, &linkError{s.name}
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// follows adds the link to a list's next page to those seen. It is an error where the
// list led there before.
func (s *session) follows(link string, seen map[string]bool) error {
	if seen[link] {
		return &endlessError{s.name, errors.New("its pages go round in a circle")}
	}
	seen[link] = true
	return nil
}

// keep counts bytes of answers that are kept for the reading.
func (s *session) keep(ctx context.Context, bytes int64) error {
	err := reply.Keep(ctx, bytes)
	if errors.Is(err, reply.ErrNoRoom) {
		return &bodyError{s.name, err}
	}
	return err
}

// giveBack says that bytes which were kept are not kept any more.
func giveBack(ctx context.Context, bytes int64) { _ = reply.Keep(ctx, -bytes) } // which never fails

// renew obtains another token than the one that the reading began with, unless
// that was done already.
func (s *session) renew(ctx context.Context) error {
	_, err := s.tokens.renew(ctx, s.ref, s.scope, s.first)
	return err
}

// fetch sends a request and decodes its answer.
func fetch[T any](ctx context.Context, s *session, build func(context.Context) (*http.Request, error),
	decode func(io.Reader) (T, error)) (T, error) {
	return decoded(ctx, s.name, func() (*http.Response, error) {
		res, err := s.do(ctx, build)
		if err != nil || res.StatusCode == http.StatusOK {
			return res, err
		}
		failure, err := errorOf(s.name, res)
		s.tell(err, 1)
		return nil, failure
	}, func(body io.Reader) (T, error) {
		in := reply.NewReader(ctx, body, s.answer)
		defer in.Close()
		v, err := decode(in)
		s.tell(err, 1)
		return v, err
	})
}

// decoded sends a request to a service and decodes its answer, once more if the answer was
// cut or malformed.
func decoded[T any](ctx context.Context, service string, send func() (*http.Response, error), decode func(io.Reader) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		var none T
		res, err := send()
		if err != nil {
			return none, err
		}
		v, err := decode(res.Body)
		discard(res)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case !again(attempt, err):
			return none, &bodyError{service, err}
		}
	}
}

// again reports whether to ask once more for an answer that cannot be used. It does not
// where that would cost as much again.
func again(attempt int, err error) bool {
	slow := errors.Is(err, reply.ErrSlow) && !errors.Is(err, reply.ErrStopped)
	_, taken := errors.AsType[takenError](err)
	return attempt == 1 && !slow && !taken && !errors.Is(err, reply.ErrTooLarge)
}

// decodeObject decodes an answer that is one small object.
func decodeObject(ctx context.Context, body io.Reader, v any) error {
	in := reply.NewReader(ctx, body, reply.Object)
	defer in.Close()
	_, err := reply.Decode(json.NewDecoder(in), v)
	return err
}
