// Package check tells what is wrong with a deployment before its users do. One pass looks
// at the app settings, the rights on storage, CIPP's tables and secrets, and the clock.
// It goes on with CIPP's own engine, NinjaOne and the public address. It ends with the
// tenants' consent and permissions, and the overdue work.
//
// It only looks. Nothing that it makes outlasts it (package storage's probes). It syncs,
// maps and repairs nothing, and no finding holds a secret or names a person. The package
// that knows a service finds out the facts. This one says what they mean for whoever runs
// the app, and what to do.
package check

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// Level is how much a finding matters.
type Level string

// The levels. Only a problem makes a deployment unhealthy.
const (
	Problem Level = "problem" // something does not work, or soon will not
	Notice  Level = "notice"  // as somebody wants it, or as it is for good
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Level   Level    `json:"level"`
	Tenants []string `json:"tenants,omitempty"` // default domains, or ids where CIPP knows none; none when it concerns all
	What    string   `json:"what"`
	Meaning string   `json:"meaning"` // for whoever runs the app
	Action  string   `json:"action"`  // what to do; "" when there is nothing to do
}

// Section is one part of the check.
type Section struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Checked  string    `json:"checked,omitempty"` // what was looked at
	Skipped  string    `json:"skipped,omitempty"` // why it, or the rest of it, was not looked at
	Findings []Finding `json:"findings"`
}

// Report is the outcome of a check.
type Report struct {
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Problems int       `json:"problems"`
	Notices  int       `json:"notices"`
	Mapped   int       `json:"mapped"` // tenants that are mapped and can be synced
	Sections []Section `json:"sections"`
}

// Deps are what a check works with.
type Deps struct {
	Getenv   func(string) string
	Settings config.Settings
	Own      *storage.Account // the app's own storage
	CIPP     *cipp.Store
	Secrets  *cipp.Secrets
	Graph    *m365.Reader
	Engine   *engine.Hold
	// NinjaOne returns the client for CIPP's present settings, paced for people.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	Runs     *runs.Store
	// Compliance returns how each tenant's compliance updates go, by tenant id.
	Compliance func(context.Context) (map[string]assignments.Status, error)
	// Assertion returns the token of the app's identity by which its login proves
	// itself; nil where there is none.
	Assertion func(context.Context) (string, error)
	Queues    []string          // whose poison queues are looked at
	Transport http.RoundTripper // for the public address and the clock
	Now       func() time.Time  // the local clock
}

// Options choose what to look at.
type Options struct {
	// Tenant, a GUID or a domain, is the one tenant to read as a whole. With "" the check
	// looks at the tokens of all mapped tenants.
	Tenant string
	// From and Tenants select so many mapped tenants (0 = all) after the first From, in
	// CIPP's order.
	From, Tenants int
}

// ErrNoTenant: no tenant of CIPP is the one that Options names.
var ErrNoTenant = errors.New("CIPP knows no such tenant")

const (
	// sectionTime bounds what has a fixed number of calls.
	sectionTime = 45 * time.Second
	// tenantTime bounds the look at one tenant's tokens.
	tenantTime = 30 * time.Second
	// tenantsAtOnce is how many tenants the check signs in to at the same time.
	tenantsAtOnce = 16
)

// Checker checks one deployment. It is safe for concurrent use.
type Checker struct {
	d      Deps
	client *http.Client // follows no redirect
}

// New returns a checker.
func New(d Deps) *Checker {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Checker{d, &http.Client{Transport: d.Transport, CheckRedirect: stay}}
}

// part is one section under way.
type part struct {
	Section
	*Checker
	world *world
	o     Options
}

// sections are all parts, in the order in which a person mends them.
var sections = []struct {
	name, title string
	limit       time.Duration // 0 = that of the whole check
	run         func(*part, context.Context)
}{
	{"settings", "App settings", sectionTime, func(p *part, _ context.Context) { p.settings() }},
	{"storage", "The app's own storage", sectionTime, (*part).storage},
	{"cipp", "CIPP's storage", sectionTime, (*part).cipp},
	{"secrets", "CIPP's secrets", sectionTime, (*part).secrets},
	{"clock", "Clock", sectionTime, (*part).clock},
	{"engine", "CIPP's own engine", sectionTime, (*part).engine},
	{"ninjaone", "NinjaOne", 2 * sectionTime, (*part).ninjaOne},
	{"address", "Public address", sectionTime, (*part).address},
	{"tenants", "Consent and permissions", 0, (*part).tenants},
	{"work", "Syncs and compliance updates", sectionTime, (*part).work},
}

