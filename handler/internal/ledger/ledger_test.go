package ledger

import (
	"maps"
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
)

func TestDigest(t *testing.T) {
	values := []ninjaone.Value{ninjaone.Clear(), ninjaone.Text(""), ninjaone.HTML(""), ninjaone.Text("a"), ninjaone.HTML("a"), ninjaone.Text("b")}
	seen := map[string]bool{}
	for _, v := range values {
		d := Digest(v)
		if seen[d] || d == Unknown || d != Digest(v) {
			t.Errorf("the digest %q of %v is taken, a mark, or not stable", d, v)
		}
		seen[d] = true
	}
	if Digest(ninjaone.Clear()) != Cleared {
		t.Error("a cleared field has no mark of its own")
	}
}

func TestChanges(t *testing.T) {
	have := map[string]string{
		"same": Digest(ninjaone.Text("v")), "other": Digest(ninjaone.Text("old")), "unknown": Unknown,
		"gone": Digest(ninjaone.Text("v")), "cleared": Cleared,
	}
	want := ninjaone.Fields{
		"same": ninjaone.Text("v"), "other": ninjaone.Text("v"), "unknown": ninjaone.Text("v"), "new": ninjaone.Text("v"),
		"gone": ninjaone.Clear(), "cleared": ninjaone.Clear(), "never": ninjaone.Clear(),
	}
	if got := slices.Sorted(maps.Keys(Changes(have, want))); !slices.Equal(got, []string{"gone", "new", "other", "unknown"}) {
		t.Errorf("changed: %v", got)
	}
	(&Record{Fields: have}).MarkUnknown() // as a forced run does
	if got := slices.Sorted(maps.Keys(Changes(have, want))); !slices.Equal(got, []string{"gone", "new", "other", "same", "unknown"}) {
		t.Errorf("changed, when all is sent again: %v", got)
	}
}
