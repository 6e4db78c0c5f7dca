package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// unended marks the failure to record how a run ended.
type unended struct{ error }

func (u unended) Unwrap() error { return u.error }

// Kinds of what goes wrong around a run, and how the logbook begins to tell it.
var unrecordedKinds = map[string]string{
	"begin": "The sync could not begin: %s Nothing was sent to NinjaOne.",
	"end":   "How the sync ended could not be recorded: %s What NinjaOne accepted stays, and the next run checks the rest.",
}

// thenAgain is what is done about it.
const thenAgain = " It is tried again by itself within a minute, some times. After that its message is put aside, and the logbook tells of that. The schedule syncs the tenant at its next turn."

// unrecordedOwner begins the keys of what the logbook was told.
const unrecordedOwner = "unrecorded|"

// unrecorded is what stopped a tenant's run before it had a record, or left its record
// without an end.
type unrecorded struct {
	tenantID, kind string
	problem        problems.Problem
	at             time.Time
}

func (u unrecorded) owner() string { return unrecordedOwner + u.kind + "|" + u.tenantID }

// Unrecorded tells the logbook of runs that fail without a record of their own. Storage
// refuses what such a run needs before it begins, or when it ends. The message of the
// run goes back to the host, which does not say the reason.
//
// It tells at once if the logbook can be written, else keeps it in memory until it can.
// It tries before the next message, and at each tick of the schedule. While a problem of
// a kind lasts, it tells it once a day for each tenant. It tells once when the problem is
// over. It is safe for concurrent use; its fields are set once.
type Unrecorded struct {
	CIPP     *cipp.Store
	Runs     *runs.Store
	Problems *problems.Book
	Now      func() time.Time
	Log      *slog.Logger

	mu     sync.Mutex            // also held while it tells, so that nothing is told twice
	untold map[string]unrecorded // by owner
}

// Watch returns run, and tells of its unrecorded failures.
func (u *Unrecorded) Watch(run func(context.Context, Message) error) func(context.Context, Message) error {
	return func(ctx context.Context, m Message) error {
		u.flush(ctx)
		err := run(ctx, m)
		if err == nil || ctx.Err() != nil || errors.Is(err, storage.ErrLeaseLost) || errors.Is(err, storage.ErrNewer) {
			return err // recorded, about to stop, or told elsewhere
		}
		failure := unrecorded{tenantID: m.TenantID, kind: "begin", at: u.Now().UTC()}
		if _, ok := errors.AsType[unended](err); ok {
			failure.kind = "end"
		}
		failure.problem = problems.Problem{Key: failure.kind, Message: fmt.Sprintf(unrecordedKinds[failure.kind], words.End(err.Error())) + thenAgain}
		u.flush(ctx, failure)
		return err
	}
}

// flush tells what is untold and what is new, until storage fails. With nothing new it
// leaves that to whoever tells already: no sync waits for it.
func (u *Unrecorded) flush(ctx context.Context, fresh ...unrecorded) {
	if len(fresh) > 0 {
		u.mu.Lock()
	} else if !u.mu.TryLock() {
		return
	}
	defer u.mu.Unlock()
	if u.untold == nil {
		u.untold = map[string]unrecorded{}
	}
	for _, failure := range fresh {
		u.untold[failure.owner()] = failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	for _, failure := range slices.SortedFunc(maps.Values(u.untold), func(a, b unrecorded) int { return a.at.Compare(b.at) }) {
		if err := u.tell(ctx, failure); err != nil {
			u.Log.WarnContext(ctx, "the logbook cannot be told yet why a sync failed", "tenant", failure.tenantID, "reason", failure.problem.Message, "error", err)
			return
		}
		delete(u.untold, failure.owner())
	}
}

func (u *Unrecorded) tell(ctx context.Context, failure unrecorded) error {
	ref, err := u.ref(ctx, failure.tenantID)
	if err != nil {
		return err
	}
	return u.Problems.Announce(ctx, ref, failure.owner(), []problems.Problem{failure.problem}, failure.at)
}

func (u *Unrecorded) ref(ctx context.Context, tenantID string) (tenant.Ref, error) {
	t, err := u.CIPP.Tenant(ctx, tenantID)
	if errors.Is(err, cipp.ErrNoTenant) {
		return tenant.Ref{ID: tenantID}, nil
	}
	return t.Ref, err
}

// Tick tells what is untold. It also tells that a tenant's problem is over once the
// tenant has had a complete sync.
func (u *Unrecorded) Tick(ctx context.Context) error {
	u.flush(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	all, err := u.Problems.ToldOf(ctx, unrecordedOwner)
	if err != nil {
		return fmt.Errorf("see which syncs failed without a record: %w", err)
	}
	var errs []error
	for owner, told := range all {
		if _, tenantID, _ := strings.Cut(strings.TrimPrefix(owner, unrecordedOwner), "|"); len(told) > 0 {
			errs = append(errs, u.over(ctx, owner, tenantID, told[0]))
		}
	}
	return errors.Join(errs...)
}

// over says that a problem is over, if it is.
func (u *Unrecorded) over(ctx context.Context, owner, tenantID string, told problems.Problem) error {
	run, err := u.Runs.Last(ctx, tenantID)
	if err != nil || !run.LastSuccess.After(told.Told) {
		return err
	}
	ref, err := u.ref(ctx, tenantID)
	if err != nil {
		return err
	}
	return u.Problems.Announce(ctx, ref, owner, nil, u.Now().UTC())
}

// Why returns what the logbook last said of a tenant's runs without a record, or "".
func (u *Unrecorded) Why(ctx context.Context, tenantID string) (string, error) {
	var why []string
	for _, kind := range slices.Sorted(maps.Keys(unrecordedKinds)) {
		told, err := u.Problems.Told(ctx, unrecorded{tenantID: tenantID, kind: kind}.owner())
		if err != nil {
			return "", err
		}
		for _, p := range told {
			why = append(why, strings.TrimSuffix(p.Message, thenAgain))
		}
	}
	return strings.Join(why, " "), nil
}
