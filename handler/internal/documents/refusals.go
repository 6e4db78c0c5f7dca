package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// NinjaOne does not say whether it refuses the name, which another document may have, or
// the content. So a refused document is sent without its name, and a new one by another
// name. What is taken then was refused for its name alone, and waits for that only.

// refusedUpdate handles a change that NinjaOne refuses. The document is gone or
// archived, or its name or content is refused.
func (r *run) refusedUpdate(ctx context.Context, sec *section, c change, reason error) error {
	try := c.Try(r.in.Begun)
	r.result.Learned++
	switch {
	case errors.Is(reason, ninjaone.ErrNotFound):
		c.Reset()
		r.touch(c.Document)
	case c.name != "":
		try.Unnamed, try.Name, try.Reason = true, digestOf(c.name), ledger.Reason(reason)
		if len(c.fields) == 0 && c.Refused != ledger.RefusedName(try.Name) {
			c.Fields.Set(sec.idField, ledger.Unknown) // whether the document takes anything
		}
	default:
		try.Bare, try.Reason = true, ledger.Reason(reason)
		return r.bring(ctx, sec, c.Document)
	}
	sec.again = true
	return r.save(ctx)
}

// bring restores a document that NinjaOne refuses without its name, too, since it
// may be archived. If that is not why, NinjaOne does not take what it says.
func (r *run) bring(ctx context.Context, sec *section, rec *ledger.Document) error {
	try := rec.Try(r.in.Begun)
	if !try.Restored {
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.DocumentID})
		try.Restored = !errors.Is(err, ninjaone.ErrNotSent)
		r.touch(rec)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return errors.Join(err, r.save(ctx))
		}
		if err == nil && len(refused) == 0 {
			// NinjaOne may say so of a document that was not archived, too. Then
			// it is refused like before.
			r.restored(rec)
			try.Unnamed, try.Bare, sec.again = false, false, true
			return r.save(ctx)
		}
		r.result.Learned++
	}
	if sec.unlisted[rec.ID] {
		return r.abandon(ctx, sec, rec)
	}
	return r.refuse(sec, rec, try.Reason)
}

