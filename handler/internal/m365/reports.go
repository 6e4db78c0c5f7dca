package m365

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/reports"

	"cipp-ninjaone/handler/internal/endpoint"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/tenant"
)

// concealed is why a usage report is absent in a tenant that hides names in it.
const concealed absence = "Usage reports hide user names in this tenant"

const serviceReports = "Microsoft's report download"

var period = "D7" // days

// mailboxUsage reads GET /reports/getMailboxUsageDetail(period='D7').
func (g *graph) mailboxUsage(ctx context.Context) ([]tenant.MailboxUsage, error) {
	asked := ask(ctx, reports.NewGetMailboxUsageDetailWithPeriodRequestBuilderInternal(g.v1(), g.adapter, &period), 0)
	return readReport(ctx, g, asked, wire.DecodeMailboxUsage)
}

// oneDriveUsage reads GET /reports/getOneDriveUsageAccountDetail(period='D7').
func (g *graph) oneDriveUsage(ctx context.Context) ([]tenant.OneDriveUsage, error) {
	asked := ask(ctx, reports.NewGetOneDriveUsageAccountDetailWithPeriodRequestBuilderInternal(g.v1(), g.adapter, &period), 0)
	return readReport(ctx, g, asked, wire.DecodeOneDriveUsage)
}

// readReport follows the redirect of a report to its download. It does so once more from
// the beginning if the file was cut. The download's address is itself a secret, so the
// request for it goes without the token.
func readReport[T any](ctx context.Context, g *graph, asked request, decode func(context.Context, io.Reader) (T, error)) (T, error) {
	return decoded(ctx, serviceReports, func() (*http.Response, error) {
		res, err := g.do(ctx, func(ctx context.Context) (*http.Request, error) { return g.native(ctx, asked) })
		if err != nil || res.StatusCode < 300 {
			return res, err
		}
		discard(res)
		return g.download(ctx, res)
	}, func(body io.Reader) (T, error) { return decode(ctx, body) })
}

func (g *graph) download(ctx context.Context, redirect *http.Response) (*http.Response, error) {
	address, err := redirect.Location()
	if err != nil {
		return nil, &bodyError{g.name, errors.New("a redirect without an address")}
	}
	allowed := func(req *http.Request) error {
		if u := req.URL; u.User != nil || !endpoint.Safe(u) || u.Scheme == "http" && g.origin.Scheme != "http" {
			return &linkError{g.name}
		}
		return nil
	}
	client := &http.Client{Transport: g.retry, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return &bodyError{serviceReports, errors.New("too many redirects")}
		}
		req.Header.Del("Referer") // it would carry the secret address on
		return allowed(req)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, &linkError{g.name}
	}
	if err := allowed(req); err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if link, ok := errors.AsType[*linkError](err); ok {
			return nil, link
		}
		return nil, &transportError{serviceReports, netfault.Explain(err)}
	}
	if res.StatusCode != http.StatusOK {
		failure, _ := errorOf(serviceReports, res)
		return nil, failure
	}
	return res, nil
}

// named returns the rows of a report, or concealed when the report names no user. The
// users are the tenant's by lower-case principal name, or nil when they are not known.
func named[T any](rows []T, user func(T) string, users map[string]bool) ([]T, error) {
	joins := func(r T) bool {
		name := strings.ToLower(user(r))
		return users[name] || users == nil && strings.Contains(name, "@")
	}
	if len(rows) > 0 && !slices.ContainsFunc(rows, joins) {
		return nil, concealed
	}
	return rows, nil
}
