package funchost

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// defaultBodyLimit is the host's limit of a request's body in bytes; the setting
// FUNCTIONS_REQUEST_BODY_SIZE_LIMIT replaces it.
const defaultBodyLimit = 104857600

// serveHTTP finds the function for a request and calls it in the right style.
func (h *Host) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	if r.ContentLength != 0 {
		r.Body = newSteadyBody(w, r, h.config.BodyStall)
	}
	path := hostPath(r.URL.EscapedPath())
	switch {
	case path == "/":
		return // The host shows a page of its own here.
	case path == "/admin" || strings.HasPrefix(path, "/admin/"):
		h.serveAdmin(w, r, path)
		return
	}
	f, params := h.findRoute(r.Method, path)
	if f == nil || strings.Contains(path, "//") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if level := strings.ToLower(f.trigger.AuthLevel); level != "anonymous" && !h.hasKey(r, level == "admin") {
		w.WriteHeader(http.StatusUnauthorized)
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
	switch {
	case f.raw && h.options.proxyHTTP && !h.config.NoProxying:
		h.serveRaw(w, r, f, h.proxy)
	case f.raw && h.options.forwardHTTP:
		h.serveRaw(w, r, f, h.forward)
	default:
		h.serveEnvelope(w, r, f, params)
	}
}

// findRoute returns the function whose route matches best, and the values of its
// route parameters. A route with another method does not match.
func (h *Host) findRoute(method, path string) (*function, map[string]string) {
	var best *function
	var bestParams map[string]string
	for _, f := range h.functions {
		if f.route == nil {
			continue
		}
		methods := f.trigger.Methods
		if len(methods) > 0 && !slices.ContainsFunc(methods, func(m string) bool { return strings.EqualFold(m, method) }) {
			continue
		}
		params, ok := f.route.match(path)
		if ok && (best == nil || f.route.compare(best.route) < 0) {
			best, bestParams = f, params
		}
	}
	return best, bestParams
}

// hasKey checks the key in the header x-functions-key or the query's code.
func (h *Host) hasKey(r *http.Request, admin bool) bool {
	if h.config.FunctionKey == "" && h.config.AdminKey == "" {
		return true
	}
	given := r.Header.Get("X-Functions-Key")
	if given == "" {
		given = r.URL.Query().Get("code")
	}
	is := func(key string) bool { return key != "" && subtle.ConstantTimeCompare([]byte(given), []byte(key)) == 1 }
	return is(h.config.AdminKey) || !admin && is(h.config.FunctionKey)
}

// callContext ends with the request and with the host.
func (h *Host) callContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(h.work, cancel)
	return ctx, func() { stop(); cancel() }
}

// serveEnvelope calls an HTTP function by JSON envelope.
func (h *Host) serveEnvelope(w http.ResponseWriter, r *http.Request, f *function, params map[string]string) {
	i := h.begin(f, TriggerHTTP)
	request, meta, err := describeRequest(r, params, newMetadata(f.name))
	var reply answer
	if err == nil {
		// The envelope carries no cancellation, so a caller that hangs up does
		// not end the invocation.
		reply, err = h.execute(h.work, f, i.ID, map[string]value{f.trigger.Name: request}, meta)
	}
	var write func(http.ResponseWriter)
	if err == nil {
		write, err = f.httpAnswer(reply)
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	} else {
		write(w)
	}
	h.finish(i, err)
}

// describeRequest returns a request as the envelope shows it.
func describeRequest(r *http.Request, params map[string]string, meta metadata) (jsonObject, metadata, error) {
	query := map[string]string{}
	for _, p := range readQuery(r.URL.RawQuery) {
		query[p.key] = p.value
	}
	headers := map[string][]string{"Host": {r.Host}}
	for name, values := range r.Header {
		headers[name] = values
	}
	address := "http://" + r.Host + escapePath(hostPath(r.URL.EscapedPath()), true)
	if r.URL.RawQuery != "" {
		address += "?" + r.URL.RawQuery
	}
	request := jsonObject{
		"Url": address, "Method": r.Method, "Query": query, "Headers": headers, "Params": params,
		"Identities": []any{map[string]any{"AuthenticationType": nil, "IsAuthenticated": false, "Actor": nil, "BootstrapContext": nil,
			"Claims": []any{}, "Label": nil, "Name": nil,
			"NameClaimType": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
			"RoleClaimType": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"}},
	}
	plainHeaders := jsonObject{}
	for name, values := range headers {
		plainHeaders[name] = strings.Join(values, ",")
	}
	plainQuery := jsonObject{}
	for name, v := range query {
		plainQuery[name] = v
	}
	meta.set("Headers", plainHeaders)
	meta.set("Query", plainQuery)
	for name, v := range params {
		meta.set(name, v)
	}
	if r.ContentLength > 0 {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the request: %w", err)
		}
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // What cannot be parsed counts as text.
		if media == "application/octet-stream" || strings.HasPrefix(media, "multipart/") {
			request["Body"] = base64.StdEncoding.EncodeToString(body)
		} else {
			request["Body"] = string(body)
			meta.merge(string(body))
		}
	}
	return request, meta, nil
}

// httpAnswer turns the function's HTTP output into the answer to the caller.
func (f *function) httpAnswer(a answer) (func(http.ResponseWriter), error) {
	var raw json.RawMessage
	for _, b := range f.outputs {
		if b.kind() == "http" {
			if raw = a.Outputs[b.Name]; b.Name == "$return" {
				raw = a.ReturnValue
			}
		}
	}
	r, err := decodeResponse(raw)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	code := r.StatusCode
	if code == nil {
		code = r.Status
	}
	if code != nil {
		if status, err = strconv.Atoi(fmt.Sprint(code)); err != nil || status < 200 || status > 999 {
			return nil, fmt.Errorf("the HTTP output's status code %q is not a number from 200 to 999", fmt.Sprint(code))
		}
	}
	var body []byte
	contentType := "application/json; charset=utf-8"
	switch v := r.Body.(type) {
	case nil:
		contentType = ""
	case string:
		body, contentType = []byte(v), "text/plain; charset=utf-8"
	default:
		if body, err = compact(v); err != nil {
			return nil, err
		}
	}
	return func(w http.ResponseWriter) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		for name, v := range r.Headers {
			w.Header().Del(name)
			values, isArray := v.([]any)
			if !isArray {
				values = []any{v}
			}
			for _, one := range values {
				w.Header().Add(name, fmt.Sprint(one))
			}
		}
		w.WriteHeader(status)
		_, _ = w.Write(body) // A caller that hung up needs no answer.
	}, nil
}
