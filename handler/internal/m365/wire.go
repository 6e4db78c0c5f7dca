package m365

import (
	"bytes"
	"strings"
	"time"
)

// when is a time on the wire. Anything that is not a time, and the ends of the
// calendar by which Microsoft says "never" and "not known", is the zero time.
type when struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (w *when) UnmarshalJSON(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(bytes.Trim(b, `"`)))
	if err != nil || t.Year() <= 1 || t.Year() >= 9999 {
		w.Time = time.Time{}
		return nil
	}
	w.Time = t.UTC()
	return nil
}

// guid brings an id into the form in which ids are compared.
func guid(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func guids(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, guid(s))
	}
	return out
}

const zeroGUID = "00000000-0000-0000-0000-000000000000"

func value[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}
