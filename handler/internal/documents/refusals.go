package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// NinjaOne does not say of what it refuses whether it is the name, which another
// document may have, or what the document says. So a refused document is sent
// without its name, or a new one by another name; what is taken then was refused
// for its name alone, and waits for nothing but that.

const (
	// patience is how many documents in a row are sent one by one and refused
	// again before the others wait for the next run.
	patience = 20
	// maxPasses bounds how often a run looks at what turned out to be possible.
	maxPasses = 30
)

// try returns what was tried with a document.
func (r *run) try(sec *section, rec *ledger.Document) *ledger.Attempt {
	if sec.tries[rec.ID] == nil {
		sec.tries[rec.ID] = &ledger.Attempt{Begun: r.in.Begun}
	}
	rec.Attempt = sec.tries[rec.ID]
	return rec.Attempt
}

// recall takes up what earlier ones of these runs tried.
func (r *run) recall() {
	for _, sec := range r.sections() {
		for k, rec := range r.records {
			switch {
			case k.Kind != sec.kind || rec.Attempt == nil:
			case r.in.Begun.IsZero() || !rec.Attempt.Begun.Equal(r.in.Begun):
				rec.Attempt = nil
			default:
				sec.tries[k.ID] = rec.Attempt
			}
		}
	}
}

// tried reports whether it was tried to restore a document in this run.
func (sec *section) tried(id string) bool { return sec.tries[id] != nil && sec.tries[id].Restored }

// unnamed reports whether a document's name is left out in this run.
func (sec *section) unnamed(id string) bool { return sec.tries[id] != nil && sec.tries[id].Unnamed }

// part is how many documents one may be sent with, itself included; 0 for any
// number.
func (sec *section) part(id string) int {
	if sec.tries[id] == nil {
		return 0
	}
	return sec.tries[id].Limit
}

// held reports whether NinjaOne refused the very same document less than a day
// ago.
func (r *run) held(rec *ledger.Document, doc compose.Document) bool {
	return r.today(rec) && refuses(rec, doc)
}

// today reports whether what NinjaOne refused is not to be tried again yet.
func (r *run) today(rec *ledger.Document) bool {
	return rec.Refused != "" && r.started.Sub(time.Unix(rec.Tried, 0)) < refusedFor
}

// refuses reports whether NinjaOne refused the very same document before.
func refuses(rec *ledger.Document, doc compose.Document) bool {
	return rec.Refused != "" && rec.RefusedName() == "" && rec.Refused == content(doc)
}

// digestOf is the digest of a name.
func digestOf(name string) string { return ledger.Digest(ninjaone.Text(name)) }

// distinct is a name that no other document has.
func (r *run) distinct(doc compose.Document) string {
	return doc.Name + " [" + ledger.Sum([]byte(r.tenantID + "/" + doc.ID))[:8] + "]"
}

// refusedUpdate handles a change that NinjaOne does not take: the document is
// gone, or archived by somebody, or its name or content is not to NinjaOne's
// liking.
func (r *run) refusedUpdate(ctx context.Context, sec *section, rec *ledger.Document, u ninjaone.DocumentUpdate, reason error) error {
	try := r.try(sec, rec)
	r.result.Learned++
	if errors.Is(reason, ninjaone.ErrNotFound) {
		rec.Reset()
		sec.again = true
		return r.save(ctx, rec)
	}
	if u.Name != "" {
		try.Unnamed, try.Name, try.Reason = true, digestOf(u.Name), ledger.Reason(reason)
		if len(u.Fields) == 0 && rec.Refused != ledger.RefusedName(digestOf(u.Name)) {
			rec.Fields.Set(sec.idField, ledger.Unknown) // whether the document takes anything
		}
		sec.again = true
		return nil
	}
	try.Bare, try.Reason = true, ledger.Reason(reason)
	return r.bring(ctx, sec, rec)
}

