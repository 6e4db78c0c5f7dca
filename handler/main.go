// Command handler is the custom handler that the Functions host starts. It
// only wires the packages below internal; what they do is theirs.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/console"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// logbookName is the API name in CIPP's logbook of what a queue function does.
var logbookName = map[string]string{
	"SyncTenant": "NinjaOneSync",
	"Automap":    "NinjaOneAutoMap_Queue",
	"Heartbeat":  "NinjaOneSync",

	"UpdateCompliance": compliance.LogbookName,
}

// main runs a command for an engineer, or serves the host. Serving ends with a
// status other than 0 in every case: the host restarts a handler that failed,
// and leaves one dead that exited with 0.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(os.Args) > 1 {
		err := command(ctx, os.Args[1:], os.Getenv, os.Stdout)
		if err != nil && !errors.Is(err, errFindings) { // findings are on stdout
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(statusOf(os.Args[1:], err))
	}
	err := serve(ctx, os.Getenv)
	tellEnd(os.Stdout, os.Stderr, err)
	os.Exit(1)
}

// tellEnd writes why the process ends. The host shows stdout as information
// alone, and its own error names just the exit code, so what stops the app is
// written to stderr too, as one line.
func tellEnd(out, errOut io.Writer, err error) {
	log := customhandler.NewLogger(out, slog.LevelInfo)
	if errors.Is(err, customhandler.ErrStopped) {
		log.Info("the handler was told to stop")
		return
	}
	log.Error("the handler cannot run", "error", err)
	fmt.Fprintln(errOut, "the handler cannot run:", strings.Join(strings.Fields(err.Error()), " "))
}

// telemetryRest is how long the end of the process waits for telemetry that has
// not been sent yet.
const telemetryRest = 2 * time.Second

// gcPercent lets the heap grow by half before it is collected, in place of
// doubling: a process that waits for services has time to collect, and a large
// tenant is to fit into a small instance.
const gcPercent = 50