// Run checks the deployment. An error means that there is nothing to check. It is
// ErrNoTenant, or the context's when it ended before any finding. A section that Run
// could not look at in time says so, which counts as a problem.
func (c *Checker) Run(ctx context.Context, o Options) (*Report, error) {
	r := &Report{Started: c.d.Now().UTC(), Sections: make([]Section, len(sections))}
	w := c.look(ctx)
	if o.Tenant != "" && w.err == nil {
		if _, ok := cipp.Named(w.tenants, o.Tenant); !ok {
			return nil, ErrNoTenant
		}
	}
	r.Mapped = len(w.mapped)
	var all sync.WaitGroup
	for i, s := range sections {
		all.Go(func() {
			p := &part{Section: Section{Name: s.name, Title: s.title, Findings: []Finding{}}, Checker: c, world: w, o: o}
			ctx := ctx
			if s.limit > 0 {
				bounded, cancel := context.WithTimeout(ctx, s.limit)
				defer cancel()
				ctx = bounded
			}
			s.run(p, ctx)
			r.Sections[i] = p.Section
		})
	}
	all.Wait()
	r.Ended = c.d.Now().UTC()
	r.count()
	return r, nil
}

// SettingsOnly is the report of a deployment whose settings keep everything
// else from being looked at. The error is that of config.FromEnvironment, or of
// what reads settings beside it.
func SettingsOnly(getenv func(string) string, err error, now time.Time) *Report {
	r := &Report{Started: now.UTC(), Ended: now.UTC()}
	for _, s := range sections {
		p := &part{Section: Section{Name: s.name, Title: s.title, Findings: []Finding{}}, Checker: New(Deps{Getenv: getenv})}
		if s.name == "settings" {
			p.settings()
			if len(p.Findings) == 0 {
				p.problem(words.Sentence(err.Error()), "The app does not start.", "Correct the setting.")
			}
		} else {
			p.Skipped = "the app settings need attention first"
		}
		r.Sections = append(r.Sections, p.Section)
	}
	r.count()
	return r
}

func (r *Report) count() {
	for _, s := range r.Sections {
		r.Problems += s.Problems()
		r.Notices += len(s.Findings) - s.Problems()
	}
}

func (s *Section) problem(what, meaning, action string, tenants ...string) {
	s.add(Finding{Problem, tenants, what, meaning, action})
}

func (s *Section) notice(what, meaning, action string, tenants ...string) {
	s.add(Finding{Notice, tenants, what, meaning, action})
}

// add notes a finding; it does not repeat the same of another tenant.
func (s *Section) add(f Finding) {
	for i, have := range s.Findings {
		if have.Level == f.Level && have.What == f.What && have.Meaning == f.Meaning && have.Action == f.Action {
			for _, t := range f.Tenants {
				if !slices.Contains(have.Tenants, t) {
					s.Findings[i].Tenants = append(s.Findings[i].Tenants, t)
				}
			}
			return
		}
	}
	s.Findings = append(s.Findings, f)
}

// failed notes that something could not be found out.
func (s *Section) failed(ctx context.Context, err error, meaning, action string) {
	if ctx.Err() != nil {
		s.late()
		return
	}
	s.problem(words.Sentence(err.Error()), meaning, action)
}

// late notes that the time was over.
func (s *Section) late() {
	s.problem("There was not enough time to look at all of this.", "What is not listed here may be wrong all the same: some service answers slowly, or not at all.",
		"Run the check again; if it stays so, look at what the other sections say.")
}

// world is what several sections need of CIPP.
type world struct {
	config   cipp.ExtensionConfig
	mappings cipp.Mappings
	tenants  []cipp.Tenant       // all, excluded ones too
	mapped   []cipp.MappedTenant // those that can be synced, in CIPP's order
	err      error               // why there is none of it
}

func (c *Checker) look(ctx context.Context) *world {
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	w := &world{}
	if w.config, w.err = c.d.CIPP.NinjaOneConfig(ctx); w.err != nil {
		return w
	}
	if w.mappings, w.err = c.d.CIPP.Mappings(ctx); w.err != nil {
		return w
	}
	w.tenants, w.err = c.d.CIPP.AllTenants(ctx)
	w.mapped, _ = cipp.Join(w.tenants, w.mappings.Organizations)
	return w
}

// unreadable notes that CIPP could not be read, which section cipp explains.
func (p *part) unreadable() bool {
	if p.world.err != nil {
		p.Skipped = "CIPP's tables cannot be read"
		return true
	}
	return false
}

// name is what a tenant is called in a finding.
func (w *world) name(id string) string {
	t, _ := cipp.Named(w.tenants, id)
	return cmp.Or(t.DefaultDomain, id)
}
