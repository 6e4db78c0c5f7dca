package ledger

import (
	"encoding/json"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// maxReason is how much of a reason is kept, in characters.
const maxReason = 500

// Singled is what the runs of one sync found out about a target that NinjaOne refused
// something of. Its fields go one by one, and those that were refused alone are not sent
// again. Each run may have time for one call only. The next sync tries all of them
// together again.
type Singled struct {
	Begun   time.Time          `json:"begun"`
	Refused map[string]Refusal `json:"refused"` // by NinjaOne custom field name
}

// Refusal is one value that NinjaOne refused.
type Refusal struct {
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// singledOf reads what a row says of refused fields. What cannot be read is
// found out again.
func singledOf(row storage.Entity) *Singled {
	var s Singled
	if json.Unmarshal([]byte(row.String(columnSingled)), &s) != nil {
		return nil
	}
	return &s
}

// Of returns what was refused in the runs that began at a time; nil when these
// found nothing out.
func (s *Singled) Of(begun time.Time) map[string]Refusal {
	if s == nil || begun.IsZero() || !s.Begun.Equal(begun) {
		return nil
	}
	return s.Refused
}

// Single notes what a run found out, and reports whether it is new.
func (r *Record) Single(begun time.Time, sent ninjaone.Fields, found *ninjaone.RefusedError) bool {
	fresh := r.Singled.Of(begun) == nil
	if fresh {
		r.Singled = &Singled{begun, map[string]Refusal{}}
	}
	for name, err := range found.Refused {
		fresh = true
		r.Singled.Refused[name] = Refusal{Digest(sent[name]), Reason(err)}
	}
	return fresh
}
