package documents

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// lookups is up to how many hosts are read one by one; more of them cost less
// when all relations of the instance are read.
const lookups = 10

// makers are who NinjaOne says made a relation when this application did: ids of
// users, and 0 when it named nobody. CIPP uses the same API application, so what
// it made is made by them, too. That a relation is made by one of them proves
// nothing, since an instance may name an administrator for the application, or
// never name anybody; but one that is made by none of them is not ours.
type makers struct {
	ids map[int]bool // nil before they are read
	new bool         // not saved yet
}

func (m *makers) learn(id int) {
	if !m.ids[id] {
		m.ids[id], m.new = true, true
	}
}

// others reports that somebody else made the relation.
func (m *makers) others(n ninjaone.Relation) bool {
	return len(m.ids) > 0 && !m.ids[n.Creator]
}

// readMakers reads the makers, once.
func (r *run) readMakers(ctx context.Context) (err error) {
	if r.makers.ids == nil {
		r.makers.ids, err = r.State.makers(ctx, r.in.Instance)
	}
	return err
}

// clocks is how far NinjaOne's clock and ours may be apart.
const clocks = time.Hour

// old reports that a relation was there before a time.
func old(n ninjaone.Relation, since time.Time) bool {
	return !n.Created.IsZero() && n.Created.Before(since.Add(-clocks))
}

// unclear is a relation that was there before our first run and of which it is
// not known yet who made it.
type unclear struct {
	rec      *record // nil when it is a surplus document's
	relation ninjaone.Relation
}

// learnRelations reads the relations when what is remembered of them may not
// be all there is.
func (r *run) learnRelations(ctx context.Context) error {
	if r.users == nil || r.users.blocked {
		return nil
	}
	none, all, doubtful := r.unlearned()
	var err error
	switch {
	case none && !r.progress.related.IsZero():
	case none:
		r.progress.related = r.Now().UTC()
		err = r.State.saveProgress(ctx, r.part, r.progress)
	case all:
		err = r.learnAll(ctx)
	default:
		err = r.lookUpAll(ctx, doubtful)
	}
	return r.orLeave(ctx, err)
}

// unlearned says what is to be read of relations: nothing, because documents
// that this run creates have none yet; all; or those of hosts that are in
// doubt.
func (r *run) unlearned() (none, all bool, doubtful map[ninjaone.Entity]bool) {
	known := 0
	doubtful = map[ninjaone.Entity]bool{}
	for k, rec := range r.records {
		if k.kind != kindUser || rec.document == 0 {
			continue
		}
		known++
		for _, l := range rec.relations {
			if l.id == relationSending {
				doubtful[l.entity()] = true
			}
		}
	}
	surplus := len(r.users.extras) > 0 || r.licenses != nil && len(r.licenses.extras) > 0
	none = known == 0 && !surplus
	read := r.progress.related
	all = r.users.listed || surplus || read.IsZero() || r.Now().Sub(read) >= relistAfter || len(doubtful) > lookups
	return none, all, doubtful
}

// lookUpAll settles what is unknown of the relations of hosts.
func (r *run) lookUpAll(ctx context.Context, hosts map[ninjaone.Entity]bool) error {
	if len(hosts) == 0 {
		return nil
	}
	if err := r.readMakers(ctx); err != nil {
		return err
	}
	for _, host := range sortedEntities(hosts) {
		if err := r.lookUp(ctx, host, r.relatedTo(host), time.Time{}); err != nil && !errors.Is(err, ninjaone.ErrNotFound) {
			return err
		}
	}
	return nil
}

// orLeave leaves relations alone in this run when they could not be read.
func (r *run) orLeave(ctx context.Context, err error) error {
	if err != nil && ninjaone.Tolerable(ctx, err) {
		r.users.unrelated = true
		r.problem("documents:relations:list", "The relations of documents could not be read, so none were written: %s", sentence(err.Error()))
		return nil
	}
	return err
}

// relatedTo returns the users' records that hold a relation to the host.
func (r *run) relatedTo(host ninjaone.Entity) []*record {
	var records []*record
	for k, rec := range r.records {
		if _, has := rec.relations.get(host); has && k.kind == kindUser {
			records = append(records, rec)
		}
	}
	return records
}

