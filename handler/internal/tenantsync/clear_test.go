package tenantsync

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestClearUnmatched decides what becomes of the devices that were written and
// are not matched any more.
func TestClearUnmatched(t *testing.T) {
	usable := mappedFields{deviceLinks: "links", deviceSummary: "details", deviceCompliance: "compliance"}
	written := map[string]string{"links": "d1", "details": "d2", "compliance": "d3"}
	everything := []string{"compliance", "details", "links"}
	tests := map[string]struct {
		record   map[string]string
		tenantID string
		fields   mappedFields
		prepare  func(l *lab) (listed bool)
		clear    []string // fields that are to be cleared; nil for no plan
		kept     bool     // the record is still there
		problem  bool
	}{
		"still in the organization": {record: written, clear: everything, kept: true},
		"only what is usable is cleared": {record: written, fields: mappedFields{deviceLinks: "links"},
			clear: []string{"links"}, kept: true},
		"nothing of ours left":                 {record: map[string]string{"links": ledger.Cleared, "compliance": ""}, kept: false},
		"another tenant's of the organization": {record: written, tenantID: "5d0b1c00-0000-4000-8000-000000000002", kept: true},
		"a write of unknown outcome": {record: map[string]string{"links": ledger.Unknown},
			clear: everything, kept: true},
		"deleted in NinjaOne": {record: written, prepare: func(l *lab) bool { l.ninja.RemoveDevice(100); return false }},
		"moved to an organization of nobody": {record: written, clear: everything, kept: true,
			prepare: func(l *lab) bool { l.ninja.MoveDevice(100, 8); return false }},
		"moved to another tenant, whose sync wrote it": {record: written,
			prepare: func(l *lab) bool {
				l.ninja.MoveDevice(100, 8)
				must(l.t, l.ledger.Save(l.t.Context(), ledger.Organization{Instance: labInstance, ID: 8}, &ledger.Record{Target: device(100), TenantID: "5d0b1c00-0000-4000-8000-000000000002",
					Fields: map[string]string{"links": "d9"}}))
				return false
			}},
		"not approved, so not listed": {record: written, clear: everything, kept: true,
			prepare: func(l *lab) bool { l.approve(100, "PENDING"); return false }},
		"decommissioned, so not listed": {record: written, clear: everything, kept: true,
			prepare: func(l *lab) bool { l.approve(100, "DECOMMISSIONED"); return false }},
		"not listed although it is there": {record: written, clear: everything, kept: true, problem: true,
			prepare: func(*lab) bool { return false }},
		"cannot be looked up": {record: written, kept: true, problem: true,
			prepare: func(l *lab) bool {
				l.ninja.InjectFault(ninjasim.Fault{Path: "^/v2/device/100$", Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`})
				return false
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1)
			l.ninja.AddOrganization(ninjasim.Organization{ID: 8, Name: "Elsewhere"})
			r := &ledger.Record{Target: device(100), TenantID: labTenant, Fields: maps.Clone(tt.record)}
			if tt.tenantID != "" {
				r.TenantID = tt.tenantID
			}
			must(t, l.ledger.Save(t.Context(), labOrg, r))
			listed := true
			if tt.prepare != nil {
				listed = tt.prepare(l)
			}
			if tt.fields == nil {
				tt.fields = usable
			}
			j, list := l.job(), listing{}
			if listed {
				list.devices = l.devices(1)
			}
			if tt.tenantID != "" {
				j.sharing = append(j.sharing, tt.tenantID)
			}
			in, p, changes := l.inputs(j), &Plan{}, map[ledger.Target]*change{}
			in.fields = tt.fields
			must(t, j.judge(t.Context(), in, list))
			must(t, j.readElsewhere(t.Context(), in))
			p.clearUnmatched(in, changes)
			var got []string
			clear := ninjaone.Fields{}
			if c := changes[device(100)]; c != nil {
				clear = c.values()
			}
			for f, v := range clear {
				if !v.IsClear() {
					t.Errorf("%s is to become %v", f, v)
				}
				got = append(got, f)
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.clear) {
				t.Errorf("%q are to be cleared, want %q", got, tt.clear)
			}
			if kept := len(p.forget) == 0; kept != tt.kept {
				t.Errorf("the record is kept: %v, want %v", kept, tt.kept)
			}
			if n := len(j.problems.List()); (n > 0) != tt.problem {
				t.Errorf("problems: %v", j.problems.List())
			}
		})
	}
}

// TestReview brings notes in line with the mapping.
func TestReview(t *testing.T) {
	l := newLab(t, 2)
	for id := 100; id < 102; id++ {
		must(t, l.ledger.Save(t.Context(), labOrg, &ledger.Record{Target: device(id), TenantID: labTenant,
			Fields: map[string]string{"links": "d1", "details": "d2", "compliance": ledger.Cleared}}))
	}
	remap := func(mapped map[string]string, fields mappedFields) (*inputs, *Plan) {
		j := l.job()
		in, p := l.inputs(j), &Plan{}
		in.mapped, in.mappedSaid, in.fields = mapped, true, fields
		must(t, j.judge(t.Context(), in, listing{devices: l.devices(2)}))
		must(t, j.readFormerFields(t.Context(), in))
		p.remap(in)
		must(t, l.ledger.SaveRemapped(t.Context(), labOrg, p.remapped))
		return in, p
	}
	in, p := remap(map[string]string{deviceLinks: "links", deviceCompliance: "COMPLIANCE"}, mappedFields{deviceLinks: "links"})
	want := map[string]string{"links": "d1", "details": "d2", "compliance": ledger.Cleared}
	for _, records := range []map[ledger.Target]*ledger.Record{in.records, l.records()} {
		for tg, r := range records {
			if !maps.Equal(r.Fields, want) {
				t.Errorf("%s: notes %v, want %v", tg, r.Fields, want)
			}
		}
	}
	for id := 100; id < 102; id++ {
		if got := p.former[device(id)]; !slices.Equal(got, []string{"details"}) {
			t.Errorf("device %d: %q is to be cleared", id, got)
		}
	}
	// A field that cannot be written at present may lose its value.
	remap(map[string]string{deviceLinks: "Links"}, mappedFields{})
	if got := l.records()[device(101)].Fields; !maps.Equal(got, map[string]string{"links": ledger.Unknown, "details": ledger.Unknown}) {
		t.Errorf("notes %v", got)
	}
}
