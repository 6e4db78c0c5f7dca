package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/tenantsync"
)

const (
	// previewLife is how long a preview is shown before it is composed anew.
	previewLife = 10 * time.Minute
	// previewsKept and previewBytes bound the memory that previews take: how many
	// are kept, and how large their values are together. The last one is kept in
	// any case, for the frames of its page.
	previewsKept = 3
	previewBytes = 16 << 20
	// previewsAtOnce bounds how many previews are composed at a time, since each
	// reads a tenant; previewsWaiting bounds how many wait for their turn.
	previewsAtOnce  = 2
	previewsWaiting = 20
	// previewWanted is how long after its page last asked a preview that waits
	// is still composed.
	previewWanted = time.Minute
)

// previews composes a few previews at a time and keeps the last ones. So the
// fields of one page cost one reading of Microsoft 365.
type previews struct {
	turns chan struct{} // holds a value for each preview that is composed now

	mu    sync.Mutex
	kept  map[string]*tenantsync.Preview // by tenant id
	asked map[string]*composing          // those that are composed or wait
}

// composing is a preview that is composed or waits for its turn.
type composing struct {
	begun   bool
	last    time.Time     // when somebody last asked for it
	done    chan struct{} // closed when the fields below are set
	preview *tenantsync.Preview
	err     error
}

func newPreviews() *previews {
	return &previews{turns: make(chan struct{}, previewsAtOnce), kept: map[string]*tenantsync.Preview{}, asked: map[string]*composing{}}
}

// waitingError says that a preview waits for its turn.
type waitingError struct{ others int }

func (e waitingError) Error() string {
	return fmt.Sprintf("%s asked for before this one", plural(e.others, "preview was", "previews were"))
}

var errTooManyPreviews = errors.New("too many previews wait for their turn: try again in some minutes")

// keeps reports whether a tenant's preview can be shown without composing it.
func (p *previews) keeps(tenantID string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.kept[tenantID]
	return kept != nil && now.Sub(kept.At) < previewLife
}

// previewOf returns a tenant's preview; fresh composes it anew. When others are
// composed at the moment it returns a waitingError at once: whoever asks again
// within a minute keeps the place.
func (c *Console) previewOf(ctx context.Context, tenantID string, fresh bool) (*tenantsync.Preview, error) {
	p := c.previews
	p.mu.Lock()
	now := c.Now()
	if kept := p.kept[tenantID]; kept != nil && !fresh && now.Sub(kept.At) < previewLife {
		p.mu.Unlock()
		return kept, nil
	}
	delete(p.kept, tenantID)
	a := p.asked[tenantID]
	if a == nil {
		if len(p.asked) >= previewsAtOnce+previewsWaiting {
			p.mu.Unlock()
			return nil, errTooManyPreviews
		}
		a = &composing{done: make(chan struct{})}
		p.asked[tenantID] = a
		select {
		case p.turns <- struct{}{}:
			a.begun = true
		default:
		}
		// Several requests may wait for it, so that none of them may end it alone.
		go c.compose(context.WithoutCancel(ctx), tenantID, a)
	}
	a.last = now
	begun, others := a.begun, len(p.asked)-1
	p.mu.Unlock()
	if !begun {
		return nil, waitingError{others}
	}
	select {
	case <-a.done:
		return a.preview, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// compose composes a preview when it is its turn, unless its page is closed by
// then.
func (c *Console) compose(ctx context.Context, tenantID string, a *composing) {
	p := c.previews
	if !a.begun { // nobody else changes it
		p.turns <- struct{}{}
	}
	defer func() { <-p.turns }()
	p.mu.Lock()
	if !a.begun && c.Now().Sub(a.last) > previewWanted {
		delete(p.asked, tenantID)
		p.mu.Unlock()
		return
	}
	a.begun = true
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	preview, err := c.Preview.Preview(ctx, tenantID)
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
func (p *previews) shrink() {
	ids := slices.SortedFunc(maps.Keys(p.kept), func(a, b string) int { return p.kept[b].At.Compare(p.kept[a].At) })
	size := 0
	for i, id := range ids {
		if size += p.kept[id].Size(); i > 0 && (i >= previewsKept || size > previewBytes) {
			delete(p.kept, id)
		}
	}
}