// learnAll reads the relations of the whole instance, of which it keeps those
// between documents of ours and between them and devices.
func (r *run) learnAll(ctx context.Context) error {
	changed, err := r.learn(ctx)
	if err != nil {
		return err
	}
	if err := r.save(ctx, changed...); err != nil {
		return err
	}
	r.progress.related = r.Now().UTC()
	return r.saveProgress(ctx)
}

// learn is learnAll in memory alone. It returns the records that changed.
func (r *run) learn(ctx context.Context) ([]*record, error) {
	first := r.progress.related.IsZero()
	if err := r.readMakers(ctx); err != nil {
		return nil, err
	}
	records, surplusDocument, licenseDocument := map[int]*record{}, map[int]bool{}, map[int]bool{}
	for _, rec := range r.records {
		if rec.document != 0 { // archived ones, too, which may be about to come back
			if rec.kind == kindUser {
				records[rec.document] = rec
			} else {
				licenseDocument[rec.document] = true
			}
		}
	}
	for _, sec := range r.sections() {
		maps.Copy(surplusDocument, sec.extras)
	}
	// ours says in which direction a relation connects: as we make them, or the
	// other way round.
	ours := func(host, related ninjaone.Entity) bool {
		hosts := host.Type == ninjaone.EntityDevice || host.Type == ninjaone.EntityDocument && (licenseDocument[host.ID] || surplusDocument[host.ID])
		return hosts && related.Type == ninjaone.EntityDocument && (records[related.ID] != nil || surplusDocument[related.ID])
	}
	var relations []ninjaone.Relation
	for _, hostType := range []string{ninjaone.EntityDevice, ninjaone.EntityDocument} {
		list, err := r.in.Client.RelationsOfType(ctx, hostType, func(n ninjaone.Relation) bool {
			return ours(n.Host, n.Related) || ours(n.Related, n.Host)
		})
		if err != nil {
			return nil, err
		}
		relations = append(relations, list...)
	}
	slices.SortFunc(relations, func(a, b ninjaone.Relation) int { return a.ID - b.ID })
	relations = slices.CompactFunc(relations, func(a, b ninjaone.Relation) bool { return a.ID == b.ID })
	byCIPP, err := r.madeByCIPP(ctx, first)
	if err != nil {
		return nil, err
	}
	for _, n := range relations {
		if rec := records[n.Related.ID]; rec != nil && ours(n.Host, n.Related) {
			if id, _ := rec.relations.get(n.Host); id == n.ID {
				r.makers.learn(n.Creator)
			}
		}
	}
	present := map[*record]links{}
	// note prefers a relation of ours to one that may be, and that to others'.
	note := func(rec *record, host ninjaone.Entity, id int) bool {
		found := present[rec]
		if have, has := found.get(host); has && (have > 0 || id == relationForeign || id < 0 && have < relationForeign) {
			return false
		}
		found.set(host, id)
		present[rec] = found
		return true
	}
	for _, n := range relations {
		if !ours(n.Host, n.Related) { // the other way round
			if rec := records[n.Host.ID]; rec != nil && n.Host.Type == ninjaone.EntityDocument {
				note(rec, n.Related, relationForeign)
			}
			continue
		}
		rec := records[n.Related.ID]
		surplus := rec == nil || n.Host.Type == ninjaone.EntityDocument && !licenseDocument[n.Host.ID]
		whose := r.whose(rec, n, first || surplus, byCIPP)
		switch {
		case surplus && whose > 0:
			r.surplus = append(r.surplus, n)
		case surplus && whose < relationForeign:
			r.unclear = append(r.unclear, unclear{nil, n})
		case surplus:
		case whose > 0:
			if !note(rec, n.Host, whose) {
				r.surplus = append(r.surplus, n) // the same once more
			}
		case whose < relationForeign:
			if note(rec, n.Host, whose) {
				r.unclear = append(r.unclear, unclear{rec, n})
			}
		default:
			note(rec, n.Host, relationForeign)
		}
	}
	var changed []*record
	for _, rec := range records {
		if now := present[rec]; !slices.Equal(now, rec.relations) {
			rec.relations = now
			changed = append(changed, rec)
		}
	}
	return changed, nil
}

