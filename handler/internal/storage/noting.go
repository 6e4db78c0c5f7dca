package storage

import (
	"context"
	"time"
)

// notingTime is how long a note may still take when the time of what it is
// about is over.
const notingTime = 10 * time.Second

// Noting returns a context for writing down what has just happened, even when ctx ends
// meanwhile. It ends ten seconds after ctx does. Storage that does not answer cannot hold
// up the end of a run for longer. The caller calls the function once it has written the
// note.
func Noting(ctx context.Context) (context.Context, context.CancelFunc) {
	noting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.NewTimer(notingTime)
		defer late.Stop()
		select {
		case <-late.C:
			cancel(context.DeadlineExceeded)
		case <-noting.Done():
		}
	})
	return noting, func() {
		stop()
		cancel(nil)
	}
}
