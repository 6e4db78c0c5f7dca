package ledger

import (
	"cmp"
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
type Relations []Relation

// packHost is twice the host's id, and one more for a document.
func packHost(e ninjaone.Entity) int64 {
	host := int64(e.ID) << 1
	if e.Type == ninjaone.EntityDocument {
		host++
	}
	return host
}

// number is what a row says of the relation beside its host: the id of one that is Ours,
// 0 for InFlight, -1 for Others, and the id with a minus sign for Unsure.
func (r Relation) number() int {
	switch r.Owner {
	case Ours:
		return r.ID
	case Others:
		return -1
	case Unsure:
		return -r.ID
	}
	return 0
}

// numbered is the relation of which a row says number.
func numbered(host ninjaone.Entity, number int) Relation {
	switch {
	case number > 0:
		return Relation{host, number, Ours}
	case number == -1:
		return Relation{host, 0, Others}
	case number < 0:
		return Relation{host, -number, Unsure}
	}
	return Relation{Host: host}
}

func (rs Relations) find(host ninjaone.Entity) (int, bool) {
	return slices.BinarySearchFunc(rs, packHost(host), func(r Relation, h int64) int { return cmp.Compare(packHost(r.Host), h) })
}

// To returns the relation to a host, and whether one is noted.
func (rs Relations) To(host ninjaone.Entity) (Relation, bool) {
	i, has := rs.find(host)
	if !has {
		return Relation{}, false
	}
	return rs[i], true
}

// InFlight reports whether a relation to the host is on its way.
func (rs Relations) InFlight(host ninjaone.Entity) bool {
	r, has := rs.To(host)
	return has && r.Owner == InFlight
}

// Set notes a relation in place of the one to the same host.
func (rs *Relations) Set(r Relation) {
	i, has := rs.find(r.Host)
	if !has {
		*rs = slices.Insert(*rs, i, Relation{})
	}
	(*rs)[i] = r
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
	for i, r := range rs {
		if column.Len() > 0 {
			column.WriteByte(',')
		}
		kind := "d"
		if r.Host.Type == ninjaone.EntityDocument {
			kind = "l"
		}
		column.WriteString(kind + strconv.Itoa(r.Host.ID) + "=" + strconv.Itoa(r.number()))
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
		hostID, err := strconv.Atoi(host[1:])
		hostType, known := map[byte]string{'d': ninjaone.EntityDevice, 'l': ninjaone.EntityDocument}[host[0]]
		if err != nil || hostID <= 0 || !known {
			continue
		}
		number, _ := strconv.Atoi(id)
		rs.Set(numbered(ninjaone.Entity{Type: hostType, ID: hostID}, number))
	}
}
