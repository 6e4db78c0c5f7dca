package documents

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

const (
	// hopeless is after how many failed batches, with nothing accepted, a run
	// gives up: NinjaOne is not answering, not a single document.
	hopeless = 3
	// patience is how many documents in a row are sent one by one and refused. The others
	// then wait for the next run.
	patience = 20
)

// write restores, updates and creates the documents of a section. It plans again what
// becomes possible only afterwards. A document may be gone and must be created, or a
// taken name may be free now.
func (r *run) write(ctx context.Context, sec *section) error {
	if sec.blocked {
		return nil
	}
	for range maxPasses {
		sec.again = false
		r.retryFreed(sec)
		if err := r.restore(ctx, sec); err != nil {
			return err
		}
		err := r.bringRest(ctx, sec)
		if err == nil {
			err = r.pass(ctx, sec)
		}
		goOn := err == nil && (sec.again || r.retryFreed(sec))
		if err == nil && !goOn {
			goOn, err = r.untangle(ctx, sec)
		}
		if err != nil {
			return errors.Join(err, r.keepRefusals(ctx, sec, true))
		}
		if !goOn {
			break
		}
	}
	return r.keepRefusals(ctx, sec, false)
}

// linkUsers lets licences' documents link to the users' documents that there are.
func (r *run) linkUsers() {
	for s, rec := range r.records {
		if s.Kind == ledger.KindUser && r.users != nil && r.users.wanted[s.ID] && rec.Live() && rec.DocumentID > 0 {
			r.pages.Documents[s.ID] = rec.DocumentID
		}
	}
}

// pass sends what differs, updates first because they may free the name of a
// document that is created. What was refused before goes alone, so that it does
// not hold back others.
func (r *run) pass(ctx context.Context, sec *section) error {
	if sec.blocked {
		return nil
	}
	for _, create := range []bool{false, true} {
		for _, how := range []manner{together, inParts, alone} {
			inARow := 0
			for batch := range r.batches(sec, r.due(ctx, sec, create, how)) {
				if sec.tired && how == alone {
					break
				}
				accepted := sec.accepted
				if err := r.send(ctx, sec, batch); err != nil || sec.blocked {
					return err
				}
				if inARow++; sec.accepted > accepted {
					inARow = 0
				}
				sec.tired = sec.tired || how == alone && inARow >= patience
			}
		}
	}
	return ctx.Err()
}

// due yields the changes of a section that are sent in one manner. Of what needs
// none it takes note.
func (r *run) due(ctx context.Context, sec *section, create bool, how manner) iter.Seq[change] {
	return func(yield func(change) bool) {
		for c, err := range r.changes(sec, func(rec *ledger.Document) bool { return !rec.Archived && (rec.DocumentID == 0) == create }) {
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				sec.done[c.ID] = true
				r.notComposed(err)
			case c.outcome == OutcomeRefused:
				sec.done[c.ID] = true
			case c.outcome == OutcomeUnchanged:
				sec.done[c.ID] = true
				r.result.Unchanged++
			case c.manner == how && !yield(c):
				return
			}
		}
	}
}

func (r *run) notComposed(err error) {
	r.in.Problems.Tally("documents:compose", err.Error(),
		"A document could not be composed: %s", "%d documents could not be composed; the first: %s")
}

// payload is a change as NinjaOne is sent it.
func (r *run) payload(sec *section, c change) any {
	if c.DocumentID == 0 {
		return ninjaone.NewDocument{OrganizationID: r.in.OrganizationID, TemplateID: sec.template.ID, Name: c.name, Fields: c.fields}
	}
	return ninjaone.DocumentUpdate{ID: c.DocumentID, Name: c.name, Fields: c.fields}
}

// payloads are changes as NinjaOne is sent them.
func payloads[T any](r *run, sec *section, changes []change) []T {
	list := make([]T, len(changes))
	for i, c := range changes {
		list[i] = r.payload(sec, c).(T)
	}
	return list
}

// batches groups changes into batches that NinjaOne did not refuse yet.
func (r *run) batches(sec *section, changes iter.Seq[change]) iter.Seq[[]change] {
	return func(yield func([]change) bool) {
		for batch := range ninjaone.Batches(changes, func(c change) any { return r.payload(sec, c) }) {
			for len(batch) > 0 {
				n := 0
				for most := len(batch); n < most; n++ {
					limit := tried(batch[n].Document).Limit
					if batch[n].manner == alone {
						limit = 1
					}
					if limit > 0 {
						most = min(most, max(limit, n))
					}
				}
				n = max(n, 1)
				if !yield(batch[:n]) {
					return
				}
				batch = batch[n:]
			}
		}
	}
}

