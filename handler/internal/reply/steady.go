package reply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// What an answer has to bring, once it began. A page of 32 MiB over the slowest line is
// far above it, a byte a second far below.
const (
	floor    = 1000             // bytes a second, after decompression
	patience = 30 * time.Second // how far an answer may fall behind that, or stop
)

// The errors of answers that Steady gives up. ErrStopped is an ErrSlow.
var (
	ErrSlow    = errors.New("the service sent its answer too slowly")
	ErrStopped = fmt.Errorf("%w: it stopped", ErrSlow)
)

// Steady is a transport that gives up answers which do not keep coming. It counts only
// the time spent reading: how long a caller thinks in between is not the service's fault.
type Steady struct {
	Next  http.RoundTripper
	Begin time.Duration // until the answer begins; 0 where the caller bounds that
	Whole time.Duration // of reading all of it; 0 where the caller bounds that
}

// RoundTrip implements http.RoundTripper. A service may think before the first byte of
// its answer. From then on its headers have the same patience as its body.
func (s *Steady) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	var timers []*time.Timer
	var mu sync.Mutex
	giveUp := func(after time.Duration, cause error) {
		mu.Lock()
		defer mu.Unlock()
		timers = append(timers, time.AfterFunc(after, func() { cancel(cause) }))
	}
	if s.Begin > 0 {
		giveUp(s.Begin, ErrStopped)
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { giveUp(patience, ErrSlow) }})
	res, err := s.Next.RoundTrip(req.WithContext(traced))
	mu.Lock()
	for _, t := range timers {
		t.Stop()
	}
	mu.Unlock()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrSlow) {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	res.Body = &steadyBody{body: res.Body, ctx: ctx, cancel: cancel, left: patience, whole: s.Whole}
	return res, nil
}

type steadyBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	left   time.Duration // of the patience
	whole  time.Duration // for all further reads; 0 is for ever
	err    error
}

func (b *steadyBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	wait := b.left
	if b.whole > 0 {
		wait = min(wait, b.whole)
	}
	began := time.Now()
	timer := time.AfterFunc(wait, func() { b.cancel(ErrSlow) })
	n, err := b.body.Read(p)
	timer.Stop()
	took := time.Since(began)
	switch late := took >= wait || context.Cause(b.ctx) == ErrSlow; {
	case err == io.EOF:
		return n, err
	case late && took >= patience/2:
		b.err = ErrStopped
	case late:
		b.err = ErrSlow
	case err != nil:
		b.err = err
	}
	if b.err != nil {
		b.cancel(b.err)
		return n, b.err
	}
	if b.whole > 0 {
		b.whole -= took
	}
	b.left = min(b.left-took+time.Duration(n)*time.Second/floor, patience)
	return n, nil
}

// Discard reads what little is left of an answer, and closes it. That frees its
// connection for other requests. It waits a second at most where Steady is below.
func Discard(body io.ReadCloser) {
	if b, ok := body.(*steadyBody); ok {
		b.left = min(b.left, time.Second)
	}
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// Close implements io.Closer.
func (b *steadyBody) Close() error {
	err := b.body.Close()
	b.cancel(nil)
	return err
}
