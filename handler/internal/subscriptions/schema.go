package subscriptions

import (
	"context"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
)

// The rows of table NinjaOneSubscriptions, partition "subscription". Each is a
// subscription that Graph has, or that a run asks Graph for. The row key is our id, a
// GUID that rides in the notification URL.
//
//	TenantId        text: Microsoft 365 tenant id
//	Direct          bool: the tenant signs in without GDAP
//	ClientState     text: the secret that comes back with each notification
//	BaseUrl         text: public address of this app when the row was made
//	SubscriptionId  text: Graph's id; "" while it is not known
//	Created         time: when the row was made
//	Expires         time: end, as Graph granted it
//	RenewAt         time: when it is to be renewed
//	Checked         time: when Graph last confirmed that it exists
//	Doubtful        bool: Graph may have a further subscription with our id in its
//	                address, from a creation whose answer was lost
//
// Each row has the column Version (int32) of package layout. The blob
// "lease/subscription/<tenant id>" in the container ninjaone-sync guards the
// changes to one tenant's rows. The tenants' status is package assignments'.
const partition = "subscription"

// subscription is one such row.
type subscription struct {
	notify.Subscription
	Direct                             bool
	BaseURL                            string
	Created, Expires, RenewAt, Checked time.Time
	Doubtful                           bool
}

func (s subscription) entity() storage.Entity {
	return storage.Entity{
		"PartitionKey": partition, "RowKey": s.ID,
		"TenantId": s.TenantID, "Direct": s.Direct, "ClientState": s.ClientState, "BaseUrl": s.BaseURL,
		"SubscriptionId": s.SubscriptionID,
		"Created":        s.Created, "Expires": s.Expires, "RenewAt": s.RenewAt, "Checked": s.Checked,
		"Doubtful": s.Doubtful,
	}
}

func subscriptionOf(row storage.Entity) subscription {
	return subscription{
		Subscription: notify.Subscription{
			ID: row.RowKey(), TenantID: row.String("TenantId"),
			ClientState: row.String("ClientState"), SubscriptionID: row.String("SubscriptionId"),
		},
		Direct: row.Bool("Direct"), BaseURL: row.String("BaseUrl"),
		Created: row.Time("Created"), Expires: row.Time("Expires"), RenewAt: row.Time("RenewAt"), Checked: row.Time("Checked"),
		Doubtful: row.Bool("Doubtful"),
	}
}

// rowsOf returns the rows of one tenant, or all.
func rowsOf(ctx context.Context, table *storage.Table, tenantID string) ([]subscription, error) {
	filter := storage.Eq("PartitionKey", partition)
	if tenantID != "" {
		filter = storage.And(filter, storage.Eq("TenantId", tenantID))
	}
	var rows []subscription
	for row, err := range table.List(ctx, filter) {
		if err != nil {
			return nil, fmt.Errorf("read our subscriptions: %w", err)
		}
		rows = append(rows, subscriptionOf(row))
	}
	return rows, nil
}

// Known returns a function that reads what package notify verifies by.
func Known(table *storage.Table) func(context.Context) (map[string]notify.Subscription, error) {
	return func(ctx context.Context) (map[string]notify.Subscription, error) {
		rows, err := rowsOf(ctx, table, "")
		known := make(map[string]notify.Subscription, len(rows))
		for _, r := range rows {
			known[r.ID] = r.Subscription
		}
		return known, err
	}
}
