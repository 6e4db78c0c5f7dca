package documents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// Surplus documents are about a user or licence that another document is about.
// They are archived at once, however many: the one that is kept holds the content.
// Their relations, which people do not see any more, are removed by and by.

// maxUnrelated is how many relations of archived documents a run removes. Each is
// a call, and a year of CIPP's runs leaves tens of thousands.
const maxUnrelated = 100

// surplus is what is kept of surplus documents that were archived.
type surplus struct {
	Documents []int `json:"documents"` // that may have relations
	Unread    bool  `json:"unread"`    // some of their relations were not read yet
	Relations []int `json:"relations"` // to be removed
}

func (r *run) surplusBlob() string {
	return fmt.Sprintf(surplusPrefix+"%s/%d/%s.json", r.in.Instance, r.in.OrganizationID, r.tenantID)
}

// readSurplus reads what is kept. What cannot be decoded is forgotten: it is about
// documents that people do not see.
func (r *run) readSurplus(ctx context.Context) error {
	body, err := r.Blobs.Find(ctx, r.surplusBlob())
	if err != nil {
		return fmt.Errorf("read which documents were archived as surplus: %w", err)
	}
	if json.Unmarshal(body, &r.surplus) != nil {
		r.surplus = surplus{}
	}
	r.surplusKept = string(body)
	return nil
}

// keepSurplus keeps it, where it changed.
func (r *run) keepSurplus(ctx context.Context) error {
	body, err := json.Marshal(r.surplus)
	if err != nil || string(body) == r.surplusKept || r.surplusKept == "" && len(r.surplus.Documents)+len(r.surplus.Relations) == 0 {
		return err
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	if err := r.Blobs.Put(ctx, r.surplusBlob(), body); err != nil {
		return fmt.Errorf("keep which documents were archived as surplus: %w", err)
	}
	r.surplusKept = string(body)
	return nil
}

// allExtras are the surplus documents found in this run and, archived, before.
func (r *run) allExtras() map[int]bool {
	all := r.extras()
	for _, id := range r.surplus.Documents {
		all[id] = true
	}
	return all
}

// archiveExtras archives the surplus documents that were listed. It first keeps what is
// known of their relations. So the next run can make up for one that ends in between.
// The brake does not count them, since no user or licence ended: CIPP created a
// licence's document anew with each of its runs.
func (r *run) archiveExtras(ctx context.Context) error {
	if fresh := r.extras(); r.unrelated && len(fresh) > 0 {
		r.surplus.Documents = slices.Sorted(maps.Keys(r.allExtras()))
		r.surplus.Unread = true
	}
	if err := r.keepSurplus(ctx); err != nil {
		return err
	}
	for _, sec := range r.sections {
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

// extras are the surplus documents found in this run.
func (r *run) extras() map[int]bool {
	all := map[int]bool{}
	for _, sec := range r.sections {
		maps.Copy(all, sec.extras)
	}
	return all
}

// planUnrelate finds the relations of archived documents that this run removes. It
// returns those of users' and licences' documents, those of surplus documents by their
// ids, and how many are left.
func (r *run) planUnrelate() (ended []relations.Relation, ids []int, left int) {
	calls := 0
	for _, e := range r.planRelations().Archived {
		if e.Owner == ledger.Ours {
			if calls == maxUnrelated {
				left++
				continue
			}
			calls++
		}
		ended = append(ended, e)
	}
	n := min(maxUnrelated-calls, len(r.surplus.Relations))
	if r.in.Light { // whose calls are few
		n = 0
	}
	return ended, r.surplus.Relations[:n], left + len(r.surplus.Relations) - n
}

// unrelateArchived removes relations of archived documents, which people do not see. So
// what exceeds this run's time or share waits for later runs. A failure here is not a
// failure of the run.
func (r *run) unrelateArchived(ctx context.Context) error {
	r.noteExtras()
	ended, ids, _ := r.planUnrelate()
	err := r.keeper.Remove(ctx, ended)
	if err == nil {
		var removed map[int]bool
		removed, err = r.keeper.RemoveByID(ctx, ids)
		rest := slices.DeleteFunc(slices.Clone(r.surplus.Relations), func(id int) bool { return removed[id] })
		tried := len(ids) - len(removed) // they come last the next time: NinjaOne may refuse them for ever
		r.surplus.Relations = slices.Concat(rest[tried:], rest[:tried])
	}
	if len(r.surplus.Relations) == 0 && !r.surplus.Unread && !r.progress.Unowned[ledger.KindUser] {
		r.surplus.Documents = nil
	}
	if err = errors.Join(err, r.keepSurplus(ctx)); err != nil {
		r.log.WarnContext(ctx, "relations of archived documents wait for the next run", "error", err)
	}
	if ended, ids, left := r.planUnrelate(); len(ended)+len(ids)+left > 0 && !r.in.Light {
		r.result.Notes = append(r.result.Notes, fmt.Sprintf("%d relations of archived documents are still there. People do not see them; each of the next syncs removes up to %d.", len(ended)+len(ids)+left, maxUnrelated))
	}
	return nil
}

// noteExtras notes the relations of surplus documents, when all were read in this
// run.
func (r *run) noteExtras() {
	if !r.related {
		return
	}
	all, now := r.allExtras(), surplus{}
	found, unsure := r.keeper.OfExtras()
	documents := map[int]bool{}
	for _, n := range append(found, unsure...) {
		for _, e := range []ninjaone.Entity{n.Host, n.Related} {
			if e.Type == ninjaone.EntityDocument && all[e.ID] {
				documents[e.ID] = true
			}
		}
	}
	for _, n := range found {
		now.Relations = append(now.Relations, n.ID)
	}
	if r.progress.Unowned[ledger.KindUser] {
		documents = all // they may be related to those, and it may be known later whose those are
	}
	now.Documents = slices.Sorted(maps.Keys(documents))
	r.surplus = now
}
