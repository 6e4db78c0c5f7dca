package documents

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// writeUsers brings the users' documents up to date, and notes where they are.
func (r *run) writeUsers(ctx context.Context) error {
	if r.users == nil {
		return nil
	}
	if err := r.write(ctx, r.users); err != nil {
		return err
	}
	for _, id := range r.users.ids {
		if rec := r.records[ledger.Subject{Kind: ledger.KindUser, ID: id}]; rec.Live() {
			r.pages.Documents[id] = rec.DocumentID
		}
	}
	return nil
}

// writeLicenses brings the licences' documents up to date. They link to the
// users' documents, so they come after them.
func (r *run) writeLicenses(ctx context.Context) error {
	if r.licenses == nil {
		return nil
	}
	return r.write(ctx, r.licenses)
}

// write restores, updates and creates the documents of a section. What turns
// out to be possible only afterwards (a document is gone and has to be
// created, a name was taken and is free now) is tried again.
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
		if err != nil {
			return errors.Join(err, r.keepRefusals(ctx, sec, err))
		}
		if sec.again || r.retryFreed(sec) {
			continue
		}
		if untangled, err := r.untangle(ctx, sec); err != nil || !untangled {
			return errors.Join(err, r.keepRefusals(ctx, sec, err))
		}
	}
	return r.keepRefusals(ctx, sec, nil)
}

// pass sends what differs, updates first because they may free the name of a
// document that is created. What was refused before goes alone, so that it does
// not hold back others.
func (r *run) pass(ctx context.Context, sec *section) error {
	if sec.blocked {
		return nil
	}
	for _, how := range []manner{together, inParts} {
		for batch := range parts(sec, r.updates(ctx, sec, how), func(u ninjaone.DocumentUpdate) string { return r.byDocument(sec, u.ID).ID }) {
			if err := r.sendUpdates(ctx, sec, batch); err != nil || sec.blocked {
				return err
			}
		}
	}
	if err := oneByOne(sec, r.updates(ctx, sec, alone), func(batch []ninjaone.DocumentUpdate) error {
		return r.sendUpdates(ctx, sec, batch)
	}); err != nil || sec.blocked {
		return err
	}
	for _, how := range []manner{together, inParts} {
		for batch := range parts(sec, r.creations(ctx, sec, how), sec.about) {
			if err := r.sendCreations(ctx, sec, batch); err != nil || sec.blocked {
				return err
			}
		}
	}
	if err := oneByOne(sec, r.creations(ctx, sec, alone), func(batch []ninjaone.NewDocument) error {
		return r.sendCreations(ctx, sec, batch)
	}); err != nil {
		return err
	}
	return ctx.Err()
}

// manner is how documents are sent.
type manner int

const (
	together manner = iota
	inParts         // NinjaOne refused one of those that they were sent with
	alone           // NinjaOne refused it
)

// manner returns how a document is sent, given whether NinjaOne refused it.
func (sec *section) manner(id string, refused bool) manner {
	switch {
	case refused:
		return alone
	case sec.part(id) > 0:
		return inParts
	}
	return together
}

// parts groups documents into batches that NinjaOne did not refuse yet.
func parts[T ninjaone.NewDocument | ninjaone.DocumentUpdate](sec *section, items iter.Seq[T], id func(T) string) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for batch := range ninjaone.Batches(items) {
			for len(batch) > 0 {
				n, most := 0, len(batch)
				for ; n < most; n++ {
					if part := sec.part(id(batch[n])); part > 0 {
						most = min(most, max(part, n))
					}
				}
				if !yield(batch[:max(n, 1)]) {
					return
				}
				batch = batch[max(n, 1):]
			}
		}
	}
}

// oneByOne sends documents that NinjaOne refused before.
func oneByOne[T any](sec *section, items iter.Seq[T], send func([]T) error) error {
	refused := 0
	for item := range items {
		if sec.tired {
			return nil
		}
		accepted := sec.accepted
		if err := send([]T{item}); err != nil || sec.blocked {
			return err
		}
		if refused++; sec.accepted > accepted {
			refused = 0
		}
		sec.tired = refused >= patience
	}
	return nil
}