// bringRest goes on where an earlier one of these runs had no more time.
func (r *run) bringRest(ctx context.Context, sec *section) error {
	for _, id := range sec.ids {
		rec := r.record(sec.kind, id)
		if try := tried(rec); try.Bare && try.Refused == "" && rec.Live() && (rec.Refused == "" || rec.RefusedName() != "") && !sec.done[id] {
			if err := r.bring(ctx, sec, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon gives up a document that NinjaOne neither lists nor restores nor changes. Its
// user or licence gets another one.
func (r *run) abandon(ctx context.Context, sec *section, rec *ledger.Document) error {
	var ended []relations.Relation
	for _, have := range rec.Relations {
		ended = append(ended, relations.Relation{Document: rec, Relation: have})
	}
	if err := r.keeper.Remove(ctx, ended); err != nil {
		return err
	}
	r.log.WarnContext(ctx, "a document is given up, because NinjaOne neither lists nor restores nor changes it", "document", rec.DocumentID)
	delete(sec.unlisted, rec.ID)
	rec.Attempt = nil
	rec.Reset()
	sec.again = true
	r.touch(rec)
	return r.save(ctx)
}

// refusedCreation handles a document that NinjaOne does not create. One of our documents
// may have its name, for a user or licence that ended. Then that document becomes the
// new one's: an account that was deleted and created anew keeps its document.
func (r *run) refusedCreation(ctx context.Context, sec *section, c change, reason error) error {
	try := c.Try(r.in.Begun)
	r.result.Learned++
	if try.Unnamed {
		return r.refuse(sec, c.Document, ledger.Reason(reason))
	}
	name := digestOf(c.title)
	sec.again = true
	for s, old := range r.records {
		if s.Kind != sec.kind || sec.wanted[s.ID] || old.DocumentID == 0 || old.Fields.Get(ledger.NameField) != name {
			continue
		}
		*c.Document = ledger.Document{Subject: c.Subject, DocumentID: old.DocumentID, Archived: old.Archived, Relations: old.Relations, Attempt: try}
		c.Fields.Set(ledger.NameField, name)
		old.Reset()
		r.touch(c.Document, old)
		return r.save(ctx) // both or neither
	}
	try.Unnamed, try.Name, try.Reason = true, name, ledger.Reason(reason)
	return nil
}

// refuse notes that NinjaOne does not take a document as it is composed now.
func (r *run) refuse(sec *section, rec *ledger.Document, reason string) error {
	doc, err := sec.Document(rec.ID)
	if err != nil {
		return err
	}
	try := rec.Try(r.in.Begun)
	try.Refused, try.Reason = content(doc), reason
	sec.done[rec.ID] = true
	return nil
}

// retryFreed lets those be tried again whose name was given up, and reports
// whether there are any.
func (r *run) retryFreed(sec *section) (found bool) {
	for _, id := range sec.ids {
		rec := r.record(sec.kind, id)
		name := rec.RefusedName()
		if try := tried(rec); try.Unnamed && try.Refused == "" {
			name = try.Name
		}
		if name == "" || !sec.freed[name] {
			continue
		}
		if rec.Attempt != nil {
			rec.Attempt.Unnamed = false
		}
		rec.ForgetRefusal()
		delete(sec.done, id)
		found = true
	}
	clear(sec.freed)
	return found
}

// untangle finds documents in a circle, where each has the name that the next one should
// get. It gives one of them a name of its own, so that the others can go on. It reports
// whether it did.
func (r *run) untangle(ctx context.Context, sec *section) (bool, error) {
	holders := map[string]*ledger.Document{}
	for _, id := range sec.ids {
		if rec := r.record(sec.kind, id); tried(rec).Unnamed && rec.Live() {
			holders[rec.Fields.Get(ledger.NameField)] = rec
		}
	}
	for _, id := range sec.ids {
		first := r.record(sec.kind, id)
		if !tried(first).Unnamed || !first.Live() {
			continue
		}
		at := first
		for range len(holders) {
			if at = holders[tried(at).Name]; at == nil || at == first {
				break
			}
		}
		if at == first && tried(first).Name != first.Fields.Get(ledger.NameField) {
			return r.park(ctx, sec, first)
		}
	}
	return false, nil
}

// park gives a document a name that no other has.
func (r *run) park(ctx context.Context, sec *section, rec *ledger.Document) (bool, error) {
	doc, err := sec.Document(rec.ID)
	if err != nil {
		return false, err
	}
	before, name := rec.Fields.Get(ledger.NameField), r.distinct(doc)
	rec.Fields.Set(ledger.NameField, ledger.Unknown)
	r.touch(rec)
	if err := r.save(ctx); err != nil {
		return false, err
	}
	if _, err := r.in.Client.UpdateDocuments(ctx, []ninjaone.DocumentUpdate{{ID: rec.DocumentID, Name: name}}); err != nil {
		if !ninjaone.Tolerable(ctx, err) {
			return false, err
		}
		return false, nil
	}
	rec.Fields.Set(ledger.NameField, digestOf(name))
	sec.freed[before] = true
	r.touch(rec)
	return true, r.save(ctx)
}

// keepRefusals notes what NinjaOne refuses, and tells it. It is not sent again today
// unless it changes. If the run ends early, keepRefusals also keeps what was tried, and
// the next run continues from there.
func (r *run) keepRefusals(ctx context.Context, sec *section, ended bool) error {
	goesOn := ended && !r.in.Begun.IsZero()
	if goesOn {
		r.retryFreed(sec) // the next run does not know whose names are free now
	}
	fresh, first := 0, ""
	for _, id := range sec.ids {
		rec := r.record(sec.kind, id)
		if rec.Attempt != nil {
			now, err := r.keepRefusal(sec, rec, goesOn)
			if err != nil {
				return err
			}
			if now {
				first = cmp.Or(first, rec.Reason)
				fresh++
			}
		}
		if rec.Refused != "" {
			r.tellRefusal(sec, rec)
		}
	}
	if fresh > probes && sec.accepted == 0 {
		r.in.Problems.Add("documents:refused:"+string(sec.kind), "NinjaOne takes none of the documents of the template %q: %s", sec.name, words.End(first))
	}
	return r.save(ctx)
}

// keepRefusal notes what was found out of a document, and reports whether NinjaOne
// refused what it says.
func (r *run) keepRefusal(sec *section, rec *ledger.Document, goesOn bool) (bool, error) {
	try := rec.Attempt
	if try.Unnamed && try.Refused == "" && rec.DocumentID == 0 && !rec.Pending() && !goesOn {
		// Its turn did not come any more, or its batch failed.
		if err := r.refuse(sec, rec, try.Reason); err != nil {
			return false, err
		}
	}
	if goesOn {
		r.touch(rec)
	}
	switch {
	case try.Refused != "":
		rec.Refused = try.Refused
	case rec.Refused != "" && rec.RefusedName() == "": // an earlier run found out that it is not the name
		return false, nil
	case try.Unnamed && rec.DocumentID != 0 && rec.Fields.Get(ledger.NameField) != try.Name:
		rec.Refused = ledger.RefusedName(try.Name)
	default:
		return false, nil
	}
	rec.Reason, rec.Tried = try.Reason, r.started.Unix()
	r.touch(rec)
	return try.Refused != "", nil
}

// tellRefusal tells that NinjaOne does not take a document, or not its name.
func (r *run) tellRefusal(sec *section, rec *ledger.Document) {
	first := fmt.Sprintf("%s %s: %s", sec.noun, rec.ID, rec.Reason)
	if rec.RefusedName() != "" {
		r.in.Problems.Tally("documents:name:"+string(sec.kind), first,
			"NinjaOne refuses the name of the document of a "+sec.noun+", probably because another document has it. The document is up to date under another name; rename or delete the other one. The name is tried again every day: %s",
			"NinjaOne refuses the names of the documents of %d "+sec.noun+"s, probably because other documents have them. The documents are up to date under other names; rename or delete the others. The names are tried again every day; the first is of the %s")
		return
	}
	r.result.Refused++
	r.in.Problems.Tally("documents:content:"+string(sec.kind), first,
		"NinjaOne refuses the document of a "+sec.noun+". It is tried again every day, and when its content changes: %s",
		"NinjaOne refuses the documents of %d "+sec.noun+"s. They are tried again every day, and when their content changes; the first is of the %s")
}
