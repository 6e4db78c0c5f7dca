package check

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/endpoint"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// lab is a deployment with everything around it: CIPP's tables and the app's
// own in an emulator of its own, simulated Microsoft 365 and NinjaOne, and the
// notification route at a public address.
type lab struct {
	*stack.Stack
	t       *testing.T
	env     map[string]string
	public  *httptest.Server
	answer  http.Handler // at the public address
	ahead   time.Duration
	own     *storage.Account
	store   *cipp.Store
	history *runs.Store
	hold    *engine.Hold
	o       Options

	vault      http.Handler // CIPP's Key Vault, as in Azure; nil for the table DevSecrets
	asksLogin  string       // the client id whose login the console asks strangers for; "" for none
	authorize  string       // what Microsoft answers to that, without a person
	exchange   string       // what it answers when that client signs in by the app's identity
	ended      bool         // there is no time at all
	wrongScope bool         // requests break a contract on purpose
}

var must = fail.If

// newLab returns a healthy deployment: CIPP's engine is held off, and every
// tenant was synced an hour ago.
func newLab(t *testing.T) *lab {
	t.Helper()
	data := seed.Generate(seed.Size{Tenants: 3, Users: 4, Devices: 3, Groups: 2})
	data.Quirks.UserDocuments = true
	s, err := stack.Start(t.Context(), stack.Options{Seed: data, Storage: azuritetest.ForTest(t).Apart()})
	must(t, err)
	l := &lab{Stack: s, t: t, env: maps.Clone(s.Settings())}
	t.Cleanup(func() {
		if v := s.Violations(); len(v) > 0 && !l.wrongScope {
			t.Errorf("requests broke a contract: %q", v)
		}
		must(t, s.Close())
	})
	l.public = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { l.answer.ServeHTTP(rw, r) }))
	t.Cleanup(l.public.Close)
	l.env["PUBLIC_BASE_URL"] = l.public.URL
	l.env["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1"
	l.env["AzureFunctionsJobHost__functionTimeout"] = "00:30:00"
	l.open()
	l.answer = notify.New(notify.Deps{Subscriptions: subscriptions.Known(l.own.Table(assignments.TableName)), Queue: l.own.Queue(notify.QueueName),
		Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	must(t, l.hold.Tick(t.Context()))
	l.fired(time.Minute, false)
	for _, m := range data.Mappings {
		at := time.Now().Add(-time.Hour)
		must(t, l.history.Save(t.Context(), runs.Run{TenantID: m.TenantID, Status: runs.Completed, Queued: at, Start: at, End: at, LastSuccess: at}))
	}
	return l
}

// leftovers lists the tables, queues and containers of the emulator.
func leftovers(t *testing.T, connection string) (names []string) {
	t.Helper()
	tables, err := aztables.NewServiceClientFromConnectionString(connection, nil)
	must(t, err)
	for p := tables.NewListTablesPager(nil); p.More(); {
		page, err := p.NextPage(t.Context())
		must(t, err)
		for _, x := range page.Tables {
			names = append(names, "table "+*x.Name)
		}
	}
	queues, err := azqueue.NewServiceClientFromConnectionString(connection, nil)
	must(t, err)
	for p := queues.NewListQueuesPager(nil); p.More(); {
		page, err := p.NextPage(t.Context())
		must(t, err)
		for _, x := range page.Queues {
			names = append(names, "queue "+*x.Name)
		}
	}
	blobs, err := azblob.NewClientFromConnectionString(connection, nil)
	must(t, err)
	for p := blobs.NewListContainersPager(nil); p.More(); {
		page, err := p.NextPage(t.Context())
		must(t, err)
		for _, x := range page.ContainerItems {
			names = append(names, "container "+*x.Name)
		}
	}
	return names
}

func (l *lab) getenv(name string) string { return l.env[name] }

// open opens the storage accounts by the present settings.
func (l *lab) open() {
	l.t.Helper()
	var err error
	l.own, err = storage.Open(l.getenv, storage.Own)
	must(l.t, err)
	account, err := storage.Open(l.getenv, storage.CIPP)
	must(l.t, err)
	l.store = cipptest.Store(account)
	table := l.own.Table(layout.TableName)
	l.history = runs.New(table)
	log := slog.New(slog.DiscardHandler)
	l.hold = &engine.Hold{CIPP: l.store, Runs: l.history, Problems: &problems.Book{Table: table, Log: l.store.Log}, Table: table, Queue: l.own.Queue(tenantsync.QueueName), Now: time.Now, Log: log}
}

// check runs a check of the deployment as it is now.
func (l *lab) check() *Report {
	l.t.Helper()
	r, err := l.run()
	must(l.t, err)
	return r
}

func (l *lab) run() (*Report, error) {
	l.t.Helper()
	settings, err := config.FromEnvironment(l.getenv)
	if err != nil {
		return SettingsOnly(l.getenv, err, time.Now()), nil
	}
	account, err := storage.Open(l.getenv, storage.CIPP)
	must(l.t, err)
	secrets, err := cipp.OpenSecrets(l.getenv, account)
	must(l.t, err)
	if l.vault != nil {
		settings.Development = false
		vault := httptest.NewTLSServer(l.vault)
		defer vault.Close()
		secrets, err = cipp.KeyVaultSecrets(vault.URL, anyone{}, &azsecrets.ClientOptions{
			ClientOptions: azcore.ClientOptions{Transport: vault.Client()}, DisableChallengeResourceVerification: true})
		must(l.t, err)
	}
	log := slog.New(slog.DiscardHandler)
	reader := m365.New(m365.Deps{
		GraphEndpoint: settings.GraphEndpoint, LoginEndpoint: settings.LoginEndpoint, ExchangeEndpoint: settings.ExchangeEndpoint, DefenderEndpoint: settings.DefenderEndpoint,
		Application: settings.Application, Credentials: secrets, Sleep: retry.Sleep, Now: time.Now, Log: log, Transport: l,
	})
	clients := ninjaone.NewPool(ninjaonetest.Deps(settings.NinjaOneEndpoint, func(ctx context.Context, fresh bool) (string, error) {
		return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
	}))
	ctx := l.t.Context()
	if l.ended {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		ctx = ended
	}
	return New(Deps{
		Getenv: l.getenv, Settings: settings, Own: l.own, CIPP: l.store, Secrets: secrets, Graph: reader, Engine: l.hold,
		NinjaOne:   func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return clients.Client(c.Instance, c.ClientID) },
		Runs:       l.history,
		Compliance: assignments.Statuses{Table: l.own.Table(assignments.TableName)}.All,
		Assertion:  func(context.Context) (string, error) { return "eyJ.assertion", nil },
		Queues:     []string{tenantsync.QueueName, automap.QueueName, notify.QueueName, heartbeat.QueueName},
		Transport:  l,
		Now:        func() time.Time { return time.Now().Add(l.ahead) },
	}).Run(ctx, l.o)
}

// anyone signs in to the Key Vault.
type anyone struct{}

func (anyone) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "vault-token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// publicHost is the app's public address where it is not to be loopback.
const publicHost = "contoso-cipp-ninjaone.azurewebsites.net"

// RoundTrip carries requests to this machine, and those to Microsoft's hosts
// to the simulators in their place.
func (l *lab) RoundTrip(r *http.Request) (*http.Response, error) {
	sandbox := l.Settings()
	for host, endpoint := range map[string]string{
		"login.microsoftonline.com": sandbox["LOGIN_ENDPOINT"], "graph.microsoft.com": sandbox["GRAPH_ENDPOINT"], "graph.microsoft.us": sandbox["GRAPH_ENDPOINT"],
	} {
		if r.URL.Hostname() == host {
			u, err := url.Parse(endpoint)
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.URL.Scheme, r.URL.Host, r.Host = u.Scheme, u.Host, u.Host
		}
	}
	if answer := l.microsoft(r); l.asksLogin != "" && answer != "" {
		return &http.Response{StatusCode: http.StatusBadRequest, Body: io.NopCloser(strings.NewReader(answer)), Header: http.Header{}, Request: r}, nil
	}
	if r.URL.Host == publicHost {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = "http", l.public.Listener.Addr().String()
	}
	if !endpoint.Loopback(r.URL.Hostname()) {
		return nil, errors.New("this test stays on its machine")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// microsoft is how Microsoft answers the login that the console asks for, "" to
// any other request.
func (l *lab) microsoft(r *http.Request) string {
	switch {
	case r.URL.Path == "/provider/oauth2/v2.0/authorize" && r.FormValue("prompt") == "none" && r.FormValue("client_id") == l.asksLogin:
		return l.authorize
	case r.URL.Path == "/provider/oauth2/v2.0/token" && r.FormValue("client_assertion") == "eyJ.assertion" && r.FormValue("client_id") == l.asksLogin:
		return l.exchange
	}
	return ""
}

// text is the report as a terminal shows it.
func text(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	must(t, r.WriteText(&b))
	return b.String()
}
