package documents

import (
	"context"
	"maps"
	"slices"
)

// owe notes, in a run that is to write everything again, that nobody knows what
// the documents hold. From then on it is a run like any other, and so are those
// that go on where it ends early.
func (r *run) owe(ctx context.Context) error {
	if !r.in.Force {
		return nil
	}
	if err := r.State.save(ctx, r.part, r.doubtAll()...); err != nil {
		return err
	}
	read := map[kind]bool{}
	for _, sec := range r.sections() {
		read[sec.kind] = sec.listed && !sec.unrelated
	}
	for k := range r.progress.listed {
		if !read[k] {
			delete(r.progress.listed, k) // what this run could not read, the next one does
		}
	}
	if err := r.State.saveProgress(ctx, r.part, r.progress); err != nil {
		return err
	}
	return r.in.ForceNoted(ctx)
}

// doubtAll marks every value in every document as unknown, and forgets what
// NinjaOne refused. It returns all records. The documents' names were just read.
func (r *run) doubtAll() []*record {
	for _, rec := range r.records {
		name := rec.fields.get(nameField)
		rec.doubt()
		if name != "" {
			rec.fields.set(nameField, name)
		}
		rec.settle()
	}
	return slices.Collect(maps.Values(r.records))
}
