package seed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/uuid"
)

// DeviceSubscription is a Graph subscription on a tenant's devices that CIPP's
// own NinjaOne engine made.
type DeviceSubscription struct {
	TenantID       string
	SubscriptionID string // Graph's id
	CIPPID         string // row key, and the secret in the notification URL
}

// WriteCIPPSubscriptions writes CIPP's table webhookTable, the way CIPP leaves it. It has
// a subscription on the devices of each mapped tenant that CIPP can read. For the first
// of them it has a row of CIPP's audit log alerts. The row of Partner Center has an
// expiration that is not a time. The function returns the subscriptions on devices, and
// creates nothing at Graph.
func WriteCIPPSubscriptions(ctx context.Context, connectionString string, s *Seed) ([]DeviceSubscription, error) {
	service, err := aztables.NewServiceClientFromConnectionString(connectionString, nil)
	if err != nil {
		return nil, fmt.Errorf("opening the storage account for CIPP's subscriptions: %w", err)
	}
	subscriptions, rows := s.webhookRows()
	return subscriptions, writeRows(ctx, service.NewClient("webhookTable"), "webhookTable", rows)
}

func (s *Seed) webhookRows() ([]DeviceSubscription, []row) {
	address := func(event, id, kind string) string {
		return "https://" + s.CIPPHost + "/API/PublicWebhooks?EventType=" + event + "&CIPPID=" + id + "&Type=" + kind
	}
	expires := cippTime(s.Day.Add(20 * time.Hour))
	var subscriptions []DeviceSubscription
	var rows []row
	for _, t := range s.Tenants {
		if s.Organization(t.ID) == 0 || slices.Contains(s.ExcludedTenants, t.ID) {
			continue
		}
		if len(rows) == 0 {
			id := uuid.NewString()
			rows = append(rows, row{"PartitionKey": t.DefaultDomain, "RowKey": id, "EventType": "Audit.AzureActiveDirectory",
				"Resource": "Audit.AzureActiveDirectory", "Expiration": expires, "SubscriptionID": uuid.NewString(),
				"TypeofSubscription": "updated", "WebhookNotificationUrl": address("Audit.AzureActiveDirectory", id, "AuditLog")})
		}
		d := DeviceSubscription{TenantID: t.ID, SubscriptionID: uuid.NewString(), CIPPID: uuid.NewString()}
		subscriptions = append(subscriptions, d)
		rows = append(rows, row{"PartitionKey": t.DefaultDomain, "RowKey": d.CIPPID, "EventType": "DeviceUpdate", "Resource": "devices",
			"Expiration": expires, "SubscriptionID": d.SubscriptionID, "TypeofSubscription": "updated",
			"WebhookNotificationUrl": address("DeviceUpdate", d.CIPPID, "GraphSubscription")})
	}
	return subscriptions, append(rows, row{"PartitionKey": s.SAM.TenantID, "RowKey": s.SAM.TenantID,
		"EventType": `["test-created","granular-admin-relationship-approved"]`, "Resource": "PartnerCenter", "Expiration": "Does Not Expire",
		"SubscriptionID": uuid.NewString(), "WebhookNotificationUrl": "https://" + s.CIPPHost + "/API/PublicWebhooks?CIPPID=" + s.SAM.TenantID + "&Type=PartnerCenter"})
}
