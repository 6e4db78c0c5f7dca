package m365

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
)

// maxBeginnings is how often at most read begins a list.
const maxBeginnings = 3

// gather takes the pages of one list.
type gather[T any] struct {
	// begin forgets what came so far, whenever read begins the list.
	begin func()
	// page takes a page, and returns how many records or members of it were not
	// there before.
	page func([]T) (fresh int)
	// odd, where it is not nil, counts the records without an id, which read leaves out.
	// The list may then not be whole.
	odd *int
}

// counting is the gather that also counts what was left out.
func (g gather[T]) counting(odd *int) gather[T] {
	g.odd = odd
	return g
}

// rows gathers records in out, each once: a list may deliver one on two pages.
// The record of a row comes with its id; one without counts as nothing new.
func rows[T, R any](out *[]R, record func(*T) (id string, r R)) gather[T] {
	var isFresh func(string) bool
	return gather[T]{
		begin: func() { *out, isFresh = []R{}, bounds.Fresh[string]() },
		page: func(p []T) (fresh int) {
			for i := range p {
				id, r := record(&p[i])
				if isFresh(id) {
					fresh++
				} else if id != "" {
					continue
				}
				*out = append(*out, r)
			}
			return fresh
		},
	}
}

// source says how to ask for the pages of one list.
type source[T any] struct {
	first func(context.Context) (wire.Page[T], error)
	next  func(ctx context.Context, link string) (wire.Page[T], error)
}

// read reads a list from its first page to its last, and returns the delta link of that.
// The first page is given where it came already. Read follows next links untouched, and
// only to the session's own origin. Where the service no longer knows a page that it
// linked to, it begins the list again. That is Directory_ExpiredPageToken, or a delta
// link that is too old.
func read[T any](ctx context.Context, s *session, from source[T], into gather[T], given *wire.Page[T]) (deltaLink string, err error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	for beginning := 1; ; beginning++ {
		var p wire.Page[T]
		if given != nil {
			p, given = *given, nil
		} else if p, err = from.first(ctx); err != nil {
			return "", err
		}
		into.begin()
		var kept int64
		deltaLink, kept, err = follow(ctx, s, p, into, from.next)
		if err == nil {
			return deltaLink, nil
		}
		giveBack(ctx, kept)
		expired := hasStatus(err, http.StatusBadRequest, http.StatusNotFound, http.StatusGone)
		if !expired || beginning == maxBeginnings {
			return "", err
		}
	}
}

// follow gathers page p and all pages after it, and returns how many bytes these
// take. A list that does not end within bounds is an error, and so is one whose records
// all came without ids.
func follow[T any](ctx context.Context, s *session, p wire.Page[T], into gather[T],
	next func(ctx context.Context, link string) (wire.Page[T], error)) (deltaLink string, kept int64, _ error) {
	seen, records, odd := map[string]bool{}, 0, 0
	list := bounds.List{Limits: s.list}
	for {
		size := reply.Size(p.Items) + int64(len(p.Next))
		if err := s.keep(ctx, size); err != nil {
			return "", kept, err
		}
		kept += size
		fresh := into.page(p.Items)
		records, odd = records+len(p.Items), odd+p.Odd
		if into.odd != nil {
			*into.odd = odd
		}
		switch {
		case p.Next != "":
		case odd > 0 && records == 0:
			return "", kept, &bodyError{s.name, wire.ErrNoIDs}
		default:
			return p.Delta, kept, nil
		}
		if err := list.Page(len(p.Items), fresh, p.Size); err != nil {
			return "", kept, &endlessError{s.name, err}
		}
		err := s.follows(p.Next, seen)
		if err != nil {
			return "", kept, err
		}
		if p, err = next(ctx, p.Next); err != nil {
			return "", kept, err
		}
	}
}

func decodePage[T any](r io.Reader) (wire.Page[T], error) { return wire.DecodePage[T](r, "value") }

// listing is a Graph collection that a builder's request begins.
func listing[T any](g *graph, r request) source[T] {
	return source[T]{
		first: func(ctx context.Context) (wire.Page[T], error) {
			return fetch(ctx, g.session, func(ctx context.Context) (*http.Request, error) { return g.native(ctx, r) }, decodePage[T])
		},
		next: func(ctx context.Context, link string) (wire.Page[T], error) {
			return fetch(ctx, g.session, func(ctx context.Context) (*http.Request, error) { return g.linked(ctx, link) }, decodePage[T])
		},
	}
}

// linkedList reads a collection that begins at a link.
func linkedList[T any](ctx context.Context, g *graph, link string, into gather[T]) (deltaLink string, err error) {
	from := listing[T](g, request{})
	from.first = func(ctx context.Context) (wire.Page[T], error) { return from.next(ctx, link) }
	return read(ctx, g.session, from, into, nil)
}

// list reads a collection.
func list[T any](ctx context.Context, g *graph, r request, into gather[T]) (deltaLink string, err error) {
	return read(ctx, g.session, listing[T](g, r), into, nil)
}

// listOf reads a collection whose first page is the answer of a part of a batch.
func listOf[T any](ctx context.Context, g *graph, a *answer, into gather[T]) (deltaLink string, err error) {
	p, err := pageOf[T](ctx, g, a)
	if err != nil {
		return "", err
	}
	return read(ctx, g.session, listing[T](g, a.request), into, &p)
}

// pageOf reads the answer of a part that is the first page of a collection.
func pageOf[T any](ctx context.Context, g *graph, a *answer) (wire.Page[T], error) {
	if a.err != nil {
		return wire.Page[T]{}, a.err
	}
	p, err := decodePage[T](bytes.NewReader(a.take(ctx)))
	if err != nil {
		return wire.Page[T]{}, &bodyError{g.name, err}
	}
	return p, nil
}
