package words

import (
	"cmp"
	"strings"
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// collators hold the root collation of Unicode, which orders letters before it
// looks at accents and case. A collator serves one caller at a time.
var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}

// Compare orders names as people sort them, and names that people take for the same
// in one certain order. Space around them does not count before that.
func Compare(a, b string) int {
	if a == b {
		return 0
	}
	collator := collators.Get().(*collate.Collator)
	defer collators.Put(collator)
	return cmp.Or(collator.CompareString(strings.TrimSpace(a), strings.TrimSpace(b)), cmp.Compare(a, b))
}

// Keys returns what compares, byte by byte, as Compare does the names of a long
// list, but for names that people take for the same.
func Keys(n int, name func(i int) string) [][]byte {
	collator := collators.Get().(*collate.Collator)
	defer collators.Put(collator)
	var buffer collate.Buffer
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = collator.KeyFromString(&buffer, strings.TrimSpace(name(i)))
	}
	return keys
}
