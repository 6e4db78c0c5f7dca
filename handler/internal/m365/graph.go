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
	session
	adapter *graphcore.GraphRequestAdapterBase
	retry   *retrier
}

// newGraph builds the SDK's adapter over this package's own client. The
// middleware is listed in order, without compression of request bodies, and
// without redirects, which are followed by hand where they are expected.
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
		session: session{
			service: serviceGraph,
			origin:  r.graphEndpoint,
			client:  client,
			tokens:  r.tokens,
			ref:     ref,
			scope:   r.graphScope,
			limits:  r.limits,
		},
		adapter: adapter,
		retry:   r.retry,
	}, nil
}

// v1 and beta give the SDK's builders their base address.
func (g *graph) v1() map[string]string   { return map[string]string{"baseurl": g.base("v1.0")} }
func (g *graph) beta() map[string]string { return map[string]string{"baseurl": g.base("beta")} }

func (g *graph) base(version string) string { return g.origin.String() + "/" + version }

// query sets $top (0 = leave out) and $select of a request made by a builder.
func query(ri *abstractions.RequestInformation, top int, fields ...string) *abstractions.RequestInformation {
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
	return ri
}

// native returns the request of a builder, ready but for the token.
func (g *graph) native(ctx context.Context, ri *abstractions.RequestInformation) (*http.Request, error) {
	made, err := g.adapter.ConvertToNativeRequest(ctx, ri)
	if err != nil {
		return nil, fmt.Errorf("building a Graph request: %w", err)
	}
	req, ok := made.(*http.Request)
	if !ok {
		return nil, fmt.Errorf("building a Graph request: the SDK made a %T", made)
	}
	return prioritize(req), nil
}

// prioritize marks a request as one to be throttled before those of people.
func prioritize(req *http.Request) *http.Request {
	req.Header.Set("x-ms-throttle-priority", "Low")
	return req
}

// linked returns the request of a next link, which is not to be touched, not
// even by the SDK's decoding of parameter names.
func (g *graph) linked(ctx context.Context, link string) (*http.Request, error) {
	asIs := &khttp.ParametersNameDecodingOptions{Enable: false}
	ctx = context.WithValue(ctx, asIs.GetKey(), asIs)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, &linkError{g.service}
	}
	req.Header.Set("Accept", "application/json")
	return prioritize(req), nil
}

// relative returns the address of a request as a part of a batch names it.
func (g *graph) relative(ri *abstractions.RequestInformation) (string, error) {
	u, err := ri.GetUri()
	if err != nil {
		return "", fmt.Errorf("building a Graph request: %w", err)
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/") // without the version
	if u.RawQuery == "" {
		return "/" + path, nil
	}
	return "/" + path + "?" + strings.ReplaceAll(u.RawQuery, "%24", "$"), nil
}
