package customhandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
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

// input returns the value of the one input binding that a timer or queue
// function has, whatever its name is in function.json.
func (e envelope) input() (json.RawMessage, error) {
	if len(e.data) != 1 {
		return nil, &malformedError{fmt.Sprintf(`"Data" holds %d values; a function with one input binding was expected`, len(e.data))}
	}
	for _, v := range e.data {
		return v, nil
	}
	return nil, nil
}

// text returns the text of a value. The host sends a string twice encoded
// ("\"hello\""), its documentation shows it encoded once, and older versions
// sent numbers and JSON texts as they are; all of them give the same text.
// Objects, arrays, numbers and booleans give their JSON, null gives "".
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

// members returns the members of a value that is a JSON object, or a string
// that holds one; nil when it is neither.
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

// scalar returns the text of a value, "" for objects and arrays. Properties of
// a queue message can hide metadata of the same name, with any type.
func scalar(value json.RawMessage) string {
	if b := bytes.TrimSpace(value); len(b) > 0 && (b[0] == '{' || b[0] == '[') {
		return ""
	}
	return text(value)
}

// instantLayouts are the forms in which times have been seen or documented.
// A time without zone is UTC.
var instantLayouts = []string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"01/02/2006 15:04:05 -07:00",
	"01/02/2006 15:04:05",
}

// instant returns the time that a value holds, in UTC. No time, one that
// cannot be read, and .NET's year 1 give the zero time.
func instant(value json.RawMessage) time.Time {
	s := strings.TrimSpace(text(value))
	for _, layout := range instantLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			if t = t.UTC(); t.Year() <= 1 {
				return time.Time{}
			}
			return t
		}
	}
	return time.Time{}
}

// TimerInfo is what the host says of a timer's run.
type TimerInfo struct {
	// IsPastDue: the run was due while no host was listening. Only the first
	// run after a start can be past due.
	IsPastDue bool
	// Last, Next and LastUpdated are the stored schedule before this run, in
	// UTC; zero when unknown or not monitored.
	Last, Next, LastUpdated time.Time
	InvocationID            string
}

// decodeTimer reads what there is. A run with unreadable details is still a
// run, so nothing here is an error.
func decodeTimer(e envelope, invocationID string) TimerInfo {
	info := TimerInfo{InvocationID: invocationID}
	value, err := e.input()
	if err != nil {
		return info
	}
	m := members(value)
	info.IsPastDue = strings.EqualFold(strings.TrimSpace(text(member(m, "IsPastDue"))), "true")
	status := members(member(m, "ScheduleStatus"))
	info.Last = instant(member(status, "Last"))
	info.Next = instant(member(status, "Next"))
	info.LastUpdated = instant(member(status, "LastUpdated"))
	return info
}

// QueueMessage is a message of a storage queue, delivered at least once.
type QueueMessage struct {
	Text []byte // as it was sent, base64 of the queue removed
	ID   string // the queue's id of the message; "" when unknown
	// DequeueCount says how often the message was received, this time
	// included; 0 when unknown. The host moves it to <queue>-poison when it
	// fails at maxDequeueCount.
	DequeueCount int
	// Inserted is when it was put on the queue, in whole seconds of the storage
	// service's clock; zero when unknown.
	Inserted     time.Time
	InvocationID string
}

// Decode decodes the JSON of the message into v. A message that is not such
// JSON gives a *BadMessageError, which the function can return as it is.
func (m QueueMessage) Decode(v any) error {
	text := bytes.TrimSpace(m.Text)
	if len(text) == 0 || string(text) == "null" {
		return BadMessage("it is empty")
	}
	if text[0] == '"' { // a sender that encoded twice
		var inner string
		if json.Unmarshal(text, &inner) == nil && strings.HasPrefix(strings.TrimSpace(inner), "{") {
			text = []byte(inner)
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return BadMessage(problem(err))
	}
	return nil
}

// problem says what is wrong with a message without quoting it.
func problem(err error) string {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return fmt.Sprintf("its property %s has the wrong type", wrongType.Field)
	case errors.As(err, &wrongType):
		return "it is not a JSON object"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON (at byte %d)", syntax.Offset)
	}
	return "it is not the JSON that was expected"
}

func decodeQueue(e envelope, invocationID string) (QueueMessage, error) {
	value, err := e.input()
	if err != nil {
		return QueueMessage{}, err
	}
	return QueueMessage{
		Text:         []byte(text(value)),
		ID:           scalar(member(e.metadata, "Id")),
		DequeueCount: number(member(e.metadata, "DequeueCount")),
		Inserted:     instant(member(e.metadata, "InsertionTime")),
		InvocationID: invocationID,
	}, nil
}

// BadMessageError marks a queue message that can never be handled, however
// often it is retried. The server logs it, tells Config.OnBadMessage, and lets
// the message go.
type BadMessageError struct {
	Reason string // for a technician; holds nothing of the message
}

func (e *BadMessageError) Error() string { return "bad queue message: " + e.Reason }

// BadMessage returns a *BadMessageError.
func BadMessage(reason string) error { return &BadMessageError{reason} }
