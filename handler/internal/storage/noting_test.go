package storage

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A note may be written while its run lasts, and a little longer.
func TestNotingOutlivesItsRunALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		run, end := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		noting, done := Noting(run)
		defer done()
		if noting.Value(key{}) != "kept" {
			t.Error("the values of the run's context are lost")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if noting.Err() != nil {
			t.Error("the note's time is over although the run lasts")
		}
		end()
		time.Sleep(notingTime - time.Millisecond)
		synctest.Wait()
		if noting.Err() != nil {
			t.Error("the note ends with its run")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !errors.Is(context.Cause(noting), context.DeadlineExceeded) {
			t.Errorf("the note goes on: %v", context.Cause(noting))
		}
	})
}

// A written note leaves nothing behind on the context of a long run.
func TestNotingEndsWithItsNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, end := context.WithCancel(t.Context())
		_, done := Noting(run)
		done()
		end()
		synctest.Wait() // a goroutine that waited for its timer would end the test with a failure
		noting, done := Noting(run)
		defer done()
		if noting.Err() != nil {
			t.Error("a note of a run that has ended cannot be begun")
		}
	})
}
