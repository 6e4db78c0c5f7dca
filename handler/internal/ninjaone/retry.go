package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/retry"
)

const (
	maxThrottled = 7               // attempts that may end in throttling
	maxFailed    = 3               // attempts that may end in another passing failure
	maxWaiting   = 2 * time.Minute // from the first attempt to the start of the last

	throttleBackoff = 2 * time.Second        // used without Retry-After: see Gate
	failureBackoff  = 500 * time.Millisecond // doubles
)

// retry makes attempts until one succeeds, fails for good, or there have been
// enough.
//
// Throttling (429, 503, or HTML that says so) holds back all callers of the client. The
// client repeats a safe call after throttling, another 5xx, an answer other than JSON, or
// a failed connection. It repeats any other call only when NinjaOne certainly did
// nothing. Then it never made the connection, or the answer refuses explicitly (429, or
// 503 with Retry-After). If all attempts ended so, the error is ErrNotSent.
func (c *Client) retry(ctx context.Context, op operation, timeout time.Duration, attempt func(context.Context, *Call) error) error {
	start := time.Now()
	c.pacer.meter.Begin(int(c.pacer.waiting.Load()))
	throttled, failed := 0, 0
	sent := false     // an attempt may have changed something
	var refusal error // the answer that says why the next attempt has to wait
	fail := func(err error) error {
		if !sent {
			return notSent{err}
		}
		return err
	}
	for n := 1; ; n++ {
		trial, err := c.pacer.wait(ctx, op)
		if err != nil {
			if refusal != nil && errors.Is(err, ErrThrottled) {
				return fail(refusal)
			}
			return fail(err)
		}
		call := Call{Method: op.method, Path: op.template, Attempt: n, Trial: trial}
		err = c.once(ctx, op, timeout, &call, attempt)
		if err == nil {
			return nil
		}
		var answer *APIError
		if !errors.As(err, &answer) {
			err = op.wrap(err)
		}
		sent = sent || !nothingDone(answer, err)
		switch refused := answer != nil && answer.Status >= 300; {
		case ctx.Err() != nil && refused:
			return fail(err) // which is no less an answer because the time is over
		case ctx.Err() != nil:
			return fail(op.wrap(ctx.Err()))
		}

		if answer != nil && answer.Is(ErrThrottled) {
			throttled++
			again := throttled < maxThrottled && repeatable(op, answer, err) && time.Since(start)+call.Pause <= maxWaiting
			answer.RetryAfter = call.Pause
			if !again {
				return fail(err)
			}
			refusal = err
			continue // the pacer waits, or sees that it would be too long
		}

		failed++
		if failed == maxFailed || op.splits && errors.Is(err, ErrTimedOut) || !passing(answer, err) || !repeatable(op, answer, err) {
			return fail(err)
		}
		if retry.Sleep(ctx, retry.Backoff(failureBackoff, failed)) != nil {
			return fail(op.wrap(ctx.Err()))
		}
	}
}

// once makes one attempt within the timeout, and reports it.
func (c *Client) once(ctx context.Context, op operation, timeout time.Duration, call *Call, attempt func(context.Context, *Call) error) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	err := attempt(inner, call)
	call.Duration = time.Since(start)
	var answer *APIError
	if call.Throttled = errors.As(err, &answer) && answer.Is(ErrThrottled); call.Throttled {
		call.Pause = c.pacer.gate.turnedAway(call.Trial, answer.RetryAfter)
	} else if call.Status != 0 {
		call.Refused = c.pacer.gate.answered(call.Trial)
	}
	c.pacer.meter.End(*call)
	switch {
	case err == nil || ctx.Err() != nil:
	case inner.Err() != nil:
		// Not the caller's deadline: errors.Is must not say so.
		err = timeoutError(timeout)
	case errors.Is(err, reply.ErrSlow):
		err = fmt.Errorf("%w: %w", ErrTimedOut, reply.ErrSlow)
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "NinjaOne call",
		slog.String("method", call.Method),
		slog.String("path", call.Path),
		slog.Int("status", call.Status),
		slog.Duration("duration", call.Duration),
		slog.Int("attempt", call.Attempt),
		slog.Bool("throttled", call.Throttled),
		slog.String("requestId", call.requestID))
	return err
}

// timeoutError is ErrTimedOut with the time.
type timeoutError time.Duration

func (e timeoutError) Error() string { return "no complete answer within " + time.Duration(e).String() }

func (e timeoutError) Is(target error) bool { return target == ErrTimedOut }

// passing reports whether a failure other than throttling may go away by
// itself.
func passing(answer *APIError, err error) bool {
	if answer == nil {
		return true // the connection failed, or ran out of time
	}
	switch {
	case errors.Is(err, reply.ErrTooLarge), errors.Is(err, errNoIDs):
		return false
	case answer.Status < 300:
		return answer.Is(ErrNotJSON)
	case answer.permanent():
		return false
	}
	return answer.Status >= 500 || answer.Status == http.StatusRequestTimeout
}

// permanent reports whether NinjaOne's application refused this very request with a
// server error: a 500 with a result code.
func (e *APIError) permanent() bool {
	return e.Status == http.StatusInternalServerError && e.Code != ""
}

// repeatable reports whether the client may make the call again after this failure.
func repeatable(op operation, answer *APIError, err error) bool {
	return op.safe || nothingDone(answer, err)
}

// nothingDone reports whether NinjaOne certainly did nothing of a call that failed so. It
// may carry out the same call later.
func nothingDone(answer *APIError, err error) bool {
	if answer != nil {
		return answer.Status == http.StatusTooManyRequests ||
			answer.Status == http.StatusServiceUnavailable && answer.RetryAfter > 0
	}
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}
