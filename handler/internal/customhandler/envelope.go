package customhandler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/isotime"
)

// envelope is the body of an invocation. The values keep the host's encoding:
// see text and object.
type envelope struct {
	data     map[string]json.RawMessage // by name of the input binding
	metadata map[string]json.RawMessage
}

// malformedError says that an envelope is not one this handler can take.
type malformedError struct{ reason string }

func (e *malformedError) Error() string { return e.reason }

func decodeEnvelope(body []byte) (envelope, error) {
	var wire struct{ Data, Metadata json.RawMessage }
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return envelope{}, &malformedError{"it is not a JSON object"}
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return envelope{}, &malformedError{fmt.Sprintf("it is not JSON: %v", err)}
	}
	e := envelope{metadata: members(wire.Metadata)}
	if len(wire.Data) > 0 && string(wire.Data) != "null" {
		if e.data = members(wire.Data); e.data == nil {
			return envelope{}, &malformedError{`"Data" is not a JSON object`}
		}
	}
	return e, nil
}

// input returns the value of a function's one input binding, whatever its name is in
// function.json.
func (e envelope) input() (json.RawMessage, error) {
	if len(e.data) != 1 {
		return nil, &malformedError{fmt.Sprintf(`"Data" holds %d values; a function with one input binding was expected`, len(e.data))}
	}
	for _, v := range e.data {
		return v, nil
	}
	return nil, nil
}

// text returns the text of a value. The host sends a string twice encoded ("\"hello\"");
// its documentation shows it encoded once. Older versions sent numbers and JSON texts as
// they are. All of them give the same text. Objects, arrays, numbers and booleans give
// their JSON, null gives "".
func text(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
	if !bytes.HasPrefix(value, []byte(`"`)) {
		if string(value) == "null" {
			return ""
		}
		return string(value)
	}
	var s, inner string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	if trimmed := strings.TrimSpace(s); strings.HasPrefix(trimmed, `"`) && json.Unmarshal([]byte(trimmed), &inner) == nil {
		return inner
	}
	if s == "null" {
		return ""
	}
	return s
}

// members returns the members of a JSON object, or of a string that holds one; nil for
// others.
func members(value json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(text(value)), &m) != nil {
		return nil
	}
	return m
}

// member returns the member of that name, in any case.
func member(m map[string]json.RawMessage, name string) json.RawMessage {
	if v, ok := m[name]; ok {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

// number returns the whole number that a value holds, 0 when it holds none.
func number(value json.RawMessage) int {
	n, err := strconv.Atoi(strings.TrimSpace(text(value)))
	if err != nil {
		return 0
	}
	return n
}

// hostLayouts are the forms, beside those of ISO 8601, in which the host wrote times. A
// time without zone is UTC.
var hostLayouts = []string{"01/02/2006 15:04:05 -07:00", "01/02/2006 15:04:05"}

// instant returns the time that a value holds, in UTC. No time, one that
// cannot be read, and .NET's year 1 give the zero time.
func instant(value json.RawMessage) time.Time {
	s := strings.TrimSpace(text(value))
	t, ok := isotime.Parse(s)
	for _, layout := range hostLayouts {
		if !ok {
			parsed, err := time.Parse(layout, s)
			t, ok = parsed.UTC(), err == nil
		}
	}
	if !ok || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}

// QueueMessage is a message of a storage queue, delivered at least once.
type QueueMessage struct {
	Text []byte // as it was sent, base64 of the queue removed
	// DequeueCount says how often the message was received, this time
	// included; 0 when unknown. The host moves it to <queue>-poison when it
	// fails at maxDequeueCount.
	DequeueCount int
	// Inserted is when it came onto the queue, in whole seconds of the storage service's
	// clock; zero when unknown.
	Inserted time.Time
}

func decodeQueue(e envelope) (QueueMessage, error) {
	value, err := e.input()
	if err != nil {
		return QueueMessage{}, err
	}
	return QueueMessage{
		Text:         []byte(text(value)),
		DequeueCount: number(member(e.metadata, "DequeueCount")),
		Inserted:     instant(member(e.metadata, "InsertionTime")),
	}, nil
}

// badMessageError marks a queue message that no retry can help. It is the reason.
type badMessageError string

func (e badMessageError) Error() string { return "bad queue message: " + string(e) }

// BadMessage returns the error of a queue message that no retry can help. The server logs
// it, tells Deps.OnBadMessage, and lets the message go. The reason is for a technician,
// and holds nothing of the message.
func BadMessage(reason string) error { return badMessageError(reason) }
