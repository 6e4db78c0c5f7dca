package compliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// bookLife is how long the matches of a tenant count in memory.
	bookLife = time.Minute
	// rematchAfter is how soon a tenant may be matched anew again.
	rematchAfter = 2 * time.Minute
	// absentLife is how long a device that is not in NinjaOne is remembered;
	// the daily sync looks again anyway.
	absentLife = 24 * time.Hour
	// maxBooks bounds the tenants in memory.
	maxBooks = 200
)

// rematch is the outcome of matching a tenant anew, kept as a blob until the
// sync's own matches change.
type rematch struct {
	Base           string          `json:"base"` // digest of the sync's matches that it replaces
	Instance       string          `json:"instance"`
	OrganizationID int             `json:"organizationId"`
	At             time.Time       `json:"at"`
	Pairs          map[string]int  `json:"pairs"`  // managed device id to NinjaOne device id, which several have that contest it
	Absent         map[string]bool `json:"absent"` // managed devices without NinjaOne device of their own
}

// book tells which NinjaOne device a managed device is. The best source is the
// last matching, the sync's or our own; CIPP's device map follows.
type book struct {
	base   string // digest of the sync's matches
	pairs  map[string]int
	absent map[string]bool
	owner  map[int]string // NinjaOne device id to managed device id
	// contested are the NinjaOne devices of several managed devices: the worst
	// of their states counts, so they are judged together only.
	contested map[int]bool
	byEntra   map[string]cipp.DeviceMapEntry
	matched   time.Time // when it was last matched anew; zero for never
	fresh     bool      // the pairs are of the NinjaOne organization as it is now
	read      time.Time
}

// find returns the NinjaOne device of a managed device. known is false when
// only matching anew can tell; a device that is known to be absent has id 0.
func (b *book) find(d *tenant.ManagedDevice) (id int, known bool) {
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

// contests reports whether a managed device that is present, or an Entra device
// that is not enrolled any more, is one of several of a NinjaOne device.
func (b *book) contests(present []tenant.ManagedDevice, gone []string) bool {
	return slices.ContainsFunc(present, func(d tenant.ManagedDevice) bool {
		id, _ := b.find(&d)
		return b.contested[id]
	}) || slices.ContainsFunc(gone, func(entraID string) bool { return b.contested[b.byEntra[entraID].NinjaOneID] })
}

// books keeps the books of the tenants at work.
type books struct {
	cipp  *cipp.Store
	blobs *storage.Container
	now   func() time.Time

	mu   sync.Mutex
	kept map[string]*book
}

func rematchBlob(tenantID string) string { return "compliance/" + tenantID + ".json" }

// open returns the tenant's book.
func (s *books) open(ctx context.Context, to assignment) (*book, error) {
	key := fmt.Sprintf("%s|%d|%s", to.instance, to.organizationID, to.ref.ID)
	now := s.now()
	s.mu.Lock()
	have := s.kept[key]
	s.mu.Unlock()
	if have != nil && now.Sub(have.read) < bookLife {
		return have, nil
	}
	b, err := s.load(ctx, to)
	if err != nil {
		return nil, err
	}
	b.read = now
	s.keep(key, b)
	return b, nil
}

func (s *books) keep(key string, b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || len(s.kept) >= maxBooks {
		s.kept = map[string]*book{}
	}
	s.kept[key] = b
}

func (s *books) load(ctx context.Context, to assignment) (*book, error) {
	synced, err := devicematch.Load(ctx, s.blobs, to.ref.ID)
	if err != nil {
		return nil, err
	}
	b := &book{base: synced.Digest, pairs: synced.Managed(), absent: synced.Absent()}
	own, err := s.loadRematch(ctx, to, synced.Digest)
	if err != nil {
		return nil, err
	}
	if own != nil {
		b.pairs, b.absent, b.matched = own.Pairs, own.Absent, own.At
		if s.now().Sub(own.At) >= absentLife {
			b.absent = map[string]bool{}
		}
	}
	if b.byEntra, err = s.cipp.DeviceMap(ctx, to.ref.ID); err != nil {
		return nil, err
	}
	b.own()
	return b, nil
}

func (b *book) own() {
	b.owner, b.contested = make(map[int]string, len(b.pairs)), map[int]bool{}
	for managed, id := range b.pairs {
		if b.owner[id] != "" {
			b.contested[id] = true
		}
		b.owner[id] = max(b.owner[id], managed)
	}
}

// loadRematch returns our own last matching, nil when there is none or when it
// is not of the present organization or older than the sync's.
func (s *books) loadRematch(ctx context.Context, to assignment, base string) (*rematch, error) {
	body, err := s.blobs.Get(ctx, rematchBlob(to.ref.ID))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which devices were matched anew: %w", err)
	}
	var r rematch
	if json.Unmarshal(body, &r) != nil || r.Base != base || r.Instance != to.instance || r.OrganizationID != to.organizationID ||
		r.Pairs == nil || r.Absent == nil {
		return nil, nil
	}
	return &r, nil
}

// match matches the tenant's devices anew, remembers the outcome, also of
// devices that are not in NinjaOne, and returns the new book.
func (s *books) match(ctx context.Context, to assignment, before *book, intune []tenant.ManagedDevice, ninja []ninjaone.Device) (*book, error) {
	r := rematch{Base: before.base, Instance: to.instance, OrganizationID: to.organizationID, At: s.now().UTC(),
		Pairs: map[string]int{}, Absent: map[string]bool{}}
	var entries []cipp.DeviceMapEntry
	result := match.Devices(match.WithFormerSerials(intune, ninja, before.pairs), ninja)
	for _, p := range result.Pairs {
		for _, d := range append(p.Contesting, p.Intune) {
			r.Pairs[d.ID] = p.Ninja.ID
		}
		entries = append(entries, cipp.DeviceMapEntry{EntraDeviceID: p.Intune.AzureADDeviceID, NinjaOneID: p.Ninja.ID, ManagedDeviceID: p.Intune.ID})
		for _, d := range p.Superseded {
			r.Absent[d.ID] = true
		}
	}
	for _, l := range result.IntuneOnly {
		r.Absent[l.Device.ID] = true
	}
	// Of a record without its id nothing can be remembered.
	delete(r.Pairs, "")
	delete(r.Absent, "")
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := s.blobs.Put(ctx, rematchBlob(to.ref.ID), body); err != nil {
		return nil, fmt.Errorf("keep which devices were matched anew: %w", err)
	}
	if err := s.cipp.SaveDeviceMap(ctx, to.ref.ID, entries); err != nil {
		return nil, err
	}
	b := &book{base: r.Base, pairs: r.Pairs, absent: r.Absent, byEntra: before.byEntra, matched: r.At, fresh: true, read: s.now()}
	b.own()
	s.keep(fmt.Sprintf("%s|%d|%s", to.instance, to.organizationID, to.ref.ID), b)
	return b, nil
}
