package tenantsync

import (
	"slices"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// mapDevice lets CIPP's map of a tenant name the lab's nth machine.
func (b *bench) mapDevice(tenantID string, n int) {
	d := devices(n + 1)[n]
	b.row("NinjaOneDeviceMap", storage.Entity{"PartitionKey": tenantID, "RowKey": d.AzureADDeviceID, "NinjaOneID": int64(100 + n), "M365ID": d.ID})
}

// TestTakenOverDevices lets CIPP's engine have written three devices before the
// first sync, and looks what is left of that afterwards.
func TestTakenOverDevices(t *testing.T) {
	const all, none = "summary of CIPP, links of CIPP, Non-Compliant", ""
	tests := map[string]struct {
		happens func(b *bench, s *tenant.Snapshot)
		want    string // what device 102 shows of CIPP's; "" for nothing
		links   bool   // it shows ours
	}{
		"its state is unknown":                 {happens: func(_ *bench, s *tenant.Snapshot) { s.ManagedDevices.Value[2].ComplianceState = tenant.StateUnknown }, links: true},
		"its state is Configuration Manager's": {happens: func(_ *bench, s *tenant.Snapshot) { s.ManagedDevices.Value[2].ComplianceState = "configManager" }, links: true},
		"Intune does not say its state":        {happens: func(_ *bench, s *tenant.Snapshot) { s.ManagedDevices.Value[2].ComplianceState = "" }, links: true, want: "Non-Compliant"},
		"it left Intune":                       {happens: func(_ *bench, s *tenant.Snapshot) { s.ManagedDevices.Value = s.ManagedDevices.Value[:2] }},
		"everything left Intune":               {happens: func(_ *bench, s *tenant.Snapshot) { s.ManagedDevices.Value = nil }},
		"it enrolled again, and is not recognised": {happens: func(_ *bench, s *tenant.Snapshot) {
			d := &s.ManagedDevices.Value[2]
			d.ID, d.DeviceName, d.SerialNumber = "0f4f4ad0-5b57-4e64-9d8c-999999999999", "OTHER", ""
		}, want: all},
		"Intune lists devices without their ids": {happens: func(_ *bench, s *tenant.Snapshot) {
			s.ManagedDevices.Value[2] = tenant.ManagedDevice{ComplianceState: tenant.StateCompliant}
		}, want: all},
		"Intune cannot be read": {happens: func(_ *bench, s *tenant.Snapshot) {
			s.ManagedDevices = tenant.Absent[[]tenant.ManagedDevice]("Not available: the door is locked")
		}, want: all},
		"CIPP's map does not name it": {happens: func(b *bench, s *tenant.Snapshot) {
			must(b.t, b.account.Table("NinjaOneDeviceMap").Delete(b.t.Context(), labTenant, s.ManagedDevices.Value[2].AzureADDeviceID))
			s.ManagedDevices.Value = s.ManagedDevices.Value[:2]
		}, want: all},
		"it is another organization's by now": {happens: func(b *bench, s *tenant.Snapshot) {
			s.ManagedDevices.Value = s.ManagedDevices.Value[:2]
			b.ninja.AddOrganization(ninjasim.Organization{ID: 8, Name: "Elsewhere"})
			b.ninja.MoveDevice(102, 8)
		}, want: all},
		"the map of another tenant of the organization names it, which was not synced yet": {happens: func(b *bench, s *tenant.Snapshot) {
			s.ManagedDevices.Value = s.ManagedDevices.Value[:2]
			b.mapSharer(2)
			b.mapDevice(sharer(2), 2)
		}, want: all},
		"another tenant of the organization matched it": {happens: func(b *bench, s *tenant.Snapshot) {
			s.ManagedDevices.Value = s.ManagedDevices.Value[:2]
			b.mapSharer(2)
			b.mapDevice(sharer(2), 2)
			_, err := devicematch.Save(b.t.Context(), b.CIPP, b.Blobs, sharer(2), devicematch.Matches{Pairs: []devicematch.Pair{{ManagedDeviceID: "m", NinjaOneID: 102}}}, "", nil)
			must(b.t, err)
		}, want: all},
		"another tenant of the organization had it once": {happens: func(b *bench, s *tenant.Snapshot) {
			s.ManagedDevices.Value = s.ManagedDevices.Value[:2]
			b.mapSharer(2)
			b.mapDevice(sharer(2), 2)
			_, err := devicematch.Save(b.t.Context(), b.CIPP, b.Blobs, sharer(2), devicematch.Matches{}, "", nil)
			must(b.t, err)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3)
			for n := range 3 {
				b.mapDevice(labTenant, n)
				b.ninja.SetDeviceField(100+n, "links", "links of CIPP")
				b.ninja.SetDeviceField(100+n, "details", "summary of CIPP")
				b.ninja.SetDeviceField(100+n, "compliance", "Non-Compliant")
			}
			fresh := func() *tenant.Snapshot { return snapshot(devices(3)) }
			first := fresh()
			tt.happens(b, first)
			b.reader.snapshot = func() (*tenant.Snapshot, error) {
				s := *first
				s.ReadAt = time.Now()
				return &s, nil
			}
			left := func() (shown string) {
				for _, f := range []string{"details", "links", "compliance"} {
					if text := b.sent(device(102), f); text == "Non-Compliant" || text == "summary of CIPP" || text == "links of CIPP" {
						shown += ", " + text
					}
				}
				return shown[min(2, len(shown)):]
			}
			preview, err := b.Preview(t.Context(), labTenant)
			must(t, err)
			clears := 0
			for _, target := range preview.Targets {
				for _, f := range target.Fields {
					if target.DeviceID == 102 && f.Outcome == OutcomeCleared {
						clears++
					}
				}
			}
			b.sync(Message{})
			if got := left(); got != tt.want {
				t.Errorf("after the first sync device 102 shows %q, want %q", got, tt.want)
			}
			if want := map[bool]int{true: 1, false: 3}[tt.links]; tt.want == none && clears != want {
				t.Errorf("the preview clears %d fields, want %d", clears, want)
			}
			if got := b.sent(device(102), "links"); tt.links != (got != "" && got != "links of CIPP") {
				t.Errorf("device 102 shows %.40q as links", got)
			}
			// Then it is at rest, and stays so in a forced sync.
			for _, m := range []Message{{}, {Force: true}, {}} {
				b.set(b.now().Add(25 * time.Hour))
				b.ninja.ResetCounters()
				b.sync(m)
				if got := left(); got != tt.want {
					t.Errorf("after a later sync device 102 shows %q, want %q", got, tt.want)
				}
				if n := b.ninja.Calls()["PATCH /v2/device/{id}/custom-fields"]; !m.Force && n > 0 && !tt.links {
					t.Errorf("a later sync writes %d devices", n)
				}
			}
			// A device that comes back is written like any other.
			if tt.want == none && !tt.links {
				b.reader.snapshot = func() (*tenant.Snapshot, error) { return fresh(), nil }
				b.sync(Message{})
				if got := b.sent(device(102), "compliance"); got != "Compliant" {
					t.Errorf("the device is back, and shows %q", got)
				}
				b.reader.snapshot = func() (*tenant.Snapshot, error) {
					s := *first
					s.ReadAt = time.Now()
					return &s, nil
				}
				b.sync(Message{})
				if got := b.sent(device(102), "links") + b.sent(device(102), "compliance"); got != "" {
					t.Errorf("the device left again, and shows %.40q", got)
				}
			}
		})
	}
}

// TestFirstSyncWithoutReport takes over while NinjaOne does not tell what it shows:
// the next sync clears what this one could not.
func TestFirstSyncWithoutReport(t *testing.T) {
	b := newBench(t, 2)
	b.ninja.SetDeviceField(101, "compliance", "Compliant")
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		s := snapshot(devices(2))
		s.ManagedDevices.Value[1].ComplianceState = tenant.StateUnknown
		return s, nil
	}
	remove := b.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$", Status: 403, Body: `{"resultCode":"FORBIDDEN"}`})
	var shown []string
	for _, heal := range []func(){func() {}, remove} {
		heal()
		b.sync(Message{})
		shown = append(shown, b.sent(device(101), "compliance"))
		b.set(b.now().Add(time.Hour))
	}
	if want := []string{"Compliant", ""}; !slices.Equal(shown, want) {
		t.Errorf("the device showed %q, want %q", shown, want)
	}
}
