package reply

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeep has runs keep more and more: each has its bound, all together have
// theirs, and a few bytes wait until another run ends.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, end := Keeping(t.Context())
		if again, _ := Keeping(one); again != one {
			t.Error("a run began within a run")
		}
		if err := Keep(one, mostKept); err != nil {
			t.Fatal(err)
		}
		if err := Keep(one, 1); !errors.Is(err, ErrNoRoom) || !errors.Is(err, ErrTooLarge) {
			t.Errorf("beyond its own bound: %v", err)
		}
		other, endOther := Keeping(t.Context())
		if err := Keep(other, allKept-mostKept); err != nil {
			t.Fatal(err)
		}
		if err := Keep(other, mayWait+1); !errors.Is(err, ErrNoRoom) {
			t.Errorf("many bytes: %v", err)
		}
		ended, cancel := context.WithCancel(other)
		cancel()
		if err := Keep(ended, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a few bytes without time: %v", err)
		}
		began := time.Now()
		time.AfterFunc(time.Minute, end)
		if err := Keep(other, mayWait); err != nil || time.Since(began) != time.Minute {
			t.Errorf("a few bytes: %v after %s", err, time.Since(began))
		}
		endOther()
		if pool.kept != 0 {
			t.Errorf("%d bytes are kept by nobody", pool.kept)
		}
		if err := Keep(t.Context(), allKept+1); err != nil {
			t.Errorf("outside of a run: %v", err)
		}
	})
}

// TestKeepForEachOther lets three runs fill what there is, so that each waits for
// the others: the last to ask is told that there is no room, and the others go on
// when it ends.
func TestKeepForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs []context.Context
		var ends []func()
		for range 3 {
			ctx, end := Keeping(t.Context())
			if err := Keep(ctx, allKept/3); err != nil {
				t.Fatal(err)
			}
			runs, ends = append(runs, ctx), append(ends, end)
		}
		got := make(chan error)
		for _, ctx := range runs[:2] {
			go func() { got <- Keep(ctx, mayWait) }()
		}
		synctest.Wait()
		if err := Keep(runs[2], mayWait); !errors.Is(err, ErrNoRoom) {
			t.Errorf("the last to ask: %v", err)
		}
		ends[2]()
		for range 2 {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		ends[0]()
		ends[1]()
		if pool.kept != 0 || len(pool.runs) != 0 {
			t.Errorf("%d bytes are kept by %d runs", pool.kept, len(pool.runs))
		}
	})
}

func TestSize(t *testing.T) {
	type record struct {
		Name string
		Tags List[string]
		At   time.Time
		More Optional[record2]
	}
	for name, tt := range map[string]struct {
		v    any
		want int64
	}{
		"nothing":     {record{}, 0},
		"a text":      {record{Name: "12345"}, 5},
		"a list":      {record{Tags: List[string]{"1", "23"}}, 2*16 + 3},
		"a time":      {record{At: time.Now()}, 0},
		"what may be": {record{More: Optional[record2]{Value: record2{Raw: []byte("123")}}}, 3},
		"a map":       {map[string]bool{"1": true}, 2*(16+1) + 1},
		"a pointer":   {&record2{Raw: []byte("123")}, 24 + 3},
	} {
		if got := Size(tt.v); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

type record2 struct{ Raw []byte }