// pendingWork yields the composed documents that this pass has to look at.
func (r *run) pendingWork(ctx context.Context, sec *section, create bool) iter.Seq2[*ledger.Document, compose.Document] {
	return func(yield func(*ledger.Document, compose.Document) bool) {
		for _, id := range sec.ids {
			rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
			exists := rec != nil && rec.DocumentID != 0
			if ctx.Err() != nil {
				return
			}
			if sec.done[id] || sec.stuck[id] || exists == create || exists && rec.Archived {
				continue
			}
			doc, err := sec.compose(id)
			if err != nil {
				sec.done[id] = true
				r.counted("documents:compose", err.Error(),
					"A document could not be composed: %s", "%d documents could not be composed; the first: %s")
				continue
			}
			if rec = r.record(sec.kind, id); r.held(rec, doc) {
				sec.done[id] = true
				continue
			}
			if !yield(rec, doc) {
				return
			}
		}
	}
}

// update is what differs between a document and what it is to say. A name that
// NinjaOne refused is left out for a day.
func (r *run) update(sec *section, rec *ledger.Document, doc compose.Document) ninjaone.DocumentUpdate {
	u := ninjaone.DocumentUpdate{ID: rec.DocumentID, Fields: ledger.Changes(rec.Fields.All(), doc.Fields)}
	if rec.Fields.Get(ledger.NameField) != ledger.Digest(ninjaone.Text(doc.Name)) && !sec.unnamed(rec.ID) && !(r.today(rec) && rec.Refused == ledger.RefusedName(digestOf(doc.Name))) {
		u.Name = doc.Name
	}
	return u
}

// updates yields the changes of documents that exist and are sent in one manner.
func (r *run) updates(ctx context.Context, sec *section, how manner) iter.Seq[ninjaone.DocumentUpdate] {
	return func(yield func(ninjaone.DocumentUpdate) bool) {
		for rec, doc := range r.pendingWork(ctx, sec, false) {
			u := r.update(sec, rec, doc)
			if len(u.Fields) == 0 && u.Name == "" {
				sec.done[rec.ID] = true
				r.result.Unchanged++
				continue
			}
			before := sec.unnamed(rec.ID) || refuses(rec, doc) || u.Name != "" && rec.Refused == ledger.RefusedName(digestOf(doc.Name))
			if sec.manner(rec.ID, before) == how && !yield(u) {
				return
			}
		}
	}
}

// creations yields the documents that do not exist, as updates does.
func (r *run) creations(ctx context.Context, sec *section, how manner) iter.Seq[ninjaone.NewDocument] {
	return func(yield func(ninjaone.NewDocument) bool) {
		if sec.contradicted {
			return // they may be there
		}
		for rec, doc := range r.pendingWork(ctx, sec, true) {
			before := sec.unnamed(rec.ID) || refuses(rec, doc)
			d := ninjaone.NewDocument{OrganizationID: r.in.OrganizationID, TemplateID: sec.template.ID, Name: doc.Name, Fields: doc.Fields}
			if sec.unnamed(rec.ID) {
				d.Name = r.distinct(doc)
			}
			if sec.manner(rec.ID, before) == how && !yield(d) {
				return
			}
		}
	}
}

// content stands for all that a document says.
func content(doc compose.Document) string {
	var b strings.Builder
	b.WriteString(ledger.Digest(ninjaone.Text(doc.Name)))
	for _, field := range slices.Sorted(maps.Keys(doc.Fields)) {
		b.WriteString("\n" + field + "=" + ledger.Digest(doc.Fields[field]))
	}
	return ledger.Sum([]byte(b.String()))
}

