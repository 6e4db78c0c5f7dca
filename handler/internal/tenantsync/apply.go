package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// writers is how many targets are written at once. The client's pacing
	// sets the rate; this only keeps slow answers from adding up.
	writers = 8
	// hopeless is after how many failed targets, with none written, a run
	// gives up: NinjaOne is not answering, not a single device.
	hopeless = 10
	// stubborn is after how many devices' refusals, without one acceptance, the run stops
	// sending a field. Every refusal costs a call per field.
	stubborn = 3
)

// apply carries a plan out: it keeps what other runs and people look at, and then
// writes to NinjaOne.
func (j *job) apply(ctx context.Context, in *inputs, p *Plan) error {
	j.notes, j.cuts = append(j.notes, p.notes...), p.cuts
	if j.message.Light { // what is noted of blobs is wrong until it ends
		if err := j.Runs.ForgetStored(ctx, j.ref.ID); err != nil {
			return err
		}
	}
	if err := j.keepInventory(ctx, in); err != nil {
		return err
	}
	if err := j.Ledger.SaveRemapped(ctx, j.organization, p.remapped); err != nil {
		return err
	}
	if p.devices {
		j.run.Matched, j.run.IntuneOnly, j.run.NinjaOnly = len(p.result.Pairs), p.result.IntuneMachines(), len(p.result.NinjaOnly)
		noted := j.run.MatchesDigest
		if j.run.Owed == runs.OwedAll {
			noted = ""
		}
		var err error
		if j.run.MatchesDigest, err = devicematch.Save(ctx, j.CIPP, j.Blobs, j.ref.ID, p.matches, noted, in.deviceMap); err != nil {
			return err
		}
	}
	if err := j.keepPolicies(ctx, in); err != nil {
		return err
	}
	if !slices.Contains(in.kept, j.ref.ID) {
		in.kept = append(in.kept, j.ref.ID)
		slices.Sort(in.kept)
	}
	if r := in.records[j.organization.Target()]; r == nil || !slices.Equal(r.Claims, in.kept) {
		if err := j.Ledger.SaveClaims(ctx, j.organization, &ledger.Record{Target: j.organization.Target(), Claims: in.kept}); err != nil {
			return err
		}
	}
	if err := j.keep(ctx, j.sectionName(j.ref.ID), p.section, &j.run.SectionDigest); err != nil {
		return fmt.Errorf("keep the tenant's section: %w", err)
	}
	if p.devices {
		if err := j.Ledger.SaveClaims(ctx, j.organization, p.claims...); err != nil {
			return err
		}
		if err := j.Ledger.Forget(ctx, j.organization, p.forget...); err != nil {
			return err
		}
	}
	w := &writing{job: j, in: in, plan: p, refusals: refusals{}}
	j.cleared = map[string]int{}
	return errors.Join(w.write(ctx), j.tellCleared(ctx))
}

// keepPolicies keeps what was read of the policies of devices, and forgets what is
// known of devices that comply again.
func (j *job) keepPolicies(ctx context.Context, in *inputs) error {
	if err := j.Policies.Save(ctx, j.ref.ID, in.snapshot.PolicyReadings); err != nil {
		return err
	}
	if !in.snapshot.DevicesKnown() || in.nameless() {
		return nil
	}
	return j.Policies.Forget(ctx, j.ref.ID, in.policies, in.snapshot.ManagedDevices.Value)
}

// keep stores a value as a blob of JSON, unless it is noted that the blob holds
// it already. A forced run stores it in any case.
func (j *job) keep(ctx context.Context, name string, v any, noted *string) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	digest := ledger.Sum([]byte(name + ledger.Sum(body)))
	if digest == *noted && j.run.Owed != runs.OwedAll {
		return nil
	}
	if err := j.Blobs.Put(ctx, name, body); err != nil {
		return err
	}
	*noted = digest
	return nil
}

// writing is what the writers of one run share.
type writing struct {
	*job
	in       *inputs
	plan     *Plan
	mu       sync.Mutex
	failures int
	refusals refusals
	here     map[int]bool // devices of the organization, where a light run listed them
}

