package documents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// listIfNeeded reads the documents of a section when what is remembered may
// not be all there is: in the first run, after an outcome that stayed unknown,
// when the template changed, when everything is forced, and once a week.
func (r *run) listIfNeeded(ctx context.Context, sec *section) error {
	if !r.unsure(sec) {
		return nil
	}
	return r.orBlock(ctx, sec, r.list(ctx, sec))
}

// unsure reports whether there may be documents that are not remembered.
func (r *run) unsure(sec *section) bool {
	read := r.progress.Listed[sec.kind]
	needed := r.in.Force || read.IsZero() || r.Now().Sub(read) >= relistAfter
	for k, rec := range r.records {
		needed = needed || k.Kind == sec.kind && rec.Pending()
	}
	return needed
}

// orBlock keeps a section whose documents could not be read from being
// written.
func (r *run) orBlock(ctx context.Context, sec *section, err error) error {
	if err != nil && !ninjaone.Tolerable(ctx, err) {
		return err
	}
	if err != nil {
		// To create anything now could create it twice.
		sec.blocked = true
		r.problem("documents:list:"+string(sec.kind), "The documents of the template %q could not be read, so none were written: %s", sec.name, words.End(err.Error()))
	}
	return nil
}

// list reads the documents of a section and brings the records in line with
// them. Where there are surplus documents of one user or licence, it does not
// count as read before they are archived, which archiveExtras does.
func (r *run) list(ctx context.Context, sec *section) error {
	found, err := r.look(ctx, sec)
	if err == nil && sec.contradicted {
		found, err = r.probe(ctx, sec, found)
	}
	if err != nil {
		return err
	}
	changed := slices.Collect(maps.Keys(sec.touched))
	if err := r.save(ctx, changed...); err != nil {
		return err
	}
	clear(sec.touched)
	if sec.contradicted {
		r.problem("documents:contradiction:"+string(sec.kind), "NinjaOne's list of the documents of the template %q lacks most of those that are there. So none was created or archived in this run; the next one reads them again.", sec.name)
		return r.readAgain(ctx, sec)
	}
	sec.listed = true
	sec.surplus(found)
	r.progress.Listed[sec.kind], r.progress.Template[sec.kind] = r.Now().UTC(), sec.template.ID
	if len(sec.extras) > 0 {
		delete(r.progress.Listed, sec.kind)
	}
	return r.saveProgress(ctx)
}

// look reads the documents of a section and brings the records in line with
// them, in memory alone.
func (r *run) look(ctx context.Context, sec *section) (map[string]claimed, error) {
	c, err := r.claims(ctx, sec)
	if err != nil {
		return nil, err
	}
	documents, err := r.in.Client.Documents(ctx, r.query(sec))
	if err != nil {
		return nil, err
	}
	sec.contradicted = r.lacking(sec, c, documents)
	if sec.contradicted {
		// Once more without the filter by template.
		q := r.query(sec)
		q.AllTemplates = true
		if documents, err = r.in.Client.Documents(ctx, q); err != nil {
			return nil, err
		}
		// That CIPP's map knows more is no contradiction: it may be old.
		sec.contradicted = r.lacking(sec, c, documents) && len(c.remembered) > 0
	}
	sec.present = make(map[int]bool, len(documents))
	for _, d := range documents {
		sec.present[d.ID] = !d.Archived
	}
	found := adopt(documents, c)
	r.take(sec, found)
	return found, nil
}

// lacking reports whether a list lacks more than half of the documents that are
// known to be there: what we remember, or what CIPP's map names when we remember
// nothing. Technicians hardly archive as many.
func (r *run) lacking(sec *section, c claims, documents []ninjaone.Document) bool {
	listed := map[int]bool{}
	for _, d := range documents {
		listed[d.ID] = true
	}
	known, missing := 0, 0
	count := func(document int) {
		known++
		if !listed[document] {
			missing++
		}
	}
	for k, rec := range r.records {
		if k.Kind == sec.kind && rec.Live() && sec.wanted[k.ID] { // the others may be archived already
			count(rec.DocumentID)
		}
	}
	if len(c.remembered) == 0 {
		for document, user := range c.mapped {
			if sec.wanted[user] && !c.taken[document] {
				count(document)
			}
		}
	}
	return missing*2 > known
}

