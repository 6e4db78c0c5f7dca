package main

import (
	"context"
	"encoding/json"
	"net/http"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// queueOf is the queue of a queue function.
var queueOf = map[string]string{
	"SyncTenant":       tenantsync.QueueName,
	"Automap":          automap.QueueName,
	"UpdateCompliance": compliance.QueueName,
}

// admit lets timers and queue functions run while the state is not a newer
// handler's.
func (a *app) admit(ctx context.Context, function string, message []byte) (bool, error) {
	return a.layout.Admit(ctx, a.own.Queue(queueOf[function]), message)
}

// unlessNewer answers a request that may change something with 503 while the
// state is a newer handler's.
func (a *app) unlessNewer(next http.Handler, reads func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !reads(r) {
			if err := a.layout.Check(r.Context()); err != nil {
				a.log.ErrorContext(r.Context(), "a request was refused", "path", r.URL.Path, "error", err)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusServiceUnavailable)
				_ = json.NewEncoder(w).Encode(map[string]string{"Results": "Nothing was changed: " + err.Error() + "."})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// readsByMethod reports whether a request changes nothing by its method.
func readsByMethod(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

func (a *app) tellNewer(ctx context.Context, line string) {
	err := a.cipp.Log(ctx, cipp.LogEntry{API: "NinjaOneSync", Severity: cipp.SeverityError, Message: line})
	if err != nil {
		a.log.ErrorContext(ctx, "the logbook cannot be written", "error", err)
	}
	a.log.ErrorContext(ctx, line)
}
