package assignments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

const (
	// Notifications are called silent once they failed to come for silentAfter, and missed
	// silentChanges changes.
	silentAfter   = time.Hour
	silentChanges = 3
	// maxProblem is the longest text of a problem, far below what a column holds.
	maxProblem = 2000
)

// The kinds of problem that a sweep can have. A subscription can have the first
// as well.
const (
	KindSignIn   = "signin"   // the tenant gives no token; the sync says so too
	KindNoIntune = "nointune" // nothing is wrong: there is nothing to read
	KindField    = "field"    // NinjaOne's field cannot be written
	KindFailed   = "failed"   // anything else, mostly passing
)

// Status is how a tenant's compliance updates go. Its row is in schema.go. Unknown times
// are zero.
type Status struct {
	TenantID string

	LastNotification, LastSweep time.Time
	Devices, Changes            int
	Missed                      int // 0 once notifications arrive again
	MissedSince                 time.Time

	Kind, Problem     string
	Since, RetryAfter time.Time

	Expires             time.Time // also of one that ended and could not be renewed
	SubscriptionKind    string    // as m365.SubscriptionError has it
	SubscriptionProblem string
	Unwanted            time.Time
}

// Silent reports whether notifications do not arrive although they should.
func (s Status) Silent(now time.Time) bool {
	return s.Missed >= silentChanges && now.Sub(s.MissedSince) >= silentAfter
}

// Trouble says what delays or stops the tenant's compliance updates, for a technician.
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

// CountMissed notes changes that a sweep found while no notification came
// since the sweep before, which began at last.
func (s *Status) CountMissed(last time.Time, changed int, now time.Time) {
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

// Statuses keeps the status of each tenant.
type Statuses struct {
	Table *storage.Table // NinjaOneSubscriptions
}

// All returns how each tenant's compliance updates go, by tenant id.
func (s Statuses) All(ctx context.Context) (map[string]Status, error) {
	all, err := storage.ReadPartition(ctx, s.Table, partition, statusOf)
	return all, storage.Doing(err, "read how the tenants' compliance updates go")
}

// Of returns how one tenant's compliance updates go.
func (s Statuses) Of(ctx context.Context, tenantID string) (Status, error) {
	status, _, err := s.of(ctx, tenantID)
	return status, err
}

func (s Statuses) of(ctx context.Context, tenantID string) (Status, storage.Entity, error) {
	row, err := s.Table.Find(ctx, partition, tenantID)
	if err != nil {
		return Status{}, nil, fmt.Errorf("read how the tenant's compliance updates go: %w", err)
	}
	return statusOf(row), row, nil
}

// NoteHeard notes that notifications arrive.
func (s Statuses) NoteHeard(ctx context.Context, tenantID string, now time.Time) error {
	return s.merge(ctx, tenantID, storage.Entity{"LastNotification": now, "Missed": 0})
}

// NoteSubscription notes how the tenant's subscription stands. Unless its end is
// known, zero for none, the row keeps the one that it has.
func (s Statuses) NoteSubscription(ctx context.Context, tenantID, kind, problem string, expires time.Time, known bool) error {
	columns := storage.Entity{"SubscriptionKind": kind, "SubscriptionProblem": words.Clip(problem, maxProblem)}
	if known {
		columns["Expires"] = orNever(expires)
	}
	return s.merge(ctx, tenantID, columns)
}

// NoteUnwanted notes since when nobody wants the tenant's subscription; zero
// when somebody does.
func (s Statuses) NoteUnwanted(ctx context.Context, tenantID string, since time.Time) error {
	return s.merge(ctx, tenantID, storage.Entity{"Unwanted": orNever(since)})
}

// NoteSweep notes a sweep, as change makes it of what is noted now. So a notification
// that arrives meanwhile stays noted.
func (s Statuses) NoteSweep(ctx context.Context, tenantID string, change func(now *Status)) error {
	const most = 8
	for range most {
		now, row, err := s.of(ctx, tenantID)
		if err != nil {
			return err
		}
		change(&now)
		columns := columnsOf(tenantID, storage.Entity{
			"LastSweep": now.LastSweep, "Devices": now.Devices, "Changes": now.Changes,
			"Missed": now.Missed, "MissedSince": orNever(now.MissedSince),
			"Kind": now.Kind, "Problem": words.Clip(now.Problem, maxProblem), "Since": orNever(now.Since), "RetryAfter": orNever(now.RetryAfter),
		})
		if row == nil {
			err = s.Table.Insert(ctx, columns)
		} else {
			err = s.Table.MergeIfMatch(ctx, columns, row.ETag())
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

// Forget removes a tenant's status.
func (s Statuses) Forget(ctx context.Context, tenantID string) error {
	return s.Table.Delete(ctx, partition, tenantID)
}

func (s Statuses) merge(ctx context.Context, tenantID string, columns storage.Entity) error {
	return storage.Doing(s.Table.Merge(ctx, columnsOf(tenantID, columns)), "note how the tenant's compliance updates go")
}
