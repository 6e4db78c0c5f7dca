// Package documents keeps a tenant's users and licences documented in NinjaOne
// Documentation: one document each, related to each other and to devices.
//
// It decides what is created, updated, archived, restored and related, in which
// order, and what is remembered of it, so that a run that was cut short or
// whose answers were lost is simply run again. What a document says belongs to
// package compose, how NinjaOne is called to package ninjaone. It runs under
// the lease of the NinjaOne organization, which the caller holds.
package documents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

const (
	// relistAfter is how long the documents and relations are taken to be what
	// we left; then they are read again, in case technicians changed them.
	relistAfter = 7 * 24 * time.Hour
	// refusedFor is how long what NinjaOne refused is not sent again unless it
	// changes: shorter than the day between two syncs.
	refusedFor = 20 * time.Hour
	// hopeless is after how many failed batches, with nothing accepted, a run
	// gives up: NinjaOne is not answering, not a single document.
	hopeless = 3
)

// Syncer syncs documents. Its fields are set once and not changed afterwards.
type Syncer struct {
	CIPP   *cipp.Store
	Ledger *ledger.Documents
	Blobs  *storage.Container // the lease under which templates are set up
	Now    func() time.Time
	Log    *slog.Logger
}

// Input is one tenant's run.
type Input struct {
	Client         *ninjaone.Client
	Instance       string // normalised NinjaOne host
	OrganizationID int
	Sharing        []string      // ids of all tenants mapped to the organization, this one included
	Compose        compose.Input // MaxChars is not used: a document is one tenant's alone
	// DeviceUnsure reports whether it is not known what became of a NinjaOne
	// device that did not match, so that its relations stay; nil for never.
	DeviceUnsure func(id int) bool

	Users    bool // document users
	Licenses bool // document licences
	Force    bool // read everything again, and rewrite every document
	// Begun is when the first of the runs began that go on from one another, of
	// which this is one; zero when it goes on from none.
	Begun time.Time
	// ForceNoted is called in a run with Force once it is noted of every document
	// that it is to be written again. Runs after that do so without Force.
	ForceNoted func(context.Context) error

	// Problem notes one more occurrence of a problem; many words them all.
	Problem func(key, first string, many func(n int, first string) string)
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

	doubted     map[ledger.Kind]bool // kinds of which it is not known whether their template is there
	templateIDs map[int]bool         // templates in NinjaOne's list

	users, licenses *section // nil when they are not synced in this run
	people          *compose.UserDocuments
	skus            *compose.LicenseDocuments
	pages           compose.DocumentPages // of the users' documents; filled once they exist

	records  map[ledger.Subject]*ledger.Document
	progress ledger.Progress
	maps     *userMaps
	keeper   *relations.Keeper

	usersSKUs map[string]bool // SKUs that users have; made when it is needed

	result Result
}

// Sync brings the tenant's documents and relations up to date. The caller
// holds the lease of the organization. An error means that the run cannot go
// on (no credentials, throttled, storage, or ctx ended); what was written
// until then is kept, and the next run goes on from there. Anything less is a
// problem, told through Input.Problem.
func (s *Syncer) Sync(ctx context.Context, in Input) (Result, error) {
	r := newRun(s, in)
	err := r.sync(ctx)
	if r.keeper != nil {
		r.result.Related, r.result.Unrelated = r.keeper.Added, r.keeper.Removed
		r.result.Learned += r.keeper.Learned
	}
	if err != nil {
		err = fmt.Errorf("sync documents: %w", err)
	}
	return r.result, err
}

func newRun(s *Syncer, in Input) *run {
	r := &run{Syncer: s, in: in, tenantID: strings.ToLower(in.Compose.Snapshot.Tenant.ID), started: s.Now()}
	r.ledger = r.tenantLedger(r.tenantID)
	r.log = s.Log.With("tenant", r.tenantID, "organization", in.OrganizationID)
	r.in.Compose.MaxChars = 0
	return r
}

