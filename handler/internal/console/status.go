package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/words"
)

// rowsPerPage bounds a table.
const rowsPerPage = 100

// statusRow is one tenant on the status page.
type statusRow struct {
	roster.Tenant
	Name      string
	State     chip
	Duration  string
	Written   string
	Devices   string
	Problems  []problems.Problem
	Next      turn
	Busy      bool
	Fresh     time.Time // since when NinjaOne shows the tenant as it is; zero where that is not known
	Change    string    // what was found to have changed last, and what becomes of it
	Found     time.Time // when
	Unwatched string    // why changes are not found at present; "" where they are
}

// turn is when the schedule syncs a tenant next: a word, or a time.
type turn struct {
	Text string
	At   time.Time
}

type statusPage struct {
	Rows     []statusRow
	Counts   []count
	Search   string
	Show     string
	Shows    []option
	Pager    pager
	Failed   poison.List // messages that failed too often
	Set      bool        // NinjaOne was set up in CIPP
	Enabled  bool
	Given    bool     // CIPP's own engine does the syncs
	Stopped  []string // timers whose work heartbeats do
	Advice   string   // what to do about them
	AllOff   bool     // the schedule is paused for everyone
	Unmapped int
	Live     bool // something is queued or runs
	Pace     pace
}

// pace is how many calls NinjaOne takes.
type pace struct {
	Now, Max   string    // calls a second; Now is "" where nothing is set up
	TurnedAway time.Time // zero: never
}

type count struct {
	Label string
	N     int
}

type option struct {
	Value, Label string
	Selected     bool
}

// options marks the one that is chosen.
func options(chosen string, pairs ...string) []option {
	var list []option
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, option{pairs[i], pairs[i+1], pairs[i] == chosen})
	}
	return list
}

func (c *Console) status(x *exchange) error { return c.showStatus(x, "") }

// facts are what the status page shows, as read from storage.
type facts struct {
	config  cipp.ExtensionConfig
	roster  roster.Roster
	given   bool // the syncs were given back to CIPP
	updates map[string]assignments.Status
	failed  poison.List
	stopped []string
	lights  map[string]runs.Light
	watched map[string]changes.State
}

func (c *Console) facts(ctx context.Context) (f facts, err error) {
	all, ctx := errgroup.WithContext(ctx)
	roster.Gather(ctx, all, c.CIPP.NinjaOneConfig, &f.config)
	roster.Gather(ctx, all, func(ctx context.Context) (roster.Roster, error) { return roster.Read(ctx, c.CIPP, c.Runs) }, &f.roster)
	roster.Gather(ctx, all, c.Engine.GivenBack, &f.given)
	roster.Gather(ctx, all, c.Compliance, &f.updates)
	roster.Gather(ctx, all, c.Poison.List, &f.failed)
	roster.Gather(ctx, all, c.Timers, &f.stopped)
	roster.Gather(ctx, all, c.Runs.Lights, &f.lights)
	roster.Gather(ctx, all, c.Watched, &f.watched)
	return f, all.Wait()
}

func (c *Console) showStatus(x *exchange, problem string) error {
	f, err := c.facts(x.ctx())
	if err != nil {
		return err
	}
	p := statusPage{
		Search: x.value("q"), Show: x.value("show"), Failed: f.failed, Set: f.config.Configured, Enabled: f.config.Enabled,
		Unmapped: f.roster.Unmapped, AllOff: f.roster.Pauses[runs.Everyone], Given: f.given, Stopped: f.stopped, Advice: heartbeat.Advice,
	}
	if f.config.Configured {
		view, err := c.Pace(x.ctx(), f.config)
		if err != nil {
			return err
		}
		p.Pace = pace{perSecond(view.Now), perSecond(view.Max), view.TurnedAway}
	}
	p.Shows = options(p.Show, "", "All tenants", "problems", "With problems", "failed", "Failed", "busy", "Running or waiting", "paused", "Paused")
	counts := map[string]int{}
	for _, t := range f.roster.Tenants {
		row, kind := c.rowOf(f, t)
		p.Live = p.Live || row.Busy
		counts[kind]++
		if len(row.Problems) > 0 {
			counts["problems"]++
		}
		if row.Paused {
			counts["paused"]++
		}
		if !contains(p.Search, t.DisplayName, t.DefaultDomain, t.ID, t.Mapping.OrganizationName) ||
			(p.Show == "problems" && len(row.Problems) == 0) || (p.Show == "paused" && !row.Paused) ||
			((p.Show == "failed" || p.Show == "busy") && kind != p.Show) {
			continue
		}
		p.Rows = append(p.Rows, row)
	}
	byName(p.Rows, func(r statusRow) string { return r.Name })
	p.Counts = []count{
		{"in sync", counts["good"]}, {"failed", counts["failed"]}, {"with problems", counts["problems"]},
		{"running or waiting", counts["busy"]}, {"never synced", counts["never"]}, {"paused", counts["paused"]},
	}
	p.Rows, p.Pager = paged(x, p.Rows)
	return c.show(x, "status", "Status", problem, p)
}

// rowOf is the row of a mapped tenant, and the kind of its state.
func (c *Console) rowOf(f facts, t roster.Tenant) (row statusRow, kind string) {
	now, run := c.Now(), t.Run
	row = statusRow{Tenant: t, Name: tenantName(t.Tenant), Problems: run.Problems}
	for _, trouble := range f.updates[t.ID].Trouble(now) {
		row.Problems = append(slices.Clip(row.Problems), problems.Problem{Message: trouble})
	}
	light, state := f.lights[t.ID], f.watched[t.ID]
	row.Fresh, row.Found, row.Unwatched = changes.Fresh(run, light, state), state.FoundAt, state.Problem
	row.Change = changeOf(light, state, now)
	row.State, kind = stateOf(run)
	row.Busy = kind == "busy"
	row.Next = nextOf(t, f, now)
	if !run.Start.IsZero() {
		row.Duration = durationOf(run, now)
		if run.Status != runs.Running || run.OrganizationFields+run.Devices+run.Documents > 0 {
			row.Written, row.Devices = writtenOf(run)
		}
	}
	return row, kind
}

