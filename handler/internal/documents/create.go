package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// about returns whom or what a new document is about.
func (sec *section) about(d ninjaone.NewDocument) string {
	return fold(d.Fields[sec.idField].String())
}

// sendCreations creates one batch of documents.
func (r *run) sendCreations(ctx context.Context, sec *section, batch []ninjaone.NewDocument) error {
	records := make([]*ledger.Document, len(batch))
	for i, d := range batch {
		rec := r.record(sec.kind, sec.about(d))
		rec.Fields.Set(ledger.NameField, ledger.Unknown)
		for field := range d.Fields {
			rec.Fields.Set(field, ledger.Unknown)
		}
		records[i] = rec
	}
	if err := r.ledger.Save(ctx, records...); err != nil {
		return err
	}
	made := map[string]int{} // user or SKU id to document id
	unknown := map[string]bool{}
	refused, err := split(ctx, sec, batch, func(ctx context.Context, part []ninjaone.NewDocument) error {
		err := r.create(ctx, sec, part, made)
		for _, d := range part {
			unknown[sec.about(d)] = errors.Is(err, ninjaone.ErrOutcomeUnknown)
		}
		suspects := make([]*ledger.Document, len(part))
		for i, d := range part {
			suspects[i] = r.record(sec.kind, sec.about(d))
		}
		r.suspect(sec, suspects, err)
		return err
	})
	for i, d := range batch {
		rec := records[i]
		switch {
		case made[rec.ID] != 0:
			rec.Reset()
			rec.DocumentID = made[rec.ID]
			rec.Fields.Set(ledger.NameField, ledger.Digest(ninjaone.Text(d.Name)))
			for field, v := range d.Fields {
				rec.Fields.Set(field, ledger.Digest(v))
			}
			sec.byDocument = nil
			r.settled(sec, rec.ID)
			r.result.Created++
		case refused[i] != nil:
			rec.Fields = nil
			if err := r.refusedCreation(ctx, sec, rec, refused[i]); err != nil {
				return err
			}
		case unknown[rec.ID]:
			sec.stuck[rec.ID] = true // the marks stay, so the next run reads
		default:
			rec.Fields = nil // certainly nothing was written
		}
	}
	if saveErr := r.save(ctx, records...); saveErr != nil {
		return saveErr
	}
	if err != nil {
		return r.fails(ctx, sec, err)
	}
	return nil
}

// create creates documents, each once: after an answer that was lost it reads
// which of them exist before it sends the others again.
func (r *run) create(ctx context.Context, sec *section, batch []ninjaone.NewDocument, made map[string]int) error {
	missing := func() []ninjaone.NewDocument {
		return slices.DeleteFunc(slices.Clone(batch), func(d ninjaone.NewDocument) bool {
			return made[sec.about(d)] != 0
		})
	}
	for attempt := 1; ; attempt++ {
		todo := missing()
		if len(todo) == 0 {
			return nil
		}
		if attempt > 1 {
			if err := r.readAgain(ctx, sec); err != nil {
				return fmt.Errorf("%w: %w", ninjaone.ErrOutcomeUnknown, err)
			}
		}
		documents, err := r.in.Client.CreateDocuments(ctx, todo)
		if err == nil {
			r.identify(sec, documents, made)
			if len(missing()) == 0 {
				return nil
			}
			err = fmt.Errorf("%w: the answer does not say which documents it is about", ninjaone.ErrOutcomeUnknown)
		}
		if !errors.Is(err, ninjaone.ErrOutcomeUnknown) || ctx.Err() != nil {
			return err
		}
		r.log.WarnContext(ctx, "the answer to a creation of documents was lost", "documents", len(todo), "error", err)
		present, readErr := r.in.Client.Documents(ctx, r.query(sec))
		if readErr != nil {
			return fmt.Errorf("%w; and then %w: %w", err, ninjaone.ErrUnread, readErr)
		}
		r.identify(sec, present, made)
		switch {
		case len(missing()) == 0:
			return nil
		case errors.Is(err, ninjaone.ErrTimedOut) && len(todo) > 1:
			return errors.Join(err, r.readAgain(ctx, sec)) // and then it is sent in parts
		case ninjaone.Permanent(err):
			return fmt.Errorf("%w: %w", ninjaone.ErrBatchRefused, err)
		case attempt == 2:
			return err
		}
	}
}

// readAgain lets the next run read the documents of a section: NinjaOne may carry
// out late what was not there when it was looked for.
func (r *run) readAgain(ctx context.Context, sec *section) error {
	delete(r.progress.Listed, sec.kind)
	return r.ledger.SaveProgress(ctx, r.progress)
}

// identify notes the documents that were asked for, by the ids that they
// carry; the oldest of several.
func (r *run) identify(sec *section, documents []ninjaone.Document, made map[string]int) {
	for _, d := range documents {
		id := fold(d.Text(sec.idField))
		if id == "" || d.Archived || fold(d.Text(compose.FieldTenantID)) != r.tenantID {
			continue
		}
		if made[id] == 0 || d.ID < made[id] {
			made[id] = d.ID
		}
	}
}

// sortedEntities returns the hosts of relations in a fixed order.
func sortedEntities[V any](relations map[ninjaone.Entity]V) []ninjaone.Entity {
	return slices.SortedFunc(maps.Keys(relations), func(a, b ninjaone.Entity) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
}
