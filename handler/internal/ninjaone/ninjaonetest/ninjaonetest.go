// Package ninjaonetest gives tests what clients of a simulated NinjaOne work with.
package ninjaonetest

import (
	"context"
	"log/slog"
	"math"
	"net/http"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Deps are those of clients that call an endpoint without a limit, and log nothing. A
// client of its own needs an instance and a client id besides.
func Deps(endpoint string, secret func(ctx context.Context, fresh bool) (string, error)) ninjaone.Deps {
	return ninjaone.Deps{
		Endpoint: endpoint, Secret: secret, Rate: math.Inf(1), Gate: ninjaone.NewGate(), Meter: ninjaone.Unmetered{},
		Transport: http.DefaultTransport, Log: slog.New(slog.DiscardHandler),
	}
}

// Secret always returns a secret.
func Secret(secret string) func(context.Context, bool) (string, error) {
	return func(context.Context, bool) (string, error) { return secret, nil }
}
