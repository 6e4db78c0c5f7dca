package documents

import (
	"context"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/ledger"
)

// owe notes, in a run that is to write everything again, that nobody knows what
// the documents hold. From then on it is a run like any other, and so are those
// that go on where it ends early.
func (r *run) owe(ctx context.Context) error {
	if !r.in.Force {
		return nil
	}
	if err := r.ledger.Save(ctx, r.doubtAll()...); err != nil {
		return err
	}
	read := map[ledger.Kind]bool{}
	for _, sec := range r.sections() {
		read[sec.kind] = sec.listed && !sec.unrelated
	}
	for k := range r.progress.Listed {
		if !read[k] {
			delete(r.progress.Listed, k) // what this run could not read, the next one does
		}
	}
	if err := r.ledger.SaveProgress(ctx, r.progress); err != nil {
		return err
	}
	return r.in.ForceNoted(ctx)
}

// doubtAll marks every value in every document as unknown, and forgets what
// NinjaOne refused. It returns all records. The documents' names were just read.
func (r *run) doubtAll() []*ledger.Document {
	for _, rec := range r.records {
		name := rec.Fields.Get(ledger.NameField)
		rec.MarkUnknown()
		if name != "" {
			rec.Fields.Set(ledger.NameField, name)
		}
		rec.ForgetRefusal()
	}
	return slices.Collect(maps.Values(r.records))
}
