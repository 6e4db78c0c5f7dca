package relations

import (
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// lookups is up to how many hosts are read one by one. For more, it costs less to read
	// all relations of the instance.
	lookups = 10
	// clocks is how far NinjaOne's clock and ours may be apart.
	clocks = time.Hour
)

// makers are who NinjaOne says made a relation when this application did: ids of users,
// and 0 for nobody. CIPP uses the same API application, so its relations name the same
// makers. An instance may name an administrator for the application, or never name
// anybody. So a relation by one of them may be anybody's, but one by another maker is
// not ours.
type makers struct {
	ids map[int]bool // nil before they are read
	new bool         // not saved yet
}

func (m *makers) learn(id int) {
	if !m.ids[id] {
		m.ids[id], m.new = true, true
	}
}

// others reports that somebody else made the relation, or that it was there
// before a time.
func (m makers) others(n ninjaone.Relation, since time.Time) bool {
	old := !n.Created.IsZero() && n.Created.Before(since.Add(-clocks))
	return len(m.ids) > 0 && !m.ids[n.Creator] || old
}

func (k *Keeper) readMakers(ctx context.Context) (err error) {
	if k.makers.ids == nil {
		k.makers.ids, err = k.Ledger.Makers(ctx, k.Instance)
	}
	return err
}

// Known is what relations are judged by.
type Known struct {
	// First: nothing was read before, so that all may be of CIPP or technicians.
	First bool
	// Mapped are the devices in CIPP's map: the only ones that CIPP relates. From a
	// licence's document it removes what it did not make itself.
	Mapped map[int]bool
	// Extras are surplus documents about users or licences.
	Extras map[int]bool

	users    map[int]*ledger.Document // by document
	licenses map[int]bool             // their documents
	makers   makers
	since    time.Time // what was there before is not ours, if what is ours is in flight
}

// Read reads the relations where our notes of them may be incomplete. It brings the
// documents in line with them, in memory alone. It returns the documents that changed,
// and whether all is known now.
func (k *Keeper) Read(ctx context.Context, known Known, due bool) (changed map[*ledger.Document]bool, all bool, err error) {
	known.users, known.licenses = map[int]*ledger.Document{}, map[int]bool{}
	doubtful := map[ninjaone.Entity][]*ledger.Document{}
	for _, d := range k.Documents {
		switch {
		case d.DocumentID == 0: // archived ones count, too: they may be about to come back
		case d.Kind == ledger.KindLicense:
			known.licenses[d.DocumentID] = true
		default:
			known.users[d.DocumentID] = d
			for _, r := range d.Relations {
				if r.Owner == ledger.InFlight {
					doubtful[r.Host] = append(doubtful[r.Host], d)
				}
			}
		}
	}
	due = due || known.First || len(doubtful) > lookups
	switch {
	case len(known.users)+len(known.Extras) == 0: // documents that this run creates have none yet
		return nil, known.First, nil
	case !due && len(doubtful) == 0:
		return nil, false, nil
	}
	if err := k.readMakers(ctx); err != nil {
		return nil, false, err
	}
	if due {
		changed, err = k.readAll(ctx, known)
		return changed, err == nil, err
	}
	changed = map[*ledger.Document]bool{}
	for _, host := range sortedHosts(doubtful) {
		absent, err := k.lookUp(ctx, host, doubtful[host], time.Time{})
		if err != nil && !errors.Is(err, ninjaone.ErrNotFound) {
			return nil, false, err
		}
		k.takeBack(host, absent)
		for _, d := range doubtful[host] {
			changed[d] = true
		}
	}
	return changed, false, nil
}

// readAll reads the relations of the whole instance. It keeps those between documents of
// ours, and between them and devices.
func (k *Keeper) readAll(ctx context.Context, known Known) (map[*ledger.Document]bool, error) {
	var relations []ninjaone.Relation
	for _, hostType := range []string{ninjaone.EntityDevice, ninjaone.EntityDocument} {
		list, err := k.Client.RelationsOfType(ctx, hostType, known.concerns)
		if err != nil {
			return nil, err
		}
		relations = append(relations, list...)
	}
	for _, n := range relations {
		if d := known.users[n.Related.ID]; d != nil && known.direction(n.Host, n.Related) {
			if have, _ := d.Relations.To(n.Host); have.Owner == ledger.Ours && have.ID == n.ID {
				k.makers.learn(n.Creator)
			}
		}
	}
	known.makers = k.makers
	found := known.classify(relations)
	k.surplus, k.extras, k.unsure = found.surplus, found.extras, found.unsure
	changed := map[*ledger.Document]bool{}
	for _, d := range known.users {
		if now := found.present[d]; !slices.Equal(now, d.Relations) {
			d.Relations, changed[d] = now, true
		}
	}
	return changed, nil
}

// lookUp reads the relations of one host, and notes those that are on their way and
// there. It returns the documents that have none. ErrNotFound says that the host is
// gone, so none has.
func (k *Keeper) lookUp(ctx context.Context, host ninjaone.Entity, documents []*ledger.Document, since time.Time) (absent []*ledger.Document, gone error) {
	list, gone := k.Client.RelationsOf(ctx, host)
	if gone != nil && !errors.Is(gone, ninjaone.ErrNotFound) {
		return nil, gone
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known := Known{users: map[int]*ledger.Document{}, licenses: map[int]bool{}, makers: k.makers, since: since}
	if host.Type == ninjaone.EntityDocument {
		known.licenses[host.ID] = true
	}
	for _, d := range documents {
		if d.Relations.InFlight(host) {
			known.users[d.DocumentID] = d
		}
	}
	found := known.classify(list)
	for _, d := range known.users {
		if r, has := found.present[d].To(host); has {
			d.Relations.Set(r)
		} else {
			absent = append(absent, d)
		}
	}
	return absent, gone
}

// judgeUnsure judges the relations of unknown makers, once it is known who makes ours.
func (k *Keeper) judgeUnsure(ctx context.Context) error {
	if k.makers.new {
		noting, done := storage.Noting(ctx)
		defer done()
		if err := k.Ledger.SaveMakers(noting, k.Instance, k.makers.ids); err != nil {
			return err
		}
		k.makers.new = false
	}
	if len(k.makers.ids) == 0 {
		return nil
	}
	changed := map[*ledger.Document]bool{}
	for _, u := range k.unsure {
		r := ledger.Relation{Host: u.relation.Host, Owner: ledger.Others}
		if k.makers.ids[u.relation.Creator] {
			r.Owner, r.ID = ledger.Ours, u.relation.ID
		}
		switch {
		case u.document != nil:
			u.document.Relations.Set(r)
			changed[u.document] = true
		case r.Owner == ledger.Ours:
			k.extras = append(k.extras, u.relation)
		}
	}
	k.unsure = nil
	return k.save(ctx, changed)
}
