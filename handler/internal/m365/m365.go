// Package m365 reads one Microsoft 365 tenant into a tenant.Snapshot. It reads Microsoft
// Graph, its usage reports and the Exchange Online admin API. It is the only package that
// imports msgraph-sdk-go. The SDK's builders name the paths and its middleware prepares
// the requests. Package wire decodes the answers from the bytes on the wire into small
// structs.
//
// Nothing that decides, renders or writes may enter. Except for subscriptions to a
// tenant's changes, this package sends reads only. It knows neither CIPP's tables nor
// NinjaOne, and never hands out a token.
package m365

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// Credentials gives the secrets of CIPP's app by the names CIPP stores them
// under: ApplicationID, ApplicationSecret, RefreshToken, and the tenant's GUID
// for the refresh token of a tenant without GDAP relation. With fresh set the
// value is read from the store again, since an authentication just failed.
type Credentials interface {
	Secret(ctx context.Context, name string, fresh bool) (string, error)
}

// Deps say where and as whom a Reader reads, and what it works with.
type Deps struct {
	GraphEndpoint    *url.URL // scheme and host, as package endpoint takes them
	LoginEndpoint    *url.URL
	ExchangeEndpoint *url.URL
	DefenderEndpoint *url.URL
	Application      bool // sign in as the app itself, not with CIPP's refresh token through GDAP
	Credentials      Credentials
	Transport        http.RoundTripper
	Sleep            func(context.Context, time.Duration) error // waits between two attempts
	Now              func() time.Time
	Log              *slog.Logger
}

// Reader reads tenants. It is safe for concurrent use. It should live as long as the
// process, since it holds the access tokens.
type Reader struct {
	graph       service
	exchange    service
	defender    service
	application bool
	tokens      *tokens
	client      *http.Client // follows no redirect
	retry       *retrier
	now         func() time.Time
	log         *slog.Logger
}

// New returns a reader. Nothing is sent yet.
func New(d Deps) *Reader {
	repeats := &retrier{next: steady(d.Transport), sleep: d.Sleep}
	client := &http.Client{Transport: repeats, CheckRedirect: followNone}
	return &Reader{
		graph:       service{serviceGraph, d.GraphEndpoint, scopeFor(d.GraphEndpoint, graphHosts), bounds.Default, reply.Page},
		exchange:    service{serviceExchange, d.ExchangeEndpoint, scopeFor(d.ExchangeEndpoint, exchangeHosts), bounds.Default, reply.Page},
		defender:    service{serviceDefender, d.DefenderEndpoint, scopeFor(d.DefenderEndpoint, defenderHosts), exportLimits, exportAnswer},
		application: d.Application,
		tokens: &tokens{
			login:       d.LoginEndpoint,
			client:      client,
			credentials: d.Credentials,
			application: d.Application,
			now:         d.Now,
			kept:        lookup.Cache[tokenKey, token]{Limit: tokenTimeout},
		},
		client: client,
		retry:  repeats,
		now:    d.Now,
		log:    d.Log,
	}
}

func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// service is one of Microsoft's, as every tenant sees it.
type service struct {
	name   string
	origin *url.URL
	scope  string        // of its tokens
	list   bounds.Limits // of one list
	answer reply.Limits  // of one answer
}

const dodGraphHost = "dod-graph.microsoft.us"

// The hosts of Microsoft's clouds, the public one first. Their name is the resource of
// the scope. Any other endpoint stands in for the public cloud, and takes its scope.
var (
	graphHosts = []string{"graph.microsoft.com", "graph.microsoft.us", dodGraphHost,
		"graph.microsoft.de", "microsoftgraph.chinacloudapi.cn"}
	exchangeHosts = []string{"outlook.office365.com", "outlook.office365.us",
		"outlook-dod.office365.us", "partner.outlook.cn"}
	defenderHosts = []string{"api.securitycenter.microsoft.com",
		"api-gcc.securitycenter.microsoft.us", "api-gov.securitycenter.microsoft.us"}
)

func scopeFor(endpoint *url.URL, known []string) string {
	host := endpoint.Hostname()
	if !slices.Contains(known, host) {
		host = known[0]
	}
	return "https://" + host + "/.default"
}

// Read reads the tenant. Parts that cannot be read are absent with the reason. An error
// means that nothing can be read. It is an *AuthError when the tenant gives no token, and
// the context's error when the context was cancelled. It is the transport's when Graph
// cannot be reached at all. The deadline of the context ends the reading: the parts that
// are still missing are absent. Read does not repeat what is known and counts; nil stands
// for nothing.
func (r *Reader) Read(ctx context.Context, ref tenant.Ref, known *tenant.Known) (*tenant.Snapshot, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	started := r.now().UTC()
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if refusal, ok := errors.AsType[*AuthError](err); ok {
			return nil, refusal // it names the tenant itself
		}
		return nil, fmt.Errorf("reading tenant %s: %w", ref.ID, err)
	}
	run := &reading{
		reader:   r,
		graph:    g,
		snapshot: &tenant.Snapshot{Tenant: ref, ReadAt: started, DoD: r.graph.origin.Hostname() == dodGraphHost},
		judged:   make(chan struct{}),
		log:      r.log.With("tenant", ref.ID),
	}
	if known != nil {
		run.known, run.daily = known.Policies, known.Daily
	}
	run.readAll(ctx)
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if err := run.close(); err != nil {
		return nil, fmt.Errorf("reading tenant %s: %w", ref.ID, err)
	}
	return run.snapshot, nil
}
