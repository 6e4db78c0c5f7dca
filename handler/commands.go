package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
)

const usage = `usage: handler [command], where the app settings are in the environment
  without a command   serve the Functions host
  give-back           let CIPP's own NinjaOne sync run again, and schedule no syncs here
  hold-off            hold CIPP's own NinjaOne sync off again, and sync in its place
  check               tell what is wrong with the deployment; changes nothing
      -tenant NAME    look at one tenant, by id or domain, and read it as a whole
      -json           write the report as JSON
    status 0: no problems; 1: problems were found; 2: nothing could be checked
  version             print the version of this handler`

// The linker sets version: see the Makefile.
var version = "development"

// command runs one command in place of serving the host, and says on out what
// was done.
func command(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 1 && args[0] == "version" {
		_, err := fmt.Fprintf(out, "cipp-ninjaone %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	if len(args) > 0 && args[0] == "check" {
		return checkCommand(ctx, args[1:], getenv, out)
	}
	if len(args) != 1 || args[0] != "give-back" && args[0] != "hold-off" {
		return errors.New(usage)
	}
	a, err := open(withoutHost(getenv), os.Stderr, slog.LevelWarn)
	if err != nil {
		return err
	}
	if err := a.layout.Check(ctx); err != nil {
		return err
	}
	change, done := a.hold.GiveBack, "CIPP's own NinjaOne sync is given back. CIPP starts it by its own schedule, within 26 hours at most, and makes its Graph subscriptions anew then. This app schedules no syncs until \"handler hold-off\". Its own Graph subscriptions go within the hour: leave it running, with all its rights, until then."
	if args[0] == "hold-off" {
		change, done = a.hold.TakeOver, "CIPP's own NinjaOne sync is held off. If it had been given back, a full sync of every mapped tenant is queued now."
	}
	if err := change(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, done)
	return err
}

// statusOf is the status with which the process ends after a command.
func statusOf(args []string, err error) int {
	switch {
	case err == nil:
		return 0
	case args[0] == "check" && !errors.Is(err, errFindings):
		return 2
	}
	return 1
}

// withoutHost is getenv for a process that no host started, and that does not
// listen.
func withoutHost(getenv func(string) string) func(string) string {
	return func(name string) string {
		if value := getenv(name); value != "" || name != "FUNCTIONS_CUSTOMHANDLER_PORT" {
			return value
		}
		return "1"
	}
}
