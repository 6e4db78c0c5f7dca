package ninjaone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/reply"
)

// errNoProgress ends a list whose next page is the one before.
var errNoProgress = fmt.Errorf("%w: its next page repeats the one before", bounds.ErrEndless)

// pager reads the pages of one list, and ends a list that would never end.
type pager struct {
	client   *Client
	template string
	list     bounds.List
	request  *request // of the page that was read last
	size     int64    // of that page, in bytes

	identified, odd bool // records with their id, and without
}

// read reads one page, which may take longer than other calls.
func (p *pager) read(ctx context.Context, query []param, decode func(*json.Decoder) error) error {
	p.request = newRequest(http.MethodGet, p.template, nil, query, nil)
	p.request.timeout = pageTimeout
	return p.client.do(ctx, p.request, func(dec *json.Decoder) error {
		err := decode(dec)
		p.size = dec.InputOffset()
		return err
	})
}

// note notes whether a record has its id.
func (p *pager) note(id int) {
	p.identified = p.identified || id > 0
	p.odd = p.odd || id <= 0
}

// whole reports that no record of the list has an id.
func (p *pager) whole() error {
	if p.odd && !p.identified {
		return &APIError{Method: p.request.method, Path: p.request.path, Status: http.StatusOK, kinds: []error{ErrNotJSON}, cause: errNoIDs}
	}
	return nil
}

// goOn reports why the list may not go on after the page that was read last.
func (p *pager) goOn(records, fresh int) error {
	if err := p.list.Page(records, fresh, p.size); err != nil {
		return p.request.wrap(err)
	}
	return nil
}

// listAfter reads a list that is paged by the largest id seen so far
// (pageSize, after): organizations and devices. NinjaOne does not promise an
// order. The list ends with a page that is short or empty.
func listAfter[T any](ctx context.Context, c *Client, template string, query []param, pageSize int, id func(T) int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, release := reply.Keeping(ctx)
		defer release()
		p := pager{client: c, template: template}
		for after := 0; ; {
			q := append(query[:len(query):len(query)], param{"pageSize", strconv.Itoa(pageSize)})
			if after > 0 {
				q = append(q, param{"after", strconv.Itoa(after)})
			}
			var page []T
			if err := p.read(ctx, q, into(&page, decodeList[T])); err != nil {
				yield(none, err)
				return
			}
			if err := reply.Keep(ctx, reply.Size(page)); err != nil {
				yield(none, p.request.wrap(err))
				return
			}
			last, fresh := after, 0
			for _, v := range page {
				p.note(id(v))
				if id(v) <= after {
					continue // seen on an earlier page
				}
				last = max(last, id(v))
				fresh++
				if !yield(v, nil) {
					return
				}
			}
			ended, err := len(page) < pageSize, p.whole()
			switch {
			case err != nil && (ended || last == after):
				yield(none, err)
				return
			case ended:
				return
			case last == after:
				yield(none, p.request.wrap(errNoProgress))
				return
			}
			if err := p.goOn(len(page), fresh); err != nil {
				yield(none, err)
				return
			}
			after = last
		}
	}
}

// cursor is where a report continues. Source: schema Cursor.
type cursor struct {
	Name string `json:"name"`
}

// listCursor reads a report of /v2/queries, whose pages name the cursor that leads to the
// next one. It ends with an empty page, without a next cursor, or where enough says so of
// a page's results. The function key tells the first results of two pages apart.
func listCursor[T any](ctx context.Context, c *Client, template string, query []param, key func(T) int, enough func(results int) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		p := pager{client: c, template: template}
		isFresh := bounds.Fresh[int]()
		q, previous := query, 0
		for first := true; ; first = false {
			var page []T
			var next cursor
			if err := p.read(ctx, q, decodeMembers(map[string]func(*json.Decoder) error{
				"results": into(&page, decodeList[T]),
				"cursor":  into(&next, decodeCursor),
			}, "results")); err != nil {
				yield(none, err)
				return
			}
			if len(page) == 0 {
				if err := p.whole(); err != nil {
					yield(none, err)
				}
				return
			}
			if !first && key(page[0]) != 0 && key(page[0]) == previous {
				yield(none, p.request.wrap(errNoProgress))
				return
			}
			previous = key(page[0])
			fresh := 0
			for _, v := range page {
				p.note(key(v))
				if isFresh(key(v)) {
					fresh++
				}
				if !yield(v, nil) {
					return
				}
			}
			if next.Name == "" || enough(len(page)) {
				if err := p.whole(); err != nil {
					yield(none, err)
				}
				return
			}
			if err := p.goOn(len(page), fresh); err != nil {
				yield(none, err)
				return
			}
			q = append(query[:len(query):len(query)], param{"cursor", next.Name})
		}
	}
}

