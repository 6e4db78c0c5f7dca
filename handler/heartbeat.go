package main

import (
	"context"
	"time"

	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/heartbeat"
)

// timers are the timer functions, and the time between two of their times as
// their function.json says.
var timers = map[string]time.Duration{
	"ScheduleTenants":    15 * time.Minute,
	"SweepCompliance":    15 * time.Minute,
	"RenewSubscriptions": time.Hour,
}

// timer registers a timer function, whose work a heartbeat does when the timer
// stops.
func (a *app) timer(server *customhandler.Server, getenv func(string) string, name string, run func(context.Context) error, options ...customhandler.Option) {
	server.Timer(name, func(ctx context.Context, _ customhandler.TimerInfo) error {
		a.heart.Fired(ctx, name)
		return run(ctx)
	}, options...)
	if !heartbeat.TurnedOff(getenv, name) {
		a.heart.Timers = append(a.heart.Timers, heartbeat.Timer{Name: name, Every: timers[name], Run: run})
	}
}

// startTimeout bounds what a process does at its start beside its work.
const startTimeout = 30 * time.Second

// ensureHeartbeat sees at the start of a process that a heartbeat waits.
func (a *app) ensureHeartbeat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := a.heart.Ensure(ctx); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "no heartbeat was queued at the start; the next timer queues one", "error", err)
	}
}
