package compliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// A sweep writes sweepWriters devices at a time, and sweepsWriting sweeps of this
	// process write at a time. They are few, so that notifications get their turn.
	sweepWriters  = 1
	sweepsWriting = 2
	// writeBudget is how long one message may write the differences of a whole tenant.
	// The worker leaves the rest to a further message, so that those of other tenants get
	// their turn.
	writeBudget = 30 * time.Second
	// noteTime bounds noting what happened when there is no time left for it.
	noteTime = 10 * time.Second
	// tick is how often the timer of SweepCompliance fires.
	tick = 15 * time.Minute
)

// QueueSweeps queues the sweeps of the next quarter of an hour. A tenant's place
// in the interval never changes, so that the load is even.
func (w *Worker) QueueSweeps(ctx context.Context) error {
	if w.SweepEvery <= 0 {
		return nil
	}
	all, err := w.Assignments.Read(ctx)
	if err != nil {
		return err
	}
	statuses, err := w.Statuses.All(ctx)
	if err != nil {
		return err
	}
	now := w.Now().UTC()
	// A timer may fire a little early; half a tick makes up for that.
	ticks := int64(math.Ceil(float64(w.SweepEvery) / float64(tick)))
	current := now.Add(tick/2).Unix() / int64(tick/time.Second) % ticks
	delays := map[string]time.Duration{}
	for id := range all.ByTenant {
		place := roster.Share(id, "sweep") * float64(ticks)
		if int64(place) != current || now.Before(statuses[id].RetryAfter) {
			continue
		}
		delays[id] = time.Duration((place - math.Floor(place)) * float64(tick))
	}
	sent, err := roster.Each(maps.Keys(delays), func(id string) error {
		if err := w.Queue.Send(ctx, notify.Message{TenantID: id}, delays[id]); err != nil {
			return fmt.Errorf("queue the sweep of tenant %s: %w", id, err)
		}
		return nil
	})
	w.Log.InfoContext(ctx, "compliance sweeps queued", "tenants", len(all.ByTenant), "queued", len(sent))
	return err
}

// errSweeping says that as many sweeps write as may.
var errSweeping = errors.New("other sweeps are writing")

// putBack queues a sweep for later, unless the tenant is swept before. Those of
// different tenants are spread.
func (w *Worker) putBack(ctx context.Context, m notify.Message, delay time.Duration) error {
	if m.Since.IsZero() {
		m.Since = w.Now().UTC()
	}
	return w.Queue.Send(ctx, m, delay+time.Duration(roster.Share(m.TenantID, "put back")*float64(delay)))
}

