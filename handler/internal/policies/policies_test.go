package policies

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

const (
	one = "11111111-1111-4111-8111-111111111111"
	two = "22222222-2222-4222-8222-222222222222"
)

var must = fail.If

func newStore(t *testing.T) *Store {
	t.Helper()
	account := storagetest.Open(t, azuritetest.ForTest(t).ConnectionString())
	return New(account.Table(azuritetest.UniqueName(t)))
}

func TestReadings(t *testing.T) {
	s := newStore(t)
	day := time.Date(2026, 11, 20, 8, 0, 0, 1234500, time.UTC)
	reading := func(policy string) tenant.PolicyReading {
		return tenant.PolicyReading{CheckIn: day, State: tenant.StateNoncompliant, Read: day.Truncate(time.Millisecond), Policies: []tenant.PolicyState{
			{Policy: policy, State: tenant.StateNoncompliant, Settings: []tenant.SettingState{{Setting: "a", State: "error", UserName: "Zoë"}}}}}
	}
	all := tenant.PolicyReadings{"m1": reading("One"), "m2": reading("Two"), "m3": reading("Three")}
	never := tenant.PolicyReading{State: tenant.StateError, Read: day.Truncate(time.Millisecond), Policies: []tenant.PolicyState{}}
	all["m4"] = never // it has never checked in
	must(t, s.Save(t.Context(), one, all))
	must(t, s.Save(t.Context(), two, tenant.PolicyReadings{"m1": reading("Other")}))
	load := func(tenantID string) tenant.PolicyReadings {
		t.Helper()
		got, err := s.Load(t.Context(), tenantID)
		must(t, err)
		return got
	}
	if diff := cmp.Diff(all, load(one)); diff != "" {
		t.Error(diff)
	}
	device := tenant.ManagedDevice{ID: "m1", ComplianceState: tenant.StateNoncompliant, LastSync: day}
	if r := load(one)["m1"]; !r.Counts(&device) {
		t.Errorf("the reading does not count: %+v", r)
	}
	// A check-in that is not known any more is no longer kept.
	must(t, s.Save(t.Context(), one, tenant.PolicyReadings{"m1": never}))
	if diff := cmp.Diff(never, load(one)["m1"]); diff != "" {
		t.Error(diff)
	}

	// One is damaged, one is too large, one has no id that a row may have.
	must(t, s.table.Merge(t.Context(), storage.Entity{"PartitionKey": partition(one), "RowKey": "m2", columnPolicies: []byte("no")}))
	large := reading("Large")
	for range 5_000 { // random, so that it does not shrink
		large.Policies[0].Settings = append(large.Policies[0].Settings, tenant.SettingState{Setting: rand.Text()})
	}
	must(t, s.Save(t.Context(), one, tenant.PolicyReadings{"m3": large, "a/b": reading("Odd")}))
	if got := load(one); len(got) != 2 || got["m1"].Read.IsZero() || got["m4"].Read.IsZero() {
		t.Errorf("%d readings are left", len(got))
	}

	must(t, s.Forget(t.Context(), one, load(one), []tenant.ManagedDevice{{ID: "m1", ComplianceState: tenant.StateInGracePeriod}, {ID: "m4", ComplianceState: tenant.StateCompliant}}))
	if got := load(one); len(got) != 1 || got["m1"].Read.IsZero() {
		t.Errorf("after one complies: %v", got)
	}
	must(t, s.ForgetTenant(t.Context(), one))
	if len(load(one)) != 0 || len(load(two)) != 1 {
		t.Errorf("after a tenant is forgotten: %v, %v", load(one), load(two))
	}
}
