package documents

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// newKeeper returns what keeps the relations of the tenant's documents.
func (r *run) newKeeper() *relations.Keeper {
	return &relations.Keeper{
		Client: r.in.Client, Ledger: r.Ledger, Tenant: r.ledger, Instance: r.in.Instance,
		Documents: r.records, Started: r.started, Begun: r.in.Begun,
		Shown: func(ctx context.Context, id int) bool {
			if r.licenses == nil {
				return true
			}
			documents, err := r.in.Client.Documents(ctx, r.query(r.licenses))
			return err != nil || slices.ContainsFunc(documents, func(d ninjaone.Document) bool { return d.ID == id && !d.Archived })
		},
		Failed: func(reason string) {
			r.counted("documents:relations:write", reason,
				"A relation of documents could not be written in NinjaOne and is tried again with the next run: %s",
				"%d relations of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
		},
	}
}

// relatable reports whether this run knows the relations of users' documents.
func (r *run) relatable() bool { return r.users != nil && !r.users.blocked && !r.users.unrelated }

// readRelations reads the relations, as far as they may not be known.
func (r *run) readRelations(ctx context.Context) (changed map[*ledger.Document]bool, all bool, err error) {
	known := relations.Known{First: r.progress.Related.IsZero(), Extras: map[int]bool{}, Mapped: map[int]bool{}}
	for _, sec := range r.sections() {
		maps.Copy(known.Extras, sec.extras)
	}
	if known.First || len(r.users.extras) > 0 {
		entries, err := r.CIPP.DeviceMap(ctx, r.in.Compose.Snapshot.Tenant.ID)
		if err != nil {
			return nil, false, err
		}
		for _, entry := range entries {
			known.Mapped[entry.NinjaOneID] = true
		}
	}
	return r.keeper.Read(ctx, known, r.users.listed || r.Now().Sub(r.progress.Related) >= relistAfter)
}

// learnRelations reads the relations when what is remembered of them may not
// be all there is.
func (r *run) learnRelations(ctx context.Context) error {
	if r.users == nil || r.users.blocked {
		return nil
	}
	changed, all, err := r.readRelations(ctx)
	if err != nil {
		return r.orLeave(ctx, err)
	}
	if err := r.save(ctx, slices.Collect(maps.Keys(changed))...); err != nil || !all {
		return err
	}
	r.progress.Related = r.Now().UTC()
	return r.saveProgress(ctx)
}

// orLeave leaves relations alone in this run when they could not be read.
func (r *run) orLeave(ctx context.Context, err error) error {
	if err != nil && ninjaone.Tolerable(ctx, err) {
		r.users.unrelated = true
		r.problem("documents:relations:list", "The relations of documents could not be read, so none were written: %s", words.End(err.Error()))
		return nil
	}
	return err
}

// hosts returns what a user's document is to be related to: the devices and
// the licences' documents that host the relations. What this run cannot judge,
// because devices or licences were not read, stays as it is.
func (r *run) hosts(rec *ledger.Document) map[ninjaone.Entity]bool {
	want := map[ninjaone.Entity]bool{}
	devices := r.in.Compose.Snapshot.ManagedDevices.OK()
	licenses := r.licenses != nil && !r.licenses.blocked
	_, loggedOnUnknown := r.in.Compose.Snapshot.Unknown[tenant.DetailLoggedOn]
	for have := range rec.Relations.All() {
		device := have.Host.Type == ninjaone.EntityDevice
		unsure := !devices || loggedOnUnknown || r.in.DeviceUnsure != nil && r.in.DeviceUnsure(have.Host.ID)
		if device && unsure || !device && !licenses {
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

// planRelations compares the relations with what is wanted.
func (r *run) planRelations() relations.Plan {
	var live iter.Seq[*ledger.Document] = func(yield func(*ledger.Document) bool) {
		for _, id := range r.users.ids {
			if rec := r.records[ledger.Subject{Kind: ledger.KindUser, ID: id}]; rec.Live() && !yield(rec) {
				return
			}
		}
	}
	return relations.NewPlan(live, r.hosts, func(yield func(*ledger.Document) bool) {
		for s, rec := range r.records {
			if s.Kind == ledger.KindUser && rec.Archived && !r.users.wanted[s.ID] && !yield(rec) {
				return
			}
		}
	})
}

// relate brings relations in line with what is wanted, but for those of archived
// documents.
func (r *run) relate(ctx context.Context) error {
	if !r.relatable() {
		return nil
	}
	if err := r.keeper.Change(ctx, r.planRelations()); err != nil || !r.keeper.Stale {
		return err
	}
	clear(r.progress.Listed) // a document is not there any more, so the next run reads them
	return r.ledger.SaveProgress(ctx, r.progress)
}

// unrelateArchived removes the relations of archived documents. People see
// neither, so what there is no time for waits for later runs, and is no reason
// to go on.
func (r *run) unrelateArchived(ctx context.Context) error {
	if !r.relatable() {
		return nil
	}
	err := r.keeper.Remove(ctx, r.planRelations().Archived)
	if err == nil || !ninjaone.OutOfTime(ctx, err) && !errors.Is(err, ninjaone.ErrThrottled) {
		return err
	}
	r.result.Notes = append(r.result.Notes, fmt.Sprintf("%d relations of archived documents are still there, because NinjaOne or the time for one run allowed no more calls. The next syncs remove them.", len(r.planRelations().Archived)))
	return nil
}
