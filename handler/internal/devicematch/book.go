package devicematch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// bookLife is how long a book counts in memory.
	bookLife = time.Minute
	// rematchAfter is how soon a tenant may be matched anew again.
	rematchAfter = 2 * time.Minute
	// absentLife is how long a device that is not in NinjaOne is remembered;
	// the daily sync looks again anyway.
	absentLife = 24 * time.Hour
)

// Books knows which NinjaOne devices the managed devices of tenants are between
// two syncs. It is safe for concurrent use.
type Books struct {
	cipp   *cipp.Store
	blobs  *storage.Container
	now    func() time.Time
	recent lookup.Cache[bookKey, *Book]
}

// NewBooks returns the books that are kept in the container of the syncs and in
// CIPP's device map.
func NewBooks(store *cipp.Store, blobs *storage.Container, now func() time.Time) *Books {
	return &Books{cipp: store, blobs: blobs, now: now}
}

type bookKey struct {
	tenantID     string
	organization ledger.Organization
}

// Book tells which NinjaOne device each managed device of a tenant is. The best
// source is the last matching, a sync's or a later one; CIPP's device map follows.
type Book struct {
	// Fresh says that the pairs are of the NinjaOne organization as it is now.
	Fresh bool

	key    bookKey
	base   string // digest of the sync's matches
	pairs  map[string]int
	absent map[string]bool
	owner  map[int]string // NinjaOne device id to managed device id
	// contested are the NinjaOne devices of several managed devices. The worst of their
	// states counts, so they are judged together.
	contested map[int]bool
	byEntra   map[string]cipp.DeviceMapEntry
	matched   time.Time // when it was last matched anew; zero for never
	read      time.Time
}

// Recent returns a tenant's book as it was within the last minute.
func (s *Books) Recent(ctx context.Context, tenantID string, o ledger.Organization) (*Book, error) {
	good := func(b *Book) bool { return s.now().Sub(b.read) < bookLife }
	return s.recent.Get(ctx, bookKey{tenantID, o}, good, func(ctx context.Context, _ *Book) (*Book, error) {
		s.recent.Forget(func(_ bookKey, b *Book) bool { return !good(b) })
		return s.Read(ctx, tenantID, o)
	})
}

// Read reads a tenant's book.
func (s *Books) Read(ctx context.Context, tenantID string, o ledger.Organization) (*Book, error) {
	b := &Book{key: bookKey{tenantID, o}, read: s.now()}
	synced, err := Load(ctx, s.blobs, tenantID)
	if err != nil {
		return nil, err
	}
	b.base, b.pairs, b.absent = synced.Digest, synced.Managed(), synced.Absent()
	r, err := s.loadRematch(ctx, b)
	if err != nil {
		return nil, err
	}
	if r != nil {
		b.pairs, b.absent, b.matched = r.Pairs, r.Absent, r.At
		if b.read.Sub(r.At) >= absentLife {
			b.absent = nil
		}
	}
	if b.byEntra, _, err = s.cipp.DeviceMap(ctx, tenantID); err != nil {
		return nil, err
	}
	b.index()
	return b, nil
}

// index finds out whose each NinjaOne device is.
func (b *Book) index() {
	b.owner, b.contested = make(map[int]string, len(b.pairs)), map[int]bool{}
	for managed, id := range b.pairs {
		if b.owner[id] != "" {
			b.contested[id] = true
		}
		b.owner[id] = max(b.owner[id], managed)
	}
}

// loadRematch returns the matching that followed the sync's. It is nil when there is
// none, or when it is of another organization or older than the sync's.
func (s *Books) loadRematch(ctx context.Context, b *Book) (*rematch, error) {
	r, err := storage.FindJSON[rematch](ctx, s.blobs, rematchBlob(b.key.tenantID))
	if err != nil {
		return nil, fmt.Errorf("read which devices were matched anew: %w", err)
	}
	if r == nil || r.Base != b.base || r.organization() != b.key.organization || r.Pairs == nil || r.Absent == nil {
		return nil, nil
	}
	return r, nil
}

