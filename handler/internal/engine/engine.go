// Package engine holds off CIPP's own NinjaOne engine, and gives it back. That engine
// would write to the same NinjaOne by other rules.
//
// The engine has no owner flag, so this package holds off each of its writers where it
// looks. For its scheduler that is the table NinjaOneSettings. For its Graph
// subscriptions on devices it is Graph, and the table webhookTable. A Force Sync in
// CIPP's page still writes; a forced sync of ours writes over that.
//
// Nothing of the sync itself enters. This package decides whether CIPP's engine runs, and
// touches nothing else of CIPP.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// CIPP's scheduler compares the present quarter-hour of the day, 0 to 95, with
// NinjaSyncTime. It starts nothing else before NinjaLastRunTime lies 90 minutes back. A
// NinjaLastRunTime that it cannot read lets it start everything. So the date stays one
// that every time zone can hold.
const heldSyncTime = 9600

var heldLastRun = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	lastQuarter = 95               // of a day
	due         = 25 * time.Hour   // after a run, CIPP's scheduler starts the next one
	ahead       = 24 * time.Hour   // a last run later than this from now is not a run of CIPP
	apiName     = cipp.LogbookSync // under which the logbook shows our lines
	owner       = "engine"         // whose problems are announced
)

// Subscriptions removes Graph subscriptions.
type Subscriptions interface {
	// Unsubscribe removes a subscription of a tenant; one that is not there is fine.
	Unsubscribe(ctx context.Context, ref tenant.Ref, id string) error
}

// Hold holds CIPP's engine off until GiveBack. Our own storage records a give-back, so
// every process knows it. Nothing changes its fields once they are set.
type Hold struct {
	CIPP     *cipp.Store
	Runs     *runs.Store
	Problems *problems.Book
	Table    *storage.Table // NinjaOneSyncState
	Queue    *storage.Queue // ninjaone-sync
	Graph    Subscriptions
	Now      func() time.Time
	Log      *slog.Logger
}

// Tick holds CIPP's engine off, whatever became of its rows since the last tick. It sees
// to what the engine wrote meanwhile. It does nothing while NinjaOne is not set up in
// CIPP. After a give-back it only removes what CIPP would skip by, where that is still
// due. Missed ticks change nothing: the engine stays held off. One tenant's failure does
// not hold back the others; the logbook tells it.
func (h *Hold) Tick(ctx context.Context) error {
	config, err := h.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return err
	}
	if !config.Configured {
		return nil
	}
	kept, err := h.holdScheduler(ctx)
	if err == nil && kept.givenBack && kept.hashes {
		return h.forgetHashes(ctx)
	}
	if err != nil || kept.givenBack || !config.Enabled {
		return err
	}
	now := h.Now().UTC()
	errs := []error{h.repair(ctx, kept, now)}
	bad, err := h.dropSubscriptions(ctx)
	errs = append(errs, err)
	errs = append(errs, h.Problems.Announce(ctx, tenant.Ref{}, owner, bad, now))
	return errors.Join(errs...)
}

// holdScheduler makes the rows of CIPP's scheduler such that it starts
// nothing, and returns what is kept afterwards.
func (h *Hold) holdScheduler(ctx context.Context) (kept, error) {
	k, err := h.load(ctx)
	if err != nil || k.givenBack {
		return k, err
	}
	rows, err := h.CIPP.EngineSettings(ctx)
	if err != nil {
		return k, err
	}
	if rows.SyncTime != heldSyncTime || !rows.LastRun.Equal(heldLastRun) {
		// What is found goes into our row before CIPP's rows change: else a
		// crash in between would lose it.
		if isQuarter(rows.SyncTime) {
			k.syncTime = rows.SyncTime
		}
		if h.isRun(rows.LastRun) {
			k.lastRun = rows.LastRun
			if k.held {
				k.owe, k.reason = rows.LastRun, reasonForceSync
			}
		}
		if err := h.save(ctx, k); err != nil {
			return k, err
		}
		if err := h.CIPP.SaveEngineSettings(ctx, cipp.EngineSettings{SyncTime: heldSyncTime, LastRun: heldLastRun}); err != nil {
			return k, fmt.Errorf("hold off CIPP's own NinjaOne sync: %w", err)
		}
		if k, err = h.load(ctx); err != nil {
			return k, err
		}
		if k.givenBack { // at the same moment, by another process
			return k, h.release(ctx, k)
		}
	}
	if k.held {
		return k, nil
	}
	k.held = true
	if err := h.save(ctx, k); err != nil {
		return k, err
	}
	if err := h.tell(ctx, cipp.SeverityInfo, "CIPP's own NinjaOne sync is held off, because this app syncs to NinjaOne in its place. The command \"handler give-back\" gives it back."); err != nil {
		return k, err
	}
	return h.load(ctx)
}

