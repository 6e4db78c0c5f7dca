// Package compliance keeps NinjaOne's compliance fields right between two syncs: whether
// a device complies, and which settings fail. It takes messages about devices from the
// queue, asks Intune about them, and writes the fields that differ. A timer queues a
// sweep of each tenant, in case notifications do not come.
//
// Package compose turns a state into a value, and package devicematch knows which device
// is which. Package ledger notes what NinjaOne holds. This package writes nothing but the
// two fields.
package compliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// attempts is how often the worker tries a message about devices before it leaves it
	// to the next sweep.
	attempts = 3
	// slotWait is how long a message waits for a slot. Then a message about devices goes
	// back for slotDelay, and a sweep for sweepDelay.
	slotWait   = 20 * time.Second
	slotDelay  = 10 * time.Second
	sweepDelay = 2 * time.Minute
	// maxNamed is from how many devices on one list of the whole tenant costs
	// less than asking for each.
	maxNamed = 40
)

// Devices reads devices from Microsoft 365; package m365 implements it.
type Devices interface {
	ComplianceStates(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error)
	MatchableDevices(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error)
	EntraDeviceIDs(ctx context.Context, ref tenant.Ref, objectIDs []string) ([]string, error)
	ManagedDevicesOf(ctx context.Context, ref tenant.Ref, deviceIDs []string) ([][]tenant.ManagedDevice, error)
	PolicyStates(ctx context.Context, ref tenant.Ref, devices []tenant.ManagedDevice, known tenant.PolicyReadings) (map[string][]tenant.PolicyState, tenant.PolicyReadings, error)
}

// Deps are what a Worker works with.
type Deps struct {
	Assignments *assignments.Assignments
	Statuses    assignments.Statuses
	Devices     Devices
	// Seen returns the tenant's devices where something else read them since a time, and
	// when. The time is zero where nothing did.
	Seen func(ctx context.Context, tenantID string, since time.Time) ([]tenant.ManagedDevice, time.Time, error)
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	// Pace waits for a slot for calling NinjaOne. It returns the context that ends with the
	// slot, and what gives the slot back.
	Pace     func(ctx context.Context, maxWait time.Duration) (slot context.Context, release func(), err error)
	Ledger   *ledger.Ledger
	Policies *policies.Store
	Books    *devicematch.Books
	Queue    notify.Queue // ninjaone-compliance
	// OnEvent acts on what happened to a subscription.
	OnEvent func(context.Context, notify.Message) error
	// SweepEvery is how often each tenant is swept; 0 for never.
	SweepEvery time.Duration
	Now        func() time.Time
	Log        *slog.Logger
}

// Worker brings the compliance fields of devices up to date. It is safe for
// concurrent use.
type Worker struct {
	Deps
	sweeping chan struct{}                      // full while as many sweeps write as may
	defined  lookup.Cache[fieldKey, definition] // fields of NinjaOne
	heard    lookup.Cache[string, time.Time]    // when a tenant's last notification was noted

	knowing sync.Mutex
	objects map[string]string // tenant and directory object id to Entra deviceId
}

// New returns a worker.
func New(d Deps) *Worker {
	return &Worker{Deps: d, sweeping: make(chan struct{}, sweepsWriting), objects: map[string]string{}}
}

// Update handles one message of the queue; attempt counts its deliveries, from 1. After
// an error the host delivers the message again. Update returns none where that cannot
// help, or was tried often enough: a sweep finds what is left.
func (w *Worker) Update(ctx context.Context, m notify.Message, attempt int) error {
	log := w.Log.With("tenant", m.TenantID)
	err := w.handle(ctx, m, attempt, log)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pacing.ErrBusy), errors.Is(err, pacing.ErrLost), errors.Is(err, errSweeping): // it has not failed
		if m.Sweeps() {
			return w.putBack(ctx, m, sweepDelay)
		}
		return w.Queue.Send(ctx, m, slotDelay)
	case errors.Is(ctx.Err(), context.Canceled):
		return err // the process ends; the message comes back
	case hopeless(err):
		log.WarnContext(ctx, "changed devices are left to the next sweep", "devices", len(m.DeviceIDs), "error", err)
		return nil
	case attempt < attempts:
		return err
	case len(m.DeviceIDs) > 0:
		log.WarnContext(ctx, "changed devices are left to a sweep", "devices", len(m.DeviceIDs), "error", err)
		// The invocation may be out of time. A sweep that comes before makes
		// this one needless.
		ctx, done := storage.Noting(ctx)
		defer done()
		return w.putBack(ctx, notify.Message{TenantID: m.TenantID}, tick)
	default:
		log.WarnContext(ctx, "a message was tried often enough; the next timer comes to the same", "event", m.Event, "error", err)
		return nil
	}
}

