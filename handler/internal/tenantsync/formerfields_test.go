package tenantsync

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// mapField maps one of our fields to a NinjaOne custom field, "" for none.
func (b *bench) mapField(field, custom string) {
	b.row("CippMapping", storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": field, "IntegrationId": custom})
}

// held are the fields that show something, by device, 0 for the organization.
func (b *bench) held() map[string]bool {
	held := map[string]bool{}
	for t, fields := range map[ledger.Target][]string{organization: {"summary"}, device(100): {"links", "details", "compliance", "other"}, device(101): {"links", "details", "compliance", "other"}} {
		for _, f := range fields {
			if id := t.ID; b.sent(t, f) != "" {
				if t.Kind == ledger.KindOrganization {
					id = 0
				}
				held[fmt.Sprint(id, " ", f)] = true
			}
		}
	}
	return held
}

// TestFormerFields syncs two devices, lets a technician map the fields
// differently, and looks where what we wrote is found after the next syncs.
func TestFormerFields(t *testing.T) {
	const cleared = `The NinjaOne custom field "compliance" is not mapped any more. What was written there was cleared on`
	unmap := func(b *bench, fields ...string) {
		for _, f := range fields {
			b.mapField(f, "")
		}
	}
	tests := map[string]struct {
		happens func(b *bench)
		before  func(s *tenant.Snapshot) // changes the second reading
		again   func(b *bench)           // between the second and the third sync; nil for nothing
		// want are the values of the devices 100 and 101 by field: "" for none,
		// "*" for any of ours; those that are not named are ours.
		want    map[string][2]string
		summary string // of the organization, "*" for ours
		line    string // of the logbook, in the second sync; "" for none about a field
	}{
		"mapped to another":      {happens: func(b *bench) { b.mapField(deviceCompliance, "other") }, want: map[string][2]string{"compliance": {}, "other": {"Compliant", "Compliant"}}, summary: "*", line: cleared + " 2 devices"},
		"mapped in another case": {happens: func(b *bench) { b.mapField(deviceCompliance, "Compliance") }, summary: "*"},
		"not mapped any more":    {happens: func(b *bench) { unmap(b, deviceCompliance) }, want: map[string][2]string{"compliance": {}}, summary: "*", line: cleared + " 2 devices"},
		"none is mapped any more": {happens: func(b *bench) { unmap(b, deviceCompliance, deviceLinks, deviceSummary, tenantSummary) },
			want: map[string][2]string{"compliance": {}, "links": {}, "details": {}}, line: cleared + " 2 devices"},
		"its row is gone": {happens: func(b *bench) {
			must(b.t, b.account.Table("CippMapping").Delete(b.t.Context(), "NinjaOneFieldMapping", deviceCompliance))
		}, want: map[string][2]string{"compliance": {}}, summary: "*", line: cleared + " 2 devices"},
		"the table has no row of fields": {happens: func(b *bench) {
			for _, f := range []string{deviceCompliance, deviceLinks, deviceSummary, tenantSummary} {
				must(b.t, b.account.Table("CippMapping").Delete(b.t.Context(), "NinjaOneFieldMapping", f))
			}
		}, summary: "*", line: "No field is mapped"},
		"mapped to another, and a technician wrote there": {happens: func(b *bench) {
			b.mapField(deviceCompliance, "other")
			b.ninja.SetDeviceField(101, "compliance", "by hand")
		}, want: map[string][2]string{"compliance": {"", "by hand"}, "other": {"Compliant", "Compliant"}}, summary: "*", line: "somebody else has written there since"},
		"HTML that a technician overwrote": {happens: func(b *bench) {
			unmap(b, deviceSummary)
			b.ninja.SetDeviceField(100, "details", "<p>by hand</p>")
		}, want: map[string][2]string{"details": {"<p>by hand</p>", ""}}, summary: "*", line: "somebody else has written there since"},
		"the organization's": {happens: func(b *bench) { unmap(b, tenantSummary) }, line: `"summary" is not mapped any more`},
		"the organization's, and a technician wrote there": {happens: func(b *bench) {
			unmap(b, tenantSummary)
			b.ninja.SetOrganizationField(labOrganization, "summary", "<p>by hand</p>")
		}, summary: "<p>by hand</p>", line: "somebody else has written there since"},
		"deleted": {happens: func(b *bench) { b.mapField(deviceCompliance, "other"); b.ninja.RemoveCustomField("compliance") },
			want: map[string][2]string{"compliance": {}, "other": {"Compliant", "Compliant"}}, summary: "*", line: "does not exist any more"},
		"deleted while it is cleared": {happens: func(b *bench) {
			unmap(b, deviceCompliance)
			b.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$", Skip: 2, Count: 1, OnHit: func() { b.ninja.RemoveCustomField("compliance") }})
		}, want: map[string][2]string{"compliance": {}}, summary: "*", line: "NinjaOne refused"},
		"read only by now": {happens: func(b *bench) {
			b.mapField(deviceCompliance, "other")
			b.define(ninjasim.CustomField{Name: "compliance", Type: "TEXT"}, "READ_ONLY")
		}, want: map[string][2]string{"compliance": {"Compliant", "Compliant"}, "other": {"Compliant", "Compliant"}}, summary: "*", line: "cannot be cleared because its API permission is READ_ONLY"},
		"read only for a while": {happens: func(b *bench) {
			b.mapField(deviceCompliance, "other")
			b.define(ninjasim.CustomField{Name: "compliance", Type: "TEXT"}, "READ_ONLY")
		}, again: func(b *bench) { b.define(ninjasim.CustomField{Name: "compliance", Type: "TEXT"}, "READ_WRITE") },
			want: map[string][2]string{"compliance": {}, "other": {"Compliant", "Compliant"}}, summary: "*", line: "cannot be cleared because its API permission is READ_ONLY"},
		"a summary, to a field that does not exist yet": {happens: func(b *bench) { b.mapField(deviceSummary, "details2") }, summary: "*", line: "does not exist"},
		"a summary, to a field that is made later": {happens: func(b *bench) { b.mapField(deviceSummary, "details2") },
			again: func(b *bench) {
				b.define(ninjasim.CustomField{Name: "details2", Type: "WYSIWYG"}, "READ_WRITE")
			}, want: map[string][2]string{"details": {}}, summary: "*", line: "does not exist"},
		"the compliance, to a field that does not exist yet": {happens: func(b *bench) { b.mapField(deviceCompliance, "other2") }, want: map[string][2]string{"compliance": {}}, summary: "*", line: cleared + " 2 devices"},
		"exchanged for another of ours":                      {happens: func(b *bench) { b.mapField(deviceLinks, "details"); b.mapField(deviceSummary, "links") }, summary: "*"},
		"and back before the next sync": {happens: func(b *bench) {
			b.mapField(deviceCompliance, "other")
			b.mapField(deviceCompliance, "compliance")
		}, summary: "*"},
		"and back after the next sync": {happens: func(b *bench) { b.mapField(deviceCompliance, "other") }, again: func(b *bench) { b.mapField(deviceCompliance, "compliance") },
			want: map[string][2]string{"other": {}}, summary: "*", line: cleared + " 2 devices"},
		"a device leaves Intune as well": {happens: func(b *bench) { b.mapField(deviceCompliance, "other") },
			before: func(s *tenant.Snapshot) { s.ManagedDevices.Value = s.ManagedDevices.Value[:1] },
			want:   map[string][2]string{"compliance": {}, "other": {"Compliant", ""}, "links": {"*", ""}, "details": {"*", ""}}, summary: "*", line: cleared + " 2 devices"},
		"while Intune cannot be read": {happens: func(b *bench) { unmap(b, deviceCompliance) },
			before: func(s *tenant.Snapshot) {
				s.ManagedDevices = tenant.Absent[[]tenant.ManagedDevice]("Not available: the door is locked")
			}, want: map[string][2]string{"compliance": {}}, summary: "*", line: cleared + " 2 devices"},
		"the report cannot be read": {happens: func(b *bench) {
			unmap(b, deviceCompliance)
			b.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
		}, again: func(b *bench) { b.ninja.ClearFaults() }, want: map[string][2]string{"compliance": {}}, summary: "*", line: "are not cleared yet, since what NinjaOne shows there could not be read"},
		"NinjaOne lists no custom field for a while": {happens: func(b *bench) {
			b.mapField(deviceCompliance, "other")
			b.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/device-custom-fields$", Status: http.StatusOK, Body: `[]`})
		}, again: func(b *bench) { b.ninja.ClearFaults() },
			want: map[string][2]string{"compliance": {}, "other": {"Compliant", "Compliant"}}, summary: "*", line: "could not be read: NinjaOne lists no custom field"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			b.define(ninjasim.CustomField{Name: "other", Type: "TEXT"}, "READ_WRITE")
			change := func(*tenant.Snapshot) {}
			b.reader.snapshot = func() (*tenant.Snapshot, error) { s := snapshot(devices(2)); change(s); return s, nil }
			b.sync(Message{})
			b.set(b.now().Add(time.Hour))
			tt.happens(b)
			if tt.before != nil {
				change = tt.before
			}
			before := b.held()
			var foretold []string
			if name != "deleted while it is cleared" { // which nobody can foretell
				p, err := b.Preview(t.Context(), labTenant)
				must(t, err)
				for _, d := range p.Targets {
					for _, f := range d.Fields {
						if f.Outcome == OutcomeCleared {
							foretold = append(foretold, fmt.Sprint(d.DeviceID, " ", f.NinjaOne))
						}
					}
				}
			}
			lines := b.sync(Message{})
			after := b.held()
			maps.DeleteFunc(before, func(field string, _ bool) bool { return after[field] || tt.line == "does not exist any more" })
			slices.Sort(foretold)
			if gone := slices.Sorted(maps.Keys(before)); name != "deleted while it is cleared" && !slices.Equal(gone, foretold) {
				t.Errorf("the sync clears %q, and the preview said %q", gone, foretold)
			}
			if about := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "custom field") || strings.Contains(l, "fields") }); about != (tt.line != "") {
				t.Errorf("the logbook says %q", lines)
			}
			if tt.line != "" && !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, tt.line) }) {
				t.Errorf("the logbook says %q, want %q", lines, tt.line)
			}
			b.set(b.now().Add(time.Hour))
			if tt.again != nil {
				tt.again(b)
				b.sync(Message{})
				b.set(b.now().Add(time.Hour))
			}
			// Once it is done, it is at rest.
			b.ninja.ResetCounters()
			b.sync(Message{})
			if n := len(b.ninja.Writes()) + len(b.ninja.Refusals()); n != 0 {
				t.Errorf("%d writes and refusals in the sync after it", n)
			}
			for _, f := range []string{"links", "details", "compliance", "other"} {
				want, named := tt.want[f]
				if !named {
					want = [2]string{"*", "*"}
					if f == "other" {
						want = [2]string{}
					}
				}
				for i, w := range want {
					if got := b.sent(device(100+i), f); got != w && (w != "*" || got == "") {
						t.Errorf("device %d shows %.40q in %s, want %q", 100+i, got, f, w)
					}
				}
			}
			if got := b.sent(organization, "summary"); got != tt.summary && (tt.summary != "*" || got == "") {
				t.Errorf("the organization shows %.40q", got)
			}
		})
	}
}

