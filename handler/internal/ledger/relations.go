package ledger

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Owner says whose a relation is.
type Owner uint8

// The owners of relations. Of two relations that connect the same, the one of the
// later owner counts.
const (
	InFlight Owner = iota // ours, and on its way: whether NinjaOne has it is unknown
	Others                // somebody else's connects the two; its id is not kept
	Unsure                // it is there, and who made it is not known yet
	Ours                  // this application made it, or CIPP
)

// Relation connects a user's document to its host: a device or a licence's
// document.
type Relation struct {
	Host  ninjaone.Entity
	ID    int // NinjaOne's, of one that is Ours or Unsure
	Owner Owner
}

// Relations are a document's relations in order of their hosts.
type Relations []packedRelation

// packedRelation is a relation in two numbers, as it stands in a row.
type packedRelation struct {
	host int64 // twice the host's id, and one more for a document
	id   int64 // > 0: Ours; 0: InFlight; -1: Others; less: Unsure, the id with a minus sign
}

func packHost(e ninjaone.Entity) int64 {
	host := int64(e.ID) << 1
	if e.Type == ninjaone.EntityDocument {
		host++
	}
	return host
}

func pack(r Relation) packedRelation {
	p := packedRelation{host: packHost(r.Host)}
	switch r.Owner {
	case Ours:
		p.id = int64(r.ID)
	case Others:
		p.id = -1
	case Unsure:
		p.id = -int64(r.ID)
	}
	return p
}

func (p packedRelation) unpack() Relation {
	r := Relation{Host: ninjaone.Entity{Type: ninjaone.EntityDevice, ID: int(p.host >> 1)}}
	if p.host&1 == 1 {
		r.Host.Type = ninjaone.EntityDocument
	}
	switch {
	case p.id > 0:
		r.Owner, r.ID = Ours, int(p.id)
	case p.id == -1:
		r.Owner = Others
	case p.id < 0:
		r.Owner, r.ID = Unsure, int(-p.id)
	}
	return r
}

func (rs Relations) find(host ninjaone.Entity) (int, bool) {
	return slices.BinarySearchFunc(rs, packHost(host), func(p packedRelation, h int64) int { return cmp.Compare(p.host, h) })
}

// To returns the relation to a host, and whether one is noted.
func (rs Relations) To(host ninjaone.Entity) (Relation, bool) {
	i, has := rs.find(host)
	if !has {
		return Relation{}, false
	}
	return rs[i].unpack(), true
}

// InFlight reports whether a relation to the host is on its way.
func (rs Relations) InFlight(host ninjaone.Entity) bool {
	r, has := rs.To(host)
	return has && r.Owner == InFlight
}

// All yields the relations.
func (rs Relations) All() iter.Seq[Relation] {
	return func(yield func(Relation) bool) {
		for _, p := range rs {
			if !yield(p.unpack()) {
				return
			}
		}
	}
}

// Set notes a relation in place of the one to the same host.
func (rs *Relations) Set(r Relation) {
	i, has := rs.find(r.Host)
	if !has {
		*rs = slices.Insert(*rs, i, packedRelation{})
	}
	(*rs)[i] = pack(r)
}

// Remove forgets the relation to the host.
func (rs *Relations) Remove(host ninjaone.Entity) {
	if i, has := rs.find(host); has {
		*rs = slices.Delete(*rs, i, i+1)
	}
}

// columns are the relations as text, with commas between.
func (rs Relations) columns() (columns []string) {
	var column strings.Builder
	for i, p := range rs {
		if column.Len() > 0 {
			column.WriteByte(',')
		}
		column.WriteByte("dl"[p.host&1])
		column.WriteString(strconv.FormatInt(p.host>>1, 10) + "=" + strconv.FormatInt(p.id, 10))
		if column.Len() > maxRelationColumn || i == len(rs)-1 {
			columns = append(columns, column.String())
			column.Reset()
		}
	}
	return columns
}

// read adds what columns wrote. What cannot be read is left out.
func (rs *Relations) read(column string) {
	*rs = slices.Grow(*rs, strings.Count(column, ",")+1)
	for item := range strings.SplitSeq(column, ",") {
		host, id, _ := strings.Cut(item, "=")
		if host == "" {
			continue
		}
		n, err := strconv.ParseInt(host[1:], 10, 64)
		bit := strings.IndexByte("dl", host[0])
		if err != nil || n <= 0 || bit < 0 {
			continue
		}
		p := packedRelation{host: n<<1 | int64(bit)}
		p.id, _ = strconv.ParseInt(id, 10, 64)
		rs.Set(p.unpack())
	}
}
