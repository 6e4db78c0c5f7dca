// Package reply has the rules for every JSON answer of a remote service. Reader bounds
// what it may cost. Unmarshal, Decode, List and Optional are lenient with odd values. It
// knows no service and sends nothing.
package reply

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// The bounds that hold for every answer, whatever its kind.
const (
	maxDepth  = 64      // of nesting
	maxString = 2 << 20 // bytes of one string
)

// Limits bound one kind of answer. Sizes are in bytes after decompression.
type Limits struct {
	Bytes   int64 // of the whole answer
	Record  int64 // of one record: of an array that is the answer or a member of it
	Records int   // in all
	// Weight bounds the memory that the decoded answer takes. It is 0 for answers that
	// callers decode record by record and keep little of. An answer whose weight passes
	// small waits until it is the only such one of the process.
	Weight int64
}

var (
	// Page is for an answer that a service gives in pages.
	Page = Limits{Bytes: 32 << 20, Record: 4 << 20, Records: 20_000, Weight: 96 << 20}
	// Stream is for an answer without pages, which is decoded as it arrives.
	Stream = Limits{Bytes: 1 << 30, Record: 2 << 20, Records: 200_000}
	// Object is for an answer that is one small object, such as a token.
	Object = Limits{Bytes: 1 << 20, Record: 1 << 20, Records: 20_000}
)

// What decoding makes of a value besides its text, in bytes; about the most.
const (
	weightOfOpening = 128 // an object or list: a struct, a map entry, a slice
	weightOfComma   = 16  // another value: the header of a string
	small           = 6 << 20
)

// Every error that says that an answer passed a bound wraps ErrTooLarge.
var ErrTooLarge = errors.New("the answer is too large")

// large is held by the one answer of the process that may be large.
var large = make(chan struct{}, 1)

// Reader reads an answer within its limits. An answer that passes one is an
// error that wraps ErrTooLarge, before more than that was kept of it.
type Reader struct {
	in     io.Reader
	ctx    context.Context
	limits Limits

	total, weight, record, text int64
	depth, base, records        int
	inText, escaped, alone      bool
	err                         error
}

// NewReader returns a reader of the answer in. The context ends its waiting. The caller
// must call Close after decoding the answer.
func NewReader(ctx context.Context, in io.Reader, limits Limits) *Reader {
	return &Reader{in: in, ctx: ctx, limits: limits}
}

// Close lets another large answer of the process begin.
func (r *Reader) Close() {
	if r.alone {
		r.alone = false
		<-large
	}
}

// Read implements io.Reader. It fills p as far as the answer goes. The JSON decoder looks
// through blanks again after each read: many small reads would cost more and more.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := 0, error(nil)
	for n < len(p) && err == nil {
		var more int
		more, err = r.in.Read(p[n:])
		n += more
	}
	for i := 0; i < n; {
		length := r.plain(p[i:n])
		if tooLarge := r.count(p[i], int64(length)); tooLarge != nil {
			r.err = tooLarge
			return i, r.err
		}
		i += length
	}
	if r.limits.Weight > 0 && !r.alone && r.total+r.weight > small {
		select {
		case large <- struct{}{}:
			r.alone = true
		case <-r.ctx.Done():
			r.err = r.ctx.Err()
			return n, r.err
		}
	}
	return n, err
}

// plain returns how many bytes count alike: a text's up to its end or an escape, else
// one.
func (r *Reader) plain(p []byte) int {
	n := 0
	if r.inText && !r.escaped {
		for n < len(p) && p[n] != '"' && p[n] != '\\' {
			n++
		}
	}
	return max(n, 1)
}

// count counts so many bytes, of which the first is c. Records are what lies deeper than
// base. That is the depth of the list that the answer is, or of its member lists.
func (r *Reader) count(c byte, bytes int64) error {
	r.total += bytes
	r.record += bytes
	switch {
	case r.escaped:
		r.escaped, r.text = false, r.text+1
	case r.inText && c == '"':
		r.inText = false
	case r.inText:
		r.escaped, r.text = c == '\\', r.text+bytes
	case c == '"':
		r.inText, r.text = true, 0
	case c == '{' || c == '[':
		if r.base == 0 {
			r.base = map[byte]int{'[': 1, '{': 2}[c]
		}
		r.depth++
		r.weight += weightOfOpening
		r.boundary()
	case c == '}' || c == ']':
		r.depth--
		r.boundary()
	case c == ',':
		r.weight += weightOfComma
		if r.depth <= r.base { // the answer's own members cost as much as records
			r.records++
		}
		r.boundary()
	}
	switch {
	case r.total > r.limits.Bytes:
		return fmt.Errorf("%w: it is larger than %d MiB", ErrTooLarge, r.limits.Bytes>>20)
	case r.record > r.limits.Record:
		return fmt.Errorf("%w: a record of it is larger than %d MiB", ErrTooLarge, r.limits.Record>>20)
	case r.records >= r.limits.Records && r.limits.Records > 0:
		return fmt.Errorf("%w: it has more than %d records", ErrTooLarge, r.limits.Records)
	case r.text > maxString:
		return fmt.Errorf("%w: a string of it is longer than %d MiB", ErrTooLarge, maxString>>20)
	case r.depth > maxDepth:
		return fmt.Errorf("%w: it is nested more than %d deep", ErrTooLarge, maxDepth)
	case r.limits.Weight > 0 && r.total+r.weight > r.limits.Weight:
		return fmt.Errorf("%w: its values would take more than %d MiB of memory", ErrTooLarge, r.limits.Weight>>20)
	}
	return nil
}

func (r *Reader) boundary() {
	if r.depth <= r.base {
		r.record = 0
	}
}
