package tenantsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// writers is how many targets are written at once. The client's pacing
	// sets the rate; this only keeps slow answers from adding up.
	writers = 8
	// together is how many targets are composed and marked at once, which is
	// what one transaction of the table takes.
	together = 100
	// hopeless is after how many failed targets, with none written, a run
	// gives up: NinjaOne is not answering, not a single device.
	hopeless = 10
	// stubborn is on how many devices NinjaOne must have refused a field, and
	// accepted it on none, before the run stops sending it: every refusal costs
	// a call per field.
	stubborn = 3
)

// write sends what the targets do not hold yet. It composes, marks and sends a
// part of them after another, so that it never holds the values of all.
func (j *job) write(ctx context.Context, records map[ledger.Target]*ledger.Record, desired wants) error {
	if err := j.owe(ctx, records, desired); err != nil {
		return err
	}
	targets := slices.SortedFunc(maps.Keys(desired), func(a, b ledger.Target) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	w := writing{job: j, refusals: refusals{}}
	j.cleared = map[string]int{}
	for part := range slices.Chunk(targets, together) {
		plan, err := j.plan(ctx, records, desired, part)
		if err != nil {
			return err
		}
		for _, t := range part {
			w.refusals.recall(records[t], j.run.Begun)
		}
		left, err := ninjaone.Each(ctx, plan, writers, func(p sending) error { return w.one(ctx, p) })
		if err = errors.Join(err, w.takeBack(ctx, append(w.unsent, left...))); err != nil {
			return err
		}
		w.unsent = nil
	}
	return ctx.Err()
}

// writing is what the writers of one run share.
type writing struct {
	*job
	mu       sync.Mutex
	failures int
	refusals refusals
	unsent   []sending // to which nothing was sent although it was planned
}

// takeBack removes the marks of targets to which nothing was sent, also when the
// run has just been told to stop: what they hold is as well known as before.
func (w *writing) takeBack(ctx context.Context, unsent []sending) error {
	if len(unsent) == 0 {
		return nil
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	records := make([]*ledger.Record, 0, len(unsent))
	for _, p := range unsent {
		p.unmark(maps.Keys(p.values))
		records = append(records, p.record)
	}
	return w.Ledger.Save(ctx, w.organization(), records...)
}

// one writes one target. The error ends the run.
func (w *writing) one(ctx context.Context, planned sending) error {
	p := planned
	w.mu.Lock()
	p.values = w.refusals.without(p)
	if len(p.values) == 0 {
		w.unsent = append(w.unsent, planned)
	}
	w.mu.Unlock()
	if len(p.values) == 0 {
		return nil
	}
	if len(p.values) < len(planned.values) {
		p.last = false
		p.unmark(func(yield func(string) bool) {
			for name := range planned.values {
				if _, sent := p.values[name]; !sent && !yield(name) {
					return
				}
			}
		})
	}
	outcome, err := w.send(ctx, p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if outcome.unsent {
		w.unsent = append(w.unsent, planned)
	}
	w.refusals.note(p, outcome, err)
	w.count(p, outcome)
	if outcome.learned {
		w.learned++
	}
	if err == nil || !outcome.tolerable {
		return err
	}
	w.tell(p, err)
	if refused, ok := errors.AsType[*ninjaone.RefusedError](err); ok && refused.Cause == nil {
		return nil // NinjaOne answers: it is the field, not the service
	}
	w.failures++
	if w.failures >= hopeless && w.run.Devices+w.run.OrganizationFields == 0 {
		return failed("NinjaOne accepted none of the first %d writes; the last answer was: %w", w.failures, err)
	}
	return nil
}

// refusals counts, per custom field of devices, how often NinjaOne refused it
// before it accepted it once.
type refusals map[string]int

// proven marks a field that NinjaOne is known to accept.
const proven = -1

func (r refusals) note(p sending, o outcome, err error) {
	refused, ok := errors.AsType[*ninjaone.RefusedError](err)
	if p.record.Target.Kind != ledger.KindDevice || (err != nil && !ok) || o.gone {
		return
	}
	for name := range p.values {
		left := false
		if ok {
			_, left = refused.Left[name]
		}
		switch {
		case ok && refused.Refused[name] != nil:
			r.refused(name)
		case !left:
			r[name] = proven
		}
	}
}

func (r refusals) refused(name string) {
	if r[name] != proven {
		r[name]++
	}
}

// recall counts what earlier ones of these runs were refused.
func (r refusals) recall(rec *ledger.Record, begun time.Time) {
	if rec != nil && rec.Target.Kind == ledger.KindDevice {
		for name := range rec.Singled.Of(begun) {
			r.refused(name)
		}
	}
}

// without returns the values to send, less the fields that NinjaOne refuses
// wherever they are sent.
func (r refusals) without(p sending) ninjaone.Fields {
	if p.record.Target.Kind != ledger.KindDevice {
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
	record *ledger.Record
	values ninjaone.Fields
	before map[string]string // what the record noted before the values were marked
	force  bool              // send the compliance text also where NinjaOne is noted to hold it
	last   bool              // the record is of no use once this is accepted
}

// unmark takes the marks of fields back that were not sent.
func (p sending) unmark(names iter.Seq[string]) {
	for name := range names {
		if noted, had := p.before[name]; had {
			p.record.Fields[name] = noted
		} else {
			delete(p.record.Fields, name)
		}
	}
}

// owe marks as unknown all that the targets of a forced run hold of ours, so
// that it is sent again by this run or, should this one end early, by the next.
func (j *job) owe(ctx context.Context, records map[ledger.Target]*ledger.Record, desired wants) error {
	if j.run.Owed != runs.OwedAll {
		return nil
	}
	var marked []*ledger.Record
	for t := range desired {
		if r := records[t]; r != nil && r.HoldsAny() {
			r.MarkUnknown()
			marked = append(marked, r)
		}
	}
	if err := j.Ledger.Save(ctx, j.organization(), marked...); err != nil {
		return err
	}
	j.run.Owed = runs.OwedDocuments
	return j.Runs.Save(ctx, j.run)
}

// plan lists what is to be sent to a part of the targets, and marks it as under
// way before anything is: a run that is killed between NinjaOne's answer and our
// note leaves marks, never a digest that is no longer true.
func (j *job) plan(ctx context.Context, records map[ledger.Target]*ledger.Record, desired wants, targets []ledger.Target) ([]sending, error) {
	var plan []sending
	var marked []*ledger.Record
	for _, t := range targets {
		want, err := desired[t]()
		if err != nil {
			j.problems.Count("devices:compose", fmt.Sprintf("%s: %v", t, err), func(n int, first string) string {
				return fmt.Sprintf("%d devices could not be composed; the first is %s", n, sentence(first))
			})
			continue
		}
		r := records[t]
		if r == nil {
			r = &ledger.Record{Target: t, Fields: map[string]string{}}
		}
		// What another tenant wrote on the device before is ours to keep and to
		// clear from now on, whether or not anything differs.
		moved := t.Kind == ledger.KindDevice && r.TenantID != "" && r.TenantID != j.ref.ID
		if t.Kind == ledger.KindDevice {
			r.TenantID = j.ref.ID
		}
		if weekly(r, j.Now()) {
			r.MarkUnknown()
		}
		send := r.Changes(want)
		for name, refusal := range r.Singled.Of(j.run.Begun) {
			if v, sent := send[name]; sent && ledger.Digest(v) == refusal.Digest {
				delete(send, name)
				j.tellRefused(t, name, refusal.Reason)
			}
		}
		if len(send) == 0 {
			if moved {
				marked = append(marked, r)
			}
			j.run.Unchanged++
			continue
		}
		// What the field holds may be unknown although the note of it is not.
		force := r.Fields[j.compliance] == ledger.Unknown
		last := true
		before := maps.Clone(r.Fields)
		for name := range send {
			r.Fields[name] = ledger.Unknown
		}
		for name, noted := range r.Fields {
			v, sent := send[name]
			last = last && (sent && v.IsClear() || !sent && !ledger.Holds(noted))
		}
		marked = append(marked, r)
		plan = append(plan, sending{r, send, before, force, last})
	}
	return plan, j.Ledger.Save(ctx, j.organization(), marked...)
}

// outcome is how the sending of one target ended.
type outcome struct {
	accepted  int
	taken     ninjaone.Fields // what NinjaOne accepted
	unsent    bool            // NinjaOne was sent nothing
	gone      bool            // NinjaOne does not know the target any more
	learned   bool            // it is known better which fields NinjaOne refuses
	tolerable bool            // the error concerns this target alone
}

// send writes one target and notes what NinjaOne accepted.
func (j *job) send(ctx context.Context, p sending) (outcome, error) {
	t := p.record.Target
	if organization := j.roster.MovedTo(t.ID); t.Kind == ledger.KindDevice && organization != 0 {
		owned, err := j.Ledger.Owned(ctx, ledger.Organization{Instance: j.instance, ID: organization}, t.ID)
		if err != nil {
			return outcome{unsent: true}, err
		}
		if owned { // its new tenant wrote it since this run looked
			return j.gone(ctx, t)
		}
	}
	claim, err := j.claim(ctx, &p)
	if err != nil {
		return outcome{unsent: true}, err
	}
	if len(p.values) == 0 { // a newer compliance state is known, and being written
		return outcome{}, j.Ledger.Save(ctx, j.organization(), p.record)
	}
	update := j.client.UpdateDeviceFields
	switch alone := p.record.Singled.Of(j.run.Begun) != nil; {
	case t.Kind == ledger.KindOrganization && alone:
		update = j.client.UpdateOrganizationFieldsAlone
	case t.Kind == ledger.KindOrganization:
		update = j.client.UpdateOrganizationFields
	case alone:
		update = j.client.UpdateDeviceFieldsAlone
	}
	err = update(ctx, t.ID, p.values)
	refusal, partly := errors.AsType[*ninjaone.RefusedError](err)
	switch {
	case err != nil && errors.Is(err, ninjaone.ErrNotFound) && !partly:
		return j.gone(ctx, t)
	case err != nil && !partly:
		end := outcome{unsent: errors.Is(err, ninjaone.ErrNotSent), tolerable: ninjaone.Tolerable(ctx, err)}
		if claim != nil {
			settled := ledger.Lost
			if end.unsent {
				settled = ledger.Refused
			}
			if _, noted := claim.Settle(ctx, settled); noted != nil {
				end.tolerable = false
				return end, errors.Join(err, noted)
			}
		}
		return end, err
	}
	if !partly {
		refusal = &ninjaone.RefusedError{}
	}
	end := outcome{taken: ninjaone.Fields{}, tolerable: partly && (refusal.Cause == nil || ninjaone.Tolerable(ctx, refusal.Cause))}
	if partly {
		end.learned = p.record.Single(j.run.Begun, p.values, refusal)
		j.giveUp(p, refusal.Refused)
	}
	for name, v := range p.values {
		held, left := refusal.Left[name]
		switch {
		case left && held:
			p.unmark(slices.Values([]string{name}))
		case left || refusal.Refused[name] != nil:
		default:
			p.record.Fields[name] = ledger.Digest(v)
			end.taken[name] = v
		}
	}
	end.accepted = len(end.taken)
	if noted := j.note(ctx, p, claim, end.taken, refusal); noted != nil {
		end.tolerable = false
		return end, noted
	}
	return end, err
}

// note saves what a target accepted, in one call where it can, also when the
// run has just been told to stop.
func (j *job) note(ctx context.Context, p sending, claim *ledger.Claim, taken ninjaone.Fields, refusal *ninjaone.RefusedError) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	r := p.record
	forget := p.last && len(taken) == len(p.values)
	if len(taken) > 0 {
		r.Written, r.Taken = j.Now(), taken
		defer func() { r.Taken = nil }() // the record outlives the writing, the values need not
	}
	found := len(refusal.Refused)+len(refusal.Left) > 0
	if claim != nil {
		outcome := ledger.Refused
		held, left := refusal.Left[j.compliance]
		if _, ok := taken[j.compliance]; ok {
			outcome = ledger.Accepted
		} else if left && !held {
			outcome = ledger.Lost
		}
		also := r
		if len(taken) == 0 {
			also = nil
		}
		overtaken, err := claim.SettleWith(ctx, outcome, also)
		if err != nil {
			return err
		}
		forget = forget && !overtaken // else somebody still needs the record
	}
	switch {
	case forget:
		return j.Ledger.Forget(ctx, j.organization(), r.Target)
	case claim == nil && len(taken) > 0, found && len(taken) == 0:
		return j.Ledger.Save(ctx, j.organization(), r)
	}
	return nil
}

// gone handles a target that NinjaOne does not know any more.
func (j *job) gone(ctx context.Context, t ledger.Target) (outcome, error) {
	if t.Kind == ledger.KindOrganization {
		return outcome{}, failed("NinjaOne organization %d was deleted while it was written: map the tenant to another one in CIPP, or remove the mapping", t.ID)
	}
	return outcome{gone: true}, j.Ledger.Forget(ctx, j.organization(), t)
}

// count adds one target's outcome to the run.
func (j *job) count(p sending, o outcome) {
	for _, name := range j.former[p.record.Target] {
		if _, cleared := o.taken[name]; cleared {
			j.cleared[name]++
		}
	}
	switch {
	case o.accepted == 0:
	case p.record.Target.Kind == ledger.KindOrganization:
		j.run.OrganizationFields += o.accepted
	default:
		j.run.Devices++
	}
}

// tell notes why a target, or some of its fields, could not be written.
func (j *job) tell(p sending, err error) {
	t := p.record.Target
	if r, ok := errors.AsType[*ninjaone.RefusedError](err); ok {
		for name, cause := range r.Refused {
			j.tellRefused(t, name, cause.Error())
		}
		if err = r.Cause; err == nil {
			return
		}
	}
	j.problems.Count("write:"+string(t.Kind), fmt.Sprintf("%s: %v", t, err), func(n int, first string) string {
		if n == 1 {
			return "One target could not be written in NinjaOne and is tried again with the next run: " + sentence(first)
		}
		return fmt.Sprintf("%d devices could not be written in NinjaOne and are tried again with the next run; the first is %s", n, sentence(first))
	})
}

// tellRefused notes that NinjaOne does not take a field of a target.
func (j *job) tellRefused(t ledger.Target, name, reason string) {
	j.problems.Count("refused:"+string(t.Kind)+":"+name, fmt.Sprintf("%s: %s", t, reason), func(n int, first string) string {
		if n == 1 {
			return fmt.Sprintf("NinjaOne refused the custom field %q on %s", name, sentence(first))
		}
		return fmt.Sprintf("NinjaOne refused the custom field %q on at least %d devices; the first is %s", name, n, sentence(first))
	})
}

// claim claims the compliance field of a device that is about to be written,
// and takes it out of what is sent, and its mark away, when a newer state is
// known. It returns nil when the field is not sent.
func (j *job) claim(ctx context.Context, p *sending) (*ledger.Claim, error) {
	value, sent := p.values[j.compliance]
	if p.record.Target.Kind != ledger.KindDevice || !sent {
		return nil, nil
	}
	c, err := j.Ledger.ClaimCompliance(ctx, ledger.ComplianceWrite{
		Organization: j.organization(), DeviceID: p.record.Target.ID,
		TenantID: j.ref.ID, Field: j.compliance, Value: value, Read: j.readAt, Force: p.force, Sync: true,
	})
	if err != nil && !errors.Is(err, ledger.ErrNewerState) {
		return nil, err
	}
	if c == nil {
		p.values = maps.Clone(p.values)
		delete(p.values, j.compliance)
		delete(p.record.Fields, j.compliance) // its columns say what NinjaOne holds
		p.last = false
	}
	return c, nil
}
