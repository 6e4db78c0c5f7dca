package settings

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/ninjasim"
)

// Invented tenants and credentials.
const (
	contoso  = "aaaaaaaa-0000-4000-8000-000000000001"
	fabrikam = "aaaaaaaa-0000-4000-8000-000000000002"
	tailspin = "aaaaaaaa-0000-4000-8000-000000000003"
	excluded = "aaaaaaaa-0000-4000-8000-000000000004"

	technician = "robin@msp.example" // whom the platform logged in

	clientID     = "client-4711"
	clientSecret = "hunter2-the-right-one"
	wrongSecret  = "hunter2-the-wrong-one"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// installation is the app beside a CIPP, with a NinjaOne instance.
type installation struct {
	t       *testing.T
	cipp    *storage.Account
	store   *cipp.Store
	ninja   *ninjasim.Server
	sync    *storage.Queue
	automap *storage.Queue
	server  *httptest.Server
	runs    *runs.Store
	now     func() time.Time
	given   bool                // the syncs were given back to CIPP
	serials map[string][]string // Intune's, by tenant
	seen    *buffer             // every answer and every line of the log
}

func open(t *testing.T) *storage.Account {
	t.Helper()
	return storagetest.Open(t, azuritetest.ForTest(t).Apart().ConnectionString())
}

func install(t *testing.T) *installation {
	t.Helper()
	account := open(t)
	i := &installation{t: t, cipp: account, seen: &buffer{}, now: time.Now,
		sync: account.Queue(azuritetest.UniqueName(t)), automap: account.Queue(azuritetest.UniqueName(t))}
	i.put("Tenants", aTenant(contoso, "Contoso", "contoso.example"), aTenant(fabrikam, "Fabrikam", "fabrikam.example"),
		aTenant(tailspin, "Tailspin", "tailspin.example"))
	i.put("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": excluded, "customerId": excluded, "displayName": "Excluded", "defaultDomainName": "excluded.example", "Excluded": true})

	i.ninja = ninjasim.New(ninjasim.Config{ClientID: clientID, ClientSecret: clientSecret})
	must(t, i.ninja.Start())
	t.Cleanup(func() { _ = i.ninja.Close() })
	for id, name := range map[int]string{17: "Contoso Ltd", 18: "Fabrikam", 19: "alpine"} {
		i.ninja.AddOrganization(ninjasim.Organization{ID: id, Name: name})
	}
	for _, f := range []ninjasim.CustomField{
		{Name: "cippTenantLinks", Label: "Links", Type: "WYSIWYG", APIPermission: "READ_WRITE", DefinitionScope: []string{"ORGANIZATION"}},
		{Name: "cippBoth", Label: "Both", Type: "WYSIWYG", APIPermission: "READ_WRITE", DefinitionScope: []string{"ORGANIZATION", "NODE"}},
		{Name: "cippCompliance", Label: "Compliance", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}},
		{Name: "cippFailing", Label: "Failing", Type: "TEXT_MULTILINE", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}},
		{Name: "readOnly", Type: "TEXT", APIPermission: "READ_ONLY", DefinitionScope: []string{"NODE"}},
		{Name: "number", Type: "NUMERIC", APIPermission: "READ_WRITE", DefinitionScope: []string{"NODE"}},
		{Name: "location", Type: "TEXT", APIPermission: "READ_WRITE", DefinitionScope: []string{"LOCATION"}},
	} {
		i.ninja.AddCustomField(f)
	}
	i.serve(account, i.ninja.URL())
	return i
}

func aTenant(id, name, domain string) storage.Entity {
	return storage.Entity{"PartitionKey": "Tenants", "RowKey": id, "customerId": id, "displayName": name, "defaultDomainName": domain,
		"initialDomainName": strings.ToLower(name) + ".onmicrosoft.example", "Excluded": false, "GraphErrorCount": int32(0)}
}

