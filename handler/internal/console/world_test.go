package console

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/console/textdiff"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// world is the console over real HTTP, with CIPP's tables in a storage
// emulator and simulated Microsoft 365 and NinjaOne.
type world struct {
	*stack.Stack
	t       *testing.T
	console *Console
	account *storage.Account
	// Our own table and queues, with names of this test's own.
	table           *storage.Table
	syncs, automaps *storage.Queue
	failed          *storage.Queue // messages that failed too often
	syncer          *tenantsync.Syncer
	server          *httptest.Server
	header          http.Header // sent with every request
	updates         map[string]assignments.Status
	files           vulnerabilities.Files
	uploads         *storage.Queue
	filePreview     func(tenantID string) (vulnerabilities.Preview, error)
	pace            pacing.View
	watched         map[string]changes.State
	stopped         []string // timers
}

// devToken lets the tests in.
const devToken = "token-of-the-tests"

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{
		Seed: seed.Generate(seed.Size{Tenants: 3, Users: 6, Devices: 6, Groups: 2}), Storage: azuritetest.ForTest(t).Apart(),
	})
	must(t, err)
	w := &world{Stack: s, t: t, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}}
	t.Cleanup(func() {
		if v := s.Violations(); len(v) > 0 {
			t.Errorf("requests broke a contract: %q", v)
		}
		must(t, s.Close())
	})
	env := s.Settings()
	getenv := func(name string) string { return env[name] }
	w.account, err = storage.Open(getenv, storage.Own)
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	secrets := cipp.DevSecrets(w.account)
	store := cipptest.Store(w.account, func(d *cipp.Deps) { d.User = func(ctx context.Context) string { return access.CallerOf(ctx).Name } })
	reader := m365test.Reader(t, m365sim.Endpoints{Graph: env["GRAPH_ENDPOINT"], Login: env["LOGIN_ENDPOINT"], Exchange: env["EXCHANGE_ENDPOINT"], Defender: env["DEFENDER_ENDPOINT"]},
		m365.Deps{Credentials: secrets, Log: log})
	connect := ninjaonetest.Deps(env["NINJAONE_ENDPOINT"], func(ctx context.Context, fresh bool) (string, error) {
		return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
	})
	connect.Log = log
	clients := ninjaone.NewPool(connect)
	client := func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return clients.Client(c.Instance, c.ClientID) }
	name := azuritetest.UniqueName(t)
	w.table, w.syncs, w.automaps = w.account.Table(name), w.account.Queue(name), w.account.Queue(name+"-automap")
	w.failed = w.account.Queue(name + poison.Suffix)
	state, known := ledger.New(w.table), runs.New(w.table)
	told := &problems.Book{Table: w.table, Log: store.Log, API: "NinjaOneSync"}
	blobs := w.account.Container(name)
	w.files = vulnerabilities.Files{Table: w.account.Table(name + "files"), Blobs: blobs}
	w.uploads = w.account.Queue(name + "-files")
	w.syncer = &tenantsync.Syncer{
		CIPP: store, Reader: reader, NinjaOne: client, Ledger: state, Policies: policies.New(w.table), SKUNames: func(context.Context) map[string]string { return nil }, KeepNames: func(context.Context, map[string]string) {}, Table: w.table, Runs: known, Blobs: blobs, Queue: w.syncs,
		Documents: &documents.Syncer{CIPP: store, Ledger: ledger.New(w.table), Blobs: blobs, Now: time.Now, Log: log},
		Exposures: w.files, Subscribe: func(context.Context, string) {},
		Within: context.WithCancel, Now: time.Now, Log: log,
	}
	guard := guardOf(access.Config{Development: true, DevToken: devToken})
	worker := vulnerabilities.New(vulnerabilities.Deps{
		CIPP: store, Defender: reader, NinjaOne: client, Files: w.files, Queue: w.uploads, Problems: told, Runs: known,
		Off: func(context.Context) (bool, error) { return false, nil }, Budget: time.Minute, Now: time.Now, Log: log,
	})
	w.console = New(Deps{
		CIPP: store, Secrets: secrets, Guard: guard, Preview: w.syncer, Ledger: state, Runs: known, Blobs: blobs,
		CVEFiles: w.files, CVEUploads: uploads{worker, w},
		Now: time.Now, Log: log,
		Engine: &engine.Hold{CIPP: store, Runs: known, Problems: told, Table: w.table, Queue: w.syncs, Graph: reader, Now: time.Now, Log: log},
		Poison: &poison.Watch{
			Sources: []poison.Source{{Queue: w.syncs, Poison: w.failed, API: "NinjaOneSync", One: "The sync of %s was not done.", All: "A sync was not done.", Then: "It is done again tomorrow.", Queued: known.MarkQueued}},
			CIPP:    store, Table: w.table, Most: 1000, Now: time.Now,
		},
		Timers:     func(context.Context) ([]string, error) { return w.stopped, nil },
		Compliance: func(context.Context) (map[string]assignments.Status, error) { return w.updates, nil },
		Pace:       func(context.Context, cipp.ExtensionConfig) (pacing.View, error) { return w.pace, nil },
		Watched:    func(context.Context) (map[string]changes.State, error) { return w.watched, nil },
		Settings: settings.New(settings.Deps{
			CIPP: store, Secrets: secrets, Guard: guard, NinjaOne: client, Connect: connect,
			Sync: w.syncs, Automap: w.automaps, Runs: known, Now: time.Now, Log: log,
			GivenBack: func(context.Context) (bool, error) { return false, nil },
		}),
	})
	w.server = httptest.NewServer(w.console)
	t.Cleanup(w.server.Close)
	return w
}

