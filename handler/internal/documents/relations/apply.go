package relations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// maxRelations is how many relations are added to a host in one call. NinjaOne removes
	// one at a time, or all of an entity, technicians' own included.
	maxRelations = 500
	// hostsAtOnce is after how many hosts, or removals, what was done is noted. A
	// run that is killed before has to read the relations again, in two calls.
	hostsAtOnce = 5000
	// writers is how many relations are written at once. The client's pacing sets
	// the rate.
	writers = 8
	// probes is after how many single refusals a host is looked for.
	probes = 5
)

// Change adds the missing relations first, and then removes those that ended. The
// answers to the additions may tell whose the others are.
func (k *Keeper) Change(ctx context.Context, p Plan) error {
	for host, documents := range p.Add {
		p.Add[host] = slices.DeleteFunc(documents, func(d *ledger.Document) bool { return k.refusedAlone(d, host) })
	}
	maps.DeleteFunc(p.Add, func(_ ninjaone.Entity, documents []*ledger.Document) bool { return len(documents) == 0 })
	if len(p.Add) > 0 {
		if err := k.readMakers(ctx); err != nil {
			return err
		}
	}
	for hosts := range slices.Chunk(sortedHosts(p.Add), hostsAtOnce) {
		if err := k.addAll(ctx, hosts, p.Add); err != nil {
			return err
		}
	}
	if err := k.judgeUnsure(ctx); err != nil {
		return err
	}
	if _, err := k.RemoveByID(ctx, k.surplus); err != nil {
		return err
	}
	k.surplus = nil
	return k.Remove(ctx, p.Ended)
}

// addition is what one call adds.
type addition struct {
	host      ninjaone.Entity
	documents []*ledger.Document
}

// additions are the relations to a host as they are sent, each in one call.
func additions(host ninjaone.Entity, documents []*ledger.Document) (all []addition) {
	byLimit := map[int][]*ledger.Document{}
	for _, d := range documents {
		limit, limited := d.Attempt.LimitOf(host)
		if !limited {
			limit = maxRelations
		}
		byLimit[limit] = append(byLimit[limit], d)
	}
	for _, limit := range slices.Sorted(maps.Keys(byLimit)) {
		for part := range slices.Chunk(byLimit[limit], limit) {
			all = append(all, addition{host, part})
		}
	}
	return all
}

// addAll adds relations to hosts. They are noted as in flight before anything is
// sent.
func (k *Keeper) addAll(ctx context.Context, hosts []ninjaone.Entity, add map[ninjaone.Entity][]*ledger.Document) error {
	touched := map[*ledger.Document]bool{}
	var calls []addition
	for _, host := range hosts {
		for _, d := range add[host] {
			d.Relations.Set(ledger.Relation{Host: host})
			touched[d] = true
		}
		calls = append(calls, additions(host, add[host])...)
	}
	if err := k.Tenant.Save(ctx, slices.Collect(maps.Keys(touched))...); err != nil {
		return err
	}
	left, err := ninjaone.Each(ctx, calls, writers, func(a addition) error { return k.add(ctx, a.host, a.documents) })
	for _, a := range left {
		k.takeBack(a.host, a.documents)
	}
	if saveErr := k.save(ctx, touched); saveErr != nil {
		return saveErr
	}
	return err
}

// inFlight returns the documents whose relation to the host is on its way.
func (k *Keeper) inFlight(host ninjaone.Entity, documents []*ledger.Document) []*ledger.Document {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(documents), func(d *ledger.Document) bool { return !d.Relations.InFlight(host) })
}

// takeBack forgets relations to a host that are not on their way.
func (k *Keeper) takeBack(host ninjaone.Entity, documents []*ledger.Document) {
	for _, d := range k.inFlight(host, documents) {
		k.mu.Lock()
		d.Relations.Remove(host)
		k.mu.Unlock()
	}
}

