package documents

import (
	"context"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/storage"
)

// The brake on archiving. Many users and licences may seem to have ended because
// something is wrong. Then their documents wait for a person's word. All runs of a day
// count together, and many of them may be light.

// brakeDay is how long archived documents count with those that are due for archiving.
const brakeDay = 24 * time.Hour

// lately reports whether a document counts with those that are due for archiving. It does
// when a run archived it within a day and no person has confirmed that since.
func (r *run) lately(rec *ledger.Document) bool {
	at := time.Unix(rec.Ended, 0)
	return rec.Archived && r.started.Sub(at) < brakeDay && at.After(r.progress.Confirmed)
}

// braked reports whether a run must ask before it archives so many of a tenant's
// documents. It must for more than ten, if they are more than a fifth.
func braked(archive, of int) bool { return archive > 10 && archive*5 > of }

// braked reports whether the documents that ended wait, given the brake that is on. What
// waits for a person does not go because a day went by, unless some of it came back.
func (e ending) braked(b ledger.Brake) bool {
	waits := b.TenantID != "" && !b.Confirmed && e.leaving >= b.Archive
	return e.leaving > 0 && (waits || braked(e.leaving+e.lately, e.of)) && !(b.Confirmed && e.leaving <= b.Archive+10)
}

// archiveLeavers archives the documents of users and licences that ended,
// unless they are too many.
func (r *run) archiveLeavers(ctx context.Context) error {
	e := r.planEnd()
	if e.held > 0 {
		r.in.Problems.Add("documents:licences", "Microsoft 365 no longer lists %d licences that users still have or may have. Their documents stay as they are until it agrees with itself.", e.held)
	}
	noting, done := storage.Noting(ctx)
	defer done()
	if err := r.ledger.Forget(noting, e.forget...); err != nil {
		return err
	}
	for _, rec := range e.forget {
		delete(r.records, rec.Subject)
	}
	if e.braked(r.brake) {
		return r.putBrakeOn(ctx, e)
	}
	for _, sec := range r.sections {
		if err := r.archive(ctx, sec, e.archive[sec]); err != nil {
			return err
		}
	}
	// A confirmation holds until everything is archived.
	unread := false
	for _, sec := range r.sections {
		unread = unread || sec.blocked || sec.contradicted
	}
	if r.brake.TenantID == "" || unread || r.brake.Confirmed && r.planEnd().leaving > 0 {
		return nil
	}
	if r.brake.Confirmed {
		r.progress.Confirmed = r.Now().UTC()
		if err := r.saveProgress(ctx); err != nil {
			return err
		}
	}
	return r.Ledger.TakeBrakeOff(ctx, r.tenantID)
}

// putBrakeOn tells that the brake holds, and notes it.
func (r *run) putBrakeOn(ctx context.Context, e ending) error {
	before := ""
	if e.lately > 0 {
		before = fmt.Sprintf(", after %d within a day", e.lately)
	}
	r.in.Problems.Add("documents:brake", "%d of %d documents would be archived%s. Their users or licences are gone from Microsoft 365 or no longer qualify. As that is more than a fifth, they stay. Check that this is right, and confirm it on the console; the next sync then archives them.", e.leaving, e.of, before)
	b := ledger.Brake{TenantID: r.tenantID, OrganizationID: r.in.OrganizationID, Archive: e.leaving, Of: e.of, Since: r.brake.Since}
	if b == r.brake {
		return nil
	}
	if b.Since.IsZero() {
		b.Since = r.Now()
	}
	return r.Ledger.PutBrakeOn(ctx, b)
}