// probe asks for a few of the documents that a list lacks, and that are to be
// there, whether they can be restored. If they can, or are gone, the list is
// right; if not, they are there, and the list is wrong.
func (r *run) probe(ctx context.Context, sec *section, found map[string]claimed) (map[string]claimed, error) {
	asked := 0
	for _, id := range sec.ids {
		rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
		if _, has := found[id]; has || !rec.Live() {
			continue
		}
		r.try(sec, rec).Restored = true
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.DocumentID})
		reason := refused[rec.DocumentID]
		switch {
		case err != nil && !ninjaone.Tolerable(ctx, err):
			return nil, err
		case errors.Is(reason, ninjaone.ErrNotFound):
			rec.Reset()
		case err != nil || reason != nil:
			return found, nil
		default:
			r.restored(rec)
		}
		sec.touched[rec] = true
		if asked++; asked == probes {
			break
		}
	}
	if asked == 0 {
		return found, nil
	}
	sec.contradicted = false
	r.take(sec, found)
	return found, nil
}

// query asks for the documents of a section.
func (r *run) query(sec *section) ninjaone.DocumentQuery {
	return ninjaone.DocumentQuery{
		OrganizationID: r.in.OrganizationID, TemplateIDs: []int{sec.template.ID},
		Fields: []string{sec.idField, compose.FieldTenantID},
		Odd: func(n int) {
			r.problem("documents:odd:"+string(sec.kind), "NinjaOne answered %d documents of other organizations or templates than were asked for, when those of the template %q were read. They were left alone.", n, sec.name)
		},
	}
}

// take notes which documents there are.
func (r *run) take(sec *section, found map[string]claimed) {
	touch := func(rec *ledger.Document) { sec.touched[rec] = true }
	holders := map[int]*ledger.Document{}
	for k, rec := range r.records {
		if k.Kind == sec.kind && rec.DocumentID != 0 {
			holders[rec.DocumentID] = rec
		}
	}
	for id, c := range found {
		rec := r.record(sec.kind, id)
		if before := holders[c.document.ID]; before != nil && before != rec && before.DocumentID == c.document.ID {
			// The document says by now that it is about somebody else.
			rec.Reset()
			rec.Relations = before.Relations
			rec.DocumentID = before.DocumentID
			before.Reset()
			touch(before)
			touch(rec)
		}
		switch {
		case rec.DocumentID == c.document.ID:
			if c.document.Archived && !rec.Archived {
				rec.Archived = true
				touch(rec)
			}
			if r.compare(sec, rec, *c.document) {
				touch(rec)
			}
		case rec.DocumentID == 0 && rec.Pending(): // created, and the answer was lost
			rec.DocumentID, rec.Archived = c.document.ID, c.document.Archived
			touch(rec)
		default: // a document that we did not write, or not last
			rec.Reset()
			rec.DocumentID, rec.Archived = c.document.ID, c.document.Archived
			rec.Fields.Set(ledger.NameField, ledger.Digest(ninjaone.Text(c.document.Name)))
			touch(rec)
		}
	}
	for k, rec := range r.records {
		if _, has := found[k.ID]; has || k.Kind != sec.kind {
			continue
		}
		switch {
		case rec.Pending():
			rec.Fields = nil // never created
			touch(rec)
		case rec.Live() && sec.wanted[k.ID] && !sec.contradicted && !sec.tried(k.ID):
			// Archived or deleted by somebody else; to bring it back tells which.
			// Of one that nobody wants, to archive it does.
			rec.Archived = true
			touch(rec)
		}
	}
}

// compare notes what somebody changed in a document since: its name, or the ids
// that say whose it is. What its pages say cannot be compared, since NinjaOne
// answers them as it cleaned them.
func (r *run) compare(sec *section, rec *ledger.Document, d ninjaone.Document) (changed bool) {
	if name := ledger.Digest(ninjaone.Text(d.Name)); rec.Fields.Get(ledger.NameField) != name {
		rec.Fields.Set(ledger.NameField, name)
		changed = true
	}
	for field, want := range map[string]string{sec.idField: rec.ID, compose.FieldTenantID: r.tenantID} {
		if fold(d.Text(field)) != want && rec.Fields.Get(field) != ledger.Unknown {
			rec.Fields.Set(field, ledger.Unknown)
			changed = true
		}
	}
	return changed
}

// userMaps are the rows of CIPP's NinjaOneUserMap of the organization's
// tenants, and what the other ones are known to have.
type userMaps struct {
	own    map[string]int // user to document
	taken  map[int]bool   // documents of other tenants' users
	theirs map[ledger.Subject]bool
	unread bool // another tenant's licences are not known
}

