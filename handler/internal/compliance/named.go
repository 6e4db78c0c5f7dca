package compliance

import (
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// maxObjects bounds the remembered ids of Entra devices.
const maxObjects = 50000

// named handles devices that notifications named, by directory object id.
func (j *job) named(ctx context.Context, objectIDs []string) error {
	if err := j.connect(ctx); err != nil {
		return err
	}
	devices, err := j.entraIDs(ctx, objectIDs)
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return nil
	}
	book, err := j.Books.Recent(ctx, j.to.Ref.ID, j.to.Organization)
	if err != nil {
		return err
	}
	read := j.Now().UTC()
	lists, err := j.Devices.ManagedDevicesOf(ctx, j.to.Ref, devices)
	if err != nil {
		return err
	}
	var present []tenant.ManagedDevice
	var gone []string // no managed device names them
	for i, entraID := range devices {
		if len(lists[i]) == 0 {
			gone = append(gone, entraID)
		} else {
			present = append(present, slices.MinFunc(lists[i], func(a, b tenant.ManagedDevice) int { return match.NewestFirst(&a, &b) }))
		}
	}
	targets, open, err := j.targets(ctx, book, present)
	if err == nil && open && j.Books.MayRematch(book) {
		if book, _, err = j.rematch(ctx, book, nil); err == nil {
			targets, _, err = j.targets(ctx, book, present)
		}
	}
	if err != nil {
		return err
	}
	whole, err := j.left(ctx, book, gone)
	if err != nil {
		return err
	}
	if whole || book.Contests(present, gone) {
		// What the others of the NinjaOne device say counts as well. They are few: the
		// whole list costs no more than asking for them.
		return j.judgeAll(ctx)
	}
	if err := j.takeOverNamed(ctx, book, targets); err != nil {
		return err
	}
	_, _, err = j.writeAll(ctx, targets, read, writers, time.Time{})
	return err
}

// entraIDs returns the Entra deviceIds of directory objects, from memory where they are
// known: the two never change. It leaves out devices that are gone: what happens to their
// Intune record decides, and the sweep sees it.
func (j *job) entraIDs(ctx context.Context, objectIDs []string) ([]string, error) {
	var out, ask []string
	j.knowing.Lock()
	for _, id := range objectIDs {
		if have := j.objects[j.to.Ref.ID+id]; have != "" {
			out = append(out, have)
		} else {
			ask = append(ask, id)
		}
	}
	j.knowing.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	found, err := j.Devices.EntraDeviceIDs(ctx, j.to.Ref, ask)
	if err != nil {
		return nil, err
	}
	j.knowing.Lock()
	defer j.knowing.Unlock()
	if len(j.objects) >= maxObjects {
		clear(j.objects)
	}
	for i, entraID := range found {
		if entraID != "" {
			j.objects[j.to.Ref.ID+ask[i]] = entraID
			out = append(out, entraID)
		}
	}
	return out, nil
}

// targets returns the values by NinjaOne device id. open is true when only matching anew
// can place some devices.
func (j *job) targets(ctx context.Context, b *devicematch.Book, present []tenant.ManagedDevice) (values map[int]ninjaone.Fields, open bool, err error) {
	found, open := b.Assign(present)
	policies, err := j.readPolicies(ctx, found)
	if err != nil {
		return nil, false, err
	}
	values = map[int]ninjaone.Fields{}
	for id, d := range found {
		v := j.values(d, policies) // nothing where Intune said nothing: the fields stay
		if !b.Fresh {
			noted, err := j.Ledger.Owned(ctx, j.to.Organization, id)
			if err != nil {
				return nil, false, err
			}
			if !noted && !onlyClear(v) {
				ours, err := j.inOrganization(ctx, id)
				if err != nil {
					return nil, false, err
				}
				if !ours {
					open = true
					continue
				}
			}
		}
		values[id] = v
	}
	return values, open, nil
}

// inOrganization reports whether NinjaOne has the device, in the organization.
func (j *job) inOrganization(ctx context.Context, id int) (bool, error) {
	ctx, err := j.paced(ctx)
	if err != nil {
		return false, err
	}
	d, err := j.client.Device(ctx, id)
	if errors.Is(err, ninjaone.ErrNotFound) {
		return false, nil
	}
	return err == nil && d.OrganizationID == j.to.Organization.ID, err
}
