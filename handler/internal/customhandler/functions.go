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
		invoke: func(ctx context.Context, _ envelope) error {
			if ok, err := s.deps.Admit(ctx, name, nil); !ok {
				return err
			}
			return run(ctx)
		},
	})
}

// Queue registers a function with a queueTrigger, with a limit as Timer has it. After an
// error the host delivers the message again, up to maxDequeueCount times. Then it moves
// the message to the poison queue. [BadMessage] makes the message go away at once.
func (s *Server) Queue(name string, limit time.Duration, run func(context.Context, QueueMessage) error) {
	s.register(&function{
		name:    name,
		timeout: cmp.Or(limit, defaultTimeout),
		invoke: func(ctx context.Context, e envelope) error {
			m, err := decodeQueue(e)
			if err != nil {
				return err
			}
			if ok, err := s.deps.Admit(ctx, name, m.Text); !ok {
				return err
			}
			return run(ctx, m)
		},
	})
}

// HTTP registers a function with an httpTrigger and one http output. The template is the
// route of its function.json, without the route prefix: a path, or a path and {*name}. It
// matches in any case, as the host does. The handler finds what {*name} stands for in a
// path value. The host has checked the methods of function.json only. The deadline is 225
// seconds, after which Azure's front end would give up.
func (s *Server) HTTP(name, template string, h http.Handler) {
	f := s.register(&function{name: name, timeout: frontEndLimit})
	s.addRoute(template, &route{function: f, handler: h})
}
