package documents

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// NinjaOne relates any number of entities to one host in a call, and only to
// one. A device hosts the relations to its users, and a licence's document
// those to its holders, as CIPP makes them: CIPP looks for them there, and
// would make them anew if it did not find them, should it take over again. So a
// first run needs a call for each device, and one for each licence and five
// hundred users. Nothing removes more than one relation at a time, but for a
// call that removes all of an entity, technicians' own included.
const (
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
	for _, l := range rec.relations {
		host := l.entity()
		unsure := !devices || r.in.DeviceUnsure != nil && r.in.DeviceUnsure(host.ID)
		if host.Type == ninjaone.EntityDevice && unsure || host.Type == ninjaone.EntityDocument && !licenses {
			want[host] = true
		}
	}
	if _, unknown := r.in.Compose.Snapshot.Unknown[tenant.DetailLoggedOn]; unknown {
		for _, l := range rec.relations { // of users who logged on, as far as anybody knows
			if host := l.entity(); host.Type == ninjaone.EntityDevice {
				want[host] = true
			}
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

// ending is a relation that is to be removed.
type ending struct {
	rec  *record
	host ninjaone.Entity
}

// relate adds the relations that are missing, and then removes those that
// ended: the answers to the additions may tell whose the others are.
func (r *run) relate(ctx context.Context) error {
	if r.users == nil || r.users.blocked || r.users.unrelated {
		return nil
	}
	adds := r.missingRelations()
	for host, records := range adds {
		adds[host] = slices.DeleteFunc(records, func(rec *record) bool { return r.refusedHere(rec, host) })
	}
	maps.DeleteFunc(adds, func(_ ninjaone.Entity, records []*record) bool { return len(records) == 0 })
	if len(adds) > 0 {
		if err := r.readMakers(ctx); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(sortedEntities(adds), relationChunk) {
		if err := r.addAll(ctx, chunk, adds); err != nil {
			return err
		}
	}
	if err := r.settleMakers(ctx); err != nil {
		return err
	}
	if err := r.removeSurplus(ctx); err != nil {
		return err
	}
	if err := r.unrelate(ctx, r.endedRelations()); err != nil || !r.stale {
		return err
	}
	clear(r.progress.listed)
	return r.State.saveProgress(ctx, r.part, r.progress)
}

// missingRelations are the relations that are to be added, by host.
func (r *run) missingRelations() map[ninjaone.Entity][]*record {
	adds := map[ninjaone.Entity][]*record{}
	for rec := range r.documented() {
		for host := range r.hosts(rec) {
			if _, has := rec.relations.get(host); !has {
				adds[host] = append(adds[host], rec)
			}
		}
	}
	return adds
}

// relationsOfArchived are the relations of documents that nobody wants any more.
func (r *run) relationsOfArchived() (ends []ending) {
	for k, rec := range r.records {
		if k.kind == kindUser && rec.archived && !r.users.wanted[k.id] {
			for _, l := range rec.relations {
				ends = append(ends, ending{rec, l.entity()})
			}
		}
	}
	return ends
}

// unrelateArchived removes the relations of archived documents. People see
// neither, so what there is no time for waits for later runs, and is no reason
// to go on.
func (r *run) unrelateArchived(ctx context.Context) error {
	if r.users == nil || r.users.blocked || r.users.unrelated {
		return nil
	}
	err := r.unrelate(ctx, r.relationsOfArchived())
	if err == nil || !ninjaone.OutOfTime(ctx, err) && !errors.Is(err, ninjaone.ErrThrottled) {
		return err
	}
	r.result.Notes = append(r.result.Notes, fmt.Sprintf("%d relations of archived documents are still there, because NinjaOne or the time for one run allowed no more calls. The next syncs remove them.", len(r.relationsOfArchived())))
	return nil
}

// endedRelations are the relations of documents that nobody wants any more.
func (r *run) endedRelations() (ends []ending) {
	for rec := range r.documented() {
		want := r.hosts(rec)
		for _, l := range rec.relations {
			if !want[l.entity()] {
				ends = append(ends, ending{rec, l.entity()})
			}
		}
	}
	return ends
}

// documented yields the records of the users whose document people see.
func (r *run) documented() iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for _, id := range r.users.ids {
			if rec := r.records[key{kindUser, id}]; rec.live() && !yield(rec) {
				return
			}
		}
	}
}

// removeSurplus removes relations of surplus documents, and relations that are
// there twice.
func (r *run) removeSurplus(ctx context.Context) error {
	_, err := ninjaone.Each(ctx, r.surplus, writers, func(n ninjaone.Relation) error { return r.remove(ctx, n.ID) })
	r.surplus = nil
	return err
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

// unrelate removes relations, and forgets them. What somebody else made, or may
// have made, stays in NinjaOne, and so does what it refused to remove just now.
func (r *run) unrelate(ctx context.Context, ends []ending) error {
	ends = slices.DeleteFunc(ends, func(e ending) bool { return r.refusedHere(e.rec, e.host) })
	for chunk := range slices.Chunk(ends, relationChunk) {
		touched := map[*record]bool{}
		var ours []ending
		for _, e := range chunk {
			switch id, _ := e.rec.relations.get(e.host); {
			case id == relationForeign:
				e.rec.relations.remove(e.host)
				touched[e.rec] = true
			case id > 0:
				ours = append(ours, e)
				touched[e.rec] = true
			} // else it is unknown; a later run knows
		}
		_, err := ninjaone.Each(ctx, ours, writers, func(e ending) error {
			r.mu.Lock()
			id, _ := e.rec.relations.get(e.host)
			r.mu.Unlock()
			err := r.in.Client.DeleteRelation(ctx, id)
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				if _, answered := errors.AsType[*ninjaone.APIError](err); answered && ninjaone.Tolerable(context.WithoutCancel(ctx), err) {
					r.refuseRelations(e.host, []*record{e.rec}, err) // also when it came as the time ended
				}
				return r.relationFails(ctx, err)
			}
			r.result.Unrelated++
			e.rec.relations.remove(e.host)
			return nil
		})
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
	if !ninjaone.Tolerable(ctx, err) {
		return err
	}
	r.unrelatedFor(err.Error())
	return nil
}

// unrelatedFor tells of a relation that NinjaOne did not take.
func (r *run) unrelatedFor(reason string) {
	r.counted("documents:relations:write", reason,
		"A relation of documents could not be written in NinjaOne and is tried again with the next run: %s",
		"%d relations of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
}

// refuseRelations notes which relations NinjaOne refused together, so that they
// go on in halves when this run has no time for that. The caller holds the lock.
func (r *run) refuseRelations(host ninjaone.Entity, records []*record, err error) {
	r.result.Learned++
	for _, rec := range records {
		try := r.try(r.users, rec)
		if try.Hosts == nil {
			try.Hosts = map[int64]int{}
		}
		try.Hosts[hostOf(host)], try.Unlinked = len(records)/2, shorten(err.Error())
	}
}

// refusedHere reports whether an earlier one of these runs had the relation
// refused by itself, and tells of it.
func (r *run) refusedHere(rec *record, host ninjaone.Entity) bool {
	if rec.attempt == nil {
		return false
	}
	most, tried := rec.attempt.Hosts[hostOf(host)]
	if !tried || most > 0 {
		return false
	}
	r.stale = true // the host may not be there
	r.unrelatedFor(rec.attempt.Unlinked)
	return true
}

// callsFor are the relations to a host as they are sent, each in one call.
func callsFor(host ninjaone.Entity, records []*record) (all []addition) {
	by := map[int][]*record{} // with how many they may be sent
	for _, rec := range records {
		most := maxRelations
		if rec.attempt != nil && rec.attempt.Hosts[hostOf(host)] > 0 {
			most = rec.attempt.Hosts[hostOf(host)]
		}
		by[most] = append(by[most], rec)
	}
	for _, most := range slices.Sorted(maps.Keys(by)) {
		for part := range slices.Chunk(by[most], most) {
			all = append(all, addition{host, part})
		}
	}
	return all
}

// addAll adds relations to hosts. They are marked as under way before anything
// is sent.
func (r *run) addAll(ctx context.Context, hosts []ninjaone.Entity, adds map[ninjaone.Entity][]*record) error {
	touched := map[*record]bool{}
	var calls []addition
	for _, host := range hosts {
		for _, rec := range adds[host] {
			rec.relations.set(host, relationSending)
			touched[rec] = true
		}
		calls = append(calls, callsFor(host, adds[host])...)
	}
	records := slices.Collect(maps.Keys(touched))
	if err := r.State.save(ctx, r.part, records...); err != nil {
		return err
	}
	left, err := ninjaone.Each(ctx, calls, writers, func(a addition) error { return r.add(ctx, a.host, a.records) })
	for _, a := range left {
		r.takeBack(a.host, a.records)
	}
	if saveErr := r.save(ctx, records...); saveErr != nil {
		return saveErr
	}
	return err
}

// addition is what one call adds.
type addition struct {
	host    ninjaone.Entity
	records []*record // one for each relation
}

// takeBack removes the marks of relations that were not sent.
func (r *run) takeBack(host ninjaone.Entity, records []*record) {
	for _, rec := range r.missing(host, records) {
		r.mu.Lock()
		rec.relations.remove(host)
		r.mu.Unlock()
	}
}

// missing returns the records whose relation to the host is still unknown.
func (r *run) missing(host ninjaone.Entity, records []*record) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(records), func(rec *record) bool {
		id, has := rec.relations.get(host)
		return !has || id != relationSending
	})
}

// add relates documents to a host. Whether a refusal or a lost answer left
// something behind is read before anything is sent again.
func (r *run) add(ctx context.Context, host ninjaone.Entity, records []*record) error {
	made, alone, gone := false, 0, false
	_, refused, err := ninjaone.SplitRefused(ctx, records, func(ctx context.Context, part []*record) ([]struct{}, error) {
		for attempt := 1; ; attempt++ {
			todo := r.missing(host, part)
			if len(todo) == 0 {
				return nil, nil
			}
			err := r.post(ctx, host, todo)
			if attempt == 1 && errors.Is(err, ninjaone.ErrNotSent) {
				r.takeBack(host, todo)
			}
			made = made || err == nil
			if errors.Is(err, ninjaone.ErrBatchRefused) {
				r.mu.Lock()
				r.refuseRelations(host, todo, err)
				r.mu.Unlock()
			}
			if err == nil || ctx.Err() != nil ||
				!errors.Is(err, ninjaone.ErrBatchRefused) && !errors.Is(err, ninjaone.ErrOutcomeUnknown) {
				return nil, err
			}
			readErr := r.lookUp(ctx, host, todo, r.started)
			if errors.Is(err, ninjaone.ErrBatchRefused) && len(part) == 1 {
				alone++
			}
			if errors.Is(readErr, ninjaone.ErrNotFound) || alone == probes && !made && !r.shown(ctx, host) {
				gone = true // it is not for what would be related to it
				return nil, fmt.Errorf("%v is not there: %s", host, err)
			}
			if readErr != nil {
				return nil, fmt.Errorf("%w; and then %w: %w", err, ninjaone.ErrUnread, readErr)
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
	if gone {
		r.takeBack(host, records)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = r.stale || gone || len(refused) > 0
	for i := range refused {
		records[i].relations.remove(host)
		if err := r.relationFails(ctx, refused[i]); err != nil {
			return err
		}
	}
	if err != nil {
		return r.relationFails(ctx, err)
	}
	return nil
}

// shown reports whether people see the host of relations, as far as NinjaOne
// says: a licence's document may have been archived.
func (r *run) shown(ctx context.Context, host ninjaone.Entity) bool {
	if host.Type != ninjaone.EntityDocument || r.licenses == nil {
		return true
	}
	documents, err := r.in.Client.Documents(ctx, r.query(r.licenses))
	return err != nil || slices.ContainsFunc(documents, func(d ninjaone.Document) bool { return d.ID == host.ID && !d.Archived })
}

// unmark puts the marks back that a look-up took away because the relation is
// not there, and returns those records.
func (r *run) unmark(host ninjaone.Entity, records []*record) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var absent []*record
	for _, rec := range records {
		if _, has := rec.relations.get(host); !has {
			rec.relations.set(host, relationSending)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range made {
		if n.Related.Type != ninjaone.EntityDocument {
			continue
		}
		if ids[n.Related.ID] = n.ID; r.makers.others(n) || old(n, r.started) {
			ids[n.Related.ID] = relationForeign // it was there, and NinjaOne left it at that
		} else {
			r.makers.learn(n.Creator)
		}
	}
	for _, rec := range records {
		rec.relations.set(host, ids[rec.document]) // 0 when the answer lacks it: unknown
		r.result.Related++
	}
	return nil
}
