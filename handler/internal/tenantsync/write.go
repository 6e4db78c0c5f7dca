package tenantsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// writers is how many targets are written at once. The client's pacing
	// sets the rate; this only keeps slow answers from adding up.
	writers = 8
	// hopeless is after how many failed targets, with none written, a run
	// gives up: NinjaOne is not answering, not a single device.
	hopeless = 10
	// stubborn is on how many devices NinjaOne must have refused a field, and
	// accepted it on none, before the run stops sending it: every refusal costs
	// a call per field.
	stubborn = 3
)

// write sends what the targets do not hold yet.
func (j *job) write(ctx context.Context, records map[target]*record, desired wanted) error {
	plan, err := j.plan(ctx, records, desired)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	var mu sync.Mutex
	failures := 0
	refusals := refusals{}
	for _, p := range plan {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error {
			mu.Lock()
			send := refusals.without(p)
			mu.Unlock()
			if len(send) == 0 {
				return nil
			}
			p.last = p.last && len(send) == len(p.values)
			p.values = send
			outcome, err := j.send(gctx, p)
			mu.Lock()
			defer mu.Unlock()
			refusals.note(p, outcome, err)
			j.count(p, outcome)
			if err == nil || !outcome.tolerable {
				return err
			}
			j.tell(p, err)
			if _, refused := errors.AsType[*ninjaone.RefusedError](err); refused {
				return nil // NinjaOne answers: it is the field, not the service
			}
			failures++
			if failures >= hopeless && j.run.Devices+j.run.OrganizationFields == 0 {
				return failed("NinjaOne accepted none of the first %d writes; the last answer was: %w", failures, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// refusals counts, per custom field of devices, how often NinjaOne refused it
// before it accepted it once.
type refusals map[string]int

// proven marks a field that NinjaOne is known to accept.
const proven = -1

func (r refusals) note(p sending, o outcome, err error) {
	refused, ok := errors.AsType[*ninjaone.RefusedError](err)
	if p.record.target.kind != kindDevice || (err != nil && !ok) || o.gone {
		return
	}
	for name := range p.values {
		switch {
		case ok && refused.Refused[name] != nil:
			if r[name] != proven {
				r[name]++
			}
		default:
			r[name] = proven
		}
	}
}

// without returns the values to send, less the fields that NinjaOne refuses
// wherever they are sent.
func (r refusals) without(p sending) ninjaone.Fields {
	if p.record.target.kind != kindDevice {
		return p.values
	}
	send := ninjaone.Fields{}
	for name, v := range p.values {
		if r[name] < stubborn {
			send[name] = v
		}
	}
	return send
}

// sending is one target with the values it is about to be sent.
type sending struct {
	record *record
	values ninjaone.Fields
	force  bool // send the compliance text also where NinjaOne is noted to hold it
	last   bool // the record is of no use once this is accepted
}

// plan lists what is to be sent, and marks it as under way before anything
// is: a run that is killed between NinjaOne's answer and our note leaves
// marks, never a digest that is no longer true.
func (j *job) plan(ctx context.Context, records map[target]*record, desired wanted) ([]sending, error) {
	var plan []sending
	var marked []*record
	for t, want := range desired {
		r := records[t]
		if r == nil {
			r = &record{target: t, fields: map[string]string{}}
		}
		if t.kind == kindDevice && r.tenantID != j.ref.ID {
			// The device was another tenant's: nothing noted of it is ours.
			r.tenantID = j.ref.ID
		}
		force := j.run.Owed == owedAll || r.weekly(j.Now())
		send := r.changes(want, force)
		if len(send) == 0 {
			j.run.Unchanged++
			continue
		}
		// What the field holds may be unknown although the note of it is not.
		force = force || r.fields[j.compliance] == markSending
		last := true
		for name := range send {
			r.fields[name] = markSending
		}
		for name, noted := range r.fields {
			v, sent := send[name]
			last = last && (sent && v.IsClear() || !sent && !accepted.Holds(noted))
		}
		marked = append(marked, r)
		plan = append(plan, sending{r, send, force, last})
	}
	slices.SortFunc(plan, func(a, b sending) int {
		return cmp.Or(-cmp.Compare(a.record.target.kind, b.record.target.kind), cmp.Compare(a.record.target.id, b.record.target.id))
	})
	if err := j.State.saveAll(ctx, j.instance, j.mapping.OrganizationID, marked); err != nil {
		return nil, err
	}
	if j.run.Owed == owedAll {
		j.run.Owed = owedDocuments
		if err := j.State.SaveRun(ctx, j.run); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// outcome is how the sending of one target ended.
type outcome struct {
	accepted  int
	gone      bool // NinjaOne does not know the target any more
	tolerable bool // the error concerns this target alone
}

// send writes one target and notes what NinjaOne accepted.
func (j *job) send(ctx context.Context, p sending) (outcome, error) {
	t := p.record.target
	if organization, left := j.left[t]; left {
		owned, err := j.State.owned(ctx, j.instance, organization, t.id)
		if err != nil {
			return outcome{}, err
		}
		if owned { // its new tenant wrote it since this run looked
			return j.gone(ctx, t)
		}
	}
	claim, err := j.claim(ctx, &p)
	if err != nil {
		return outcome{}, err
	}
	if len(p.values) == 0 {
		return outcome{}, nil // a newer compliance state is known, and being written
	}
	if t.kind == kindOrganization {
		err = j.client.UpdateOrganizationFields(ctx, t.id, p.values)
	} else {
		err = j.client.UpdateDeviceFields(ctx, t.id, p.values)
	}
	refused, taken := map[string]error{}, ninjaone.Fields{}
	r, answered := errors.AsType[*ninjaone.RefusedError](err)
	if answered {
		refused = r.Refused
	}
	if answered || err == nil {
		for name, v := range p.values {
			if refused[name] == nil {
				p.record.fields[name] = digest(v)
				taken[name] = v
			}
		}
	}
	if len(taken) > 0 {
		p.record.written = j.Now()
	}
	p.last = p.last && len(taken) == len(p.values)
	p.record.taken = taken
	defer func() { p.record.taken = nil }() // the record outlives the run's writing, the values need not
	overtaken, settleErr := j.settle(ctx, claim, p.record, len(taken) > 0 && !p.last, err)
	switch {
	case settleErr != nil:
		return outcome{}, settleErr
	case !answered && errors.Is(err, ninjaone.ErrNotFound):
		return j.gone(ctx, t)
	case !answered && err != nil:
		return outcome{tolerable: accepted.Tolerable(ctx, err)}, err
	case p.last && !overtaken:
		return outcome{accepted: len(taken)}, j.State.forget(ctx, j.instance, j.mapping.OrganizationID, t)
	case p.last: // somebody else still needs the record
		return outcome{accepted: len(taken)}, j.State.save(context.WithoutCancel(ctx), j.instance, j.mapping.OrganizationID, p.record)
	}
	return outcome{accepted: len(taken), tolerable: len(refused) > 0}, err
}

// gone handles a target that NinjaOne does not know any more.
func (j *job) gone(ctx context.Context, t target) (outcome, error) {
	if t.kind == kindOrganization {
		return outcome{}, failed("NinjaOne organization %d was deleted while it was written: map the tenant to another one in CIPP, or remove the mapping", t.id)
	}
	return outcome{gone: true}, j.State.forget(ctx, j.instance, j.mapping.OrganizationID, t)
}

// count adds one target's outcome to the run.
func (j *job) count(p sending, o outcome) {
	switch {
	case o.accepted == 0:
	case p.record.target.kind == kindOrganization:
		j.run.OrganizationFields += o.accepted
	default:
		j.run.Devices++
	}
}

// tell notes why a target, or some of its fields, could not be written.
func (j *job) tell(p sending, err error) {
	t := p.record.target
	if r, ok := errors.AsType[*ninjaone.RefusedError](err); ok {
		for name, cause := range r.Refused {
			j.problems.count("refused:"+string(t.kind)+":"+name, fmt.Sprintf("%s: %v", t, cause), func(n int, first string) string {
				if n == 1 {
					return fmt.Sprintf("NinjaOne refused the custom field %q on %s", name, sentence(first))
				}
				return fmt.Sprintf("NinjaOne refused the custom field %q on at least %d devices; the first is %s", name, n, sentence(first))
			})
		}
		return
	}
	j.problems.count("write:"+string(t.kind), fmt.Sprintf("%s: %v", t, err), func(n int, first string) string {
		if n == 1 {
			return "One target could not be written in NinjaOne and is tried again with the next run: " + sentence(first)
		}
		return fmt.Sprintf("%d devices could not be written in NinjaOne and are tried again with the next run; the first is %s", n, sentence(first))
	})
}
