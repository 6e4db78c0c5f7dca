package cipp

import (
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/storage"
)

func subscriptionRow(partition, key, event, resource, id string) storage.Entity {
	return row(partition, key, "EventType", event, "Resource", resource, "SubscriptionID", id, "Expiration", "2026-08-02T10:00:00.000Z")
}

func TestDeviceSubscriptions(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	if list, err := s.DeviceSubscriptions(ctx); err != nil || len(list) > 0 {
		t.Fatalf("without a table: %v, %v", list, err)
	}
	const (
		first  = "cccccccc-0000-4000-8000-000000000001"
		second = "cccccccc-0000-4000-8000-000000000002"
		third  = "cccccccc-0000-4000-8000-000000000003"
	)
	s.seed(t, tableTenants,
		tenantRow(contoso, "Contoso", "contoso.example", "initialDomainName", "contoso.onmicrosoft.example"),
		tenantRow(fabrikam, "Fabrikam", "fabrikam.example", "Excluded", true))
	s.seed(t, tableWebhooks,
		subscriptionRow("contoso.example", "row-1", "DeviceUpdate", "devices", "CCCCCCCC-0000-4000-8000-000000000001"),
		subscriptionRow("contoso.onmicrosoft.example", "row-2", "DeviceUpdate", "/Devices", second),
		subscriptionRow("fabrikam.example", "row-3", "DeviceUpdate", "devices", ""),
		subscriptionRow("gone.example", "row-4", "DeviceUpdate", "devices", third),
		subscriptionRow("contoso.example", "row-5", "Audit.Exchange", "Audit.Exchange", first),
		subscriptionRow("contoso.example", "row-6", "DeviceUpdate", "users", first),
		subscriptionRow("contoso.example", "row-7", "UserUpdate", "devices", first),
		row(partner, partner, "EventType", `["test-created"]`, "Resource", "PartnerCenter", "Expiration", "Does Not Expire", "SubscriptionID", first))
	list, err := s.DeviceSubscriptions(ctx)
	must(t, err)
	var got []string
	for _, d := range list {
		got = append(got, d.row+" "+d.Tenant.ID+" "+d.SubscriptionID)
	}
	slices.Sort(got)
	want := []string{"row-1 " + contoso + " " + first, "row-2 " + contoso + " " + second, "row-3 " + fabrikam + " ", "row-4  " + third}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// CIPP notes a new subscription in row-2 before its row is removed.
	s.seed(t, tableWebhooks, subscriptionRow("contoso.onmicrosoft.example", "row-2", "DeviceUpdate", "/Devices", third))
	for range 2 {
		for _, d := range list {
			must(t, s.ForgetDeviceSubscription(ctx, d))
		}
	}
	var left []string
	for _, e := range s.all(t, tableWebhooks) {
		left = append(left, e.RowKey())
	}
	slices.Sort(left)
	if want := []string{partner, "row-2", "row-5", "row-6", "row-7"}; !slices.Equal(left, want) {
		t.Errorf("the rows left are %q, want %q", left, want)
	}
}
