package documents

import (
	"context"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// relistAfter is how long we trust our own record of documents and relations. After that
// they are read again, in case technicians changed them.
const relistAfter = 7 * 24 * time.Hour

// read gathers all that a plan needs, and brings what is remembered in line with
// it, in memory alone. Templates that are missing are made by setUp. There is no
// section afterwards where nothing can be documented.
func (r *run) read(ctx context.Context, setUp func(context.Context, []blueprint, []ninjaone.Template) ([]ninjaone.Template, error)) error {
	kinds := r.kinds()
	if len(kinds) == 0 {
		return nil
	}
	if err := r.recall(ctx); err != nil {
		return err
	}
	if err := r.readSurplus(ctx); err != nil {
		return err
	}
	list, err := r.readTemplates(ctx, kinds)
	if err == nil && list != nil && len(r.planTemplates(kinds, list)) > 0 {
		list, err = setUp(ctx, kinds, list)
	}
	if err != nil || list == nil {
		return err
	}
	for _, b := range kinds {
		if err := r.begin(ctx, b, list); err != nil {
			return err
		}
	}
	for _, sec := range r.sections {
		if sec.template.ID != 0 && !sec.blocked && r.listDue(sec) {
			if err := r.orBlock(ctx, sec, r.look(ctx, sec)); err != nil {
				return err
			}
		}
	}
	r.nameLicences()
	if err := r.readRelations(ctx); err != nil {
		return err
	}
	if r.in.Force {
		r.markUnknown()
	}
	return nil
}

// kinds are the kinds of documents that this run is about. What it could not read is not
// known to have ended.
func (r *run) kinds() []blueprint {
	var kinds []blueprint
	if users := r.in.Compose.Snapshot.Users; r.in.Users && users.OK() && len(users.Value) > 0 { // no tenant has no users
		kinds = append(kinds, userBlueprint)
	}
	if r.in.Licenses && r.in.Compose.Snapshot.SKUs.OK() {
		kinds = append(kinds, licenseBlueprint)
	}
	return kinds
}

// recall loads what is remembered. Of what was tried with documents, that is what
// earlier ones of these runs tried.
func (r *run) recall(ctx context.Context) (err error) {
	if r.records, r.progress, err = r.ledger.Load(ctx); err != nil {
		return err
	}
	for _, rec := range r.records {
		if rec.Attempt != nil && (r.in.Begun.IsZero() || !rec.Attempt.Begun.Equal(r.in.Begun)) {
			rec.Attempt = nil
		}
	}
	brakes, err := r.Ledger.Brakes(ctx)
	if b := brakes[r.tenantID]; b.OrganizationID == r.in.OrganizationID { // else the tenant was mapped to another one then
		r.brake = b
	}
	return err
}

// begin adds the section of a kind, if its template can hold documents. It
// composes nothing yet.
func (r *run) begin(ctx context.Context, b blueprint, list []ninjaone.Template) error {
	t, ok := r.usable(b, list)
	if !ok {
		return nil
	}
	sec := &section{
		blueprint: b, template: t, wanted: map[string]bool{}, extras: map[int]bool{},
		done: map[string]bool{}, unlisted: map[string]bool{}, freed: map[string]bool{},
	}
	if b.kind == ledger.KindUser {
		r.access = r.mailboxAccess(ctx)
		r.people = compose.NewUserDocuments(r.in.Compose, r.access)
		r.pages = compose.DocumentPages{OrganizationID: r.in.OrganizationID, TemplateID: t.ID, Documents: map[string]int{}}
		r.users, sec.subjects = sec, r.people
	} else {
		r.composeLicenses()
		r.licenses, sec.subjects = sec, r.skus
	}
	for _, id := range sec.IDs() {
		// It is no reason to make or restore a document that its user may be licensed.
		if rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]; !r.mayBeUnlicensed(sec, id) || rec != nil && rec.Live() {
			sec.ids, sec.wanted[id] = append(sec.ids, id), true
		}
	}
	r.sections = append(r.sections, sec)
	before := r.progress.Template[sec.kind]
	if before == 0 || before == t.ID {
		return nil
	}
	// Another one of the name proves as little as none.
	old, shown, err := r.unlistedTemplate(ctx, b, before)
	if err != nil {
		return err
	}
	if sec.blocked = shown && !old.Archived || r.doubted[sec.kind]; !sec.blocked {
		r.startOver(sec)
	}
	return nil
}

