package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
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

// attempt is what the runs of one sync tried with a document of which NinjaOne
// refused something, alone or with others. It is kept in the record, since each
// run may have time for one call only.
type attempt struct {
	Begun    time.Time `json:"begun"`              // when the first of these runs began
	Part     int       `json:"part,omitempty"`     // how many documents it may be sent with, itself included; 0 for any number
	Restored bool      `json:"restored,omitempty"` // it was tried to restore it
	Unnamed  bool      `json:"unnamed,omitempty"`  // its name is left out; a new document gets another one
	Bare     bool      `json:"bare,omitempty"`     // it was refused without its name, too
	Name     string    `json:"name,omitempty"`     // digest of the name that it is to have
	Reason   string    `json:"reason,omitempty"`   // of the last refusal
	// Hosts are those to which its relation was refused: with how many others it
	// may be sent, itself included; 0 when it was refused alone. See hostOf.
	Hosts    map[int64]int `json:"hosts,omitempty"`
	Unlinked string        `json:"unlinked,omitempty"` // why its relation was refused
	refused  string        // digest of the content that NinjaOne refused; "" while that is not certain
}

// try returns what was tried with a document.
func (r *run) try(sec *section, rec *record) *attempt {
	if sec.tries[rec.id] == nil {
		sec.tries[rec.id] = &attempt{Begun: r.in.Begun}
	}
	rec.attempt = sec.tries[rec.id]
	return rec.attempt
}

