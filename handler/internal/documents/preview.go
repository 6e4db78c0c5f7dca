package documents

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// Preview is what a sync would do to a tenant's documents at one moment.
type Preview struct {
	// Notes say what would be done to the templates.
	Notes []string
	// Items are the documents, users first, each kind by name.
	Items []PreviewItem
	// Surplus is how many documents about the same user or licence a run would archive.
	// It keeps the oldest.
	Surplus int
	// SurplusRelations is how many relations this run would remove from documents that are
	// archived already, or are there twice.
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

// Preview says what Sync would do. It writes nothing, neither in NinjaOne nor in our own
// state. It reads and plans as Sync does, and takes each plan as carried out in memory.
// It also reads the names of documents that would be archived.
func (s *Syncer) Preview(ctx context.Context, in Input) (*Preview, error) {
	r := newRun(s, in)
	p := &Preview{}
	if err := r.read(ctx, p.addTemplates(r)); err != nil || len(r.sections) == 0 {
		return p, err
	}
	p.users, p.licenses = r.people, r.skus
	end := r.planEnd()
	p.Held = end.braked(r.brake)
	records := map[*ledger.Document]int{} // their items
	for _, sec := range r.sections {
		p.Surplus += len(sec.extras)
		if err := p.addEnded(ctx, r, sec, end.archive[sec], records); err != nil {
			return p, err
		}
	}
	for _, sec := range r.sections {
		r.linkUsers()
		if err := p.addChanges(ctx, r, sec, records); err != nil {
			return p, err
		}
	}
	plan := r.planRelations()
	archived, ids, _ := r.planUnrelate()
	plan.Archived = archived
	p.addRelations(plan, records)
	p.SurplusRelations += r.keeper.Surplus() + len(ids)
	slices.SortStableFunc(p.Items, func(a, b PreviewItem) int {
		return cmp.Or(strings.Compare(b.Kind, a.Kind), words.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return p, nil
}

// addTemplates adds what would be done to the templates, and returns them as they
// would be then.
func (p *Preview) addTemplates(r *run) func(context.Context, []blueprint, []ninjaone.Template) ([]ninjaone.Template, error) {
	return func(_ context.Context, kinds []blueprint, list []ninjaone.Template) ([]ninjaone.Template, error) {
		for _, c := range r.planTemplates(kinds, list) {
			if c.added == nil {
				p.Notes = append(p.Notes, fmt.Sprintf("The document template %q would be created.", c.name))
				list = append(list, c.template)
			} else {
				p.Notes = append(p.Notes, fmt.Sprintf("Fields would be added to the document template %q: %s.", c.name, strings.Join(c.added, ", ")))
				list = with(list, c.template)
			}
		}
		return list, nil
	}
}

// add adds what would become of a document.
func (p *Preview) add(rec *ledger.Document, it PreviewItem, records map[*ledger.Document]int) {
	it.Kind, it.ID, it.Document = string(rec.Kind), rec.ID, rec.DocumentID
	records[rec] = len(p.Items)
	p.Items = append(p.Items, it)
}

// addEnded adds the documents of a section that would be archived.
func (p *Preview) addEnded(ctx context.Context, r *run, sec *section, ended []*ledger.Document, records map[*ledger.Document]int) error {
	if len(ended) == 0 {
		return nil
	}
	documents, err := r.in.Client.Documents(ctx, r.query(sec))
	if err != nil && !ninjaone.Tolerable(ctx, err) {
		return err
	}
	names := map[int]string{}
	for _, d := range documents {
		names[d.ID] = d.Name
	}
	for _, rec := range ended {
		p.add(rec, PreviewItem{Name: names[rec.DocumentID], Outcome: OutcomeArchived}, records)
		rec.Archived = !p.Held
	}
	return nil
}

// addChanges adds the documents of a section that should exist. New ones get an id below
// zero, so that their relations count.
func (p *Preview) addChanges(ctx context.Context, r *run, sec *section, records map[*ledger.Document]int) error {
	if sec.blocked {
		return nil
	}
	for c, err := range r.changes(sec, func(*ledger.Document) bool { return true }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.notComposed(err)
			continue
		}
		it := PreviewItem{Name: c.title, Outcome: c.outcome}
		if c.outcome == OutcomeRefused {
			it.Reason = c.Reason
		} else if it.Changes = slices.Sorted(maps.Keys(c.fields)); c.name != "" {
			it.Changes = append(it.Changes, ledger.NameField)
		}
		p.add(c.Document, it, records)
		switch c.outcome {
		case OutcomeRestored:
			c.Archived = false
		case OutcomeCreated:
			c.DocumentID = -len(p.Items)
		}
	}
	return nil
}

// addRelations adds to each user's document how its relations would change.
func (p *Preview) addRelations(plan relations.Plan, records map[*ledger.Document]int) {
	for _, e := range append(plan.Ended, plan.Archived...) {
		i, shown := records[e.Document]
		switch {
		case e.Owner != ledger.Ours:
		case shown:
			p.Items[i].Unrelate++
		default: // archived before
			p.SurplusRelations++
		}
	}
	for _, added := range plan.Add {
		for _, rec := range added {
			if i, shown := records[rec]; shown {
				p.Items[i].Relate++
			}
		}
	}
}
