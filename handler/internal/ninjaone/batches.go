package ninjaone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
)

// Limits of one batch of documents. NinjaOne documents none; CIPP has sent 100 documents
// at once for years. Its documents are smaller than ours may be, so we limit the bytes as
// well.
const (
	// MaxBatchDocuments is the largest number of documents sent at once.
	MaxBatchDocuments = 100
	// MaxBatchBytes is the largest body of a batch, in bytes of JSON. Only a
	// batch of one document may be larger.
	MaxBatchBytes = 4 << 20
)

// Outcomes of a batch that callers tell apart with errors.Is. They wrap what
// NinjaOne answered.
var (
	// ErrBatchRefused: NinjaOne took none of the batch. Something in it is invalid, or
	// names a thing that does not exist. The caller may split it (SplitRefused) and send
	// its parts.
	ErrBatchRefused = errors.New("refused as a whole")
	// ErrOutcomeUnknown: the answer was lost, or does not say whether anything was
	// written. Before you repeat a creation, read what there is.
	ErrOutcomeUnknown = errors.New("it is not known whether NinjaOne wrote anything")
	// ErrTimedOut: no complete answer came in time. The client gave up, or a gateway
	// before NinjaOne did (504, 408, 524). Once the caller knows what was written, it may
	// split a batch like a refused one.
	ErrTimedOut = errors.New("no complete answer in time")
	// ErrUnread: after an unknown outcome, the caller could not read what was written. So
	// it may not send any of it again for now.
	ErrUnread = errors.New("what was written could not be read")
)

// classifyWrite adds ErrBatchRefused or ErrOutcomeUnknown to the failure of a
// write, where they apply. Any other failure says that nothing was written and
// that splitting will not help: no permission, no token, throttled.
func classifyWrite(r *request, err error) error {
	if err == nil || r.err != nil || errors.Is(err, ErrNotSent) {
		return err
	}
	if answer, ok := errors.AsType[*APIError](err); ok {
		switch {
		case answer.Status == http.StatusBadRequest && !answer.Is(ErrMalformedAuth),
			answer.Is(ErrNotFound),
			answer.Status == http.StatusConflict,
			answer.Status == http.StatusRequestEntityTooLarge,
			answer.Status == http.StatusUnprocessableEntity,
			answer.permanent() && r.safe: // writing a part again does no harm
			return fmt.Errorf("%w: %w", ErrBatchRefused, err)
		case answer.Status >= 300 && answer.Status < 500 && answer.Status != http.StatusRequestTimeout:
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// Permanent reports whether NinjaOne's application failed on this very request: a 500
// with a result code. The same request would fail again. A creation that failed so is
// ErrOutcomeUnknown. Once reading has shown that nothing was written, split it like a
// refused one.
func Permanent(err error) bool {
	var answer *APIError
	return errors.As(err, &answer) && answer.permanent()
}

// Batches groups items into batches of at most MaxBatchDocuments and MaxBatchBytes. One
// item alone may be larger. It draws items as it needs them, so that no more than one
// batch need exist at a time. An item that it cannot encode gets a batch of its own,
// which fails when it is sent. For an item, sent is the NewDocument or DocumentUpdate.
func Batches[T any](items iter.Seq[T], sent func(T) any) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		var batch []T
		bytes := 0
		for item := range items {
			size := MaxBatchBytes
			if encoded, err := encodeJSON(sent(item)); err == nil {
				size = len(encoded) + 1 // the comma
			}
			if len(batch) > 0 && (len(batch) == MaxBatchDocuments || bytes+size > MaxBatchBytes-1) {
				if !yield(batch) {
					return
				}
				batch, bytes = nil, 0
			}
			batch = append(batch, item)
			bytes += size
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// SplitRefused ends after maxStumbles single items in a row that failed without being
// refused.
const maxStumbles = 3

// stumbled reports whether a failure may be the request's own fault: a timeout or a
// server error.
func stumbled(err error) bool {
	var answer *APIError
	return !errors.Is(err, ErrUnread) && (errors.Is(err, ErrTimedOut) || errors.As(err, &answer) && answer.Status >= http.StatusInternalServerError && !answer.Is(ErrThrottled))
}

// SplitRefused sends items as one batch. It halves a batch that is refused
// (ErrBatchRefused), times out (ErrTimedOut) or fails (5xx), down to single items. So it
// writes the good items, and finds each bad one with its reason. It returns what send
// returned for the accepted parts, and the refused items' reasons by their index. After a
// failure that is not a refusal, send must know what was written, or add ErrUnread.
//
// A single item that fails without being refused holds back no other; the first such
// failure is the error. Three of them in a row end it, and any other error of send does
// so at once. Then the caller should try items that are neither accepted nor refused
// another time.
func SplitRefused[T, R any](ctx context.Context, items []T, send func(context.Context, []T) ([]R, error)) (accepted []R, refused map[int]error, err error) {
	refused = map[int]error{}
	var stumble error // the first of a single item
	stumbles := 0     // of single items, in a row
	// part handles items[from:to] and reports whether they were all accepted
	// at once. With known it is certain that they would not be.
	var part func(from, to int, known bool) (bool, error)
	part = func(from, to int, known bool) (bool, error) {
		unsure := false
		if !known || to-from == 1 {
			results, err := send(ctx, items[from:to])
			if err == nil {
				accepted, stumbles = append(accepted, results...), 0
				return true, nil
			}
			isRefused := errors.Is(err, ErrBatchRefused)
			unsure = !isRefused && stumbled(err)
			switch {
			case !isRefused && !unsure:
				return false, err
			case to-from > 1:
			case isRefused:
				refused[from], stumbles = err, 0
				return false, nil
			default:
				stumble = cmp.Or(stumble, err)
				if stumbles++; stumbles == maxStumbles {
					return false, err
				}
				return false, nil
			}
		}
		middle := from + (to-from)/2
		first, err := part(from, middle, false)
		if err != nil {
			return false, err
		}
		// If nothing is wrong with the first half, it is with the second.
		_, err = part(middle, to, first && !unsure)
		return false, err
	}
	if len(items) > 0 {
		_, err = part(0, len(items), false)
	}
	if err == nil {
		err = stumble
	}
	return accepted, refused, err
}
