package funchost

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// defaultBodyLimit is the host's limit of a request's body in bytes; the setting
// FUNCTIONS_REQUEST_BODY_SIZE_LIMIT replaces it.
const defaultBodyLimit = 104857600

// serveHTTP finds the function for a request and passes the request on.
func (h *Host) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	if r.ContentLength != 0 {
		r.Body = newSteadyBody(w, r, h.config.BodyStall)
	}
	path := hostPath(r.URL.EscapedPath())
	if path == "/" {
		return // The host shows a page of its own here.
	}
	f := h.findRoute(r.Method, path)
	if f == nil || strings.Contains(path, "//") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	limit := int64(defaultBodyLimit)
	if n, err := strconv.ParseInt(h.settings["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"], 10, 64); err == nil {
		limit = n
	}
	if r.ContentLength > limit {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if h.config.NoProxying {
		h.serveRaw(w, r, f, h.forward)
	} else {
		h.serveRaw(w, r, f, h.proxy)
	}
}

// findRoute returns the function whose route matches. A route with another
// method does not match.
func (h *Host) findRoute(method, path string) *function {
	for _, f := range h.functions {
		methods := f.trigger.Methods
		allowed := len(methods) == 0 || slices.ContainsFunc(methods, func(m string) bool { return strings.EqualFold(m, method) })
		if allowed && f.route != nil && f.route.match(path) {
			return f
		}
	}
	return nil
}

// callContext ends with the request and with the host.
func (h *Host) callContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(h.work, cancel)
	return ctx, func() { stop(); cancel() }
}
