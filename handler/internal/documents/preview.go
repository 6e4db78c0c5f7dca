package documents

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// Preview is what a sync would do to a tenant's documents at one moment.
type Preview struct {
	// Notes say what would be done to the templates.
	Notes []string
	// Items are the documents, users first, each kind by name.
	Items []PreviewItem
	// Surplus is how many documents about the same user or licence would be
	// archived, of which the oldest is kept.
	Surplus int
	// SurplusRelations is how many relations of theirs, of documents that are
	// archived already, or that are there twice, would be removed.
	SurplusRelations int
	// Held: so many documents would have to be archived that none is, before a
	// person confirms it.
	Held bool

	users    *compose.UserDocuments
	licenses *compose.LicenseDocuments
}

// PreviewItem is one document in a preview.
type PreviewItem struct {
	Kind     string // user or license
	ID       string // of the user or SKU, in lower case
	Name     string // of the document; "" where only NinjaOne knows it
	Document int    // NinjaOne's id; 0 when it does not exist yet
	Outcome  Outcome
	Changes  []string // fields that would be written, in order; the name is documentName
	Reason   string   // why NinjaOne does not take it, of OutcomeRefused
	Relate   int      // relations that would be added
	Unrelate int      // relations that would be removed
}

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

// Document composes a document of the preview as a sync would write it. Links
// to documents that do not exist yet are left out.
func (p *Preview) Document(kindName, id string) (compose.Document, error) {
	i := slices.IndexFunc(p.Items, func(it PreviewItem) bool {
		return it.Kind == kindName && it.ID == id && it.Outcome != OutcomeArchived
	})
	switch {
	case i < 0:
		return compose.Document{}, fmt.Errorf("the preview has no such document")
	case kindName == string(ledger.KindUser):
		return p.users.Document(id)
	}
	return p.licenses.Document(id)
}

// Preview says what Sync would do, and writes nothing, neither in NinjaOne nor
// in our own state. It reads what Sync would read, and the names of documents
// that would be archived.
func (s *Syncer) Preview(ctx context.Context, in Input) (*Preview, error) {
	r := newRun(s, in)
	p := &Preview{}
	plans := r.plans()
	if len(plans) == 0 {
		return p, nil
	}
	if err := r.load(ctx); err != nil {
		return p, err
	}
	list, err := r.plannedTemplates(ctx, plans, p)
	if err != nil || list == nil {
		return p, err
	}
	if err := r.prepare(ctx, r.usable(plans, list)); err != nil {
		return p, err
	}
	for _, sec := range r.sections() {
		if err := r.glance(ctx, sec, p); err != nil {
			return p, err
		}
	}
	if err := r.glanceAtRelations(ctx); err != nil {
		return p, err
	}
	if in.Force {
		r.doubtAll()
	}
	if err := r.previewLeavers(ctx, p); err != nil {
		return p, err
	}
	for _, sec := range r.sections() {
		if err := r.previewSection(ctx, sec, p); err != nil {
			return p, err
		}
	}
	r.previewRelations(p)
	p.users, p.licenses = r.people, r.skus
	rank := map[string]int{string(ledger.KindLicense): 1}
	slices.SortStableFunc(p.Items, func(a, b PreviewItem) int {
		if a.Kind != b.Kind {
			return rank[a.Kind] - rank[b.Kind]
		}
		return strings.Compare(strings.ToLower(a.Name)+a.ID, strings.ToLower(b.Name)+b.ID)
	})
	return p, nil
}

// plannedTemplates returns the templates as they would be once they are set
// up; nil when they could not be read.
func (r *run) plannedTemplates(ctx context.Context, plans []blueprint, p *Preview) ([]ninjaone.Template, error) {
	list, err := r.readTemplates(ctx, plans)
	if err != nil || list == nil {
		return nil, err
	}
	for _, b := range plans {
		switch c := choose(list, b); {
		case !c.found && r.doubted[b.kind]:
		case !c.found:
			p.Notes = append(p.Notes, fmt.Sprintf("The document template %q would be created.", b.name))
			list = append(list, ninjaone.Template{Name: b.name, AllowMultiple: true, Fields: b.fields})
		case !b.complete(c.template):
			merged, added := c.template.WithFields(b.fields)
			p.Notes = append(p.Notes, fmt.Sprintf("Fields would be added to the document template %q: %s.", b.name, strings.Join(added, ", ")))
			list = slices.DeleteFunc(list, func(t ninjaone.Template) bool { return t.ID == merged.ID })
			list = append(list, merged)
		}
	}
	return list, nil
}

// glance brings the records of a section in line with NinjaOne where a sync
// would, in memory alone.
func (r *run) glance(ctx context.Context, sec *section, p *Preview) error {
	if sec.template.ID == 0 || !r.unsure(sec) {
		return nil
	}
	found, err := r.look(ctx, sec)
	if err == nil {
		sec.listed = !sec.contradicted
		p.Surplus += len(sec.surplus(found))
	}
	return r.orBlock(ctx, sec, err)
}

