package customhandler

import (
	"context"
	"io"
	"log/slog"
	"slices"
)

type attrsKey struct{}

// WithAttrs returns a context whose attributes go on every line that a logger
// of [NewLogger] writes with it (InfoContext and the like). Invocations carry
// "function" and "invocation"; callees add tenant and organization.
func WithAttrs(ctx context.Context, attrs ...slog.Attr) context.Context {
	known, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return context.WithValue(ctx, attrsKey{}, append(slices.Clip(known), attrs...))
}

// NewLogger returns a logger that writes JSON lines with the attributes of
// the context. Give it stdout: the host logs stderr lines as errors.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(contextHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
}

type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(attrsKey{}).([]slog.Attr); ok {
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}
