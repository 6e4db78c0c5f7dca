// Package relations keeps users' documents related to their devices and to their
// licences' documents. It reads what there is, finds whose each relation is and
// compares. It adds what is missing and removes what ended.
//
// It does not know what documents say. What somebody else made is not touched.
package relations

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
)

// Keeper keeps the relations of one tenant's documents, in one run. In one call NinjaOne
// relates any number of entities to one host. A device hosts the relations to its users,
// and a licence's document those to its holders. CIPP makes and looks for them there,
// and would create others should it take over again.
type Keeper struct {
	Client    *ninjaone.Client
	Ledger    *ledger.Ledger
	Tenant    ledger.TenantDocuments
	Instance  string
	Documents map[ledger.Subject]*ledger.Document
	Started   time.Time // when this run began
	Begun     time.Time // when the first of the runs began that go on from one another
	// Shown reports whether people see a licence's document.
	Shown    func(ctx context.Context, document int) bool
	Problems *problems.Collector

	Added, Removed int
	Learned        int  // refusals
	Stale          bool // NinjaOne refused a relation: a document is not there any more

	mu      sync.Mutex // guards the documents' relations and the above while relations are written
	makers  makers
	surplus []int               // ours, there twice
	extras  []ninjaone.Relation // ours, of surplus documents
	unsure  []found
}

// Device is a device as a host of relations.
func Device(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDevice, ID: id} }

// Document is a document as an entity.
func Document(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDocument, ID: id} }

// Relation is what a document notes of a relation.
type Relation struct {
	Document *ledger.Document
	ledger.Relation
}

// Plan is what is to become of relations.
type Plan struct {
	Add      map[ninjaone.Entity][]*ledger.Document // by host
	Ended    []Relation                             // of documents that people see
	Archived []Relation                             // of documents that nobody wants any more, on either side
}

// NewPlan compares what documents that people see are related to with what they should be
// related to. People do not see the hosts in hidden, the archived documents of licences.
func NewPlan(live []*ledger.Document, wanted func(*ledger.Document) map[ninjaone.Entity]bool, archived []*ledger.Document, hidden map[ninjaone.Entity]bool) Plan {
	p := Plan{Add: map[ninjaone.Entity][]*ledger.Document{}}
	for _, d := range live {
		hosts := wanted(d)
		for host := range hosts {
			if _, has := d.Relations.To(host); !has {
				p.Add[host] = append(p.Add[host], d)
			}
		}
		for _, have := range d.Relations {
			switch {
			case hosts[have.Host]:
			case hidden[have.Host]:
				p.Archived = append(p.Archived, Relation{d, have})
			default:
				p.Ended = append(p.Ended, Relation{d, have})
			}
		}
	}
	for _, d := range archived {
		for _, have := range d.Relations {
			p.Archived = append(p.Archived, Relation{d, have})
		}
	}
	return p
}

// OfExtras returns the relations of surplus documents that were read. They are ours, or
// nobody knows whose.
func (k *Keeper) OfExtras() (ours, unsure []ninjaone.Relation) {
	for _, u := range k.unsure {
		if u.document == nil {
			unsure = append(unsure, u.relation)
		}
	}
	return slices.Clip(k.extras), unsure
}

// Surplus is how many relations are there twice.
func (k *Keeper) Surplus() int { return len(k.surplus) }

func sortedHosts[V any](hosts map[ninjaone.Entity]V) []ninjaone.Entity {
	return slices.SortedFunc(maps.Keys(hosts), func(a, b ninjaone.Entity) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
}

// save notes documents even when the run has just been told to stop. What NinjaOne
// accepted must be remembered.
func (k *Keeper) save(ctx context.Context, documents map[*ledger.Document]bool) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	return k.Tenant.Save(ctx, slices.Collect(maps.Keys(documents))...)
}

// fails notes a relation that could not be written. The caller holds the lock.
func (k *Keeper) fails(ctx context.Context, err error) error {
	if !ninjaone.Tolerable(ctx, err) {
		return err
	}
	k.tell(err.Error())
	return nil
}

// tell tells of a relation that NinjaOne did not take, and why.
func (k *Keeper) tell(reason string) {
	k.Problems.Tally("documents:relations:write", reason,
		"A relation of documents could not be written in NinjaOne and is tried again with the next run: %s",
		"%d relations of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
}

// refused notes that NinjaOne refused relations to a host together. They go on in halves
// when this run has no time for that. The caller holds the lock.
func (k *Keeper) refused(host ninjaone.Entity, documents []*ledger.Document, err error) {
	k.Learned++
	for _, d := range documents {
		try := d.Try(k.Begun)
		try.LimitTo(host, len(documents))
		try.Unlinked = ledger.Reason(err)
	}
}

// refusedAlone reports whether an earlier one of these runs had the relation
// refused by itself, and tells of it.
func (k *Keeper) refusedAlone(d *ledger.Document, host ninjaone.Entity) bool {
	limit, limited := d.Attempt.LimitOf(host)
	if !limited || limit > 0 {
		return false
	}
	k.Stale = true // the host may not be there
	k.tell(d.Attempt.Unlinked)
	return true
}
