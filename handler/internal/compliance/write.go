package compliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
)

const (
	// writeTime is how long writing one device may take, throttling included. It stays
	// below the life of a claim.
	writeTime = 3 * time.Minute
	// The worker writes as many devices of one message at a time as writers says. After
	// tolerance failures it does not try the others.
	writers   = 4
	tolerance = 5
)

// writeAll writes values, so many at a time, and begins none after the end, unless that
// is zero. It tells how many it sent and how many it left. A device that it cannot write
// does not hold back the others.
func (j *job) writeAll(ctx context.Context, values map[int]ninjaone.Fields, read time.Time, atATime int, end time.Time) (sent, left int, err error) {
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

// write sends a device's values that NinjaOne does not hold, in one call. It notes what
// NinjaOne accepted. It does not send a value that a newer reading contradicts.
func (j *job) write(ctx context.Context, id int, values ninjaone.Fields, read time.Time) (sent bool, err error) {
	send := ledger.NewSharedSend(id, values, j.force, j.shown[id])
	batch, err := j.Ledger.MarkShared(ctx, j.to.Organization, ledger.Reading{TenantID: j.to.Ref.ID, Fields: j.fields, Began: read}, send)
	if err != nil || batch == nil {
		return false, err
	}
	slot, err := j.paced(ctx)
	if err != nil {
		send.HoldAll()
		return false, errors.Join(err, batch.Settle(ctx))
	}
	bounded, cancel := context.WithTimeout(slot, writeTime)
	defer cancel()
	err = j.client.UpdateDeviceFields(bounded, id, send.Values, false)
	refusal, refused := errors.AsType[*ninjaone.RefusedError](err)
	switch {
	case errors.Is(err, ninjaone.ErrNotFound):
		send.Gone()
	case refused:
		send.Partly(refusal, j.Now())
	case untouched(err):
		send.HoldAll()
	case err == nil:
		for name := range send.Values {
			send.Accept(name, j.Now())
		}
	}
	noteErr := batch.Settle(ctx)
	switch {
	case errors.Is(err, ninjaone.ErrNotFound):
		return false, noteErr
	case err != nil:
		if refused && len(refusal.Refused) > 0 {
			problem := j.refused(id, refusal.Refused)
			if refusal.Refused[j.fields.Compliance] != nil || refusal.Cause != nil || len(send.Values) == 1 {
				return false, problem
			}
			j.log.WarnContext(ctx, "NinjaOne took a device's compliance alone, without the settings that fail", "device", id, "error", problem)
			return true, noteErr
		}
		return false, fmt.Errorf("write the compliance of NinjaOne device %d: %w", id, err)
	case send.Overtaken:
		j.log.InfoContext(ctx, "two readings of a device were written at once; the next sweep writes it again", "device", id)
	}
	j.log.DebugContext(ctx, "compliance written", "device", id, "fields", len(send.Values))
	return true, noteErr
}

// untouched reports whether NinjaOne holds what it held before a write that failed.
func untouched(err error) bool {
	return slices.ContainsFunc([]error{ninjaone.ErrNotSent, ninjaone.ErrForbidden, ninjaone.ErrUnauthorized, ninjaone.ErrThrottled, ninjaone.ErrWrongInstance},
		func(target error) bool { return errors.Is(err, target) })
}
