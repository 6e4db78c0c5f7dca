package m365

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/microsoftgraph/msgraph-sdk-go/admin"
	"github.com/microsoftgraph/msgraph-sdk-go/directory"
	"github.com/microsoftgraph/msgraph-sdk-go/domains"
	"github.com/microsoftgraph/msgraph-sdk-go/identity"
	"github.com/microsoftgraph/msgraph-sdk-go/organization"
	"github.com/microsoftgraph/msgraph-sdk-go/policies"
	"github.com/microsoftgraph/msgraph-sdk-go/security"
	"github.com/microsoftgraph/msgraph-sdk-go/subscribedskus"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

// reading is one Read under way. Its parts are read concurrently, and each
// fails alone.
type reading struct {
	reader   *Reader
	graph    *graph
	snapshot *tenant.Snapshot
	known    tenant.PolicyReadings
	daily    *tenant.Daily // nil where these are read anew; to be asked for by given
	judged   chan struct{} // closed when the users were read, who tell
	log      *slog.Logger

	mu     sync.Mutex
	done   int
	failed []failure
	lost   []failure // details, whose parts were read
}

type failure struct {
	part   part
	err    error
	absent func(why tenant.Unknown)
}

// put records the outcome of a part.
func put[T any](run *reading, name part, dst *tenant.Part[T], v T, err error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.done++
	if err == nil {
		*dst = tenant.Present(v)
		return
	}
	run.failed = append(run.failed, failure{name, err, func(why tenant.Unknown) {
		*dst = tenant.Part[T]{Unknown: why}
	}})
}

// lose records the details of a part that are not known.
func (run *reading) lose(name part, details []lost) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, l := range details {
		run.lost = append(run.lost, failure{name, l.err, func(why tenant.Unknown) {
			if run.snapshot.Unknown == nil {
				run.snapshot.Unknown = map[tenant.Detail]tenant.Unknown{}
			}
			run.snapshot.Unknown[l.detail] = why
		}})
	}
}

// putDetailed is put for a part with details.
func putDetailed[T any](run *reading, name, detailed part, dst *tenant.Part[T], v T, details []lost, err error) {
	put(run, name, dst, v, err)
	if err == nil {
		run.lose(detailed, details)
	}
}

// given reports whether the daily parts are those that were known. It waits for the
// users where that depends on them.
func (run *reading) given() bool {
	<-run.judged
	return run.daily != nil
}

// unlessGiven returns what reads a daily part, unless that was known.
func (run *reading) unlessGiven(read func()) func() {
	return func() {
		if !run.given() {
			read()
		}
	}
}

func (run *reading) readAll(ctx context.Context) {
	g, s := run.graph, run.snapshot
	if run.daily == nil {
		close(run.judged)
	}
	var all sync.WaitGroup
	all.Go(func() { run.readBasics(ctx) })
	all.Go(func() {
		v, err := g.groups(ctx)
		put(run, partGroups, &s.Groups, v, err)
	})
	all.Go(func() {
		v, details, err := g.entraDevices(ctx)
		putDetailed(run, partEntraDevices, partDetail, &s.EntraDevices, v, details, err)
	})
	all.Go(func() { run.readDevices(ctx) })
	all.Go(run.unlessGiven(func() { run.readExchange(ctx) }))
	all.Wait()
	if run.given() {
		run.daily.Give(s)
	}
}

// judge tells whether the daily parts that are known are of the users that were read.
// Without the users, nothing is known of new ones.
func (run *reading) judge(users []tenant.User, err error) {
	if run.daily == nil {
		return
	}
	if err == nil && !run.daily.Of(users) {
		run.daily = nil
	}
	close(run.judged)
}

// The parts of the first batch, by their place in it.
const (
	inOrganization = iota
	inDomains
	inSKUs
	inSubscriptions
	inAuthorizationPolicy
	inConditionalAccess
	inSecureScore
	inReportSettings
	inRoles
)

