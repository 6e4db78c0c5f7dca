package tenantsync

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// onDevices is what NinjaOne shows of ours on the organization's devices.
func (b *bench) onDevices() map[string]string {
	all := map[string]string{}
	for _, d := range b.ninja.Devices(labOrganization) {
		for _, f := range []string{"links", "details", "compliance", "other"} {
			if v := b.sent(device(d.ID), f); v != "" {
				all[d.SystemName+" "+f] = v
			}
		}
	}
	return all
}

// told are the problems of the tenant's last run as one text.
func (b *bench) told() string {
	b.t.Helper()
	return b.toldOf(labTenant)
}

func (b *bench) toldOf(tenantID string) string {
	b.t.Helper()
	r, err := b.Runs.Last(b.t.Context(), tenantID)
	must(b.t, err)
	if r.Status != runs.Completed {
		b.t.Errorf("the run of %s ended as %s: %s", tenantID, r.Status, r.Reason)
	}
	var lines []string
	for _, p := range r.Problems {
		lines = append(lines, p.Message)
	}
	return strings.Join(lines, "\n")
}

// emptyList lets NinjaOne answer its list of devices with none.
var emptyList = ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/devices-detailed$", Status: http.StatusOK, Body: "[]"}

// endlessList lets NinjaOne answer each page of its list of devices with the same full
// one.
func endlessList() ninjasim.Fault {
	full := make([]string, 1000)
	for i := range full {
		full[i] = fmt.Sprintf(`{"id":%d,"organizationId":%d,"approvalStatus":"APPROVED"}`, i+1, labOrganization)
	}
	list := emptyList
	list.Body = "[" + strings.Join(full, ",") + "]"
	return list
}

// TestNumbersWithoutNinjaOnesList has Intune list a machine three times that enrolled
// again and again. It counts once also while NinjaOne's list of devices is not believed,
// whether that was so from the first sync on or not.
func TestNumbersWithoutNinjaOnesList(t *testing.T) {
	list := devices(3)
	for i := range 2 {
		old := list[0]
		old.ID, old.AzureADDeviceID = fmt.Sprintf("0f4f4ad0-5b57-4e64-9d8c-%012d", 90+i), fmt.Sprintf("7d0c4b1e-7a52-4be1-9f0f-%012d", 90+i)
		old.LastSync = old.LastSync.AddDate(0, -1-i, 0)
		list = append(list, old)
	}
	for name, synced := range map[string]bool{"from the first sync on": false, "after a sync": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3)
			b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(slices.Clone(list)), nil }
			want := "In NinjaOne too: 0 of 3"
			if synced {
				b.sync(Message{})
				want = b.sent(organization, "summary")
			}
			b.ninja.InjectFault(endlessList())
			b.set(b.now().Add(time.Hour))
			b.sync(Message{})
			if told := b.told(); !strings.Contains(told, "came to no end") {
				t.Fatalf("told %q", told)
			}
			if got := b.sent(organization, "summary"); !strings.Contains(got, want) {
				t.Errorf("the summary says %q, want %q", got, want)
			}
		})
	}
}