func (r *run) sync(ctx context.Context) error {
	plans := r.plans()
	if len(plans) == 0 {
		return nil
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	templates, err := r.templates(ctx, plans)
	if err != nil || len(templates) == 0 {
		return err
	}
	if err := r.prepare(ctx, templates); err != nil {
		return err
	}
	return r.carryOut(ctx)
}

// carryOut brings NinjaOne in line with what is wanted.
func (r *run) carryOut(ctx context.Context) error {
	if len(r.sections()) == 0 {
		return nil
	}
	for _, sec := range r.sections() {
		if err := r.listIfNeeded(ctx, sec); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{
		r.learnRelations, r.archiveExtras, r.owe, r.archiveLeavers,
		r.writeUsers, r.writeLicenses,
		r.relate, r.saveUserMap, r.unrelateArchived,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sections returns the kinds of documents that this run works on.
func (r *run) sections() []*section {
	return slices.DeleteFunc([]*section{r.users, r.licenses}, func(s *section) bool { return s == nil })
}

// plans are the kinds of documents that this run is about. What could not be
// read is not known to have ended, either.
func (r *run) plans() []blueprint {
	var plans []blueprint
	if users := r.in.Compose.Snapshot.Users; r.in.Users && users.OK() && len(users.Value) > 0 { // no tenant has no users
		plans = append(plans, userBlueprint)
	}
	if r.in.Licenses && r.in.Compose.Snapshot.SKUs.OK() {
		plans = append(plans, licenseBlueprint)
	}
	return plans
}

// load reads what is remembered.
func (r *run) load(ctx context.Context) (err error) {
	r.records, r.progress, err = r.ledger.Load(ctx)
	r.keeper = r.newKeeper()
	return err
}

// tenantLedger is what is known of a tenant's documents in the organization.
func (r *run) tenantLedger(tenantID string) ledger.TenantDocuments {
	return r.Ledger.Of(ledger.Organization{Instance: r.in.Instance, ID: r.in.OrganizationID}, tenantID)
}

// prepare says what is to be documented, and composes nothing yet.
func (r *run) prepare(ctx context.Context, templates map[ledger.Kind]ninjaone.Template) error {
	var err error
	if t, ok := templates[ledger.KindUser]; ok {
		if r.people, err = compose.NewUserDocuments(r.in.Compose, r.mailboxAccess(ctx)); err != nil {
			return err
		}
		r.users = newSection(userBlueprint, t, r.people.IDs(), r.people.Has, r.people.Document)
		r.pages = compose.DocumentPages{OrganizationID: r.in.OrganizationID, TemplateID: t.ID, Documents: map[string]int{}}
	}
	if t, ok := templates[ledger.KindLicense]; ok {
		if r.people != nil {
			r.skus = r.people.LicenseDocuments(r.pages)
		} else if r.skus, err = compose.NewLicenseDocuments(r.in.Compose, r.pages); err != nil {
			return err
		}
		r.licenses = newSection(licenseBlueprint, t, r.skus.IDs(), r.skus.Has, r.skus.Document)
	}
	r.recall()
	for _, sec := range r.sections() {
		before := r.progress.Template[sec.kind]
		if before == 0 || before == sec.template.ID {
			continue
		}
		// Another one of the name proves as little as none.
		t, shown, err := r.unlistedTemplate(ctx, sec.blueprint, before)
		switch {
		case err != nil:
			return err
		case shown && !t.Archived, r.doubted[sec.kind]:
			sec.blocked = true
		default:
			r.startOver(sec)
		}
	}
	return nil
}

// startOver forgets the documents of a template that is not the one any more.
func (r *run) startOver(sec *section) {
	for k, rec := range r.records {
		if k.Kind == sec.kind {
			rec.Reset()
			sec.touched[rec] = true
		}
	}
	r.progress.Listed[sec.kind] = time.Time{}
}

// section is one kind of documents in a run.
type section struct {
	blueprint
	template ninjaone.Template
	ids      []string // that are to have a document, in order
	wanted   map[string]bool
	has      func(id string) bool // the tenant has it, with a document or without
	compose  func(id string) (compose.Document, error)

	listed       bool                      // the documents were read in this run
	contradicted bool                      // the list that was read lacks most of what is known to be there
	present      map[int]bool              // documents in the last list
	extras       map[int]bool              // surplus documents found in this run
	blocked      bool                      // nothing can be written in this run
	unrelated    bool                      // relations are left alone in this run
	byDocument   map[int]*ledger.Document  // made when it is needed
	touched      map[*ledger.Document]bool // to be saved with the next list

	done     map[string]bool            // settled in this run
	stuck    map[string]bool            // of unknown outcome; the next run reads
	tries    map[string]*ledger.Attempt // what was tried with those that NinjaOne refused something of
	unlisted map[string]bool            // neither restored nor listed: whether they take a change tells whether they are there
	freed    map[string]bool            // digests of names that were given up and may be had now
	again    bool                       // something can be tried once more
	tired    bool                       // so many were refused again that the others wait for the next run

	largest  int // largest batch that NinjaOne is known to take; 0: no limit found
	accepted int
	failures int
}

func newSection(b blueprint, t ninjaone.Template, ids []string, has func(string) bool, document func(string) (compose.Document, error)) *section {
	sec := &section{
		blueprint: b, template: t, ids: ids, has: has, compose: document,
		wanted: map[string]bool{}, present: map[int]bool{}, extras: map[int]bool{}, touched: map[*ledger.Document]bool{},
		done: map[string]bool{}, stuck: map[string]bool{}, tries: map[string]*ledger.Attempt{}, unlisted: map[string]bool{}, freed: map[string]bool{},
	}
	for _, id := range ids {
		sec.wanted[id] = true
	}
	return sec
}

// problem notes a problem that has one wording.
func (r *run) problem(key, format string, args ...any) {
	r.in.Problem(key, fmt.Sprintf(format, args...), func(_ int, first string) string { return first })
}

// counted notes a problem that many documents may share.
func (r *run) counted(key, first, one, many string) {
	r.in.Problem(key, first, func(n int, first string) string {
		if n == 1 {
			return fmt.Sprintf(one, words.End(first))
		}
		return fmt.Sprintf(many, n, words.End(first))
	})
}

// save writes records, also when the run has just been told to stop: what
// NinjaOne accepted is to be remembered.
func (r *run) save(ctx context.Context, records ...*ledger.Document) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	return r.ledger.Save(ctx, records...)
}

// saveProgress is save for how far the run has come.
func (r *run) saveProgress(ctx context.Context) error {
	ctx, done := storage.Noting(ctx)
	defer done()
	return r.ledger.SaveProgress(ctx, r.progress)
}

// record returns the record of a user or licence, a new one if need be.
func (r *run) record(kind ledger.Kind, id string) *ledger.Document {
	k := ledger.Subject{Kind: kind, ID: id}
	if r.records[k] == nil {
		r.records[k] = &ledger.Document{Subject: k}
	}
	return r.records[k]
}

// fails notes a batch that failed although nothing is wrong with its content.
// It returns an error when the run has to end.
func (r *run) fails(ctx context.Context, sec *section, err error) error {
	if !ninjaone.Tolerable(ctx, err) {
		return err
	}
	if errors.Is(err, ninjaone.ErrForbidden) || errors.Is(err, ninjaone.ErrBatchRefused) {
		sec.blocked = true
		r.problem("documents:refused:"+string(sec.kind), "NinjaOne takes none of the documents of the template %q: %s", sec.name, words.End(err.Error()))
		return nil
	}
	sec.failures++
	r.counted("documents:write:"+string(sec.kind), err.Error(),
		"A batch of documents could not be written in NinjaOne and is tried again with the next run: %s",
		"%d batches of documents could not be written in NinjaOne and are tried again with the next run; the first: %s")
	if sec.failures >= hopeless && sec.accepted == 0 {
		return fmt.Errorf("NinjaOne accepted none of the first %d batches of documents; the last answer was: %w", sec.failures, err)
	}
	return nil
}

// saveUserMap keeps CIPP's table NinjaOneUserMap right.
func (r *run) saveUserMap(ctx context.Context) error {
	if r.users == nil {
		return nil
	}
	var entries []cipp.UserMapEntry
	for _, id := range r.users.ids {
		if rec := r.records[ledger.Subject{Kind: ledger.KindUser, ID: id}]; rec.Live() {
			entries = append(entries, cipp.UserMapEntry{UserID: id, DocumentID: rec.DocumentID})
		}
	}
	return r.CIPP.SaveUserMap(ctx, r.in.Compose.Snapshot.Tenant.ID, entries)
}
