package compliance

import (
	"encoding/json"
	"errors"
	"strings"
)

// Bounds of one POST of notifications. Graph's own are far smaller.
const (
	maxBody  = 1 << 20 // bytes
	maxDepth = 16      // nested objects and arrays
	maxItems = 2000
)

// item is one notification as Graph sends it (resource type
// changeNotification), as far as it is used.
type item struct {
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

// parseItems decodes a collection of notifications. An item that is not what
// it should be does not spoil the others: it is counted as malformed.
func parseItems(body []byte) (items []item, malformed int, err error) {
	if tooDeep(body) {
		return nil, 0, errTooDeep
	}
	var collection struct {
		Value []json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(body, &collection); err != nil || collection.Value == nil {
		return nil, 0, errNotCollection
	}
	if len(collection.Value) > maxItems {
		return nil, 0, errTooMany
	}
	for _, raw := range collection.Value {
		var it item
		if err := json.Unmarshal(raw, &it); err != nil || it.ClientState == "" {
			malformed++
			continue
		}
		items = append(items, it)
	}
	return items, malformed, nil
}

// tooDeep reports whether a JSON text is nested deeper than maxDepth, without
// decoding it.
func tooDeep(body []byte) bool {
	depth, quoted, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// device returns the directory object id of the device that changed; false
// when the notification names none.
func (it item) device() (string, bool) {
	for _, s := range []string{it.ResourceData.ID, last(it.Resource), last(it.ResourceData.Path)} {
		if id, ok := guid(s); ok {
			return id, true
		}
	}
	return "", false
}

// last returns the last segment of an OData path such as Devices/{id} or
// Devices('{id}').
func last(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	if _, inner, ok := strings.Cut(path, "('"); ok {
		path = strings.TrimSuffix(inner, "')")
	}
	return path
}
