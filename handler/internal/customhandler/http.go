package customhandler

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"cipp-ninjaone/handler/internal/telemetry"
)

// serveHTTP serves a client's request, which the host forwarded as it came.
func (s *Server) serveHTTP(w *exchange, r *http.Request, rt *route, rest string) {
	ctx, cancel := context.WithTimeout(s.invocationContext(r, rt.function), rt.function.timeout)
	defer cancel()
	started := time.Now()
	ctx, end := s.deps.Telemetry.Invoke(ctx, telemetry.Invocation{Function: rt.function.name, ID: clip(r.Header.Get(headerInvocationID))})
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, s.deps.MaxBody)
	r.SetPathValue(rt.rest, rest)
	defer func() {
		elapsed := time.Since(started).Round(time.Millisecond).String()
		v := recover()
		if v == nil {
			end(nil)
			// The query stays out of the log: it can hold tokens.
			s.deps.Log.DebugContext(ctx, "request served", "method", r.Method, "path", clip(r.URL.Path),
				"status", w.status, "elapsed", elapsed)
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			end(err)
			panic(v)
		}
		end(&panicError{value: v})
		s.logFailure(ctx, &panicError{v, debug.Stack()}, rt.function.timeout, elapsed)
		if w.status != 0 {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		fail(w, http.StatusInternalServerError, "the request failed; the log says why")
	}()
	rt.handler.ServeHTTP(w, r)
}