// sweep compares all of a tenant's devices with what NinjaOne last accepted. It notes
// what goes wrong in the tenant's status, and leaves it to the next sweep. The error is
// for what does not count as having gone wrong, or could not even be noted.
func (j *job) sweep(ctx context.Context, m notify.Message) error {
	s, err := j.Statuses.Of(ctx, j.to.Ref.ID)
	if err != nil || !m.Since.IsZero() && s.LastSweep.After(m.Since) {
		return err
	}
	if len(j.sweeping) == cap(j.sweeping) {
		return errSweeping
	}
	started := j.Now().UTC()
	found, err := j.compare(ctx, false, s.LastSweep)
	switch {
	case errors.Is(err, pacing.ErrBusy), errors.Is(err, errSweeping), err != nil && j.lost():
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	fails := false // since now
	noteErr := j.Statuses.NoteSweep(noting, j.to.Ref.ID, func(now *assignments.Status) {
		last, kind := now.LastSweep, now.Kind
		now.LastSweep, now.Devices, now.Changes = started, found.devices, found.sent
		now.Kind, now.Problem, now.RetryAfter = explain(err, started)
		if now.Kind != kind {
			now.Since = started
		}
		fails = now.Kind != "" && now.Kind != kind
		if err == nil && !m.Rest {
			now.CountMissed(last, found.changed, started)
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

// explain words what went wrong, and until when trying again is of no use.
func explain(err error, now time.Time) (kind, problem string, retryAfter time.Time) {
	if err == nil {
		return "", "", time.Time{}
	}
	problem = err.Error()
	if _, ok := errors.AsType[*m365.NoIntuneError](err); ok {
		return assignments.KindNoIntune, "", now.Add(6 * time.Hour)
	}
	if _, ok := errors.AsType[*m365.AuthError](err); ok {
		return assignments.KindSignIn, problem, now.Add(time.Hour)
	}
	if _, ok := errors.AsType[*fieldError](err); ok {
		return assignments.KindField, problem, now.Add(time.Hour)
	}
	return assignments.KindFailed, problem, time.Time{}
}

// judgeAll brings all of a tenant's devices up to date at once.
func (j *job) judgeAll(ctx context.Context) error {
	found, err := j.compare(ctx, true, j.Now())
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
	return j.Queue.Send(ctx, notify.Message{TenantID: j.to.Ref.ID, Rest: true}, 0)
}

// findings is what comparing found.
type findings struct {
	devices int // managed devices in Intune
	changed int // fields that said something else than Intune
	sent    int // fields written
	left    int // fields that there was no time for
}

// present lists the tenant's devices: as they were seen since a time, or else as
// Intune has them now.
func (j *job) present(ctx context.Context, since time.Time) (list []tenant.ManagedDevice, read time.Time, err error) {
	if list, read, err = j.Seen(ctx, j.to.Ref.ID, since); err != nil || !read.IsZero() {
		return list, read, err
	}
	read = j.Now().UTC()
	list, err = j.Devices.ComplianceStates(ctx, j.to.Ref)
	return list, read, err
}

// compare compares and writes what was read of the devices since a time, or is
// read now. A burst of notifications does not wait for sweeps.
func (j *job) compare(ctx context.Context, burst bool, since time.Time) (f findings, err error) {
	present, read, err := j.present(ctx, since)
	if err != nil {
		return f, err
	}
	f.devices = len(present)
	if err := j.connect(ctx); err != nil {
		return f, err
	}
	// The order matters: see MarkSwept; and a device that the sync writes has
	// its match stored before its note.
	if err := j.Ledger.MarkSwept(ctx, j.to.Ref.ID, read); err != nil {
		return f, err
	}
	notes, err := j.Ledger.Compliance(ctx, j.to.Organization, j.fields)
	if err != nil {
		return f, err
	}
	book, err := j.Books.Read(ctx, j.to.Ref.ID, j.to.Organization)
	if err != nil {
		return f, err
	}
	found, open := book.Assign(present)
	var ninja []ninjaone.Device
	if stray := unnoted(found, notes); stray && !book.Fresh {
		// The sweep trusts pairs without a note only if the organization has the device.
		if ninja, err = j.ninjaDevices(ctx, book); err != nil {
			return f, err
		}
		open = drop(found, notes, ninja) || open
	}
	if open && j.Books.MayRematch(book) {
		read = j.Now().UTC()
		if book, present, err = j.rematch(ctx, book, ninja); err != nil {
			return f, err
		}
		found, open = book.Assign(present)
	}
	policies, err := j.readPolicies(ctx, found)
	if err != nil {
		return f, err
	}
	values := j.differences(found, policies, notes, open)
	if err := j.takeOver(ctx, book, values, found, notes); err != nil {
		return f, err
	}
	for id, device := range values {
		for name, v := range device {
			if notes[id].Changed(name, v) {
				f.changed++
				break
			}
		}
	}
	if len(values) == 0 {
		return f, j.unwritten
	}
	atATime := writers
	if !burst {
		select {
		case j.sweeping <- struct{}{}:
			defer func() { <-j.sweeping }()
		default:
			return f, errSweeping
		}
		atATime = sweepWriters
	}
	f.sent, f.left, err = j.writeAll(ctx, values, read, atATime, j.Now().Add(writeBudget))
	if err == nil {
		err = j.unwritten
	}
	if err == nil && f.left > 0 && f.sent == 0 {
		err = fmt.Errorf("NinjaOne took none of %d changed devices within %s", f.left, writeBudget)
	}
	return f, err
}

// unnoted reports whether a device without a note is to get a value.
func unnoted(found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance) bool {
	for id, d := range found {
		if _, noted := notes[id]; !noted && !value(d.ComplianceState).IsClear() {
			return true
		}
	}
	return false
}

// drop takes out devices without a note that the NinjaOne organization lacks. It reports
// whether there were any.
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
