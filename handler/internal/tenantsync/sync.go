// Package tenantsync runs one tenant's sync: it reads the tenant, matches its
// devices, composes the fields, and writes to NinjaOne what NinjaOne does not
// hold yet. It decides what is sent and what is remembered; how a service is
// called belongs to packages m365, ninjaone, cipp and storage.
package tenantsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/tenant"
)

// apiName is the name under which the sync writes to CIPP's logbook.
const apiName = "NinjaOneSync"

// ContainerName is our blob container: leases and last composed values.
const ContainerName = "ninjaone-sync"

const (
	leaseDuration = 45 * time.Second // renewed while the run lasts; over before a message of a dead run comes again
	retryTaken    = 15 * time.Second // before a message that found the organization busy comes again
	recordTimeout = 30 * time.Second // for writing down how a run ended
)

// Reader reads a tenant from Microsoft 365.
type Reader interface {
	Read(ctx context.Context, ref tenant.Ref) (*tenant.Snapshot, error)
}

// Syncer runs syncs. Its fields are set once and not changed afterwards.
type Syncer struct {
	CIPP   *cipp.Store
	Reader Reader
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	// SKUNames returns friendly names by SKU id; nil when there are none.
	SKUNames func(context.Context) map[string]string
	// Documents documents users and licences; nil leaves them out.
	Documents *documents.Syncer
	Ledger    *ledger.Ledger
	Table     *storage.Table // NinjaOneSyncState
	Runs      *runs.Store
	Blobs     *storage.Container // leases, sections and matches
	Queue     *storage.Queue     // ninjaone-sync
	Budget    time.Duration      // how long one run may take
	Now       func() time.Time
	Log       *slog.Logger

	// within ends a run's context in tests; nil ends it after Budget.
	within func(context.Context) (context.Context, context.CancelFunc)
}

// organization is the NinjaOne organization that the tenant is mapped to.
func (j *job) organization() ledger.Organization {
	return ledger.Organization{Instance: j.instance, ID: j.mapping.OrganizationID}
}

// job is one run under way.
type job struct {
	*Syncer
	message  Message
	ref      tenant.Ref
	config   cipp.ExtensionConfig
	instance string // normalised NinjaOne host
	mapping  cipp.OrganizationMapping
	sharing  []string // ids of all tenants that the organization shows, this one included
	client   *ninjaone.Client
	log      *slog.Logger

	run        runs.Run
	documented int // changes made to documents, their relations and templates
	learned    int // what was found out of what NinjaOne refuses
	problems   problems.Collector
	notes      []string // lines for the logbook that are no problems
	cuts       string   // how the tenant's section is cut down; see Run.Cuts

	mapped     map[string]string          // CIPP's field mapping, unusable fields included
	readAt     time.Time                  // when the reading of Microsoft 365 began
	roster     *devicematch.Roster        // what is known of the organization's devices
	former     map[ledger.Target][]string // fields that are not mapped any more and hold what we wrote, to be cleared
	cleared    map[string]int             // how many targets each of them was cleared on
	compliance string                     // NinjaOne field of DeviceCompliance; "" when it is not written
}

// fatal is an error that ends a run as Failed; its text says why and what to do.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func failed(format string, args ...any) error { return fatal{fmt.Errorf(format, args...)} }

// Run syncs the tenant of one message. A run that fails is recorded, told in
// the logbook, and left to the schedule; the returned error is for what could
// not even be recorded, so that the host delivers the message again.
func (s *Syncer) Run(ctx context.Context, m Message) error {
	j, err := s.prepare(ctx, m)
	if err != nil || j == nil {
		return err
	}
	lease, err := s.lease(ctx, j.organization())
	if errors.Is(err, storage.ErrLeaseTaken) {
		// The holder may be another tenant of the same organization; then this
		// one has not had its turn.
		if !m.Force && len(j.sharing) == 1 {
			j.log.InfoContext(ctx, "another run of the tenant is under way; this message is dropped")
			return s.Runs.Unqueue(ctx, m.TenantID)
		}
		return s.Queue.Send(ctx, m, retryTaken)
	}
	if err != nil {
		return fmt.Errorf("lease NinjaOne organization %d: %w", j.mapping.OrganizationID, err)
	}
	defer lease.Release()
	return j.do(lease.Context())
}

