package ledger

import (
	"errors"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// TestTwoSharedFields writes both shared fields of a device by one claim, and has
// another writer in the way of one of them.
func TestTwoSharedFields(t *testing.T) {
	both := Shared{Compliance: "compliance", Settings: "settings"}
	lines := ninjaone.Lines("P: a\nP: b")
	write := func(minute int, values ninjaone.Fields) write {
		return write{org: testOrg, Reading: Reading{tenantOne, both, noon.Add(time.Duration(minute) * time.Minute)}, values: values}
	}
	holds := func(t *testing.T, l *Ledger, fields Shared, want ninjaone.Fields) {
		t.Helper()
		notes, err := l.Compliance(t.Context(), testOrg, fields)
		must(t, err)
		for name, v := range want {
			if !notes[testDevice].Holds(name, v) {
				t.Errorf("%s is not noted to hold %q: %+v", name, v, notes[testDevice])
			}
		}
	}
	t.Run("both", func(t *testing.T) {
		l := newTestState(t)
		c := claim(t, l, write(0, ninjaone.Fields{"compliance": nonCompliant, "settings": lines}))
		if len(c.Values) != 2 {
			t.Errorf("claimed %v", c.Values)
		}
		settle(t, c, accepted)
		holds(t, l, both, ninjaone.Fields{"compliance": nonCompliant, "settings": lines})
		c = claim(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant, "settings": ninjaone.Clear()}))
		if v := c.Values; len(v) != 1 || !v["settings"].IsClear() {
			t.Errorf("of which one is held already, claimed %v", v)
		}
		settle(t, c, accepted)
		holds(t, l, both, ninjaone.Fields{"compliance": nonCompliant, "settings": ninjaone.Clear()})
	})
	t.Run("one refused", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(0, ninjaone.Fields{"compliance": compliant, "settings": lines}))
		c := claim(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant, "settings": ninjaone.Clear()}))
		c.Partly(&ninjaone.RefusedError{Refused: map[string]error{"settings": errors.New("no")}}, noon)
		settle(t, c, lost)
		holds(t, l, both, ninjaone.Fields{"compliance": nonCompliant, "settings": lines})
	})
	t.Run("of one a newer reading is known", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(5, ninjaone.Fields{"compliance": compliant}))
		c := claim(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant, "settings": lines}))
		if v := c.Values; len(v) != 1 || v["settings"] != lines {
			t.Errorf("claimed %v", v)
		}
		leaves(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant}))
	})
	t.Run("a sweep came before", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(0, ninjaone.Fields{"compliance": compliant}))
		must(t, l.MarkSwept(t.Context(), tenantOne, noon.Add(5*time.Minute)))
		leaves(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant, "settings": lines}))
	})
	t.Run("a newer reading has nothing to show", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(0, ninjaone.Fields{"compliance": compliant}))
		leaves(t, l, write(5, ninjaone.Fields{"compliance": compliant, "settings": ninjaone.Clear()}))
		leaves(t, l, write(1, ninjaone.Fields{"compliance": nonCompliant, "settings": lines}))
	})
	t.Run("mapped the other way round", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(0, ninjaone.Fields{"compliance": compliant, "settings": lines}))
		swapped := Shared{Compliance: "settings", Settings: "compliance"}
		w := write(1, ninjaone.Fields{"settings": compliant, "compliance": ninjaone.Clear()})
		w.Fields = swapped
		c := claim(t, l, w)
		if v := c.Values; len(v) != 2 {
			t.Errorf("claimed %v, so that a value of the other field stays", v)
		}
		settle(t, c, accepted)
		holds(t, l, swapped, ninjaone.Fields{"settings": compliant, "compliance": ninjaone.Clear()})
	})
	t.Run("another field is mapped before a sync looks", func(t *testing.T) {
		l := newTestState(t)
		written(t, l, write(0, ninjaone.Fields{"compliance": compliant, "settings": lines}))
		w := write(1, ninjaone.Fields{"new": compliant})
		w.Fields = Shared{Compliance: "new", Settings: "settings"}
		written(t, l, w)
		records, err := l.Load(t.Context(), testOrg)
		must(t, err)
		if f := records[Device(testDevice)].Fields; f["compliance"] != Digest(compliant) || f["new"] != Digest(compliant) || f["settings"] != Digest(lines) {
			t.Errorf("the record holds %v, so that the former field is never cleared", f)
		}
	})
}