// collect gathers a list, or fails as a whole: part of a list is worth nothing.
func collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for v, err := range list {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// fetch makes a call and decodes its answer. It returns nothing of an answer that fails.
func fetch[T any](ctx context.Context, c *Client, r *request, decode func(*json.Decoder) (T, error)) (answer T, err error) {
	if err = c.do(ctx, r, into(&answer, decode)); err != nil {
		var none T
		return none, err
	}
	return answer, nil
}

// fetchKept fetches a list without pages, whose elements count as kept by the run.
func fetchKept[W, T any](ctx context.Context, c *Client, r *request, choose func(W) (T, bool, error)) ([]T, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	var kept int64 // of the attempt before
	return fetch(ctx, c, r, func(dec *json.Decoder) ([]T, error) {
		_ = reply.Keep(ctx, -kept) // it never fails
		kept = 0
		return decodeSelected(func(w W) (T, bool, error) {
			v, wanted, err := choose(w)
			if err != nil || !wanted {
				return v, wanted, err
			}
			size := int64(reflect.TypeFor[T]().Size()) + reply.Size(v)
			if err := reply.Keep(ctx, size); err != nil {
				return v, false, err
			}
			kept += size
			return v, true, nil
		})(dec)
	})
}

// into keeps what is decoded.
func into[T any](out *T, decode func(*json.Decoder) (T, error)) func(*json.Decoder) error {
	return func(dec *json.Decoder) (err error) {
		*out, err = decode(dec)
		return err
	}
}

// decodeValue decodes any JSON value; null leaves the zero value.
func decodeValue[T any](dec *json.Decoder) (v T, err error) {
	_, err = reply.Decode(dec, &v)
	return v, err
}

// decodeCursor decodes what leads to the next page. A cursor that cannot be read is an
// error: the list would look whole although it is not.
func decodeCursor(dec *json.Decoder) (next cursor, err error) {
	err = dec.Decode(&next)
	if odd, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = errors.New("its cursor is a " + odd.Value)
	}
	return next, err
}

// decodeList decodes a JSON array element by element.
func decodeList[T any](dec *json.Decoder) ([]T, error) {
	return decodeSelected(func(v T) (T, bool, error) { return v, true, nil })(dec)
}

// errNoIDs says that a list is not one of records. What has no ids cannot pass for an
// empty list.
var errNoIDs = errors.New("none of its records has an id")

// decodeIdentified is decodeList for a list of records that have ids.
func decodeIdentified[T any](id func(T) int) func(*json.Decoder) ([]T, error) {
	return func(dec *json.Decoder) ([]T, error) {
		list, err := decodeList[T](dec)
		if err == nil && len(list) > 0 && !slices.ContainsFunc(list, func(v T) bool { return id(v) > 0 }) {
			err = errNoIDs
		}
		return list, err
	}
}

// decodeSelected decodes a JSON array element by element. It keeps what choose makes of
// the elements that it wants, and nothing else. An element of another type is a zero one.
// A page counts it, and readers skip it, since it has no id. A null is an error: as an
// empty list, it would make everything in NinjaOne look deleted.
func decodeSelected[W, T any](choose func(W) (T, bool, error)) func(*json.Decoder) ([]T, error) {
	return func(dec *json.Decoder) (list []T, err error) {
		err = reply.Elements(dec, func() error {
			w, err := decodeValue[W](dec)
			if err != nil {
				return err
			}
			v, wanted, err := choose(w)
			if err == nil && wanted {
				list = append(list, v)
			}
			return err
		})
		return list, err
	}
}

// decodeMembers decodes the named members of a JSON object, in whatever order
// they come, and skips the others. The required member must be there.
func decodeMembers(members map[string]func(*json.Decoder) error, required string) func(*json.Decoder) error {
	return func(dec *json.Decoder) error {
		found := false
		err := reply.Members(dec, func(name string) error {
			found = found || name == required
			if decode := members[name]; decode != nil {
				return decode(dec)
			}
			return reply.Skip(dec)
		})
		if err == nil && !found {
			err = errors.New("the answer has no member " + strconv.Quote(required))
		}
		return err
	}
}
