package compliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// sweepWriters is how many devices of one sweep are written at a time, and
	// sweepsWriting how many sweeps of this process write at a time: few, so
	// that notifications get their turn.
	sweepWriters  = 1
	sweepsWriting = 2
	// writeBudget is how long one message may write the differences of a whole
	// tenant. The rest is left to a further message, so that those of other
	// tenants get their turn.
	writeBudget = 30 * time.Second
	// noteTime bounds noting what happened when there is no time left for it.
	noteTime = 10 * time.Second
)

// errSweeping says that as many sweeps write as may.
var errSweeping = errors.New("other sweeps are writing")

// putBack queues a sweep for later, unless the tenant is swept before. Those of
// different tenants are spread.
func (w *Worker) putBack(ctx context.Context, m Message, delay time.Duration) error {
	if m.Since.IsZero() {
		m.Since = w.Now().UTC()
	}
	return w.Queue.Send(ctx, m, delay+time.Duration(share(m.TenantID, "put back")*float64(delay)))
}

// sweep compares all of a tenant's devices with what NinjaOne last accepted.
// What goes wrong is noted in the tenant's status and left to the next sweep.
// The error is for what does not count as having gone wrong, or could not even
// be noted.
func (j *job) sweep(ctx context.Context, m Message) error {
	if !m.Since.IsZero() {
		s, err := loadStatus(ctx, j.Table, j.to.ref.ID)
		if err != nil || s.LastSweep.After(m.Since) {
			return err
		}
	}
	if len(j.sweeps) == cap(j.sweeps) {
		return errSweeping
	}
	started := j.Now().UTC()
	found, err := j.compare(ctx, false)
	switch {
	case errors.Is(err, pacing.ErrBusy), errors.Is(err, errSweeping), err != nil && j.lost():
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case err == nil && found.left > 0 && found.sent == 0:
		err = fmt.Errorf("NinjaOne took none of %d changed devices within %s", found.left, writeBudget)
	}
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	fails := false // since now
	noteErr := saveSweep(noting, j.Table, j.to.ref.ID, func(now *Status) {
		last, kind := now.LastSweep, now.Kind
		now.LastSweep, now.Devices, now.Changes = started, found.devices, found.sent
		now.Kind, now.Problem, now.RetryAfter = explain(err, started)
		if now.Kind != kind {
			now.Since = started
		}
		fails = now.Kind != "" && now.Kind != kind
		if err == nil && !m.Rest {
			now.countMissed(last, found.changed, started)
		}
	})
	if fails {
		j.log.WarnContext(ctx, "the sweep of the tenant's devices failed", "error", err)
	}
	j.log.DebugContext(ctx, "tenant swept", "devices", found.devices, "written", found.sent, "left", found.left)
	if noteErr != nil || err != nil {
		return noteErr
	}
	return j.goOn(ctx, found)
}

// burst handles many devices that notifications named: one list of the whole
// tenant costs less than asking for each.
func (j *job) burst(ctx context.Context) error {
	j.noteHeard(ctx)
	return j.judgeAll(ctx)
}

// judgeAll brings all of a tenant's devices up to date at once.
func (j *job) judgeAll(ctx context.Context) error {
	found, err := j.compare(ctx, true)
	if err == nil && found.left > 0 && found.sent == 0 {
		err = fmt.Errorf("NinjaOne took none of %d changed devices within %s", found.left, writeBudget)
	}
	if err != nil {
		return err
	}
	return j.goOn(ctx, found)
}

// goOn leaves what there was no time for to another message.
func (j *job) goOn(ctx context.Context, found findings) error {
	if found.left == 0 {
		return nil
	}
	return j.Queue.Send(ctx, Message{TenantID: j.to.ref.ID, Rest: true}, 0)
}

// findings is what comparing found.
type findings struct {
	devices int // managed devices in Intune
	changed int // fields that said something else than Intune
	sent    int // fields written
	left    int // fields that there was no time for
}

// compare reads, compares and writes. A burst of notifications does not wait
// for sweeps.
func (j *job) compare(ctx context.Context, burst bool) (f findings, err error) {
	read := j.Now().UTC()
	present, err := j.Devices.ComplianceStates(ctx, j.to.ref)
	if err != nil {
		return f, err
	}
	f.devices = len(present)
	if err := j.connect(ctx); err != nil {
		return f, err
	}
	// The order matters: see MarkSwept; and a device that the sync writes has
	// its match stored before its note.
	if err := j.Ledger.MarkSwept(ctx, j.to.ref.ID, read); err != nil {
		return f, err
	}
	notes, err := j.Ledger.Compliance(ctx, j.to.organization(), j.field)
	if err != nil {
		return f, err
	}
	book, err := j.books.load(ctx, j.to)
	if err != nil {
		return f, err
	}
	found, open := book.assign(present)
	var ninja []ninjaone.Device
	if stray := unnoted(found, notes); stray && !book.fresh {
		// Pairs without note are trusted only if the organization has the device.
		if ninja, err = j.ninjaDevices(ctx, book); err != nil {
			return f, err
		}
		open = drop(found, notes, ninja) || open
	}
	if open && j.mayRematch(book) {
		read = j.Now().UTC()
		if book, present, err = j.rematch(ctx, book, ninja); err != nil {
			return f, err
		}
		found, open = book.assign(present)
	}
	values := j.differences(found, notes, open)
	for id, v := range values {
		if notes[id].Changed(v) {
			f.changed++
		}
	}
	if len(values) == 0 {
		return f, nil
	}
	atATime := writers
	if !burst {
		select {
		case j.sweeps <- struct{}{}:
			defer func() { <-j.sweeps }()
		default:
			return f, errSweeping
		}
		atATime = sweepWriters
	}
	f.sent, f.left, err = j.writeAll(ctx, values, read, atATime, j.Now().Add(writeBudget))
	return f, err
}

