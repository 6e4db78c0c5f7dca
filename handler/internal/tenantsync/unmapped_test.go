package tenantsync

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
)

// blobs are the names of what is kept, leases left out.
func (b *bench) blobs() []string {
	b.t.Helper()
	return append(storagetest.Blobs(b.t, b.Blobs, sectionPrefix), storagetest.Blobs(b.t, b.Blobs, devicematch.BlobPrefix)...)
}

func (b *bench) values(device int) map[string]ledger.Value {
	b.t.Helper()
	values, err := b.ledger.Values(b.t.Context(), labOrg, device)
	must(b.t, err)
	return values
}

func (b *bench) unmap() {
	b.t.Helper()
	must(b.t, b.account.Table("CippMapping").Delete(b.t.Context(), "NinjaOneMapping", labTenant))
}

func (b *bench) remap(tenantID string, organization string) {
	b.row("CippMapping", storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": tenantID, "IntegrationId": organization, "IntegrationName": "Ostholm Printing"})
}

// later lets time pass, and the timer with it.
func (b *bench) later(d time.Duration) {
	b.t.Helper()
	b.set(b.now().Add(d))
	must(b.t, b.ForgetUnmapped(b.t.Context()))
}

const neighbour = "5d0b1c00-0000-4000-8000-000000000002"

func TestForgetUnmapped(t *testing.T) {
	const day = 24 * time.Hour
	all := []string{"sections/eu.ninjarmm.com/7/" + labTenant + ".json", "matches/" + labTenant + ".json"}
	tests := map[string]struct {
		happens func(b *bench)
		kept    []string
		device  bool // the device's values are kept
		whole   bool // the organization's values are kept
	}{
		"mapped": {func(b *bench) { b.later(0); b.later(2 * day) }, all, true, true},
		"unmapped for a day": {func(b *bench) { b.unmap(); b.later(0); b.later(day) },
			nil, false, false},
		"not yet for a day": {func(b *bench) { b.unmap(); b.later(0); b.later(day - time.Minute) }, all, true, true},
		"mapped again in between": {func(b *bench) {
			b.unmap()
			b.later(0)
			b.remap(labTenant, "7")
			b.later(20 * time.Hour)
			b.unmap()
			b.later(20 * time.Hour)
		}, all, true, true},
		"mapped elsewhere": {func(b *bench) { b.remap(labTenant, "8"); b.later(0); b.later(day) }, all[1:], false, false},
		"another tenant shares the organization": {func(b *bench) {
			b.remap(neighbour, "7")
			b.unmap()
			b.later(0)
			b.later(day)
		}, nil, false, true},
		"a mapping that names no tenant": {func(b *bench) {
			b.unmap()
			b.remap("nobody.example", "7")
			b.later(0)
			b.later(2 * day)
		}, all, true, true},
		"a run is under way": {func(b *bench) {
			b.unmap()
			b.later(0)
			lease, err := b.lease(b.t.Context(), labOrg)
			must(b.t, err)
			defer lease.Release()
			b.later(2 * day)
		}, all[:1], true, true},
		"the mappings cannot be read": {func(b *bench) {
			b.later(0)
			b.unmap()
			b.set(b.now().Add(2 * day))
			ended, stop := context.WithCancel(b.t.Context())
			stop()
			if err := b.ForgetUnmapped(ended); err == nil {
				b.t.Error("no error")
			}
		}, all, true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.sync(Message{})
			if got := b.blobs(); !slices.Equal(got, all) || len(b.values(100)) != 3 || len(b.values(0)) != 1 {
				t.Fatalf("the sync keeps %q, %v and %v", got, b.values(100), b.values(0))
			}
			tt.happens(b)
			if got := b.blobs(); !slices.Equal(got, tt.kept) {
				t.Errorf("kept %q, want %q", got, tt.kept)
			}
			if got := len(b.values(100)) > 0; got != tt.device {
				t.Errorf("the device's values are kept: %v, want %v", got, tt.device)
			}
			if got := len(b.values(0)) > 0; got != tt.whole {
				t.Errorf("the organization's values are kept: %v, want %v", got, tt.whole)
			}
			if r := b.records()[device(100)]; r == nil || len(r.Fields) != 3 {
				t.Errorf("what NinjaOne accepted is noted as %+v", r)
			}
		})
	}
}

// A tenant that is mapped again is kept again, although nothing changed and
// nothing is sent.
func TestMappedAgain(t *testing.T) {
	b := newBench(t, 1)
	b.sync(Message{})
	before := b.blobs()
	b.unmap()
	b.later(0)
	b.later(24 * time.Hour)
	b.remap(labTenant, "7")
	b.set(b.now().Add(time.Minute))
	b.ninja.ResetCounters()
	b.sync(Message{})
	if got := b.blobs(); !slices.Equal(got, before) {
		t.Errorf("kept %q, want %q", got, before)
	}
}

