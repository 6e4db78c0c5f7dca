package compose

import (
	"bytes"
	"cmp"
	"slices"

	"cipp-ninjaone/handler/internal/words"
)

// byName orders by name as people sort them, then by ids. So the order does not depend on
// the input's.
func byName(a, b string, ids ...string) int {
	c := words.Compare(a, b)
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

// named is distinct in the order of byName, for lists of any length. It makes the form in
// which names are compared only once for each name.
func named[T any](items []T, id, name func(*T) string, ids ...func(*T) string) []*T {
	type keyed struct {
		item *T
		key  []byte
	}
	keys := make([]keyed, len(items))
	for i, key := range words.Keys(len(items), func(i int) string { return name(&items[i]) }) {
		keys[i] = keyed{&items[i], key}
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
