// Package console serves the page on which technicians set the synchronisation up, watch
// it and step in.
//
// It is plain HTML made by html/template. Every change is a form, every page works
// without script and with the keyboard alone. All that comes from a tenant is text. It
// decides nothing about the synchronisation. Package access knows who may call, packages
// settings and cipp save, and package tenantsync knows what would be written.
package console

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/handler/internal/words"
)

// FunctionName and Route are the function's folder and route template.
const (
	FunctionName = "Console"
	Route        = "ninjaone/console/{*path}"
)

// root ends the console's own address, whatever route prefix the host puts before it.
const root = "/ninjaone/console"

// Previewer composes what a sync would write; *tenantsync.Syncer is one.
type Previewer interface {
	Preview(ctx context.Context, tenantID string) (*tenantsync.Preview, error)
}

// Deps are what the console works with.
type Deps struct {
	CIPP     *cipp.Store
	Secrets  *cipp.Secrets
	Guard    *access.Guard
	Settings *settings.Handlers
	Preview  Previewer
	CVEFiles vulnerabilities.Files
	// CVEUploads calls NinjaOne as a person at a page does.
	CVEUploads CVEUploads
	Ledger     *ledger.Ledger
	Runs       *runs.Store
	Blobs      *storage.Container // of tenantsync and automap
	Engine     *engine.Hold
	Poison     *poison.Watch
	Check      Checker
	// Timers returns the timers that stopped, whose work heartbeats do.
	Timers func(context.Context) ([]string, error)
	// Compliance returns how each tenant's compliance updates go, by tenant id.
	Compliance func(context.Context) (map[string]assignments.Status, error)
	// Pace returns how many calls the instance that is set in CIPP takes.
	Pace func(context.Context, cipp.ExtensionConfig) (pacing.View, error)
	// Watched returns how the watching of each tenant stands, by tenant id.
	Watched func(context.Context) (map[string]changes.State, error)
	Now     func() time.Time
	Log     *slog.Logger
}

// Console is the handler of the function. It is safe for concurrent use.
type Console struct {
	Deps
	previews  *previews[*tenantsync.Preview]
	files     *previews[vulnerabilities.Preview]
	checking  sync.Mutex // held while a check is under way
	templates *template.Template
}

// New returns the console.
func New(d Deps) *Console {
	c := &Console{Deps: d}
	now := func() time.Time { return c.Now() }
	c.previews = newPreviews(func(ctx context.Context, tenantID string) (*tenantsync.Preview, error) {
		return c.Preview.Preview(ctx, tenantID)
	}, func(p *tenantsync.Preview) time.Time { return p.At }, (*tenantsync.Preview).Size, now)
	c.files = newPreviews(func(ctx context.Context, tenantID string) (vulnerabilities.Preview, error) {
		return c.CVEUploads.Preview(ctx, tenantID)
	}, func(p vulnerabilities.Preview) time.Time { return p.Now.Turn },
		func(vulnerabilities.Preview) int { return 0 }, now) // which lists a hundred rows each way
	c.templates = template.Must(templates.Clone()).Funcs(template.FuncMap{
		"ago": func(t time.Time) string { return ago(t, c.Now()) },
	})
	return c
}

//go:embed templates static
var files embed.FS

// templates are the pages. "ago" is set for each console, which has a clock.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp": stamp, "iso": iso, "plural": plural, "chip": chipOf, "choice": choiceText, "evidence": evidenceText, "pairEvidence": pairEvidence,
	"inc": func(i int) int { return i + 1 }, "dec": func(i int) int { return i - 1 }, "links": func(title string) bool { return strings.HasSuffix(title, " links") }, "ago": func(time.Time) string { return "" },
}).ParseFS(files, "templates/*.gohtml"))

// pagePolicy is the Content-Security-Policy of the console's own pages: only
// the console's files, nothing inline, in nobody's frame.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// timeout bounds a request: the platform's front end cuts it after 230 seconds.
const timeout = 200 * time.Second

// maxForm is the largest form, in bytes: a page of mappings takes 40 KB.
const maxForm = 1 << 20

// exchange is one request with what its answer needs.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	base   string // the console's address, without a slash at the end
	page   string // the path below it
	caller access.Caller
}

func (x *exchange) ctx() context.Context { return x.r.Context() }

