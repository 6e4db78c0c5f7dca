// Package devicematch alone knows which Intune device is which NinjaOne device. It keeps
// the pairs of a tenant's last matching, and judges what NinjaOne's list of an
// organization's devices proves.
//
// Package match does the matching, and nothing is written to NinjaOne here.
package devicematch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// Matches is how the devices of a tenant matched in its last sync.
type Matches struct {
	Pairs      []Pair     `json:"pairs"`
	IntuneOnly []Leftover `json:"intuneOnly"` // without NinjaOne device
	NinjaOnly  []Leftover `json:"ninjaOnly"`  // without Intune device
	// Digest changes with the matches. It is "" without a sync yet, or when they were
	// unreadable; the next sync rewrites them.
	Digest string `json:"-"`
}

// Pair is a machine that both manage.
type Pair struct {
	ManagedDeviceID string         `json:"managedDeviceId"` // Intune's id
	Name            string         `json:"name"`            // Intune's name; "" when an earlier version kept it
	NinjaOneID      int            `json:"ninjaOneId"`
	NinjaOneName    string         `json:"ninjaOneName"`
	Evidence        match.Evidence `json:"evidence"`
	Superseded      []string       `json:"superseded,omitempty"` // managed device ids of older records of the machine
	Contesting      []Contestant   `json:"contesting,omitempty"`

	// HeldElsewhere says that the NinjaOne device shows what another tenant has, so
	// that CIPP's map leaves it out.
	HeldElsewhere bool   `json:"-"`
	entraDeviceID string // "" when the pair was read from a blob
}

// Contestant is another managed device in use that claims to be the machine of a
// pair.
type Contestant struct {
	ManagedDeviceID string `json:"managedDeviceId"`
	Name            string `json:"name"`
}

// Leftover is a device without counterpart.
type Leftover struct {
	ID     string `json:"id"` // Intune's managed device id, or NinjaOne's id
	Name   string `json:"name"`
	Serial string `json:"serial,omitempty"`
	Reason string `json:"reason"` // why it has none
	// Superseded says that it is an older Intune record of another such device.
	Superseded bool `json:"superseded,omitempty"`
}

// Of lists which devices matched and why, and both leftovers.
func Of(result match.Result) Matches {
	m := Matches{Pairs: []Pair{}, IntuneOnly: []Leftover{}, NinjaOnly: []Leftover{}}
	for _, p := range result.Pairs {
		k := Pair{ManagedDeviceID: p.Intune.ID, Name: p.Intune.DeviceName, NinjaOneID: p.Ninja.ID, NinjaOneName: NameOf(p.Ninja), Evidence: p.Evidence, entraDeviceID: p.Intune.AzureADDeviceID}
		for _, s := range p.Superseded {
			k.Superseded = append(k.Superseded, s.ID)
		}
		for _, c := range p.Contesting {
			k.Contesting = append(k.Contesting, Contestant{c.ID, c.DeviceName})
		}
		m.Pairs = append(m.Pairs, k)
	}
	for _, l := range result.IntuneOnly {
		m.IntuneOnly = append(m.IntuneOnly, Leftover{l.Device.ID, l.Device.DeviceName, l.Device.SerialNumber, l.Reason, l.Superseded})
	}
	for _, l := range result.NinjaOnly {
		m.NinjaOnly = append(m.NinjaOnly, Leftover{fmt.Sprint(l.Device.ID), NameOf(l.Device), l.Device.SerialNumber, l.Reason, false})
	}
	return m
}

// NameOf is the name that technicians see a NinjaOne device under.
func NameOf(d *ninjaone.Device) string { return cmp.Or(d.DisplayName, d.SystemName, d.DNSName) }

// Save keeps the matches of a tenant's sync, in a blob and in CIPP's device map.
// It leaves a blob alone whose digest is noted, and returns the digest to note. The
// map's rows are read where they are nil.
func Save(ctx context.Context, store *cipp.Store, blobs *storage.Container, tenantID string, m Matches, noted string, present cipp.MapRows) (digest string, err error) {
	body, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	name := BlobName(tenantID)
	if digest = ledger.Sum([]byte(name + ledger.Sum(body))); digest != noted {
		if err := blobs.Put(ctx, name, body); err != nil {
			return "", fmt.Errorf("keep which devices of tenant %s matched: %w", tenantID, err)
		}
	}
	return digest, m.saveMap(ctx, store, tenantID, present)
}

// saveMap brings CIPP's device map up to date.
func (m Matches) saveMap(ctx context.Context, store *cipp.Store, tenantID string, present cipp.MapRows) error {
	var entries []cipp.DeviceMapEntry
	for _, p := range m.Pairs {
		if !p.HeldElsewhere {
			entries = append(entries, cipp.DeviceMapEntry{EntraDeviceID: p.entraDeviceID, NinjaOneID: p.NinjaOneID, ManagedDeviceID: p.ManagedDeviceID})
		}
	}
	return store.SaveDeviceMap(ctx, tenantID, entries, present)
}

// Load reads how the devices of a tenant matched in its last sync; without Digest
// when it has had none.
func Load(ctx context.Context, blobs *storage.Container, tenantID string) (Matches, error) {
	body, err := blobs.Find(ctx, BlobName(tenantID))
	if err != nil {
		return Matches{}, fmt.Errorf("read which devices of tenant %s matched: %w", tenantID, err)
	}
	var m Matches
	if json.Unmarshal(body, &m) != nil {
		return Matches{}, nil
	}
	m.Digest = ledger.Sum(body)
	return m, nil
}

// Managed returns the NinjaOne device of each managed device, which several have
// that contest it.
func (m Matches) Managed() map[string]int {
	pairs := map[string]int{}
	for _, p := range m.Pairs {
		pairs[p.ManagedDeviceID] = p.NinjaOneID
		for _, c := range p.Contesting {
			pairs[c.ManagedDeviceID] = p.NinjaOneID
		}
	}
	delete(pairs, "") // of a record without its id nothing can be remembered
	return pairs
}

// Absent returns the managed devices without NinjaOne device of their own: older
// records of machines among them.
func (m Matches) Absent() map[string]bool {
	absent := map[string]bool{}
	for _, l := range m.IntuneOnly {
		absent[l.ID] = true
	}
	for _, p := range m.Pairs {
		for _, id := range p.Superseded {
			absent[id] = true
		}
	}
	delete(absent, "")
	return absent
}

// Has reports whether a NinjaOne device is one of a pair.
func (m Matches) Has(ninjaOneID int) bool {
	return slices.ContainsFunc(m.Pairs, func(p Pair) bool { return p.NinjaOneID == ninjaOneID })
}

// UnmatchedSerials returns the serial numbers of the Intune devices that a tenant's last
// sync did not find in NinjaOne. It is false when there was no sync.
func UnmatchedSerials(ctx context.Context, blobs *storage.Container, tenantID string) ([]string, bool, error) {
	m, err := Load(ctx, blobs, tenantID)
	var serials []string
	for _, d := range m.IntuneOnly {
		if !d.Superseded {
			serials = append(serials, d.Serial)
		}
	}
	return serials, m.Digest != "", err
}
