package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// previewLife is how long the console shows a preview before it composes it anew.
	previewLife = 10 * time.Minute
	// previewsKept and previewBytes bound the memory that previews take: their number,
	// and the size of their values together. The last one stays in any case, for the
	// frames of its page.
	previewsKept = 3
	previewBytes = 16 << 20
	// The console composes previewsAtOnce previews at a time at most, since each reads a
	// tenant. At most previewsWaiting wait for their turn.
	previewsAtOnce  = 2
	previewsWaiting = 20
	// previewWanted is how long after its page last asked a preview that waits
	// is still composed.
	previewWanted = time.Minute
)

// previews composes a few previews of one kind at a time and keeps the last ones.
// So the parts of one page cost one reading of Microsoft 365.
type previews[P any] struct {
	of   func(ctx context.Context, tenantID string) (P, error)
	at   func(P) time.Time // when it was read
	size func(P) int       // in bytes, about
	now  func() time.Time

	turns chan struct{} // holds a value for each preview that is composed now

	mu    sync.Mutex
	kept  map[string]P             // by tenant id
	asked map[string]*composing[P] // those that are composed or wait
}

// composing is a preview that is composed or waits for its turn.
type composing[P any] struct {
	begun   bool
	last    time.Time     // when somebody last asked for it
	done    chan struct{} // closed when the fields below are set
	preview P
	err     error
}

func newPreviews[P any](of func(context.Context, string) (P, error), at func(P) time.Time, size func(P) int, now func() time.Time) *previews[P] {
	return &previews[P]{of: of, at: at, size: size, now: now, turns: make(chan struct{}, previewsAtOnce),
		kept: map[string]P{}, asked: map[string]*composing[P]{}}
}

// waitingError says that a preview waits for its turn.
type waitingError struct{ others int }

func (e waitingError) Error() string {
	return fmt.Sprintf("%s asked for before this one", plural(e.others, "preview was", "previews were"))
}

var errTooManyPreviews = errors.New("too many previews wait for their turn: try again in some minutes")

// keeps reports whether a tenant's preview can be shown without composing it.
func (p *previews[P]) keeps(tenantID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.fresh(tenantID)
	return ok
}

// fresh returns a tenant's preview that may still be shown. The caller holds the lock.
func (p *previews[P]) fresh(tenantID string) (P, bool) {
	kept, ok := p.kept[tenantID]
	return kept, ok && p.now().Sub(p.at(kept)) < previewLife
}

// get returns a tenant's preview; anew composes it anew. While others are composed it
// returns a waitingError at once. Whoever asks again within a minute keeps the place.
func (p *previews[P]) get(ctx context.Context, tenantID string, anew bool) (none P, err error) {
	p.mu.Lock()
	if kept, ok := p.fresh(tenantID); ok && !anew {
		p.mu.Unlock()
		return kept, nil
	}
	delete(p.kept, tenantID)
	a := p.asked[tenantID]
	if a == nil {
		if len(p.asked) >= previewsAtOnce+previewsWaiting {
			p.mu.Unlock()
			return none, errTooManyPreviews
		}
		a = &composing[P]{done: make(chan struct{})}
		p.asked[tenantID] = a
		select {
		case p.turns <- struct{}{}:
			a.begun = true
		default:
		}
		// Several requests may wait for it, so that none of them may end it alone.
		go p.compose(context.WithoutCancel(ctx), tenantID, a)
	}
	a.last = p.now()
	begun, others := a.begun, len(p.asked)-1
	p.mu.Unlock()
	if !begun {
		return none, waitingError{others}
	}
	select {
	case <-a.done:
		return a.preview, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// compose composes a preview when it is its turn, unless its page is closed by
// then.
func (p *previews[P]) compose(ctx context.Context, tenantID string, a *composing[P]) {
	if !a.begun { // nobody else changes it
		p.turns <- struct{}{}
	}
	defer func() { <-p.turns }()
	p.mu.Lock()
	if !a.begun && p.now().Sub(a.last) > previewWanted {
		delete(p.asked, tenantID)
		p.mu.Unlock()
		return
	}
	a.begun = true
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	preview, err := p.of(ctx, tenantID)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, tenantID)
	if a.preview, a.err = preview, err; err == nil {
		p.kept[tenantID] = preview
		p.shrink()
	}
	close(a.done)
}

// shrink forgets the oldest previews until the others are few and small enough.
func (p *previews[P]) shrink() {
	ids := slices.SortedFunc(maps.Keys(p.kept), func(a, b string) int { return p.at(p.kept[b]).Compare(p.at(p.kept[a])) })
	size := 0
	for i, id := range ids {
		if size += p.size(p.kept[id]); i > 0 && (i >= previewsKept || size > previewBytes) {
			delete(p.kept, id)
		}
	}
}