// isQuarter reports whether CIPP could have drawn the value as NinjaSyncTime.
func isQuarter(syncTime int) bool { return syncTime > 0 && syncTime <= lastQuarter }

// isRun reports whether a NinjaLastRunTime tells of a run.
func (h *Hold) isRun(lastRun time.Time) bool {
	return !lastRun.IsZero() && lastRun.Before(h.Now().Add(ahead))
}

// GiveBack lets CIPP's own engine run again, and keeps Tick from holding it off until
// TakeOver. The scheduler's rows get the values they had, or such that CIPP starts a sync
// at its next tick. That sync makes CIPP's Graph subscriptions anew where it wants them.
// It skips nothing that it believes unchanged, since GiveBack removes what it skips by.
// Tick removes what storage refused to remove. Calling it again is harmless.
func (h *Hold) GiveBack(ctx context.Context) error {
	k, err := h.change(ctx, func(k *kept) bool {
		k.givenBack, k.hashes, k.held, k.owe, k.reason = true, true, false, time.Time{}, ""
		return true
	})
	if err != nil {
		return err
	}
	if err := h.release(ctx, k); err != nil {
		return err
	}
	if err := h.forgetHashes(ctx); err != nil {
		h.Log.WarnContext(ctx, "what CIPP's own NinjaOne sync believes unchanged is not forgotten yet; the next tick goes on", "error", err)
	}
	if err := h.Problems.Announce(ctx, tenant.Ref{}, owner, nil, h.Now().UTC()); err != nil {
		return err
	}
	return h.tell(ctx, cipp.SeverityInfo, "CIPP's own NinjaOne sync was given back. CIPP starts it again by its own schedule, within 26 hours at most. It then makes its Graph subscriptions on devices anew. "+
		"This app schedules no syncs until the command \"handler hold-off\" takes over again.")
}

// forgetTime bounds one removal of what CIPP's engine skips by.
const forgetTime = time.Minute

// forgetHashes removes what CIPP's engine would skip rows by, and notes that it is
// done.
func (h *Hold) forgetHashes(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	if err := h.CIPP.ForgetHashes(bounded); err != nil {
		return err
	}
	_, err := h.change(ctx, func(k *kept) bool {
		before := k.hashes
		k.hashes = false
		return before
	})
	return err
}

// Writes notes that this app, asked for a sync, is about to write to NinjaOne after a
// give-back. The next tick removes once more what would make CIPP skip its corrections.
func (h *Hold) Writes(ctx context.Context) error {
	_, err := h.change(ctx, func(k *kept) bool {
		owed := k.hashes
		k.hashes = k.givenBack
		return k.givenBack && !owed
	})
	return err
}

// TakeOver ends what GiveBack began, and holds CIPP's engine off at once. Since CIPP may
// have written to NinjaOne meanwhile, every mapped tenant gets a forced sync. Without a
// give-back before it, it is Tick.
func (h *Hold) TakeOver(ctx context.Context) error {
	_, err := h.change(ctx, func(k *kept) bool {
		if !k.givenBack {
			return false
		}
		k.givenBack, k.hashes, k.owe, k.reason = false, false, h.Now().UTC(), reasonTakeOver
		return true
	})
	if err != nil {
		return err
	}
	return h.Tick(ctx)
}

// GivenBack reports whether CIPP's engine was given back. Then this app must
// not sync by schedule, since two engines would undo each other's work.
func (h *Hold) GivenBack(ctx context.Context) (bool, error) {
	k, err := h.load(ctx)
	return k.givenBack, err
}

// release puts back those of the scheduler's rows that hold it off.
func (h *Hold) release(ctx context.Context, k kept) error {
	rows, err := h.CIPP.EngineSettings(ctx)
	if err != nil {
		return err
	}
	before := rows
	if rows.SyncTime > lastQuarter {
		rows.SyncTime = k.syncTime
		if !isQuarter(rows.SyncTime) {
			rows.SyncTime = 1 + rand.N(lastQuarter-1) // as CIPP draws it
		}
	}
	if !rows.LastRun.IsZero() && !h.isRun(rows.LastRun) {
		rows.LastRun = k.lastRun
		if rows.LastRun.IsZero() {
			rows.LastRun = h.Now().Add(-due)
		}
	}
	if rows == before {
		return nil
	}
	return storage.Doing(h.CIPP.SaveEngineSettings(ctx, rows), "give CIPP's own NinjaOne sync back")
}

func (h *Hold) tell(ctx context.Context, severity, message string) error {
	return h.CIPP.Log(ctx, cipp.LogEntry{API: apiName, Severity: severity, Message: message})
}
