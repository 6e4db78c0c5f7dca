// Package bounds ends lists that a service gives in pages and would never end. A page may
// lead to itself. Pages may be empty, repeat the same records, or bring new ones for
// ever. It knows no service and sends nothing.
package bounds

import (
	"errors"
	"fmt"
)

// Limits say how much one list may bring before it counts as endless.
type Limits struct {
	Pages int   // pages in all
	Items int   // records in all
	Bytes int64 // of all pages together
	Idle  int   // pages in a row that bring no record that was not there
}

// Default is far above what any real tenant holds. A directory has 300,000 objects at
// most unless Microsoft raises its quota, and no page is that short.
var Default = Limits{Pages: 3000, Items: 300_000, Bytes: 512 << 20, Idle: 20}

// The errors of List wrap ErrEndless.
var ErrEndless = errors.New("the list does not end")

// List counts the pages of one list. The zero value has the limits Default.
type List struct {
	Limits Limits

	pages, items, idle int
	bytes              int64
}

// Page counts a page after which the list goes on. It takes the page's records, the new
// ones among them, and its size in bytes. The error wraps ErrEndless and says which limit
// the list passed.
func (l *List) Page(records, fresh int, size int64) error {
	limits := l.Limits
	if limits == (Limits{}) {
		limits = Default
	}
	l.pages++
	l.items += records
	l.bytes += size
	l.idle++
	if fresh > 0 {
		l.idle = 0
	}
	switch {
	case l.idle >= limits.Idle:
		return fmt.Errorf("%w: %d pages in a row bring nothing new", ErrEndless, l.idle)
	case l.pages >= limits.Pages:
		return fmt.Errorf("%w: it goes on after %d pages", ErrEndless, l.pages)
	case l.items >= limits.Items:
		return fmt.Errorf("%w: it goes on after %d records", ErrEndless, l.items)
	case l.bytes >= limits.Bytes:
		return fmt.Errorf("%w: it goes on after %d MiB", ErrEndless, l.bytes>>20)
	}
	return nil
}

// Fresh returns a function that reports whether it sees a key for the first time. An
// empty key is never fresh.
func Fresh[K comparable]() func(K) bool {
	seen := map[K]struct{}{}
	var none K
	return func(key K) bool {
		if key == none {
			return false
		}
		before := len(seen)
		seen[key] = struct{}{}
		return len(seen) > before
	}
}
