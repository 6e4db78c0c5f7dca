// Package incoming decodes what Microsoft Graph posts to the notification
// address, within bounds. It verifies nothing and imports no SDK, so that it can
// be fuzzed.
package incoming

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Bounds of one POST of notifications. Graph's own are far smaller.
const (
	MaxBody  = 1 << 20 // bytes
	MaxDepth = 16      // nested objects and arrays
	MaxItems = 2000
)

// Item is one notification as Graph sends it (resource type
// changeNotification), as far as it is used.
type Item struct {
	SubscriptionID string `json:"subscriptionId"`
	ClientState    string `json:"clientState"`
	LifecycleEvent string `json:"lifecycleEvent"`
	Resource       string `json:"resource"`
	ResourceData   struct {
		ID   string `json:"id"`
		Path string `json:"@odata.id"`
	} `json:"resourceData"`
}

var (
	errNotCollection = errors.New("the body is not the JSON object {\"value\":[…]}")
	errTooDeep       = errors.New("the body is nested too deeply")
	errTooMany       = errors.New("the body holds too many notifications")
)

// Parse decodes a collection of notifications item by item, and stops at
// the first thing that Graph would not send. An item that is not what it should
// be does not spoil the others: it is counted as malformed. The error is one of
// the above, or the body's own.
func Parse(body io.Reader) (items []Item, malformed int, err error) {
	dec := json.NewDecoder(full{body})
	if err := expect(dec, json.Delim('{')); err != nil {
		return nil, 0, err
	}
	found := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, 0, asCollection(err)
		}
		if key != "value" {
			if _, err := next(dec); err != nil {
				return nil, 0, err
			}
			continue
		}
		if found {
			return nil, 0, errNotCollection
		}
		found = true
		if err := expect(dec, json.Delim('[')); err != nil {
			return nil, 0, err
		}
		for n := 0; dec.More(); n++ {
			if n == MaxItems {
				return nil, 0, errTooMany
			}
			raw, err := next(dec)
			if err != nil {
				return nil, 0, err
			}
			var it Item
			if err := json.Unmarshal(raw, &it); err != nil || it.ClientState == "" {
				malformed++
				continue
			}
			items = append(items, it)
		}
		if err := expect(dec, json.Delim(']')); err != nil {
			return nil, 0, err
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return nil, 0, err
	}
	if _, err := dec.Token(); err != io.EOF || !found {
		return nil, 0, asCollection(err)
	}
	return items, malformed, nil
}

// full fills the buffers that it is given. The decoder looks through blanks
// again after each read, so that many small ones would cost more and more.
type full struct{ io.Reader }

// Read implements io.Reader.
func (f full) Read(p []byte) (int, error) {
	n, err := io.ReadFull(f.Reader, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// expect reads one token.
func expect(dec *json.Decoder, want json.Delim) error {
	if got, err := dec.Token(); err != nil || got != want {
		return asCollection(err)
	}
	return nil
}

// next reads one value, which may be two levels less deep than the body.
func next(dec *json.Decoder) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, asCollection(err)
	}
	if tooDeep(raw, MaxDepth-2) {
		return nil, errTooDeep
	}
	return raw, nil
}

// asCollection leaves an error of the body as it is, and words any other.
func asCollection(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	return errNotCollection
}

// tooDeep reports whether a JSON text is nested deeper than most levels,
// without decoding it.
func tooDeep(text []byte, most int) bool {
	depth, quoted, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
