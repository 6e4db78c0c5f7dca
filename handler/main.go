// Command handler is the custom handler that the Functions host starts. It starts the app
// and runs commands. What the app does is in the packages below internal, which app.go
// puts together.
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
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/customhandler"
)

// main runs a command for an engineer, or serves the host. Serving ends with a status
// other than 0 in every case. The host restarts a handler that failed, and leaves one
// dead that exited with 0.
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

// tellEnd writes why the process ends. The host shows stdout as information alone, and
// its own error names just the exit code. So tellEnd writes what stops the app to stderr
// too, as one line.
func tellEnd(out, errOut io.Writer, err error) {
	log := customhandler.NewLogger(out, slog.LevelInfo)
	if errors.Is(err, customhandler.ErrStopped) {
		log.Info("the handler was told to stop")
		return
	}
	log.Error("the handler cannot run", "error", err)
	fmt.Fprintln(errOut, "the handler cannot run:", strings.Join(strings.Fields(err.Error()), " "))
}

const (
	// telemetryRest is how long the end of the process waits for telemetry that
	// has not been sent yet.
	telemetryRest = 2 * time.Second
	// startTimeout bounds what a process does at its start beside its work.
	startTimeout = 30 * time.Second
	// gcPercent lets the heap grow by half before a collection, in place of doubling. A
	// process that waits for services has time to collect, and a large tenant must fit a
	// small instance.
	gcPercent = 50
	// gcFloor is memory that nobody touches, so that the system never provides it. The
	// collector counts it, and so lets the heap grow by at least half of it, in bytes.
	// With a collection every few MiB, small tenants cost a third more processor time.
	gcFloor = 64 << 20
)

// serve answers the host until ctx ends. It reads nothing from any service
// before it listens, since the host waits only so long.
func serve(ctx context.Context, getenv func(string) string) error {
	a, err := open(getenv, os.Stdout, slog.LevelDebug)
	if err != nil {
		return err
	}
	if getenv("GOGC") == "" {
		floor := make([]byte, gcFloor)
		defer runtime.KeepAlive(floor)
		debug.SetGCPercent(gcPercent)
	}
	guard := access.New(access.Deps{Config: access.FromEnvironment(getenv), Log: a.log, Ready: a.layout.Check})
	server := a.server(getenv, guard)
	listener, err := customhandler.Listen(a.config.Port)
	if err != nil {
		return err
	}
	go a.atStart(ctx, "no heartbeat was queued at the start; the next timer queues one", a.heart.Ensure)
	go a.atStart(ctx, "NinjaOne's pace was not read at the start; the first call reads it", a.readPace)
	if path := guard.Address("/api/ninjaone/console/"); path != "" && guard.DevToken == "" {
		a.log.Info("nobody logs people in on this machine: open the console with the token of this start",
			"address", "http://"+cmp.Or(getenv("WEBSITE_HOSTNAME"), "localhost:7071")+path)
	}
	a.log.Info("listening", "version", version, "address", listener.Addr().String(), "functions", server.Functions())
	err = server.Serve(ctx, listener)
	for _, p := range a.pacers {
		p.Close()
	}
	// The platform kills the process soon after.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryRest)
	defer cancel()
	a.telemetry.Stop(rest)
	return err
}

// atStart does what a process does at its start beside its work, and logs when it failed.
func (a *app) atStart(ctx context.Context, failed string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := do(ctx); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, failed, "error", err)
	}
}

// readPace reads how many calls NinjaOne takes.
func (a *app) readPace(ctx context.Context) error {
	c, err := a.cipp.NinjaOneConfig(ctx)
	if err == nil && c.Configured {
		_, err = a.clientOf(a.interactive)(c)
	}
	return err
}
