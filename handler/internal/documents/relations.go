package documents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// lookups is up to how many hosts are read one by one; more of them cost
	// less when all relations of the instance are read.
	lookups = 10
	// maxRelations is how many relations are added to a host in one call.
	maxRelations = 500
	// relationChunk is after how many hosts what was done is noted. A run that
	// is killed before has to read the relations again, which is two calls.
	relationChunk = 5000
)

func device(id int) ninjaone.Entity   { return ninjaone.Entity{Type: ninjaone.EntityDevice, ID: id} }
func document(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDocument, ID: id} }

// hosts returns what a user's document is to be related to: the devices and
// the licences' documents that host the relations. What this run cannot judge,
// because devices or licences were not read, stays as it is.
func (r *run) hosts(rec *record) map[ninjaone.Entity]bool {
	want := map[ninjaone.Entity]bool{}
	devices := r.in.Compose.Snapshot.ManagedDevices.OK()
	licenses := r.licenses != nil && !r.licenses.blocked
	for host := range rec.relations {
		if host.Type == ninjaone.EntityDevice && !devices || host.Type == ninjaone.EntityDocument && !licenses {
			want[host] = true
		}
	}
	if devices {
		for _, id := range r.people.Devices(rec.id) {
			want[device(id)] = true
		}
	}
	if licenses {
		for _, sku := range r.people.Licenses(rec.id) {
			if license := r.records[key{kindLicense, sku}]; license.live() {
				want[document(license.document)] = true
			}
		}
	}
	return want
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
		for host, id := range rec.relations {
			if id == relationSending {
				doubtful[host] = true
			}
		}
	}
	none = known == 0 && len(r.users.extras) == 0 && (r.licenses == nil || len(r.licenses.extras) == 0)
	read := r.progress.related
	all = r.users.listed || read.IsZero() || r.Now().Sub(read) >= relistAfter || len(doubtful) > lookups
	return none, all, doubtful
}

// lookUpAll settles what is unknown of the relations of hosts.
func (r *run) lookUpAll(ctx context.Context, hosts map[ninjaone.Entity]bool) error {
	for _, host := range sortedEntities(hosts) {
		if err := r.lookUp(ctx, host, r.relatedTo(host)); err != nil {
			return err
		}
	}
	return nil
}

// orLeave leaves relations alone in this run when they could not be read.
func (r *run) orLeave(ctx context.Context, err error) error {
	if err != nil && accepted.Tolerable(ctx, err) {
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
		if _, has := rec.relations[host]; has && k.kind == kindUser {
			records = append(records, rec)
		}
	}
	return records
}

// learnAll reads the relations of the whole instance, of which it keeps those
// between documents of ours and between them and devices. At first, what
// connects them and nobody wants is taken for a leftover; later only what we
// made ourselves is.
func (r *run) learnAll(ctx context.Context) error {
	changed, err := r.learn(ctx)
	if err != nil {
		return err
	}
	if err := r.save(ctx, changed...); err != nil {
		return err
	}
	r.progress.related = r.Now().UTC()
	return r.State.saveProgress(context.WithoutCancel(ctx), r.part, r.progress)
}

// learn is learnAll in memory alone. It returns the records that changed.
func (r *run) learn(ctx context.Context) ([]*record, error) {
	first := r.progress.related.IsZero()
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
	present := map[*record]map[ninjaone.Entity]int{}
	note := func(rec *record, host ninjaone.Entity, id int) bool {
		if present[rec] == nil {
			present[rec] = map[ninjaone.Entity]int{}
		}
		if have, has := present[rec][host]; has && (have != relationForeign || id == relationForeign) {
			return false
		}
		present[rec][host] = id
		return true
	}
	for _, n := range relations {
		if !ours(n.Host, n.Related) {
			if rec := records[n.Host.ID]; rec != nil && n.Host.Type == ninjaone.EntityDocument {
				note(rec, n.Related, relationForeign)
			}
			continue
		}
		rec := records[n.Related.ID]
		if rec == nil || n.Host.Type == ninjaone.EntityDocument && !licenseDocument[n.Host.ID] {
			r.surplus = append(r.surplus, n) // of a surplus document
			continue
		}
		was, made := rec.relations[n.Host]
		switch {
		case made && was != relationForeign || first:
			if !note(rec, n.Host, n.ID) {
				r.surplus = append(r.surplus, n) // the same once more
			}
		case made || r.hosts(rec)[n.Host]:
			note(rec, n.Host, relationForeign)
		}
	}
	var changed []*record
	for _, rec := range records {
		now := present[rec]
		if now == nil {
			now = map[ninjaone.Entity]int{}
		}
		if !maps.Equal(now, rec.relations) {
			rec.relations = now
			changed = append(changed, rec)
		}
	}
	return changed, nil
}