// recall takes up what earlier ones of these runs tried.
func (r *run) recall() {
	for _, sec := range r.sections() {
		for k, rec := range r.records {
			switch {
			case k.kind != sec.kind || rec.attempt == nil:
			case r.in.Begun.IsZero() || !rec.attempt.Begun.Equal(r.in.Begun):
				rec.attempt = nil
			default:
				sec.tries[k.id] = rec.attempt
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
	return sec.tries[id].Part
}

// held reports whether NinjaOne refused the very same document less than a day
// ago.
func (r *run) held(rec *record, doc compose.Document) bool {
	return r.today(rec) && rec.refuses(doc)
}

// today reports whether what NinjaOne refused is not to be tried again yet.
func (r *run) today(rec *record) bool {
	return rec.refused != "" && r.started.Sub(time.Unix(rec.tried, 0)) < refusedFor
}

// refuses reports whether NinjaOne refused the very same document before.
func (r *record) refuses(doc compose.Document) bool {
	return r.refused != "" && !r.misnamed() && r.refused == content(doc)
}

// distinct is a name that no other document has.
func (r *run) distinct(doc compose.Document) string {
	return doc.Name + " [" + ledger.Sum([]byte(r.tenantID + "/" + doc.ID))[:8] + "]"
}

// refusedUpdate handles a change that NinjaOne does not take: the document is
// gone, or archived by somebody, or its name or content is not to NinjaOne's
// liking.
func (r *run) refusedUpdate(ctx context.Context, sec *section, rec *record, u ninjaone.DocumentUpdate, reason error) error {
	try := r.try(sec, rec)
	r.result.Learned++
	if errors.Is(reason, ninjaone.ErrNotFound) {
		rec.reset()
		sec.again = true
		return r.save(ctx, rec)
	}
	if u.Name != "" {
		try.Unnamed, try.Name, try.Reason = true, digestOf(u.Name), shorten(reason.Error())
		if len(u.Fields) == 0 && rec.refused != refusedName(u.Name) {
			rec.fields.set(sec.idField, ledger.Unknown) // whether the document takes anything
		}
		sec.again = true
		return nil
	}
	try.Bare, try.Reason = true, shorten(reason.Error())
	return r.bring(ctx, sec, rec)
}

// bring restores a document that NinjaOne refuses without its name, too, since it
// may be archived. If that is not why, NinjaOne does not take what it says.
func (r *run) bring(ctx context.Context, sec *section, rec *record) error {
	try := r.try(sec, rec)
	if !try.Restored {
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.document})
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
	if sec.unlisted[rec.id] {
		return r.abandon(ctx, sec, rec)
	}
	return r.refuse(sec, rec.id, try.Reason)
}

// bringRest goes on where an earlier one of these runs had no more time.
func (r *run) bringRest(ctx context.Context, sec *section) error {
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		if rec, try := r.records[key{sec.kind, id}], sec.tries[id]; try.Bare && try.refused == "" && rec.live() && (rec.refused == "" || rec.misnamed()) && !sec.done[id] {
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
func (r *run) refusedCreation(ctx context.Context, sec *section, rec *record, reason error) error {
	try := r.try(sec, rec)
	r.result.Learned++
	if try.Unnamed {
		return r.refuse(sec, rec.id, reason.Error())
	}
	doc, err := sec.compose(rec.id)
	if err != nil {
		return err
	}
	name := ledger.Digest(ninjaone.Text(doc.Name))
	sec.again = true
	for k, old := range r.records {
		if k.kind != sec.kind || sec.wanted[k.id] || old.document == 0 || old.fields.get(nameField) != name {
			continue
		}
		*rec = record{key: rec.key, document: old.document, archived: old.archived, relations: old.relations, attempt: try}
		rec.fields.set(nameField, name)
		old.reset()
		sec.byDocument = nil
		return r.save(ctx, rec, old) // both or neither
	}
	try.Unnamed, try.Name, try.Reason = true, name, shorten(reason.Error())
	return nil
}

// refuse notes that NinjaOne does not take a document as it is composed now.
func (r *run) refuse(sec *section, id, reason string) error {
	doc, err := sec.compose(id)
	if err != nil {
		return err
	}
	try := r.try(sec, r.record(sec.kind, id))
	try.refused, try.Reason = content(doc), shorten(reason)
	sec.done[id] = true
	return nil
}

// suspect notes that several documents were refused together, or took NinjaOne
// too long: they go on in halves, also when this run has no time for that.
func (r *run) suspect(sec *section, records []*record, err error) {
	if len(records) < 2 || !errors.Is(err, ninjaone.ErrBatchRefused) && !errors.Is(err, ninjaone.ErrTimedOut) {
		return
	}
	r.result.Learned++
	for _, rec := range records {
		r.try(sec, rec).Part = (len(records) + 1) / 2
	}
}

// retryFreed lets those be tried again whose name was given up, and reports
// whether there are any.
func (r *run) retryFreed(sec *section) (found bool) {
	for _, id := range sec.ids {
		rec := r.records[key{sec.kind, id}]
		if rec == nil {
			continue
		}
		try, name := sec.tries[id], ""
		if rec.misnamed() {
			name = strings.TrimPrefix(rec.refused, namePrefix)
		}
		if sec.unnamed(id) && try.refused == "" {
			name = try.Name
		}
		if name == "" || !sec.freed[name] {
			continue
		}
		if try != nil {
			try.Unnamed = false
		}
		rec.settle()
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
	holders := map[string]*record{}
	for id, try := range sec.tries {
		if rec := r.records[key{sec.kind, id}]; try.Unnamed && rec.live() {
			holders[rec.fields.get(nameField)] = rec
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		first := r.records[key{sec.kind, id}]
		if !sec.unnamed(id) || !first.live() {
			continue
		}
		at := first
		for range len(holders) {
			if at = holders[sec.tries[at.id].Name]; at == nil || at == first {
				break
			}
		}
		if at != first || sec.tries[id].Name == first.fields.get(nameField) {
			continue
		}
		return r.park(ctx, sec, first)
	}
	return false, nil
}

// park gives a document a name that no other has.
func (r *run) park(ctx context.Context, sec *section, rec *record) (bool, error) {
	doc, err := sec.compose(rec.id)
	if err != nil {
		return false, err
	}
	before, name := rec.fields.get(nameField), r.distinct(doc)
	rec.fields.set(nameField, ledger.Unknown)
	if err := r.save(ctx, rec); err != nil {
		return false, err
	}
	if _, err := r.in.Client.UpdateDocuments(ctx, []ninjaone.DocumentUpdate{{ID: rec.document, Name: name}}); err != nil {
		if !ninjaone.Tolerable(ctx, err) {
			return false, err
		}
		return false, nil
	}
	rec.fields.set(nameField, ledger.Digest(ninjaone.Text(name)))
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
	var changed []*record
	fresh, first := 0, ""
	for _, id := range slices.Sorted(maps.Keys(sec.tries)) {
		rec, try := r.record(sec.kind, id), sec.tries[id]
		if try.Unnamed && try.refused == "" && rec.document == 0 && !sec.stuck[id] && !goesOn {
			// Its turn did not come any more, or its batch failed.
			if err := r.refuse(sec, id, try.Reason); err != nil {
				return err
			}
		}
		if goesOn {
			changed = append(changed, rec)
		}
		switch {
		case try.refused != "":
			rec.refused = try.refused
			first = cmp.Or(first, try.Reason)
			fresh++
		case rec.refused != "" && !rec.misnamed(): // an earlier run found out that it is not the name
			continue
		case try.Unnamed && rec.document != 0 && rec.fields.get(nameField) != try.Name:
			rec.refused = namePrefix + try.Name
		default:
			continue
		}
		rec.reason, rec.tried = try.Reason, r.started.Unix()
		changed = append(changed, rec)
	}
	if fresh > probes && sec.accepted == 0 {
		r.problem("documents:refused:"+string(sec.kind), "NinjaOne takes none of the documents of the template %q: %s", sec.name, sentence(first))
	}
	for _, id := range sec.ids {
		if rec := r.records[key{sec.kind, id}]; rec != nil && rec.refused != "" {
			r.tellRefusal(sec, rec)
		}
	}
	return r.save(ctx, unique(changed)...)
}

// tellRefusal tells that NinjaOne does not take a document, or not its name.
func (r *run) tellRefusal(sec *section, rec *record) {
	first := fmt.Sprintf("%s %s: %s", sec.noun, rec.id, rec.reason)
	if rec.misnamed() {
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
