package m365

import (
	"bytes"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/m365sim"
)

// TestDailyPartsAreKnown reads a tenant whose daily parts are known: neither Exchange
// nor the reports nor what the secure score asks for are read again, unless a user
// came or changed name or licences.
func TestDailyPartsAreKnown(t *testing.T) {
	s := simulate(t)
	read := func(known *tenant.Known) (snapshot *tenant.Snapshot, daily int) {
		t.Helper()
		s.ResetCalls()
		snapshot, err := s.reader.Read(t.Context(), s.ref, known)
		if err != nil {
			t.Fatal(err)
		}
		for call, n := range s.Calls() {
			if strings.HasPrefix(call, "exchange ") || strings.Contains(call, "/reports/") || strings.Contains(call, "ControlProfiles") {
				daily += n
			}
		}
		return snapshot, daily
	}
	first, whole := read(nil)
	var text bytes.Buffer
	if err := first.Daily().Write(&text); err != nil {
		t.Fatal(err)
	}
	kept, err := tenant.ReadDaily(&text)
	if err != nil || whole < 7 {
		t.Fatalf("%d calls, %v", whole, err)
	}
	known := &tenant.Known{Daily: kept}
	again, daily := read(known)
	if daily > 0 {
		t.Errorf("%d calls for what is known: %v", daily, s.Calls())
	}
	if diff := cmp.Diff(first, again, cmpopts.IgnoreFields(tenant.Snapshot{}, "ReadAt", "PolicyReadings"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("it read something else (-whole +known):\n%s", diff)
	}
	change := func(property string, v any) {
		s.Tenant(s.ref.ID).Change(func(o *m365sim.Tenant) {
			o.Users[0] = maps.Clone(o.Users[0])
			o.Users[0][property] = v
		})
	}
	for _, tt := range []struct {
		property string
		value    any
		anew     bool
	}{
		{"jobTitle", "Keeper of the lighthouse", false},
		{"userPrincipalName", "someone.else@" + s.Tenant(s.ref.ID).DefaultDomain, true},
		{"mail", "reception@" + s.Tenant(s.ref.ID).DefaultDomain, true},
	} {
		change(tt.property, tt.value)
		after, daily := read(known)
		if (daily == whole) != tt.anew || !tt.anew && daily > 0 {
			t.Errorf("%s: %d calls, of %d", tt.property, daily, whole)
		}
		known.Daily = after.Daily()
	}
	change("assignedLicenses", []any{})
	if _, daily := read(known); daily != whole {
		t.Errorf("licences: %d calls, of %d", daily, whole)
	}
	s.AddFault(m365sim.Fault{Path: regexp.MustCompile("."), Status: 503})
	if snapshot, err := s.reader.Read(t.Context(), s.ref, known); err == nil {
		t.Errorf("Graph is down, and it read %v", snapshot.Absent())
	}
	s.ClearFaults()
	s.AddFault(m365sim.Fault{Path: regexp.MustCompile("OneDriveUsage"), Status: 503})
	if snapshot, _ := read(nil); snapshot.OneDriveUsage.OK() || snapshot.Daily() != nil {
		t.Error("a part that is to be read again is kept")
	}
}
