package subscriptions_test

import (
	"fmt"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/subscriptions"
)

// TestSubscriptionsStayWhileCIPPsTablesDoNotSay removes a subscription only when
// CIPP's tables say that nobody wants it.
func TestSubscriptionsStayWhileCIPPsTablesDoNotSay(t *testing.T) {
	w := subscribed(t, 2)
	a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
	rows := func(partition string) (keys []string) {
		for _, row := range storagetest.Rows(t, w.App.Table("CippMapping"), storage.Eq("PartitionKey", partition)) {
			keys = append(keys, row.RowKey())
		}
		return keys
	}
	empty := func(partition string) func() {
		return func() {
			for _, key := range rows(partition) {
				must(t, w.App.Table("CippMapping").Delete(t.Context(), partition, key))
			}
		}
	}
	mapping := storage.Entity{"PartitionKey": "NinjaOneMapping", "RowKey": a, "IntegrationId": "many"}
	for _, step := range []struct {
		name    string
		happens func()
	}{
		{"an organization that is not a number", func() { w.Merge("CippMapping", mapping) }},
		{"a tenant that CIPP's list lacks", func() {
			mapping["IntegrationId"] = fmt.Sprint(w.Seed.Mappings[0].OrganizationID)
			w.Merge("CippMapping", mapping)
			must(t, w.App.Table("Tenants").Delete(t.Context(), "Tenants", a))
		}},
		{"no row of fields", empty("NinjaOneFieldMapping")},
		{"no row of tenants", empty("NinjaOneMapping")},
	} {
		step.happens()
		w.Clock.Advance(assignments.SettingsLife + time.Second)
		for range 3 {
			w.Reconcile()
			w.Clock.Advance(subscriptions.SettleTime)
		}
		for _, id := range []string{a, b} {
			if n := len(w.M365.Subscriptions(id)); n != 1 {
				t.Errorf("%s: Graph has %d subscriptions of tenant %s", step.name, n, id)
			}
		}
	}
}

// TestExcludedTenant ends the subscription of a tenant that a technician excludes
// in CIPP, and no other.
func TestExcludedTenant(t *testing.T) {
	w := subscribed(t, 2)
	a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
	w.Merge("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": a, "Excluded": true})
	w.Clock.Advance(assignments.SettingsLife + time.Second)
	for range 2 {
		w.Reconcile()
		w.Clock.Advance(subscriptions.SettleTime)
	}
	if excluded, other := len(w.M365.Subscriptions(a)), len(w.M365.Subscriptions(b)); excluded != 0 || other != 1 {
		t.Errorf("Graph has %d subscriptions of the excluded tenant, and %d of the other", excluded, other)
	}
}
