package compliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// attempts is how often a message about devices is tried before it is left
	// to the next sweep.
	attempts = 3
	// writeTime is how long one device may take to be written, throttling
	// included. It stays below the life of a claim.
	writeTime = 3 * time.Minute
	// refusedFor is how long a field that NinjaOne refused is left alone.
	refusedFor = time.Hour
	// slotWait is how long a message waits for a slot before it is put back;
	// one about devices then rests for slotDelay, a sweep for sweepDelay.
	slotWait   = 20 * time.Second
	slotDelay  = 10 * time.Second
	sweepDelay = 2 * time.Minute
	// writers is how many devices of one message are written at a time, and
	// tolerance how many of them may fail before the others are not tried.
	writers   = 4
	tolerance = 5
	// maxObjects bounds the remembered ids of Entra devices.
	maxObjects = 50000
)

// Devices reads devices from Microsoft 365; package m365 implements it.
type Devices interface {
	ComplianceStates(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error)
	MatchableDevices(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error)
	EntraDeviceIDs(ctx context.Context, ref tenant.Ref, objectIDs []string) ([]m365.EntraDeviceID, error)
	ManagedDevicesOf(ctx context.Context, ref tenant.Ref, deviceIDs []string) ([][]tenant.ManagedDevice, error)
}

// Pace gives slots for calling NinjaOne; package pacing implements it.
type Pace interface {
	Acquire(ctx context.Context, maxWait time.Duration) (*pacing.Slot, error)
}

// Worker brings the compliance field of devices up to date. Its fields are set
// once and not changed afterwards.
type Worker struct {
	CIPP        *cipp.Store
	Assignments *Assignments
	Devices     Devices
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	// Pace gives slots for calling NinjaOne; nil when calls need none. A
	// message takes one when it first needs it, so that a sweep that finds
	// nothing takes none.
	Pace   Pace
	Ledger *ledger.Ledger
	Blobs  *storage.Container // the sync's, with its matches
	Table  *storage.Table     // NinjaOneSubscriptions, for each tenant's status
	Queue  Queue              // ninjaone-compliance
	// Keeper acts on what happens to subscriptions; nil to ignore it.
	Keeper *Keeper
	Now    func() time.Time
	Log    *slog.Logger

	once   sync.Once
	books  *books
	sweeps chan struct{} // full while as many sweeps write as may

	mu      sync.Mutex
	objects map[string]string    // tenant and directory object id to Entra deviceId
	refused map[string]time.Time // instance and field to when it may be tried again
	heard   map[string]time.Time // tenant to when its last notification was noted
}

// job is the handling of one message.
type job struct {
	*Worker
	to     assignment
	client *ninjaone.Client
	field  string
	force  bool // an earlier attempt may have stopped half-way
	log    *slog.Logger

	taking sync.Mutex
	slot   *pacing.Slot // nil until NinjaOne is first called
	noSlot error        // why there is none: asking again would only take longer
}

// paced returns the context under which the job may call NinjaOne.
func (j *job) paced(ctx context.Context) (context.Context, error) {
	if j.Pace == nil {
		return ctx, nil
	}
	j.taking.Lock()
	defer j.taking.Unlock()
	if j.slot == nil && j.noSlot == nil {
		j.slot, j.noSlot = j.Pace.Acquire(ctx, slotWait)
	}
	if j.noSlot != nil {
		return nil, j.noSlot
	}
	// Both must last: the slot's context ends with the slot, the caller's with
	// the group that it works in.
	slot := j.slot.Context()
	joined, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(slot, func() { cancel(context.Cause(slot)) })
	return joined, nil
}

// lost reports whether the job's slot ended under it.
func (j *job) lost() bool {
	j.taking.Lock()
	defer j.taking.Unlock()
	return j.slot != nil && errors.Is(context.Cause(j.slot.Context()), pacing.ErrLost)
}

func (j *job) release() {
	if j.slot != nil {
		j.slot.Release()
	}
}

