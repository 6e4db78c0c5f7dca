// Package automap maps tenants to NinjaOne organizations. It gathers evidence for each
// pair, lets package match decide, and writes what is beyond doubt to CIPP's mapping.
// The rest it keeps as suggestions for a technician.
//
// It never changes or removes a mapping. Package match compares names and devices;
// packages m365, ninjaone, cipp and storage call services.
//
// One automap is one invocation, however many tenants there are. They share one reading
// of NinjaOne's devices, which no queue message could hold. When the host delivers the
// message of an interrupted automap again, the automap goes on where it was.
package automap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	leaseDuration = 60 * time.Second // renewed while the automap lasts
	retryTaken    = time.Minute      // when another automap is under way
	recordTimeout = 30 * time.Second // for writing down how an automap was interrupted
	tenantTimeout = 2 * time.Minute  // for reading one tenant
	readers       = 8                // tenants read at once
	writers       = 8                // mappings written at once
)

// Intune reads the Intune devices of a tenant.
type Intune interface {
	// Serials returns the serial numbers of the tenant's Intune devices, one
	// per device, "" where Intune has none. A tenant without Intune has none.
	Serials(ctx context.Context, ref tenant.Ref) ([]string, error)
}

// Mapper runs automaps. Its fields are set once and not changed afterwards.
type Mapper struct {
	CIPP   *cipp.Store
	Intune Intune
	// Unmatched returns the serial numbers of a mapped tenant's Intune devices that its last
	// sync did not find there. It is false when there was no sync.
	Unmatched func(ctx context.Context, tenantID string) ([]string, bool, error)
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	Blobs    *storage.Container // lease, progress and report
	Queue    *storage.Queue     // ninjaone-automap
	Budget   time.Duration      // how long one invocation may take, more than zero
	// Within limits an automap to Budget; context.WithTimeout is one.
	Within func(context.Context, time.Duration) (context.Context, context.CancelFunc)
	Now    func() time.Time
	Log    *slog.Logger
}

// failure ends an automap; its text says why and what to do.
type failure struct{ error }

func failed(format string, args ...any) error { return failure{fmt.Errorf(format, args...)} }

// Run maps the tenants that a message asks for. It is safe to repeat: what was mapped
// stays. One automap runs at a time, over all processes; Run puts the message of a
// second one back with a delay.
//
// The logbook tells what goes wrong. Run returns an error where it could not tell, or
// where the automap was interrupted. The host then delivers the message again.
func (m *Mapper) Run(ctx context.Context, message Message) error {
	_, err := m.run(ctx, message, false)
	return err
}

// run is Run, and Begin where somebody waits for it.
func (m *Mapper) run(ctx context.Context, message Message, awaited bool) (Outcome, error) {
	lease, err := m.Blobs.Lease(ctx, leaseBlob, leaseDuration)
	if errors.Is(err, storage.ErrLeaseTaken) {
		m.Log.InfoContext(ctx, "another automap is under way; the message is put back")
		return Outcome{Busy: true}, m.Queue.Send(ctx, message, retryTaken)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("lease the automap: %w", err)
	}
	defer lease.Release()

	bounded, cancel := m.Within(lease.Context(), m.Budget)
	defer cancel()
	j := &job{Mapper: m, message: message, awaited: awaited, log: m.Log}
	if message.TenantID != "" {
		j.log = m.Log.With("tenant", message.TenantID)
	}
	err = j.do(bounded)
	switch {
	case err == nil:
		return j.done(true), nil
	case lease.Context().Err() != nil:
		return Outcome{}, j.interrupted(lease.Context())
	case errors.Is(err, errRest), awaited && bounded.Err() != nil:
		return j.done(false), j.goOn(lease.Context())
	case bounded.Err() != nil:
		return Outcome{}, j.outOfTime(lease.Context())
	case errors.As(err, new(failure)):
		return Outcome{Failed: err}, j.fail(lease.Context(), err)
	}
	return Outcome{}, err
}

// job is one automap under way.
type job struct {
	*Mapper
	message Message
	log     *slog.Logger
	awaited bool // a person waits: what names do not decide is left to another invocation
	config  cipp.ExtensionConfig
	client  *ninjaone.Client

	organizations []ninjaone.Organization
	index         match.SerialIndex
	indexProblem  string // why there is no index

	mu       sync.Mutex
	progress Progress
	unsaved  int               // tenants read since the progress was last saved
	advanced bool              // this invocation got something done
	unread   map[string]string // tenant id → why its devices could not be read
	refused  map[string]bool   // tenant id → it was mapped while the automap ran
}

