package vulnerabilities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
)

// period is the time between two turns of a tenant.
const period = 24 * time.Hour

// QueueDue queues every tenant whose turn has come. That is once a day, at a time of its
// own, and sooner after a failure. A tenant begins once its first sync told which device
// is which. Late and missed calls change nothing, and one tenant's failure does not hold
// back the others.
func (w *Worker) QueueDue(ctx context.Context) error {
	config, err := w.CIPP.NinjaOneConfig(ctx)
	if err != nil || !config.Enabled || !config.CVESync {
		return err
	}
	all, err := roster.Read(ctx, w.CIPP, w.Runs)
	if err != nil {
		return err
	}
	files, err := w.Files.All(ctx)
	if err != nil {
		return err
	}
	now := w.Now().UTC()
	var due []string
	for _, t := range all.Tenants {
		if !t.Paused && !t.Run.LastSuccess.IsZero() && !Next(t.ID, files[t.ID], now).After(now) {
			due = append(due, t.ID)
		}
	}
	queued, err := roster.Each(slices.Values(due), func(id string) error {
		// A message too many finds that there is nothing to do; a lost one costs a day.
		err := w.Queue.Send(ctx, Message{TenantID: id}, 0)
		if err == nil {
			err = w.Files.markQueued(ctx, id, now)
		}
		if err != nil {
			return fmt.Errorf("queue the vulnerabilities of tenant %s: %w", id, err)
		}
		return nil
	})
	w.Log.InfoContext(ctx, "scheduled files of vulnerabilities", "queued", len(queued))
	return err
}

// Next is when a tenant's file has its next turn, unless the tenant is paused. A time
// that is not after now means with the next tick.
func Next(tenantID string, s Status, now time.Time) time.Time {
	phase := time.Duration(roster.Share(tenantID, "vulnerabilities") * float64(period))
	last := roster.LastTurn(phase, period, now)
	if s.Queued.Before(last) {
		return now
	}
	next := last.Add(period)
	if s.Failures > 0 && !s.Turn.Before(s.Queued) {
		if retry := s.Turn.Add(runs.RetryAfter(s.Failures)); retry.Before(next) {
			return retry
		}
	}
	return next
}

// UploadNow queues a tenant for a person. Its file is sent even if NinjaOne has the same
// bytes, and the brake holds all the same.
func (w *Worker) UploadNow(ctx context.Context, tenantID string) error {
	return w.Queue.Send(ctx, Message{TenantID: tenantID, Force: true}, 0)
}

// Confirm lets the file that waits since that time go once, and queues the tenant.
func (w *Worker) Confirm(ctx context.Context, tenantID string, since time.Time) error {
	if err := w.Files.Confirm(ctx, tenantID, since); err != nil {
		return err
	}
	return w.Queue.Send(ctx, Message{TenantID: tenantID}, 0)
}