// differences returns the values that NinjaOne does not hold. While devices
// are still to be matched, nothing is cleared for want of a managed device.
func (j *job) differences(found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance, open bool) map[int]ninjaone.Value {
	values := map[int]ninjaone.Value{}
	for id, d := range found {
		note := notes[id]
		if d.ComplianceState == "" {
			continue // Intune said nothing: the field stays
		}
		if v := value(d.ComplianceState); !note.Holds(v) && (note.TenantID == "" || note.TenantID == j.to.ref.ID) {
			values[id] = v
		}
	}
	for id, note := range notes {
		if found[id] == nil && !open && note.TenantID == j.to.ref.ID && note.Ours() {
			values[id] = ninjaone.Clear()
		}
	}
	return values
}

// unnoted reports whether a device is to be written that has no note.
func unnoted(found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance) bool {
	for id, d := range found {
		if _, noted := notes[id]; !noted && !value(d.ComplianceState).IsClear() {
			return true
		}
	}
	return false
}

// drop takes out devices without note that NinjaOne does not have in the
// organization, and reports whether there were any.
func drop(found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance, ninja []ninjaone.Device) bool {
	has := make(map[int]bool, len(ninja))
	for _, d := range ninja {
		has[d.ID] = true
	}
	dropped := false
	for id := range found {
		if _, noted := notes[id]; !noted && !has[id] {
			delete(found, id)
			dropped = true
		}
	}
	return dropped
}

// The kinds of problem that a sweep can have.
const (
	kindSignIn   = "signin"   // the tenant gives no token; the sync says so too
	kindNoIntune = "nointune" // nothing is wrong: there is nothing to read
	kindField    = "field"    // NinjaOne's field cannot be written
	kindFailed   = "failed"   // anything else, mostly passing
)

// explain words what went wrong, and until when trying again is of no use.
func explain(err error, now time.Time) (kind, problem string, retryAfter time.Time) {
	if err == nil {
		return "", "", time.Time{}
	}
	problem = err.Error()
	if _, ok := errors.AsType[*m365.NoIntuneError](err); ok {
		return kindNoIntune, "", now.Add(6 * time.Hour)
	}
	if _, ok := errors.AsType[*m365.AuthError](err); ok {
		return kindSignIn, problem, now.Add(time.Hour)
	}
	if _, ok := errors.AsType[*fieldError](err); ok {
		return kindField, problem, now.Add(time.Hour)
	}
	return kindFailed, problem, time.Time{}
}

// tick is how often the timer of SweepCompliance fires.
const tick = 15 * time.Minute

// Sweeper enqueues a sweep for every tenant, spread over the interval.
type Sweeper struct {
	Assignments *Assignments
	Table       *storage.Table // NinjaOneSubscriptions
	Queue       Queue          // ninjaone-compliance
	Every       time.Duration  // how often each tenant is swept; 0 for never
	Now         func() time.Time
	Log         *slog.Logger
}

// Tick enqueues the sweeps of the next quarter of an hour. A tenant's place in
// the interval never changes, so that the load is even.
func (s *Sweeper) Tick(ctx context.Context) error {
	if s.Every <= 0 {
		return nil
	}
	all, err := s.Assignments.all(ctx)
	if err != nil {
		return err
	}
	statuses, err := loadStatuses(ctx, s.Table)
	if err != nil {
		return err
	}
	now := s.Now().UTC()
	// A timer may fire a little early; half a tick makes up for that.
	ticks := int64(math.Ceil(float64(s.Every) / float64(tick)))
	current := now.Add(tick/2).Unix() / int64(tick/time.Second) % ticks
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	sent := 0
	for id := range all {
		place := share(id, "sweep") * float64(ticks)
		if int64(place) != current || now.Before(statuses[id].RetryAfter) {
			continue
		}
		sent++
		group.Go(func() error {
			delay := time.Duration((place - math.Floor(place)) * float64(tick))
			if err := s.Queue.Send(gctx, Message{TenantID: id}, delay); err != nil {
				return fmt.Errorf("queue the sweep of tenant %s: %w", id, err)
			}
			return nil
		})
	}
	err = group.Wait()
	s.Log.InfoContext(ctx, "compliance sweeps queued", "tenants", len(all), "queued", sent)
	return err
}