// bring restores a document that NinjaOne refuses without its name, too, since it
// may be archived. If that is not why, NinjaOne does not take what it says.
func (r *run) bring(ctx context.Context, sec *section, rec *ledger.Document) error {
	try := r.try(sec, rec)
	if !try.Restored {
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.DocumentID})
		try.Restored = !errors.Is(err, ninjaone.ErrNotSent)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return errors.Join(err, r.save(ctx, rec))
		}
		if err == nil && len(refused) == 0 {
			// NinjaOne may say so of a document that was not archived, too. Then
			// it is refused like before.
			r.restored(rec)
			try.Unnamed, try.Bare, sec.again = false, false, true
			return r.save(ctx, rec)
		}
		r.result.Learned++
	}
	if sec.unlisted[rec.ID] {
		return r.abandon(ctx, sec, rec)
	}
	return r.refuse(sec, rec.ID, try.Reason)
}

// bringRest goes on where an earlier one of these runs had no more time.
func (r *run) bringRest(ctx context.Context, sec *section) error {
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		if rec, try := r.records[ledger.Subject{Kind: sec.kind, ID: id}], sec.tries[id]; try.Bare && try.Refused == "" && rec.Live() && (rec.Refused == "" || rec.RefusedName() != "") && !sec.done[id] {
			if err := r.bring(ctx, sec, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusedCreation handles a document that NinjaOne does not create. If one of
// ours has its name whose user or licence ended, it becomes that of the new one:
// an account that was deleted and made anew keeps its document.
func (r *run) refusedCreation(ctx context.Context, sec *section, rec *ledger.Document, reason error) error {
	try := r.try(sec, rec)
	r.result.Learned++
	if try.Unnamed {
		return r.refuse(sec, rec.ID, ledger.Reason(reason))
	}
	doc, err := sec.compose(rec.ID)
	if err != nil {
		return err
	}
	name := ledger.Digest(ninjaone.Text(doc.Name))
	sec.again = true
	for k, old := range r.records {
		if k.Kind != sec.kind || sec.wanted[k.ID] || old.DocumentID == 0 || old.Fields.Get(ledger.NameField) != name {
			continue
		}
		*rec = ledger.Document{Subject: rec.Subject, DocumentID: old.DocumentID, Archived: old.Archived, Relations: old.Relations, Attempt: try}
		rec.Fields.Set(ledger.NameField, name)
		old.Reset()
		sec.byDocument = nil
		return r.save(ctx, rec, old) // both or neither
	}
	try.Unnamed, try.Name, try.Reason = true, name, ledger.Reason(reason)
	return nil
}

// refuse notes that NinjaOne does not take a document as it is composed now.
func (r *run) refuse(sec *section, id, reason string) error {
	doc, err := sec.compose(id)
	if err != nil {
		return err
	}
	try := r.try(sec, r.record(sec.kind, id))
	try.Refused, try.Reason = content(doc), reason
	sec.done[id] = true
	return nil
}

// suspect notes that several documents were refused together, or took NinjaOne
// too long: they go on in halves, also when this run has no time for that.
func (r *run) suspect(sec *section, records []*ledger.Document, err error) {
	if len(records) < 2 || !errors.Is(err, ninjaone.ErrBatchRefused) && !errors.Is(err, ninjaone.ErrTimedOut) {
		return
	}
	r.result.Learned++
	for _, rec := range records {
		r.try(sec, rec).Limit = ledger.Half(len(records))
	}
}

// retryFreed lets those be tried again whose name was given up, and reports
// whether there are any.
func (r *run) retryFreed(sec *section) (found bool) {
	for _, id := range sec.ids {
		rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
		if rec == nil {
			continue
		}
		try, name := sec.tries[id], rec.RefusedName()
		if sec.unnamed(id) && try.Refused == "" {
			name = try.Name
		}
		if name == "" || !sec.freed[name] {
			continue
		}
		if try != nil {
			try.Unnamed = false
		}
		rec.ForgetRefusal()
		delete(sec.done, id)
		found = true
	}
	clear(sec.freed)
	return found
}

// untangle finds documents of which each has the name that the next one is to
// have, round in a circle, and gives one of them a name of its own, so that the
// others can go on. It reports whether it did.
func (r *run) untangle(ctx context.Context, sec *section) (bool, error) {
	holders := map[string]*ledger.Document{}
	for id, try := range sec.tries {
		if rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]; try.Unnamed && rec.Live() {
			holders[rec.Fields.Get(ledger.NameField)] = rec
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		first := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
		if !sec.unnamed(id) || !first.Live() {
			continue
		}
		at := first
		for range len(holders) {
			if at = holders[sec.tries[at.ID].Name]; at == nil || at == first {
				break
			}
		}
		if at != first || sec.tries[id].Name == first.Fields.Get(ledger.NameField) {
			continue
		}
		return r.park(ctx, sec, first)
	}
	return false, nil
}

// park gives a document a name that no other has.
func (r *run) park(ctx context.Context, sec *section, rec *ledger.Document) (bool, error) {
	doc, err := sec.compose(rec.ID)
	if err != nil {
		return false, err
	}
	before, name := rec.Fields.Get(ledger.NameField), r.distinct(doc)
	rec.Fields.Set(ledger.NameField, ledger.Unknown)
	if err := r.save(ctx, rec); err != nil {
		return false, err
	}
	if _, err := r.in.Client.UpdateDocuments(ctx, []ninjaone.DocumentUpdate{{ID: rec.DocumentID, Name: name}}); err != nil {
		if !ninjaone.Tolerable(ctx, err) {
			return false, err
		}
		return false, nil
	}
	rec.Fields.Set(ledger.NameField, ledger.Digest(ninjaone.Text(name)))
	sec.freed[before] = true
	return true, r.save(ctx, rec)
}

// keepRefusals notes what NinjaOne does not take, so that it is not sent again
// today unless it changes, and tells it. Of a run that ends early it also keeps
// what was tried, so that the next one goes on from there.
func (r *run) keepRefusals(ctx context.Context, sec *section, ended error) error {
	goesOn := ended != nil && !r.in.Begun.IsZero()
	if goesOn {
		r.retryFreed(sec) // the next run does not know whose names are free now
	}
	var changed []*ledger.Document
	fresh, first := 0, ""
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		rec, try := r.record(sec.kind, id), sec.tries[id]
		if try.Unnamed && try.Refused == "" && rec.DocumentID == 0 && !sec.stuck[id] && !goesOn {
			// Its turn did not come any more, or its batch failed.
			if err := r.refuse(sec, id, try.Reason); err != nil {
				return err
			}
		}
		if goesOn {
			changed = append(changed, rec)
		}
		switch {
		case try.Refused != "":
			rec.Refused = try.Refused
			first = cmp.Or(first, try.Reason)
			fresh++
		case rec.Refused != "" && rec.RefusedName() == "": // an earlier run found out that it is not the name
			continue
		case try.Unnamed && rec.DocumentID != 0 && rec.Fields.Get(ledger.NameField) != try.Name:
			rec.Refused = ledger.RefusedName(try.Name)
		default:
			continue
		}
		rec.Reason, rec.Tried = try.Reason, r.started.Unix()
		changed = append(changed, rec)
	}
	if fresh > probes && sec.accepted == 0 {
		r.problem("documents:refused:"+string(sec.kind), "NinjaOne takes none of the documents of the template %q: %s", sec.name, words.End(first))
	}
	for _, id := range sec.ids {
		if rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]; rec != nil && rec.Refused != "" {
			r.tellRefusal(sec, rec)
		}
	}
	return r.save(ctx, unique(changed)...)
}

// tellRefusal tells that NinjaOne does not take a document, or not its name.
func (r *run) tellRefusal(sec *section, rec *ledger.Document) {
	first := fmt.Sprintf("%s %s: %s", sec.noun, rec.ID, rec.Reason)
	if rec.RefusedName() != "" {
		r.counted("documents:name:"+string(sec.kind), first,
			"NinjaOne refuses the name of the document of a "+sec.noun+", probably because another document has it. The document is up to date under another name; rename or delete the other one. The name is tried again every day: %s",
			"NinjaOne refuses the names of the documents of %d "+sec.noun+"s, probably because other documents have them. The documents are up to date under other names; rename or delete the others. The names are tried again every day; the first is of the %s")
		return
	}
	r.result.Refused++
	r.counted("documents:content:"+string(sec.kind), first,
		"NinjaOne refuses the document of a "+sec.noun+". It is tried again every day, and when its content changes: %s",
		"NinjaOne refuses the documents of %d "+sec.noun+"s. They are tried again every day, and when their content changes; the first is of the %s")
}

func unique(records []*ledger.Document) []*ledger.Document {
	set := map[*ledger.Document]bool{}
	for _, rec := range records {
		set[rec] = true
	}
	return slices.Collect(maps.Keys(set))
}