// do runs the automap from its beginning, or on from where an earlier
// invocation was interrupted.
func (j *job) do(ctx context.Context) error {
	j.unread, j.refused = map[string]string{}, map[string]bool{}
	var err error
	if j.config, err = j.CIPP.NinjaOneConfig(ctx); err != nil {
		return err
	}
	if !j.config.Enabled {
		return j.line(ctx, cipp.LogEntry{Severity: cipp.SeverityWarn,
			Message: "Nothing was mapped: the NinjaOne integration is turned off in CIPP."})
	}
	if err := j.resume(ctx); err != nil {
		return err
	}
	tenants, err := j.open(ctx)
	if err != nil {
		return err
	}
	wanted, refusal, err := j.wanted(ctx, tenants.open)
	if err != nil {
		return err
	}
	if refusal.Message != "" {
		return j.line(ctx, refusal)
	}
	j.log.InfoContext(ctx, "automap started", "tenants", len(wanted))
	if len(wanted) == 0 {
		return j.finish(ctx, match.OrganizationResult{})
	}

	if j.client, err = j.NinjaOne(j.config); err != nil {
		return failed("NinjaOne cannot be called: %w", err)
	}
	if j.organizations, err = j.client.Organizations(ctx); err != nil {
		return failed("NinjaOne's organizations could not be read: %w", err)
	}

	// Names first: a tenant that its name decides need not be read. But an organization with
	// devices may be another tenant's.
	named := match.Organizations(j.evidence(tenants), j.organizations, tenants.organizations, nil)
	alone := len(tenants.open)+len(tenants.mapped) == 1
	if !alone || len(without(wanted, named.Matches)) > 0 {
		if err := j.loadIndex(ctx); err != nil {
			return err
		}
	}
	certain := named.Matches
	if !alone {
		certain = j.certain(named.Matches)
	}
	if err := j.write(ctx, certain, wanted); err != nil {
		return err
	}
	doubtful := len(certain) < len(named.Matches)
	if left := without(wanted, certain); len(left) > 0 && j.index != nil && (doubtful || !j.awaited) {
		if doubtful {
			left = tenants.all()
		}
		if err := j.compareDevices(ctx, left, tenants.mapped); err != nil {
			return err
		}
	}

	// Technicians may have mapped tenants meanwhile.
	if tenants, err = j.open(ctx); err != nil {
		return err
	}
	final := match.Organizations(j.evidence(tenants), j.organizations, tenants.organizations, j.index)
	if j.awaited {
		final.Matches = slices.DeleteFunc(final.Matches, func(m match.OrganizationMatch) bool { return m.By == match.RuleDevices })
		if err := j.write(ctx, final.Matches, wanted); err != nil {
			return err
		}
		if len(without(wanted, slices.Concat(certain, final.Matches))) > 0 {
			return errRest
		}
		return j.finish(ctx, only(final, wanted))
	}
	if !alone && slices.ContainsFunc(final.Matches, match.OrganizationMatch.ByOnlyDevice) {
		// A serial number proves that only where no other tenant has it.
		if err := j.compareDevices(ctx, tenants.all(), tenants.mapped); err != nil {
			return err
		}
		final = match.Organizations(j.evidence(tenants), j.organizations, tenants.organizations, j.index)
	}
	if err := j.write(ctx, final.Matches, wanted); err != nil {
		return err
	}
	return j.finish(ctx, only(final, wanted))
}

// customers are CIPP's tenants as automap sees them.
type customers struct {
	open          []cipp.Tenant         // without an organization
	mapped        map[string]tenant.Ref // with one, by id
	organizations map[int]bool          // that tenants have, by id
}

// all returns all tenants by id.
func (c customers) all() map[string]tenant.Ref {
	all := maps.Clone(c.mapped)
	for _, t := range c.open {
		all[t.ID] = t.Ref
	}
	return all
}

// open returns CIPP's tenants that are not excluded, less the partner's own, which a
// technician maps.
func (j *job) open(ctx context.Context) (customers, error) {
	c := customers{mapped: map[string]tenant.Ref{}, organizations: map[int]bool{}}
	tenants, err := j.CIPP.Tenants(ctx)
	if err != nil {
		return c, err
	}
	mappings, err := j.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return c, err
	}
	have := map[string]bool{}
	for _, m := range mappings {
		if m.OrganizationID > 0 {
			c.organizations[m.OrganizationID] = true
		}
		have[m.TenantID] = true // also where the row cannot be used: a technician has to mend it
	}
	for _, t := range tenants {
		switch {
		case t.Partner():
		case have[t.ID]:
			c.mapped[t.ID] = t.Ref
		default:
			c.open = append(c.open, t)
		}
	}
	return c, nil
}

// certain returns the matches by name that no devices can contradict, because the
// organization has too few.
func (j *job) certain(named []match.OrganizationMatch) []match.OrganizationMatch {
	in := j.index.In()
	return slices.DeleteFunc(slices.Clone(named), func(m match.OrganizationMatch) bool {
		return in[m.Organization.ID] >= match.MinSharedDevices
	})
}