// serve starts the app as the Functions host would call it.
func (i *installation) serve(cippAccount *storage.Account, endpoint string) {
	i.t.Helper()
	log := slog.New(slog.NewJSONHandler(i.seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
	secrets := cipp.DevSecrets(cippAccount)
	i.store = cipp.New(cipp.Deps{Account: cippAccount, Timezone: "UTC", Now: time.Now, Log: log,
		User: func(ctx context.Context) string { return access.CallerOf(ctx).Name }})
	connect := ninjaonetest.Deps(endpoint, func(ctx context.Context, fresh bool) (string, error) {
		return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
	})
	connect.Log = log
	pool := ninjaone.NewPool(connect)
	client := func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return pool.Client(c.Instance, c.ClientID) }
	mapper := &automap.Mapper{CIPP: i.store, Intune: i, NinjaOne: client, Blobs: i.cipp.Container(azuritetest.UniqueName(i.t)), Queue: i.automap,
		Unmatched: func(context.Context, string) ([]string, bool, error) { return nil, false, nil },
		Budget:    time.Minute, Within: context.WithTimeout, Now: time.Now, Log: log}
	i.runs = runs.New(i.cipp.Table(azuritetest.UniqueName(i.t)))
	handlers := New(Deps{
		CIPP: i.store, Secrets: secrets, Guard: access.New(access.Deps{Config: access.Config{PlatformAuth: true}, Log: log, Ready: func(context.Context) error { return nil }}),
		NinjaOne: client,
		Connect:  connect, Sync: i.sync, Automap: i.automap, Now: func() time.Time { return i.now() },
		Begin: func(ctx context.Context, within time.Duration) (automap.Outcome, error) {
			return mapper.Begin(ctx, within, client)
		},
		GivenBack: func(context.Context) (bool, error) { return i.given, nil },
		Runs:      i.runs, Log: log,
	})
	host := customhandler.New(customhandler.Deps{MaxBody: 16 << 20, Log: log})
	for name, handler := range handlers.Functions() {
		host.HTTP(name, name, handler)
	}
	i.server = httptest.NewServer(host)
	i.t.Cleanup(i.server.Close)
	i.t.Cleanup(func() {
		for _, secret := range []string{clientSecret, wrongSecret} {
			if strings.Contains(i.seen.String(), secret) {
				i.t.Errorf("a secret is in an answer or in the log")
			}
		}
	})
}

// Serials implements automap.Intune.
func (i *installation) Serials(_ context.Context, ref tenant.Ref) ([]string, error) {
	return i.serials[ref.ID], nil
}

var must = fail.If

func (i *installation) put(table string, rows ...storage.Entity) {
	i.t.Helper()
	must(i.t, i.cipp.Table(table).ReplaceAll(i.t.Context(), rows))
}

// configure stores settings and secret as CIPP does.
func (i *installation) configure(config, secret string) {
	i.t.Helper()
	i.put("Extensionsconfig", storage.Entity{"PartitionKey": "CippExtensions", "RowKey": "Config", "config": config})
	if secret != "" {
		i.put("DevSecrets", storage.Entity{"PartitionKey": "NinjaOne", "RowKey": "NinjaOne", "APIKey": secret})
	}
}

// working are settings with which everything works.
const working = `{"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","ClientID":"` + clientID + `","APIKey":"SentToKeyVault"},"Hudu":{"Enabled":false,"BaseURL":"https://docs.contoso.example"}}`

func (i *installation) config() string {
	i.t.Helper()
	e, err := i.cipp.Table("Extensionsconfig").Get(i.t.Context(), "CippExtensions", "Config")
	must(i.t, err)
	return e.String("config")
}

func (i *installation) secret() string {
	i.t.Helper()
	e, err := i.cipp.Table("DevSecrets").Get(i.t.Context(), "NinjaOne", "NinjaOne")
	must(i.t, err)
	return e.String("APIKey")
}

func principal(role string) string {
	data, _ := json.Marshal(map[string]any{"auth_typ": "aad", "claims": []map[string]string{{"typ": "roles", "val": role}, {"typ": "preferred_username", "val": technician}}})
	return base64.StdEncoding.EncodeToString(data)
}

// answer is an answer as a page gets it.
type answer struct {
	status      int
	contentType string
	text        string
}

// results is the text of {"Results": text}.
func (a answer) results(t *testing.T) string {
	t.Helper()
	var body struct{ Results string }
	if err := json.Unmarshal([]byte(a.text), &body); err != nil || a.contentType != "application/json" {
		t.Fatalf("the answer is %s %s", a.contentType, a.text)
	}
	return body.Results
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.text), &v); err != nil || a.status != http.StatusOK || a.contentType != "application/json" {
		t.Fatalf("the answer is %d %s %s", a.status, a.contentType, a.text)
	}
	return v
}

// browser is how CIPP's page asks, with somebody's role.
func (i *installation) browser(role, method, path, body string, change ...func(*http.Request)) answer {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.server.URL+"/api/"+path, strings.NewReader(body))
	must(i.t, err)
	r.Header.Set("User-Agent", "Mozilla/5.0")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if role != "" {
		r.Header.Set("X-MS-CLIENT-PRINCIPAL", principal(role))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	resp, err := i.server.Client().Do(r)
	must(i.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(i.t, err)
	_, _ = i.seen.Write(data)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(data)}
}

func (i *installation) get(path string) answer {
	i.t.Helper()
	return i.browser("editor", http.MethodGet, path, "")
}

func (i *installation) post(path, body string) answer {
	i.t.Helper()
	return i.browser("editor", http.MethodPost, path, body)
}

// messages returns what a queue holds.
func messages(t *testing.T, q *storage.Queue) []string {
	t.Helper()
	peeked, err := q.Peek(t.Context(), 32)
	must(t, err)
	all := []string{}
	for _, m := range peeked {
		all = append(all, string(m.Body))
	}
	return all
}

// lines returns the messages of today's logbook about an API, the latest first,
// and sees that each says who it was.
func (i *installation) lines(api string) []string {
	i.t.Helper()
	found, err := i.store.LogDay(i.t.Context(), time.Now().UTC(), cipp.LogFilter{})
	must(i.t, err)
	texts := []string{}
	for _, l := range found {
		if l.API == api {
			texts = append(texts, l.Message)
			if l.User != technician {
				i.t.Errorf("the line %q is put down to %q", l.Message, l.User)
			}
		}
	}
	return texts
}