// value is a form's or query's field, without space around it.
func (x *exchange) value(name string) string { return strings.TrimSpace(x.r.FormValue(name)) }

// action answers a request; the error is for the person who made it.
type action func(*Console, *exchange) error

// pages are what readers may get.
var pages = map[string]action{
	"":                        (*Console).status,
	"organizations":           (*Console).organizations,
	"organizations/progress":  (*Console).progress,
	"checks":                  (*Console).checks,
	"devices":                 (*Console).devices,
	"fields":                  (*Console).fields,
	"settings":                (*Console).settings,
	"preview":                 (*Console).preview,
	"preview/value":           (*Console).previewValue,
	"logbook":                 (*Console).logbook,
	"confirmations":           (*Console).confirmations,
	"vulnerabilities":         (*Console).vulnerabilities,
	"vulnerabilities/preview": (*Console).previewFile,
	"assets/console.css":      asset("console.css", "text/css; charset=utf-8"),
	"assets/console.js":       asset("console.js", "text/javascript; charset=utf-8"),
}

// actions are what editors may post.
var actions = map[string]action{
	"sync":                  (*Console).syncNow,
	"pause":                 (*Console).pause,
	"engine":                (*Console).changeEngine,
	"poison":                (*Console).settlePoison,
	"organizations":         (*Console).saveOrganizations,
	"organizations/automap": (*Console).automap,
	"fields":                (*Console).saveFields,
	"fields/create":         (*Console).createFields,
	"settings":              (*Console).saveSettings,
	"confirmations":         (*Console).confirm,
	"vulnerabilities":       (*Console).changeFile,
}

// works are what readers may post too: they change nothing.
var works = map[string]action{"checks": (*Console).runChecks}

// noPage is the name of an address that no page can have.
const noPage = "//"

// notFound is the error of an address that names something that is not there.
type notFound string

func (e notFound) Error() string { return string(e) }

