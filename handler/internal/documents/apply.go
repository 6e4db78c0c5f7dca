package documents

import (
	"context"
	"errors"
	"slices"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

const (
	// probes is how many documents a run looks at one by one. It does so when NinjaOne
	// refused to archive them, or its list lacks them.
	probes = 5
	// maxPasses bounds how often a run looks at what turned out to be possible.
	maxPasses = 30
)

// apply brings NinjaOne in line with the plan, phase by phase. It asks for the plan of
// each phase when its turn has come.
func (r *run) apply(ctx context.Context) error {
	steps := []func(context.Context) error{r.noteRead, r.archiveExtras, r.archiveLeavers}
	for _, sec := range r.sections {
		steps = append(steps, func(ctx context.Context) error {
			r.linkUsers() // which come before licences
			return r.write(ctx, sec)
		})
	}
	for _, step := range append(steps, r.relate, r.saveUserMap, r.unrelateArchived) {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// noteRead notes what was read.
func (r *run) noteRead(ctx context.Context) error {
	anything := r.in.Force || r.related
	if r.in.Force {
		clear(r.progress.Listed) // what this run could not read, the next one does
	}
	for _, sec := range r.sections {
		if sec.present == nil || sec.blocked {
			continue
		}
		anything = true
		if err := r.noteList(ctx, sec); err != nil {
			return err
		}
		if sec == r.users && r.in.Force && r.unrelated {
			delete(r.progress.Listed, sec.kind)
		}
	}
	if err := r.save(ctx); err != nil || !anything {
		return err
	}
	if err := r.saveProgress(ctx); err != nil || !r.in.Force {
		return err
	}
	return r.in.ForceNoted(ctx)
}

// noteList notes in memory that the documents of a section were read. Where there
// are surplus documents of one user or licence, they do not count as read before
// these are archived.
func (r *run) noteList(ctx context.Context, sec *section) error {
	if sec.contradicted {
		if err := r.probe(ctx, sec); err != nil {
			return err
		}
	}
	if sec.contradicted {
		r.in.Problems.Add("documents:contradiction:"+string(sec.kind), "NinjaOne's list of the documents of the template %q lacks most of those that are there. So none was created or archived in this run; the next one reads them again.", sec.name)
		delete(r.progress.Listed, sec.kind)
		return nil
	}
	r.progress.Listed[sec.kind], r.progress.Template[sec.kind] = r.Now().UTC(), sec.template.ID
	if len(sec.extras) > 0 {
		delete(r.progress.Listed, sec.kind)
	}
	return nil
}

// list reads the documents of a section once more.
func (r *run) list(ctx context.Context, sec *section) error {
	if err := r.look(ctx, sec); err != nil {
		return err
	}
	if err := r.noteList(ctx, sec); err != nil {
		return err
	}
	if err := r.save(ctx); err != nil {
		return err
	}
	return r.saveProgress(ctx)
}

// probe asks NinjaOne to restore a few of the documents that should be there and that a
// list lacks. If it restores them, or they are gone, the list is right. Otherwise they
// are there, and the list is wrong.
func (r *run) probe(ctx context.Context, sec *section) error {
	asked := 0
	for _, id := range sec.ids {
		rec := r.record(sec.kind, id)
		if _, has := sec.found[id]; has || !rec.Live() {
			continue
		}
		rec.Try(r.in.Begun).Restored = true
		refused, err := r.in.Client.RestoreDocuments(ctx, []int{rec.DocumentID})
		reason := refused[rec.DocumentID]
		switch {
		case err != nil && !ninjaone.Tolerable(ctx, err):
			return err
		case errors.Is(reason, ninjaone.ErrNotFound):
			rec.Reset()
		case err != nil || reason != nil:
			return nil
		default:
			r.restored(rec)
		}
		r.touch(rec)
		if asked++; asked == probes {
			break
		}
	}
	if asked > 0 {
		r.believe(sec)
	}
	return nil
}

// move archives or restores documents. It hands on, with the reason, those whose outcome
// it does not know.
func (r *run) move(ctx context.Context, records []*ledger.Document, call func(context.Context, []int) (map[int]error, error), moved func(*ledger.Document), doubtful func([]*ledger.Document, error) error) error {
	for chunk := range slices.Chunk(records, ninjaone.MaxBatchDocuments) {
		ids := make([]int, len(chunk))
		for i, rec := range chunk {
			ids[i] = rec.DocumentID
		}
		refused, err := call(ctx, ids)
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return err
		}
		var rest []*ledger.Document
		for _, rec := range chunk {
			reason, was := refused[rec.DocumentID]
			switch {
			case !was && err == nil:
				moved(rec)
			case errors.Is(reason, ninjaone.ErrNotFound):
				rec.Reset() // deleted
			default:
				rest = append(rest, rec)
				if err == nil {
					err = reason
				}
			}
		}
		r.touch(chunk...)
		if saveErr := r.save(ctx); saveErr != nil {
			return saveErr
		}
		if len(rest) > 0 {
			if err := doubtful(rest, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// archive archives the documents of records. Their relations go last.
func (r *run) archive(ctx context.Context, sec *section, records []*ledger.Document) error {
	return r.move(ctx, records, r.in.Client.ArchiveDocuments, func(rec *ledger.Document) { r.archived(sec, rec) },
		func(rest []*ledger.Document, cause error) error { return r.archiveDoubtful(ctx, sec, rest, cause) })
}

func (r *run) archived(sec *section, rec *ledger.Document) {
	rec.Archived, rec.Ended = true, r.Now().Unix()
	sec.freed[rec.Fields.Get(ledger.NameField)] = true
	r.result.Archived++
}

// archiveDoubtful finds out whether documents are archived, after NinjaOne refused to
// archive them or its answer was lost. Those that are not listed any more are archived.
// In case lists hold archived documents too, it restores some and archives them again.
func (r *run) archiveDoubtful(ctx context.Context, sec *section, records []*ledger.Document, cause error) error {
	left := len(records)
	err := r.list(ctx, sec)
	if err != nil && !ninjaone.Tolerable(ctx, err) {
		return err
	}
	for i, rec := range records {
		if err != nil {
			break
		}
		ok := rec.Archived || !sec.contradicted && !sec.present[rec.DocumentID]
		if !ok && i < probes {
			var err error
			if ok, err = r.rearchive(ctx, rec.DocumentID); err != nil {
				return err
			}
		}
		if ok {
			r.archived(sec, rec)
			left--
		}
	}
	if left > 0 {
		r.in.Problems.Add("documents:archive:"+string(sec.kind), "%d documents of the template %q could not be archived and are tried again with the next run: %s", left, sec.name, words.End(cause.Error()))
	}
	r.touch(records...)
	return r.save(ctx)
}

// rearchive archives a document that may be archived already: if it can be
// restored it was.
func (r *run) rearchive(ctx context.Context, document int) (bool, error) {
	for _, call := range []func(context.Context, []int) (map[int]error, error){r.in.Client.RestoreDocuments, r.in.Client.ArchiveDocuments} {
		refused, err := call(ctx, []int{document})
		if err != nil && !ninjaone.Tolerable(ctx, err) {
			return false, err
		}
		if err != nil || len(refused) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// restore brings back the documents of users and licences that returned. Where the
// outcome stays unknown, the later sending of values tells it.
func (r *run) restore(ctx context.Context, sec *section) error {
	var back []*ledger.Document
	for _, id := range sec.ids {
		if rec := r.record(sec.kind, id); rec.DocumentID != 0 && rec.Archived {
			rec.Try(r.in.Begun).Restored = true
			back = append(back, rec)
		}
	}
	return r.move(ctx, back, r.in.Client.RestoreDocuments, r.restored, func(rest []*ledger.Document, _ error) error {
		if err := r.list(ctx, sec); err != nil {
			return r.orBlock(ctx, sec, err)
		}
		for _, rec := range rest {
			if sec.present[rec.DocumentID] {
				r.restored(rec)
				continue
			}
			rec.Archived = false
			rec.MarkUnknown()
			sec.unlisted[rec.ID] = true
		}
		r.touch(rest...)
		return r.save(ctx)
	})
}

func (r *run) restored(rec *ledger.Document) {
	restore(rec)
	r.result.Restored++
}

// newKeeper returns what keeps the relations of the tenant's documents.
func (r *run) newKeeper() *relations.Keeper {
	return &relations.Keeper{
		Client: r.in.Client, Ledger: r.Ledger, Tenant: r.ledger, Instance: r.in.Instance,
		Documents: r.records, Started: r.started, Begun: r.in.Begun,
		Shown: func(ctx context.Context, id int) bool {
			documents, err := r.in.Client.Documents(ctx, r.query(r.licenses))
			return err != nil || slices.ContainsFunc(documents, func(d ninjaone.Document) bool { return d.ID == id && !d.Archived })
		},
		Problems: r.in.Problems,
	}
}

// relate brings relations in line with what is wanted, but for those of archived
// documents.
func (r *run) relate(ctx context.Context) error {
	if err := r.keeper.Change(ctx, r.planRelations()); err != nil || !r.keeper.Stale {
		return err
	}
	clear(r.progress.Listed) // a document is not there any more, so the next run reads them
	return r.saveProgress(ctx)
}

// saveUserMap keeps CIPP's table NinjaOneUserMap right.
func (r *run) saveUserMap(ctx context.Context) error {
	if r.users == nil {
		return nil
	}
	var entries []cipp.UserMapEntry
	for _, id := range r.users.ids {
		if rec := r.record(ledger.KindUser, id); rec.Live() {
			entries = append(entries, cipp.UserMapEntry{UserID: id, DocumentID: rec.DocumentID})
		}
	}
	return r.CIPP.SaveUserMap(ctx, r.in.Compose.Snapshot.Tenant.ID, entries)
}
