// Package tenantsync runs one tenant's sync. It reads the tenant, matches its devices,
// composes the fields, and writes what NinjaOne does not hold yet. It decides what to
// send and what to remember. Packages m365, ninjaone, cipp and storage know how to call a
// service.
package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/tenant"
)

// apiName is the name under which the sync writes to CIPP's logbook.
const apiName = cipp.LogbookSync

// ContainerName is our blob container: leases and last composed values.
const ContainerName = "ninjaone-sync"

const (
	leaseDuration = 45 * time.Second // renewed while the run lasts; over before a message of a dead run comes again
	retryTaken    = 15 * time.Second // before a message that found the organization busy comes again
	recordTimeout = 30 * time.Second // for writing down how a run ended
)

// Reader reads a tenant from Microsoft 365.
type Reader interface {
	Read(ctx context.Context, ref tenant.Ref, known *tenant.Known) (*tenant.Snapshot, error)
}

// Exposures keeps what the last file of vulnerabilities said that NinjaOne took;
// vulnerabilities.Files is one.
type Exposures interface {
	// Exposure returns nil for a tenant without one.
	Exposure(ctx context.Context, tenantID string) (*exposure.Tenant, error)
}

// Syncer runs syncs. Its fields are set once and not changed afterwards.
type Syncer struct {
	CIPP   *cipp.Store
	Reader Reader
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	// SKUNames returns friendly names by SKU id.
	SKUNames func(context.Context) map[string]string
	// KeepNames has SKUNames return names that it lacks, from now on. It cannot fail.
	KeepNames func(context.Context, map[string]string)
	Documents *documents.Syncer
	Exposures Exposures
	Ledger    *ledger.Ledger
	Policies  *policies.Store
	Table     *storage.Table // NinjaOneSyncState
	Runs      *runs.Store
	Blobs     *storage.Container // leases, sections and matches
	Queue     *storage.Queue     // ninjaone-sync
	// Subscribe makes sure of a tenant's subscription after its first sync, and after
	// one that somebody asks for. It cannot fail.
	Subscribe func(ctx context.Context, tenantID string)
	// Within returns the context of one run, which ends with the time that it may take.
	Within func(context.Context) (context.Context, context.CancelFunc)
	Now    func() time.Time
	Log    *slog.Logger
}

// job is one run under way.
type job struct {
	*Syncer
	assignment
	message   Message
	stored    *inventory    // NinjaOne's side of a light run; nil where it is read
	strays    bool          // devices of that are not in the organization any more
	daily     *tenant.Daily // parts of Microsoft 365 that a light run need not read; nil for none
	since     time.Time     // what CIPP says of all tenants is read since then
	unknown   bool          // no run of the tenant was ever completed
	unread    error         // why a light run may have missed the change
	unwritten error         // why the target that failed last was not written
	client    *ninjaone.Client
	log       *slog.Logger

	run        runs.Run
	forced     bool // somebody asked for this run, or for the one that it goes on with
	documented int  // changes made to documents, their relations and templates
	learned    int  // what was found out of what NinjaOne refuses
	problems   problems.Collector
	notes      []string       // lines for the logbook that are no problems
	cuts       string         // see Plan.cuts
	cleared    map[string]int // on how many targets each former field was cleared
}

