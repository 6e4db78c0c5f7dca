package console

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/check"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/m365test"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/sandbox/m365sim"
)

// TestChecks asks for checks of a real deployment: nothing is called before,
// and what is wrong is said for the tenant that it is of.
func TestChecks(t *testing.T) {
	w := newWorld(t)
	w.console.Check = w.checker()
	bad := w.Seed.Tenants[1]
	bad.Change(func(t *m365sim.Tenant) { t.Login = m365sim.ConsentMissing })
	w.M365.ResetCalls()
	w.has(w.get("/checks"), "Check now", `aria-current="page">Checks`)
	if n := w.M365.Calls(); len(n) > 0 {
		t.Errorf("opening the page makes calls: %v", n)
	}
	w.get("/checks?run=1&tenant=" + bad.DefaultDomain) // an old bookmark
	if n := w.M365.Calls(); len(n) > 0 {
		t.Errorf("a link makes calls: %v", n)
	}
	page := w.check()
	w.has(page, "The tenant gives no token: the app has no consent in this tenant (AADSTS65001).", "Tenants: "+bad.DefaultDomain, "To do: Run CIPP&#39;s permission check",
		"never synced", "CIPP&#39;s own NinjaOne sync is not held off")
	good := w.Seed.Tenants[0]
	page = w.check("tenant", good.DefaultDomain)
	w.has(page, "a reading of the whole tenant", `value="`+good.DefaultDomain+`"`)
	w.has(w.refused("/checks", "tenant", "nobody.example"), "CIPP knows no such tenant")
}

// check asks for a check, and returns the page with what was found.
func (w *world) check(pairs ...string) string {
	w.t.Helper()
	a := w.do(http.MethodPost, "/checks", form(pairs...))
	if a.status != http.StatusOK {
		w.t.Fatalf("a check is answered %d\n%s", a.status, a.body)
	}
	return a.body
}

func (w *world) checker() *check.Checker {
	w.t.Helper()
	env := w.Stack.Settings()
	env["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1"
	getenv := func(name string) string { return env[name] }
	settings, err := config.FromEnvironment(getenv)
	must(w.t, err)
	secrets, store, log := cipp.DevSecrets(w.account), cipptest.Store(w.account), slog.New(slog.DiscardHandler)
	reader := m365test.Reader(w.t, m365sim.Endpoints{Graph: env["GRAPH_ENDPOINT"], Login: env["LOGIN_ENDPOINT"], Exchange: env["EXCHANGE_ENDPOINT"]}, m365.Deps{Credentials: secrets, Log: log})
	return check.New(check.Deps{
		Getenv: getenv, Settings: settings, Own: w.account, CIPP: store, Secrets: secrets, Graph: reader,
		Engine:   &engine.Hold{CIPP: store, Runs: w.console.Runs, Problems: &problems.Book{Table: w.table, Log: store.Log}, Table: w.table, Queue: w.syncs, Now: time.Now, Log: log},
		NinjaOne: w.console.Settings.NinjaOne, Runs: w.console.Runs, Transport: http.DefaultTransport, Now: time.Now,
		Compliance: func(context.Context) (map[string]assignments.Status, error) { return nil, nil },
	})
}

// fixedChecker tells of a deployment of many tenants.
type fixedChecker struct {
	asked   []check.Options
	started chan struct{}
	end     chan struct{}
}

func (f *fixedChecker) Run(_ context.Context, o check.Options) (*check.Report, error) {
	f.asked = append(f.asked, o)
	if f.started != nil {
		close(f.started)
		<-f.end
	}
	return &check.Report{Mapped: 250, Sections: []check.Section{{Name: "tenants", Title: "<b>Tenants</b>", Findings: []check.Finding{
		{Level: check.Problem, What: `<script>alert(1)</script>`, Tenants: make([]string, 11)}}}}}, nil
}

// TestChecksOfMany: a thousand tenants are looked at a page at a time, and what
// is found is text.
func TestChecksOfMany(t *testing.T) {
	w := newWorld(t)
	fixed := &fixedChecker{}
	w.console.Check = fixed
	page := w.check("page", "2")
	w.has(page, "Page 2 of 3", `name="page" value="1"`, `name="page" value="3"`, "11 tenants", "&lt;script&gt;alert(1)", "&lt;b&gt;Tenants")
	if want := (check.Options{From: 100, Tenants: 100}); len(fixed.asked) != 1 || fixed.asked[0] != want {
		t.Errorf("asked for %+v, want %+v", fixed.asked, want)
	}
	w.header.Set("Sec-Fetch-Site", "cross-site")
	if a := w.do(http.MethodPost, "/checks", nil); a.status != http.StatusForbidden || len(fixed.asked) != 1 {
		t.Errorf("another site's form is answered %d, and %d checks were made", a.status, len(fixed.asked))
	}
}

// TestOneCheckAtATime: a second person is asked to wait.
func TestOneCheckAtATime(t *testing.T) {
	w := newWorld(t)
	fixed := &fixedChecker{started: make(chan struct{}), end: make(chan struct{})}
	w.console.Check = fixed
	done := make(chan answer, 1)
	go func() { done <- w.do(http.MethodPost, "/checks", nil) }()
	<-fixed.started
	w.has(w.refused("/checks"), "check is under way")
	close(fixed.end)
	if a := <-done; a.status != http.StatusOK {
		t.Errorf("the first check ended as %d", a.status)
	}
}
