package tenantsync

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestRecordsThatAreNotWhole syncs devices, and then lets Intune's list come with
// one record that lacks something: nothing is cleared for it. When Intune lists
// the device no more, it is.
func TestRecordsThatAreNotWhole(t *testing.T) {
	const n = 3
	intune := func(change func(list []tenant.ManagedDevice) []tenant.ManagedDevice) func() (*tenant.Snapshot, error) {
		return func() (*tenant.Snapshot, error) {
			list := devices(n)
			for i := range list {
				list[i].DeviceName = "INTUNE-ONLY-" + list[i].ID // so that serial numbers alone decide
			}
			return snapshot(change(list)), nil
		}
	}
	whole := func(list []tenant.ManagedDevice) []tenant.ManagedDevice { return list }
	for name, tt := range map[string]struct {
		change func(list []tenant.ManagedDevice) []tenant.ManagedDevice
		told   string
	}{
		"no serial number": {func(list []tenant.ManagedDevice) []tenant.ManagedDevice {
			list[0].SerialNumber = " "
			return list
		}, ""},
		"no serial numbers at all": {func(list []tenant.ManagedDevice) []tenant.ManagedDevice {
			for i := range list {
				list[i].SerialNumber = ""
			}
			return list
		}, ""},
		"no compliance state": {func(list []tenant.ManagedDevice) []tenant.ManagedDevice {
			list[0].ComplianceState = ""
			return list
		}, "Intune listed 1 devices without a compliance state"},
		"nothing at all": {func(list []tenant.ManagedDevice) []tenant.ManagedDevice {
			list[0] = tenant.ManagedDevice{}
			return list
		}, "without their id and serial number"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, n)
			b.reader.snapshot = intune(whole)
			b.sync(Message{})
			before := b.onDevices()
			if len(before) != 3*n {
				t.Fatalf("the sync wrote %d values", len(before))
			}
			b.reader.snapshot = intune(tt.change)
			for range 2 {
				b.set(b.now().Add(time.Hour))
				b.ninja.ResetCounters()
				b.sync(Message{})
				after := b.onDevices()
				for at, value := range before {
					if after[at] == "" || strings.HasSuffix(at, "compliance") && after[at] != value {
						t.Errorf("%s shows %.30q, and showed %.30q", at, after[at], value)
					}
				}
				if told := b.told(); (told == "") != (tt.told == "") || !strings.Contains(told, tt.told) {
					t.Errorf("told %q, want %q", told, tt.told)
				}
			}
			preview, err := b.Preview(t.Context(), labTenant)
			must(t, err)
			for _, target := range preview.Targets {
				for _, f := range target.Fields {
					if f.Outcome == OutcomeCleared {
						t.Errorf("the preview clears %s of device %d", f.Field, target.DeviceID)
					}
				}
			}

			b.reader.snapshot = intune(func(list []tenant.ManagedDevice) []tenant.ManagedDevice { return list[1:] })
			b.set(b.now().Add(time.Hour))
			b.sync(Message{})
			if after := b.onDevices(); len(after) != 3*(n-1) || b.told() != "" {
				t.Errorf("after the device left, devices show %d values: %v; told %q", len(after), maps.Keys(after), b.told())
			}
		})
	}
}

// TestSerialsThatNinjaOneDoesNotTell syncs devices that have other names in NinjaOne, and
// then lets NinjaOne not tell serial numbers: nothing is cleared for it. When Intune lists
// a device no more, or another device has its number, it is.
func TestSerialsThatNinjaOneDoesNotTell(t *testing.T) {
	const n = 3
	without := func(b *bench, ids ...int) {
		for _, d := range b.ninja.Devices(labOrganization) {
			if slices.Contains(ids, d.ID) {
				d.SerialNumber, d.BIOSSerialNumber = "", ""
				b.ninja.AddDevice(d)
			}
		}
	}
	for name, tt := range map[string]struct {
		happens func(b *bench)
		cleared []int
		told    string
	}{
		"one":                         {happens: func(b *bench) { without(b, 101) }},
		"none of them":                {happens: func(b *bench) { without(b, 100, 101, 102) }},
		"nor does its list have them": {happens: func(b *bench) { without(b, 100, 101, 102); b.ninja.Hide(100, 101, 102) }, told: "lacks 3 devices"},
		"another device has it": {happens: func(b *bench) {
			without(b, 101)
			b.ninja.AddDevice(ninjasim.Device{ID: 110, OrganizationID: labOrganization, SystemName: "SET-UP-ANEW", SerialNumber: "5CG1000001"})
		}, cleared: []int{101}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, n)
			intune := devices(n)
			for i := range intune {
				intune[i].DeviceName = fmt.Sprint("INTUNE-ONLY-", i)
			}
			b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(slices.Clone(intune)), nil }
			b.sync(Message{})
			pairs := b.pairs()
			if len(pairs) != n {
				t.Fatalf("the sync matched %d", len(pairs))
			}
			tt.happens(b)
			for range 2 {
				b.set(b.now().Add(time.Hour))
				b.sync(Message{})
				for id, at := range pairs {
					gone := slices.Contains(tt.cleared, at)
					if kept := b.pairs()[id] == at; kept == gone {
						t.Errorf("the pair of device %d is kept: %t", at, kept)
					}
					for _, f := range []string{"links", "details", "compliance"} {
						if got := b.sent(device(at), f); (got == "") != gone {
							t.Errorf("device %d shows %.30q in %s", at, got, f)
						}
					}
				}
				if told := b.told(); (told == "") != (tt.told == "") || !strings.Contains(told, tt.told) {
					t.Errorf("told %q, want %q", told, tt.told)
				}
			}
			b.ninja.Hide()
			intune = slices.Delete(intune, 1, 2)
			b.set(b.now().Add(time.Hour))
			b.sync(Message{})
			if got := b.sent(device(101), "compliance"); got != "" {
				t.Errorf("after it left Intune, device 101 shows %q", got)
			}
		})
	}
}