// changeOf words what the last look with changes found, and what becomes of it.
func changeOf(light runs.Light, s changes.State, now time.Time) string {
	if s.Found == "" {
		return ""
	}
	text := "Changed: " + s.Found
	switch written := light.OrganizationFields + light.Devices + light.Documents; {
	case s.Due.After(now):
		text += fmt.Sprintf(", to be shown in %s", plural(int(s.Due.Sub(now).Minutes())+1, "minute", "minutes"))
		if s.Damped {
			text += ", since the tenant changes all the time"
		}
	case light.Status == runs.Failed:
		text += ", not shown yet: " + words.End(light.Reason)
	case light.Status == "" || light.Status == runs.Running || light.Start.Before(s.FoundAt):
		text += ", on its way"
	case written == 0:
		text += ", nothing that NinjaOne shows"
	default:
		text += ", shown"
	}
	return text
}

// stateOf words how a run ended, and sorts it into a kind.
func stateOf(run runs.Run) (chip, string) {
	switch {
	case run.Queued.After(run.Start):
		return chipOf("busy", "Waiting"), "busy"
	case run.Start.IsZero():
		return chipOf("off", "Never synced"), "never"
	case run.Status == runs.Running:
		return chipOf("busy", "Running"), "busy"
	case run.Status == runs.Failed:
		return chipOf("bad", "Failed"), "failed"
	case len(run.Problems) > 0:
		return chipOf("warn", "In sync, with problems"), "good"
	}
	return chipOf("good", "In sync"), "good"
}

// nextOf says when the schedule syncs a tenant next.
func nextOf(t roster.Tenant, f facts, now time.Time) turn {
	switch {
	case f.given:
		return turn{Text: "By CIPP"}
	case !f.config.Enabled:
		return turn{Text: "Turned off"}
	case t.Paused:
		return turn{Text: "Paused"}
	}
	next := schedule.Next(t.ID, t.Run, now)
	if next.IsZero() {
		return turn{Text: "Under way"}
	}
	return turnAt(next, now)
}

// turnAt is the turn of a time. The schedule looks every 15 minutes.
func turnAt(next, now time.Time) turn {
	if !next.After(now) {
		return turn{Text: "Within 15 minutes"}
	}
	return turn{At: next}
}

func writtenOf(run runs.Run) (written, devices string) {
	written = plural(run.OrganizationFields, "organization field", "organization fields") + ", " + plural(run.Devices, "device", "devices")
	if run.Documents > 0 {
		written += ", " + plural(run.Documents, "document", "documents")
	}
	written += fmt.Sprintf(" written; %d already up to date", run.Unchanged)
	return written, fmt.Sprintf("%d matched, %d only in Intune, %d only in NinjaOne", run.Matched, run.IntuneOnly, run.NinjaOnly)
}

func durationOf(run runs.Run, now time.Time) string {
	end := run.End
	if end.Before(run.Start) {
		if run.Status != runs.Running {
			return ""
		}
		return "for " + now.Sub(run.Start).Round(time.Second).String()
	}
	return "took " + end.Sub(run.Start).Round(time.Second).String()
}

// contains reports whether one of the texts contains what is searched for.
func contains(search string, texts ...string) bool {
	search = strings.ToLower(search)
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), search) })
}

// syncNow asks for the sync of one tenant or of all.
func (c *Console) syncNow(x *exchange) error {
	id := x.value("tenant")
	notice := "synced"
	if id == "all" {
		id, notice = "", "syncedall"
	} else if guid.Parse(id) == "" {
		return c.showStatus(x, "Nothing was asked for: choose a tenant.")
	}
	if _, err := c.Settings.SyncNow(x.ctx(), id); err != nil {
		return c.showStatus(x, words.Sentence(err.Error()))
	}
	c.audit(x, "a sync was asked for on the console", "tenant", id)
	return x.done("", notice, 0, "q", x.value("q"), "show", x.value("show"))
}

// pause pauses or resumes one tenant or everyone.
func (c *Console) pause(x *exchange) error {
	id, paused := strings.ToLower(x.value("tenant")), x.value("paused") == "true"
	entry := cipp.LogEntry{API: cipp.LogbookSync}
	notice := map[bool]string{true: "paused", false: "resumed"}[paused]
	if id == runs.Everyone {
		notice += "all"
		entry.Message = map[bool]string{true: "The schedule was paused for all tenants.", false: "The schedule was resumed for all tenants."}[paused]
	} else {
		t, err := c.CIPP.Tenant(x.ctx(), id)
		if err != nil {
			return c.showStatus(x, "Nothing was changed: CIPP knows no such tenant.")
		}
		entry.Tenant, entry.TenantID = t.DefaultDomain, t.ID
		entry.Message = map[bool]string{true: "The tenant was paused: the schedule leaves it out.", false: "The tenant was resumed."}[paused]
	}
	if err := c.Runs.Pause(x.ctx(), id, paused); err != nil {
		return err
	}
	c.audit(x, "a pause was changed on the console", "tenant", id, "paused", paused)
	c.CIPP.Note(x.ctx(), entry)
	return x.done("", notice, 0, "q", x.value("q"), "show", x.value("show"))
}

// perSecond is a rate with as many digits as say something.
func perSecond(rate float64) string {
	if rate < 10 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", rate), ".0")
	}
	return fmt.Sprintf("%.0f", rate)
}
