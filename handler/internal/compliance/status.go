package compliance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// silentAfter is how long notifications must have failed to come, and
	// silentChanges how many changes they must have missed, before that is
	// called a problem.
	silentAfter   = time.Hour
	silentChanges = 3
	// failingFor is how long sweeps must fail before the logbook says so.
	failingFor = time.Hour
	// heardEvery is how often the arrival of notifications is written down.
	heardEvery = time.Minute
)

// Status is how a tenant's compliance updates go.
type Status struct {
	TenantID string

	LastNotification time.Time // when notifications were last worked on
	LastSweep        time.Time // when the tenant was last swept
	Devices          int       // managed devices that the last sweep saw
	Changes          int       // fields that the last sweep wrote
	// Missed counts changes that sweeps found and no notification announced,
	// since MissedSince; 0 once notifications arrive again.
	Missed      int
	MissedSince time.Time

	Kind       string    // kind of the last sweep's problem; "" for none
	Problem    string    // what went wrong, for a technician
	Since      time.Time // since when sweeps have this kind of problem
	RetryAfter time.Time // no sweep before

	Expires             time.Time // end of the subscription, also of one that ended and could not be renewed; zero when there is none
	SubscriptionKind    string    // why there is none, as m365.SubscriptionError has it
	SubscriptionProblem string    // the same for a technician

	unwanted time.Time // when a run first found that nobody wants the tenant's subscription
}

const columnUnwanted = "Unwanted"

// Silent reports whether notifications do not arrive although they should.
func (s Status) Silent(now time.Time) bool {
	return s.Missed >= silentChanges && now.Sub(s.MissedSince) >= silentAfter
}

// lastDay is how near its end a subscription is when failed renewals are no
// longer taken for passing. A renewal is due long before.
const lastDay = 24 * time.Hour

// failing reports whether somebody must see to the tenant's subscription. What
// is wrong with the tenant itself, its consent or its permissions, does not
// count: it is told with the tenant's sync, and is the customer's to decide.
func (s Status) failing(now time.Time) bool {
	switch {
	case s.SubscriptionKind == "" || s.SubscriptionKind == kindSignIn || s.SubscriptionKind == m365.SubscriptionForbidden:
		return false
	case passing(s.SubscriptionKind):
		return s.Expires.After(never) && s.Expires.Sub(now) < lastDay
	}
	return true
}

// Trouble is what keeps the compliance updates from being prompt or from
// working at all, for a technician who looks at this tenant.
func (s Status) Trouble(now time.Time) []string {
	var list []string
	switch {
	case s.SubscriptionProblem != "":
		list = append(list, "Compliance changes show late, with the next sweep or sync: "+s.SubscriptionProblem)
	case s.Silent(now):
		list = append(list, fmt.Sprintf("Notifications of compliance changes do not arrive: the sweep found %d changes that none announced. "+
			"Check that the app's address is open to the internet.", s.Missed))
	}
	if s.Problem != "" {
		list = append(list, "The compliance of devices cannot be brought up to date: "+s.Problem)
	}
	return list
}

// countMissed notes changes that this sweep found while no notification came
// since the sweep before, which began at last.
func (s *Status) countMissed(last time.Time, changed int, now time.Time) {
	switch {
	case changed == 0 || last.IsZero():
	case s.LastNotification.After(last):
		s.Missed = 0
	default:
		if s.Missed == 0 {
			s.MissedSince = now
		}
		s.Missed += changed
	}
}

func statusOf(row storage.Entity) Status {
	return Status{
		TenantID:         row.RowKey(),
		LastNotification: row.Time("LastNotification"), LastSweep: row.Time("LastSweep"),
		Devices: int(row.Int("Devices")), Changes: int(row.Int("Changes")),
		Missed: int(row.Int("Missed")), MissedSince: row.Time("MissedSince"),
		Kind: row.String("Kind"), Problem: row.String("Problem"), Since: row.Time("Since"), RetryAfter: row.Time("RetryAfter"),
		Expires: row.Time("Expires"), SubscriptionKind: row.String("SubscriptionKind"), SubscriptionProblem: row.String("SubscriptionProblem"),
		unwanted: row.Time(columnUnwanted),
	}
}