// add relates documents to a host. Whether a refusal or a lost answer left
// something behind is read before anything is sent again.
func (k *Keeper) add(ctx context.Context, host ninjaone.Entity, documents []*ledger.Document) error {
	made, alone, gone := false, 0, false
	_, refused, err := ninjaone.SplitRefused(ctx, documents, func(ctx context.Context, part []*ledger.Document) ([]struct{}, error) {
		for attempt := 1; ; attempt++ {
			todo := k.inFlight(host, part)
			if len(todo) == 0 {
				return nil, nil
			}
			err := k.post(ctx, host, todo)
			refused := errors.Is(err, ninjaone.ErrBatchRefused)
			made = made || err == nil
			if attempt == 1 && errors.Is(err, ninjaone.ErrNotSent) {
				k.takeBack(host, todo)
			}
			if err == nil || ctx.Err() != nil || !refused && !errors.Is(err, ninjaone.ErrOutcomeUnknown) {
				return nil, err
			}
			absent, readErr := k.lookUp(ctx, host, todo, k.Started)
			if refused && len(part) == 1 {
				alone++
			}
			if errors.Is(readErr, ninjaone.ErrNotFound) || alone == probes && !made && host.Type == ninjaone.EntityDocument && !k.Shown(ctx, host.ID) {
				gone = true
				return nil, fmt.Errorf("%v is not there: %s", host, err) // it is not for what would be related to it
			}
			if readErr != nil {
				return nil, fmt.Errorf("%w; and then %w: %w", err, ninjaone.ErrUnread, readErr)
			}
			if len(absent) == 0 {
				return nil, nil
			}
			if refused || attempt == 2 {
				return nil, err
			}
		}
	})
	if gone {
		k.takeBack(host, documents)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Stale = k.Stale || gone || len(refused) > 0
	for i, reason := range refused {
		documents[i].Relations.Remove(host)
		if err := k.fails(ctx, reason); err != nil {
			return err
		}
	}
	if err != nil {
		return k.fails(ctx, err)
	}
	return nil
}

// post sends relations and notes the ids that NinjaOne gave them.
func (k *Keeper) post(ctx context.Context, host ninjaone.Entity, documents []*ledger.Document) error {
	related := make([]ninjaone.Entity, len(documents))
	for i, d := range documents {
		related[i] = Document(d.DocumentID)
	}
	made, err := k.Client.AddRelations(ctx, host, related)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if errors.Is(err, ninjaone.ErrBatchRefused) {
			k.refused(host, documents, err)
		}
		return err
	}
	answered := map[int]ledger.Relation{}
	for _, n := range made {
		if n.Related.Type != ninjaone.EntityDocument {
			continue
		}
		r := ledger.Relation{Host: host, ID: n.ID, Owner: ledger.Ours}
		if k.makers.others(n, k.Started) {
			r.Owner = ledger.Others // it was there, and NinjaOne left it at that
		} else {
			k.makers.learn(n.Creator)
		}
		answered[n.Related.ID] = r
	}
	for _, d := range documents {
		if r, has := answered[d.DocumentID]; has { // else it stays in flight
			d.Relations.Set(r)
		}
		k.Added++
	}
	return nil
}

// RemoveByID removes relations that no document notes, and returns those that are
// gone.
func (k *Keeper) RemoveByID(ctx context.Context, ids []int) (removed map[int]bool, err error) {
	removed = map[int]bool{}
	_, err = ninjaone.Each(ctx, ids, writers, func(id int) error {
		err := k.Client.DeleteRelation(ctx, id)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err != nil {
			return k.fails(ctx, err)
		}
		k.Removed++
		removed[id] = true
		return nil
	})
	return removed, err
}

// Remove removes relations, and forgets them. What somebody else made, or may have made,
// stays in NinjaOne. So does what NinjaOne refused to remove just now.
func (k *Keeper) Remove(ctx context.Context, ended []Relation) error {
	for chunk := range slices.Chunk(ended, hostsAtOnce) {
		touched := map[*ledger.Document]bool{}
		ids := map[int]Relation{} // of ours
		for _, r := range chunk {
			have, noted := r.Document.Relations.To(r.Host)
			switch {
			case k.refusedAlone(r.Document, r.Host) || !noted:
				continue
			case have.Owner == ledger.Others:
				r.Document.Relations.Remove(r.Host)
			case have.Owner == ledger.Ours:
				ids[have.ID] = r
			default: // a later run knows
				continue
			}
			touched[r.Document] = true
		}
		_, err := ninjaone.Each(ctx, slices.Sorted(maps.Keys(ids)), writers, func(id int) error { return k.remove(ctx, id, ids[id]) })
		if saveErr := k.save(ctx, touched); saveErr != nil {
			return saveErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remove removes a relation of ours that a document notes.
func (k *Keeper) remove(ctx context.Context, id int, r Relation) error {
	err := k.Client.DeleteRelation(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.Removed++
		r.Document.Relations.Remove(r.Host)
		return nil
	}
	_, answered := errors.AsType[*ninjaone.APIError](err)
	if answered && ninjaone.Tolerable(context.WithoutCancel(ctx), err) {
		k.refused(r.Host, []*ledger.Document{r.Document}, err) // also when it came as the time ended
	}
	return k.fails(ctx, err)
}