// Run syncs the tenant of one message. It records a run that fails, tells the logbook,
// and leaves the tenant to the schedule. It returns an error for what it could not even
// record. The host then delivers the message again.
func (s *Syncer) Run(ctx context.Context, m Message) error {
	a, err := s.assign(ctx, m.TenantID, false)
	j := &job{Syncer: s, assignment: a, message: m, log: s.Log.With("tenant", m.TenantID, "organization", a.mapping.OrganizationID)}
	if m.Force { // somebody waits for what CIPP says now
		j.since = s.Now()
	}
	if _, nowhere := errors.AsType[unassigned](err); m.Light && (nowhere || errors.As(err, new(unusable))) {
		j.log.InfoContext(ctx, "the tenant's data goes nowhere; the light run is dropped", "reason", err)
		return s.Runs.MissLight(ctx, m.TenantID, m.Devices, s.Now())
	}
	if why, ok := errors.AsType[unassigned](err); ok {
		return j.refuse(ctx, "Not synced: "+why.Error())
	}
	if why, ok := errors.AsType[unusable](err); ok {
		// Without a usable host there is no lease to take either.
		return j.finish(ctx, fmt.Errorf("the NinjaOne instance set in CIPP cannot be used: %w", why))
	}
	if err != nil {
		return err
	}
	lease, err := s.lease(ctx, j.organization)
	if errors.Is(err, storage.ErrLeaseTaken) {
		// The holder may be another tenant of the same organization; then this
		// one has not had its turn.
		if !m.Force && !m.Light && len(j.sharing) == 1 {
			last, err := s.Runs.Last(ctx, m.TenantID)
			if err != nil {
				return err
			}
			sections, err := s.keptSections(ctx, j.organization)
			if err != nil {
				return err
			}
			// A run that is to go on has not begun again, so the holder is a light run.
			goesOn := last.Status == runs.Running && last.Queued.After(last.Start)
			if !goesOn && !slices.ContainsFunc(sections, func(k kept) bool { return !j.known[k.tenantID] }) {
				j.log.InfoContext(ctx, "another run of the tenant is under way; this message is dropped")
				return s.Runs.Unqueue(ctx, m.TenantID)
			}
		}
		return s.Queue.Send(ctx, m, retryTaken)
	}
	if err != nil {
		return fmt.Errorf("lease NinjaOne organization %d: %w", j.organization.ID, err)
	}
	if err = j.leased(lease); err == nil && !m.Light && (j.unknown || m.Force) {
		s.Subscribe(ctx, m.TenantID)
	}
	return err
}

// lease takes an organization for this process alone.
func (s *Syncer) lease(ctx context.Context, o ledger.Organization) (*storage.Lease, error) {
	return s.Blobs.Lease(ctx, fmt.Sprintf("lease/%s/%d", o.Instance, o.ID), leaseDuration)
}

// leased is do with a lease, which ends with it, also where it panics: it would be
// renewed for as long as the process lives.
func (j *job) leased(lease *storage.Lease) error {
	defer lease.Release()
	return j.do(lease.Context())
}

// do runs the sync and records how it ended.
func (j *job) do(ctx context.Context) error {
	last, err := j.Runs.Last(ctx, j.ref.ID)
	if err != nil {
		return err
	}
	if j.message.Light {
		return j.light(ctx, last)
	}
	if needless, err := j.needless(ctx, last); err != nil {
		return err
	} else if needless {
		return j.Runs.Unqueue(ctx, j.ref.ID)
	}
	j.unknown = last.LastSuccess.IsZero()
	j.begin(last)
	if last.Status == runs.Running && !j.message.Force && !last.Begun.IsZero() {
		j.run.Begun = last.Begun
	}
	if last.Status == runs.Running && !last.Queued.After(last.Start) {
		j.notes = append(j.notes, fmt.Sprintf("The sync that began on %s was stopped before its end: the app was restarted or could not reach its storage. This one went on from there.",
			last.Start.UTC().Format("2006-01-02 at 15:04 UTC")))
	}
	j.forced = last.Status == runs.Running && last.Owed != ""
	if j.message.Force || j.mapping.EngineRanAfter(last.Start, j.run.Start) {
		j.run.Owed = runs.OwedAll
	}
	started := j.run
	started.MatchesDigest, started.SectionDigest, started.InventoryDigest = "", "", ""
	if err := j.Runs.Save(ctx, started); err != nil {
		return err
	}
	if err := j.CIPP.RecordRun(ctx, j.mapping, j.run.Start, time.Time{}, runs.Running); err != nil {
		return err
	}
	j.log.InfoContext(ctx, "sync started", "force", j.message.Force)
	return j.within(ctx, func(bounded context.Context, err error) error {
		if delay, ok := j.goesOn(bounded, err); ok {
			return j.goOn(context.WithoutCancel(ctx), delay)
		}
		if err != nil && ninjaone.OutOfTime(bounded, err) {
			err = overtime{err, bounded}
		}
		return j.finish(context.WithoutCancel(ctx), err)
	})
}

// within syncs in the time that a run may take, and lets end record how that ended.
func (j *job) within(ctx context.Context, end func(bounded context.Context, err error) error) error {
	bounded, cancel := j.Within(ctx)
	defer cancel()
	err := j.sync(bounded)
	if ctx.Err() != nil {
		// The lease is lost or the handler is stopping. Whoever holds the lease next
		// records its own run, so this one says no more.
		return fmt.Errorf("sync of tenant %s stopped: %w", j.ref.ID, context.Cause(ctx))
	}
	if err := end(bounded, err); err != nil {
		return unended{err}
	}
	return nil
}

