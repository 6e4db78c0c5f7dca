package documents

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/compose"
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
		if rec := r.records[key{kindUser, id}]; rec.live() {
			r.pages.Documents[id] = rec.document
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
// created, a name was taken and is free now) is tried a second time.
func (r *run) write(ctx context.Context, sec *section) error {
	if sec.blocked {
		return nil
	}
	if err := r.restore(ctx, sec); err != nil {
		return err
	}
	for range 2 {
		if err := r.pass(ctx, sec); err != nil {
			return errors.Join(err, r.keepRefusals(ctx, sec))
		}
		taken := len(sec.refused) > 0 && len(sec.freed) > 0
		for name := range sec.waiting {
			taken = taken || sec.freed[name]
		}
		if !sec.again && !taken {
			break
		}
		sec.again = false
	}
	return r.keepRefusals(ctx, sec)
}

// pass sends what differs, updates first because they may free the name of a
// document that is created.
func (r *run) pass(ctx context.Context, sec *section) error {
	for batch := range ninjaone.Batches(r.updates(ctx, sec)) {
		if err := r.sendUpdates(ctx, sec, batch); err != nil || sec.blocked {
			return err
		}
	}
	for batch := range ninjaone.Batches(r.creations(ctx, sec)) {
		if err := r.sendCreations(ctx, sec, batch); err != nil || sec.blocked {
			return err
		}
	}
	return ctx.Err()
}

// pendingWork yields the composed documents that this pass has to look at.
func (r *run) pendingWork(ctx context.Context, sec *section, create bool) iter.Seq2[*record, compose.Document] {
	return func(yield func(*record, compose.Document) bool) {
		for _, id := range sec.ids {
			rec := r.records[key{sec.kind, id}]
			exists := rec != nil && rec.document != 0
			if ctx.Err() != nil {
				return
			}
			if sec.done[id] || sec.stuck[id] || exists == create || exists && rec.archived {
				continue
			}
			doc, err := sec.compose(id)
			if err != nil {
				sec.done[id] = true
				r.counted("documents:compose", err.Error(),
					"A document could not be composed: %s", "%d documents could not be composed; the first: %s")
				continue
			}
			if !yield(r.record(sec.kind, id), doc) {
				return
			}
		}
	}
}

// update is what differs between a document and what it is to say.
func (r *run) update(rec *record, doc compose.Document) ninjaone.DocumentUpdate {
	u := ninjaone.DocumentUpdate{ID: rec.document, Fields: accepted.Changes(rec.fields.all(), doc.Fields)}
	if rec.fields.get(nameField) != accepted.Digest(ninjaone.Text(doc.Name)) {
		u.Name = doc.Name
	}
	return u
}

// updates yields the changes of documents that exist.
func (r *run) updates(ctx context.Context, sec *section) iter.Seq[ninjaone.DocumentUpdate] {
	return func(yield func(ninjaone.DocumentUpdate) bool) {
		for rec, doc := range r.pendingWork(ctx, sec, false) {
			u := r.update(rec, doc)
			if len(u.Fields) == 0 && u.Name == "" {
				sec.done[rec.id] = true
				r.result.Unchanged++
				continue
			}
			if r.knownRefusal(sec, rec, doc) {
				continue
			}
			if !yield(u) {
				return
			}
		}
	}
}

// creations yields the documents that do not exist.
func (r *run) creations(ctx context.Context, sec *section) iter.Seq[ninjaone.NewDocument] {
	return func(yield func(ninjaone.NewDocument) bool) {
		for rec, doc := range r.pendingWork(ctx, sec, true) {
			if r.knownRefusal(sec, rec, doc) {
				continue
			}
			if !yield(ninjaone.NewDocument{OrganizationID: r.in.OrganizationID, TemplateID: sec.template.ID, Name: doc.Name, Fields: doc.Fields}) {
				return
			}
		}
	}
}

// content stands for all that a document says.
func content(name string, fields ninjaone.Fields) string {
	var b strings.Builder
	b.WriteString(accepted.Digest(ninjaone.Text(name)))
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString("\n" + field + "=" + accepted.Digest(fields[field]))
	}
	return accepted.Sum([]byte(b.String()))
}

// knownRefusal reports whether NinjaOne refused the very same document before.
// It is not sent again then, unless the reason may have been its name, and
// that is free now.
func (r *run) knownRefusal(sec *section, rec *record, doc compose.Document) bool {
	if rec.refused == "" || rec.refused != content(doc.Name, doc.Fields) {
		return false
	}
	name := accepted.Digest(ninjaone.Text(doc.Name))
	if sec.freed[name] {
		return false
	}
	sec.waiting[name] = true
	sec.refused[rec.id] = refusal{rec.refused, rec.reason}
	return true
}

// keepRefusals notes what NinjaOne does not take, so that it is not sent again
// before it changes.
func (r *run) keepRefusals(ctx context.Context, sec *section) error {
	var changed []*record
	for _, id := range slices.Sorted(maps.Keys(sec.refused)) {
		rec, now := r.record(sec.kind, id), sec.refused[id]
		if rec.refused != now.content || rec.reason != now.reason {
			rec.refused, rec.reason = now.content, now.reason
			changed = append(changed, rec)
		}
		r.refuses(sec, id, now.reason)
	}
	return r.save(ctx, changed...)
}

