package documents

import (
	"context"
	"errors"
	"slices"

	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// braked reports whether a run may not archive so many of a tenant's documents
// without being asked to: more than ten, and more than a fifth.
func braked(archive, of int) bool { return archive > 10 && archive*5 > of }

// probes is how many documents a run looks at one by one, when NinjaOne
// refused to archive them.
const probes = 5

// archiveLeavers archives the documents of users and licences that ended,
// unless they are too many.
func (r *run) archiveLeavers(ctx context.Context) error {
	leavers, forget, leaving, total := r.leavers()
	noting, done := storage.Noting(ctx)
	defer done()
	if err := r.ledger.Forget(noting, forget...); err != nil {
		return err
	}
	for _, rec := range forget {
		delete(r.records, rec.Subject)
	}
	brake, held, err := r.holds(ctx, leaving, total)
	if err != nil || held {
		return err
	}
	for _, sec := range r.sections() {
		if err := r.archive(ctx, sec, leavers[sec]); err != nil {
			return err
		}
	}
	if _, _, left, _ := r.leavers(); leaving > 0 && left == 0 && brake.Confirmed && !r.unread() {
		return r.Ledger.TakeBrakeOff(ctx, r.tenantID) // the confirmation is used up
	}
	return nil
}

// unread reports whether there are documents that could not be read.
func (r *run) unread() bool {
	return slices.ContainsFunc(r.sections(), func(sec *section) bool { return sec.blocked || sec.contradicted })
}

// leavers finds the documents that nobody wants any more, how many they are of
// how many, and the records that are about no document.
func (r *run) leavers() (leavers map[*section][]*ledger.Document, forget []*ledger.Document, leaving, total int) {
	leavers = map[*section][]*ledger.Document{}
	held := 0
	for _, sec := range r.sections() {
		for k, rec := range r.records {
			if k.Kind != sec.kind {
				continue
			}
			if rec.Live() {
				total++
			}
			switch {
			case sec.wanted[k.ID]:
			case rec.Live() && (sec.blocked || sec.contradicted || r.mayBeLeftOut(sec, k.ID)):
			case rec.Live() && r.stillHeld(sec, k.ID):
				held++
			case rec.Live():
				leavers[sec] = append(leavers[sec], rec)
				leaving++
			case rec.DocumentID == 0 && !rec.Pending():
				forget = append(forget, rec)
			}
		}
	}
	if held > 0 {
		r.problem("documents:licences", "Microsoft 365 no longer lists %d licences that users still have. Their documents stay as they are until it agrees with itself.", held)
	}
	for _, records := range leavers {
		slices.SortFunc(records, func(a, b *ledger.Document) int { return a.DocumentID - b.DocumentID })
	}
	return leavers, forget, leaving, total
}

// mayBeLeftOut reports whether Microsoft 365 gave users or licences without their
// id, of which this may be one.
func (r *run) mayBeLeftOut(sec *section, id string) bool {
	detail := tenant.DetailSomeUsers
	if sec.kind == ledger.KindLicense {
		detail = tenant.DetailSomeSKUs
	}
	_, some := r.in.Compose.Snapshot.Unknown[detail]
	return some && !sec.has(id)
}

// stillHeld reports whether a licence that the tenant no longer has is one that
// users still have, or may have when it is not known which: then the list of
// licences contradicts that of users, and proves nothing.
func (r *run) stillHeld(sec *section, sku string) bool {
	users := r.in.Compose.Snapshot.Users
	switch {
	case sec.kind != ledger.KindLicense || sec.has(sku):
		return false
	case !users.OK():
		return len(r.in.Compose.Snapshot.SKUs.Value) == 0
	case r.usersSKUs == nil:
		r.usersSKUs = map[string]bool{}
		for _, u := range users.Value {
			for _, l := range u.Licenses {
				r.usersSKUs[fold(l.SKUID)] = true
			}
		}
	}
	return r.usersSKUs[sku]
}

// holds puts the brake on, or takes it off, reports whether it is on, and
// returns what it was before.
func (r *run) holds(ctx context.Context, archive, of int) (ledger.Brake, bool, error) {
	brake, err := r.brake(ctx)
	if err != nil {
		return brake, false, err
	}
	if !holds(brake, archive, of) {
		if brake.TenantID == "" || r.unread() || brake.Confirmed && archive > 0 {
			return brake, false, nil // a confirmation holds until everything is archived
		}
		return brake, false, r.Ledger.TakeBrakeOff(ctx, r.tenantID)
	}
	r.problem("documents:brake", "%d of %d documents would be archived, because their users or licences are gone from Microsoft 365 or no longer qualify. As that is more than a fifth, none was. Check that this is right, and confirm it on the console; the next sync then archives them.", archive, of)
	if brake.Archive == archive && brake.Of == of && !brake.Confirmed {
		return brake, true, nil
	}
	since := brake.Since
	if since.IsZero() {
		since = r.Now()
	}
	return brake, true, r.Ledger.PutBrakeOn(ctx, ledger.Brake{TenantID: r.tenantID, OrganizationID: r.in.OrganizationID, Archive: archive, Of: of, Since: since})
}

// brake returns the tenant's brake in this organization.
func (r *run) brake(ctx context.Context) (ledger.Brake, error) {
	brake, err := r.Ledger.Brake(ctx, r.tenantID)
	if brake.OrganizationID != r.in.OrganizationID {
		return ledger.Brake{}, err // of an organization that the tenant was mapped to before
	}
	return brake, err
}

// holds reports whether so many documents may not be archived, given what was
// confirmed.
func holds(b ledger.Brake, archive, of int) bool {
	return braked(archive, of) && !(b.Confirmed && archive <= b.Archive+10)
}

// archive archives the documents of records. Their relations go last.
func (r *run) archive(ctx context.Context, sec *section, records []*ledger.Document) error {
	for chunk := range slices.Chunk(records, ninjaone.MaxBatchDocuments) {
		ids := make([]int, len(chunk))
		for i, rec := range chunk {
			ids[i] = rec.DocumentID
		}
		refused, err := r.in.Client.ArchiveDocuments(ctx, ids)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return err
		}
		var doubtful []*ledger.Document
		for _, rec := range chunk {
			reason, was := refused[rec.DocumentID]
			switch {
			case !was && err == nil:
				r.archived(sec, rec)
			case errors.Is(reason, ninjaone.ErrNotFound):
				rec.Reset()
			default:
				doubtful = append(doubtful, rec)
				if err == nil {
					err = reason
				}
			}
		}
		if saveErr := r.save(ctx, chunk...); saveErr != nil {
			return saveErr
		}
		if len(doubtful) > 0 {
			if err := r.archiveDoubtful(ctx, sec, doubtful, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) archived(sec *section, rec *ledger.Document) {
	rec.Archived = true
	sec.freed[rec.Fields.Get(ledger.NameField)] = true
	r.result.Archived++
}

// archiveDoubtful finds out whether documents are archived already, after
// NinjaOne refused to archive them or its answer was lost: those that are not
// listed any more are. Should lists hold archived documents, too, some are
// restored and archived again.
func (r *run) archiveDoubtful(ctx context.Context, sec *section, records []*ledger.Document, cause error) error {
	if err := r.list(ctx, sec); err != nil {
		if !ninjaone.Tolerable(ctx, err) {
			return err
		}
		r.stillThere(sec, len(records), cause)
		return nil
	}
	left := 0
	for i, rec := range records {
		if rec.Archived || !sec.contradicted && !sec.present[rec.DocumentID] {
			r.archived(sec, rec)
			continue
		}
		ok := false
		if i < probes {
			var err error
			if ok, err = r.rearchive(ctx, rec.DocumentID); err != nil {
				return err
			}
		}
		if !ok {
			left++
			continue
		}
		r.archived(sec, rec)
	}
	if left > 0 {
		r.stillThere(sec, left, cause)
	}
	return r.save(ctx, records...)
}

func (r *run) stillThere(sec *section, n int, cause error) {
	r.problem("documents:archive:"+string(sec.kind), "%d documents of the template %q could not be archived and are tried again with the next run: %s", n, sec.name, words.End(cause.Error()))
}

// rearchive archives a document that may be archived already: if it can be
// restored it was.
func (r *run) rearchive(ctx context.Context, document int) (bool, error) {
	for _, change := range []func(context.Context, []int) (map[int]error, error){r.in.Client.RestoreDocuments, r.in.Client.ArchiveDocuments} {
		refused, err := change(ctx, []int{document})
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return false, err
		}
		if err != nil || len(refused) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// restore brings back the documents of users and licences that returned.
func (r *run) restore(ctx context.Context, sec *section) error {
	var back []*ledger.Document
	for _, id := range sec.ids {
		rec := r.records[ledger.Subject{Kind: sec.kind, ID: id}]
		switch {
		case rec == nil || rec.DocumentID == 0 || !rec.Archived:
		default:
			back = append(back, rec)
		}
	}
	for chunk := range slices.Chunk(back, ninjaone.MaxBatchDocuments) {
		ids := make([]int, len(chunk))
		for i, rec := range chunk {
			ids[i] = rec.DocumentID
		}
		refused, err := r.in.Client.RestoreDocuments(ctx, ids)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return err
		}
		var doubtful []*ledger.Document
		for _, rec := range chunk {
			r.try(sec, rec).Restored = true
			reason, was := refused[rec.DocumentID]
			switch {
			case !was && err == nil:
				r.restored(rec)
			case errors.Is(reason, ninjaone.ErrNotFound):
				rec.Reset() // deleted, so it is created anew
			default:
				doubtful = append(doubtful, rec)
			}
		}
		if err := r.save(ctx, chunk...); err != nil {
			return err
		}
		if len(doubtful) > 0 {
			if err := r.restoreDoubtful(ctx, sec, doubtful); err != nil {
				return err
			}
		}
	}
	return nil
}

// restored notes that people see a document again. All its values are sent
// again, because nobody knows what became of them meanwhile.
func (r *run) restored(rec *ledger.Document) {
	rec.Archived = false
	rec.ForgetRefusal()
	rec.MarkUnknown()
	r.result.Restored++
}

// restoreDoubtful finds out whether documents are there already, after
// NinjaOne refused to restore them or its answer was lost: those that are
// listed are. Of the others, sending their values tells.
func (r *run) restoreDoubtful(ctx context.Context, sec *section, records []*ledger.Document) error {
	if err := r.list(ctx, sec); err != nil {
		return r.orBlock(ctx, sec, err)
	}
	for _, rec := range records {
		if sec.present[rec.DocumentID] {
			r.restored(rec)
			continue
		}
		rec.Archived = false
		rec.MarkUnknown()
		sec.unlisted[rec.ID] = true
	}
	return r.save(ctx, records...)
}

// abandon gives up a document that NinjaOne neither lists nor restores nor
// changes, so that its user or licence gets another one.
func (r *run) abandon(ctx context.Context, sec *section, rec *ledger.Document) error {
	var ends []relations.Relation
	for have := range rec.Relations.All() {
		ends = append(ends, relations.Relation{Document: rec, Host: have.Host})
	}
	if err := r.keeper.Remove(ctx, ends); err != nil {
		return err
	}
	r.log.WarnContext(ctx, "a document is given up, because NinjaOne neither lists nor restores nor changes it", "document", rec.DocumentID)
	delete(sec.unlisted, rec.ID)
	delete(sec.tries, rec.ID)
	rec.Attempt = nil
	rec.Reset()
	sec.again = true
	return r.save(ctx, rec)
}
