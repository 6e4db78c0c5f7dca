// Package schedule decides which tenants are due for a sync and puts one
// message per tenant on the queue. It reads what is mapped and how the last
// runs ended; it never syncs anything itself.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
)

const (
	// every is the longest time between the starts of two syncs, less than 24
	// hours by more than the timer's interval, so that a day is never missed.
	every = 23*time.Hour + 30*time.Minute
	// retry is how long after a failure a tenant is tried again.
	retry = time.Hour
	// abandoned is after how long a run that never ended, or a message that
	// never became a run, is taken for lost.
	abandoned = 2 * time.Hour
)

// Scheduler finds the tenants that are due.
type Scheduler struct {
	CIPP  *cipp.Store
	State *tenantsync.State
	Queue *storage.Queue // ninjaone-sync
	Now   func() time.Time
	Log   *slog.Logger
}

// Tick puts every tenant that is due on the queue. What is due follows from
// the recorded runs alone, so late and missed ticks change nothing. One
// tenant's failure does not hold back the others.
func (s *Scheduler) Tick(ctx context.Context) error {
	config, err := s.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return err
	}
	if !config.Enabled {
		s.Log.InfoContext(ctx, "the NinjaOne integration is turned off in CIPP; nothing is scheduled")
		return nil
	}
	mappings, err := s.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return err
	}
	tenants, err := s.CIPP.Tenants(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, t := range tenants {
		known[t.ID] = !t.Excluded
	}
	runs, err := s.State.Runs(ctx)
	if err != nil {
		return err
	}
	now := s.Now().UTC()
	var errs []error
	queued := 0
	var problems []tenantsync.Problem
	for _, m := range mappings {
		if m.Problem != "" {
			problems = append(problems, tenantsync.Problem{Key: "mapping:" + m.Problem, Message: "A tenant mapping cannot be used: " + m.Problem})
			continue
		}
		run := runs[m.TenantID]
		if !known[m.TenantID] || !due(run, now) {
			continue
		}
		if err := s.enqueue(ctx, m.TenantID, now); err != nil {
			errs = append(errs, fmt.Errorf("queue the sync of tenant %s: %w", m.TenantID, err))
			continue
		}
		queued++
	}
	errs = append(errs, s.State.Announce(ctx, s.CIPP, "schedule", problems, now))
	s.Log.InfoContext(ctx, "scheduled", "mapped", len(mappings), "queued", queued)
	return errors.Join(errs...)
}

// enqueue sends the message first: a tenant that is queued twice costs a
// message that finds the lease taken, a lost one would cost a day.
func (s *Scheduler) enqueue(ctx context.Context, tenantID string, now time.Time) error {
	if err := s.Queue.Send(ctx, tenantsync.Message{TenantID: tenantID}, 0); err != nil {
		return err
	}
	return s.State.MarkQueued(ctx, tenantID, now)
}

// due reports whether a tenant whose last run is given is to be synced now.
func due(run tenantsync.Run, now time.Time) bool {
	waiting := run.Queued.After(run.Start)
	switch {
	case waiting:
		return now.Sub(run.Queued) >= abandoned
	case run.Start.IsZero():
		return true
	case run.Status == tenantsync.Running:
		return now.Sub(run.Start) >= abandoned
	case run.Status == tenantsync.Failed:
		return now.Sub(run.End) >= retry
	}
	return now.Sub(run.Start) >= every
}