// write sends what the targets do not hold yet. It composes, marks and sends a
// part of them after another, so that it never holds the values of all.
func (w *writing) write(ctx context.Context) error {
	if err := w.force(ctx); err != nil {
		return err
	}
	read := ledger.Reading{TenantID: w.ref.ID, Fields: w.in.fields.shared(), Began: w.in.snapshot.ReadAt}
	var due []*ledger.Send
	var moved []*ledger.Record
	for left := w.plan.changes; len(left) > 0; {
		part := left[:min(len(left), ledger.MaxBatch/2)]
		left = left[len(part):]
		s, m := w.due(part)
		due, moved = append(due, s...), append(moved, m...)
		if len(left) > 0 && len(due)+len(moved) <= ledger.MaxBatch/2 {
			continue // few change on most days: they share a batch
		}
		sends, err := w.stillHere(ctx, due)
		if err != nil {
			return err
		}
		batch, err := w.Ledger.Mark(ctx, w.organization, read, sends, moved...)
		if err != nil {
			return err
		}
		unsent, err := ninjaone.Each(ctx, sends, writers, func(s *ledger.Send) error { return w.one(ctx, s) })
		for _, s := range unsent {
			s.HoldAll()
		}
		if err = errors.Join(err, batch.Settle(ctx)); err != nil {
			return err
		}
		due, moved = nil, nil
	}
	return ctx.Err()
}

// force marks as Unknown all values of ours on a forced run's targets. This run sends
// them again or, if it ends early, the next.
func (w *writing) force(ctx context.Context) error {
	if w.run.Owed != runs.OwedAll {
		return nil
	}
	var marked []*ledger.Record
	for _, c := range w.plan.changes {
		if r := w.in.records[c.target]; r != nil && r.HoldsAny() {
			r.MarkUnknown()
			marked = append(marked, r)
		}
	}
	if err := w.Ledger.Save(ctx, w.organization, marked...); err != nil {
		return err
	}
	w.run.Owed = runs.OwedDocuments
	return w.Runs.Save(ctx, w.run)
}

// due composes a part of the targets, and lists what to send to them. It also lists the
// records of devices that only change hands. From now on this tenant keeps and clears
// what another tenant wrote on such a device.
func (w *writing) due(part []*change) (sends []*ledger.Send, moved []*ledger.Record) {
	for _, c := range part {
		want := c.values()
		r := w.in.records[c.target]
		if r == nil {
			r = &ledger.Record{Target: c.target, Fields: map[string]string{}}
		}
		w.refusals.recall(r, w.run.Begun)
		other := false
		if c.target.Kind == ledger.KindDevice {
			other = r.TenantID != "" && r.TenantID != w.ref.ID
			r.TenantID = w.ref.ID
		}
		if !w.message.Light && weekly(r, w.Now()) {
			r.MarkUnknown()
		}
		values := ledger.Changes(r.Fields, want)
		for name, refusal := range r.Singled.Of(w.run.Begun) {
			if v, sent := values[name]; sent && ledger.Digest(v) == refusal.Digest {
				delete(values, name)
				w.tellRefused(c.target, name, refusal.Reason)
			}
		}
		switch {
		case len(values) > 0:
			s := ledger.NewSend(r, values)
			if w.in.abandoned[c.target.ID] && c.target.Kind == ledger.KindDevice {
				s.Remember()
			}
			sends = append(sends, s)
			continue
		case other:
			moved = append(moved, r)
		}
		w.run.Unchanged++
	}
	return sends, moved
}

