package compliance

import (
	"context"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// rematch matches the whole tenant anew. It returns the new book and the list of managed
// devices that it read. It reads the NinjaOne devices unless the caller gives them.
func (j *job) rematch(ctx context.Context, before *devicematch.Book, ninja []ninjaone.Device) (*devicematch.Book, []tenant.ManagedDevice, error) {
	intune, err := j.Devices.MatchableDevices(ctx, j.to.Ref)
	if err != nil {
		return nil, nil, err
	}
	if ninja == nil {
		if ninja, err = j.ninjaDevices(ctx, before); err != nil {
			return nil, nil, err
		}
	}
	b, err := j.Books.Rematch(ctx, before, intune, ninja)
	if err != nil {
		return nil, nil, err
	}
	j.log.InfoContext(ctx, "devices matched anew", "matched", len(b.Matched()))
	return b, intune, nil
}

// ninjaDevices lists the devices of the tenant's organization. It asks for those that
// were matched before where the list lacks them.
func (j *job) ninjaDevices(ctx context.Context, before *devicematch.Book) ([]ninjaone.Device, error) {
	ctx, err := j.paced(ctx)
	if err != nil {
		return nil, err
	}
	listed, foreign, err := j.client.Devices(ctx, j.to.Organization.ID)
	if err != nil {
		return nil, fmt.Errorf("read the devices of NinjaOne organization %d: %w", j.to.Organization.ID, err)
	}
	roster, err := devicematch.JudgeDevices(ctx, j.client, j.to.Organization.ID, listed, foreign, before.Matched())
	if err != nil {
		return nil, err
	}
	if !roster.Known() {
		return nil, errors.New(roster.Odd[len(roster.Odd)-1].Message)
	}
	return roster.Devices, nil
}
