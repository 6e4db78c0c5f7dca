package documents

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// refusedFor is how long an unchanged document that NinjaOne refused is not sent again.
// It is shorter than the day between two syncs.
const refusedFor = 20 * time.Hour

// Outcome is what a sync would do with a document.
type Outcome string

// Outcomes.
const (
	OutcomeCreated   Outcome = "created"
	OutcomeUpdated   Outcome = "updated"
	OutcomeUnchanged Outcome = "unchanged"
	OutcomeArchived  Outcome = "archived" // its user or licence ended; nothing composed is there to show
	OutcomeRestored  Outcome = "restored" // its user or licence is back
	OutcomeRefused   Outcome = "refused"  // NinjaOne refused it as it is, so it is not sent
)

// manner is how a document is sent.
type manner int

const (
	together manner = iota
	inParts         // NinjaOne refused one of those that it was sent with
	alone           // NinjaOne refused it
)

// change is what a run does to a document that should exist.
type change struct {
	*ledger.Document
	outcome Outcome
	title   string // the name that the document is to have
	name    string // "" where it has the name, or is to get it another day
	fields  ninjaone.Fields
	manner  manner
}

// changes yields what is to become of the documents of a section that picked names, and
// composes each only then. It passes over those that are done. A document that cannot be
// composed has an error.
func (r *run) changes(sec *section, picked func(*ledger.Document) bool) iter.Seq2[change, error] {
	return func(yield func(change, error) bool) {
		for _, id := range sec.ids {
			rec := r.record(sec.kind, id)
			// Where the list is contradicted, unlisted ones may exist.
			if sec.done[id] || rec.Pending() || rec.DocumentID == 0 && sec.contradicted || !picked(rec) {
				continue
			}
			doc, err := sec.Document(id)
			c := change{Document: rec}
			if err == nil {
				c = r.decide(rec, doc)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// decide says what is to become of a document. A name that NinjaOne refused is
// left out for a day.
func (r *run) decide(rec *ledger.Document, doc compose.Document) change {
	if rec.Archived {
		back := *rec
		restore(&back)
		c := r.decide(&back, doc)
		c.Document, c.outcome = rec, OutcomeRestored
		return c
	}
	c := change{Document: rec, title: doc.Name, fields: doc.Fields}
	refused := rec.Refused != "" && rec.Refused == content(doc)
	today := rec.Refused != "" && r.started.Sub(time.Unix(rec.Tried, 0)) < refusedFor
	misnamed := rec.Refused == ledger.RefusedName(digestOf(doc.Name))
	switch unnamed := tried(rec).Unnamed; {
	case rec.DocumentID == 0 && unnamed:
		c.name = r.distinct(doc)
	case rec.DocumentID == 0:
		c.name = doc.Name
	default:
		c.fields = ledger.Changes(rec.Fields.All(), doc.Fields)
		if rec.Fields.Get(ledger.NameField) != digestOf(doc.Name) && !unnamed && !(today && misnamed) {
			c.name = doc.Name
		}
	}
	switch {
	case tried(rec).Unnamed || refused || c.name != "" && misnamed:
		c.manner = alone
	case tried(rec).Limit > 0:
		c.manner = inParts
	}
	switch {
	case refused && today:
		c.outcome = OutcomeRefused
	case rec.DocumentID == 0:
		c.outcome = OutcomeCreated
	case c.name == "" && len(c.fields) == 0:
		c.outcome = OutcomeUnchanged
	default:
		c.outcome = OutcomeUpdated
	}
	return c
}

// restore notes that people see a document again. All its values are sent again,
// because nobody knows what became of them meanwhile.
func restore(rec *ledger.Document) {
	rec.Archived, rec.Ended = false, 0
	rec.ForgetRefusal()
	rec.MarkUnknown()
}

// tried returns what these runs tried with a document.
func tried(rec *ledger.Document) ledger.Attempt {
	if rec.Attempt == nil {
		return ledger.Attempt{}
	}
	return *rec.Attempt
}

// distinct is a name that no other document has.
func (r *run) distinct(doc compose.Document) string {
	return doc.Name + " [" + ledger.Sum([]byte(r.tenantID + "/" + doc.ID))[:8] + "]"
}

// digestOf is the digest of a name.
func digestOf(name string) string { return ledger.Digest(ninjaone.Text(name)) }

// content stands for all that a document says.
func content(doc compose.Document) string {
	var b strings.Builder
	b.WriteString(digestOf(doc.Name))
	for _, field := range slices.Sorted(maps.Keys(doc.Fields)) {
		b.WriteString("\n" + field + "=" + ledger.Digest(doc.Fields[field]))
	}
	return ledger.Sum([]byte(b.String()))
}

// ending is what is to become of the documents that nobody wants any more.
type ending struct {
	archive map[*section][]*ledger.Document
	forget  []*ledger.Document // about no document
	leaving int                // documents to archive
	lately  int                // archived so lately that they count with them
	of      int                // documents that people see, and those
	held    int                // of licences that users still have
}

// planEnd finds the documents whose user or licence ended.
func (r *run) planEnd() ending {
	e := ending{archive: map[*section][]*ledger.Document{}}
	for _, sec := range r.sections {
		for s, rec := range r.records {
			if s.Kind != sec.kind {
				continue
			}
			if rec.Live() {
				e.of++
			}
			switch {
			case sec.wanted[s.ID]:
			case r.lately(rec):
				e.lately++
				e.of++
			case rec.DocumentID == 0 && !rec.Pending():
				e.forget = append(e.forget, rec)
			case !rec.Live() || sec.blocked || sec.contradicted || r.mayBeLeftOut(sec, s.ID) || r.mayBeUnlicensed(sec, s.ID):
			case r.stillHeld(sec, s.ID):
				e.held++
			default:
				e.archive[sec] = append(e.archive[sec], rec)
				e.leaving++
			}
		}
		slices.SortFunc(e.archive[sec], func(a, b *ledger.Document) int { return a.DocumentID - b.DocumentID })
	}
	return e
}

// mayBeLeftOut reports whether Microsoft 365 gave users or licences without their id.
// This may be one of them.
func (r *run) mayBeLeftOut(sec *section, id string) bool {
	detail := tenant.DetailSomeUsers
	if sec.kind == ledger.KindLicense {
		detail = tenant.DetailSomeSKUs
	}
	_, some := r.in.Compose.Snapshot.Unknown[detail]
	return some && !sec.Has(id)
}

// mayBeUnlicensed reports whether a user is to have a document if licensed, which is not
// known.
func (r *run) mayBeUnlicensed(sec *section, id string) bool {
	return sec.kind == ledger.KindUser && r.in.Compose.LicensedOnly && r.people.LicensesUnknown(id) && len(r.people.Licenses(id)) == 0
}

// stillHeld reports whether users still have, or may have, a licence that the tenant no
// longer lists. Then the list of licences contradicts the list of users, and proves
// nothing. So does an empty list of licences where users have any.
func (r *run) stillHeld(sec *section, sku string) bool {
	users, none := r.in.Compose.Snapshot.Users, len(r.in.Compose.Snapshot.SKUs.Value) == 0
	switch {
	case sec.kind != ledger.KindLicense || sec.Has(sku):
		return false
	case !users.OK() || len(users.Value) == 0: // no tenant has no users
		return none
	case r.usersSKUs == nil:
		r.usersSKUs = map[string]bool{}
		for _, u := range users.Value {
			r.mayHold = r.mayHold || u.LicensesUnknown
			for _, l := range u.Licenses {
				r.usersSKUs[guid.Fold(l.SKUID)] = true
			}
		}
	}
	return r.usersSKUs[sku] || r.mayHold || none && len(r.usersSKUs) > 0
}

// planRelations compares the relations of users' documents with what is wanted.
func (r *run) planRelations() relations.Plan {
	if r.unrelated || r.users.blocked {
		return relations.Plan{}
	}
	var live, archived []*ledger.Document
	for _, id := range r.users.ids {
		if rec := r.records[ledger.Subject{Kind: ledger.KindUser, ID: id}]; rec.Live() {
			live = append(live, rec)
		}
	}
	hidden := map[ninjaone.Entity]bool{}
	for s, rec := range r.records {
		switch {
		case !rec.Archived:
		case s.Kind == ledger.KindLicense:
			hidden[relations.Document(rec.DocumentID)] = true
		case !r.users.wanted[s.ID]:
			archived = append(archived, rec)
		}
	}
	return relations.NewPlan(live, r.hosts, archived, hidden)
}

// hosts returns the devices and the licences' documents that should host relations to a
// user's document. Where it is not known which there are, relations stay as they are.
func (r *run) hosts(rec *ledger.Document) map[ninjaone.Entity]bool {
	want := map[ninjaone.Entity]bool{}
	devices := r.in.Compose.Snapshot.DevicesKnown()
	licenses := r.licenses != nil && !r.licenses.blocked
	_, loggedOnUnknown := r.in.Compose.Snapshot.Unknown[tenant.DetailLoggedOn]
	for _, have := range rec.Relations {
		device := have.Host.Type == ninjaone.EntityDevice
		unsure := !devices || loggedOnUnknown || r.in.DeviceUnsure(have.Host.ID)
		if device && unsure || !device && (!licenses || r.people.LicensesUnknown(rec.ID)) {
			want[have.Host] = true
		}
	}
	if devices {
		for _, id := range r.people.Devices(rec.ID) {
			want[relations.Device(id)] = true
		}
	}
	if licenses {
		for _, sku := range r.people.Licenses(rec.ID) {
			if license := r.records[ledger.Subject{Kind: ledger.KindLicense, ID: sku}]; license.Live() {
				want[relations.Document(license.DocumentID)] = true
			}
		}
	}
	return want
}