// TestBlobsAreStoredWhenTheyChange stores what is kept no more often than it
// changes, and again after a run that was killed.
func TestBlobsAreStoredWhenTheyChange(t *testing.T) {
	b := newBench(t, 1)
	list := devices(1)
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(list), nil }
	versions := func() map[string]string {
		tags := map[string]string{}
		for _, prefix := range []string{sectionPrefix, devicematch.BlobPrefix} {
			for blob, err := range b.Blobs.List(t.Context(), prefix) {
				must(t, err)
				tags[blob.Name] = blob.ETag
			}
		}
		return tags
	}
	changed := func(since map[string]string) (n int) {
		for name, tag := range versions() {
			if since[name] != tag {
				n++
			}
		}
		return n
	}
	steps := []struct {
		name   string
		happen func()
		stored int
	}{
		{"nothing changed", func() { b.sync(Message{}) }, 0},
		{"forced", func() { b.sync(Message{Force: true}) }, 2},
		{"another device", func() { list = nil; b.sync(Message{}) }, 2},
		{"killed", func() {
			r := b.last()
			r.MatchesDigest, r.SectionDigest, r.InventoryDigest = "", "", "" // as do notes when a run begins
			must(t, b.Runs.Save(t.Context(), r))
			b.sync(Message{})
		}, 2},
	}
	b.sync(Message{})
	for _, s := range steps {
		before := versions()
		b.set(b.now().Add(time.Minute))
		s.happen()
		if n := changed(before); n != s.stored {
			t.Errorf("%s: %d blobs were stored, want %d", s.name, n, s.stored)
		}
	}
	began := runs.Run{}
	read := b.reader.snapshot
	b.reader.snapshot = func() (*tenant.Snapshot, error) { began = b.last(); return read() }
	b.sync(Message{})
	if began.MatchesDigest+began.SectionDigest+began.InventoryDigest != "" {
		t.Error("a run that is killed leaves notes of blobs that it may have replaced")
	}
}

// TestNeighbourUnmapped clears the devices of a tenant that shared the
// organization only when it has been unmapped for a while, and never while the
// mappings do not tell.
func TestNeighbourUnmapped(t *testing.T) {
	section := kept{labOrg, neighbour}.sectionName()
	for name, tt := range map[string]struct {
		happens func(b *bench)
		cleared bool
	}{
		"mapped":                           {func(b *bench) { b.remap(neighbour, "7") }, false},
		"not noted yet":                    {func(*bench) {}, false},
		"just noted":                       {func(b *bench) { b.later(0) }, false},
		"noted":                            {func(b *bench) { b.later(0); b.set(b.now().Add(longUnmapped)) }, true},
		"noted, and nothing kept any more": {func(b *bench) { b.later(0); b.later(24 * time.Hour) }, true},
		"a mapping that names no tenant": {func(b *bench) {
			b.later(0)
			b.set(b.now().Add(longUnmapped))
			b.remap("nobody.example", "7")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(devices(1)), nil }
			must(t, b.Blobs.Put(t.Context(), section, []byte("{}")))
			must(t, b.ledger.Save(t.Context(), labOrg, &ledger.Record{Target: device(101), TenantID: neighbour,
				Fields: map[string]string{"links": "d1"}}))
			tt.happens(b)
			p, err := b.Preview(t.Context(), labTenant)
			must(t, err)
			foretold := slices.ContainsFunc(p.Targets, func(d PreviewTarget) bool { return d.DeviceID == 101 && d.Unmatched })
			if foretold != tt.cleared {
				t.Errorf("the preview shows the neighbour's device as one to clear: %v, want %v", foretold, tt.cleared)
			}
			b.sync(Message{})
			r := b.records()[device(101)]
			if cleared := r == nil || !r.HoldsAny(); cleared != tt.cleared {
				t.Errorf("the neighbour's device is cleared: %v, want %v", cleared, tt.cleared)
			}
		})
	}
}

// TestNeighbourSection keeps the part of a tenant that shared the organization
// while it may be that CIPP just saves its mapping.
func TestNeighbourSection(t *testing.T) {
	name := kept{labOrg, neighbour}.sectionName()
	for what, tt := range map[string]struct {
		happens func(b *bench)
		shown   bool
	}{
		"mapped":                          {func(b *bench) { b.remap(neighbour, "7") }, true},
		"not noted yet":                   {func(*bench) {}, true},
		"just noted":                      {func(b *bench) { b.later(0) }, true},
		"noted":                           {func(b *bench) { b.later(0); b.set(b.now().Add(longUnmapped)) }, false},
		"mapped elsewhere":                {func(b *bench) { b.remap(neighbour, "8") }, false},
		"mapped to nothing that is known": {func(b *bench) { b.remap(neighbour, "eight") }, true},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, 1)
			must(t, b.Blobs.Put(t.Context(), name, []byte(`{"tenantId":"`+neighbour+`","fields":{"TenantSummary":"<p>Quill and Vellum</p>"}}`)))
			tt.happens(b)
			p, err := b.Preview(t.Context(), labTenant)
			must(t, err)
			if p.Shared != tt.shown {
				t.Errorf("the preview says that the organization is shared: %v, want %v", p.Shared, tt.shown)
			}
			b.sync(Message{})
			v, _ := b.ninja.OrganizationField(labOrganization, "summary")
			if shown := strings.Contains(v.Text, "Quill and Vellum"); shown != tt.shown || !strings.Contains(v.Text, "Ostholm") {
				t.Errorf("the neighbour's part is shown: %v, want %v; the field says %.200s", shown, tt.shown, v.Text)
			}
		})
	}
}

// TestDeviceChangesTenant: a device that comes from another tenant of the
// organization is ours, also when it shows already what it is to show.
func TestDeviceChangesTenant(t *testing.T) {
	b := newBench(t, 1)
	b.remap(neighbour, "7")
	b.sync(Message{})
	r := b.records()[device(100)]
	r.TenantID = neighbour
	must(t, b.ledger.Save(t.Context(), labOrg, r))
	writes := len(b.ninja.Writes())
	b.sync(Message{})
	if n := len(b.ninja.Writes()) - writes; n != 0 {
		t.Errorf("%d writes, and nothing differs", n)
	}
	if r := b.records()[device(100)]; r.TenantID != labTenant || !r.HoldsAny() {
		t.Errorf("the device is noted as %+v", r)
	}
}
