// Package settings serves CIPP's own HTTP functions for the NinjaOne extension.
// CIPP's pages set the app up and run it where a proxy routes them here, as
// docs/frontend.md says.
//
// Requests and answers have CIPP's shapes, errors included. Where CIPP's behaviour would
// lose or show something (another extension's settings, a secret, somebody else's
// mapping) ours does not. What the tables look like belongs to package cipp, and who may
// call to package access. This package syncs and maps nothing: it asks for that on a
// queue.
package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// Deps are what the functions work with.
type Deps struct {
	CIPP    *cipp.Store
	Secrets *cipp.Secrets
	Guard   *access.Guard
	// NinjaOne returns the client for CIPP's present settings, for the lists of
	// organizations and custom fields.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	// Connect is what a test of the connection uses. Gate, instance, client id and secret
	// come anew each time, so that no test uses kept ones.
	Connect ninjaone.Deps
	Sync    *storage.Queue // ninjaone-sync
	Automap *storage.Queue // ninjaone-automap
	// Begin runs an automap of all tenants while a person waits, within a time.
	Begin func(context.Context, time.Duration) (automap.Outcome, error)
	Runs  *runs.Store
	// GivenBack tells whether CIPP's own engine does the syncs at present.
	GivenBack func(context.Context) (bool, error)
	Now       func() time.Time
	Log       *slog.Logger
}

// Handlers are the HTTP functions.
type Handlers struct{ Deps }

// New returns the functions.
func New(d Deps) *Handlers { return &Handlers{d} }

// Functions returns all functions, to be registered with the custom handler, by name.
// The name is the folder of the function.json and the route, too. Each decides itself who
// may call it.
func (h *Handlers) Functions() map[string]http.Handler {
	read := func(serve http.HandlerFunc) http.Handler { return h.Guard.Require(access.Reader, serve) }
	work := func(serve http.HandlerFunc) http.Handler { return h.Guard.Require(access.OwnPage, serve) }
	change := func(serve http.HandlerFunc) http.Handler { return h.Guard.Require(access.Editor, serve) }
	const get, post = http.MethodGet, http.MethodPost
	return map[string]http.Handler{
		"ListExtensionsConfig": only(read(h.answer(slog.LevelError, "the settings cannot be listed", h.listConfig, failing(http.StatusInternalServerError, "Failed to read the settings: "))), get),
		"ExecExtensionsConfig": only(change(h.answer(slog.LevelWarn, "the settings were not saved", h.saveConfig, failing(http.StatusOK, "Failed to save the extensions configuration: "))), post),
		"ExecExtensionTest":    only(work(h.answer(slog.LevelWarn, "the test of the connection to NinjaOne failed", h.test, failing(http.StatusOK, "Failed to connect to NinjaOne: "))), get),
		"ExecExtensionMapping": only(h.mapping(read, work, change), get, post),
		"ExecExtensionSync":    only(change(h.answer(slog.LevelError, "a sync could not be asked for", h.sync, failing(http.StatusOK, "Could not start NinjaOne Sync: the request failed, because "))), get, post),
		"ListExtensionSync":    only(read(h.answer(slog.LevelError, "the syncs cannot be listed", h.listSync, failing(http.StatusInternalServerError, "Failed to read the syncs: "))), get),
		"ListLogs":             only(work(h.listLogs), get),
		"ListTenants":          only(read(h.answer(slog.LevelError, "the tenants cannot be listed", h.listTenants, noTenants)), get),
	}
}

// answering does what a request asks for. The answer goes out as JSON with status 200.
// An error is for the person who asks.
type answering = func(http.ResponseWriter, *http.Request) (answer any, err error)

// answer serves what do answers. When it fails, the app's log says what failed, and fail
// tells it to who asks. It is a warning where what was asked for may be at fault.
func (h *Handlers) answer(level slog.Level, failed string, do answering, fail func(http.ResponseWriter, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := do(w, r)
		if err != nil {
			h.Log.Log(r.Context(), level, failed, "error", err)
			fail(w, err)
			return
		}
		respond(w, http.StatusOK, answer)
	}
}

// failing tells of an error as most of CIPP's functions do.
func failing(status int, what string) func(http.ResponseWriter, error) {
	return func(w http.ResponseWriter, err error) { respond(w, status, results(what+words.End(err.Error()))) }
}

// only answers other methods than the given.
func only(next http.Handler, methods ...string) http.HandlerFunc {
	allowed := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Allow", allowed)
		respond(w, http.StatusMethodNotAllowed, results("The request failed: this address takes "+allowed+" only."))
	}
}

// results is the answer that most of CIPP's functions give.
func results(text string) map[string]any { return map[string]any{"Results": text} }

func respond(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil { // only a value from a table could do that, and none can
		status, data = http.StatusInternalServerError, []byte(`{"Results":"The answer could not be encoded."}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // nobody is left to tell when the host is gone
}

// respondText answers with bare text, as CIPP's mapping function does.
func respondText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// query returns a parameter by name; CIPP takes names in any case.
func query(r *http.Request, name string) string {
	for key, values := range r.URL.Query() {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return strings.TrimSpace(values[0])
		}
	}
	return ""
}

// truth is how CIPP reads a boolean parameter.
func truth(text string) bool { return strings.EqualFold(text, "true") || text == "1" }

// isNinjaOne reports whether a parameter names our extension.
func isNinjaOne(name string) bool { return strings.EqualFold(name, "NinjaOne") }

// maxBody is the largest request, in bytes. The settings of all extensions
// take some kilobytes, the mappings of a thousand tenants about 300.
const maxBody = 2 << 20

// readBody returns a request's body. The error is for the person who sent it.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errors.New("the request is larger than 2 MiB")
	}
	if err != nil {
		return nil, errors.New("the request ended too early")
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil, errors.New("the request has no body")
	}
	return body, nil
}

// maxToldChanges is how many changes a line of the logbook names.
const maxToldChanges = 20

// noteChanges tells the logbook what a person changed. What was saved begins the
// line; CIPP's page shows who it was in a column of its own.
func (h *Handlers) noteChanges(ctx context.Context, saved string, changes []string) {
	told := "nothing changed"
	if len(changes) > 0 {
		told = strings.Join(changes[:min(len(changes), maxToldChanges)], "; ")
	}
	if more := len(changes) - maxToldChanges; more > 0 {
		told += fmt.Sprintf("; and %d more", more)
	}
	h.CIPP.Note(ctx, cipp.LogEntry{API: cipp.LogbookSettings, Message: saved + ": " + told + "."})
}

// audit logs who changed what.
func (h *Handlers) audit(ctx context.Context, what string, args ...any) {
	h.Log.InfoContext(ctx, what, append([]any{"caller", access.CallerOf(ctx).ID}, args...)...)
}
