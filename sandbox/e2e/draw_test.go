package e2e

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// drawn returns which steps meet which kind of trouble, by the kind's name: all
// that can, or those of a day.
func drawn(day int, whole bool) map[string][]*step {
	cells := map[string][]*step{}
	if whole {
		for _, k := range kinds {
			for i := range steps {
				if k.meets(&steps[i]) {
					cells[k.name] = append(cells[k.name], &steps[i])
				}
			}
		}
		return cells
	}
	r := rand.New(rand.NewPCG(uint64(day), 0))
	for _, i := range r.Perm(len(steps)) {
		// The kind that has the fewest steps so far.
		var chosen *kind
		for _, j := range r.Perm(len(kinds)) {
			if k := &kinds[j]; k.meets(&steps[i]) && (chosen == nil || len(cells[k.name]) < len(cells[chosen.name])) {
				chosen = k
			}
		}
		cells[chosen.name] = append(cells[chosen.name], &steps[i])
	}
	return cells
}

// TestDrawOfTheFaultMatrix: a draw is the same each time, leaves no step and no
// kind of trouble out, and all of the matrix is met by some draw.
func TestDrawOfTheFaultMatrix(t *testing.T) {
	met, all := map[string]bool{}, 0
	const newYear = 20454 // 2026-01-01
	for day := newYear; day < newYear+365; day++ {
		cells, count := drawn(day, false), 0
		if diff := cmp.Diff(names(cells), names(drawn(day, false))); diff != "" {
			t.Fatalf("the draw of day %d differs from one time to the next: %s", day, diff)
		}
		for _, k := range kinds {
			if len(cells[k.name]) == 0 {
				t.Errorf("the draw of day %d leaves out %q", day, k.name)
			}
			for _, s := range cells[k.name] {
				count++
				met[k.name+": "+s.name] = true
			}
		}
		if count != len(steps) {
			t.Errorf("the draw of day %d has %d steps of %d", day, count, len(steps))
		}
	}
	for kind, list := range names(drawn(0, true)) {
		for _, s := range list {
			if all++; !met[kind+": "+s] {
				t.Errorf("no day of a year lets %q meet %q", s, kind)
			}
		}
	}
	if all < 400 {
		t.Errorf("the whole matrix has only %d cells", all)
	}
}

func names(cells map[string][]*step) map[string][]string {
	all := map[string][]string{}
	for kind, list := range cells {
		for _, s := range list {
			all[kind] = append(all[kind], s.name)
		}
	}
	return all
}