// composeLicenses prepares the licences' documents, from what the users' have joined where
// there are some.
func (r *run) composeLicenses() {
	if r.people != nil {
		r.skus = r.people.LicenseDocuments(r.pages)
	} else {
		r.skus = compose.NewLicenseDocuments(r.in.Compose, r.pages)
	}
}

// startOver forgets the documents of a template that is not the one any more.
func (r *run) startOver(sec *section) {
	for s, rec := range r.records {
		if s.Kind == sec.kind {
			rec.Reset()
			r.touch(rec)
		}
	}
	r.progress.Listed[sec.kind] = time.Time{}
}

// listDue reports whether a section's documents must be listed because our record may be
// incomplete. It is so in the first run, when everything is forced, and once a week. It
// is so after an outcome that stayed unknown, and when the template changed. And it is
// so when a document is to be created while others had no known owner.
func (r *run) listDue(sec *section) bool {
	due := r.in.Force || r.relist(r.progress.Listed[sec.kind])
	if r.progress.Unowned[sec.kind] {
		due = due || slices.ContainsFunc(sec.ids, func(id string) bool {
			rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
			return rec == nil || rec.DocumentID == 0
		})
	}
	for s, rec := range r.records {
		due = due || s.Kind == sec.kind && rec.Pending()
	}
	return due
}

// relist reports whether the run must read again what a run read last at a time. A light
// run reads only what no run has read.
func (r *run) relist(last time.Time) bool {
	return r.Now().Sub(last) >= relistAfter && (!r.in.Light || last.IsZero())
}

// orBlock keeps a section from being written whose documents could not be read. To
// create anything now could create it twice.
func (r *run) orBlock(ctx context.Context, sec *section, err error) error {
	if err == nil || !ninjaone.Tolerable(ctx, err) {
		return err
	}
	sec.blocked = true
	r.in.Problems.Add("documents:list:"+string(sec.kind), "The documents of the template %q could not be read, so none were written: %s", sec.name, words.End(err.Error()))
	return nil
}

// look reads the documents of a section and brings the records in line with
// them.
func (r *run) look(ctx context.Context, sec *section) error {
	c, err := r.claims(ctx, sec)
	if err != nil {
		return err
	}
	q := r.query(sec)
	documents, err := r.in.Client.Documents(ctx, q)
	if err == nil && r.lacking(sec, c, documents) {
		q.AllTemplates = true // once more without that filter
		documents, err = r.in.Client.Documents(ctx, q)
	}
	if err != nil {
		return err
	}
	if err := r.findKin(ctx, &c, documents); err != nil {
		return err
	}
	// CIPP's map may be old, so it contradicts nothing when it knows more.
	sec.contradicted = q.AllTemplates && r.lacking(sec, c, documents) && len(c.remembered) > 0
	sec.present = make(map[int]bool, len(documents))
	for _, d := range documents {
		sec.present[d.ID] = !d.Archived
	}
	sec.found = adopt(documents, c)
	r.progress.Unowned[sec.kind] = slices.ContainsFunc(documents, func(d ninjaone.Document) bool {
		tenant, _ := c.named(d)
		return tenant == "" && c.owner(d) == "" && !d.Archived
	})
	for id, one := range sec.found {
		r.take(sec, id, *one.document, c.remembered[one.document.ID])
	}
	for s, rec := range r.records {
		if _, has := sec.found[s.ID]; !has && s.Kind == sec.kind && rec.Pending() {
			rec.Fields = ledger.Values{} // never created
			r.touch(rec)
		}
	}
	if !sec.contradicted {
		r.believe(sec)
	}
	return nil
}

