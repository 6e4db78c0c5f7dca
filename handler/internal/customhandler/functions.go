package customhandler

import (
	"context"
	"net/http"
)

// Timer registers a function with a timerTrigger. A failed run is logged and
// not repeated before the next occurrence.
func (s *Server) Timer(name string, run func(context.Context, TimerInfo) error, options ...Option) {
	s.register(&function{
		name:    name,
		timeout: defaultTimeout,
		invoke: func(ctx context.Context, e envelope, r *http.Request) (map[string]any, error) {
			if ok, err := s.admit(ctx, name, nil); !ok {
				return nil, err
			}
			return nil, run(ctx, decodeTimer(e, r.Header.Get(headerInvocationID)))
		},
	}, options)
}

// Queue registers a function with a queueTrigger. An error makes the host
// deliver the message again, up to maxDequeueCount times, and then move it to
// the poison queue; a [BadMessageError] makes it go away at once.
func (s *Server) Queue(name string, run func(context.Context, QueueMessage) error, options ...Option) {
	s.register(&function{
		name:    name,
		timeout: defaultTimeout,
		invoke: func(ctx context.Context, e envelope, r *http.Request) (map[string]any, error) {
			m, err := decodeQueue(e, r.Header.Get(headerInvocationID))
			if err != nil {
				return nil, err
			}
			if ok, err := s.admit(ctx, name, m.Text); !ok {
				return nil, err
			}
			return nil, run(ctx, m)
		},
	}, options)
}

// admit asks Config.Admit, if there is one.
func (s *Server) admit(ctx context.Context, name string, message []byte) (bool, error) {
	if s.config.Admit == nil {
		return true, nil
	}
	return s.config.Admit(ctx, name, message)
}

// HTTP registers a function with an httpTrigger and an http output named
// "res". The template is the route of its function.json, without the route
// prefix: a path, or a path and {*name}, matched in any case as the host does.
// The handler sees the original request, whichever style the host uses, with
// what {*name} stands for as a path value; the host has checked the methods of
// function.json only. The deadline is 225 seconds at
// most, after which Azure's front end would give up.
func (s *Server) HTTP(name, template string, h http.Handler, options ...Option) {
	f := s.register(&function{name: name, timeout: frontEndLimit}, options)
	rt := &route{function: f, handler: h}
	f.invoke = func(ctx context.Context, e envelope, r *http.Request) (map[string]any, error) {
		return s.invokeHTTP(ctx, e, r, rt)
	}
	s.addRoute(template, rt)
}
