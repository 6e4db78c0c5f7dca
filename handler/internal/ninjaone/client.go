package ninjaone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/reply"
)

const (
	apiRoot   = "/api" // below it, the paths of the OpenAPI document
	userAgent = "cipp-ninjaone"

	requestTimeout = 30 * time.Second // one attempt, answer included
	pageTimeout    = 2 * time.Minute  // one attempt at a page of a list
)

// Deps are what a client works with. All but Endpoint are given.
type Deps struct {
	// Instance is the host as configured, for example "eu.ninjarmm.com".
	// NormalizeInstance normalises and checks it.
	Instance string
	// Endpoint, if set, replaces https://{Instance}. New accepts plain http for loopback
	// addresses only.
	Endpoint string
	ClientID string // of the API application (Administration > Apps > API)
	// Secret returns the client secret. With fresh it must not come from a
	// cache: NinjaOne has just refused the one that was returned before.
	Secret func(ctx context.Context, fresh bool) (string, error)
	// Rate is the most calls per second that all callers of this client make together;
	// +Inf means no limit.
	Rate      float64
	Gate      *Gate // holds calls back while NinjaOne asks for a pause
	Meter     Meter // learns of all calls
	Transport http.RoundTripper
	Log       *slog.Logger // receives one debug line per call
}

// Call is one HTTP request that the client made.
type Call struct {
	Method    string
	Path      string        // template, for example /v2/device/{id}
	Status    int           // HTTP status; 0 when no answer came
	Attempt   int           // 1 for the first, more for repetitions
	Duration  time.Duration // from sending to the last byte of the answer
	Throttled bool          // NinjaOne asked for fewer calls
	Pause     time.Duration // of a throttled call: how long no other starts
	Trial     bool          // made alone, after a pause
	Refused   int           // of a call that ended a pause: how many had tried in vain

	requestID string
}

// Client calls one NinjaOne instance. It is safe for concurrent use; its
// callers share the access token and the pace.
type Client struct {
	host   string // of the instance
	base   *url.URL
	http   *http.Client
	log    *slog.Logger
	pacer  *pacer
	tokens *tokenCache
}

// New returns a client. It makes no call; Test does.
func New(d Deps) (*Client, error) {
	base, err := baseURL(d.Instance, d.Endpoint)
	if err != nil {
		return nil, err
	}
	if d.ClientID == "" {
		return nil, errors.New("the NinjaOne client ID is not set")
	}
	host, err := NormalizeInstance(d.Instance)
	if err != nil { // the endpoint stands for it
		host = base.Host
	}
	c := &Client{
		host:  host,
		base:  base,
		http:  &http.Client{Transport: &reply.Steady{Next: d.Transport}, CheckRedirect: checkRedirect},
		log:   d.Log,
		pacer: newPacer(d),
	}
	c.tokens = &tokenCache{client: c, clientID: d.ClientID, secret: d.Secret}
	return c, nil
}

// Instance is the host of the instance, also where the client calls another endpoint in
// its place.
func (c *Client) Instance() string { return c.host }

// checkRedirect follows redirects of reads within the host only. Any other redirect is
// the answer, which is then an error. The token must not leave the host, and a redirected
// write would turn into a read.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method == http.MethodGet && len(via) < 5 &&
		req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host {
		return nil
	}
	return http.ErrUseLastResponse
}

// operation names a call in errors, logs and telemetry.
type operation struct {
	method   string
	template string // path with its parameters' names
	path     string // path with its parameters' values, without query
	safe     bool   // making the call twice does no more than making it once
	splits   bool   // the caller sends it in parts when it takes too long, so it is not repeated whole
}

// wrap says which call an error belongs to.
func (op operation) wrap(err error) error {
	return fmt.Errorf("NinjaOne %s %s: %w", op.method, op.path, err)
}

// request is a call that the client can send any number of times.
type request struct {
	operation
	query   string // encoded
	body    []byte // JSON; nil for none
	form    *form  // in place of body
	timeout time.Duration
	limits  reply.Limits // of the answer
	err     error        // why there is no body
}

// param is one query parameter.
type param struct{ name, value string }

// newRequest builds a call of one of the API's paths. The template is the path of the
// OpenAPI document, /v2 included; args replace its parameters in order. It encodes a body
// that is not nil as JSON; do returns the error if that fails.
func newRequest(method, template string, args []any, query []param, body any) *request {
	r := &request{
		operation: operation{method: method, template: template, path: expand(template, args), safe: method != http.MethodPost},
		query:     encodeQuery(query),
		timeout:   requestTimeout,
		limits:    reply.Page,
	}
	if body != nil {
		var err error
		if r.body, err = encodeJSON(body); err != nil {
			r.err = r.wrap(fmt.Errorf("encoding the request: %w", err))
		}
	}
	return r
}

// expand replaces the {parameters} of a path template in order.
func expand(template string, args []any) string {
	var b strings.Builder
	for _, arg := range args {
		before, rest, _ := strings.Cut(template, "{")
		_, template, _ = strings.Cut(rest, "}")
		b.WriteString(before)
		b.WriteString(url.PathEscape(fmt.Sprint(arg)))
	}
	b.WriteString(template)
	return b.String()
}

// encodeQuery encodes the parameters in order, with %20 for a space. Nobody has shown
// that NinjaOne takes a plus sign for one.
func encodeQuery(query []param) string {
	escape := func(s string) string {
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}
	parts := make([]string, len(query))
	for i, p := range query {
		parts[i] = escape(p.name) + "=" + escape(p.value)
	}
	return strings.Join(parts, "&")
}

// do makes the call, as often as its method and the answers allow. Once per attempt it
// hands the answer to decode; decode is nil where the caller expects none. It renews the
// access token once when NinjaOne does not take it.
func (c *Client) do(ctx context.Context, r *request, decode func(*json.Decoder) error) error {
	if r.err != nil {
		return r.err
	}
	for renewed := false; ; renewed = true {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return notSent{r.wrap(err)} // a token that was refused before did nothing, either
		}
		err = c.retry(ctx, r.operation, r.timeout, func(ctx context.Context, call *Call) error {
			return c.send(ctx, r, token, call, decode)
		})
		if renewed || !errors.Is(err, ErrUnauthorized) {
			return err
		}
		c.tokens.discard(token)
	}
}

// send makes one attempt.
func (c *Client) send(ctx context.Context, r *request, token string, call *Call, decode func(*json.Decoder) error) error {
	u := c.base.String() + apiRoot + r.path
	if r.query != "" {
		u += "?" + r.query
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	if r.form != nil {
		r.form.attach(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return netfault.Explain(err)
	}
	defer reply.Discard(resp.Body)
	in := reply.NewReader(ctx, resp.Body, r.limits)
	defer in.Close()
	resp.Body = readCloser{in, resp.Body}
	content, err := checkResponse(r.operation, resp, call, token)
	if err != nil {
		return err
	}
	if decode == nil {
		decode = anything
	}
	return r.decodeAnswer(resp, content, decode)
}

// anything reads the answer to a call that needs none. It may be empty, but half an
// answer says that something between us and NinjaOne went wrong.
func anything(d *json.Decoder) error {
	if err := d.Decode(new(json.RawMessage)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