// lease takes an organization for this process alone.
func (s *Syncer) lease(ctx context.Context, o ledger.Organization) (*storage.Lease, error) {
	return s.Blobs.Lease(ctx, fmt.Sprintf("lease/%s/%d", o.Instance, o.ID), leaseDuration)
}

// prepare decides whether there is anything to run. It returns nil, after a
// logbook line, when there is not.
func (s *Syncer) prepare(ctx context.Context, m Message) (*job, error) {
	config, err := s.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.CIPP.Tenant(ctx, m.TenantID)
	if errors.Is(err, cipp.ErrNoTenant) {
		return nil, s.refuse(ctx, tenant.Ref{ID: m.TenantID}, "Not synced: CIPP knows no tenant with this id. Refresh CIPP's tenant list, or remove its mapping to NinjaOne.")
	}
	if err != nil {
		return nil, err
	}
	switch {
	case t.Excluded:
		return nil, s.refuse(ctx, t.Ref, "Not synced: the tenant is excluded in CIPP. What NinjaOne shows of it stays as it is.")
	case !config.Enabled:
		return nil, s.refuse(ctx, t.Ref, "Not synced: the NinjaOne integration is turned off in CIPP.")
	}
	mappings, err := s.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return nil, err
	}
	j := &job{Syncer: s, message: m, ref: t.Ref, config: config}
	for _, candidate := range mappings {
		if candidate.TenantID == m.TenantID {
			j.mapping = candidate
		}
	}
	if j.mapping.Problem != "" {
		return nil, s.refuse(ctx, t.Ref, "Not synced: "+sentence(j.mapping.Problem))
	}
	if j.mapping.OrganizationID == 0 {
		return nil, s.refuse(ctx, t.Ref, "Not synced: the tenant is not mapped to a NinjaOne organization. Map it in CIPP under Integrations, NinjaOne, Tenant Mapping.")
	}
	j.log = s.Log.With("tenant", m.TenantID, "organization", j.mapping.OrganizationID)
	j.instance, err = ninjaone.NormalizeInstance(config.Instance)
	if err != nil {
		// Without a usable host there is no lease to take either.
		return nil, j.finish(ctx, failed("the NinjaOne instance set in CIPP cannot be used: %w", err))
	}
	return j, j.share(ctx, mappings)
}

// refuse writes the logbook line of a tenant that is not synced.
func (s *Syncer) refuse(ctx context.Context, ref tenant.Ref, message string) error {
	return errors.Join(s.Runs.Unqueue(ctx, ref.ID),
		s.CIPP.Log(ctx, cipp.LogEntry{Tenant: ref.DefaultDomain, TenantID: ref.ID, API: apiName, Severity: cipp.SeverityWarn, Message: message}))
}

// do runs the sync and records how it ended.
func (j *job) do(ctx context.Context) error {
	last, err := j.Runs.Last(ctx, j.ref.ID)
	if err != nil {
		return err
	}
	if needless, err := j.needless(ctx, last); err != nil {
		return err
	} else if needless {
		return j.Runs.Unqueue(ctx, j.ref.ID)
	}
	j.run = runs.Run{
		TenantID: j.ref.ID, OrganizationID: j.mapping.OrganizationID,
		Status: runs.Running, Start: j.Now().UTC(),
		LastSuccess: last.LastSuccess, Failures: last.Failures,
		Problems: last.Problems, MatchesDigest: last.MatchesDigest, SectionDigest: last.SectionDigest,
		Owed: last.Owed, Cuts: last.Cuts,
	}
	j.run.Begun = j.run.Start.Truncate(time.Millisecond) // what a row keeps of it
	if last.Status == runs.Running && !j.message.Force && !last.Begun.IsZero() {
		j.run.Begun = last.Begun
	}
	j.cuts = last.Cuts
	if last.Status == runs.Running && !last.Queued.After(last.Start) {
		j.notes = append(j.notes, fmt.Sprintf("The sync that began on %s was stopped before its end, because the app was restarted or could not reach its storage. This one went on from there.",
			last.Start.UTC().Format("2006-01-02 at 15:04 UTC")))
	}
	if j.message.Force {
		j.run.Owed = runs.OwedAll
	}
	started := j.run
	started.MatchesDigest, started.SectionDigest = "", ""
	if err := j.Runs.Save(ctx, started); err != nil {
		return err
	}
	if err := j.CIPP.RecordRun(ctx, j.mapping, j.run.Start, time.Time{}, runs.Running); err != nil {
		return err
	}
	j.log.InfoContext(ctx, "sync started", "force", j.message.Force)
	bounded, cancel := j.bound(ctx)
	defer cancel()
	err = j.sync(bounded)
	if ctx.Err() != nil {
		// The lease is lost or the handler is stopping: whoever holds the lease
		// next records its own run, so this one says no more.
		return fmt.Errorf("sync of tenant %s stopped: %w", j.ref.ID, context.Cause(ctx))
	}
	if delay, ok := j.goesOn(bounded, err); ok {
		err = j.goOn(context.WithoutCancel(ctx), delay)
	} else {
		if err != nil && ninjaone.OutOfTime(bounded, err) {
			err = overtime{err}
		}
		err = j.finish(context.WithoutCancel(ctx), err)
	}
	if err != nil {
		return unended{err}
	}
	return nil
}

