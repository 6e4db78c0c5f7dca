package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/words"
)

// refuse writes the logbook line of a tenant that is not synced.
func (j *job) refuse(ctx context.Context, message string) error {
	return errors.Join(j.Runs.Unqueue(ctx, j.ref.ID), j.tell(ctx, cipp.SeverityWarn, message))
}

// tell writes a line about the tenant to CIPP's logbook.
func (j *job) tell(ctx context.Context, severity, message string) error {
	return j.CIPP.Log(ctx, cipp.LogEntry{Tenant: j.ref.DefaultDomain, TenantID: j.ref.ID, API: apiName, Severity: severity, Message: message})
}

// goOn puts the tenant back on the queue. What NinjaOne accepted is noted, so the next
// run sends the rest. What a forced run still owes is in its record.
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
		errs = append(errs, j.tell(ctx, cipp.SeverityInfo, l))
	}
	return errors.Join(errs...)
}

// finish records the end of a run: our state, CIPP's mapping row, and the
// logbook lines that are owed.
func (j *job) finish(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	r := &j.run
	j.forced = j.forced || j.message.Force
	// CIPP's row has the start. Since then a run of CIPP may have put its own there, which
	// stays: it tells that CIPP wrote.
	var start time.Time
	if r.TenantID == "" { // failed before it began
		last, err := j.Runs.Last(ctx, j.ref.ID)
		if err != nil {
			return err
		}
		j.begin(last)
		start = r.Start
	}
	r.End = j.Now().UTC()
	seconds := int(r.End.Sub(r.Start).Round(time.Second).Seconds())
	before := r.Problems
	lines := []cipp.LogEntry{}
	if cause != nil {
		r.Status, r.Reason = runs.Failed, j.reason(cause)
		r.Failures++
		// What was wrong before is still unknown now: those problems stay.
		stale := problems.Problem{Key: "failed", Message: fmt.Sprintf("The sync to NinjaOne failed after %d seconds: %s", seconds, words.End(r.Reason))}
		kept, known := []problems.Problem{}, slices.Clone(before)
		for i, p := range before {
			switch {
			case p.Key != stale.Key:
				kept = append(kept, p)
			case j.forced:
				known[i].Told = time.Time{} // somebody waits for the answer, known or not
			}
		}
		var again []cipp.LogEntry
		r.Problems, again = problems.Reconcile(known, append(kept, stale), r.End)
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
		errs = append(errs, j.tell(ctx, l.Severity, l.Message))
	}
	errs = append(errs, j.CIPP.RecordRun(ctx, j.mapping, start, r.End, r.Status))
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
type overtime struct {
	error
	run context.Context
}

// Unwrap returns what the run was about when its time was used up.
func (o overtime) Unwrap() error { return o.error }

// reason words an error for the logbook.
func (j *job) reason(err error) string {
	o, over := errors.AsType[overtime](err)
	if !over {
		return err.Error()
	}
	end, _ := o.run.Deadline()
	return fmt.Sprintf("the time for one run was used up before anything was written, at last by %q. A run has %s: give it more with the setting SYNC_TIME_BUDGET, and functionTimeout in host.json where that is the limit",
		strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error()), end.Sub(j.run.Start).Round(time.Second))
}
