package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrForm says that a value is neither the object nor the list that it must be.
var ErrForm = errors.New("it has not the expected form")

// Members reads a JSON object and calls member for each of its members. The function
// member decodes the value or passes over it (Skip).
func Members(dec *json.Decoder, member func(name string) error) error {
	return walk(dec, '{', func() error {
		name, err := token(dec)
		if err != nil {
			return err
		}
		return member(name.(string)) // the decoder takes no other name
	})
}

// Elements reads a JSON list and calls element to decode each. A null is not an empty
// list.
func Elements(dec *json.Decoder, element func() error) error { return walk(dec, '[', element) }

func walk(dec *json.Decoder, start json.Delim, each func() error) error {
	t, err := token(dec)
	if err != nil {
		return err
	}
	if t != start {
		return fmt.Errorf("%w, which starts with %s", ErrForm, start)
	}
	for dec.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err = token(dec)
	return err
}

// token reads a token of a value that has not ended.
func token(dec *json.Decoder) (json.Token, error) {
	t, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}

// End reports that something follows the value that was read last.
func End(dec *json.Decoder) error {
	switch _, err := dec.Token(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("it goes on after its end")
	default:
		return fmt.Errorf("it goes on after its end: %w", err)
	}
}
