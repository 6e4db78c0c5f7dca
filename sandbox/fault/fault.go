// Package fault keeps the faults of a double of a service, and chooses the one
// that a request meets.
//
// Each double has a type of its own for its faults, since it can be in trouble of
// its own. Only what they have in common belongs here.
package fault

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Rule says which requests meet a fault.
type Rule struct {
	Method string         // empty: any
	Path   *regexp.Regexp // nil: any
	// Skip lets that many matching requests pass first. Count is how many are then
	// hit; 0: all.
	Skip, Count int
	// OnHit hears of every request that the fault hits, before its answer.
	OnHit func()
}

// Injector keeps the faults of one double, of type F.
type Injector[F any] struct {
	mu     sync.Mutex
	faults []*Active[F]
}

// Active is a fault at work.
type Active[F any] struct {
	Fault F
	rule  Rule
	seen  int           // guarded by the injector's lock
	ended chan struct{} // closed when the fault is taken away
}

// Add adds a fault behind those there are. The function that it returns takes the
// fault away.
func (i *Injector[F]) Add(f F, rule Rule) (remove func()) {
	active := &Active[F]{Fault: f, rule: rule, ended: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, active)
	return func() { i.remove(func(other *Active[F]) bool { return other == active }) }
}

// Clear takes every fault away.
func (i *Injector[F]) Clear() { i.remove(func(*Active[F]) bool { return true }) }

func (i *Injector[F]) remove(which func(*Active[F]) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = slices.DeleteFunc(i.faults, func(f *Active[F]) bool {
		if which(f) {
			close(f.ended)
		}
		return which(f)
	})
}

// Idle reports whether there is no fault.
func (i *Injector[F]) Idle() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.faults) == 0
}

// Meet returns the first fault that hits a request, or nil. The request must fit
// what is special to the double, too.
func (i *Injector[F]) Meet(r *http.Request, fits func(*F) bool) *Active[F] {
	f := i.match(r, fits)
	if f != nil && f.rule.OnHit != nil {
		f.rule.OnHit()
	}
	return f
}

func (i *Injector[F]) match(r *http.Request, fits func(*F) bool) *Active[F] {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.faults {
		if f.rule.Method != "" && f.rule.Method != r.Method || f.rule.Path != nil && !f.rule.Path.MatchString(r.URL.Path) || !fits(&f.Fault) {
			continue
		}
		if f.seen++; f.seen > f.rule.Skip && (f.rule.Count == 0 || f.seen <= f.rule.Skip+f.rule.Count) {
			return f
		}
	}
	return nil
}

// Hang waits until the client gives up, or the fault is taken away.
func (f *Active[F]) Hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.ended:
	}
}

// Reset ends the connection so that the client sees a reset, not an orderly end.
func Reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}

// Wait waits, and reports false when the client has gone meanwhile.
func Wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
