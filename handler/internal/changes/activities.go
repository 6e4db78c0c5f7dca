package changes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// The activities of NinjaOne that change which devices an organization has, or by
// what they are known. Source: the status codes of GET /v2/activities.
var deviceActivities = []string{
	"NODE_CREATED", "NODE_AUTOMATICALLY_APPROVED", "NODE_MANUALLY_APPROVED", "NODE_RE_ENROLLED",
	"NODE_IDENTIFICATION_UPDATED", "NODE_UPDATED", "NODE_DELETED",
}

// maxAsked is how many devices are asked for one by one. Where more changed, the list of
// all devices costs less. It is read, too, where NinjaOne does not tell of one of them.
const maxAsked = 40

// lookAtNinjaOne reads, once an interval, what happened in NinjaOne since the last look.
// It asks for a light run of the tenants whose devices changed.
func (w *Watcher) lookAtNinjaOne(ctx context.Context, all watched, states map[string]State) error {
	instance, err := ninjaone.NormalizeInstance(all.config.Instance)
	if err != nil {
		return nil // the sync explains it
	}
	row, err := w.Table.Find(ctx, partition, activitiesPrefix+instance)
	if err != nil {
		return fmt.Errorf("read which activity was seen last: %w", err)
	}
	now := w.Now().UTC()
	if now.Sub(row.Time("Looked")) < w.Every-tick/2 {
		return nil
	}
	client, err := w.NinjaOne(all.config)
	if err != nil {
		return err
	}
	since, failures := ninjaone.ActivityMark{Last: int(row.Int("Last")), Reversed: row.Bool("Reversed")}, int(row.Int("Failures"))
	news, last, err := client.Activities(ctx, since)
	if errors.Is(err, bounds.ErrEndless) { // too much happened: the full runs find it
		w.Log.WarnContext(ctx, "more happened in NinjaOne than is read; the next full syncs find what changed", "error", err)
		err = nil
	}
	if err == nil {
		err = w.wakeOrganizations(ctx, client, instance, news, all, states)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if err != nil {
		last = since
	}
	failures, told := w.tellActivities(ctx, err, failures)
	return errors.Join(err, told, w.Table.Replace(ctx, storage.Entity{"PartitionKey": partition, "RowKey": activitiesPrefix + instance,
		"Last": int64(last.Last), "Reversed": last.Reversed, "Looked": now, "Failures": int32(failures)}))
}

// failing is how many failures in a row a look may have before it tells the logbook.
const failing = 3

// tellActivities tells the logbook once that NinjaOne does not say what happened, and
// once that it does again. It returns the failures in a row.
func (w *Watcher) tellActivities(ctx context.Context, cause error, failures int) (int, error) {
	entry := cipp.LogEntry{API: cipp.LogbookSync, Severity: cipp.SeverityInfo, Message: "NinjaOne says again which devices changed."}
	switch {
	case cause == nil && failures < failing:
		return 0, nil
	case cause == nil:
		return 0, w.CIPP.Log(ctx, entry)
	case failures+1 != failing:
		return failures + 1, nil
	}
	entry.Severity = cipp.SeverityWarn
	entry.Message = "NinjaOne does not say which devices changed, so devices that came, left or moved show with the daily sync: " + words.End(cause.Error())
	return failing, w.CIPP.Log(ctx, entry)
}

// wakeOrganizations asks for a light run of the tenants in whose organizations
// devices changed.
func (w *Watcher) wakeOrganizations(ctx context.Context, client *ninjaone.Client, instance string, news []ninjaone.Activity, all watched, states map[string]State) error {
	changed := map[int]bool{}
	for _, a := range news {
		if a.DeviceID != 0 && slices.Contains(deviceActivities, a.Code) {
			changed[a.DeviceID] = true
		}
	}
	if len(changed) == 0 {
		return nil
	}
	organizations, err := w.organizationsOf(ctx, client, instance, changed)
	if err != nil {
		return err
	}
	now := w.Now().UTC() // a run that is due before may have missed it
	var errs []error
	for id, t := range all.tenants {
		if !organizations[t.Mapping.OrganizationID] {
			continue
		}
		s := states[id]
		s.TenantID = id
		s.Found, s.FoundAt = "devices in NinjaOne", now
		err := w.wake(ctx, &s, now, true)
		if err == nil {
			err = w.Table.Merge(ctx, s.wokenRow())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tell tenant %s that devices changed: %w", id, err))
		}
	}
	for _, m := range all.resting {
		if organizations[m.OrganizationID] {
			errs = append(errs, w.Runs.MissLight(ctx, m.TenantID, true, now))
		}
	}
	w.Log.InfoContext(ctx, "devices changed in NinjaOne", "devices", len(changed), "organizations", len(organizations))
	return errors.Join(errs...)
}

// organizationsOf finds the organizations that devices are in, and those in which
// they were when they were written last.
func (w *Watcher) organizationsOf(ctx context.Context, client *ninjaone.Client, instance string, changed map[int]bool) (map[int]bool, error) {
	found, err := w.Ledger.OrganizationsOf(ctx, instance, changed)
	if err != nil {
		return nil, err
	}
	list := len(changed) > maxAsked
	for id := range changed {
		if list {
			break
		}
		d, err := client.Device(ctx, id)
		switch {
		case errors.Is(err, ninjaone.ErrNotFound): // deleted
		case err != nil && !ninjaone.Tolerable(ctx, err):
			return nil, err
		case err != nil, d.OrganizationID == 0: // the others do not wait until NinjaOne tells of this one
			w.Log.InfoContext(ctx, "NinjaOne did not tell of a device that changed; the list of all is read", "device", id, "error", err)
			list = true
		default:
			found[d.OrganizationID] = true
		}
	}
	if !list {
		return found, nil
	}
	for d, err := range client.AllDevices(ctx) {
		if err != nil {
			return nil, err
		}
		if changed[d.ID] {
			found[d.OrganizationID] = true
		}
	}
	return found, nil
}
