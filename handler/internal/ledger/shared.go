package ledger

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// Shared are the NinjaOne custom fields of devices that two writers share, each ""
// when it is not written.
type Shared struct {
	Compliance string // of DeviceCompliance
	Settings   string // of DeviceNonCompliantSettings
}

// Names returns those of the fields that are written.
func (s Shared) Names() (names []string) {
	for _, n := range notes {
		if name := n.of(s); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Without returns those of the fields that are not the same in other.
func (s Shared) Without(other Shared) Shared {
	for _, n := range notes {
		if strings.EqualFold(n.of(s), n.of(other)) {
			*n.in(&s) = ""
		}
	}
	return s
}

// note begins the names of the columns in which what is known of a shared field is
// noted.
type note string

const (
	noteCompliance note = "Compliance"
	noteSettings   note = "Settings"
)

var notes = []note{noteCompliance, noteSettings}

func (n note) of(s Shared) string { return *n.in(&s) }

// in is of for what is to be set.
func (n note) in(s *Shared) *string {
	if n == noteSettings {
		return &s.Settings
	}
	return &s.Compliance
}

func (n note) field() string  { return string(n) + columnField }
func (n note) digest() string { return string(n) + columnDigest }
func (n note) read() string   { return string(n) + columnRead }
func (n note) claim() string  { return string(n) + columnClaim }
func (n note) since() string  { return string(n) + columnSince }

// columns are those of all notes.
func columns() (all []string) {
	for _, n := range notes {
		all = append(all, n.field(), n.digest(), n.read(), n.claim(), n.since())
	}
	return all
}

// standing is what a device's record says of a shared field.
type standing struct {
	digest string
	read   time.Time
	claim  string
	since  time.Time
}

// at reads the note of a field; false when the row has none of it.
func (n note) at(row storage.Entity, field string) (standing, bool) {
	if field == "" || row.String(n.field()) != field {
		return standing{}, false
	}
	return standing{row.String(n.digest()), row.Time(n.read()), row.String(n.claim()), row.Time(n.since())}, true
}

// claimedBy reports whether a row has the claim of an id on one of the fields.
func (s Shared) claimedBy(id string, row storage.Entity) bool {
	return slices.ContainsFunc(notes, func(n note) bool {
		at, ok := n.at(row, n.of(s))
		return ok && at.claim == id
	})
}

// sending reports whether a writer may still be sending a value.
func (n standing) sending(now time.Time) bool {
	return n.claim != "" && now.Sub(n.since) < claimLife
}

// settled is the digest of what NinjaOne holds, as far as it is known.
func (n standing) settled() string {
	if n.claim != "" {
		return Unknown
	}
	return n.digest
}

// settledOf returns the digests that the notes of a row have, by field.
func settledOf(row storage.Entity) map[string]string {
	all := map[string]string{}
	for _, n := range notes {
		field := row.String(n.field())
		if at, ok := n.at(row, field); ok {
			all[field] = at.settled()
		}
	}
	return all
}

// claimed is what a writer remembers of a note that it claimed.
type claimed struct {
	since    time.Time
	before   string // settled digest before the claim
	overtook bool   // another writer's request may still be under way
	unheld   bool   // another value was noted than the one to be sent
}

// decision is what the notes of a row mean for a send.
type decision struct {
	claims  map[string]claimed // the values that are to be sent, by field
	columns storage.Entity     // to be noted; nil for none
	moved   map[string]string  // digests of fields whose notes make way for others
}

// decide judges which shared values to send, by the row of their device. The row is nil
// for a device without one.
func (b *Batch) decide(s *Send, row storage.Entity, now time.Time) decision {
	d := decision{claims: map[string]claimed{}, moved: map[string]string{}}
	if owner := row.String("TenantId"); owner != "" && owner != b.read.TenantID {
		return d
	}
	fields, other := fieldsOf(row), settledOf(row)
	for name, digest := range other {
		if fields[name] != Unknown {
			fields[name] = digest
		}
	}
	for _, n := range notes {
		name := n.of(b.read.Fields)
		if _, has := s.Values[name]; name == "" || !has {
			continue
		}
		before := len(d.columns)
		b.decideOne(&d, s, n, name, row, fields[name], now)
		if former := row.String(n.field()); former != "" && former != name && len(d.columns) > before {
			d.moved[former] = other[former]
		}
	}
	for _, n := range notes { // what the other note takes over stays there
		if name := n.of(b.read.Fields); d.columns.String(n.field()) == name {
			delete(d.moved, name)
		}
	}
	return d
}

// decideOne judges one value. unnoted is what the record says of a field without note.
// Such a field was not written yet, or its run was stopped before its claim.
func (b *Batch) decideOne(d *decision, s *Send, n note, name string, row storage.Entity, unnoted string, now time.Time) {
	at, known := n.at(row, name)
	switch {
	case !known:
		at.digest = unnoted
	case at.claim != "" && !at.sending(now), !b.alone() && strings.HasPrefix(at.claim, syncClaim):
		at.digest, at.claim = Unknown, "" // its writer is gone
	}
	v, read := s.Values[name], b.read.Began
	want := Digest(v)
	columns := storage.Entity{n.field(): name, n.read(): read.UTC()}
	switch {
	case at.read.After(read):
		return
	case v.IsClear() && !s.shown[name] && (at.digest == "" || at.digest == Cleared && at.claim == ""):
		// That there is nothing to show now keeps an older reading from showing it.
		if row == nil || !read.After(at.read) {
			return
		}
	case at.digest == want && !s.shown[name] && (!s.force || v.IsClear()):
		// NinjaOne holds it, or is being sent it. That it still holds now keeps an
		// older reading from undoing it.
		if !known || !read.After(at.read) {
			return
		}
	default:
		c := claimed{now.UTC().Truncate(time.Millisecond), at.settled(), at.sending(now), row != nil && at.digest != want}
		columns[n.digest()], columns[n.claim()], columns[n.since()] = want, b.id, c.since
		d.claims[name] = c
	}
	if d.columns == nil {
		d.columns = storage.Entity{}
	}
	maps.Copy(d.columns, columns)
}

// settle adds to next how the sending of a value under a claim ended. The caller merges
// next into row. It reports as overtaken that a newer reading was claimed meanwhile. It
// reports as gone that another field is mapped by now, as the record should say.
func (c claimed) settle(n note, name, id string, v ninjaone.Value, row, next storage.Entity, end outcome) (overtaken, gone bool) {
	at, known := n.at(row, name)
	switch {
	case known && at.claim == "" && at.since.Equal(c.since): // this claim, settled: the answer to that was lost
	case !known:
		return false, end != refused
	case at.claim == id:
		next[n.claim()] = ""
		switch {
		case c.overtook || end == lost:
			next[n.digest()] = Unknown
		case end == refused:
			next[n.digest()] = c.before
		default:
			next[n.digest()] = Digest(v)
			Keep(next, name, v)
		}
	case end == refused:
	case at.claim != "": // the newer writer is still sending, and settles as unknown
		return true, false
	default:
		next[n.digest()] = Unknown
		return true, false
	}
	return false, false
}

// withFields returns column Fields with digests added.
func withFields(fields, more map[string]string) string {
	maps.Copy(fields, more)
	text, err := json.Marshal(fields)
	if err != nil {
		return noFields // a map of texts always encodes
	}
	return string(text)
}