// whose returns the id of a relation that this application or CIPP made,
// relationForeign when somebody else did, and the id with a minus sign when
// that is not known yet. before says that it may have been there before our
// first run, when nothing is remembered.
func (r *run) whose(rec *record, n ninjaone.Relation, before bool, byCIPP func(host ninjaone.Entity) bool) int {
	id, remembered := 0, false
	if rec != nil {
		id, remembered = rec.relations.get(n.Host)
	}
	switch {
	case remembered && id == n.ID:
		return n.ID
	case remembered && (id == relationSending || id == -n.ID) || before:
	default:
		return relationForeign
	}
	switch {
	case r.makers.others(n):
		return relationForeign
	case remembered && id == relationSending, n.Creator > 0 && r.makers.ids[n.Creator]:
		return n.ID
	case n.Creator > 0:
		return -n.ID
	case byCIPP(n.Host):
		return n.ID
	}
	return relationForeign
}

// madeByCIPP says of the host of a relation that was there before our first
// run, and of which NinjaOne does not say who made it, whether it is likely to
// be CIPP's: CIPP relates only devices that are in its map, and removes from a
// licence's document what it did not make itself.
func (r *run) madeByCIPP(ctx context.Context, first bool) (func(host ninjaone.Entity) bool, error) {
	mapped := map[int]bool{}
	if first || len(r.users.extras) > 0 {
		entries, err := r.CIPP.DeviceMap(ctx, r.in.Compose.Snapshot.Tenant.ID)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			mapped[entry.NinjaOneID] = true
		}
	}
	return func(host ninjaone.Entity) bool { return host.Type == ninjaone.EntityDocument || mapped[host.ID] }, nil
}

// settleMakers judges the relations that were unclear, if it has been learnt
// meanwhile who makes ours.
func (r *run) settleMakers(ctx context.Context) error {
	if r.makers.new {
		noting, done := storage.Noting(ctx)
		defer done()
		if err := r.State.saveMakers(noting, r.in.Instance, r.makers.ids); err != nil {
			return err
		}
		r.makers.new = false
	}
	if len(r.makers.ids) == 0 {
		return nil
	}
	var changed []*record
	for _, u := range r.unclear {
		made := r.makers.ids[u.relation.Creator]
		switch {
		case u.rec == nil && made:
			r.surplus = append(r.surplus, u.relation)
		case u.rec == nil:
		default:
			id := relationForeign
			if made {
				id = u.relation.ID
			}
			u.rec.relations.set(u.relation.Host, id)
			changed = append(changed, u.rec)
		}
	}
	r.unclear = nil
	return r.save(ctx, unique(changed)...)
}

func unique(records []*record) []*record {
	set := map[*record]bool{}
	for _, rec := range records {
		set[rec] = true
	}
	return slices.Collect(maps.Keys(set))
}

// lookUp reads the relations of one host and settles what is unknown of the
// records' relations to it: they are there, or they are not. What was there
// before since is not ours. After ErrNotFound, which says that the host is gone,
// they are not.
func (r *run) lookUp(ctx context.Context, host ninjaone.Entity, records []*record, since time.Time) error {
	list, gone := r.in.Client.RelationsOf(ctx, host)
	if gone != nil && !errors.Is(gone, ninjaone.ErrNotFound) {
		return gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	present := map[int]int{} // document to relation
	for _, n := range list {
		document, id := n.Related, n.ID
		if n.Host != host {
			document, id = n.Host, relationForeign
		} else if r.makers.others(n) || old(n, since) {
			id = relationForeign
		}
		if have := present[document.ID]; document.Type == ninjaone.EntityDocument && (have <= 0 || id > 0 && id < have) {
			present[document.ID] = id
		}
	}
	for _, rec := range records {
		if id, has := rec.relations.get(host); !has || id != relationSending {
			continue
		}
		if id := present[rec.document]; id != 0 {
			rec.relations.set(host, id)
		} else {
			rec.relations.remove(host)
		}
	}
	return gone
}
