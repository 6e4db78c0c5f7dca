package compose

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// collators hold the root collation of Unicode, which orders letters before it
// looks at accents and case. A collator serves one caller at a time.
var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}

// byName orders by name as people sort them, then by ids so that the order does
// not depend on the input's.
func byName(a, b string, ids ...string) int {
	c := 0
	if a != b {
		collator := collators.Get().(*collate.Collator)
		c = cmp.Or(collator.CompareString(strings.TrimSpace(a), strings.TrimSpace(b)), cmp.Compare(a, b))
		collators.Put(collator)
	}
	for i := 0; c == 0 && i+1 < len(ids); i += 2 {
		c = cmp.Compare(ids[i], ids[i+1])
	}
	return c
}

// distinct returns pointers to the items, in the given order, each id once. An
// item without id is kept.
func distinct[T any](items []T, id func(*T) string, order func(a, b *T) int) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	slices.SortStableFunc(all, order)
	return once(all, id)
}

// named is distinct in the order of byName, for lists of any length: each name is
// brought into the form in which names are compared only once.
func named[T any](items []T, id, name func(*T) string, ids ...func(*T) string) []*T {
	type keyed struct {
		item *T
		key  []byte
	}
	collator := collators.Get().(*collate.Collator)
	defer collators.Put(collator)
	var buffer collate.Buffer
	keys := make([]keyed, len(items))
	for i := range items {
		keys[i] = keyed{&items[i], collator.KeyFromString(&buffer, strings.TrimSpace(name(&items[i])))}
	}
	slices.SortStableFunc(keys, func(a, b keyed) int {
		c := cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(name(a.item), name(b.item)))
		for i := 0; c == 0 && i < len(ids); i++ {
			c = cmp.Compare(ids[i](a.item), ids[i](b.item))
		}
		return c
	})
	all := make([]*T, len(keys))
	for i := range keys {
		all[i] = keys[i].item
	}
	return once(all, id)
}

func once[T any](all []*T, id func(*T) string) []*T {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(t *T) bool {
		key := fold(id(t))
		if key == "" {
			return false
		}
		was := seen[key]
		seen[key] = true
		return was
	})
}
