package roster

import (
	"errors"
	"slices"
	"testing"
)

// TestEach lets one tenant fail, which holds back no other.
func TestEach(t *testing.T) {
	down := errors.New("down")
	all := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	done, err := Each(slices.Values(all), func(id string) error {
		if id == "b" {
			return down
		}
		return nil
	})
	slices.Sort(done)
	if want := slices.Delete(slices.Clone(all), 1, 2); !slices.Equal(done, want) || !errors.Is(err, down) {
		t.Errorf("done with %v, %v", done, err)
	}
	if done, err := Each(slices.Values(all[:0]), nil); len(done) > 0 || err != nil {
		t.Errorf("nobody: %v, %v", done, err)
	}
}
