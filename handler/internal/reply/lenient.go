package reply

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Unmarshal decodes JSON, and passes over values of another type than their place, such
// as a number for text. They stay zero, and it decodes everything else. It fails only
// when the text is not JSON. It rests on encoding/json, which goes on after such a value.
//
// The types that it decodes into have List for lists, and Optional for what may be
// absent. A bare slice would keep a zero element in the place of an odd one. A pointer
// would point to a zero value.
func Unmarshal(data []byte, v any) error {
	_, err := lenient(json.Unmarshal(data, v))
	return err
}

// Decode decodes a decoder's next value as Unmarshal does. It fits unless it is itself of
// another type than v.
func Decode(dec *json.Decoder, v any) (fits bool, err error) {
	return lenient(dec.Decode(v))
}

func lenient(err error) (fits bool, _ error) {
	if odd, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return odd.Field != "", nil
	}
	return err == nil, err
}

// List is a list in a record. What is not a list is empty, and elements of
// another type than T, null included, are left out.
type List[T any] []T

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (l *List[T]) UnmarshalJSON(data []byte) error {
	*l = nil
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	var all []T
	if !bytes.Contains(data, []byte("null")) && json.Unmarshal(data, &all) == nil {
		*l = all
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if bytes.HasPrefix(data, []byte("[")) {
		*l = List[T]{}
	}
	_ = Elements(dec, func() error {
		v, fits, err := element[T](dec)
		if err == nil && fits {
			*l = append(*l, v)
		}
		return err
	})
	return nil
}

func element[T any](dec *json.Decoder) (v T, fits bool, err error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return v, false, err
	}
	if bytes.Equal(raw, []byte("null")) {
		return v, false, nil
	}
	fits, err = lenient(json.Unmarshal(raw, &v))
	return v, fits, err
}

// Optional is a value that may be absent: null and values of another type are.
type Optional[T any] struct {
	Value T
	OK    bool // it is there
}

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	*o = Optional[T]{}
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	fits, err := lenient(json.Unmarshal(data, &o.Value))
	if o.OK = fits && err == nil; !o.OK {
		*o = Optional[T]{}
	}
	return nil
}

// Skip passes over the next value of a decoder without keeping it.
func Skip(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := token(dec)
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// Pointer returns the value, nil when it is absent.
func (o Optional[T]) Pointer() *T {
	if !o.OK {
		return nil
	}
	return &o.Value
}
