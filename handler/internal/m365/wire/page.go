package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cipp-ninjaone/handler/internal/reply"
)

// Page is one page of a collection.
type Page[T any] struct {
	Items []T
	Next  string // @odata.nextLink
	Delta string // @odata.deltaLink
	Odd   int    // elements that are not records, or have no id, and were left out
	Size  int64  // of the answer, in bytes
}

var errNoCollection = errors.New("it holds no collection")

// ErrNoIDs says that a whole list came without ids. It cannot pass for an empty one.
var ErrNoIDs = errors.New("none of its records has an id")

// DecodePage decodes one page, as StreamPage does, and gathers its records. A page of odd
// ones alone says nothing of the list's others.
func DecodePage[T any](r io.Reader, member string) (Page[T], error) {
	var items []T
	odd := 0
	p, err := StreamPage(r, member, func(item *T, fits bool) error {
		if fits && identified(item) {
			items = append(items, *item)
		} else {
			odd++
		}
		return nil
	})
	p.Items, p.Odd = items, odd
	return p, err
}

// StreamPage decodes one page, and hands each element of the member to each: fits where
// it is a record. An answer that ends early, goes on after its end, or lacks the member
// is an error. A short list must never look like a whole one.
func StreamPage[T any](r io.Reader, member string, each func(item *T, fits bool) error) (Page[T], error) {
	var p Page[T]
	dec := json.NewDecoder(r)
	found := false
	err := reply.Members(dec, func(name string) error {
		switch name {
		case member:
			if found {
				return fmt.Errorf("it holds %q twice", member)
			}
			found = true
			return reply.Elements(dec, func() error {
				var item T
				fits, err := reply.Decode(dec, &item)
				if err != nil {
					return err
				}
				return each(&item, fits)
			})
		case "@odata.nextLink":
			return decodeLink(dec, &p.Next)
		case "@odata.deltaLink":
			return decodeLink(dec, &p.Delta)
		}
		return reply.Skip(dec)
	})
	switch {
	case err != nil:
		return p, err
	case !found:
		return p, errNoCollection
	}
	p.Size = dec.InputOffset()
	return p, reply.End(dec)
}

// identified reports whether a record has its id, if records of its type have
// one.
func identified(record any) bool {
	r, ok := record.(interface{ identity() string })
	return !ok || r.identity() != ""
}

// decodeLink decodes a link. One that is not text is an error: without it the
// list would look whole.
func decodeLink(dec *json.Decoder, link *string) error {
	if fits, err := reply.Decode(dec, link); err != nil || fits {
		return err
	}
	return errors.New("a link of it is not a text")
}

// BatchResponse is the answer to one part of POST /$batch.
type BatchResponse struct {
	ID      Text            `json:"id"`
	Status  int             `json:"status"`
	Headers map[string]Text `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

func (r *BatchResponse) identity() string { return string(r.ID) }
