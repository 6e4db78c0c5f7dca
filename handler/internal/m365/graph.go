package m365

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	khttp "github.com/microsoft/kiota-http-go"
	graphcore "github.com/microsoftgraph/msgraph-sdk-go-core"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/tenant"
)

const serviceGraph = "Microsoft Graph"

// graph is Microsoft Graph as seen from one tenant during one reading.
type graph struct {
	*session
	adapter *graphcore.GraphRequestAdapterBase
	retry   *retrier
}

// newGraph builds the SDK's adapter over this package's own client. The middleware is in
// order here. It neither compresses request bodies nor follows redirects: [readReport]
// follows the one redirect that is expected.
func (r *Reader) newGraph(ref tenant.Ref) (*graph, error) {
	if guid.Parse(ref.ID) == "" {
		return nil, fmt.Errorf("tenant %q: its id is not a GUID; correct the row in CIPP's table Tenants", ref.ID)
	}
	client := &http.Client{
		CheckRedirect: followNone,
		Transport: khttp.NewCustomTransportWithParentTransport(r.retry,
			graphcore.NewGraphTelemetryHandler(nil), // adds client-request-id
			khttp.NewParametersNameDecodingHandler(),
		),
	}
	// The session adds the token, after it has looked at the host.
	adapter, err := graphcore.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		&authentication.AnonymousAuthenticationProvider{}, graphcore.GraphClientOptions{}, nil, nil, client)
	if err != nil {
		return nil, fmt.Errorf("preparing the Graph client: %w", err)
	}
	return &graph{
		session: &session{service: r.graph, client: client, tokens: r.tokens, ref: ref},
		adapter: adapter,
		retry:   r.retry,
	}, nil
}

// v1 and beta give the SDK's builders their base address.
func (g *graph) v1() map[string]string   { return map[string]string{"baseurl": g.base("v1.0")} }
func (g *graph) beta() map[string]string { return map[string]string{"baseurl": g.base("beta")} }

func (g *graph) base(version string) string { return g.origin.String() + "/" + version }

// request is a GET request of one of the SDK's builders, or why there is none.
type request struct {
	*abstractions.RequestInformation
	err error
}

// builder is one of the SDK's; C is the type of its options.
type builder[C any] interface {
	ToGetRequestInformation(context.Context, *C) (*abstractions.RequestInformation, error)
}

// ask has a builder make a request with $top (0 = leave out) and $select.
func ask[C any](ctx context.Context, b builder[C], top int, fields ...string) request {
	ri, err := b.ToGetRequestInformation(ctx, nil)
	if err != nil {
		return request{err: fmt.Errorf("building a Graph request: %w", err)}
	}
	if top > 0 {
		ri.QueryParameters["%24top"] = strconv.Itoa(top)
	}
	if len(fields) > 0 {
		selected := make([]any, len(fields))
		for i, f := range fields {
			selected[i] = f
		}
		ri.QueryParametersAny["%24select"] = selected
	}
	// The builders write "delta()"; the published form is without parentheses.
	ri.UrlTemplate = strings.Replace(ri.UrlTemplate, "/delta()", "/delta", 1)
	return request{RequestInformation: ri}
}

// set sets another query parameter that the builder knows, by its name without $.
func (r request) set(name, value string) {
	if r.err == nil {
		r.QueryParameters["%24"+name] = value
	}
}

// under appends a path that the SDK has no builder for.
func (r request) under(path string) {
	if r.err == nil {
		r.UrlTemplate = strings.Replace(r.UrlTemplate, "{?", path+"{?", 1)
	}
}

// native returns the request of a builder, ready but for the token.
func (g *graph) native(ctx context.Context, r request) (*http.Request, error) {
	if r.err != nil {
		return nil, r.err
	}
	made, err := g.adapter.ConvertToNativeRequest(ctx, r.RequestInformation)
	if err != nil {
		return nil, fmt.Errorf("building a Graph request: %w", err)
	}
	return prioritize(made.(*http.Request), nil) // as the adapter over package net/http says
}

// prioritize marks a request as one to be throttled before those of people.
func prioritize(req *http.Request, err error) (*http.Request, error) {
	if err == nil {
		req.Header.Set("x-ms-throttle-priority", "Low")
	}
	return req, err
}

// linked is get without the SDK's decoding of parameter names.
func (g *graph) linked(ctx context.Context, link string) (*http.Request, error) {
	asIs := &khttp.ParametersNameDecodingOptions{Enable: false}
	ctx = context.WithValue(ctx, asIs.GetKey(), asIs)
	return prioritize(g.get(ctx, link))
}

// relative returns the address of a request as a part of a batch names it.
func (g *graph) relative(r request) (string, error) {
	if r.err != nil {
		return "", r.err
	}
	u, err := r.GetUri()
	if err != nil {
		return "", fmt.Errorf("building a Graph request: %w", err)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/") // without the version
	if u.RawQuery == "" {
		return "/" + path, nil
	}
	return "/" + path + "?" + strings.ReplaceAll(u.RawQuery, "%24", "$"), nil
}
