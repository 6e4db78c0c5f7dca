package tenantsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// A light run brings NinjaOne up to date after a change, between two full runs. It takes
// from the last run what looks do not watch in Microsoft 365. It reads that anew when
// users came, left, or changed names, addresses or licences. It takes NinjaOne's devices
// and fields from the last run too, unless a device arrived, left or moved. It heals
// nothing and looks for nobody else's leftovers; the next full run does that. It has a
// record of its own, so that it never counts as the daily sync. It writes only problems
// to the logbook.

const (
	// lightRetry is how long the next light run waits after the first that failed. Each
	// further failure doubles the wait, up to lightRetryMost.
	lightRetry     = 5 * time.Minute
	lightRetryMost = time.Hour
	// After lightTries failed light runs, the change is left to the full run. After
	// lightTold, the run tells the logbook.
	lightTries = 12
	lightTold  = 3
	// lightWaits is how long a light run waits while a full run goes on.
	lightWaits = time.Minute
	// dailyLife is how long after a full run its daily parts serve.
	dailyLife = 26 * time.Hour
	// lightProblem is the key of the problem that light runs fail.
	lightProblem = "light"
)

// inventory is what a run found in NinjaOne, for the light runs after it.
type inventory struct {
	Instance       string                 `json:"instance"`
	OrganizationID int                    `json:"organizationId"`
	Devices        []keptDevice           `json:"devices"`
	Fields         []ninjaone.CustomField `json:"fields"` // those that are mapped
	// Daily are parts of Microsoft 365 as [tenant.Daily.Write] writes them, deflated: of
	// 50,000 users they are 60 MB. Empty for none. A version whose parts are others gives
	// them another name, because a part that is missing would look like one that is empty.
	Daily []byte `json:"parts1,omitempty"`
}

// maxDaily is the most that the daily parts may be before they are deflated, in bytes. A
// tenant of which they are more is read as if none were known.
const maxDaily = 1 << 30

// keptDevice is a device in our own form: NinjaOne's is only read.
type keptDevice ninjaone.Device

// keepInventory stores what a run found in NinjaOne, and read in Microsoft 365. Where
// NinjaOne's list is in doubt, NinjaOne's side stays as it was.
func (j *job) keepInventory(ctx context.Context, in *inputs) error {
	daily := in.snapshot.Daily()
	var v inventory
	switch {
	case in.roster.Unusable:
		kept, err := j.inventory(ctx)
		if err != nil || kept == nil {
			return err
		}
		v = *kept
	case j.stored == nil:
		v = inventory{Instance: j.organization.Instance, OrganizationID: j.organization.ID}
		for _, d := range in.roster.Devices {
			v.Devices = append(v.Devices, keptDevice(d))
		}
		for _, name := range slices.Sorted(maps.Values(in.mapped)) {
			if f, has := in.definitions[strings.ToLower(name)]; has {
				v.Fields = append(v.Fields, f)
			}
		}
	case daily == nil || j.daily != nil && daily.Users == j.daily.Users:
		return nil
	default:
		v = *j.stored
	}
	v.Daily = nil
	if daily != nil {
		packed, err := storage.Deflated(daily.Write)
		if err != nil {
			return fmt.Errorf("keep what was read of Microsoft 365: %w", err)
		}
		v.Daily = packed
	}
	return storage.Doing(j.keep(ctx, inventoryName(j.ref.ID), v, &j.run.InventoryDigest), "keep what NinjaOne has")
}

// inventory reads what the last run found in NinjaOne. It is nil when unknown, or of
// another organization.
func (j *job) inventory(ctx context.Context) (*inventory, error) {
	v, err := storage.FindJSON[inventory](ctx, j.Blobs, inventoryName(j.ref.ID))
	if err != nil {
		return nil, fmt.Errorf("read what NinjaOne has: %w", err)
	}
	if v == nil || v.Instance != j.organization.Instance || v.OrganizationID != j.organization.ID {
		return nil, nil
	}
	return v, nil
}

// daily are the parts of Microsoft 365 that are kept; nil where there are none, or none
// that can be read.
func (v *inventory) daily() *tenant.Daily {
	if len(v.Daily) == 0 {
		return nil
	}
	d, err := tenant.ReadDaily(storage.Inflated(v.Daily, maxDaily))
	if err != nil {
		return nil
	}
	return d
}

