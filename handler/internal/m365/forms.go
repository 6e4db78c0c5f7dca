package m365

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// form is one way to ask for something. Its details are what only it and the
// forms before it bring.
type form[T any] struct {
	details []tenant.Detail
	read    func(context.Context) (T, error)
}

// lost is a detail that is not known, and why.
type lost struct {
	detail tenant.Detail
	err    error
}

// firstOf reads something in the first of its forms that the service answers. Each form
// asks for less than the one before it. So an optional property, beta list or delta list
// that fails takes only itself away. A form that is not the last may use half of the time
// that is left, and fewer attempts. What the forms that failed would have brought, and
// the one that was read did not, is lost.
func firstOf[T any](ctx context.Context, forms ...form[T]) (T, []lost, error) {
	var failed []lost
	twice := false
	for _, f := range forms[:len(forms)-1] {
		v, err := sparingly(ctx, f.read)
		if err == nil {
			return v, without(failed, f.details), nil
		}
		_, signIn := errors.AsType[*AuthError](err)
		if ctx.Err() != nil || signIn || hasStatus(err, http.StatusUnauthorized) || noIntune(err) || errors.Is(err, reply.ErrNoRoom) {
			return v, nil, err
		}
		forbidden := hasStatus(err, http.StatusForbidden)
		if forbidden && (twice || len(f.details) == 0) && meaningOf(err) == refusedRight {
			return v, nil, err // it is not about the details
		}
		for _, detail := range f.details {
			failed = append(failed, lost{detail, err})
		}
		twice = forbidden
	}
	last := forms[len(forms)-1]
	v, err := last.read(ctx)
	return v, without(failed, last.details), err
}

// without returns what is lost, each once, but for the details that were read.
func without(failed []lost, details []tenant.Detail) []lost {
	var out []lost
	for _, l := range failed {
		if !slices.Contains(details, l.detail) && !slices.ContainsFunc(out, func(o lost) bool { return o.detail == l.detail }) {
			out = append(out, l)
		}
	}
	return out
}

type patienceKey struct{}

// sparingly reads with half of the time that is left, and fewer attempts.
func sparingly[T any](ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return read(context.WithValue(ctx, patienceKey{}, patience{sparingAttempts, sparingWait}))
}

// patience bounds the attempts of a request, and all waits between them.
type patience struct {
	attempts int
	waits    time.Duration
}

func patienceOf(ctx context.Context) patience {
	if p, ok := ctx.Value(patienceKey{}).(patience); ok {
		return p
	}
	return patience{maxAttempts, maxWait}
}
