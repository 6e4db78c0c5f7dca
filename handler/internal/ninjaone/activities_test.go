package ninjaone_test

import (
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// TestActivities reads the log of a server that takes newerThan by its name, and of
// one that takes it as the published document describes it.
func TestActivities(t *testing.T) {
	for name, reversed := range map[string]bool{"by name": false, "as described": true} {
		t.Run(name, func(t *testing.T) {
			sim, c := against(t)
			sim.AddActivity("NODE_UPDATED", 31)
			if reversed {
				sim.ReverseActivities()
			}
			since := func(from ninjaone.ActivityMark, calls int) ([]ninjaone.Activity, ninjaone.ActivityMark) {
				t.Helper()
				before := sim.Calls()["GET /v2/activities"]
				list, last, err := c.Activities(t.Context(), from)
				if err != nil {
					t.Fatal(err)
				}
				if n := sim.Calls()["GET /v2/activities"] - before; n != calls {
					t.Errorf("%d calls, want %d", n, calls)
				}
				return list, last
			}
			list, begin := since(ninjaone.ActivityMark{}, 1)
			if len(list) != 0 || begin.Last == 0 {
				t.Fatalf("the beginning gave %v and %+v", list, begin)
			}
			calls := 1
			if reversed {
				calls = 2 // to find out which way round it is
			}
			list, at := since(begin, calls)
			if want := (ninjaone.ActivityMark{Last: begin.Last, Reversed: reversed}); len(list) != 0 || at != want {
				t.Errorf("nothing happened, and it gave %v and %+v", list, at)
			}
			if list, last := since(at, 1); len(list) != 0 || last != at {
				t.Errorf("nothing happened again, and it gave %v and %+v", list, last)
			}
			if _, last := since(ninjaone.ActivityMark{Last: at.Last, Reversed: !reversed}, 2); last != at {
				t.Errorf("the server changed its mind, and it gave %+v", last)
			}
			sim.MoveDevice(31, 4)
			sim.AddActivity("A_CODE_OF_TOMORROW", 0)
			sim.RemoveDevice(31)
			list, last := since(at, 1)
			var codes []string
			for _, a := range list {
				codes = append(codes, a.Code)
			}
			if want := []string{"NODE_DELETED", "A_CODE_OF_TOMORROW", "NODE_UPDATED"}; !slices.Equal(codes, want) || list[0].DeviceID != 31 || last.Last != at.Last+3 || last.Reversed != reversed {
				t.Errorf("it gave %v up to %+v", list, last)
			}
			for range 2500 {
				sim.AddActivity("CONDITION_TRIGGERED", 31)
			}
			list, end := since(last, 3)
			if len(list) != 2500 || end.Last != last.Last+2500 {
				t.Errorf("of 2,500 it gave %d, up to %+v after %+v", len(list), end, last)
			}
		})
	}
}

// TestActivitiesWithoutEnd gives up where so much happened that the log is no help.
func TestActivitiesWithoutEnd(t *testing.T) {
	sim, c := against(t)
	for range 30_000 {
		sim.AddActivity("CONDITION_TRIGGERED", 31)
	}
	_, at, err := c.Activities(t.Context(), ninjaone.ActivityMark{})
	if err != nil {
		t.Fatal(err)
	}
	for range 19_000 {
		sim.AddActivity("CONDITION_TRIGGERED", 31)
	}
	if list, _, err := c.Activities(t.Context(), at); err != nil || len(list) != 19_000 {
		t.Errorf("%d activities, %v", len(list), err)
	}
	if list, last, err := c.Activities(t.Context(), ninjaone.ActivityMark{Last: 1}); err == nil || len(list) > 0 || last.Last < at.Last {
		t.Errorf("%d activities up to %+v, %v", len(list), last, err)
	}
}
