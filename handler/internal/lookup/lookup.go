// Package lookup keeps what is costly to look up. All who ask for one thing at
// the same time share one look-up. What is looked up, and how long it is good,
// is the business of those who ask.
package lookup

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Cache keeps the last value of each key. The zero value is empty. It is safe
// for concurrent use.
type Cache[K comparable, V any] struct {
	// Limit is how long one look-up may take; 0 for any time.
	Limit time.Duration

	flights singleflight.Group
	mu      sync.Mutex
	values  map[K]V
}

// Get returns the kept value of a key if it is good, else what load returns. A
// look-up serves all callers, so it outlives the one who began it; load may look
// at the value that is no longer good. An error leaves that value kept.
func (c *Cache[K, V]) Get(ctx context.Context, key K, good func(V) bool, load func(ctx context.Context, old V) (V, error)) (V, error) {
	if v, ok := c.Peek(key); ok && good(v) {
		return v, nil
	}
	result := c.flights.DoChan(fmt.Sprint(key), func() (any, error) {
		old, ok := c.Peek(key)
		if ok && good(old) {
			return old, nil // kept between the caller's look and its turn
		}
		ctx := context.WithoutCancel(ctx)
		if c.Limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.Limit)
			defer cancel()
		}
		v, err := load(ctx, old)
		if err == nil {
			c.Put(key, v)
		}
		return v, err
	})
	var none V
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(V), nil
	}
}

// Peek returns the kept value of a key, good or not.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.values[key]
	return v, ok
}

// Put keeps a value.
func (c *Cache[K, V]) Put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[K]V{}
	}
	c.values[key] = v
}

// Forget drops the values for which which says so.
func (c *Cache[K, V]) Forget(which func(K, V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.values, which)
}