// lookUp reads the relations of one host and settles what is unknown of the
// records' relations to it: they are there, or they are not.
func (r *run) lookUp(ctx context.Context, host ninjaone.Entity, records []*record) error {
	list, err := r.in.Client.RelationsOf(ctx, host)
	if err != nil && !errors.Is(err, ninjaone.ErrNotFound) {
		return err
	}
	present := map[int]int{} // document to relation
	for _, n := range list {
		switch {
		case n.Host == host && n.Related.Type == ninjaone.EntityDocument:
			if have := present[n.Related.ID]; have <= 0 || n.ID < have {
				present[n.Related.ID] = n.ID
			}
		case n.Related == host && n.Host.Type == ninjaone.EntityDocument && present[n.Host.ID] == 0:
			present[n.Host.ID] = relationForeign
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range records {
		if id, has := rec.relations[host]; !has || id != relationSending {
			continue
		}
		if id := present[rec.document]; id != 0 {
			rec.relations[host] = id
		} else {
			delete(rec.relations, host)
		}
	}
	return nil
}

// ending is a relation that is to be removed.
type ending struct {
	rec  *record
	host ninjaone.Entity
}

// relate adds the relations that are missing and removes those that ended.
func (r *run) relate(ctx context.Context) error {
	if r.users == nil || r.users.blocked || r.users.unrelated {
		return nil
	}
	ends, adds := r.relationChanges()
	if err := r.removeSurplus(ctx); err != nil {
		return err
	}
	if err := r.unrelate(ctx, ends); err != nil {
		return err
	}
	for chunk := range slices.Chunk(sortedEntities(adds), relationChunk) {
		if err := r.addAll(ctx, chunk, adds); err != nil {
			return err
		}
	}
	return nil
}

// relationChanges finds the relations that ended, and those that are missing,
// by host.
func (r *run) relationChanges() (ends []ending, adds map[ninjaone.Entity][]*record) {
	adds = map[ninjaone.Entity][]*record{}
	for _, id := range r.users.ids {
		rec := r.records[key{kindUser, id}]
		if !rec.live() {
			continue
		}
		want := r.hosts(rec)
		for _, host := range sortedEntities(rec.relations) {
			if !want[host] {
				ends = append(ends, ending{rec, host})
			}
		}
		for host := range want {
			if _, has := rec.relations[host]; !has {
				adds[host] = append(adds[host], rec)
			}
		}
	}
	return ends, adds
}

// removeSurplus removes relations of surplus documents, and relations that are
// there twice.
func (r *run) removeSurplus(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, n := range r.surplus {
		group.Go(func() error { return r.remove(gctx, n.ID) })
	}
	return group.Wait()
}

// remove removes one relation. A failure that concerns it alone is a problem.
func (r *run) remove(ctx context.Context, id int) error {
	err := r.in.Client.DeleteRelation(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.result.Unrelated++
		return nil
	}
	return r.relationFails(ctx, err)
}

// unrelate removes relations, and forgets them.
func (r *run) unrelate(ctx context.Context, ends []ending) error {
	for chunk := range slices.Chunk(ends, relationChunk) {
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(writers)
		touched := map[*record]bool{}
		for _, e := range chunk {
			touched[e.rec] = true
			r.mu.Lock()
			id := e.rec.relations[e.host]
			r.mu.Unlock()
			group.Go(func() error {
				var err error
				removed := true
				if id > 0 {
					if err = r.in.Client.DeleteRelation(gctx, id); err != nil {
						removed = false
					}
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				switch {
				case !removed:
					return r.relationFails(gctx, err)
				case id > 0:
					r.result.Unrelated++
				case id == relationSending:
					return nil // still unknown; the next run reads
				}
				delete(e.rec.relations, e.host)
				return nil
			})
		}
		err := group.Wait()
		if saveErr := r.save(ctx, slices.Collect(maps.Keys(touched))...); saveErr != nil {
			return saveErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relationFails notes a relation that could not be written. The caller holds
// the lock.
func (r *run) relationFails(ctx context.Context, err error) error {
	if !accepted.Tolerable(ctx, err) {
		return err
	}
	r.counted("documents:relations:write", err.Error(),
		"A relation of documents could not be written in NinjaOne and is tried again with the next run: %s",
		"%d relations of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
	return nil
}

// addAll adds relations to hosts. They are marked as under way before anything
// is sent.
func (r *run) addAll(ctx context.Context, hosts []ninjaone.Entity, adds map[ninjaone.Entity][]*record) error {
	touched := map[*record]bool{}
	for _, host := range hosts {
		for _, rec := range adds[host] {
			rec.relations[host] = relationSending
			touched[rec] = true
		}
	}
	records := slices.Collect(maps.Keys(touched))
	if err := r.State.save(ctx, r.part, records...); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, host := range hosts {
		group.Go(func() error {
			for part := range slices.Chunk(adds[host], maxRelations) {
				if err := r.add(gctx, host, part); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	if saveErr := r.save(ctx, records...); saveErr != nil {
		return saveErr
	}
	return err
}

// missing returns the records whose relation to the host is still unknown.
func (r *run) missing(host ninjaone.Entity, records []*record) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(records), func(rec *record) bool {
		id, has := rec.relations[host]
		return !has || id != relationSending
	})
}

// add relates documents to a host. Whether a refusal or a lost answer left
// something behind is read before anything is sent again.
func (r *run) add(ctx context.Context, host ninjaone.Entity, records []*record) error {
	_, refused, err := ninjaone.SplitRefused(ctx, records, func(ctx context.Context, part []*record) ([]struct{}, error) {
		for attempt := 1; ; attempt++ {
			todo := r.missing(host, part)
			if len(todo) == 0 {
				return nil, nil
			}
			err := r.post(ctx, host, todo)
			if err == nil || ctx.Err() != nil ||
				!errors.Is(err, ninjaone.ErrBatchRefused) && !errors.Is(err, ninjaone.ErrOutcomeUnknown) {
				return nil, err
			}
			if readErr := r.lookUp(ctx, host, todo); readErr != nil {
				return nil, fmt.Errorf("%w; and then: %w", err, readErr)
			}
			absent := r.unmark(host, todo)
			if len(absent) == 0 {
				return nil, nil
			}
			if errors.Is(err, ninjaone.ErrBatchRefused) || attempt == 2 {
				return nil, err
			}
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range refused {
		delete(records[i].relations, host)
		if err := r.relationFails(ctx, refused[i]); err != nil {
			return err
		}
	}
	if err != nil {
		return r.relationFails(ctx, err)
	}
	return nil
}

// unmark puts the marks back that a look-up took away because the relation is
// not there, and returns those records.
func (r *run) unmark(host ninjaone.Entity, records []*record) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var absent []*record
	for _, rec := range records {
		if _, has := rec.relations[host]; !has {
			rec.relations[host] = relationSending
			absent = append(absent, rec)
		}
	}
	return absent
}

// post sends relations and notes the ids that NinjaOne gave them.
func (r *run) post(ctx context.Context, host ninjaone.Entity, records []*record) error {
	related := make([]ninjaone.Entity, len(records))
	for i, rec := range records {
		related[i] = document(rec.document)
	}
	made, err := r.in.Client.AddRelations(ctx, host, related)
	if err != nil {
		return err
	}
	ids := map[int]int{}
	for _, n := range made {
		if n.Related.Type == ninjaone.EntityDocument {
			ids[n.Related.ID] = n.ID
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range records {
		rec.relations[host] = ids[rec.document] // 0 when the answer lacks it: unknown
		r.result.Related++
	}
	return nil
}
