package seed

import (
	"context"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

func TestWriteCIPPSubscriptions(t *testing.T) {
	connection := azuritetest.ForTest(t).ConnectionString()
	s := MSPAt(testDay)
	subscriptions, err := WriteCIPPSubscriptions(context.Background(), connection, s)
	must(t, err)
	rows := readTable(t, connection, "webhookTable")
	if len(rows) != len(subscriptions)+2 {
		t.Errorf("%d rows are stored, want %d on devices and two others", len(rows), len(subscriptions))
	}
	for _, d := range subscriptions {
		if d.TenantID == s.Tenant(Excluded).ID {
			t.Error("the excluded tenant has a subscription")
		}
		var found bool
		for key, r := range rows {
			if !strings.HasSuffix(key, "/"+d.CIPPID) {
				continue
			}
			found = true
			if r["SubscriptionID"] != d.SubscriptionID || s.Tenant(r["PartitionKey"].(string)).ID != d.TenantID || !strings.Contains(r["WebhookNotificationUrl"].(string), d.CIPPID) {
				t.Errorf("the subscription %+v is stored as %v", d, r)
			}
		}
		if !found {
			t.Errorf("the subscription %+v is not stored", d)
		}
	}
	if r := rows[s.SAM.TenantID+"/"+s.SAM.TenantID]; r["Resource"] != "PartnerCenter" || r["Expiration"] != "Does Not Expire" {
		t.Errorf("the row of Partner Center is %v", r)
	}
	if _, err := WriteCIPPSubscriptions(context.Background(), "AccountName=nobody", s); err == nil {
		t.Error("a bad connection string is no error")
	}
}