// bound returns the context of a run's work, which ends with its time.
func (s *Syncer) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.within != nil {
		return s.within(ctx)
	}
	return context.WithTimeout(ctx, s.Budget)
}

// needless reports whether a message that nobody forced asks for nothing any
// more: the tenant was synced after it was sent, since the schedule or the queue
// may send a message twice, or was paused. A run that goes on is never left
// where it is.
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

// goesOn reports whether a run that was cut short goes on, and after what
// delay: its time is used up or NinjaOne asks for a pause, and it got
// somewhere. A run that got nowhere has failed, and is left to the schedule.
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

// goOn puts the tenant back on the queue. What NinjaOne accepted is noted, so
// the next run sends the rest; what a forced run still owes is in its record.
func (j *job) goOn(ctx context.Context, delay time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := j.Queue.Send(ctx, Message{TenantID: j.ref.ID}, delay); err != nil {
		return err
	}
	r := &j.run
	r.Queued, r.Cuts = j.Now().UTC(), j.cuts
	minutes := int(r.Queued.Sub(r.Start).Minutes())
	documents := ""
	if j.documented > 0 {
		documents = fmt.Sprintf(", and made %d changes to documents and their relations", j.documented)
	}
	telemetry.Synced(ctx, j.measured("Continues", r.Queued))
	j.log.InfoContext(ctx, "sync goes on later", "devices", r.Devices, "organizationFields", r.OrganizationFields, "delay", delay.String())
	lines := append(j.notes, fmt.Sprintf("Not finished after %d minutes: wrote %d organization fields and %d devices so far%s. The rest follows by itself.",
		minutes, r.OrganizationFields, r.Devices, documents))
	errs := []error{j.Runs.Save(ctx, *r)}
	for _, l := range lines {
		errs = append(errs, j.CIPP.Log(ctx, cipp.LogEntry{Tenant: j.ref.DefaultDomain, TenantID: j.ref.ID, API: apiName, Severity: cipp.SeverityInfo, Message: l}))
	}
	return errors.Join(errs...)
}