// TestLightRunLeavesFormerFields: a light run asks NinjaOne of no field that is not
// mapped any more, so it neither clears one nor takes it for deleted.
func TestLightRunLeavesFormerFields(t *testing.T) {
	for name, before := range map[string]func(b *bench){
		"before the next full run": func(*bench) {},
		"after one that could not look": func(b *bench) {
			b.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
			b.set(b.now().Add(time.Hour))
			b.sync(Message{})
			b.ninja.ClearFaults()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			w := newWorld(2, 0)
			b.reader.snapshot = w.snapshot
			b.sync(Message{})
			b.mapField(deviceCompliance, "")
			b.ninja.SetDeviceField(101, "compliance", "by hand")
			before(b)
			w.devices[0].LastSync = w.devices[0].LastSync.Add(time.Hour)
			lines, _, _ := b.light(Message{})
			for id, want := range map[int]string{100: "Compliant", 101: "by hand"} {
				if got := b.sent(device(id), "compliance"); got != want {
					t.Errorf("after a light run device %d shows %q, want %q: %q", id, got, want, lines)
				}
			}
			b.set(b.now().Add(time.Hour))
			b.sync(Message{})
			for id, want := range map[int]string{100: "", 101: "by hand"} {
				if got := b.sent(device(id), "compliance"); got != want {
					t.Errorf("after a full run device %d shows %q, want %q", id, got, want)
				}
			}
		})
	}
}
