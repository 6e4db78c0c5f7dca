package ledger

import (
	"testing"
	"time"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// two returns one state twice: as a writer sees it whose calls are watched, and
// as everybody else does.
func two(t *testing.T) (watchedState, others *Ledger, seen *azuritetest.Traffic) {
	t.Helper()
	table := azuritetest.UniqueName(t)
	connection, seen := azuritetest.Watched(t)
	return stateOver(t, connection, table), stateOver(t, azuritetest.ForTest(t).ConnectionString(), table), seen
}

// A sweep that begins while an older reading is being claimed either sees the
// claim or is seen by it.
func TestASweepBetweenAClaimsSteps(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s, others, seen := two(t)
		written(t, others, at(0, compliant))
		var sweepSees DeviceCompliance
		happens := func() bool {
			must(t, others.MarkSwept(t.Context(), tenantOne, noon.Add(5*time.Minute)))
			sweepSees = noted(t, others)
			return false
		}
		seen.Between.Store(&happens)
		c := mark(t, s, at(3, nonCompliant))
		if sweepSees.Holds(testField, compliant) && c.batch != nil {
			t.Error("the sweep saw nothing to do, and the older reading was claimed")
		}
		if d := noted(t, others); !d.Holds(testField, compliant) {
			t.Errorf("after a claim that was given back the note is %+v", d)
		}
	})
}

func TestAClaimWhoseAnswerIsLost(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s, others, seen := two(t)
		written(t, others, at(0, compliant))
		lost := func() bool { return true }
		seen.Between.Store(&lost)
		c := claim(t, s, at(1, nonCompliant))
		if settle(t, c, accepted) {
			t.Error("a lost answer counts as another writer")
		}
		if !noted(t, others).Holds(testField, nonCompliant) {
			t.Errorf("the note is %+v", noted(t, others))
		}
	})
}