// serve answers the host until ctx ends. It reads nothing from any service
// before it listens, since the host waits only so long.
func serve(ctx context.Context, getenv func(string) string) error {
	a, err := open(getenv, os.Stdout, slog.LevelDebug)
	if err != nil {
		return err
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	server := customhandler.New(customhandler.Config{Logger: a.log, Telemetry: a.telemetry, OnBadMessage: a.badMessage, Admit: a.admit})
	failed := a.poisoned()
	alarms := a.alarms(failed)
	a.timer(server, getenv, "ScheduleTenants", func(ctx context.Context) error {
		before := errors.Join(alarms.Look(ctx), a.untold.Tick(ctx), failed.Tell(ctx), a.hold.Tick(ctx))
		given, err := a.hold.GivenBack(ctx)
		if err != nil || given {
			return errors.Join(before, err)
		}
		return errors.Join(before, a.scheduler.Tick(ctx), a.syncer.ForgetUnmapped(ctx))
	})
	keeper := a.watch(server, getenv)
	long := customhandler.WithTimeout(invocationTime(a.config))
	queue(a, server, "SyncTenant", syncMessage, a.untold.Watch(a.unlessUnasked(andWatch(keeper, paced(a.syncPace, a.syncQueue, a.syncer.Run)))), long)
	queue(a, server, "Automap", func(q customhandler.QueueMessage) (automap.Message, error) { return automap.ParseMessage(q.Text) }, paced(a.syncPace, a.own.Queue(automap.QueueName), a.mapper.Run), long)

	queue(a, server, heartbeat.FunctionName, func(customhandler.QueueMessage) (struct{}, error) { return struct{}{}, nil },
		func(ctx context.Context, _ struct{}) error { return a.heart.Beat(ctx) }, long)

	who := access.FromEnvironment(getenv)
	who.Logger, who.Ready = a.log, a.layout.Check
	guard := access.New(who)
	web := settings.New(settings.Deps{
		CIPP:     a.cipp,
		Secrets:  a.secrets,
		Guard:    guard,
		NinjaOne: clientOf(a.interactive),
		Connect:  a.ninjaOne,
		Sync:     a.syncQueue,
		Automap:  a.mapper.Queue,
		Runs:     a.runs,
		Log:      a.log,
	})
	for _, f := range web.Functions() {
		server.HTTP(f.Name, f.Route, f.Handler)
	}

	preview := *a.syncer
	preview.NinjaOne = clientOf(a.interactive)
	server.HTTP(console.FunctionName, console.Route, console.New(console.Deps{
		CIPP:     a.cipp,
		Secrets:  a.secrets,
		Guard:    guard,
		Settings: web,
		NinjaOne: clientOf(a.interactive),
		Preview:  &preview,
		Ledger:   a.ledger,
		Runs:     a.runs,
		Blobs:    a.blobs,
		Brakes:   ledger.NewDocuments(a.table),
		Engine:   a.hold,
		Poison:   failed,
		Check:    a.checker(getenv),
		Timers:   a.heart.InPlace,
		Compliance: func(ctx context.Context) (map[string]compliance.Status, error) {
			return compliance.Statuses(ctx, a.own.Table(compliance.TableName))
		},
		Log: a.log,
	}))

	listener, err := customhandler.Listen(a.config.Port)
	if err != nil {
		return err
	}
	go a.ensureHeartbeat(ctx)
	if path := guard.Address("/api/ninjaone/console/"); path != "" && who.DevToken == "" {
		a.log.Info("nobody logs people in on this machine: open the console with the token of this start",
			"address", "http://"+cmp.Or(getenv("WEBSITE_HOSTNAME"), "localhost:7071")+path)
	}
	a.log.Info("listening", "version", version, "address", listener.Addr().String(), "functions", server.Functions())
	err = server.Serve(ctx, listener)
	// The platform kills the process soon after.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryRest)
	defer cancel()
	a.telemetry.Stop(rest)
	return err
}

// queue registers a queue function. A message that cannot be parsed can never
// be handled, so it is dropped and told in the logbook. One that meets what a
// newer handler wrote is put back.
func queue[M any](a *app, server *customhandler.Server, name string, parse func(customhandler.QueueMessage) (M, error), run func(context.Context, M) error, options ...customhandler.Option) {
	server.Queue(name, func(ctx context.Context, q customhandler.QueueMessage) error {
		m, err := parse(q)
		if err != nil {
			return customhandler.BadMessage(err.Error())
		}
		ctx, release := reply.Keeping(ctx)
		defer release()
		return a.layout.PutBack(ctx, a.own.Queue(queueOf[name]), q.Text, run(ctx, m))
	}, options...)
}

// syncMessage parses a message of SyncTenant. One that was delivered before may
// have left its run without an end, so it is never taken for needless.
func syncMessage(q customhandler.QueueMessage) (tenantsync.Message, error) {
	m, err := tenantsync.ParseMessage(q.Text)
	if q.DequeueCount == 1 {
		m.Sent = q.Inserted
	}
	return m, err
}

// unlessUnasked leaves out the syncs that were queued before CIPP's own engine
// was given back. One that somebody asks for still runs.
func (a *app) unlessUnasked(run func(context.Context, tenantsync.Message) error) func(context.Context, tenantsync.Message) error {
	return func(ctx context.Context, m tenantsync.Message) error {
		given, err := a.hold.GivenBack(ctx)
		switch {
		case err != nil:
			return err
		case given && !m.Force:
			return a.runs.Unqueue(ctx, m.TenantID)
		}
		return run(ctx, m)
	}
}

// badMessage tells the logbook of a message that was dropped.
func (a *app) badMessage(ctx context.Context, function, reason string) {
	err := a.cipp.Log(ctx, cipp.LogEntry{API: logbookName[function], Severity: cipp.SeverityError,
		Message: "A message for " + function + " was dropped, because " + reason + ". Nothing was done for it."})
	if err != nil {
		a.log.ErrorContext(ctx, "the logbook cannot be written", "error", err)
	}
}

// invocationTime is how long an invocation of a long function may last: a
// little longer than the run itself, which ends on its own, and never so long
// that the host would kill the process.
func invocationTime(s config.Settings) time.Duration {
	limit := runTime(s) + slotWait + time.Minute
	if s.FunctionTimeout > 0 {
		limit = min(limit, s.FunctionTimeout-30*time.Second)
	}
	return limit
}

// runTime is how long a run may take: what is set, and never so long that the
// invocation ends before the run has waited for its slot and noted its end.
func runTime(s config.Settings) time.Duration {
	if s.FunctionTimeout == 0 {
		return s.SyncTimeBudget
	}
	return min(s.SyncTimeBudget, max(s.FunctionTimeout-2*time.Minute, s.FunctionTimeout/2))
}