// listed are the devices of the inventory as if NinjaOne had listed them.
func (v *inventory) listed() []ninjaone.Device {
	list := make([]ninjaone.Device, len(v.Devices))
	for i, d := range v.Devices {
		list[i] = ninjaone.Device(d)
	}
	return list
}

// covers reports whether the inventory has the definitions of all mapped fields.
func (v *inventory) covers(mapped map[string]string) bool {
	for _, name := range mapped {
		if !slices.ContainsFunc(v.Fields, func(f ninjaone.CustomField) bool { return strings.EqualFold(f.Name, name) }) {
			return false
		}
	}
	return true
}

// stillHere leaves out the devices that are not in the organization any more. A light run
// goes by what the last run listed. It must show nothing of a tenant on a device that
// another customer has by now. So it asks NinjaOne for one device, or for the list of
// all. Where NinjaOne does not tell, it leaves them out too, and the run has failed.
func (w *writing) stillHere(ctx context.Context, sends []*ledger.Send) ([]*ledger.Send, error) {
	if w.stored == nil {
		return sends, nil
	}
	var ids []int
	for _, s := range sends {
		if t := s.Record.Target; t.Kind == ledger.KindDevice && w.here == nil {
			ids = append(ids, t.ID)
		}
	}
	here := w.here
	var unread error
	switch {
	case len(ids) == 1:
		d, err := w.client.Device(ctx, ids[0])
		if err != nil && !errors.Is(err, ninjaone.ErrNotFound) {
			unread = fmt.Errorf("whether NinjaOne device %d is still in the organization could not be read: %w", ids[0], err)
		}
		here = map[int]bool{ids[0]: err == nil && d.OrganizationID == w.organization.ID && d.Approved()}
	case len(ids) > 1:
		list, _, err := w.client.Devices(ctx, w.organization.ID)
		if err != nil {
			unread = fmt.Errorf("the devices of the NinjaOne organization could not be read: %w", err)
		}
		here = map[int]bool{}
		for _, d := range list {
			here[d.ID] = true
		}
		w.here = here
	}
	switch {
	case unread == nil:
	case !ninjaone.Tolerable(ctx, unread):
		return nil, unread
	default: // the rest does not wait for the devices, which the next attempt writes
		w.unwritten = unread
	}
	return slices.DeleteFunc(sends, func(s *ledger.Send) bool {
		t := s.Record.Target
		left := t.Kind == ledger.KindDevice && !here[t.ID]
		w.strays = w.strays || left
		return left
	}), nil
}

// light is do for a light run; last is the tenant's last full run.
func (j *job) light(ctx context.Context, last runs.Run) error {
	before, err := j.Runs.LastLight(ctx, j.ref.ID)
	if err != nil {
		return err
	}
	switch needless, err := j.needlessLight(ctx, last, before); {
	case err != nil || needless:
		return err
	case last.Status == runs.Running: // it reads the change, unless it was killed
		return j.Queue.Send(ctx, j.message, lightWaits)
	}
	kept, err := j.inventory(ctx)
	if err != nil {
		return err
	}
	if !j.message.Devices {
		j.stored = kept
	}
	if kept != nil && j.Now().Sub(last.LastSuccess) < dailyLife {
		j.daily = kept.daily()
	}
	j.since = last.Start // another process may have read later than this one
	if before.Start.After(j.since) {
		j.since = before.Start
	}
	j.begin(last)
	j.run.Owed = "" // a forced run's own
	j.log.InfoContext(ctx, "light run started", "devices", j.message.Devices)
	return j.within(ctx, func(bounded context.Context, err error) error { return j.finishLight(bounded, last, before, err) })
}

