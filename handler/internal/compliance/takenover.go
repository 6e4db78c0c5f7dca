package compliance

import (
	"context"
	"errors"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/tenant"
)

// What CIPP's own engine wrote counts as ours. Before the tenant's first sync the ledger
// notes nothing of it. Until then the worker asks NinjaOne what it shows of the devices
// whose compliance it would clear.

// takeOver clears the devices that show a value of the one rule, of which the ledger
// notes nothing.
func (j *job) takeOver(ctx context.Context, book *devicematch.Book, values map[int]ninjaone.Fields, found map[int]*tenant.ManagedDevice, notes map[int]ledger.DeviceCompliance) error {
	unnoted := map[int]bool{}
	for id, d := range found {
		if _, noted := notes[id]; !noted && d.ComplianceState != "" && value(d.ComplianceState).IsClear() {
			unnoted[id] = true
		}
	}
	return j.clearShown(ctx, book, values, unnoted)
}

// takeOverNamed is takeOver for values to write.
func (j *job) takeOverNamed(ctx context.Context, book *devicematch.Book, values map[int]ninjaone.Fields) error {
	unnoted := map[int]bool{}
	for id, v := range values {
		if !onlyClear(v) || book.Synced() {
			continue
		}
		noted, err := j.Ledger.Owned(ctx, j.to.Organization, id)
		if err != nil {
			return err
		}
		if !noted {
			unnoted[id] = true
		}
	}
	return j.clearShown(ctx, book, values, unnoted)
}

func (j *job) clearShown(ctx context.Context, book *devicematch.Book, values map[int]ninjaone.Fields, unnoted map[int]bool) error {
	if book.Synced() || len(unnoted) == 0 {
		return nil
	}
	shown, err := j.showing(ctx, book)
	if errors.Is(err, pacing.ErrBusy) || err != nil && (j.lost() || ctx.Err() != nil) {
		return err
	}
	if err != nil { // the tenant's first sync does it
		j.log.InfoContext(ctx, "what NinjaOne shows of devices of unknown compliance could not be read", "devices", len(unnoted), "error", err)
	}
	for id := range unnoted {
		if len(shown[id]) == 0 {
			continue
		}
		values[id], j.shown[id] = ninjaone.Fields{}, shown[id]
		for name := range shown[id] {
			values[id][name] = ninjaone.Clear()
		}
	}
	return nil
}

// showing returns the devices of the organization that show a value of ours, with the
// fields that do.
func (j *job) showing(ctx context.Context, book *devicematch.Book) (map[int]map[string]bool, error) {
	devices, err := j.ninjaDevices(ctx, book)
	if err != nil {
		return nil, err
	}
	here := make(map[int]bool, len(devices)) // the report's filter may not be applied
	for _, d := range devices {
		here[d.ID] = true
	}
	if ctx, err = j.paced(ctx); err != nil {
		return nil, err
	}
	shown := map[int]map[string]bool{}
	for v, err := range j.client.DeviceFieldValues(ctx, j.to.Organization.ID, j.fields.Names(), time.Time{}, nil) {
		if err != nil {
			return nil, err
		}
		for _, f := range v.Fields {
			ours := f.Name == j.fields.Compliance && compose.IsCompliance(f.Text) || f.Name == j.fields.Settings && compose.IsSettings(f.Text)
			if !ours || !here[v.DeviceID] {
				continue
			}
			if shown[v.DeviceID] == nil {
				shown[v.DeviceID] = map[string]bool{}
			}
			shown[v.DeviceID][f.Name] = true
		}
	}
	return shown, nil
}