// wanted returns the tenants that the message asks for, by id. Where there are none, it
// returns the logbook line that says why.
func (j *job) wanted(ctx context.Context, open []cipp.Tenant) (map[string]tenant.Ref, cipp.LogEntry, error) {
	wanted := map[string]tenant.Ref{}
	id := j.message.TenantID
	for _, t := range open {
		if id == "" || t.ID == id {
			wanted[t.ID] = t.Ref
		}
	}
	if id == "" || len(wanted) > 0 {
		return wanted, cipp.LogEntry{}, nil
	}
	t, err := j.CIPP.Tenant(ctx, id)
	refusal := cipp.LogEntry{Tenant: t.DefaultDomain, TenantID: id, Severity: cipp.SeverityWarn}
	switch {
	case errors.Is(err, cipp.ErrNoTenant):
		refusal.Message = "Not mapped: CIPP knows no tenant with this id. Refresh CIPP's tenant list."
	case err != nil:
		return nil, refusal, err
	case t.Excluded:
		refusal.Message = "Not mapped: the tenant is excluded in CIPP."
	case t.Partner():
		refusal.Message = "Not mapped: the partner's own tenant is not mapped automatically. Map it by hand."
	default:
		refusal.Severity = cipp.SeverityInfo
		refusal.Message = "The tenant has a mapping to NinjaOne already, which stays as it is."
	}
	return nil, refusal, nil
}

// evidence gathers what is known of the tenants.
func (j *job) evidence(tenants customers) []match.TenantEvidence {
	var list []match.TenantEvidence
	for _, t := range tenants.open {
		read := j.progress.Read[t.ID]
		list = append(list, match.TenantEvidence{
			Tenant: t.Ref, Serials: read.Serials, Devices: read.Devices,
			Real:   cmp.Or(read.Real, read.Devices), // an automap of an older version kept no Real
			Unread: cmp.Or(j.indexProblem, j.unread[t.ID]),
		})
	}
	for id, ref := range tenants.mapped {
		e := match.TenantEvidence{Tenant: ref, Organized: true, Unread: "it was not read"}
		if read, ok := j.progress.Read[id]; ok {
			e.Serials, e.Devices, e.Unread = read.Serials, read.Devices, ""
		}
		list = append(list, e)
	}
	return list
}

// interrupted keeps the progress of an automap that the handler's end, or the
// loss of the lease, stopped.
func (j *job) interrupted(held context.Context) error {
	cause := context.Cause(held)
	if !errors.Is(cause, storage.ErrLeaseLost) { // else the progress is another's by now
		ctx, cancel := context.WithTimeout(context.WithoutCancel(held), recordTimeout)
		defer cancel()
		if err := j.save(ctx); err != nil {
			j.log.WarnContext(ctx, "the progress of the automap was not kept", "error", err)
		}
	}
	return fmt.Errorf("automap stopped: %w", cause)
}

// outOfTime hands over to a next invocation. It fails where this one got nothing done:
// the next one would not either.
func (j *job) outOfTime(ctx context.Context) error {
	if !j.advanced {
		return j.fail(ctx, failed("nothing could be read within the %s that one run may take", j.Budget))
	}
	j.log.InfoContext(ctx, "the time for one run is used up; the automap goes on in another")
	return j.goOn(ctx)
}

// goOn hands the automap over to a next invocation.
func (j *job) goOn(ctx context.Context) error {
	if err := j.save(ctx); err != nil {
		return err
	}
	return j.Queue.Send(ctx, j.message, 0)
}

// fail tells the logbook why the automap ended early.
func (j *job) fail(ctx context.Context, cause error) error {
	j.log.WarnContext(ctx, "automap failed", "error", cause)
	entry := cipp.LogEntry{Severity: cipp.SeverityError,
		Message: fmt.Sprintf("Automap ended early: %s. What was mapped stays mapped (%d tenants). Start it again when this is put right.", strings.TrimSuffix(cause.Error(), "."), len(j.progress.Mapped))}
	return errors.Join(j.line(ctx, entry), j.forget(ctx))
}

// line writes a line to CIPP's logbook.
func (j *job) line(ctx context.Context, entry cipp.LogEntry) error {
	entry.API = cipp.LogbookAutomap // CIPP's own automap's, too
	return j.CIPP.Log(ctx, entry)
}

// without returns the tenants that have no match.
func without(wanted map[string]tenant.Ref, matches []match.OrganizationMatch) map[string]tenant.Ref {
	left := maps.Clone(wanted)
	for _, m := range matches {
		delete(left, m.Tenant.ID)
	}
	return left
}

// only returns the part of a result that is about the wanted tenants.
func only(r match.OrganizationResult, wanted map[string]tenant.Ref) match.OrganizationResult {
	others := func(t tenant.Ref) bool {
		_, ok := wanted[t.ID]
		return !ok
	}
	r.Suggestions = slices.DeleteFunc(r.Suggestions, func(s match.OrganizationSuggestion) bool { return others(s.Tenant) })
	r.Unmatched = slices.DeleteFunc(r.Unmatched, func(u match.UnmatchedTenant) bool { return others(u.Tenant) })
	return r
}