// sendUpdates sends one batch of changes.
func (r *run) sendUpdates(ctx context.Context, sec *section, batch []ninjaone.DocumentUpdate) error {
	records := make(map[int]*record, len(batch))
	before := make(map[int]values, len(batch))
	for _, u := range batch {
		rec := r.byDocument(sec, u.ID)
		records[u.ID], before[u.ID] = rec, slices.Clone(rec.fields)
		for field := range u.Fields {
			rec.fields.set(field, accepted.Sending)
		}
		if u.Name != "" {
			rec.fields.set(nameField, accepted.Sending)
		}
	}
	all := slices.Collect(maps.Values(records))
	if err := r.State.save(ctx, r.part, all...); err != nil {
		return err
	}
	sent, taken, answered := map[int]bool{}, map[int]bool{}, map[int]bool{}
	refused, err := split(ctx, sec, batch, func(u ninjaone.DocumentUpdate) bool { return taken[u.ID] }, func(ctx context.Context, part []ninjaone.DocumentUpdate) error {
		documents, err := r.in.Client.UpdateDocuments(ctx, part)
		for _, u := range part {
			sent[u.ID] = sent[u.ID] || !errors.Is(err, ninjaone.ErrNotSent)
		}
		if err != nil {
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
			rec.fields = before[u.ID]
		}
		if !taken[u.ID] || !answered[u.ID] {
			continue
		}
		for field, v := range u.Fields {
			rec.fields.set(field, accepted.Digest(v))
		}
		if u.Name != "" {
			rec.fields.set(nameField, accepted.Digest(ninjaone.Text(u.Name)))
			if name := before[u.ID].get(nameField); name != rec.fields.get(nameField) {
				sec.freed[name] = true
			}
		}
		rec.refused, rec.reason = "", ""
		r.settled(sec, rec.id)
		r.result.Updated++
	}
	if n := len(taken) - len(answered); n > 0 {
		r.problem("documents:unanswered:"+string(sec.kind), "NinjaOne did not say that it changed %d documents of the template %q; they are sent again with the next run.", n, sec.name)
	}
	if saveErr := r.save(ctx, all...); saveErr != nil {
		return saveErr
	}
	for _, i := range slices.Sorted(maps.Keys(refused)) {
		u := batch[i]
		if err := r.refusedUpdate(ctx, sec, records[u.ID], refused[i]); err != nil {
			return err
		}
	}
	if err != nil {
		return r.fails(ctx, sec, err)
	}
	return nil
}

// refusedUpdate handles a change that NinjaOne does not take: the document is
// gone, or archived by somebody, or its content is not to NinjaOne's liking.
func (r *run) refusedUpdate(ctx context.Context, sec *section, rec *record, reason error) error {
	if errors.Is(reason, ninjaone.ErrNotFound) {
		rec.reset()
		sec.again = true
		return r.save(ctx, rec)
	}
	if _, before := sec.refused[rec.id]; !before && !sec.revived[rec.id] {
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.document})
		if err != nil && !accepted.Tolerable(ctx, err) {
			return err
		}
		if err == nil && len(refused) == 0 {
			// NinjaOne may say so of a document that was not archived, too. Then
			// the second pass is refused like the first.
			r.restored(rec)
			sec.revived[rec.id], sec.again = true, true
			return r.save(ctx, rec)
		}
	}
	return r.refuse(sec, rec.id, reason)
}

// refuse notes that NinjaOne does not take a document as it is composed now.
func (r *run) refuse(sec *section, id string, reason error) error {
	doc, err := sec.compose(id)
	if err != nil {
		return err
	}
	sec.refused[id] = refusal{content(doc.Name, doc.Fields), shorten(reason.Error())}
	return nil
}

func (r *run) settled(sec *section, id string) {
	delete(sec.refused, id)
	sec.done[id] = true
	sec.accepted++
}

// byDocument returns the record of a document of this run's section.
func (r *run) byDocument(sec *section, document int) *record {
	if sec.byDocument == nil {
		sec.byDocument = map[int]*record{}
		for k, rec := range r.records {
			if k.kind == sec.kind && rec.document != 0 {
				sec.byDocument[rec.document] = rec
			}
		}
	}
	return sec.byDocument[document]
}

// split sends a batch, in parts if NinjaOne refuses it, and returns the reasons
// of the items that it does not take, by index. The size of the largest batch
// that NinjaOne takes is remembered for the next ones. taken reports whether an
// item was accepted.
func split[T any](ctx context.Context, sec *section, batch []T, taken func(T) bool, send func(context.Context, []T) error) (map[int]error, error) {
	tooLarge, largest := false, 0
	limited := func(ctx context.Context, part []T) ([]struct{}, error) {
		if sec.largest > 0 && len(part) > sec.largest {
			return nil, fmt.Errorf("%w: NinjaOne takes %d documents at a time", ninjaone.ErrBatchRefused, sec.largest)
		}
		err := send(ctx, part)
		if err == nil {
			largest = max(largest, len(part))
		}
		tooLarge = tooLarge || errors.Is(err, ninjaone.ErrBatchRefused)
		return nil, err
	}
	_, refused, err := ninjaone.SplitRefused(ctx, batch, limited)
	if errors.Is(err, ninjaone.ErrBatchRefused) && ctx.Err() == nil {
		// The first few were refused one by one. That may be because of them, so
		// the others get a chance, from the other end.
		var rest []T
		var index []int
		for i := len(batch) - 1; i >= 0; i-- {
			if refused[i] == nil && !taken(batch[i]) {
				rest, index = append(rest, batch[i]), append(index, i)
			}
		}
		var more map[int]error
		_, more, err = ninjaone.SplitRefused(ctx, rest, limited)
		if err == nil {
			for i, reason := range more {
				refused[index[i]] = reason
			}
		} else {
			refused = nil // hardly because of the documents
		}
	}
	if err == nil && tooLarge && len(refused) == 0 {
		sec.largest = largest
	}
	return refused, err
}
