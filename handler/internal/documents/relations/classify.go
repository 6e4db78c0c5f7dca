package relations

import (
	"cmp"
	"slices"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// found is a relation that NinjaOne has.
type found struct {
	document *ledger.Document // nil when it is a surplus document's
	relation ninjaone.Relation
}

// classified are the relations that NinjaOne has, by whose they are.
type classified struct {
	present map[*ledger.Document]ledger.Relations
	surplus []int               // ours, there twice
	extras  []ninjaone.Relation // ours, of surplus documents
	unsure  []found
}

// direction reports whether a relation connects as we make them, and not the
// other way round.
func (k Known) direction(host, related ninjaone.Entity) bool {
	hosts := host.Type == ninjaone.EntityDevice || host.Type == ninjaone.EntityDocument && (k.licenses[host.ID] || k.Extras[host.ID])
	return hosts && related.Type == ninjaone.EntityDocument && (k.users[related.ID] != nil || k.Extras[related.ID])
}

// concerns reports whether a relation is of our documents.
func (k Known) concerns(n ninjaone.Relation) bool {
	return k.direction(n.Host, n.Related) || k.direction(n.Related, n.Host)
}

// classify judges whose each relation is.
func (k Known) classify(relations []ninjaone.Relation) classified {
	slices.SortFunc(relations, func(a, b ninjaone.Relation) int { return cmp.Compare(a.ID, b.ID) })
	relations = slices.CompactFunc(relations, func(a, b ninjaone.Relation) bool { return a.ID == b.ID })
	c := classified{present: map[*ledger.Document]ledger.Relations{}}
	for _, n := range relations {
		if !k.direction(n.Host, n.Related) {
			if d := k.users[n.Host.ID]; d != nil && k.direction(n.Related, n.Host) {
				c.note(d, ledger.Relation{Host: n.Related, Owner: ledger.Others})
			}
			continue
		}
		d := k.users[n.Related.ID]
		if n.Host.Type == ninjaone.EntityDocument && !k.licenses[n.Host.ID] {
			d = nil // a surplus document hosts it
		}
		r := ledger.Relation{Host: n.Host, ID: n.ID, Owner: k.owner(d, n)}
		noted := d != nil && c.note(d, r)
		switch {
		case r.Owner == ledger.Ours && d == nil:
			c.extras = append(c.extras, n)
		case r.Owner == ledger.Ours && !noted:
			c.surplus = append(c.surplus, n.ID)
		case r.Owner == ledger.Unsure && (noted || d == nil):
			c.unsure = append(c.unsure, found{d, n})
		}
	}
	return c
}

// note notes a relation of a document, unless one to the same host counts more or
// as much.
func (c classified) note(d *ledger.Document, r ledger.Relation) bool {
	relations := c.present[d]
	if have, has := relations.To(r.Host); has && have.Owner >= r.Owner {
		return false
	}
	if r.Owner == ledger.Others {
		r.ID = 0
	}
	relations.Set(r)
	c.present[d] = relations
	return true
}

// owner judges whose a relation is; d is nil when it is a surplus document's.
func (k Known) owner(d *ledger.Document, n ninjaone.Relation) ledger.Owner {
	before := k.First || d == nil // it may have been there before our first run
	inFlight := false
	if d != nil {
		if have, noted := d.Relations.To(n.Host); noted {
			if have.Owner == ledger.Ours && have.ID == n.ID {
				return ledger.Ours
			}
			inFlight = have.Owner == ledger.InFlight
			before = before || have.Owner == ledger.Unsure && have.ID == n.ID
		}
	}
	switch {
	case !inFlight && !before || k.makers.others(n, k.since):
		return ledger.Others
	case inFlight || n.Creator > 0 && k.makers.ids[n.Creator]:
		return ledger.Ours
	case n.Creator > 0:
		return ledger.Unsure
	case n.Host.Type == ninjaone.EntityDocument || k.Mapped[n.Host.ID]:
		return ledger.Ours
	}
	return ledger.Others
}
