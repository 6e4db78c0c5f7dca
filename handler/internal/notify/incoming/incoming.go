// Package incoming decodes what Microsoft Graph posts to the notification
// address, within bounds. It verifies nothing and imports no SDK, so that it can
// be fuzzed.
package incoming

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"cipp-ninjaone/handler/internal/reply"
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
	found := false
	err = reply.Members(dec, func(name string) error {
		if name != "value" {
			_, err := next(dec)
			return err
		}
		if found {
			return errNotCollection
		}
		found = true
		return reply.Elements(dec, func() error {
			if len(items)+malformed == MaxItems {
				return errTooMany
			}
			raw, err := next(dec)
			if err != nil {
				return err
			}
			var it Item
			if json.Unmarshal(raw, &it) == nil && it.ClientState != "" {
				items = append(items, it)
			} else {
				malformed++
			}
			return nil
		})
	})
	if err == nil {
		_, err = dec.Token()
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == io.EOF && found:
		return items, malformed, nil
	case tooLarge, err == errTooDeep, err == errTooMany:
		return nil, 0, err
	}
	return nil, 0, errNotCollection
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

// next reads one value, which may be two levels less deep than the body.
func next(dec *json.Decoder) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if tooDeep(raw, MaxDepth-2) {
		return nil, errTooDeep
	}
	return raw, nil
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