// readBasics reads all that is small in one batch, and then what depends on it.
func (run *reading) readBasics(ctx context.Context) {
	g, s := run.graph, run.snapshot
	var all sync.WaitGroup
	var profiles map[string]wire.ScoreProfile
	var profilesErr error
	profilesRead := make(chan struct{})
	all.Go(func() {
		defer close(profilesRead)
		run.unlessGiven(func() { profiles, profilesErr = g.scoreProfiles(ctx) })()
	})

	answers := g.batch(ctx, g.basicRequests(ctx))
	skus, skusLost, skuErr := skusOf(ctx, g, answers[inSKUs])
	putDetailed(run, partSKUs, partDetail, &s.SKUs, skus, skusLost, skuErr)
	settings, settingsErr := objectOf[wire.ReportSettings](ctx, g, answers[inReportSettings])
	hidden := settingsErr == nil && settings.Concealed

	var users []tenant.User
	var usersErr error
	usersRead := make(chan struct{})
	all.Go(func() {
		var details []lost
		users, details, usersErr = g.users(ctx, skuErr != nil || hasPremium(skus))
		putDetailed(run, partUsers, partSignInActivity, &s.Users, users, details, usersErr)
		close(usersRead)
		run.judge(users, usersErr)
	})
	byName := func() map[string]bool {
		<-usersRead
		if usersErr != nil {
			return nil
		}
		names := make(map[string]bool, len(users))
		for _, u := range users {
			names[strings.ToLower(u.UserPrincipalName)] = true
		}
		return names
	}
	all.Go(run.unlessGiven(func() {
		v, err := reportPart(ctx, hidden, byName, g.mailboxUsage, func(m tenant.MailboxUsage) string { return m.UserPrincipalName })
		put(run, partMailboxUsage, &s.MailboxUsage, v, err)
	}))
	all.Go(run.unlessGiven(func() {
		v, err := reportPart(ctx, hidden, byName, g.oneDriveUsage, func(d tenant.OneDriveUsage) string { return d.OwnerPrincipalName })
		put(run, partOneDriveUsage, &s.OneDriveUsage, v, err)
	}))
	all.Go(func() {
		v, err := g.roles(ctx, answers[inRoles])
		put(run, partRoles, &s.Roles, v, err)
	})
	all.Go(func() {
		v, err := conditionalAccessOf(ctx, g, answers[inConditionalAccess])
		put(run, partConditionalAccess, &s.ConditionalAccess, v, err)
	})
	all.Go(run.unlessGiven(func() {
		<-profilesRead
		var details []lost
		if profilesErr != nil {
			details = []lost{{tenant.DetailTitles, profilesErr}}
		}
		v, err := secureScoreOf(ctx, g, answers[inSecureScore], profiles)
		putDetailed(run, partSecureScore, partDetail, &s.SecureScore, v, details, err)
	}))
	all.Go(func() {
		o, err := organizationOf(ctx, g, answers[inOrganization])
		put(run, partOrganization, &s.Organization, o, err)
		d, err := domainsOf(ctx, g, answers[inDomains])
		put(run, partDomains, &s.Domains, d, err)
		sub, err := subscriptionsOf(ctx, g, answers[inSubscriptions])
		put(run, partSubscriptions, &s.Subscriptions, sub, err)
		p, err := authorizationPolicyOf(ctx, g, answers[inAuthorizationPolicy])
		put(run, partAuthorizationPolicy, &s.AuthorizationPolicy, p, err)
	})
	all.Wait()
}

func reportPart[T any](ctx context.Context, hidden bool, users func() map[string]bool,
	read func(context.Context) ([]T, error), user func(T) string) ([]T, error) {
	if hidden {
		return nil, concealed
	}
	rows, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return named(rows, user, users())
}

// basicRequests are the parts of the first batch, at their places.
func (g *graph) basicRequests(ctx context.Context) []request {
	base, adapter := g.v1, g.adapter
	return []request{
		inOrganization: ask(ctx, organization.NewOrganizationRequestBuilderInternal(base(), adapter), 0,
			"id", "displayName", "createdDateTime", "onPremisesSyncEnabled", "onPremisesLastSyncDateTime"),
		inDomains:             ask(ctx, domains.NewDomainsRequestBuilderInternal(base(), adapter), 0),
		inSKUs:                ask(ctx, subscribedskus.NewSubscribedSkusRequestBuilderInternal(base(), adapter), 0),
		inSubscriptions:       ask(ctx, directory.NewSubscriptionsRequestBuilderInternal(base(), adapter), 0),
		inAuthorizationPolicy: ask(ctx, policies.NewAuthorizationPolicyRequestBuilderInternal(base(), adapter), 0),
		inConditionalAccess:   ask(ctx, identity.NewConditionalAccessPoliciesRequestBuilderInternal(base(), adapter), 0),
		inSecureScore:         ask(ctx, security.NewSecureScoresRequestBuilderInternal(base(), adapter), 1),
		inReportSettings:      ask(ctx, admin.NewReportSettingsRequestBuilderInternal(base(), adapter), 0),
		inRoles:               g.rolesDelta(ctx),
	}
}