// TestAListThatLacksDevices syncs devices, lets NinjaOne's list lack some of
// them, and looks what becomes of what they show.
func TestAListThatLacksDevices(t *testing.T) {
	tests := map[string]struct {
		devices int
		happens func(b *bench)
		cleared []int  // devices that show nothing of ours afterwards
		told    string // "" for nothing
		calls   int    // of GET /v2/device/{id}, at most
	}{
		"all, and NinjaOne shows each": {devices: 3, happens: func(b *bench) { b.ninja.InjectFault(emptyList) },
			told: "lacks 3 devices that NinjaOne shows as approved", calls: 3},
		"one, and NinjaOne shows it": {devices: 3, happens: func(b *bench) { b.ninja.Hide(101) },
			told: "lacks 1 devices that NinjaOne shows as approved", calls: 1},
		"more than can be believed": {devices: 14, happens: func(b *bench) { b.ninja.InjectFault(emptyList) },
			told: "the list is not believed", calls: 10 + 1},
		"a list that never ends": {devices: 3, happens: func(b *bench) {
			b.ninja.InjectFault(endlessList())
		}, told: "came to no end", calls: 0},
		"all but a few, cut short": {devices: 14, happens: func(b *bench) { b.ninja.Hide(102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113) },
			told: "the list is not believed", calls: 10 + 1},
		"one that is pending": {devices: 3, happens: func(b *bench) { b.approve(101, "PENDING") }, cleared: []int{101}, calls: 1},
		"one that is staged":  {devices: 3, happens: func(b *bench) { b.approve(101, "STAGED") }, cleared: []int{101}, calls: 1},
		"one that is decommissioned, and one that is there": {devices: 3, happens: func(b *bench) { b.approve(101, "DECOMMISSIONED"); b.ninja.Hide(102) },
			cleared: []int{101}, told: "lacks 1 devices that", calls: 2},
		"one that is deleted, and one that is there": {devices: 3, happens: func(b *bench) { b.ninja.RemoveDevice(101); b.ninja.Hide(102) },
			told: "lacks 1 devices that", calls: 2},
		"one that moved": {devices: 3, happens: func(b *bench) { b.ninja.MoveDevice(101, 8) }, cleared: []int{101}, calls: 1},
		"one that cannot be looked up": {devices: 3, happens: func(b *bench) {
			b.ninja.Hide(101)
			b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/device/101$", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
		}, told: "what became of them could not be looked up", calls: 1},
		"one whose organization is not said": {devices: 3, happens: func(b *bench) {
			b.ninja.Hide(101)
			b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/device/101$", Status: http.StatusOK, Body: `{"id":101,"approvalStatus":"APPROVED"}`})
		}, told: "what became of them could not be looked up", calls: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tt.devices)
			b.ninja.AddOrganization(ninjasim.Organization{ID: 8, Name: "Elsewhere"})
			b.sync(Message{})
			before, pairs := b.onDevices(), b.pairs()
			if len(before) != 3*tt.devices || len(pairs) != tt.devices {
				t.Fatalf("the sync wrote %d values, and matched %d", len(before), len(pairs))
			}
			tt.happens(b)
			b.ninja.ResetCounters()
			b.set(b.now().Add(time.Hour))
			preview, err := b.Preview(t.Context(), labTenant)
			must(t, err)
			var foreseen []int
			for _, p := range preview.Targets {
				if p.Unmatched {
					foreseen = append(foreseen, p.DeviceID)
				}
			}
			if !slices.Equal(foreseen, tt.cleared) {
				t.Errorf("the preview clears %v, want %v", foreseen, tt.cleared)
			}
			if n := b.ninja.Calls()["GET /v2/device/{id}"]; n > tt.calls {
				t.Errorf("%d devices were asked for, want %d at most", n, tt.calls)
			}
			b.sync(Message{})
			for id, at := range pairs {
				gone := slices.Contains(tt.cleared, at)
				deleted := !slices.ContainsFunc(append(b.ninja.Devices(labOrganization), b.ninja.Devices(8)...), func(d ninjasim.Device) bool { return d.ID == at })
				for _, f := range []string{"links", "details", "compliance"} {
					if got := b.sent(device(at), f); (got == "") != (gone || deleted) {
						t.Errorf("device %d shows %.30q in %s", at, got, f)
					}
				}
				if kept := b.pairs()[id] == at; kept != !(gone || deleted) {
					t.Errorf("the pair of device %d is kept: %v", at, kept)
				}
			}
			if told := b.told(); (told != "") != (tt.told != "") || !strings.Contains(told, tt.told) {
				t.Errorf("told %q, want %q", told, tt.told)
			}
			for _, w := range b.ninja.Writes() {
				if w.Kind != ninjasim.OrganizationKind && !slices.Contains(tt.cleared, w.ID) {
					t.Errorf("%v was written: %v, cleared %v", w.Target, w.Fields, w.Cleared)
				}
			}
			// When the list is whole again all is as it was, and that is told.
			b.ninja.Hide()
			b.ninja.ClearFaults()
			b.set(b.now().Add(time.Hour))
			b.ninja.ResetCounters()
			b.sync(Message{})
			if told := b.told(); told != "" {
				t.Errorf("still told: %q", told)
			}
			if n := b.ninja.Calls()["GET /v2/device/{id}"]; n > 1 {
				t.Errorf("%d devices were asked for after that", n)
			}
		})
	}
}

// pairs are the pairs that the last sync kept.
func (b *bench) pairs() map[string]int {
	b.t.Helper()
	m, err := devicematch.Load(b.t.Context(), b.Blobs, labTenant)
	must(b.t, err)
	return m.Managed()
}

