package customhandler

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// Timer registers a function with a timerTrigger. A run may take as long as limit, which
// must stay below functionTimeout; 0 is for defaultTimeout. The server logs a failed run,
// and the host does not repeat it before the next occurrence.
func (s *Server) Timer(name string, limit time.Duration, run func(context.Context) error) {
	s.register(&function{
		name:    name,
		timeout: cmp.Or(limit, defaultTimeout),
		invoke: func(ctx context.Context, _ envelope, _ *http.Request) (map[string]any, error) {
			if ok, err := s.config.Admit(ctx, name, nil); !ok {
				return nil, err
			}
			return nil, run(ctx)
		},
	})
}

// Queue registers a function with a queueTrigger, with a limit as Timer has it. After an
// error the host delivers the message again, up to maxDequeueCount times. Then it moves
// the message to the poison queue. A [BadMessageError] makes the message go away at once.
func (s *Server) Queue(name string, limit time.Duration, run func(context.Context, QueueMessage) error) {
	s.register(&function{
		name:    name,
		timeout: cmp.Or(limit, defaultTimeout),
		invoke: func(ctx context.Context, e envelope, _ *http.Request) (map[string]any, error) {
			m, err := decodeQueue(e)
			if err != nil {
				return nil, err
			}
			if ok, err := s.config.Admit(ctx, name, m.Text); !ok {
				return nil, err
			}
			return nil, run(ctx, m)
		},
	})
}

// HTTP registers a function with an httpTrigger and an http output named "res". The
// template is the route of its function.json, without the route prefix: a path, or a path
// and {*name}. It matches in any case, as the host does. The handler sees the original
// request, whichever style the host uses. It finds what {*name} stands for in a path
// value. The host has checked the methods of function.json only. The deadline is 225
// seconds, after which Azure's front end would give up.
func (s *Server) HTTP(name, template string, h http.Handler) {
	f := s.register(&function{name: name, timeout: frontEndLimit})
	rt := &route{function: f, handler: h}
	f.invoke = func(ctx context.Context, e envelope, r *http.Request) (map[string]any, error) {
		return s.invokeHTTP(ctx, e, r, rt)
	}
	s.addRoute(template, rt)
}
