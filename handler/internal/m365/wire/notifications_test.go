package wire

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzNotifications: whatever is posted, only items with a client state that is in the
// body come of it, and no more of them than are allowed.
func FuzzNotifications(f *testing.F) {
	f.Add([]byte(`{"value":[{"subscriptionId":"s","clientState":"a.b","resource":"Devices('1')","resourceData":{"id":"1"}}]}`))
	f.Add([]byte(`{"x":[{}],"value":[7,null,{"clientState":{}},{"clientState":"c","lifecycleEvent":"missed"}]}`))
	f.Add([]byte(`{"value":[` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `]}`))
	f.Add([]byte(`{"value":[` + strings.Repeat(`{"clientState":"c"},`, MaxNotifications) + `{}]}`))
	f.Add([]byte(`{"value":[{"clientState":"\ud800"}],"value":[]}`))
	f.Add([]byte(`{"value":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, malformed, err := DecodeNotifications(t.Context(), bytes.NewReader(body))
		if err != nil && (len(items) > 0 || malformed > 0) || len(items)+malformed > MaxNotifications {
			t.Errorf("%d items and %d malformed ones, with the error %v", len(items), malformed, err)
		}
		for _, it := range items {
			if it.ClientState == "" || !bytes.Contains(body, []byte(it.ClientState)) && !bytes.ContainsRune(body, '\\') && isText(body) {
				t.Errorf("the client state %q is not in the body", it.ClientState)
			}
		}
	})
}

// isText reports whether a body is decoded to the bytes that it has.
func isText(body []byte) bool { return bytes.Equal(bytes.ToValidUTF8(body, nil), body) }
