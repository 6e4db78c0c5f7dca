// Package documents keeps a tenant's users and licences documented in NinjaOne
// Documentation. Each has one document, related to others and to devices.
//
// A run reads what there is (read.go), plans what differs (plan.go, pure) and applies
// that (apply.go). After refusals and lost answers it plans again. A preview reads and
// plans alike, and shows the plan. Package compose knows what a document says, package
// ninjaone how NinjaOne is called, and package ledger what is remembered. The caller
// holds the lease of the NinjaOne organization.
package documents

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// Syncer syncs documents. Its fields are set once and not changed afterwards.
type Syncer struct {
	CIPP   *cipp.Store
	Ledger *ledger.Ledger
	Blobs  *storage.Container // the lease under which templates are set up; what is known of surplus documents
	Now    func() time.Time
	Log    *slog.Logger
}

// Input is one tenant's run.
type Input struct {
	Client         *ninjaone.Client
	Instance       string // normalised NinjaOne host
	OrganizationID int
	Sharing        []string // ids of all tenants mapped to the organization, this one included
	Compose        compose.Input
	// DeviceUnsure reports whether nobody knows what became of an unmatched NinjaOne device,
	// so that its relations stay.
	DeviceUnsure func(id int) bool

	Users    bool // document users
	Licenses bool // document licences
	Force    bool // read everything again, and rewrite every document
	// Light leaves it to the next run to look whether technicians changed something.
	Light bool
	// Begun is when the run began, or the first of the runs that it continues. Zero when it
	// continues none.
	Begun time.Time
	// A run with Force calls ForceNoted once every document is noted to be written again.
	// Runs after that do so without Force.
	ForceNoted func(context.Context) error

	Problems *problems.Collector
}

// Result is what a run did.
type Result struct {
	Created, Updated, Unchanged int // documents
	Archived, Restored          int // documents of those who left or came back
	Duplicates                  int // surplus documents of one user or licence, archived
	Refused                     int // documents that NinjaOne does not take
	Related, Unrelated          int // relations
	Templates                   int // created or completed
	Learned                     int // what was found out of what NinjaOne refuses
	Notes                       []string
}

// Changes is how many things the run changed in NinjaOne, of whatever kind.
func (r Result) Changes() int {
	return r.Created + r.Updated + r.Archived + r.Restored + r.Duplicates + r.Related + r.Unrelated + r.Templates
}

// run is one run under way.
type run struct {
	*Syncer
	in       Input
	tenantID string
	ledger   ledger.TenantDocuments
	started  time.Time
	log      *slog.Logger

	records     map[ledger.Subject]*ledger.Document
	changed     map[*ledger.Document]bool // they differ from their rows
	progress    ledger.Progress
	surplus     surplus // documents that were archived as such
	surplusKept string  // as it is in storage; "" for nothing
	brake       ledger.Brake
	maps        *userMaps

	doubted     map[ledger.Kind]bool // kinds of which it is not known whether their template is there
	templateIDs map[int]bool         // templates in NinjaOne's list

	sections        []*section
	users, licenses *section // nil when they are not synced in this run
	people          *compose.UserDocuments
	skus            *compose.LicenseDocuments
	access          tenant.Part[compose.MailboxAccess]
	pages           compose.DocumentPages // of the users' documents; filled once they exist
	keeper          *relations.Keeper
	unrelated       bool            // relations are left alone in this run
	related         bool            // all relations were read in this run
	usersSKUs       map[string]bool // SKUs that users have; made when it is needed
	mayHold         bool            // the licences of some users are not known; noted with usersSKUs

	result Result
}

// subjects are the users or licences of a tenant.
type subjects interface {
	IDs() []string      // of those that are to have a document, in order
	Has(id string) bool // with a document or without
	Document(id string) (compose.Document, error)
}

// section is one kind of documents in a run.
type section struct {
	blueprint
	subjects
	template ninjaone.Template
	ids      []string
	wanted   map[string]bool

	listed       bool               // the documents were read in this run
	contradicted bool               // the list that was read lacks most of what is known to be there
	found        map[string]claimed // in that list
	present      map[int]bool       // documents in the last list
	extras       map[int]bool       // surplus documents found in this run
	blocked      bool               // nothing can be written in this run

	done     map[string]bool // nothing more is to be done in this run
	unlisted map[string]bool // neither restored nor listed: whether they take a change tells whether they are there
	freed    map[string]bool // digests of names that were given up and may be had now
	again    bool            // something can be tried once more
	tired    bool            // so many were refused again that the others wait for the next run

	largest  int // largest batch that NinjaOne is known to take; 0: no limit found
	accepted int
	failures int
}

// Sync brings the tenant's documents and relations up to date. The caller holds the
// lease of the organization. An error means that the run cannot go on: no credentials,
// throttled, storage, or ctx ended. What was written until then is kept, and the next
// run continues from there. Anything less is a problem, told in Input.Problems.
func (s *Syncer) Sync(ctx context.Context, in Input) (Result, error) {
	r := newRun(s, in)
	err := r.read(ctx, r.setUp)
	if err == nil && len(r.sections) > 0 {
		err = r.apply(ctx)
		r.result.Related, r.result.Unrelated = r.keeper.Added, r.keeper.Removed
		r.result.Learned += r.keeper.Learned
	}
	if err != nil {
		err = fmt.Errorf("sync documents: %w", err)
	}
	return r.result, err
}

func newRun(s *Syncer, in Input) *run {
	r := &run{Syncer: s, in: in, tenantID: guid.Fold(in.Compose.Snapshot.Tenant.ID), started: s.Now(), changed: map[*ledger.Document]bool{}}
	r.ledger = r.ledgerOf(r.tenantID)
	r.log = s.Log.With("tenant", r.tenantID, "organization", in.OrganizationID)
	return r
}

// ledgerOf is what is known of a tenant's documents in the organization.
func (r *run) ledgerOf(tenantID string) ledger.TenantDocuments {
	return r.Ledger.Documents(ledger.Organization{Instance: r.in.Instance, ID: r.in.OrganizationID}, tenantID)
}

// touch marks records that differ from their rows by now.
func (r *run) touch(records ...*ledger.Document) {
	for _, rec := range records {
		r.changed[rec] = true
	}
}

// save writes the records that changed, even when the run was just told to stop. What
// NinjaOne accepted must be remembered.
func (r *run) save(ctx context.Context) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	err := r.ledger.Save(ctx, slices.Collect(maps.Keys(r.changed))...)
	clear(r.changed)
	return err
}

// saveProgress is save for how far the run has come.
func (r *run) saveProgress(ctx context.Context) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	return r.ledger.SaveProgress(ctx, r.progress)
}

// record returns the record of a user or licence, a new one if need be.
func (r *run) record(kind ledger.Kind, id string) *ledger.Document {
	s := ledger.Subject{Kind: kind, ID: id}
	if r.records[s] == nil {
		r.records[s] = &ledger.Document{Subject: s}
	}
	return r.records[s]
}
