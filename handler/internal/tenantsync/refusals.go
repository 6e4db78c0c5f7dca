package tenantsync

import (
	"errors"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// refusals counts, per custom field of devices, how often NinjaOne refused it
// before it accepted it once.
type refusals map[string]int

// proven marks a field that NinjaOne is known to accept.
const proven = -1

func (r refusals) note(s *ledger.Send, err error) {
	refused, ok := errors.AsType[*ninjaone.RefusedError](err)
	if s.Record.Target.Kind != ledger.KindDevice {
		return
	}
	for name := range s.Values {
		switch _, taken := s.Taken()[name]; {
		case taken:
			r[name] = proven
		case ok && refused.Refused[name] != nil:
			r.refused(name)
		}
	}
}

func (r refusals) refused(name string) {
	if r[name] != proven {
		r[name]++
	}
}

// recall counts what earlier ones of these runs were refused.
func (r refusals) recall(rec *ledger.Record, begun time.Time) {
	if rec.Target.Kind == ledger.KindDevice {
		for name := range rec.Singled.Of(begun) {
			r.refused(name)
		}
	}
}

// hold takes the fields out of a send that NinjaOne refuses wherever they are
// sent.
func (r refusals) hold(s *ledger.Send) {
	if s.Record.Target.Kind == ledger.KindDevice {
		for _, name := range slices.Collect(maps.Keys(s.Values)) {
			if r[name] >= stubborn {
				s.Hold(name)
			}
		}
	}
}