// finish records the end of a run: our state, CIPP's mapping row, and the
// logbook lines that are owed.
func (j *job) finish(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	r := &j.run
	if r.TenantID == "" { // failed before it began
		last, err := j.Runs.Last(ctx, j.ref.ID)
		if err != nil {
			return err
		}
		*r = runs.Run{TenantID: j.ref.ID, OrganizationID: j.mapping.OrganizationID, Start: j.Now().UTC(),
			LastSuccess: last.LastSuccess, Failures: last.Failures, Problems: last.Problems, MatchesDigest: last.MatchesDigest, SectionDigest: last.SectionDigest, Owed: last.Owed, Cuts: last.Cuts}
	}
	r.End = j.Now().UTC()
	seconds := int(r.End.Sub(r.Start).Round(time.Second).Seconds())
	before := r.Problems
	lines := []cipp.LogEntry{}
	if cause != nil {
		r.Status, r.Reason = runs.Failed, j.reason(cause)
		r.Failures++
		// What was wrong before is still unknown now: those problems stay.
		stale := problems.Problem{Key: "failed", Message: fmt.Sprintf("The sync to NinjaOne failed after %d seconds: %s", seconds, sentence(r.Reason))}
		kept := []problems.Problem{}
		for _, p := range before {
			if p.Key != stale.Key {
				kept = append(kept, p)
			}
		}
		var again []cipp.LogEntry
		r.Problems, again = problems.Reconcile(before, append(kept, stale), r.End)
		for _, l := range again {
			if strings.HasPrefix(l.Message, "The sync to NinjaOne failed") {
				l.Severity = cipp.SeverityError
				l.Message += fmt.Sprintf(" The schedule tries again in about %s, unless the tenant is paused.", runs.InWords(runs.RetryAfter(r.Failures)))
			}
			lines = append(lines, l)
		}
	} else {
		r.Status, r.Reason, r.Failures, r.LastSuccess, r.Cuts = runs.Completed, "", 0, r.End, j.cuts
		r.Problems, lines = problems.Reconcile(before, j.problems.List(), r.End)
		for _, note := range j.notes {
			lines = append(lines, cipp.LogEntry{Severity: cipp.SeverityInfo, Message: note})
		}
		lines = append(lines, cipp.LogEntry{Severity: cipp.SeverityInfo, Message: j.summary(seconds)})
	}
	telemetry.Synced(ctx, j.measured(r.Status, r.End))
	j.log.InfoContext(ctx, "sync ended", "status", r.Status, "reason", r.Reason, "seconds", seconds,
		"organizationFields", r.OrganizationFields, "devices", r.Devices, "unchanged", r.Unchanged, "problems", len(r.Problems))
	errs := []error{j.Runs.Save(ctx, *r)}
	for _, l := range lines {
		errs = append(errs, j.CIPP.Log(ctx, cipp.LogEntry{Tenant: j.ref.DefaultDomain, TenantID: j.ref.ID, API: apiName, Severity: l.Severity, Message: l.Message}))
	}
	errs = append(errs, j.CIPP.RecordRun(ctx, j.mapping, r.Start, r.End, r.Status))
	return errors.Join(errs...)
}

// measured is the run as telemetry tells it.
func (j *job) measured(status string, end time.Time) telemetry.Sync {
	r := j.run
	return telemetry.Sync{
		TenantID: r.TenantID, OrganizationID: r.OrganizationID, Status: status, Duration: end.Sub(r.Start),
		OrganizationFields: r.OrganizationFields, Devices: r.Devices, Documents: r.Documents,
		Unchanged: r.Unchanged, Problems: len(r.Problems),
	}
}

// summary is the logbook line of a completed run.
func (j *job) summary(seconds int) string {
	r := j.run
	documents := ""
	if j.config.UserDocuments || j.config.LicenseDocuments {
		documents = fmt.Sprintf("Documents written: %d. ", r.Documents)
	}
	return fmt.Sprintf("Synced to NinjaOne organization %d in %d seconds: wrote %d organization fields and %d devices, %d already up to date. %s"+
		"%d devices matched, %d only in Intune, %d only in NinjaOne. Problems: %d.",
		r.OrganizationID, seconds, r.OrganizationFields, r.Devices, r.Unchanged, documents, r.Matched, r.IntuneOnly, r.NinjaOnly, len(r.Problems))
}

// overtime is an error that ended a run because its time was used up.
type overtime struct{ error }

// Unwrap returns what the run was about when its time was used up.
func (o overtime) Unwrap() error { return o.error }

// reason words an error for the logbook.
func (j *job) reason(err error) string {
	if _, over := errors.AsType[overtime](err); !over {
		return err.Error()
	}
	return fmt.Sprintf("the time for one run was used up before anything was written, at last by %q. A run has %s: give it more with the setting SYNC_TIME_BUDGET, and functionTimeout in host.json where that is the limit",
		strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error()), j.Budget)
}

func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }

// reading is everything a run reads before it composes.
type reading struct {
	snapshot  *tenant.Snapshot
	devices   []ninjaone.Device
	foreign   int   // devices of other organizations that NinjaOne listed
	unlisted  error // why the list of devices came to no end
	fields    mappedFields
	records   map[ledger.Target]*ledger.Record
	left      map[string]bool // tenants that wrote devices here and are mapped elsewhere or nowhere
	touched   touched
	portal    string
	excluded  map[string]bool
	skuNames  map[string]string
	standards tenant.Part[[]tenant.Standard]
}