// begin makes the record of a run, with what it takes over from the last one.
func (j *job) begin(last runs.Run) {
	j.cuts = last.Cuts
	start := j.Now().UTC()
	j.run = runs.Run{
		TenantID: j.ref.ID, OrganizationID: j.mapping.OrganizationID,
		Status: runs.Running, Start: start, Begun: start.Truncate(time.Millisecond), // what a row keeps of it
		LastSuccess: last.LastSuccess, Failures: last.Failures,
		Problems: last.Problems, MatchesDigest: last.MatchesDigest, SectionDigest: last.SectionDigest, InventoryDigest: last.InventoryDigest,
		Owed: last.Owed, Cuts: last.Cuts,
	}
}

// needless reports whether a message that nobody forced asks for nothing any more. The
// tenant is paused, or was synced after the message was sent. The schedule or the queue
// may send a message twice. A run that goes on is never needless.
func (j *job) needless(ctx context.Context, last runs.Run) (bool, error) {
	if j.message.Force || last.Status == runs.Running {
		return false, nil
	}
	if sent := j.message.Sent; !sent.IsZero() && last.Status == runs.Completed && !last.End.Before(sent.Add(time.Second)) {
		j.log.InfoContext(ctx, "the tenant was synced after this message was sent; it is dropped", "sent", sent, "synced", last.End)
		return true, nil
	}
	pauses, err := j.Runs.Pauses(ctx)
	if err == nil && pauses.Paused(j.ref.ID) {
		j.log.InfoContext(ctx, "the tenant was paused after this message was sent; it is dropped")
		return true, nil
	}
	return false, err
}

// goesOn reports whether a run that was cut short goes on, and after what delay. Its time
// is used up or NinjaOne asks for a pause, and it got somewhere. A run that got nowhere
// has failed, and the schedule starts the next.
func (j *job) goesOn(bounded context.Context, err error) (time.Duration, bool) {
	if err == nil || j.run.Devices+j.run.OrganizationFields+j.documented+j.learned == 0 {
		return 0, false
	}
	if throttled, ok := errors.AsType[*ninjaone.APIError](err); ok && errors.Is(err, ninjaone.ErrThrottled) {
		return max(throttled.RetryAfter, time.Minute), true
	}
	// After the delay this run has let go of the organization.
	return retryTaken, ninjaone.OutOfTime(bounded, err)
}

// sync is one run between its recorded start and end: it reads, plans and applies.
func (j *job) sync(ctx context.Context) error {
	var in *inputs
	var p *Plan
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"read", func(ctx context.Context) (err error) { in, err = j.read(ctx); return err }},
		{"compose", func(context.Context) error { p = in.plan(j.Now()); return nil }},
		{"write", func(ctx context.Context) error { return j.apply(ctx, in, p) }},
		{"documents", func(ctx context.Context) error { return j.document(ctx, in, p) }},
	} {
		if err := telemetry.Phase(ctx, step.name, step.do); err != nil {
			return err
		}
	}
	return nil
}

// withDocuments reports whether CIPP's settings ask for documents.
func (j *job) withDocuments() bool {
	return j.config.UserDocuments || j.config.LicenseDocuments
}

// document brings the tenant's documents up to date, where CIPP's settings ask
// for them.
func (j *job) document(ctx context.Context, in *inputs, p *Plan) error {
	if !j.withDocuments() {
		j.run.Owed = ""
		return nil
	}
	done, err := j.Documents.Sync(ctx, j.documentsInput(in, p))
	j.run.Documents = done.Created + done.Updated + done.Archived + done.Restored
	j.documented = done.Changes()
	j.learned += done.Learned
	j.notes = append(j.notes, done.Notes...)
	if err != nil {
		return fmt.Errorf("documents: %w", err)
	}
	return nil
}

// nothingOwed notes that a forced sync has marked all that it must write again. Any later
// run then writes it.
func (j *job) nothingOwed(ctx context.Context) error {
	j.run.Owed = ""
	return j.Runs.Save(ctx, j.run)
}

func (j *job) documentsInput(in *inputs, p *Plan) documents.Input {
	return documents.Input{
		Client: j.client, Instance: j.organization.Instance, OrganizationID: j.organization.ID, Sharing: j.sharing,
		Compose: p.compose, Users: j.config.UserDocuments, Licenses: j.config.LicenseDocuments,
		DeviceUnsure: in.roster.Unsure, Begun: j.run.Begun,
		Light: j.message.Light,
		Force: j.run.Owed != "", ForceNoted: j.nothingOwed, Problems: &j.problems,
	}
}