// Statuses returns how each tenant's compliance updates go, by tenant id.
func Statuses(ctx context.Context, table *storage.Table) (map[string]Status, error) {
	return loadStatuses(ctx, table)
}

func loadStatuses(ctx context.Context, table *storage.Table) (map[string]Status, error) {
	out := map[string]Status{}
	for row, err := range table.List(ctx, storage.Eq("PartitionKey", statusPartition)) {
		if err != nil {
			return nil, fmt.Errorf("read how the tenants' compliance updates go: %w", err)
		}
		out[row.RowKey()] = statusOf(row)
	}
	return out, nil
}

func loadStatus(ctx context.Context, table *storage.Table, tenantID string) (Status, error) {
	row, err := table.Get(ctx, statusPartition, tenantID)
	if errors.Is(err, storage.ErrNotFound) {
		return Status{TenantID: tenantID}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("read how the tenant's compliance updates go: %w", err)
	}
	return statusOf(row), nil
}

// never stands in a row where there is no time: a merge cannot take a column away.
var never = time.Unix(0, 0).UTC()

func orNever(t time.Time) time.Time {
	if t.IsZero() {
		return never
	}
	return t
}

// saveSweep notes a sweep, as change makes it from what is noted now: the
// arrival of a notification meanwhile is not undone.
func saveSweep(ctx context.Context, table *storage.Table, tenantID string, change func(now *Status)) error {
	const most = 8
	for range most {
		row, err := table.Get(ctx, statusPartition, tenantID)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("read how the tenant's compliance updates go: %w", err)
		}
		s := statusOf(row)
		change(&s)
		columns := storage.Entity{
			"PartitionKey": statusPartition, "RowKey": tenantID, "Version": int32(layout.Version),
			"LastSweep": s.LastSweep, "Devices": s.Devices, "Changes": s.Changes,
			"Missed": s.Missed, "MissedSince": orNever(s.MissedSince),
			"Kind": s.Kind, "Problem": clip(s.Problem), "Since": orNever(s.Since), "RetryAfter": orNever(s.RetryAfter),
		}
		if row == nil {
			err = table.Insert(ctx, columns)
		} else {
			err = table.MergeIfMatch(ctx, columns, row.ETag())
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNotFound):
			continue // something else was noted first
		}
		return fmt.Errorf("note how the tenant's compliance updates go: %w", err)
	}
	return fmt.Errorf("note how the tenant's compliance updates go: something else was noted first %d times", most)
}

func mergeStatus(ctx context.Context, table *storage.Table, tenantID string, columns storage.Entity) error {
	columns["PartitionKey"], columns["RowKey"], columns["Version"] = statusPartition, tenantID, int32(layout.Version)
	if err := table.Merge(ctx, columns); err != nil {
		return fmt.Errorf("note how the tenant's compliance updates go: %w", err)
	}
	return nil
}

// clip keeps a text far below what a column holds.
func clip(s string) string {
	if r := []rune(s); len(r) > 2000 {
		return string(r[:2000])
	}
	return s
}

// noteHeard notes that notifications arrive, at most once a minute. It is no
// reason to fail.
func (j *job) noteHeard(ctx context.Context) {
	now := j.Now().UTC()
	j.mu.Lock()
	if j.heard == nil {
		j.heard = map[string]time.Time{}
	}
	again := now.Sub(j.heard[j.to.ref.ID]) < heardEvery
	if !again {
		j.heard[j.to.ref.ID] = now
	}
	j.mu.Unlock()
	if again {
		return
	}
	if err := mergeStatus(ctx, j.Table, j.to.ref.ID, storage.Entity{"LastNotification": now, "Missed": 0}); err != nil {
		j.log.WarnContext(ctx, "that notifications arrive could not be noted", "error", err)
	}
}
