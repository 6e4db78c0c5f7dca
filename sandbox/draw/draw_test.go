package draw

import (
	"slices"
	"testing"
)

// TestOf: n days in a row try each case once, a day alone tries some, and the whole is all.
func TestOf(t *testing.T) {
	cases := []string{"a", "b", "c", "d", "e"}
	var met []string
	for _, day := range []string{"2026-02-27", "2026-02-28", "2026-03-01"} {
		t.Setenv("FAULT_MATRIX", day)
		today := Of(t, 3, cases)
		if len(today) == 0 || !slices.Equal(today, Of(t, 3, cases)) {
			t.Errorf("%s tries %v", day, today)
		}
		met = append(met, today...)
	}
	slices.Sort(met)
	if !slices.Equal(met, cases) {
		t.Errorf("three days try %v", met)
	}
	t.Setenv("FAULT_MATRIX", "whole")
	if all := Of(t, 3, cases); !slices.Equal(all, cases) {
		t.Errorf("the whole is %v", all)
	}
	t.Setenv("FAULT_MATRIX", "")
	if len(Of(t, 3, cases)) == 0 {
		t.Error("without a name nothing is tried")
	}
}
