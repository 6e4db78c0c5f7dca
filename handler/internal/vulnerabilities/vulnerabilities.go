// Package vulnerabilities brings Defender's open CVEs of a tenant into NinjaOne's
// vulnerability importer. Each tenant has one CSV file in a scan group.
//
// A file replaces all that the group held, and what it lacks counts as mended. So the
// app sends nothing on weak evidence, and a much smaller file waits for a person. Data
// flow one way: read, plan (pure), apply. An import goes on in NinjaOne after the turn
// that sent its file, and later messages look after it.
//
// The tenant's sync only reads what is kept here (Files.Exposure).
package vulnerabilities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

const (
	leaseDuration = 45 * time.Second // renewed while a message is worked on
	retryTaken    = 15 * time.Second // before a message that found the tenant busy comes again
)

// Defender reads Microsoft's export. m365.Reader does.
type Defender interface {
	Vulnerabilities(ctx context.Context, ref tenant.Ref, each func(*wire.Vulnerability) error, kept func() int) error
}

// Deps are what a Worker works with.
type Deps struct {
	CIPP     *cipp.Store
	Defender Defender
	// NinjaOne returns the client for CIPP's present settings.
	NinjaOne func(cipp.ExtensionConfig) (*ninjaone.Client, error)
	Files    Files
	Queue    *storage.Queue // ninjaone-vulnerabilities
	Problems *problems.Book
	Runs     *runs.Store
	// Off says that CIPP's own engine does the work again.
	Off func(context.Context) (bool, error)
	// Budget is how long a turn may read and send.
	Budget time.Duration
	Now    func() time.Time
	Log    *slog.Logger
}

// Worker handles the messages of the queue ninjaone-vulnerabilities. It is safe for
// concurrent use.
type Worker struct{ Deps }

// New returns a worker. It calls nothing yet.
func New(d Deps) *Worker { return &Worker{d} }

// turn is one message's work.
type turn struct {
	*Worker
	ref            tenant.Ref
	config         cipp.ExtensionConfig
	organizationID int
	client         *ninjaone.Client
	forced         bool
	last           Status // as the row has it
}

// unread says why a turn sends nothing, for a technician.
type unread struct {
	problems.Problem
	passing bool // it may be over soon, so that the next turn comes sooner
}

func (u unread) Error() string { return u.Message }

// failed is an unread that may be over soon.
func failed(key, what string, err error) error {
	return unread{problems.Problem{Key: key, Message: what + " Nothing is sent, and what NinjaOne shows stays. The reason: " + words.End(err.Error())}, true}
}

// askedKey is the key of the problem that a person asked for a file, and none was made.
const askedKey = "asked:"

// stopKeys begin the keys of problems that end a turn before its plan.
var stopKeys = []string{"read:", "group:", "send:", askedKey}

// nowhere says why a tenant's file goes nowhere, and what to do.
type nowhere string

func (n nowhere) Error() string { return string(n) }

// Stopped says why no tenant's file is sent, and what to do; "" where files are sent.
// CIPP's own engine does the work again where it was given back.
func Stopped(c cipp.ExtensionConfig, givenBack bool) string {
	switch {
	case !c.CVESync:
		return "the upload of vulnerabilities is turned off. Turn it on under Settings on the console."
	case givenBack:
		return "CIPP's own sync was given back. Take over from CIPP first, on the console's page Status."
	case !c.Enabled:
		return "the NinjaOne integration is turned off. Turn it on under Settings on the console."
	}
	return ""
}

// Run handles a message.
func (w *Worker) Run(ctx context.Context, m Message) error {
	t, err := w.open(ctx, m)
	if why, ok := errors.AsType[nowhere](err); ok {
		return w.drop(ctx, m, why)
	}
	if err != nil {
		return err
	}
	lease, err := w.Files.Blobs.Lease(ctx, leaseBlob(t.ref.ID), leaseDuration)
	if errors.Is(err, storage.ErrLeaseTaken) {
		return w.Queue.Send(ctx, m, retryTaken)
	}
	if err != nil {
		return fmt.Errorf("take the CVE file of tenant %s: %w", t.ref.ID, err)
	}
	defer lease.Release()
	ctx = lease.Context()
	if t.last, err = w.Files.Of(ctx, t.ref.ID); err != nil {
		return err
	}
	underway, err := t.settle(ctx)
	switch {
	case err != nil:
		return err
	case underway:
		return w.Queue.Send(ctx, m, lookAgain) // which looks, too, and goes on once it ended
	case m.Look:
		return nil
	case !m.Force && !t.last.confirmed(): // nobody asked for it
		pauses, err := w.Runs.Pauses(ctx)
		if err != nil {
			return err
		}
		if pauses.Paused(t.ref.ID) {
			w.Log.InfoContext(ctx, "the tenant was paused after this message was sent; it is dropped", "tenant", t.ref.ID)
			return nil
		}
	}
	return t.run(ctx)
}

