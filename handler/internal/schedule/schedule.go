// Package schedule decides which tenants are due for a sync and puts one
// message per tenant on the queue. It reads what is mapped and how the last
// runs ended; it never syncs anything itself.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
)

const (
	// period is the time between two turns of a tenant. It is less than 24 hours by more
	// than the timer's interval and a wait in the queue. So no two starts lie more than a
	// day apart.
	period = 23 * time.Hour
	// silent is how long a run may go without ending before the schedule takes it for
	// dead. No host lets one last so long.
	silent = 2 * time.Hour
	// lost is how long a message may wait, although the queue is empty, before it counts
	// as lost.
	lost = 30 * time.Minute
	// surelyLost is the same whatever the queue holds: messages of light runs are
	// on it nearly always.
	surelyLost = 12 * time.Hour
)

// Scheduler finds the tenants that are due.
type Scheduler struct {
	CIPP     *cipp.Store
	Runs     *runs.Store
	Problems *problems.Book
	Queue    *storage.Queue // ninjaone-sync
	Now      func() time.Time
	Log      *slog.Logger
}

// Tick puts every tenant that is due on the queue. What is due follows from
// the recorded runs and the clock alone, so late and missed ticks change
// nothing. One tenant's failure does not hold back the others.
func (s *Scheduler) Tick(ctx context.Context) error {
	config, err := s.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return err
	}
	if !config.Enabled {
		s.Log.InfoContext(ctx, "the NinjaOne integration is turned off in CIPP; nothing is scheduled")
		return nil
	}
	all, err := roster.Read(ctx, s.CIPP, s.Runs)
	if err != nil {
		return err
	}
	waiting, err := s.Queue.Length(ctx)
	if err != nil {
		return err
	}
	now := s.Now().UTC()
	bad, err := s.unusable(ctx, all.Left)
	if err != nil {
		return err
	}
	paused := 0
	var late, turns []string
	for _, t := range all.Tenants {
		if t.Paused {
			paused++
			continue
		}
		if overdue(t.Run, now) {
			late = append(late, t.ID)
		}
		if due(t.Run, turn(t.ID, now), now, waiting == 0) {
			turns = append(turns, t.ID)
		}
	}
	queued, err := roster.Each(slices.Values(turns), func(id string) error { return s.enqueue(ctx, id, now) })
	alarm.RaiseFor(ctx, s.Log, alarm.TenantsOverdue, late)
	telemetry.Scheduled(ctx, len(all.Tenants)-paused, len(late))
	err = errors.Join(err, s.Problems.Announce(ctx, tenant.Ref{}, "schedule", bad, now))
	s.Log.InfoContext(ctx, "scheduled", "mapped", len(all.Tenants)+len(all.Left), "paused", paused, "queued", len(queued), "waiting", waiting)
	return err
}

// unusable makes problems of mappings that lead to no sync. It makes a notice where CIPP
// excludes the tenant on purpose.
func (s *Scheduler) unusable(ctx context.Context, mappings []cipp.OrganizationMapping) (bad []problems.Problem, err error) {
	for _, m := range mappings {
		if m.Problem != "" {
			bad = append(bad, problems.Problem{Key: "mapping:" + m.Problem, Message: "A tenant mapping cannot be used: " + m.Problem})
			continue
		}
		switch t, err := s.CIPP.Tenant(ctx, m.TenantID); {
		case errors.Is(err, cipp.ErrNoTenant):
			bad = append(bad, problems.Problem{Key: "unknown:" + m.TenantID, Message: fmt.Sprintf(
				"Tenant %s is mapped to NinjaOne organization %d, and CIPP does not know it: refresh CIPP's tenant list, or remove the mapping.", m.TenantID, m.OrganizationID)})
		case err != nil:
			return nil, err
		case t.Excluded:
			bad = append(bad, problems.Problem{Key: "excluded:" + m.TenantID, Notice: true, Message: fmt.Sprintf(
				"Tenant %s is excluded in CIPP and is not synced. What NinjaOne organization %d shows of it stays as it is.", t.DefaultDomain, m.OrganizationID)})
		}
	}
	return bad, nil
}

// enqueue sends the message before it notes that. A second message only finds the lease
// taken; a lost one would cost a day.
func (s *Scheduler) enqueue(ctx context.Context, tenantID string, now time.Time) error {
	err := s.Queue.Send(ctx, tenantsync.Message{TenantID: tenantID}, 0)
	if err == nil {
		err = s.Runs.MarkQueued(ctx, tenantID, now)
	}
	return storage.Doing(err, "queue the sync of tenant %s", tenantID)
}

// turn is when the tenant's last turn was. A hash of the tenant spreads the turns of all
// tenants over the period. They stay where they are, whatever runs and ticks do.
func turn(tenantID string, now time.Time) time.Time {
	return roster.LastTurn(roster.Phase(tenantID, period), period, now)
}

// due reports whether to sync a tenant now. It has had no run yet, or none since its
// turn. Or the last run failed long enough ago, or the last run or message came to
// nothing.
func due(run runs.Run, turn, now time.Time, queueEmpty bool) bool {
	switch {
	case run.Queued.After(run.Start):
		waits := now.Sub(run.Queued)
		return queueEmpty && waits >= lost || waits >= surelyLost
	case run.Start.IsZero():
		return true
	case run.Status == runs.Running:
		return now.Sub(run.Start) >= silent
	case run.Status == runs.Failed && now.Sub(run.End) >= runs.RetryAfter(run.Failures):
		return true
	}
	return run.Start.Before(turn)
}

// overdue reports whether a tenant has had no complete sync for longer than it may. One
// that never had any counts from its first message, or about from its first failure.
func overdue(run runs.Run, now time.Time) bool {
	since := run.LastSuccess
	switch {
	case !since.IsZero():
	case run.Start.IsZero():
		since = run.Queued
	case run.Status == runs.Failed:
		since = run.End
		for n := 1; n < run.Failures && now.Sub(since) <= alarm.Overdue; n++ {
			since = since.Add(-runs.RetryAfter(n))
		}
	default:
		since = run.Start
	}
	return !since.IsZero() && now.Sub(since) > alarm.Overdue
}