// Rematch matches the tenant of a book anew, and keeps that in a blob and in CIPP's
// device map. It returns the new book.
func (s *Books) Rematch(ctx context.Context, b *Book, intune []tenant.ManagedDevice, ninja []ninjaone.Device) (*Book, error) {
	m := Of(match.Devices(match.WithFormerSerials(intune, ninja, b.pairs)))
	o := b.key.organization
	r := rematch{Base: b.base, Instance: o.Instance, OrganizationID: o.ID, At: s.now().UTC(), Pairs: m.Managed(), Absent: m.Absent()}
	if err := s.blobs.PutJSON(ctx, rematchBlob(b.key.tenantID), r); err != nil {
		return nil, fmt.Errorf("keep which devices were matched anew: %w", err)
	}
	if err := m.saveMap(ctx, s.cipp, b.key.tenantID, nil); err != nil {
		return nil, err
	}
	after := &Book{Fresh: true, key: b.key, base: b.base, pairs: r.Pairs, absent: r.Absent, byEntra: b.byEntra, matched: r.At, read: s.now()}
	after.index()
	s.recent.Put(b.key, after)
	return after, nil
}

// MayRematch reports whether the last matching was long enough ago for another.
func (s *Books) MayRematch(b *Book) bool {
	return b.matched.IsZero() || s.now().Sub(b.matched) >= rematchAfter
}

// Synced reports whether the tenant has had a sync.
func (b *Book) Synced() bool { return b.base != "" }

// Matched returns the ids of the NinjaOne devices that have a managed device.
func (b *Book) Matched() []int { return slices.Collect(maps.Keys(b.owner)) }

// find returns the NinjaOne device of a managed device, 0 for one that is known to be
// absent. It reports known as false when only matching anew can tell.
func (b *Book) find(d *tenant.ManagedDevice) (id int, known bool) {
	if id, ok := b.pairs[d.ID]; ok {
		return id, true
	}
	if b.absent[d.ID] {
		return 0, true
	}
	if e, ok := b.byEntra[d.AzureADDeviceID]; ok && d.AzureADDeviceID != "" {
		return e.NinjaOneID, true
	}
	return 0, false
}

// Contests reports whether one of several devices that contest a NinjaOne device is
// among these. They are managed devices, or Entra devices that no managed device names
// any more.
func (b *Book) Contests(present []tenant.ManagedDevice, gone []string) bool {
	return slices.ContainsFunc(present, func(d tenant.ManagedDevice) bool {
		id, _ := b.find(&d)
		return b.contested[id]
	}) || slices.ContainsFunc(gone, func(entraID string) bool { return b.contested[b.byEntra[entraID].NinjaOneID] })
}

// Left returns the NinjaOne device of an Entra device that no managed device names any
// more. It returns none if another managed device has it by now.
func (b *Book) Left(entraID string) (id int, ok bool) {
	e, ok := b.byEntra[entraID]
	owner := b.owner[e.NinjaOneID]
	return e.NinjaOneID, ok && (owner == "" || owner == e.ManagedDeviceID)
}

// Assign gives each NinjaOne device the managed device that speaks for it. That is the
// worst of those that contest it. It reports open when only matching anew can place some
// managed devices.
func (b *Book) Assign(present []tenant.ManagedDevice) (found map[int]*tenant.ManagedDevice, open bool) {
	here := make(map[string]bool, len(present))
	for i := range present {
		here[present[i].ID] = true
	}
	found = make(map[int]*tenant.ManagedDevice, len(present))
	doubtful := map[int]bool{}
	for i := range present {
		d := &present[i]
		id, known := b.find(d)
		switch {
		case !known:
			open = true
		case id == 0:
		case b.contested[id] && b.pairs[d.ID] != id:
			doubtful[id], open = true, true // another record of one of those that contest it
		case b.pairs[d.ID] == id:
			if other := found[id]; other == nil || b.pairs[other.ID] != id || tenant.Judge(d.ComplianceState) > tenant.Judge(other.ComplianceState) {
				found[id] = d
			}
		case b.owner[id] != "" && (here[b.owner[id]] || b.owner[id] != b.byEntra[d.AzureADDeviceID].ManagedDeviceID):
			open = true // CIPP's map names a device that another record speaks for
		case found[id] != nil || doubtful[id]:
			delete(found, id)
			doubtful[id], open = true, true
		default:
			found[id] = d
		}
	}
	for id := range doubtful {
		if b.contested[id] {
			delete(found, id)
		}
	}
	return found, open
}