// sync is one run between its recorded start and end.
func (j *job) sync(ctx context.Context) error {
	var in *reading
	err := telemetry.Phase(ctx, "read", func(ctx context.Context) (err error) {
		in, err = j.read(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var input compose.Input
	var desired wants
	err = telemetry.Phase(ctx, "compose", func(ctx context.Context) (err error) {
		input, desired, err = j.decide(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	err = telemetry.Phase(ctx, "write", func(ctx context.Context) error {
		return errors.Join(j.write(ctx, in.records, desired), j.tellCleared(ctx))
	})
	if err != nil {
		return err
	}
	return telemetry.Phase(ctx, "documents", func(ctx context.Context) error { return j.document(ctx, input) })
}

// decide matches what was read and composes what NinjaOne is to hold.
func (j *job) decide(ctx context.Context, in *reading) (input compose.Input, desired wants, err error) {
	j.strays(in)
	in.heal(in.fields[deviceCompliance], j.roster)
	if err = j.review(ctx, in); err != nil {
		return input, desired, err
	}
	for reason, names := range absentParts(in.snapshot) {
		j.problems.Add("part:"+reason, "Not read: %s, because %s", strings.Join(names, ", "), sentence(reason))
	}
	result := match.Result{}
	j.readAt, j.compliance = in.snapshot.ReadAt, in.fields[deviceCompliance]
	matchable := in.snapshot.DevicesKnown() && !j.roster.Unusable
	switch {
	case matchable:
		if result, err = j.matchDevices(ctx, in); err != nil {
			return input, desired, err
		}
		j.run.Matched, j.run.IntuneOnly, j.run.NinjaOnly = len(result.Pairs), result.IntuneMachines(), len(result.NinjaOnly)
	case j.roster.Unusable:
		if result, err = j.formerMatches(ctx, in); err != nil {
			return input, desired, err
		}
	}
	input = j.input(in, result)
	desired, err = j.organizationValues(ctx, input, in.fields)
	if err != nil {
		return input, desired, err
	}
	// Without Intune's list, or NinjaOne's, nothing is known of the devices, so
	// nothing of theirs is written or cleared.
	if matchable {
		err = j.deviceValues(ctx, input, in, desired)
	}
	j.clearFormer(desired)
	return input, desired, err
}

// withDocuments reports whether CIPP's settings ask for documents.
func (j *job) withDocuments() bool {
	return j.Documents != nil && (j.config.UserDocuments || j.config.LicenseDocuments)
}

// document brings the tenant's documents up to date, where CIPP's settings ask
// for them.
func (j *job) document(ctx context.Context, input compose.Input) error {
	if !j.withDocuments() {
		j.run.Owed = ""
		return nil
	}
	done, err := j.Documents.Sync(ctx, j.documentsInput(input))
	j.run.Documents = done.Created + done.Updated + done.Archived + done.Restored
	j.documented = done.Changes()
	j.learned += done.Learned
	j.notes = append(j.notes, done.Notes...)
	if err != nil {
		return fmt.Errorf("documents: %w", err)
	}
	return nil
}

// nothingOwed notes that all that a forced sync is to write again is marked, so
// that any later run does it.
func (j *job) nothingOwed(ctx context.Context) error {
	j.run.Owed = ""
	return j.Runs.Save(ctx, j.run)
}

func (j *job) documentsInput(input compose.Input) documents.Input {
	return documents.Input{
		Client: j.client, Instance: j.instance, OrganizationID: j.mapping.OrganizationID, Sharing: j.sharing,
		Compose: input, Users: j.config.UserDocuments, Licenses: j.config.LicenseDocuments,
		DeviceUnsure: j.roster.Unsure, Begun: j.run.Begun,
		Force: j.run.Owed != "", ForceNoted: j.nothingOwed, Problem: j.problems.Count,
	}
}

// read gathers all inputs; what does not depend on each other runs at once. It
// uses at most half of the run's time: the other half is for writing.
func (j *job) read(run context.Context) (*reading, error) {
	ctx, cancel := half(run)
	defer cancel()
	in, err := j.readAll(ctx)
	switch {
	case run.Err() != nil:
		return nil, cmp.Or(err, run.Err())
	case err != nil && ctx.Err() != nil:
		return nil, failed("reading took longer than half of the sync's time, which SYNC_TIME_BUDGET sets: %w", err)
	case err != nil:
		return nil, err
	}
	return in, j.judge(run, in)
}

// half returns a context that ends after half of the time that ctx has left.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

func (j *job) readAll(ctx context.Context) (*reading, error) {
	client, err := j.NinjaOne(j.config)
	if err != nil {
		return nil, failed("NinjaOne cannot be called: %w", err)
	}
	j.client = client
	in := &reading{}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		in.snapshot, err = j.Reader.Read(gctx, j.ref)
		if err != nil {
			return failed("Microsoft 365 could not be read: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		var err error
		in.devices, in.foreign, err = client.Devices(gctx, j.mapping.OrganizationID)
		refusal, refused := errors.AsType[*ninjaone.APIError](err)
		if refused && (refusal.Status == http.StatusBadRequest || refusal.Status == http.StatusNotFound) || err == nil && len(in.devices) == 0 {
			// Devices prove that the organization exists; without them it is asked for.
			_, missing := client.Organization(gctx, j.mapping.OrganizationID)
			if errors.Is(missing, ninjaone.ErrNotFound) {
				return failed("NinjaOne organization %d (%s) does not exist any more: map the tenant to another one in CIPP, or remove the mapping", j.mapping.OrganizationID, j.mapping.OrganizationName)
			}
			if err == nil {
				err = missing
			}
		}
		if errors.Is(err, bounds.ErrEndless) || err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			in.unlisted = err
			return nil
		}
		if err != nil {
			return failed("the devices of the NinjaOne organization could not be read: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		if in.fields, err = j.mappedFields(gctx); err == nil {
			in.touched = j.readTouched(gctx, in.fields)
		}
		return err
	})
	group.Go(func() (err error) {
		in.records, err = j.Ledger.Load(gctx, j.organization())
		return err
	})
	group.Go(func() (err error) {
		in.portal, err = j.CIPP.PortalHost(gctx)
		return err
	})
	group.Go(func() (err error) {
		in.excluded, err = j.CIPP.ExcludedSKUs(gctx)
		return err
	})
	group.Go(func() (err error) {
		in.standards, err = j.CIPP.Standards(gctx, j.ref)
		return err
	})
	group.Go(func() error {
		if j.SKUNames != nil {
			in.skuNames = j.SKUNames(gctx)
		}
		return nil
	})
	return in, group.Wait()
}

// absentParts names the parts of a snapshot that should have been readable, by
// the reason why they were not.
func absentParts(s *tenant.Snapshot) map[string][]string {
	byReason := map[string][]string{}
	for _, p := range s.Absent() {
		if !p.Expected {
			reason := strings.TrimPrefix(p.Reason, "Not available: ")
			byReason[reason] = append(byReason[reason], p.Name)
		}
	}
	return byReason
}

// judge finds out what is known of the organization's devices, from the list
// and from what was there before: devices that hold what we wrote, and those
// that matched in the last run. Where it is not known which devices Intune has,
// nothing is concluded and nothing asked.
func (j *job) judge(ctx context.Context, in *reading) (err error) {
	if in.left, err = j.unmapped(ctx, in); err != nil {
		return err
	}
	var known []int
	if in.snapshot.DevicesKnown() {
		for t, r := range in.records {
			if t.Kind == ledger.KindDevice && in.clears(r, j.ref.ID) && r.HoldsAny() {
				known = append(known, t.ID)
			}
		}
		if j.withDocuments() {
			former, err := devicematch.Load(ctx, j.Blobs, j.ref.ID)
			if err != nil {
				return err
			}
			for _, p := range former.Pairs {
				known = append(known, p.NinjaOneID)
			}
		}
	}
	if in.unlisted != nil {
		j.roster = devicematch.Unlisted(j.mapping.OrganizationID, in.unlisted)
	} else if j.roster, err = devicematch.JudgeDevices(ctx, j.client, j.mapping.OrganizationID, in.devices, in.foreign, known); err != nil {
		return failed("%w", err)
	}
	in.devices = j.roster.Devices
	for _, p := range j.roster.Odd {
		j.problems.Add(p.Key, "%s", p.Message)
	}
	return nil
}

// clears reports whether a run of a tenant clears what was written on a device:
// its own sync wrote it, or that of a tenant which is not mapped any more.
func (in *reading) clears(r *ledger.Record, tenantID string) bool {
	return r.TenantID == tenantID || in.left[r.TenantID]
}
