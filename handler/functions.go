package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/console"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
)

// timerFunction is a function with a timer trigger.
type timerFunction struct {
	name  string
	every time.Duration // as the schedule in its function.json says
	time  time.Duration // of one invocation; 0 is customhandler's
	run   func(context.Context) error
}

func (a *app) timerFunctions() []timerFunction {
	long := invocationTime(a.config)
	return []timerFunction{
		{"ScheduleTenants", 15 * time.Minute, 0, a.scheduleTenants},
		{"SweepCompliance", 15 * time.Minute, 0, a.compliance.QueueSweeps},
		{"RenewSubscriptions", time.Hour, long, a.keeper.Reconcile},
		{"WatchTenants", time.Minute, 0, a.watcher.Tick},
	}
}

// queueFunction is a function with a queue trigger.
type queueFunction struct {
	name     string
	queue    string
	logbook  string        // name of its lines in CIPP's logbook
	patience time.Duration // how long a message waits at most before an alarm is raised
	run      func(context.Context, customhandler.QueueMessage) error
	failed   poison.Source // what to say of messages that failed too often
}

// A sync or an automap may wait behind the first syncs of very many tenants. An update of
// compliance waits behind nothing but others of its kind.
const (
	syncPatience       = 12 * time.Hour
	compliancePatience = time.Hour
)

func (a *app) queueFunctions() []queueFunction {
	return []queueFunction{
		{"SyncTenant", tenantsync.QueueName, cipp.LogbookSync, syncPatience,
			parsed(syncMessage, chain(a.syncer.Run, keeping, a.untold.Watch, a.unlessGivenBack, paced[tenantsync.Message](a.syncPace, a.syncQueue))),
			poison.Source{
				One:  "The sync of %s was not done.",
				All:  "A sync was not done.",
				Then: "The schedule syncs the tenant again at its next turn, unless it is paused. To sync it sooner, put the message back. Where it is paused, press Sync now.",
				Why:  a.untold.Why, Queued: a.runs.MarkQueued,
			}},
		{"Automap", automap.QueueName, cipp.LogbookAutomap, syncPatience,
			parsed(text(automap.ParseMessage), chain(a.mapper.Run, keeping, paced[automap.Message](a.syncPace, a.own.Queue(automap.QueueName)))),
			poison.Source{
				One:  "The search for the NinjaOne organization of %s was not done.",
				All:  "The search for NinjaOne organizations was not finished.",
				Then: "It is not done again by itself. Put the message back, or start the search again on the console under Organizations.",
			}},
		{"UpdateCompliance", notify.QueueName, cipp.LogbookCompliance, compliancePatience, a.updateCompliance,
			poison.Source{
				One:  "An update of device compliance of %s was not done.",
				All:  "An update of device compliance was not done.",
				Then: "The next sweep of the tenant, every 15 minutes unless set otherwise, finds the same change. To have it sooner, put the message back.",
			}},
		{vulnerabilities.FunctionName, vulnerabilities.QueueName, cipp.LogbookSync, syncPatience,
			parsed(text(vulnerabilities.ParseMessage), chain(a.vulnerabilities.Run, keeping, paced[vulnerabilities.Message](a.syncPace, a.own.Queue(vulnerabilities.QueueName)))),
			poison.Source{
				One:  "The upload of the vulnerabilities of %s was not done.",
				All:  "An upload of vulnerabilities was not done.",
				Then: "The schedule uploads them at the tenant's next turn, within a day. To have it sooner, put the message back or press Upload now on the console.",
			}},
		{"WatchTenant", changes.QueueName, cipp.LogbookSync, compliancePatience,
			parsed(text(changes.ParseMessage), chain(a.watcher.Look, keeping)),
			poison.Source{
				One:  "A look for changes of %s was not taken.",
				All:  "A look for changes was not taken.",
				Then: "The tenant is looked at again within the hour, and that look finds the same changes. This one can be removed.",
			}},
		{heartbeat.FunctionName, heartbeat.QueueName, cipp.LogbookSync, syncPatience,
			keeping(func(ctx context.Context, _ customhandler.QueueMessage) error { return a.heart.Beat(ctx) }),
			poison.Source{
				One:  "A look whether the timers still fire was not taken, for %s.",
				All:  "A look whether the timers still fire was not taken.",
				Then: "The next timer, or the next start of the app, queues another. This one can be removed.",
			}},
	}
}

// httpFunction is a function with an HTTP trigger.
type httpFunction struct {
	name, route string
	serve       http.Handler
}