// TestAListThatIsNotFiltered lets NinjaOne pass over the filter of its lists and
// reports: no device of another organization is matched, written or compared.
func TestAListThatIsNotFiltered(t *testing.T) {
	b := newBench(t, 2)
	b.ninja.AddOrganization(ninjasim.Organization{ID: 8, Name: "Another customer"})
	// The third has the serial number of an Intune record that has no device
	// here, the fourth that of one which has.
	b.ninja.AddDevice(ninjasim.Device{ID: 902, OrganizationID: 8, SystemName: "OP-002", SerialNumber: "5CG1000002"})
	b.ninja.AddDevice(ninjasim.Device{ID: 903, OrganizationID: 8, SystemName: "OP-001", SerialNumber: "5CG1000001"})
	b.ninja.AddDevice(ninjasim.Device{ID: 904, OrganizationID: labOrganization, SystemName: "OP-002", SerialNumber: "5CG1000002", ApprovalStatus: "PENDING"})
	b.ninja.SetDeviceField(902, "compliance", "theirs")
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(devices(3)), nil }
	b.ninja.Ignore("df", "fields", "updatedAfter")
	for range 3 {
		b.sync(Message{})
		b.set(b.now().Add(time.Hour))
	}
	told := b.told()
	for _, want := range []string{"NinjaOne listed 2 devices that are not of organization 7", "report of custom fields has 1 devices, such as device 902", "fields that were not asked for"} {
		if !strings.Contains(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	}
	times := map[ninjasim.Target]int{}
	for _, w := range b.ninja.Writes() {
		times[w.Target]++
	}
	want := map[ninjasim.Target]int{{Kind: ninjasim.OrganizationKind, ID: labOrganization}: 1, {Kind: ninjasim.DeviceKind, ID: 100}: 1, {Kind: ninjasim.DeviceKind, ID: 101}: 1}
	if !maps.Equal(times, want) {
		t.Errorf("written: %v, want %v", times, want)
	}
	if got := b.sent(device(902), "compliance"); got != "theirs" {
		t.Errorf("another customer's device shows %q", got)
	}
	b.ninja.Ignore()
	b.sync(Message{})
	if told := b.told(); told != "" {
		t.Errorf("still told: %q", told)
	}
}

// TestRelationsOfDevicesThatTheListLacks leaves the relations of users to their
// devices alone while NinjaOne's list contradicts NinjaOne, also where no field
// is mapped, so that nothing is noted of the devices.
func TestRelationsOfDevicesThatTheListLacks(t *testing.T) {
	for name, fields := range map[string]bool{"fields and documents": true, "documents alone": false} {
		t.Run(name, func(t *testing.T) {
			for _, hidden := range [][]int{nil, {100}} {
				b := newBench(t, 12)
				if !fields {
					for _, f := range []string{tenantSummary, deviceLinks, deviceSummary, deviceCompliance} {
						b.row("CippMapping", map[string]any{"PartitionKey": "NinjaOneFieldMapping", "RowKey": f, "IntegrationId": ""})
					}
				}
				b.withDocuments(1)
				read := b.reader.snapshot
				list := devices(12)
				b.reader.snapshot = func() (*tenant.Snapshot, error) {
					s, err := read()
					for i := range list {
						list[i].UserID = s.Users.Value[0].ID
					}
					s.ManagedDevices = tenant.Present(list)
					return s, err
				}
				b.sync(Message{})
				b.sync(Message{})
				before := len(b.ninja.Relations())
				if before != 12 {
					t.Fatalf("%d relations were made", before)
				}
				written := len(b.ninja.DocumentWrites())
				if hidden == nil {
					b.ninja.InjectFault(emptyList)
				} else {
					b.ninja.Hide(hidden...)
				}
				b.set(b.now().Add(time.Hour))
				b.sync(Message{})
				if told := b.told(); !strings.Contains(told, "NinjaOne shows as approved") {
					t.Errorf("told %q", told)
				}
				if n := len(b.ninja.Relations()); n != before {
					t.Errorf("%d relations are left of %d", n, before)
				}
				if n := len(b.ninja.DocumentWrites()); n != written {
					t.Errorf("documents and relations were written %d times", n-written)
				}
			}
		})
	}
}
