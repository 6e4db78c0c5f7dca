package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Page is one page of a collection.
type Page[T any] struct {
	Items []T
	Next  string // @odata.nextLink
	Delta string // @odata.deltaLink
}

var errNoCollection = errors.New("it holds no collection")

// DecodePage decodes one page, element by element. The named member is the
// collection. An answer that ends early, goes on after its end, or lacks the
// collection is an error: a short list must never look like a whole one.
func DecodePage[T any](r io.Reader, member string) (Page[T], error) {
	var p Page[T]
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
				p.Items = append(p.Items, item)
			}
			if err := expect(dec, json.Delim(']')); err != nil {
				return p, err
			}
		case "@odata.nextLink":
			err = dec.Decode(&p.Next)
		case "@odata.deltaLink":
			err = dec.Decode(&p.Delta)
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

// BatchResponse is the answer to one part of POST /$batch.
type BatchResponse struct {
	ID      string          `json:"id"`
	Status  int             `json:"status"`
	Headers map[string]Text `json:"headers"`
	Body    json.RawMessage `json:"body"`
}
