package lookup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallersShareOneLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cache[string, int]
		asked := 0
		load := func(ctx context.Context, old int) (int, error) {
			asked++
			<-time.After(time.Second)
			return old + 1, ctx.Err()
		}
		get := func(ctx context.Context, good func(int) bool) (int, error) { return c.Get(ctx, "k", good, load) }
		gone, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := get(gone, func(int) bool { return true }); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller who went away got %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if v, err := get(t.Context(), func(int) bool { return true }); v != 1 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if asked != 1 {
			t.Errorf("%d look-ups", asked)
		}
		if v, err := get(t.Context(), func(v int) bool { return v > 1 }); v != 2 || err != nil {
			t.Errorf("after one that was not good: %d, %v", v, err)
		}
	})
}

func TestFailuresKeepWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Cache[int, string]{Limit: time.Minute}
		c.Put(1, "one")
		c.Put(2, "two")
		_, err := c.Get(t.Context(), 1, func(string) bool { return false }, func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "half", ctx.Err()
		})
		if v, ok := c.Peek(1); v != "one" || !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q, %t, %v", v, ok, err)
		}
		c.Forget(func(k int, v string) bool { return k == 1 && v == "one" })
		if _, ok := c.Peek(1); ok {
			t.Error("it is not forgotten")
		}
		if _, ok := c.Peek(2); !ok {
			t.Error("another one is forgotten too")
		}
	})
}
