package words

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCompare sorts names that are given in any order.
func TestCompare(t *testing.T) {
	want := []string{"", "10", "ada", "Ada", "Ada ", "ADA", "ádám", "Adele", "Łukasz", "Mia", "zoe", "Zoe", "zoé", "Zoë"}
	for range 10 {
		got := slices.Clone(want)
		rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		keys := Keys(len(got), func(i int) string { return got[i] })
		for i, a := range got {
			for j, b := range got {
				if c := bytes.Compare(keys[i], keys[j]); c != 0 && c != Compare(a, b) {
					t.Errorf("%q and %q: keys say %d, Compare says %d", a, b, c, Compare(a, b))
				}
			}
		}
		slices.SortFunc(got, Compare)
		if !slices.Equal(got, want) {
			t.Fatalf("sorted as %q, want %q", got, want)
		}
	}
}