// drop ends a message whose file goes nowhere. It tells that where somebody asked for
// the file.
func (w *Worker) drop(ctx context.Context, m Message, why nowhere) error {
	w.Log.InfoContext(ctx, "no file of vulnerabilities is made", "tenant", m.TenantID, "reason", why)
	s, err := w.Files.Of(ctx, m.TenantID)
	if err != nil || m.Look || !m.Force && !s.confirmed() {
		return err
	}
	known, err := w.CIPP.Tenant(ctx, m.TenantID)
	if err != nil && !errors.Is(err, cipp.ErrNoTenant) {
		return err
	}
	t := &turn{Worker: w, ref: tenant.Ref{ID: m.TenantID, DefaultDomain: known.DefaultDomain}}
	return t.tellBeside(ctx, problems.Problem{Key: askedKey, Message: "The upload of vulnerabilities that was asked for was not done: " + words.End(why.Error())}, askedKey)
}

// open finds out where a tenant's file goes. The error is nowhere when it goes nowhere.
func (w *Worker) open(ctx context.Context, m Message) (*turn, error) {
	off, err := w.Off(ctx)
	if err != nil {
		return nil, err
	}
	config, err := w.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return nil, err
	}
	if why := Stopped(config, off); why != "" {
		return nil, nowhere(why)
	}
	known, err := w.CIPP.Tenant(ctx, m.TenantID)
	switch {
	case errors.Is(err, cipp.ErrNoTenant):
		return nil, nowhere("CIPP does not know the tenant. Refresh CIPP's tenant list.")
	case err != nil:
		return nil, err
	}
	mappings, err := w.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return nil, err
	}
	mapped, _ := cipp.Join([]cipp.Tenant{known}, mappings)
	if len(mapped) == 0 {
		return nil, nowhere("the tenant is excluded in CIPP, or not mapped to a NinjaOne organization. Include it or map it in CIPP first.")
	}
	client, err := w.NinjaOne(config)
	if err != nil {
		return nil, nowhere("NinjaOne cannot be called with CIPP's settings. Test the connection under Settings on the console.")
	}
	return &turn{Worker: w, ref: known.Ref, config: config, organizationID: mapped[0].Mapping.OrganizationID, client: client, forced: m.Force}, nil
}

// owner owns the problems of a turn. Those of an import have another owner.
func owner(tenantID string) string { return "vulnerabilities:" + tenantID }

// early is how much less than a day two turns may lie apart.
const early = time.Hour

// tell compares problems with what the logbook has of an owner, and tells it the rest.
// That is once a day while they last, though a turn may come a little early.
func (t *turn) tell(ctx context.Context, owner string, now []problems.Problem) error {
	told, err := t.Problems.Told(ctx, owner)
	if err != nil {
		return err
	}
	at := t.Now().UTC()
	for _, p := range told {
		if due := p.Told.Add(period); due.After(at) && due.Sub(at) <= early {
			at = due
		}
	}
	return t.Problems.Announce(ctx, t.ref, owner, now, at)
}

// run is a turn: read, plan, apply.
func (t *turn) run(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, t.Budget)
	defer cancel()
	p, err := t.plan(bounded)
	if err == nil && p.verdict == Upload {
		err = t.upload(bounded, &p)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // the message comes again
	}
	if bounded.Err() != nil && err != nil {
		err = failed("read:time", "The vulnerabilities could not be read and sent within "+t.Budget.String()+", which SYNC_TIME_BUDGET sets.", bounded.Err())
	}
	stop, stopped := errors.AsType[unread](err)
	if err != nil && !stopped {
		return err
	}
	if stopped {
		return t.stop(ctx, stop)
	}
	if p.verdict != Upload {
		if err := t.keepShown(ctx, &p); err != nil {
			return err
		}
		if err := t.Files.save(ctx, p.status); err != nil {
			return err
		}
		if err := t.tellImport(ctx, t.last); err != nil { // once a day while it lasts
			return err
		}
	}
	t.Log.InfoContext(ctx, "a file of vulnerabilities was made", "tenant", t.ref.ID, "verdict", p.verdict, "rows", len(p.file.rows), "source", p.status.Source)
	return t.tell(ctx, owner(t.ref.ID), p.problems)
}

// stop keeps and tells why a turn ended before its plan. The problems of the last plan
// stay.
func (t *turn) stop(ctx context.Context, why unread) error {
	s, err := t.Files.Of(ctx, t.ref.ID) // an upload may have begun
	if err != nil {
		return err
	}
	now := t.Now().UTC()
	s.Turn, s.Reason, s.Group = now, why.Message, t.groupName()
	if s.Failures = 0; why.passing {
		s.Failures = t.last.Failures + 1
	}
	if err := t.Files.save(ctx, s); err != nil {
		return err
	}
	t.Log.WarnContext(ctx, "no file of vulnerabilities is sent", "tenant", t.ref.ID, "reason", why.Message)
	return t.tellBeside(ctx, why.Problem, stopKeys...)
}

// tellBeside tells a problem beside those that were told of a turn. It takes the place of
// those whose keys begin so.
func (t *turn) tellBeside(ctx context.Context, p problems.Problem, replaced ...string) error {
	told, err := t.Problems.Told(ctx, owner(t.ref.ID))
	if err != nil {
		return err
	}
	told = slices.DeleteFunc(told, func(p problems.Problem) bool {
		return slices.ContainsFunc(replaced, func(prefix string) bool { return strings.HasPrefix(p.Key, prefix) })
	})
	return t.tell(ctx, owner(t.ref.ID), append(told, p))
}

// groupName is the name that the tenant's scan group must have.
func (t *turn) groupName() string { return t.config.CVESyncPrefix + t.ref.DefaultDomain }