// one writes one target, and says in s how that ended. The error ends the run.
func (w *writing) one(ctx context.Context, s *ledger.Send) error {
	w.mu.Lock()
	w.refusals.hold(s)
	w.mu.Unlock()
	if len(s.Values) == 0 {
		return nil // a newer compliance state is known, or NinjaOne refuses the fields
	}
	t := s.Record.Target
	if t.Kind == ledger.KindDevice {
		// Its new tenant may have written a device since this run looked.
		elsewhere, err := w.writtenElsewhere(ctx, w.in.roster, t.ID)
		if err != nil {
			s.HoldAll()
			return err
		}
		if elsewhere {
			s.Gone()
			return nil
		}
	}
	err := w.update(ctx, s)
	refusal, partly := errors.AsType[*ninjaone.RefusedError](err)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case partly:
		w.refused(s, refusal)
	case err == nil:
		for name := range s.Values {
			s.Accept(name, w.Now())
		}
	case errors.Is(err, ninjaone.ErrNotFound) && t.Kind == ledger.KindOrganization:
		return fmt.Errorf("NinjaOne organization %d was deleted while it was written: map the tenant to another one in CIPP, or remove the mapping", t.ID)
	case errors.Is(err, ninjaone.ErrNotFound):
		s.Gone()
		return nil
	case errors.Is(err, ninjaone.ErrNotSent):
		s.HoldAll()
	}
	w.refusals.note(s, err)
	w.count(s)
	switch {
	case err == nil:
		return nil
	case partly && refusal.Cause == nil: // NinjaOne answers: it is the field, not the service
		w.tellFailed(t, err)
		return nil
	case !ninjaone.Tolerable(ctx, err):
		return err
	}
	w.tellFailed(t, err)
	w.failures++
	w.unwritten = err
	if w.failures >= hopeless && w.run.Devices+w.run.OrganizationFields == 0 {
		return fmt.Errorf("NinjaOne accepted none of the first %d writes; the last answer was: %w", w.failures, err)
	}
	return nil
}

// refused notes what became of values of which NinjaOne refused some. A former field that
// NinjaOne refuses to clear for good is forgotten, so that no run tries it for ever.
func (w *writing) refused(s *ledger.Send, refusal *ninjaone.RefusedError) {
	if s.Record.Single(w.run.Begun, s.Values, refusal) {
		w.learned++
	}
	s.Partly(refusal, w.Now())
	for name, why := range refusal.Refused {
		answer, ok := errors.AsType[*ninjaone.APIError](why)
		if ok && answer.Status < http.StatusInternalServerError && slices.Contains(w.plan.former[s.Record.Target], name) {
			delete(s.Record.Fields, name)
		}
	}
}

// update calls NinjaOne. After a refusal the fields go one by one.
func (w *writing) update(ctx context.Context, s *ledger.Send) error {
	t, alone := s.Record.Target, s.Record.Singled.Of(w.run.Begun) != nil
	if t.Kind == ledger.KindOrganization {
		return w.client.UpdateOrganizationFields(ctx, t.ID, s.Values, alone)
	}
	return w.client.UpdateDeviceFields(ctx, t.ID, s.Values, alone)
}

// count adds one target's outcome to the run.
func (w *writing) count(s *ledger.Send) {
	taken := s.Taken()
	for _, name := range w.plan.former[s.Record.Target] {
		if _, cleared := taken[name]; cleared {
			w.cleared[name]++
		}
	}
	switch {
	case len(taken) == 0:
	case s.Record.Target.Kind == ledger.KindOrganization:
		w.run.OrganizationFields += len(taken)
	default:
		w.run.Devices++
	}
}

// tellFailed notes why a target, or some of its fields, could not be written.
func (j *job) tellFailed(t ledger.Target, err error) {
	if r, ok := errors.AsType[*ninjaone.RefusedError](err); ok {
		for name, cause := range r.Refused {
			j.tellRefused(t, name, cause.Error())
		}
		if err = r.Cause; err == nil {
			return
		}
	}
	j.problems.Tally("write:"+string(t.Kind), fmt.Sprintf("%s: %v", t, err),
		"One target could not be written in NinjaOne and is tried again with the next run: %s",
		"%d devices could not be written in NinjaOne and are tried again with the next run; the first is %s")
}

// tellRefused notes that NinjaOne does not take a field of a target.
func (j *job) tellRefused(t ledger.Target, name, reason string) {
	refused := fmt.Sprintf("NinjaOne refused the custom field %q on ", strings.ReplaceAll(name, "%", "%%"))
	j.problems.Tally("refused:"+string(t.Kind)+":"+name, fmt.Sprintf("%s: %s", t, reason),
		refused+"%s", refused+"at least %d devices; the first is %s")
}

// tellCleared writes a line for each former field that was cleared, whatever
// becomes of the rest of the run.
func (j *job) tellCleared(ctx context.Context) error {
	if len(j.cleared) == 0 {
		return nil
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(j.cleared)) {
		errs = append(errs, j.tell(ctx, cipp.SeverityInfo, fmt.Sprintf("The NinjaOne custom field %q is not mapped any more. What was written there was cleared on %d devices or organizations.", name, j.cleared[name])))
	}
	return errors.Join(errs...)
}
