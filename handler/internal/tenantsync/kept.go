package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/storage"
)

// KeptMatches is how the devices of a tenant matched in its last sync, for
// technicians.
type KeptMatches struct {
	Pairs      []KeptPair
	IntuneOnly []KeptDevice // without NinjaOne device
	NinjaOnly  []KeptDevice // without Intune device
}

// KeptPair is a machine that both manage.
type KeptPair struct {
	ManagedDeviceID string // Intune's id
	Name            string // Intune's name; "" when it was kept by an earlier version
	NinjaOneID      int
	NinjaOneName    string
	Evidence        match.Evidence
	Superseded      int      // older Intune records of the machine
	Contesting      []string // Intune's names of the other devices in use that claim to be the machine
}

// KeptDevice is a device without counterpart.
type KeptDevice struct {
	ID     string // Intune's managed device id, or NinjaOne's id
	Name   string
	Serial string
	Reason string // why it has none
	// Superseded says that it is an older Intune record of another such device.
	Superseded bool
}

// loadMatches reads how the devices of a tenant matched in its last sync, and a
// digest of it: "" when it has had none, or left what cannot be read, which the
// next sync rewrites.
func loadMatches(ctx context.Context, blobs *storage.Container, tenantID string) (kept matches, digest string, err error) {
	body, err := blobs.Get(ctx, matchesName(tenantID))
	if errors.Is(err, storage.ErrNotFound) {
		return matches{}, "", nil
	}
	if err != nil {
		return matches{}, "", fmt.Errorf("read which devices of tenant %s matched: %w", tenantID, err)
	}
	if json.Unmarshal(body, &kept) != nil {
		return matches{}, "", nil
	}
	return kept, accepted.Sum(body), nil
}

// ReadMatches returns how the devices of a tenant matched in its last sync,
// from the container ContainerName; false when it has had none.
func ReadMatches(ctx context.Context, blobs *storage.Container, tenantID string) (KeptMatches, bool, error) {
	kept, digest, err := loadMatches(ctx, blobs, tenantID)
	if err != nil || digest == "" {
		return KeptMatches{}, false, err
	}
	var out KeptMatches
	for _, p := range kept.Pairs {
		pair := KeptPair{p.ManagedDeviceID, p.Name, p.NinjaOneID, p.NinjaOneName, p.Evidence, len(p.Superseded), nil}
		for _, c := range p.Contesting {
			pair.Contesting = append(pair.Contesting, c.Name)
		}
		out.Pairs = append(out.Pairs, pair)
	}
	for _, l := range kept.IntuneOnly {
		out.IntuneOnly = append(out.IntuneOnly, KeptDevice(l))
	}
	for _, l := range kept.NinjaOnly {
		out.NinjaOnly = append(out.NinjaOnly, KeptDevice(l))
	}
	return out, true, nil
}

// UnmatchedSerials returns the serial numbers of the Intune devices that a
// tenant's last sync did not find in NinjaOne; false when it has had none.
func UnmatchedSerials(ctx context.Context, blobs *storage.Container, tenantID string) ([]string, bool, error) {
	kept, ok, err := ReadMatches(ctx, blobs, tenantID)
	var serials []string
	for _, d := range kept.IntuneOnly {
		if !d.Superseded {
			serials = append(serials, d.Serial)
		}
	}
	return serials, ok, err
}