// send sends one batch of updates, or of creations. Their values are marked as
// unknown before.
func (r *run) send(ctx context.Context, sec *section, batch []change) error {
	before := make([]ledger.Values, len(batch))
	records := make([]*ledger.Document, len(batch))
	for i, c := range batch {
		records[i], before[i] = c.Document, c.Fields
		c.note(func(ninjaone.Value) string { return ledger.Unknown })
	}
	if err := r.ledger.Save(ctx, records...); err != nil {
		return err
	}
	create := batch[0].DocumentID == 0
	taken := map[string]int{} // the document by user or SKU id
	lost := map[string]bool{} // NinjaOne may have done something of it
	unanswered := 0
	refused, err := split(ctx, sec, batch, func(ctx context.Context, part []change) error {
		var err error
		if create {
			err = r.create(ctx, sec, part, taken)
		} else {
			err = r.update(ctx, sec, part, taken)
		}
		for _, c := range part {
			switch {
			case create:
				lost[c.ID] = errors.Is(err, ninjaone.ErrOutcomeUnknown)
			case err == nil && taken[c.ID] == 0:
				unanswered++
				fallthrough
			default:
				lost[c.ID] = lost[c.ID] || !errors.Is(err, ninjaone.ErrNotSent)
			}
		}
		r.suspect(part, err)
		return err
	})
	for i, c := range batch {
		name := before[i].Get(ledger.NameField)
		switch {
		case taken[c.ID] != 0:
			r.accept(sec, c, taken[c.ID], name)
		case !lost[c.ID], create && refused[i] != nil:
			c.Fields = before[i]
		case refused[i] != nil && c.name != "":
			c.Fields.Set(ledger.NameField, name) // it still has the name that it had
		}
	}
	if unanswered > 0 {
		r.in.Problems.Add("documents:unanswered:"+string(sec.kind), "NinjaOne did not say that it changed %d documents of the template %q; they are sent again with the next run.", unanswered, sec.name)
	}
	r.touch(records...)
	if err := r.save(ctx); err != nil {
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(refused)) {
		refuse := r.refusedUpdate
		if create {
			refuse = r.refusedCreation
		}
		if err := refuse(ctx, sec, batch[i], refused[i]); err != nil {
			return err
		}
	}
	if err != nil {
		return r.fails(ctx, sec, err)
	}
	return nil
}

// note notes of all that a change sends the digest or mark of its value.
func (c change) note(noted func(ninjaone.Value) string) {
	for field, v := range c.fields {
		c.Fields.Set(field, noted(v))
	}
	if c.name != "" {
		c.Fields.Set(ledger.NameField, noted(ninjaone.Text(c.name)))
	}
}

// accept notes that NinjaOne took a change of a document.
func (r *run) accept(sec *section, c change, document int, nameBefore string) {
	if c.DocumentID == 0 {
		c.Reset()
		c.DocumentID = document
		r.result.Created++
	} else {
		if c.name != "" || c.RefusedName() == "" {
			c.ForgetRefusal()
		}
		r.result.Updated++
	}
	c.note(ledger.Digest)
	if c.Fields.Get(ledger.NameField) != nameBefore {
		sec.freed[nameBefore] = true
	}
	if sec.unlisted[c.ID] {
		delete(sec.unlisted, c.ID)
		r.in.Problems.Tally("documents:unlisted:"+string(sec.kind), fmt.Sprint("document ", document),
			"NinjaOne's list of documents lacks one that is there: %s",
			"NinjaOne's list of documents lacks %d that are there; the first: %s")
	}
	sec.done[c.ID] = true
	sec.accepted++
	if try := c.Attempt; try != nil {
		try.Limit, try.Bare = 0, false
	}
}

// split sends a batch, in parts if NinjaOne refuses it, takes too long or fails. It
// returns the reasons of the changes that NinjaOne does not take, by index. It remembers
// the size of the largest batch that NinjaOne takes.
func split(ctx context.Context, sec *section, batch []change, send func(context.Context, []change) error) (map[int]error, error) {
	tooLarge, largest := false, 0
	_, refused, err := ninjaone.SplitRefused(ctx, batch, func(ctx context.Context, part []change) ([]struct{}, error) {
		if sec.largest > 0 && len(part) > sec.largest {
			return nil, fmt.Errorf("%w: NinjaOne takes %d documents at a time", ninjaone.ErrBatchRefused, sec.largest)
		}
		err := send(ctx, part)
		if err == nil {
			largest = max(largest, len(part))
		}
		tooLarge = tooLarge || errors.Is(err, ninjaone.ErrBatchRefused) || errors.Is(err, ninjaone.ErrTimedOut)
		return nil, err
	})
	if err == nil && tooLarge && len(refused) == 0 {
		sec.largest = largest
	}
	return refused, err
}