func (r *run) readMaps(ctx context.Context) (*userMaps, error) {
	if r.maps != nil {
		return r.maps, nil
	}
	m := &userMaps{taken: map[int]bool{}, theirs: map[ledger.Subject]bool{}}
	var err error
	if m.own, err = r.CIPP.UserMap(ctx, r.in.Compose.Snapshot.Tenant.ID); err != nil {
		return nil, err
	}
	for _, other := range r.others() {
		mapped, err := r.CIPP.UserMap(ctx, other)
		if err != nil {
			return nil, err
		}
		for user, document := range mapped {
			m.taken[document], m.theirs[ledger.Subject{Kind: ledger.KindUser, ID: user}] = true, true
		}
		for _, k := range []ledger.Kind{ledger.KindUser, ledger.KindLicense} {
			ids, read, err := r.tenantLedger(fold(other)).IDs(ctx, k)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				m.theirs[ledger.Subject{Kind: k, ID: id}] = true
			}
			m.unread = m.unread || k == ledger.KindLicense && !read
		}
	}
	r.maps = m
	return m, nil
}

// others are the other tenants of the organization.
func (r *run) others() []string {
	return slices.DeleteFunc(slices.Clone(r.in.Sharing), func(id string) bool { return fold(id) == r.tenantID })
}

// claims gathers what decides whose a document is.
func (r *run) claims(ctx context.Context, sec *section) (claims, error) {
	m, err := r.readMaps(ctx)
	if err != nil {
		return claims{}, err
	}
	c := claims{
		tenantID: r.tenantID, idField: sec.idField,
		known: func(id string) int {
			if rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]; rec != nil {
				return rec.DocumentID
			}
			return 0
		},
		ours: func(id string) bool { return sec.has(id) || r.records[ledger.Subject{Kind: sec.kind, ID: id}] != nil },
		// A SKU id is the same in every tenant, so a licence's document that
		// does not name its tenant may be that of any that may have the licence.
		theirs: func(id string) bool {
			return m.theirs[ledger.Subject{Kind: sec.kind, ID: id}] || sec.kind == ledger.KindLicense && m.unread
		},
		remembered: map[int]string{},
	}
	for k, rec := range r.records {
		if k.Kind == sec.kind && rec.DocumentID != 0 {
			c.remembered[rec.DocumentID] = k.ID
		}
	}
	if sec.kind != ledger.KindUser {
		return c, nil
	}
	c.taken, c.mapped = m.taken, make(map[int]string, len(m.own))
	for _, user := range slices.Sorted(maps.Keys(m.own)) {
		c.mapped[m.own[user]] = user
	}
	present := c.ours
	c.ours = func(id string) bool { return present(id) || m.own[id] != 0 }
	return c, nil
}

// archiveExtras archives the surplus documents that were listed, after their
// relations, so that a run that ends in between is made up for by the next. CIPP
// created a licence's document anew with each of its runs, so there may be many:
// the brake is for users and licences that seem to have ended, not for these.
func (r *run) archiveExtras(ctx context.Context) error {
	if r.users != nil && (r.users.blocked || r.users.unrelated) {
		return nil // their relations are not known; the next run reads them
	}
	if err := r.keeper.RemoveSurplus(ctx); err != nil {
		return err
	}
	for _, sec := range r.sections() {
		if len(sec.extras) == 0 || sec.contradicted {
			continue
		}
		ids := slices.Sorted(maps.Keys(sec.extras))
		refused, err := r.in.Client.ArchiveDocuments(ctx, ids)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return err
		}
		if err != nil || len(refused) > 0 {
			r.log.WarnContext(ctx, "surplus documents were not archived", "template", sec.template.ID, "refused", len(refused), "of", len(ids), "error", err)
		}
		if err != nil {
			continue // the next run reads which are left
		}
		if n := len(ids) - len(refused); n > 0 {
			r.result.Duplicates += n
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("Archived %d surplus documents of the template %q in NinjaOne: the same %ss had been documented more than once, and the oldest documents were kept.", n, sec.name, sec.noun))
		}
		r.progress.Listed[sec.kind] = r.Now().UTC()
		if len(refused) > 0 { // they are archived already, or are tried again tomorrow
			r.progress.Listed[sec.kind] = r.Now().UTC().Add(refusedFor - relistAfter)
		}
		if err := r.saveProgress(ctx); err != nil {
			return err
		}
	}
	return nil
}

// surplus notes the surplus documents of a list, and returns them.
func (sec *section) surplus(found map[string]claimed) []int {
	var ids []int
	for _, c := range found {
		ids = append(ids, c.extras...)
	}
	for _, id := range ids {
		sec.extras[id] = true
	}
	return ids
}