func (run *reading) readDevices(ctx context.Context) {
	g, s := run.graph, run.snapshot
	list, details, err := g.managedDevices(ctx)
	putDetailed(run, partManagedDevices, partDetail, &s.ManagedDevices, list, details, err)
	if err != nil {
		put(run, partManagedDevices, &s.PolicyStates, nil, err) // for the same reason
		return
	}
	policies, details, err := g.policyStates(ctx, list, run.known)
	s.PolicyReadings = policies.read
	putDetailed(run, partPolicyStates, partDetail, &s.PolicyStates, policies.states, details, err)
}

// readExchange keeps to two requests at a time: the admin API publishes no limit.
func (run *reading) readExchange(ctx context.Context) {
	x, s := run.reader.newExchange(run.snapshot.Tenant), run.snapshot
	if err := x.open(ctx); err != nil {
		put(run, partMailboxes, &s.Mailboxes, nil, err)
		put(run, partCASMailboxes, &s.CASMailboxes, nil, err)
		put(run, partUnifiedAudit, &s.UnifiedAudit, false, err)
		put(run, partBlockedSenders, &s.BlockedSenders, nil, err)
		return
	}
	var all sync.WaitGroup
	all.Go(func() {
		v, err := x.mailboxes(ctx)
		put(run, partMailboxes, &s.Mailboxes, v, err)
		on, err := x.unifiedAudit(ctx)
		put(run, partUnifiedAudit, &s.UnifiedAudit, on, err)
	})
	all.Go(func() {
		v, err := x.casMailboxes(ctx)
		put(run, partCASMailboxes, &s.CASMailboxes, v, err)
		blocked, err := x.blockedSenders(ctx)
		put(run, partBlockedSenders, &s.BlockedSenders, blocked, err)
	})
	all.Wait()
}

// daily are the parts of Graph that a [tenant.Daily] has.
var daily = map[part]bool{partMailboxUsage: true, partOneDriveUsage: true, partSecureScore: true}

// close turns failures into reasons. It returns an error when nothing of Graph could be
// read: there is only that one reason to show.
func (run *reading) close() error {
	var graphFailures []failure
	for _, f := range run.failed {
		if permissions[f.part].Service == serviceGraph {
			graphFailures = append(graphFailures, f)
		}
	}
	graphParts := 0
	for p, permission := range permissions {
		if permission.Service == serviceGraph && !permission.Optional && !(run.daily != nil && daily[p]) {
			graphParts++
		}
	}
	if len(graphFailures) == graphParts {
		if err := common(run.snapshot.Tenant.ID, graphFailures); err != nil {
			return err
		}
	}
	for _, f := range run.failed {
		why := run.why(f)
		f.absent(why)
		if !why.Expected {
			run.log.Warn("part of the tenant not read", "part", permissions[f.part].Part, "error", f.err)
		}
	}
	for _, f := range run.lost {
		f.absent(run.why(f))
		run.log.Warn("detail of the tenant not read", "error", f.err)
	}
	return nil
}

// common returns the one cause that keeps all of Graph from being read. It is
// nil when the causes differ, or are of the parts' own.
func common(tenantID string, failures []failure) error {
	unreachable, unauthorized := true, true
	var signIn *AuthError
	for _, f := range failures {
		_, transport := errors.AsType[*transportError](f.err)
		_, body := errors.AsType[*bodyError](f.err) // a page of something between us and Graph
		if !transport && !body && !errors.Is(f.err, context.DeadlineExceeded) && !hasStatus(f.err, http.StatusInternalServerError, http.StatusTooManyRequests,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout) {
			unreachable = false
		}
		if !errors.As(f.err, &signIn) && !hasStatus(f.err, http.StatusUnauthorized) {
			unauthorized = false
		}
	}
	switch {
	case unreachable:
		return failures[0].err
	case unauthorized && signIn != nil:
		return signIn
	case unauthorized:
		return &AuthError{Tenant: tenantID, Meaning: "Microsoft Graph does not accept the app's token",
			Action: "run CIPP's permission check for this tenant"}
	}
	return nil
}