// hopeless reports whether trying again soon cannot help.
func hopeless(err error) bool {
	_, noSignIn := errors.AsType[*m365.AuthError](err)
	_, noIntune := errors.AsType[*m365.NoIntuneError](err)
	_, badField := errors.AsType[*fieldError](err)
	return noSignIn || noIntune || badField
}

// handle does what a message asks for. It drops a message of a tenant without assignment,
// such as an excluded one.
func (w *Worker) handle(ctx context.Context, m notify.Message, attempt int, log *slog.Logger) error {
	if m.Event != "" {
		return w.OnEvent(ctx, m)
	}
	assigned, err := w.Assignments.Read(ctx)
	if err != nil {
		return err
	}
	to, ok := assigned.ByTenant[m.TenantID]
	if !ok {
		log.DebugContext(ctx, "the tenant's compliance goes nowhere; the message is dropped")
		return nil
	}
	j := &job{Worker: w, to: to, force: attempt > 1, shown: map[int]map[string]bool{}, log: log.With("organization", to.Organization.ID)}
	defer j.release()
	switch {
	case m.Sweeps():
		err = j.sweep(ctx, m)
	case len(m.DeviceIDs) > maxNamed:
		j.noteHeard(ctx)
		err = j.judgeAll(ctx)
	default:
		j.noteHeard(ctx)
		err = j.named(ctx, m.DeviceIDs)
	}
	if err != nil && j.lost() {
		return fmt.Errorf("%w: %w", pacing.ErrLost, err)
	}
	return err
}

// heardEvery is how often the worker writes down that notifications arrive.
const heardEvery = time.Minute

// noteHeard notes that notifications arrive. Where it cannot, the job goes on.
func (j *job) noteHeard(ctx context.Context) {
	id, now := j.to.Ref.ID, j.Now().UTC()
	if last, ok := j.heard.Peek(id); ok && now.Sub(last) < heardEvery {
		return
	}
	j.heard.Put(id, now)
	if err := j.Statuses.NoteHeard(ctx, id, now); err != nil {
		j.log.WarnContext(ctx, "that notifications arrive could not be noted", "error", err)
	}
}

// job is the handling of one message.
type job struct {
	*Worker
	to     assignments.Assignment
	client *ninjaone.Client
	fields ledger.Shared // of NinjaOne, that can be written
	limit  int           // UTF-16 units that the field of settings takes
	// unwritten says why the job writes the settings but not the compliance. It is nil
	// when the job writes it, or nobody mapped it. The syncs tell why the settings are
	// not written.
	unwritten error
	force     bool                    // an earlier attempt may have stopped half-way
	shown     map[int]map[string]bool // fields of devices that show a value of which nothing is noted
	log       *slog.Logger

	mu       sync.Mutex
	slot     context.Context // nil until NinjaOne is first called, so that a sweep that finds nothing takes none
	giveBack func()
	noSlot   error // why there is none: asking again would only take longer
}

// paced returns the context under which the job may call NinjaOne.
func (j *job) paced(ctx context.Context) (context.Context, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.slot == nil && j.noSlot == nil {
		j.slot, j.giveBack, j.noSlot = j.Pace(ctx, slotWait)
	}
	if j.noSlot != nil {
		return nil, j.noSlot
	}
	// Both must last: the slot's context ends with the slot, the caller's with
	// the group that it works in.
	slot := j.slot
	joined, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(slot, func() { cancel(context.Cause(slot)) })
	return joined, nil
}

// lost reports whether the job's slot ended under it.
func (j *job) lost() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.slot != nil && errors.Is(context.Cause(j.slot), pacing.ErrLost)
}

func (j *job) release() {
	if j.giveBack != nil {
		j.giveBack()
	}
}
