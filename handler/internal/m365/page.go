package m365

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"cipp-ninjaone/handler/internal/tenant"
)

// session is one service as seen from one tenant during one reading. It is the
// only place where a token is put on a request, and refuses any other origin
// than the configured one.
type session struct {
	service string
	origin  *url.URL
	client  *http.Client
	tokens  *tokens
	ref     tenant.Ref
	scope   string

	mu    sync.Mutex
	first string // token at the beginning of the reading
}

// open obtains the token, so that a tenant without one is told apart from
// parts that cannot be read.
func (s *session) open(ctx context.Context) error {
	value, err := s.tokens.get(ctx, s.ref, s.scope)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.first = value
	s.mu.Unlock()
	return nil
}

// do sends a request built by build and returns an answer below 400. A token
// refused with 401 is renewed once in a reading, for all requests together, so
// that a resource that always answers 401 does not renew for ever.
func (s *session) do(ctx context.Context, build func(context.Context) (*http.Request, error)) (*http.Response, error) {
	value, err := s.tokens.get(ctx, s.ref, s.scope)
	if err != nil {
		return nil, err
	}
	for {
		req, err := build(ctx)
		if err != nil {
			return nil, err
		}
		if !sameOrigin(req.URL, s.origin) {
			return nil, &linkError{s.service}
		}
		req.Header.Set("Authorization", "Bearer "+value)
		res, err := s.client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &transportError{s.service, withoutURL(err)}
		}
		if res.StatusCode < 400 {
			return res, nil
		}
		failure := errorOf(s.service, res)
		discard(res)
		s.mu.Lock()
		first := s.first
		s.mu.Unlock()
		if res.StatusCode != http.StatusUnauthorized || value != first {
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

// renew obtains another token than the one that the reading began with, unless
// that was done already.
func (s *session) renew(ctx context.Context) error {
	s.mu.Lock()
	first := s.first
	s.mu.Unlock()
	_, err := s.tokens.renew(ctx, s.ref, s.scope, first)
	return err
}

// page is one page of a collection.
type page[T any] struct {
	items []T
	next  string // @odata.nextLink
	delta string // @odata.deltaLink
}

var errNoCollection = errors.New("it holds no collection")

// decodePage decodes one page, element by element. The named member is the
// collection. An answer that ends early, goes on after its end, or lacks the
// collection is an error: a short list must never look like a whole one.
func decodePage[T any](r io.Reader, member string) (page[T], error) {
	var p page[T]
	dec := json.NewDecoder(r)
	if err := expect(dec, json.Delim('{')); err != nil {
		return p, err
	}
	found := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return p, err
		}
		switch key {
		case member:
			if found {
				return p, fmt.Errorf("it holds %q twice", member)
			}
			found = true
			if err := expect(dec, json.Delim('[')); err != nil {
				return p, err
			}
			for dec.More() {
				var item T
				if err := dec.Decode(&item); err != nil {
					return p, err
				}
				p.items = append(p.items, item)
			}
			if err := expect(dec, json.Delim(']')); err != nil {
				return p, err
			}
		case "@odata.nextLink":
			err = dec.Decode(&p.next)
		case "@odata.deltaLink":
			err = dec.Decode(&p.delta)
		default:
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if err != nil {
			return p, err
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return p, err
	}
	if !found {
		return p, errNoCollection
	}
	if _, err := dec.Token(); err != io.EOF {
		return p, errors.New("it goes on after its end")
	}
	return p, nil
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if got != want {
		return errNoCollection
	}
	return nil
}

// fetch sends a request and decodes its answer, once more if the answer was cut
// or malformed.
func fetch[T any](ctx context.Context, s *session, build func(context.Context) (*http.Request, error),
	decode func(io.Reader) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		var none T
		res, err := s.do(ctx, build)
		if err != nil {
			return none, err
		}
		if res.StatusCode != http.StatusOK {
			failure := errorOf(s.service, res)
			discard(res)
			return none, failure
		}
		v, err := decode(res.Body)
		discard(res)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case attempt > 1:
			return none, &bodyError{s.service, err}
		}
	}
}

// follow gives the items of page p and of all pages after it to each, page by
// page, and returns the delta link of the last one. Next links are followed
// untouched, and only to the session's own origin.
func follow[T any](ctx context.Context, s *session, p page[T], each func([]T),
	next func(ctx context.Context, link string) (page[T], error)) (string, error) {
	seen := map[string]bool{}
	for {
		each(p.items)
		if p.next == "" {
			return p.delta, nil
		}
		link, err := url.Parse(p.next)
		if err != nil || !sameOrigin(link, s.origin) {
			return "", &linkError{s.service}
		}
		if seen[p.next] {
			return "", &bodyError{s.service, errors.New("its pages go round in a circle")}
		}
		seen[p.next] = true
		if p, err = next(ctx, p.next); err != nil {
			return "", err
		}
	}
}

// text takes any JSON scalar as text; null, objects and arrays become "". The
// Exchange admin API is not strict about the types of its values.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case 'n', '{', '[':
		*t = ""
	default:
		*t = text(b)
	}
	return nil
}

func (t text) isTrue() bool { return strings.EqualFold(string(t), "true") }
