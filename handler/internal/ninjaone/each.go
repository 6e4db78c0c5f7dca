package ninjaone

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// OutOfTime reports whether the run under ctx has no time left. Either ctx has ended, or
// err says that it ends before the call's turn. Whoever judges an error in a run asks
// here: a call may fail of it before ctx has ended.
func OutOfTime(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrOutOfTime)
}

// Tolerable reports whether a failed call leaves the rest of a run worth
// trying.
func Tolerable(ctx context.Context, err error) bool {
	for _, all := range []error{ErrUnauthorized, ErrWrongInstance, ErrThrottled} {
		if errors.Is(err, all) {
			return false
		}
	}
	return !OutOfTime(ctx, err)
}

// Each calls f with the items, with at most so many at once. An error of f ends it: no
// further call of f begins. Calls under way go on to their end, since nobody knows what a
// call cut short has written. Each returns that error, and the items with which it did
// not call f.
func Each[T any](ctx context.Context, items []T, atOnce int, f func(T) error) (left []T, err error) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	var mu sync.Mutex
	ended := false
	for _, item := range items {
		group.Go(func() error {
			mu.Lock()
			stop := ended || ctx.Err() != nil
			if stop {
				left = append(left, item)
			}
			mu.Unlock()
			if stop {
				return ctx.Err()
			}
			err := f(item)
			if err != nil {
				mu.Lock()
				ended = true
				mu.Unlock()
			}
			return err
		})
	}
	return left, group.Wait()
}