// sendUpdates sends one batch of changes.
func (r *run) sendUpdates(ctx context.Context, sec *section, batch []ninjaone.DocumentUpdate) error {
	records := make(map[int]*ledger.Document, len(batch))
	before := make(map[int]ledger.Values, len(batch))
	for _, u := range batch {
		rec := r.byDocument(sec, u.ID)
		records[u.ID], before[u.ID] = rec, slices.Clone(rec.Fields)
		for field := range u.Fields {
			rec.Fields.Set(field, ledger.Unknown)
		}
		if u.Name != "" {
			rec.Fields.Set(ledger.NameField, ledger.Unknown)
		}
	}
	all := slices.Collect(maps.Values(records))
	if err := r.ledger.Save(ctx, all...); err != nil {
		return err
	}
	sent, taken, answered := map[int]bool{}, map[int]bool{}, map[int]bool{}
	refused, err := split(ctx, sec, batch, func(ctx context.Context, part []ninjaone.DocumentUpdate) error {
		documents, err := r.in.Client.UpdateDocuments(ctx, part)
		for _, u := range part {
			sent[u.ID] = sent[u.ID] || !errors.Is(err, ninjaone.ErrNotSent)
		}
		if err != nil {
			suspects := make([]*ledger.Document, len(part))
			for i, u := range part {
				suspects[i] = records[u.ID]
			}
			r.suspect(sec, suspects, err)
			return err
		}
		for _, u := range part {
			taken[u.ID] = true
		}
		for _, d := range documents {
			answered[d.ID] = true
		}
		return nil
	})
	for _, u := range batch {
		rec := records[u.ID]
		if !sent[u.ID] {
			rec.Fields = before[u.ID]
		}
		if !taken[u.ID] || !answered[u.ID] {
			continue
		}
		for field, v := range u.Fields {
			rec.Fields.Set(field, ledger.Digest(v))
		}
		if u.Name != "" {
			rec.Fields.Set(ledger.NameField, ledger.Digest(ninjaone.Text(u.Name)))
			if name := before[u.ID].Get(ledger.NameField); name != rec.Fields.Get(ledger.NameField) {
				sec.freed[name] = true
			}
		}
		if u.Name != "" || rec.RefusedName() == "" {
			rec.ForgetRefusal()
		}
		if sec.unlisted[rec.ID] {
			delete(sec.unlisted, rec.ID)
			r.counted("documents:unlisted:"+string(sec.kind), fmt.Sprint("document ", u.ID),
				"NinjaOne's list of documents lacks one that is there: %s",
				"NinjaOne's list of documents lacks %d that are there; the first: %s")
		}
		r.settled(sec, rec.ID)
		r.result.Updated++
	}
	if n := len(taken) - len(answered); n > 0 {
		r.problem("documents:unanswered:"+string(sec.kind), "NinjaOne did not say that it changed %d documents of the template %q; they are sent again with the next run.", n, sec.name)
	}
	for i := range refused {
		if u := batch[i]; u.Name != "" {
			records[u.ID].Fields.Set(ledger.NameField, before[u.ID].Get(ledger.NameField)) // it still has the name that it had
		}
	}
	if saveErr := r.save(ctx, all...); saveErr != nil {
		return saveErr
	}
	for _, i := range slices.Sorted(maps.Keys(refused)) {
		u := batch[i]
		if err := r.refusedUpdate(ctx, sec, records[u.ID], u, refused[i]); err != nil {
			return err
		}
	}
	if err != nil {
		return r.fails(ctx, sec, err)
	}
	return nil
}

// settled notes that NinjaOne took a document.
func (r *run) settled(sec *section, id string) {
	sec.done[id] = true
	sec.accepted++
	if try := sec.tries[id]; try != nil {
		try.Limit, try.Bare = 0, false
	}
}

// byDocument returns the record of a document of this run's section.
func (r *run) byDocument(sec *section, document int) *ledger.Document {
	if sec.byDocument == nil {
		sec.byDocument = map[int]*ledger.Document{}
		for k, rec := range r.records {
			if k.Kind == sec.kind && rec.DocumentID != 0 {
				sec.byDocument[rec.DocumentID] = rec
			}
		}
	}
	return sec.byDocument[document]
}

// split sends a batch, in parts if NinjaOne refuses it, takes too long or fails, and
// returns the reasons of the items that it does not take, by index. The size of
// the largest batch that NinjaOne takes is remembered for the next ones.
func split[T any](ctx context.Context, sec *section, batch []T, send func(context.Context, []T) error) (map[int]error, error) {
	tooLarge, largest := false, 0
	_, refused, err := ninjaone.SplitRefused(ctx, batch, func(ctx context.Context, part []T) ([]struct{}, error) {
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
