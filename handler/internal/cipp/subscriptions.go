package cipp

import (
	"context"
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const tableWebhooks = "webhookTable"

// DeviceSubscription is a Graph subscription on devices of CIPP's own NinjaOne sync, as
// CIPP's webhookTable holds it.
type DeviceSubscription struct {
	// Tenant is zero when CIPP knows no tenant of the row's domain any more.
	Tenant tenant.Ref
	// Domain is the row's partition: the tenant's default domain when the
	// subscription was made.
	Domain string
	// SubscriptionID is Graph's id in lower case. With "" the row has none, so there is
	// nothing at Graph.
	SubscriptionID string

	row    string
	stored string // SubscriptionID as it is written
}

// DeviceSubscriptions returns the subscriptions on devices of all tenants. It never
// returns the other subscriptions that CIPP keeps in the same table.
func (s *Store) DeviceSubscriptions(ctx context.Context) ([]DeviceSubscription, error) {
	var list []DeviceSubscription
	for e, err := range s.rows(ctx, tableWebhooks, storage.Eq("EventType", "DeviceUpdate")) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's subscriptions: %w", err)
		}
		if !isDeviceSubscription(e) {
			continue
		}
		stored := e.String("SubscriptionID")
		list = append(list, DeviceSubscription{Domain: e.PartitionKey(), SubscriptionID: guid.Parse(stored), row: e.RowKey(), stored: stored})
	}
	if len(list) == 0 {
		return nil, nil
	}
	tenants, err := s.AllTenants(ctx)
	if err != nil {
		return nil, err
	}
	for i, d := range list {
		t, _ := Named(tenants, d.Domain)
		list[i].Tenant = t.Ref
	}
	return list, nil
}

func isDeviceSubscription(e storage.Entity) bool {
	return e.String("EventType") == "DeviceUpdate" && strings.EqualFold(strings.Trim(e.String("Resource"), "/ "), "devices")
}

// ForgetDeviceSubscription removes the row of a subscription, so that CIPP
// neither renews it nor takes its notifications. A row that is gone is fine. A
// row in which CIPP has meanwhile noted another subscription stays, since that
// one is still at Graph.
func (s *Store) ForgetDeviceSubscription(ctx context.Context, d DeviceSubscription) error {
	e, err := s.table(tableWebhooks).Find(ctx, d.Domain, d.row)
	if err == nil && (!isDeviceSubscription(e) || e.String("SubscriptionID") != d.stored) {
		return nil
	}
	if err == nil {
		err = s.table(tableWebhooks).Delete(ctx, d.Domain, d.row)
	}
	return storage.Doing(err, "remove CIPP's subscription on the devices of %s", d.Domain)
}