// believe takes it that what a list lacks is not there, and notes what it has
// too much.
func (r *run) believe(sec *section) {
	for _, id := range sec.ids {
		rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
		if _, has := sec.found[id]; !has && rec.Live() && !tried(rec).Restored {
			// Archived or deleted by somebody else; to bring it back tells which.
			// Of one that nobody wants, to archive it does.
			rec.Archived = true
			r.touch(rec)
		}
	}
	for _, one := range sec.found {
		for _, id := range one.extras {
			sec.extras[id] = true
		}
	}
	sec.listed, sec.contradicted, sec.found = true, false, nil
}

// lacking reports whether a list lacks more than half of the documents that should be
// there. Those are what we remember, else what CIPP's map names. Technicians hardly
// archive as many.
func (r *run) lacking(sec *section, c claims, documents []ninjaone.Document) bool {
	expected := map[int]bool{}
	for document, id := range c.remembered {
		if sec.wanted[id] && !r.records[ledger.Subject{Kind: sec.kind, ID: id}].Archived { // the others may be archived already
			expected[document] = true
		}
	}
	if len(c.remembered) == 0 {
		for document, user := range c.mapped {
			if sec.wanted[user] && !c.taken[document] {
				expected[document] = true
			}
		}
	}
	known := len(expected)
	for _, d := range documents {
		delete(expected, d.ID)
	}
	return len(expected)*2 > known
}

// query asks for the documents of a section.
func (r *run) query(sec *section) ninjaone.DocumentQuery {
	return ninjaone.DocumentQuery{
		OrganizationID: r.in.OrganizationID, TemplateIDs: []int{sec.template.ID},
		Fields: []string{sec.idField, compose.FieldTenantID},
		Odd: func(n int) {
			r.in.Problems.Add("documents:odd:"+string(sec.kind), "NinjaOne was asked for documents of the template %[2]q, and answered %[1]d of other organizations or templates. They were left alone.", n, sec.name)
		},
	}
}

// readRelations reads the relations, as far as what is remembered of them may not
// be all there is. Where that fails they are left alone in this run.
func (r *run) readRelations(ctx context.Context) error {
	r.keeper = r.newKeeper()
	if r.users == nil || r.users.blocked {
		r.unrelated = true
		return nil
	}
	known := relations.Known{First: r.progress.Related.IsZero(), Extras: r.allExtras(), Mapped: map[int]bool{}}
	if known.First || len(known.Extras) > 0 {
		devices, _, err := r.CIPP.DeviceMap(ctx, r.in.Compose.Snapshot.Tenant.ID)
		if err != nil {
			return err
		}
		for _, d := range devices {
			known.Mapped[d.NinjaOneID] = true
		}
	}
	due := r.users.listed || r.surplus.Unread || len(r.extras()) > 0 || r.relist(r.progress.Related)
	changed, all, err := r.keeper.Read(ctx, known, due)
	if err != nil && ninjaone.Tolerable(ctx, err) {
		r.unrelated = true
		r.in.Problems.Add("documents:relations:list", "The relations of documents could not be read, so none were written: %s", words.End(err.Error()))
		return nil
	}
	r.touch(slices.Collect(maps.Keys(changed))...)
	if all {
		r.progress.Related = r.started.UTC()
		r.related = true
		r.noteExtras()
	}
	return err
}

// markUnknown marks every value in every document as unknown, and forgets what NinjaOne
// refused. A run that writes everything again calls it. The documents' names were just
// read.
func (r *run) markUnknown() {
	for _, rec := range r.records {
		name := rec.Fields.Get(ledger.NameField)
		rec.MarkUnknown()
		if name != "" {
			rec.Fields.Set(ledger.NameField, name)
		}
		rec.ForgetRefusal()
		r.touch(rec)
	}
}