func (r *run) glanceAtRelations(ctx context.Context) error {
	if r.users == nil || r.users.blocked {
		return nil
	}
	_, _, err := r.readRelations(ctx)
	return r.orLeave(ctx, err)
}

// previewLeavers adds the documents that would be archived.
func (r *run) previewLeavers(ctx context.Context, p *Preview) error {
	leavers, forget, leaving, total := r.leavers()
	for _, rec := range forget {
		delete(r.records, rec.Subject)
	}
	brake, err := r.brake(ctx)
	if err != nil {
		return err
	}
	p.Held = holds(brake, leaving, total)
	for _, sec := range r.sections() {
		names := map[int]string{}
		if len(leavers[sec]) > 0 {
			documents, err := r.in.Client.Documents(ctx, r.query(sec))
			if err != nil && !ninjaone.Tolerable(ctx, err) {
				return err
			}
			for _, d := range documents {
				names[d.ID] = d.Name
			}
		}
		for _, rec := range leavers[sec] {
			it := PreviewItem{Kind: string(sec.kind), ID: rec.ID, Name: names[rec.DocumentID], Document: rec.DocumentID, Outcome: OutcomeArchived, Unrelate: removable(rec.Relations)}
			if p.Held {
				it.Unrelate = 0
			}
			p.Items = append(p.Items, it)
			if !p.Held {
				rec.Archived = true
			}
		}
	}
	return nil
}

// removable counts the relations that are ours to remove.
func removable(relations ledger.Relations) int {
	n := 0
	for have := range relations.All() {
		if have.Owner == ledger.Ours {
			n++
		}
	}
	return n
}

// previewSection adds the documents that are to be there. Those that do not
// exist get an id below zero in memory, so that their relations are counted.
func (r *run) previewSection(ctx context.Context, sec *section, p *Preview) error {
	if sec.blocked {
		return nil
	}
	for _, id := range sec.ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		doc, err := sec.compose(id)
		if err != nil {
			r.counted("documents:compose", err.Error(),
				"A document could not be composed: %s", "%d documents could not be composed; the first: %s")
			continue
		}
		rec := r.record(sec.kind, id)
		it := PreviewItem{Kind: string(sec.kind), ID: id, Name: doc.Name, Document: rec.DocumentID}
		changes := r.update(sec, rec, doc)
		switch {
		case rec.Archived:
			r.restored(rec)
			it.Outcome, changes = OutcomeRestored, r.update(sec, rec, doc)
		case rec.DocumentID != 0 && len(changes.Fields) == 0 && changes.Name == "":
			it.Outcome = OutcomeUnchanged
		case r.held(rec, doc):
			it.Outcome, it.Reason = OutcomeRefused, rec.Reason
		case rec.DocumentID == 0:
			it.Outcome, rec.DocumentID = OutcomeCreated, -1-len(p.Items)
			changes.Name, changes.Fields = doc.Name, doc.Fields
		default:
			it.Outcome = OutcomeUpdated
		}
		if it.Outcome != OutcomeRefused {
			it.Changes = slices.Sorted(maps.Keys(changes.Fields))
			if changes.Name != "" {
				it.Changes = append(it.Changes, ledger.NameField)
			}
		}
		if sec.kind == ledger.KindUser && rec.Live() && rec.DocumentID > 0 {
			r.pages.Documents[id] = rec.DocumentID
		}
		p.Items = append(p.Items, it)
	}
	return nil
}

// previewRelations notes with each user's document how its relations change.
func (r *run) previewRelations(p *Preview) {
	if r.users == nil || r.users.blocked || r.users.unrelated {
		return
	}
	p.SurplusRelations = r.keeper.Surplus()
	shown := map[*ledger.Document]bool{}
	for _, it := range p.Items {
		shown[r.records[ledger.Subject{Kind: ledger.Kind(it.Kind), ID: it.ID}]] = true
	}
	relate, unrelate := map[*ledger.Document]int{}, map[*ledger.Document]int{}
	plan := r.planRelations()
	for _, e := range append(plan.Ended, plan.Archived...) {
		owner, _ := e.Owner()
		switch {
		case owner != ledger.Ours:
		case shown[e.Document]:
			unrelate[e.Document]++
		default: // archived before
			p.SurplusRelations++
		}
	}
	for _, records := range plan.Add {
		for _, rec := range records {
			relate[rec]++
		}
	}
	for i := range p.Items {
		it := &p.Items[i]
		if rec := r.records[ledger.Subject{Kind: ledger.Kind(it.Kind), ID: it.ID}]; rec != nil && it.Outcome != OutcomeArchived {
			it.Relate, it.Unrelate = relate[rec], unrelate[rec]
		}
	}
}
