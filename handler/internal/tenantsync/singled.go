package tenantsync

import (
	"encoding/json"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// columnSingled notes which fields of a target NinjaOne refused.
const columnSingled = "Singled"

// maxReason is how much of a reason is kept, in characters.
const maxReason = 500

// singled is what the runs of one sync found out about a target that NinjaOne
// refused something of: its fields go one by one, and those that were refused
// alone are not sent again. Each run may have time for one call only. The next
// sync tries all of them together again.
type singled struct {
	Begun   time.Time          `json:"begun"`
	Refused map[string]refusal `json:"refused"` // by NinjaOne custom field name
}

// refusal is one value that NinjaOne refused.
type refusal struct {
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// singledOf reads what a row says of refused fields. What cannot be read is
// found out again.
func singledOf(row storage.Entity) *singled {
	var s singled
	if json.Unmarshal([]byte(row.String(columnSingled)), &s) != nil {
		return nil
	}
	return &s
}

// of returns what was refused in the runs that began at a time; nil when these
// found nothing out.
func (s *singled) of(begun time.Time) map[string]refusal {
	if s == nil || begun.IsZero() || !s.Begun.Equal(begun) {
		return nil
	}
	return s.Refused
}

// single notes what a run found out, and reports whether it is new.
func (r *record) single(begun time.Time, sent ninjaone.Fields, found *ninjaone.RefusedError) bool {
	fresh := r.singled.of(begun) == nil
	if fresh {
		r.singled = &singled{begun, map[string]refusal{}}
	}
	for name, err := range found.Refused {
		fresh = true
		r.singled.Refused[name] = refusal{digest(sent[name]), shorten(err.Error())}
	}
	return fresh
}

func shorten(reason string) string {
	if runes := []rune(reason); len(runes) > maxReason {
		return string(runes[:maxReason-1]) + "…"
	}
	return reason
}
