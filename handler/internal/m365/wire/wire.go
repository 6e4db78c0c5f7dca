// Package wire decodes what Microsoft Graph, its reports and the Exchange Online admin
// API answer into small structs. It is free of the Graph SDK, so that it builds and
// fuzzes in seconds. It sends nothing: package m365 does.
package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/isotime"
)

// Time is a time on the wire, in any form of ISO 8601. Anything that is not a time is the
// zero time. So are the calendar's ends, Microsoft's "never" and "not known".
type Time struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (w *Time) UnmarshalJSON(b []byte) error {
	w.Time = time.Time{}
	if text, quoted := bytes.CutPrefix(b, []byte{'"'}); quoted {
		if t, ok := isotime.Parse(string(bytes.TrimSuffix(text, []byte{'"'}))); ok && t.Year() > 1 && t.Year() < 9999 {
			w.Time = t
		}
	}
	return nil
}

// ZeroGUID is how services write an id that is not set.
const ZeroGUID = "00000000-0000-0000-0000-000000000000"

// Text takes any JSON scalar as text; null, objects and arrays become "". The
// Exchange admin API is not strict about the types of its values.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case 'n', '{', '[':
		*t = ""
	default:
		*t = Text(b)
	}
	return nil
}

// IsTrue reports whether the text is a boolean that is set.
func (t Text) IsTrue() bool { return strings.EqualFold(string(t), "true") }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
