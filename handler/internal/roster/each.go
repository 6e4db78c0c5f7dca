package roster

import (
	"errors"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
)

// atOnce is for how many tenants something is done at a time.
const atOnce = 8

// Each calls f with each of the tenants, several at a time: on the first night they
// are all due. One's failure does not hold back the others. It returns the ids with
// which f did not fail, in no order, and what failed.
func Each(tenantIDs iter.Seq[string], f func(tenantID string) error) (done []string, err error) {
	var mu sync.Mutex
	var errs []error
	var group errgroup.Group
	group.SetLimit(atOnce)
	for id := range tenantIDs {
		group.Go(func() error {
			err := f(id)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done = append(done, id)
			}
			errs = append(errs, err)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, since one must not hide the others
	return done, errors.Join(errs...)
}
