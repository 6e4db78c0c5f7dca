package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

func TestTolerable(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error
		want bool
	}{
		"one target's failure": {t.Context(), errors.New("500"), true},
		"throttled":            {t.Context(), fmt.Errorf("x: %w", ErrThrottled), false},
		"no credentials":       {t.Context(), ErrUnauthorized, false},
		"wrong instance":       {t.Context(), ErrWrongInstance, false},
		"run over":             {ended, errors.New("500"), false},
		"run about to be over": {t.Context(), fmt.Errorf("x: %w", ErrOutOfTime), false},
		"another's time over":  {t.Context(), fmt.Errorf("CIPP's Key Vault did not answer in time: %w", context.DeadlineExceeded), true},
	} {
		if got := Tolerable(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestEach ends the work at an error, and lets what is under way end.
func TestEach(t *testing.T) {
	over := errors.New("over")
	items := make([]int, 40)
	for i := range items {
		items[i] = i
	}
	for name, tt := range map[string]struct {
		failing int // the item that ends the work
		ended   bool
		atOnce  int
	}{
		"all is well": {-1, false, 8}, "one fails": {17, false, 8}, "the time is over": {-1, true, 8},
		"the first fails, one by one": {0, false, 1}, "one fails, one by one": {17, false, 1}, "the last fails, one by one": {39, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.ended {
				cancel()
			}
			var mu sync.Mutex
			var done []int
			left, err := Each(ctx, items, tt.atOnce, func(i int) error {
				mu.Lock()
				done = append(done, i)
				mu.Unlock()
				if i == tt.failing {
					return over
				}
				return nil
			})
			if all := slices.Sorted(slices.Values(append(done, left...))); !slices.Equal(all, items) {
				t.Errorf("done %v, left %v: not each once", done, left)
			}
			switch {
			case tt.ended && (len(done) > 0 || !errors.Is(err, context.Canceled)):
				t.Errorf("%v done after the end, and the error is %v", done, err)
			case tt.failing < 0 && !tt.ended && (err != nil || len(left) > 0):
				t.Errorf("%v left, error %v", left, err)
			case tt.failing >= 0 && (err != over || tt.atOnce == 1 && len(done) != tt.failing+1):
				t.Errorf("%d done, error %v", len(done), err)
			}
		})
	}
}