// needlessLight reports whether a light run would find nothing. Then a completed run
// began to read after the last change that relies on the message. It read NinjaOne's
// devices too where these changed. Or there is no full run to begin from, or the tenant
// is paused.
func (j *job) needlessLight(ctx context.Context, last runs.Run, before runs.Light) (bool, error) {
	if last.LastSuccess.IsZero() && last.Status != runs.Running {
		j.log.InfoContext(ctx, "the tenant was never synced, so that its first sync shows the change")
		return true, nil
	}
	relies := j.message.Sent.Add(time.Second)
	if j.message.Due.After(relies) {
		relies = j.message.Due
	}
	if !j.message.Sent.IsZero() &&
		(last.Status == runs.Completed && last.Start.After(relies) || !j.message.Devices && before.Fresh.After(relies)) {
		j.log.InfoContext(ctx, "the tenant was read after this message was sent; it is dropped")
		return true, nil
	}
	pauses, err := j.Runs.Pauses(ctx)
	if err != nil || !pauses.Paused(j.ref.ID) {
		return false, err
	}
	j.log.InfoContext(ctx, "the tenant is paused; the light run is dropped")
	return true, j.Runs.MissLight(ctx, j.ref.ID, j.message.Devices, j.Now())
}

// unread says why a light run may have missed the change. It could not read a watched
// list, although the last full run had no such problem.
func unread(s *tenant.Snapshot, known []problems.Problem) error {
	watched := []string{"users", "groups", "directory roles", "Entra devices", "Intune devices"}
	absent := absentParts(s)
	for _, reason := range slices.Sorted(maps.Keys(absent)) {
		names := absent[reason]
		i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(watched, name) })
		if i >= 0 && !slices.ContainsFunc(known, func(p problems.Problem) bool { return p.Key == "part:"+reason }) {
			return fmt.Errorf("%s's %s could not be read: %s", microsoft365, names[i], words.End(reason))
		}
	}
	return nil
}

// finishLight records the end of a light run, and queues it again where work is
// left.
func (j *job) finishLight(bounded context.Context, last runs.Run, before runs.Light, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(bounded), recordTimeout)
	defer cancel()
	r := j.run
	l := runs.Light{
		TenantID: r.TenantID, Status: runs.Completed, Start: r.Start, End: j.Now().UTC(), Fresh: before.Fresh,
		OrganizationFields: r.OrganizationFields, Devices: r.Devices, Documents: r.Documents,
	}
	now := slices.DeleteFunc(slices.Clone(last.Problems), func(p problems.Problem) bool { return p.Key == lightProblem })
	if cause == nil {
		cause = cmp.Or(j.unread, j.unwritten)
	}
	delay, goesOn := j.goesOn(bounded, cause)
	var errs []error
	switch {
	case cause == nil:
		l.Fresh = r.Start
		if j.strays {
			errs = append(errs, j.Queue.Send(ctx, Message{TenantID: j.ref.ID, Light: true, Devices: true}, 0))
		}
		for _, p := range j.problems.List() {
			if !slices.ContainsFunc(now, func(known problems.Problem) bool { return known.Key == p.Key }) {
				now = append(now, p)
			}
		}
	case goesOn:
		l.Status = runs.Running
		errs = append(errs, j.Queue.Send(ctx, j.message, delay))
		now = last.Problems
	default:
		l.Status, l.Reason, l.Failures = runs.Failed, j.reason(cause), before.Failures+1
		if l.Failures < lightTries {
			errs = append(errs, j.Queue.Send(ctx, j.message, retry.Doubling(lightRetry, lightRetryMost, l.Failures)))
		}
		if l.Failures >= lightTold {
			now = append(now, problems.Problem{Key: lightProblem, Message: fmt.Sprintf(
				"Changes of this tenant do not reach NinjaOne within minutes, since %d attempts failed: %s The next full sync shows them.", l.Failures, words.End(l.Reason))})
		}
	}
	j.log.InfoContext(ctx, "light run ended", "status", l.Status, "reason", l.Reason,
		"organizationFields", l.OrganizationFields, "devices", l.Devices, "unchanged", r.Unchanged)
	kept, lines := problems.Reconcile(last.Problems, now, l.End)
	r.Problems = kept
	errs = append(errs, j.Runs.SaveLight(ctx, l), j.Runs.NoteStored(ctx, r))
	for _, line := range lines {
		errs = append(errs, j.tell(ctx, line.Severity, line.Message))
	}
	return errors.Join(errs...)
}