// suspect notes that several documents were refused together, or took NinjaOne too long.
// They go on in halves, even when this run has no time for that.
func (r *run) suspect(part []change, err error) {
	if len(part) < 2 || !errors.Is(err, ninjaone.ErrBatchRefused) && !errors.Is(err, ninjaone.ErrTimedOut) {
		return
	}
	r.result.Learned++
	for _, c := range part {
		c.Try(r.in.Begun).Limit = len(part) / 2
	}
}

// fails notes a batch that failed although nothing is wrong with its content.
// It returns an error when the run has to end.
func (r *run) fails(ctx context.Context, sec *section, err error) error {
	if !ninjaone.Tolerable(ctx, err) {
		return err
	}
	if errors.Is(err, ninjaone.ErrForbidden) || errors.Is(err, ninjaone.ErrBatchRefused) {
		sec.blocked = true
		r.in.Problems.Add("documents:refused:"+string(sec.kind), "NinjaOne takes none of the documents of the template %q: %s", sec.name, words.End(err.Error()))
		return nil
	}
	sec.failures++
	r.in.Problems.Tally("documents:write:"+string(sec.kind), err.Error(),
		"A batch of documents could not be written in NinjaOne and is tried again with the next run: %s",
		"%d batches of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
	if sec.failures >= hopeless && sec.accepted == 0 {
		return fmt.Errorf("NinjaOne accepted none of the first %d batches of documents; the last answer was: %w", sec.failures, err)
	}
	return nil
}

// update changes documents, and notes which of them the answer names.
func (r *run) update(ctx context.Context, sec *section, part []change, taken map[string]int) error {
	documents, err := r.in.Client.UpdateDocuments(ctx, payloads[ninjaone.DocumentUpdate](r, sec, part))
	if err != nil {
		return err
	}
	answered := map[int]bool{}
	for _, d := range documents {
		answered[d.ID] = true
	}
	for _, c := range part {
		if answered[c.DocumentID] {
			taken[c.ID] = c.DocumentID
		}
	}
	return nil
}

// create creates each document once. After a lost answer it reads which of them exist
// before it sends the others again.
func (r *run) create(ctx context.Context, sec *section, part []change, made map[string]int) error {
	missing := func() []change {
		return slices.DeleteFunc(slices.Clone(part), func(c change) bool { return made[c.ID] != 0 })
	}
	for attempt := 1; ; attempt++ {
		todo := missing()
		if len(todo) == 0 {
			return nil
		}
		if attempt > 1 {
			if err := r.readAgain(ctx, sec); err != nil {
				return fmt.Errorf("%w: %w", ninjaone.ErrOutcomeUnknown, err)
			}
		}
		documents, err := r.in.Client.CreateDocuments(ctx, payloads[ninjaone.NewDocument](r, sec, todo))
		if err == nil {
			r.identify(sec, documents, made)
			if len(missing()) == 0 {
				return nil
			}
			err = fmt.Errorf("%w: the answer does not say which documents it is about", ninjaone.ErrOutcomeUnknown)
		}
		if !errors.Is(err, ninjaone.ErrOutcomeUnknown) || ctx.Err() != nil {
			return err
		}
		r.log.WarnContext(ctx, "the answer to a creation of documents was lost", "documents", len(todo), "error", err)
		present, readErr := r.in.Client.Documents(ctx, r.query(sec))
		if readErr != nil {
			return fmt.Errorf("%w; and then %w: %w", err, ninjaone.ErrUnread, readErr)
		}
		r.identify(sec, present, made)
		switch {
		case len(missing()) == 0:
			return nil
		case errors.Is(err, ninjaone.ErrTimedOut) && len(todo) > 1:
			return errors.Join(err, r.readAgain(ctx, sec)) // and then it is sent in parts
		case ninjaone.Permanent(err):
			return fmt.Errorf("%w: %w", ninjaone.ErrBatchRefused, err)
		case attempt == 2:
			return err
		}
	}
}

// readAgain lets the next run read the documents of a section: NinjaOne may carry
// out late what was not there when it was looked for.
func (r *run) readAgain(ctx context.Context, sec *section) error {
	delete(r.progress.Listed, sec.kind)
	return r.ledger.SaveProgress(ctx, r.progress)
}

// identify notes the documents that were asked for, by the ids that they
// carry; the oldest of several.
func (r *run) identify(sec *section, documents []ninjaone.Document, made map[string]int) {
	for _, d := range documents {
		id := guid.Fold(d.Text(sec.idField))
		if id == "" || d.Archived || guid.Fold(d.Text(compose.FieldTenantID)) != r.tenantID {
			continue
		}
		if made[id] == 0 || d.ID < made[id] {
			made[id] = d.ID
		}
	}
}