// guardOf is the guard of an app that is always ready.
func guardOf(c access.Config) *access.Guard {
	return access.New(access.Deps{Config: c, Log: slog.New(slog.DiscardHandler), Ready: func(context.Context) error { return nil }})
}

// uploads is the worker of files, but for previews that a test made.
type uploads struct {
	*vulnerabilities.Worker
	w *world
}

func (u uploads) Preview(ctx context.Context, tenantID string) (vulnerabilities.Preview, error) {
	if u.w.filePreview != nil {
		return u.w.filePreview(tenantID)
	}
	return u.Worker.Preview(ctx, tenantID)
}

var must = fail.If

// answer is what a request got.
type answer struct {
	status   int
	body     string
	header   http.Header
	location string
}

func (w *world) do(method, path string, form url.Values) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+"/api/ninjaone/console"+path, strings.NewReader(form.Encode()))
	must(w.t, err)
	r.Header.Set(access.HeaderDevToken, devToken)
	for name, values := range w.header {
		r.Header[name] = values
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	must(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return answer{resp.StatusCode, string(body), resp.Header, resp.Header.Get("Location")}
}

// get returns a page that must be there.
func (w *world) get(path string) string {
	w.t.Helper()
	a := w.do(http.MethodGet, path, nil)
	if a.status != http.StatusOK {
		w.t.Fatalf("GET %s: %d\n%s", path, a.status, a.body)
	}
	return a.body
}

// post sends a form that must be accepted, and returns the page that the
// browser is sent to.
func (w *world) post(path string, pairs ...string) string {
	w.t.Helper()
	a := w.do(http.MethodPost, path, form(pairs...))
	if a.status != http.StatusSeeOther {
		w.t.Fatalf("POST %s: %d\n%s", path, a.status, a.body)
	}
	_, after, ok := strings.Cut(a.location, "/api/ninjaone/console")
	if !ok {
		w.t.Fatalf("POST %s leads to %s", path, a.location)
	}
	return w.get(after)
}

// refused sends a form that must be answered by its page with the problem.
func (w *world) refused(path string, pairs ...string) string {
	w.t.Helper()
	a := w.do(http.MethodPost, path, form(pairs...))
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `role="alert"`) {
		w.t.Fatalf("POST %s: %d, want a page with the problem\n%s", path, a.status, a.body)
	}
	return a.body
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// has checks that a page shows every text.
func (w *world) has(page string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			w.t.Errorf("the page lacks %q; it says:\n%s", text, strings.Join(textdiff.Lines(page), "\n"))
		}
	}
}

// hasNot checks that a page shows none of the texts.
func (w *world) hasNot(page string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			w.t.Errorf("the page must not show %q; it says:\n%s", text, strings.Join(textdiff.Lines(page), "\n"))
		}
	}
}

// tenantID is the id of the n-th tenant of the seed.
func (w *world) tenantID(n int) string {
	w.t.Helper()
	tenants, err := w.console.CIPP.Tenants(w.t.Context())
	must(w.t, err)
	return tenants[n-1].ID
}

// sync runs a tenant's sync.
func (w *world) sync(id string) {
	w.t.Helper()
	must(w.t, w.syncer.Run(w.t.Context(), tenantsync.Message{TenantID: id}))
}

func (w *world) row(table *storage.Table, e storage.Entity) {
	w.t.Helper()
	must(w.t, table.Merge(w.t.Context(), e))
}

// lines are the logbook's messages.
func (w *world) lines() string {
	w.t.Helper()
	var b strings.Builder
	for _, e := range storagetest.Rows(w.t, w.account.Table("CippLogs"), "") {
		b.WriteString(e.String("API") + ": " + e.String("Message") + "\n")
	}
	return b.String()
}

// message takes the only message of a queue.
func (w *world) message(queue *storage.Queue) string {
	w.t.Helper()
	messages, err := queue.Peek(w.t.Context(), 32)
	must(w.t, err)
	if len(messages) != 1 {
		w.t.Fatalf("%d messages on %s, want 1", len(messages), queue.Name())
	}
	return string(messages[0].Body)
}
