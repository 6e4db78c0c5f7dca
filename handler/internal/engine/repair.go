package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// answered is what a tenant was last given a forced sync for.
type answered struct {
	owe   time.Time // kept.owe
	start time.Time // of the run of CIPP that the mapping row showed
}

// repair queues forced syncs. Every mapped tenant gets one when CIPP started all of them,
// or had them back. So does any tenant that CIPP synced after our last sync of it. Paused
// tenants wait until they are resumed. Sending a message twice costs time and does no
// harm.
func (h *Hold) repair(ctx context.Context, k kept, now time.Time) error {
	all, err := roster.Read(ctx, h.CIPP, h.Runs)
	if err != nil {
		return err
	}
	done, err := h.answers(ctx)
	if err != nil {
		return err
	}
	var errs []error
	queued := 0
	for _, t := range all.Tenants {
		if t.Paused { // what CIPP wrote of it its mapping row still shows later
			continue
		}
		a, owed := done[t.ID], false
		if k.owe.After(a.owe) {
			a.owe, owed = k.owe, true
		}
		if !a.start.Equal(t.Mapping.LastStart) && wroteAfter(t.Mapping, t.Run, now) {
			a.start, owed = t.Mapping.LastStart, true
		}
		if !owed {
			continue
		}
		if err := h.force(ctx, t.ID, a, now); err != nil {
			errs = append(errs, fmt.Errorf("queue a forced sync of tenant %s, because CIPP's own engine may have written to it: %w", t.ID, err))
			continue
		}
		queued++
	}
	if queued > 0 {
		h.Log.InfoContext(ctx, "queued forced syncs, because CIPP's own engine wrote", "tenants", queued)
	}
	if len(errs) > 0 || k.owe.IsZero() {
		return errors.Join(errs...)
	}
	message := "CIPP's own NinjaOne sync was started in CIPP, by Force Sync for example. This app syncs every mapped tenant again with all its fields, so that NinjaOne shows the values of one rule. " +
		"To sync at once, use this app's own page instead."
	if k.reason == reasonTakeOver {
		message = "This app syncs to NinjaOne again in place of CIPP. It syncs every mapped tenant with all its fields, since CIPP may have written them meanwhile."
	}
	if err := h.tell(ctx, cipp.SeverityInfo, message); err != nil {
		return err
	}
	_, err = h.change(ctx, func(now *kept) bool {
		if !now.owe.Equal(k.owe) {
			return false // something new is owed, or nothing any more
		}
		now.owe, now.reason = time.Time{}, ""
		return true
	})
	return err
}

// wroteAfter reports whether NinjaOne may hold values of CIPP's engine. While a run of ours
// lasts it is too early to tell.
func wroteAfter(m cipp.OrganizationMapping, last runs.Run, now time.Time) bool {
	return last.Status != runs.Running && m.EngineRanAfter(last.Start, now)
}

// force queues a forced sync of a tenant, and notes what for.
func (h *Hold) force(ctx context.Context, tenantID string, a answered, now time.Time) error {
	if err := h.Queue.Send(ctx, tenantsync.Message{TenantID: tenantID, Force: true}, 0); err != nil {
		return err
	}
	if err := h.Runs.MarkQueued(ctx, tenantID, now); err != nil {
		return err
	}
	return h.Table.Replace(ctx, storage.Entity{"PartitionKey": repairPartition, "RowKey": tenantID,
		"Owe": a.owe, "Start": a.start})
}

func (h *Hold) answers(ctx context.Context) (map[string]answered, error) {
	done, err := storage.ReadPartition(ctx, h.Table, repairPartition, func(row storage.Entity) answered { return answered{row.Time("Owe"), row.Time("Start")} })
	return done, storage.Doing(err, "read what CIPP's own NinjaOne sync was answered with")
}
