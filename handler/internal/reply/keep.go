package reply

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// What runs keep of answers has bounds too. Lists that go on and on within the bounds of
// each page would still fill the memory.
const (
	mostKept = 224 << 20 // bytes by one run; a tenant of 50,000 users takes 110 MiB
	allKept  = 288 << 20 // bytes by all runs of the process together
	mayWait  = 3 << 20   // bytes that wait until there is room; what is more would fill it by waiting
)

// ErrNoRoom is an ErrTooLarge: not of one answer, but of all that are kept.
var ErrNoRoom = fmt.Errorf("%w: with what is kept of others", ErrTooLarge)

// pool is what the runs of the process keep together.
var pool struct {
	sync.Mutex
	kept    int64
	runs    map[*run]bool   // that keep something
	waiting []chan struct{} // closed when a run gives something back
}

// run is what one run keeps; the pool's lock guards it.
type run struct {
	kept  int64
	waits int // readings that wait for room
}

type runKey struct{}

// Keeping returns a context in which Keep counts what a run keeps of answers,
// until release is called. A context that has one already stays as it is.
func Keeping(ctx context.Context) (_ context.Context, release func()) {
	if _, ok := ctx.Value(runKey{}).(*run); ok {
		return ctx, func() {}
	}
	r := &run{}
	return context.WithValue(ctx, runKey{}, r), func() { r.add(-r.size()) }
}

// Keep counts so many bytes as kept by the context's run. A negative number gives bytes
// back. A few bytes wait while the runs together keep too much, unless all others wait
// for this one. The error wraps ErrNoRoom when the run keeps too much by itself, or there
// is no room left.
func Keep(ctx context.Context, bytes int64) error {
	r, ok := ctx.Value(runKey{}).(*run)
	if !ok {
		return nil
	}
	for {
		freed, err := r.add(bytes)
		if freed == nil {
			return err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		pool.Lock()
		r.waits--
		pool.Unlock()
		if err != nil {
			return err
		}
	}
}

func (r *run) size() int64 {
	pool.Lock()
	defer pool.Unlock()
	return r.kept
}

// add counts bytes, or returns what tells that there may be room for them.
func (r *run) add(bytes int64) (freed <-chan struct{}, err error) {
	pool.Lock()
	defer pool.Unlock()
	switch {
	case bytes > 0 && r.kept+bytes > mostKept:
		return nil, fmt.Errorf("%w it would take more than %d MiB of memory", ErrNoRoom, mostKept>>20)
	case bytes > 0 && pool.kept+bytes > allKept && (bytes > mayWait || r.othersWait()):
		return nil, fmt.Errorf("%w it would take more memory than other runs leave", ErrNoRoom)
	case bytes > 0 && pool.kept+bytes > allKept:
		r.waits++
		wait := make(chan struct{})
		pool.waiting = append(pool.waiting, wait)
		return wait, nil
	}
	r.kept += bytes
	pool.kept += bytes
	if pool.runs == nil {
		pool.runs = map[*run]bool{}
	}
	if pool.runs[r] = true; r.kept == 0 {
		delete(pool.runs, r)
	}
	if bytes < 0 {
		for _, wait := range pool.waiting {
			close(wait)
		}
		pool.waiting = nil
	}
	return nil, nil
}

// othersWait reports whether every other run that keeps something waits for room,
// so that none gives anything back. The caller holds the pool's lock.
func (r *run) othersWait() bool {
	for other := range pool.runs {
		if other != r && other.waits == 0 {
			return false
		}
	}
	return true
}

// Size returns about how many bytes a decoded value takes besides itself: texts and
// lists, and what these hold.
func Size(v any) int64 { return size(reflect.ValueOf(v)) }

func size(v reflect.Value) (bytes int64) {
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Slice:
		bytes = int64(v.Len()) * int64(v.Type().Elem().Size())
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytes
		}
		for i := range v.Len() {
			bytes += size(v.Index(i))
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			bytes += int64(key.Type().Size()+value.Type().Size())*2 + size(key) + size(value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return 0 // its zone is everybody's
		}
		for i := range v.NumField() {
			bytes += size(v.Field(i))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			bytes = int64(v.Elem().Type().Size()) + size(v.Elem())
		}
	}
	return bytes
}
