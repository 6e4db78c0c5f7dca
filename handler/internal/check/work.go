package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/words"
)

// work looks at what should have been done by now.
func (p *part) work(ctx context.Context) {
	p.poison(ctx)
	p.timers(ctx)
	if p.unreadable() {
		return
	}
	standing, err := p.d.Engine.Standing(ctx)
	if err != nil {
		p.failed(ctx, err, "It is not known what should have been synced.", "Look at the sections on storage.")
		return
	}
	all, err := roster.Read(ctx, p.d.CIPP, p.d.Runs)
	if err != nil {
		p.failed(ctx, err, "It is not known how the syncs went, nor which tenants are paused.", "Look at the section on the app's own storage.")
		return
	}
	updates, err := p.d.Compliance(ctx)
	if err != nil {
		p.failed(ctx, err, "It is not known how the compliance updates go.", "Look at the section on the app's own storage.")
		return
	}
	now, paused := p.d.Now(), 0
	for _, t := range all.Tenants {
		if p.o.Tenant != "" && !t.Named(p.o.Tenant) {
			continue
		}
		if t.Paused {
			paused++
			continue
		}
		if p.world.config.Enabled && !standing.Given {
			p.run(t.DefaultDomain, t.Run, now)
		}
		for _, problem := range t.Run.Problems {
			if !problem.Notice {
				p.problem(words.Sentence("At the last sync: "+problem.Message), "The rest of the tenant is synced.", "", t.DefaultDomain)
			}
		}
		for _, trouble := range updates[t.ID].Trouble(now) {
			p.problem(words.Sentence(trouble), "Compliance changes reach NinjaOne late, or with the daily sync only.", "", t.DefaultDomain)
		}
	}
	p.Checked = fmt.Sprintf("poison queues, timers, and the runs of %d mapped tenants (%d paused)", len(all.Tenants), paused)
}

// silence is how long nothing may have run: four times of the quickest timer, and
// of heartbeats.
const silence = time.Hour

// timers looks at whether the app's functions run at all.
func (p *part) timers(ctx context.Context) {
	last, stopped, err := heartbeat.Fired(ctx, p.d.Own.Table(layout.TableName))
	if err != nil {
		p.failed(ctx, err, "It is not known whether the app's functions run.", "Look at the section on the app's own storage.")
		return
	}
	const meaning = "Nothing is synced or scheduled: the package is not published, or the host cannot start the handler."
	const action = "Look at Troubleshooting in the guide (deploy/README.md): publishing that ends with 403 or 503, no function listed, \"permission denied\" for the handler, a handler that ended with exit code 1."
	var newest time.Time
	for _, at := range last {
		if at.After(newest) {
			newest = at
		}
	}
	switch {
	case len(last) == 0:
		p.problem("No function of the app has run yet.", meaning, action)
	case p.d.Now().Sub(newest) > silence:
		p.problem("No function of the app has run since "+newest.UTC().Format("2006-01-02 at 15:04 UTC")+".", meaning, action)
	case len(stopped) > 0:
		slices.Sort(stopped)
		p.problem("Timers no longer fire: "+strings.Join(stopped, ", ")+".", "Known on Flex Consumption after a deployment. Heartbeats do their work, some minutes late.", heartbeat.Advice)
	}
}

// run looks at a tenant's last run.
func (p *part) run(domain string, run runs.Run, now time.Time) {
	const look = "Look at the tenant's lines in CIPP's logbook, or sync it now on the console."
	switch {
	case run.Status == runs.Failed:
		p.problem("The tenant's last sync failed: "+words.Sentence(run.Reason), "NinjaOne shows what was true before.", "It is tried again by itself; "+look, domain)
	case run.Start.IsZero() && run.Queued.IsZero():
		p.notice("The tenant was never synced.", "Nothing of it is in NinjaOne yet.", "It is queued within a quarter of an hour after it was mapped, if the function ScheduleTenants runs.", domain)
	case !run.LastSuccess.IsZero() && now.Sub(run.LastSuccess) > alarm.Overdue:
		p.problem("The tenant was not synced for more than 26 hours.", "NinjaOne shows old data.",
			"Check that the functions ScheduleTenants and SyncTenant run, and how long the queue is. The console shows NinjaOne's pace. Where it stays at NINJAONE_RATE_MAX, a larger one may help. "+look, domain)
	case run.LastSuccess.IsZero() && run.End.IsZero() && !run.Queued.IsZero() && now.Sub(run.Queued) > alarm.Overdue:
		p.problem("The tenant was queued more than 26 hours ago, and never synced.", "Nothing of it is in NinjaOne yet.", "Check that the function SyncTenant runs. "+look, domain)
	}
}

// poison looks for messages that the host gave up.
func (p *part) poison(ctx context.Context) {
	for _, name := range p.d.Queues {
		n, err := p.d.Own.Queue(name + poison.Suffix).Length(ctx)
		if err != nil {
			p.failed(ctx, err, "It is not known whether messages were given up.", "Look at the section on the app's own storage.")
			return
		}
		if n > 0 {
			p.problem(fmt.Sprintf("The queue %s holds messages: %d.", name+poison.Suffix, n), "The host gave them up after five tries, so what they asked for was not done.",
				"Look at CIPP's logbook for the reason, then put them back or remove them on the console's status page.")
		}
	}
}