// methodsOf lists the methods that an address takes, for the header Allow.
func methodsOf(page string) string {
	var methods []string
	if pages[page] != nil {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	if actions[page] != nil || works[page] != nil {
		methods = append(methods, http.MethodPost)
	}
	return strings.Join(methods, ", ")
}

// ServeHTTP answers a request for any of the console's addresses.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	r = r.WithContext(ctx)
	x := &exchange{w: w, r: r}
	at := strings.Index(strings.ToLower(r.URL.Path), root)
	if at < 0 {
		http.NotFound(w, r)
		return
	}
	below := r.URL.Path[at+len(root):]
	x.base, x.page = r.URL.Path[:at+len(root)], strings.ToLower(strings.Trim(below, "/"))
	if below != "" && below[0] != '/' || strings.Contains(below, "//") || strings.Contains(strings.ToUpper(r.URL.EscapedPath()), "%2F") {
		x.page = noPage
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", pagePolicy)

	need, list, allowed := access.Reader, pages, http.MethodGet
	if r.Method == http.MethodPost {
		need, list, allowed = access.Editor, actions, http.MethodPost
		if works[x.page] != nil {
			need, list = access.OwnPage, works
		}
	}
	if c.Guard.Enter(w, r, r.URL.Path[:at]) {
		return
	}
	caller, refusal := c.Guard.Check(r, need)
	x.caller = caller
	if refusal != nil {
		c.Log.WarnContext(ctx, "console request refused", "page", x.page, "status", refusal.Status, "reason", refusal.Reason)
		title := "Not allowed"
		if refusal.Status == http.StatusServiceUnavailable {
			title = "Not possible now"
		}
		c.fail(x, refusal.Status, title, refusal.Reason)
		return
	}
	r = r.WithContext(access.WithCaller(ctx, caller))
	x.r = r
	act, ok := list[x.page]
	switch {
	case !ok && pages[x.page] == nil && actions[x.page] == nil:
		c.fail(x, http.StatusNotFound, "Page not found", "The console has no such page.")
		return
	case !ok || (r.Method != allowed && r.Method != http.MethodHead):
		h.Set("Allow", methodsOf(x.page))
		c.fail(x, http.StatusMethodNotAllowed, "Not possible here", "This address does not take that kind of request.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		c.fail(x, http.StatusBadRequest, "The form could not be read", "Go back, load the page again, and repeat what you did.")
		return
	}
	if c.elsewhere(x) {
		if err := c.render(x, http.StatusForbidden, "continue", view{Title: "Continue", Base: x.base, Page: x.base + "/" + x.page + "?" + r.URL.Query().Encode()}); err != nil {
			c.Log.ErrorContext(ctx, "console request failed", "page", x.page, "error", err)
		}
		return
	}
	if err := act(c, x); err != nil && errors.As(err, new(notFound)) {
		c.fail(x, http.StatusNotFound, "Page not found", words.Sentence(err.Error()))
	} else if err != nil {
		c.Log.ErrorContext(ctx, "console request failed", "page", x.page, "method", r.Method, "error", err)
		text := words.Sentence(err.Error())
		if errors.Is(err, context.DeadlineExceeded) {
			text = "It took too long. Try again; if it stays so, look at the logbook."
		}
		c.fail(x, http.StatusInternalServerError, "Something went wrong", text)
	}
}

// elsewhere reports whether a GET costs calls or storage, and none of this app's own
// pages asks. Another site may have made somebody's browser send it. The two lists of
// NinjaOne's are cheap, so an address that a person typed does for them.
func (c *Console) elsewhere(x *exchange) bool {
	costs := false
	switch x.page {
	case "preview", "preview/value":
		id := strings.ToLower(x.value("tenant"))
		costs = id != "" && (x.value("fresh") != "" || !c.previews.keeps(id))
	case "vulnerabilities/preview":
		id := strings.ToLower(x.value("tenant"))
		costs = id != "" && (x.value("fresh") != "" || !c.files.keeps(id))
	case "settings":
		costs = x.value("test") != ""
	case "logbook": // which reads a partition for each day
		costs = x.value("from")+x.value("to") != ""
	case "organizations", "fields":
		costs = x.r.Header.Get("Sec-Fetch-Site") != "none"
	}
	if !costs || x.r.Method == http.MethodPost {
		return false
	}
	_, refusal := c.Guard.Check(x.r, access.OwnPage)
	return refusal != nil
}

// view is what every page shows besides its own content.
type view struct {
	Title   string
	Base    string
	Nav     []navigation
	Editor  bool
	Notice  string // what was done
	Problem string // what could not be done, and what to do
	Page    any
}

type navigation struct {
	Path, Title string
	Current     bool
}

var navigations = []navigation{
	{"", "Status", false}, {"organizations", "Organizations", false}, {"devices", "Devices", false}, {"fields", "Fields", false},
	{"settings", "Settings", false}, {"preview", "Preview", false}, {"vulnerabilities", "Vulnerabilities", false}, {"logbook", "Logbook", false}, {"confirmations", "Confirmations", false}, {"checks", "Checks", false},
}

// show answers with a page. A problem makes the status 422 after a post.
func (c *Console) show(x *exchange, name, title, problem string, page any) error {
	v := view{Title: title, Base: x.base, Editor: x.caller.Editor, Problem: problem, Page: page}
	section, _, _ := strings.Cut(x.page, "/")
	for _, n := range navigations {
		n.Current = n.Path == section
		v.Nav = append(v.Nav, n)
	}
	if problem == "" {
		v.Notice = noticeOf(x)
	}
	status := http.StatusOK
	if problem != "" && x.r.Method == http.MethodPost {
		status = http.StatusUnprocessableEntity
	}
	return c.render(x, status, name, v)
}

func (c *Console) render(x *exchange, status int, name string, v view) error {
	var b bytes.Buffer
	if err := c.templates.ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("show the page: %w", err)
	}
	x.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	x.w.WriteHeader(status)
	_, _ = b.WriteTo(x.w) // nobody is left to tell when the host is gone
	return nil
}

// fail answers with a page that only says what is wrong.
func (c *Console) fail(x *exchange, status int, title, text string) {
	if err := c.render(x, status, "failure", view{Title: title, Base: x.base, Problem: text}); err != nil {
		http.Error(x.w, text, status)
	}
}

// notice is what a page says was done: of a number of things where one and many are set.
type notice struct{ one, many, text string }

// notices are what a page may say. A word in the address chooses one, so no link can put
// its own text on the page.
var notices = map[string]notice{
	"synced":     {text: "The sync was asked for. It starts within a minute."},
	"syncedall":  {text: "Syncs of all tenants were asked for."},
	"paused":     {text: "The tenant is paused: the schedule leaves it out."},
	"resumed":    {text: "The tenant is resumed: the schedule syncs it again."},
	"pausedall":  {text: "The schedule is paused for all tenants that were not resumed themselves."},
	"resumedall": {text: "The schedule is resumed for all tenants that were not paused themselves."},
	"takenover":  {text: "CIPP's own sync is held off again, and a full sync of every mapped tenant was asked for."},
	"givenback":  {text: "CIPP's own sync was given back. This app's schedule stands still."},
	"putback":    {text: "The message was put back. It is tried again within a minute."},
	"putallback": {"message was put back. It is", "messages were put back. They are", " tried again within a minute."},
	"removed":    {text: "The message was removed."},
	"mapped":     {"mapping was", "mappings were", " saved."},
	"same":       {text: "There was nothing to save: the mappings are as they were."},
	"automap":    {text: "The search for organizations was asked for. Names come first, devices take longer."},
	"fields":     {text: "The field mapping was saved."},
	"created":    {"custom field was", "custom fields were", " created in NinjaOne, and all seven fields are mapped."},
	"settings":   {text: "The settings were saved."},
	"connected":  {text: "Connected to NinjaOne: organizations and custom fields can be read."},
	"confirmed":  {text: "Confirmed. The tenant's next sync archives the documents."},

	"uploadasked":   {text: "The upload was asked for. It starts within a minute, and the import takes some minutes more."},
	"fileconfirmed": {text: "Confirmed. The file is read anew and uploaded within a minute."},
}

func noticeOf(x *exchange) string {
	said := notices[x.r.URL.Query().Get("done")]
	text := said.text
	if said.one != "" {
		n, _ := strconv.Atoi(x.r.URL.Query().Get("n"))
		text = plural(n, said.one, said.many) + text
	}
	if left, _ := strconv.Atoi(x.r.URL.Query().Get("left")); left > 0 && text != "" {
		text += " About " + plural(left, "message is left.", "messages are left.")
	}
	return text
}

// done sends the browser to a page that says what was done. So reloading does not do it
// again.
func (x *exchange) done(page, notice string, n int, more ...string) error {
	q := url.Values{"done": {notice}}
	if n > 0 {
		q.Set("n", strconv.Itoa(n))
	}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	http.Redirect(x.w, x.r, (&url.URL{Path: x.base + "/" + page, RawQuery: q.Encode()}).String(), http.StatusSeeOther)
	return nil
}

// asset serves one of the console's own files.
func asset(name, contentType string) action {
	return func(_ *Console, x *exchange) error {
		data, err := files.ReadFile("static/" + name)
		if err != nil {
			return err
		}
		x.w.Header().Set("Content-Type", contentType)
		_, _ = io.Copy(x.w, bytes.NewReader(data))
		return nil
	}
}

// audit logs who changed what.
func (c *Console) audit(x *exchange, what string, args ...any) {
	c.Log.InfoContext(x.ctx(), what, append([]any{"caller", x.caller.ID}, args...)...)
}

// Words of templates.

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04") + " UTC"
}

// ago is a time as people say it, in whole minutes, hours or days.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d, ahead := now.Sub(t), t.After(now)
	d = d.Abs()
	text := ""
	switch {
	case d < time.Minute:
		return map[bool]string{true: "in a moment", false: "just now"}[ahead]
	case d < time.Hour:
		text = plural(int(d/time.Minute), "minute", "minutes")
	case d < 48*time.Hour:
		text = plural(int(d/time.Hour), "hour", "hours")
	default:
		text = plural(int(d/(24*time.Hour)), "day", "days")
	}
	if ahead {
		return "in " + text
	}
	return text + " ago"
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func plural(n int, one, many string) string {
	return strconv.Itoa(n) + " " + map[bool]string{true: one, false: many}[n == 1]
}

// chip is a state in one word with a sign, never in colour alone.
type chip struct{ Class, Sign, Text string }

func chipOf(class, text string) chip {
	return chip{class, map[string]string{"good": "✓", "bad": "✕", "warn": "!", "busy": "↻", "off": "–"}[class], text}
}

// tenantName is what a tenant is called on pages.
func tenantName(t cipp.Tenant) string { return cmp.Or(t.DisplayName, t.DefaultDomain) }