func (a *app) httpFunctions(getenv func(string) string, guard *access.Guard) []httpFunction {
	web := a.settings(guard)
	functions := []httpFunction{
		{"ReceiveNotifications", notify.Route, a.receiver},
		{console.FunctionName, console.Route, a.console(getenv, guard, web)},
	}
	for name, handler := range web.Functions() {
		functions = append(functions, httpFunction{name, name, handler})
	}
	return functions
}

// maxBody is the largest request, in bytes.
const maxBody = 16 << 20

// server registers the functions.
func (a *app) server(getenv func(string) string, guard *access.Guard) *customhandler.Server {
	server := customhandler.New(customhandler.Deps{MaxBody: maxBody, Log: a.log, Telemetry: a.telemetry, OnBadMessage: a.badMessage, Admit: a.admit})
	a.registerTimers(server, getenv)
	for _, f := range a.queues {
		server.Queue(f.name, invocationTime(a.config), chain(f.run, a.putBackNewer(f.queue)))
	}
	for _, f := range a.httpFunctions(getenv, guard) {
		server.HTTP(f.name, f.route, f.serve)
	}
	return server
}

// registerTimers registers the timers. A heartbeat does the work of those that
// stop, but for those that an app setting turns off.
func (a *app) registerTimers(server *customhandler.Server, getenv func(string) string) {
	for _, f := range a.timerFunctions() {
		server.Timer(f.name, f.time, func(ctx context.Context) error {
			a.heart.Fired(ctx, f.name)
			return f.run(ctx)
		})
		if !heartbeat.TurnedOff(getenv, f.name) {
			a.heart.Timers = append(a.heart.Timers, heartbeat.Timer{Name: f.name, Every: f.every, Run: f.run})
		}
	}
}

// invocationTime is how long an invocation of a long function may last. It is a little
// longer than the run itself, which ends on its own. It ends before the host would kill
// the process.
func invocationTime(s config.Settings) time.Duration {
	limit := runTime(s) + slotWait + time.Minute
	if s.FunctionTimeout > 0 {
		limit = min(limit, s.FunctionTimeout-30*time.Second)
	}
	return limit
}

// runTime is how long a run may take: what is set, or less. The invocation must leave
// time for the run to wait for its slot and to note its end.
func runTime(s config.Settings) time.Duration {
	if s.FunctionTimeout == 0 {
		return s.SyncTimeBudget
	}
	return min(s.SyncTimeBudget, max(s.FunctionTimeout-2*time.Minute, s.FunctionTimeout/2))
}

// scheduleTenants looks at the queues and holds CIPP's own engine off. It queues what is
// due, unless that engine was given back.
func (a *app) scheduleTenants(ctx context.Context) error {
	before := errors.Join(a.alarms.Look(ctx), a.untold.Tick(ctx), a.poison.Tell(ctx), a.hold.Tick(ctx))
	given, err := a.hold.GivenBack(ctx)
	if err != nil || given {
		return errors.Join(before, err)
	}
	return errors.Join(before, a.scheduler.Tick(ctx), a.vulnerabilities.QueueDue(ctx), a.syncer.ForgetUnmapped(ctx), a.vulnerabilities.ForgetUnmapped(ctx))
}

// syncMessage parses a message of SyncTenant. One that the queue delivered before may
// have left its run without an end. So the sync never takes it for needless.
func syncMessage(q customhandler.QueueMessage) (tenantsync.Message, error) {
	m, err := tenantsync.ParseMessage(q.Text)
	if q.DequeueCount == 1 {
		m.Sent = q.Inserted
	}
	return m, err
}

// text has a message parsed by its text alone.
func text[M any](parse func([]byte) (M, error)) func(customhandler.QueueMessage) (M, error) {
	return func(q customhandler.QueueMessage) (M, error) { return parse(q.Text) }
}

// updateCompliance handles a message of UpdateCompliance.
func (a *app) updateCompliance(ctx context.Context, q customhandler.QueueMessage) error {
	return parsed(text(notify.ParseMessage), func(ctx context.Context, m notify.Message) error {
		return a.compliance.Update(ctx, m, q.DequeueCount)
	})(ctx, q)
}

// beginAutomap runs an automap that a person waits for.
func (a *app) beginAutomap(ctx context.Context, within time.Duration) (automap.Outcome, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	return a.mapper.Begin(ctx, within, a.clientOf(a.interactive))
}

// settings are CIPP's own names among the HTTP functions.
func (a *app) settings(guard *access.Guard) *settings.Handlers {
	return settings.New(settings.Deps{
		CIPP: a.cipp, Secrets: a.secrets, Guard: guard, NinjaOne: a.clientOf(a.interactive), Connect: a.ninjaOne,
		Sync: a.syncQueue, Automap: a.mapper.Queue, Begin: a.beginAutomap, Runs: a.runs, GivenBack: a.hold.GivenBack, Now: time.Now, Log: a.log,
	})
}