// Update handles one message of the queue; attempt counts its deliveries, from
// 1. An error makes the host deliver it again, unless it was tried often enough
// or cannot help: then what is left is found by a sweep.
func (w *Worker) Update(ctx context.Context, m Message, attempt int) error {
	w.once.Do(func() {
		w.books = &books{cipp: w.CIPP, blobs: w.Blobs, now: w.Now}
		w.sweeps = make(chan struct{}, sweepsWriting)
	})
	log := w.Log.With("tenant", m.TenantID)
	err := w.handle(ctx, m, attempt, log)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pacing.ErrBusy), errors.Is(err, pacing.ErrLost), errors.Is(err, errSweeping): // it has not failed
		if m.sweeps() {
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
		return w.putBack(ctx, Message{TenantID: m.TenantID}, tick)
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

func (w *Worker) handle(ctx context.Context, m Message, attempt int, log *slog.Logger) error {
	if m.Event != "" {
		if w.Keeper == nil {
			return nil
		}
		return w.Keeper.Handle(ctx, m)
	}
	all, err := w.Assignments.all(ctx)
	if err != nil {
		return err
	}
	to, ok := all[m.TenantID]
	if !ok {
		log.DebugContext(ctx, "the tenant's compliance goes nowhere; the message is dropped")
		return nil
	}
	j := &job{Worker: w, to: to, force: attempt > 1, log: log.With("organization", to.organizationID)}
	defer j.release()
	switch {
	case m.sweeps():
		err = j.sweep(ctx, m)
	case len(m.DeviceIDs) > maxNamed:
		err = j.burst(ctx)
	default:
		err = j.named(ctx, m.DeviceIDs)
	}
	if err != nil && j.lost() {
		return fmt.Errorf("%w: %w", pacing.ErrLost, err)
	}
	return err
}

// connect finds out how and where to write.
func (j *job) connect(ctx context.Context) (err error) {
	if j.client, err = j.NinjaOne(j.to.config); err != nil {
		return fmt.Errorf("call NinjaOne: %w", err)
	}
	j.field, err = j.Assignments.field(ctx, j.to, func(ctx context.Context) ([]ninjaone.CustomField, error) {
		ctx, err := j.paced(ctx)
		if err != nil {
			return nil, err
		}
		return j.client.CustomFields(ctx)
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.Now().Before(j.Worker.refused[j.to.instance+" "+j.field]) {
		return &fieldError{fmt.Sprintf("NinjaOne refused the custom field %q a short while ago", j.field)}
	}
	return nil
}

// value is the one rule: what the field is to say for a state of Intune's.
func value(state string) ninjaone.Value {
	if text := compose.ComplianceText(state); text != "" {
		return ninjaone.Text(text)
	}
	return ninjaone.Clear()
}

// named handles devices that notifications named, by directory object id.
func (j *job) named(ctx context.Context, objectIDs []string) error {
	j.noteHeard(ctx)
	if err := j.connect(ctx); err != nil {
		return err
	}
	devices, err := j.entraIDs(ctx, objectIDs)
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return nil
	}
	book, err := j.books.open(ctx, j.to)
	if err != nil {
		return err
	}
	read := j.Now().UTC()
	lists, err := j.Devices.ManagedDevicesOf(ctx, j.to.ref, devices)
	if err != nil {
		return err
	}
	present, gone := newest(lists), []string{}
	for i, entraID := range devices {
		if len(lists[i]) == 0 {
			gone = append(gone, entraID)
		}
	}
	targets, open, err := j.targets(ctx, book, present)
	if err == nil && open && j.mayRematch(book) {
		if book, _, err = j.rematch(ctx, book, nil); err == nil {
			targets, _, err = j.targets(ctx, book, present)
		}
	}
	if err != nil {
		return err
	}
	if book.contests(present, gone) {
		// What the others of the NinjaOne device say counts as well. They are few:
		// the whole list is no dearer than asking for them.
		return j.judgeAll(ctx)
	}
	for _, entraID := range gone {
		// Not enrolled any more: what we wrote on its NinjaOne device goes, unless
		// that is another managed device's by now.
		if e, ok := book.byEntra[entraID]; ok && (book.owner[e.NinjaOneID] == "" || book.owner[e.NinjaOneID] == e.ManagedDeviceID) {
			if _, taken := targets[e.NinjaOneID]; !taken {
				targets[e.NinjaOneID] = ninjaone.Clear()
			}
		}
	}
	_, _, err = j.writeAll(ctx, targets, read, writers, time.Time{})
	return err
}

// writeAll writes values, so many at a time, and begins none after the end,
// unless that is zero. It tells how many were sent and how many were left. A
// device that cannot be written does not keep the others from it.
func (j *job) writeAll(ctx context.Context, values map[int]ninjaone.Value, read time.Time, atATime int, end time.Time) (sent, left int, err error) {
	var mu sync.Mutex
	var errs []error
	stop := false
	var group errgroup.Group
	group.SetLimit(atATime)
	for id, v := range values {
		group.Go(func() error {
			mu.Lock()
			stopped := stop || ctx.Err() != nil || !end.IsZero() && !j.Now().Before(end)
			if stopped {
				left++
			}
			mu.Unlock()
			if stopped {
				return nil
			}
			wrote, err := j.write(ctx, id, v, read)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				stop = stop || hopeless(err) || errors.Is(err, pacing.ErrBusy) || j.lost() || len(errs) >= tolerance
			} else if wrote {
				sent++
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	if ctx.Err() != nil && left > 0 {
		errs = append(errs, context.Cause(ctx))
	}
	return sent, left, errors.Join(errs...)
}

// entraIDs returns the Entra deviceIds of directory objects, from memory where
// they are known: the two never change. Devices that are gone are left out:
// what happens to their Intune record decides, and the sweep sees it.
func (j *job) entraIDs(ctx context.Context, objectIDs []string) ([]string, error) {
	var out, ask []string
	j.mu.Lock()
	for _, id := range objectIDs {
		if have := j.objects[j.to.ref.ID+id]; have != "" {
			out = append(out, have)
		} else {
			ask = append(ask, id)
		}
	}
	j.mu.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	found, err := j.Devices.EntraDeviceIDs(ctx, j.to.ref, ask)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.objects == nil || len(j.objects) >= maxObjects {
		j.objects = map[string]string{}
	}
	for _, f := range found {
		if f.DeviceID == "" {
			continue
		}
		j.objects[j.to.ref.ID+f.ObjectID] = f.DeviceID
		out = append(out, f.DeviceID)
	}
	return out, nil
}

// newest returns of each list the record that checked in last.
func newest(lists [][]tenant.ManagedDevice) []tenant.ManagedDevice {
	var out []tenant.ManagedDevice
	for _, list := range lists {
		if len(list) == 0 {
			continue
		}
		best := &list[0]
		for i := range list {
			if newer(&list[i], best) {
				best = &list[i]
			}
		}
		out = append(out, *best)
	}
	return out
}

// targets returns the values by NinjaOne device id. open is true when some
// devices can only be found by matching anew.
func (j *job) targets(ctx context.Context, b *book, present []tenant.ManagedDevice) (values map[int]ninjaone.Value, open bool, err error) {
	found, open := b.assign(present)
	values = map[int]ninjaone.Value{}
	for id, d := range found {
		if d.ComplianceState == "" {
			continue // Intune said nothing: the field stays
		}
		v := value(d.ComplianceState)
		if !b.fresh {
			_, noted, err := j.Ledger.ComplianceOf(ctx, j.to.organization(), id, j.field)
			if err != nil {
				return nil, false, err
			}
			if !noted && !v.IsClear() {
				ours, err := j.inOrganization(ctx, id)
				if err != nil {
					return nil, false, err
				}
				if !ours {
					open = true
					continue
				}
			}
		}
		values[id] = v
	}
	return values, open, nil
}

// inOrganization reports whether NinjaOne has the device, in the organization.
func (j *job) inOrganization(ctx context.Context, id int) (bool, error) {
	ctx, err := j.paced(ctx)
	if err != nil {
		return false, err
	}
	d, err := j.client.Device(ctx, id)
	if errors.Is(err, ninjaone.ErrNotFound) {
		return false, nil
	}
	return err == nil && d.OrganizationID == j.to.organizationID, err
}

// assign gives each NinjaOne device the one managed device that speaks for it,
// which is the worst of those that contest it.
// open is true when some managed devices can only be placed by matching anew.
func (b *book) assign(present []tenant.ManagedDevice) (found map[int]*tenant.ManagedDevice, open bool) {
	here := make(map[string]bool, len(present))
	for i := range present {
		here[present[i].ID] = true
	}
	found = make(map[int]*tenant.ManagedDevice, len(present))
	doubtful := map[int]bool{}
	for i := range present {
		d := &present[i]
		id, known := b.find(d)
		switch {
		case !known:
			open = true
		case id == 0:
		case b.contested[id] && b.pairs[d.ID] != id:
			doubtful[id], open = true, true // another record of one of those that contest it
		case b.pairs[d.ID] == id:
			if other := found[id]; other == nil || b.pairs[other.ID] != id || tenant.Judge(d.ComplianceState) > tenant.Judge(other.ComplianceState) {
				found[id] = d
			}
		case b.owner[id] != "" && (here[b.owner[id]] || b.owner[id] != b.byEntra[d.AzureADDeviceID].ManagedDeviceID):
			open = true // CIPP's map names a device that another record speaks for
		case found[id] != nil || doubtful[id]:
			delete(found, id)
			doubtful[id], open = true, true
		default:
			found[id] = d
		}
	}
	for id := range doubtful {
		if b.contested[id] {
			delete(found, id)
		}
	}
	return found, open
}

func (j *job) mayRematch(b *book) bool {
	return b.matched.IsZero() || j.Now().Sub(b.matched) >= rematchAfter
}

// rematch matches the whole tenant anew. It returns the new book and the list
// of managed devices that it read. The NinjaOne devices are read unless given.
func (j *job) rematch(ctx context.Context, before *book, ninja []ninjaone.Device) (*book, []tenant.ManagedDevice, error) {
	intune, err := j.Devices.MatchableDevices(ctx, j.to.ref)
	if err != nil {
		return nil, nil, err
	}
	if ninja == nil {
		if ninja, err = j.ninjaDevices(ctx, before); err != nil {
			return nil, nil, err
		}
	}
	b, err := j.books.match(ctx, j.to, before, intune, ninja)
	if err != nil {
		return nil, nil, err
	}
	j.log.InfoContext(ctx, "devices matched anew", "matched", len(b.pairs), "unmatched", len(b.absent))
	return b, intune, nil
}

// ninjaDevices lists the devices of the tenant's organization. Those that were
// matched before are asked for where the list lacks them.
func (j *job) ninjaDevices(ctx context.Context, before *book) ([]ninjaone.Device, error) {
	ctx, err := j.paced(ctx)
	if err != nil {
		return nil, err
	}
	listed, foreign, err := j.client.Devices(ctx, j.to.organizationID)
	if err != nil {
		return nil, fmt.Errorf("read the devices of NinjaOne organization %d: %w", j.to.organizationID, err)
	}
	roster, err := devicematch.JudgeDevices(ctx, j.client, j.to.organizationID, listed, foreign, slices.Collect(maps.Values(before.pairs)))
	if err != nil {
		return nil, err
	}
	if !roster.Known() {
		return nil, errors.New(roster.Odd[len(roster.Odd)-1].Message)
	}
	return roster.Devices, nil
}

// write sends one device's value if NinjaOne does not hold it, and notes what
// NinjaOne accepted. A value that a newer reading contradicts is not sent.
func (j *job) write(ctx context.Context, id int, v ninjaone.Value, read time.Time) (sent bool, err error) {
	claim, err := j.Ledger.ClaimCompliance(ctx, ledger.ComplianceWrite{
		Organization: j.to.organization(), DeviceID: id,
		TenantID: j.to.ref.ID, Field: j.field, Value: v, Read: read, Force: j.force && !v.IsClear(),
	})
	if errors.Is(err, ledger.ErrNewerState) || err == nil && claim == nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	slot, err := j.paced(ctx)
	if err != nil {
		_, noteErr := claim.Settle(ctx, ledger.Refused)
		return false, errors.Join(err, noteErr)
	}
	bounded, cancel := context.WithTimeout(slot, writeTime)
	defer cancel()
	err = j.client.UpdateDeviceFields(bounded, id, ninjaone.Fields{j.field: v})
	overtaken, noteErr := claim.Settle(ctx, outcome(err))
	switch {
	case errors.Is(err, ninjaone.ErrNotFound):
		return false, j.Ledger.ForgetDevice(ctx, j.to.organization(), id)
	case err != nil:
		if refused, ok := errors.AsType[*ninjaone.RefusedError](err); ok && refused.Refused[j.field] != nil {
			j.mu.Lock()
			if j.Worker.refused == nil {
				j.Worker.refused = map[string]time.Time{}
			}
			j.Worker.refused[j.to.instance+" "+j.field] = j.Now().Add(refusedFor)
			j.mu.Unlock()
			return false, &fieldError{fmt.Sprintf("NinjaOne refused the custom field %q on device %d: %v", j.field, id, refused.Refused[j.field])}
		}
		return false, fmt.Errorf("write the compliance of NinjaOne device %d: %w", id, err)
	case overtaken:
		j.log.InfoContext(ctx, "two readings of a device were written at once; the next sweep writes it again", "device", id)
	}
	j.log.DebugContext(ctx, "compliance written", "device", id, "value", v.String())
	return true, noteErr
}

// outcome tells from the error of a write what NinjaOne holds.
func outcome(err error) ledger.Outcome {
	if err == nil {
		return ledger.Accepted
	}
	_, refused := errors.AsType[*ninjaone.RefusedError](err)
	for _, untouched := range []error{ninjaone.ErrNotSent, ninjaone.ErrForbidden, ninjaone.ErrUnauthorized, ninjaone.ErrThrottled, ninjaone.ErrWrongInstance, ninjaone.ErrNotFound} {
		refused = refused || errors.Is(err, untouched)
	}
	if refused {
		return ledger.Refused
	}
	return ledger.Lost
}
