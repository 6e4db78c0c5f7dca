package compliance

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// take takes one message from a queue as the Functions host does, and waits
// for it if it is still hidden.
func take(t testing.TB, queue *storage.Queue) Message {
	t.Helper()
	client, err := azqueue.NewQueueClientFromConnectionString(azuritetest.ForTest(t).ConnectionString(), queue.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		got, err := client.DequeueMessage(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 1 {
			found := got.Messages[0]
			if _, err := client.DeleteMessage(t.Context(), *found.MessageID, *found.PopReceipt, nil); err != nil {
				t.Fatal(err)
			}
			m, err := ParseMessage(storage.DecodeMessage(*found.MessageText))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal("the message never became visible")
		}
	}
}

func TestMessagesAsTheHostTakesThem(t *testing.T) {
	account := account(t, func(name string) string {
		return map[string]string{storage.Own: azuritetest.ForTest(t).ConnectionString()}[name]
	}, storage.Own)
	table, queue := account.Table(azuritetest.UniqueName(t)), account.Queue(azuritetest.UniqueName(t))
	one := testSubscription(tenantOne)
	if err := table.Replace(t.Context(), one.entity()); err != nil {
		t.Fatal(err)
	}
	g := newGate(t)
	g.receiver = NewReceiver(table, queue, time.Now, g.receiver.log)
	g.Config.Handler = g.receiver
	if status, body, _ := g.post(t, "?subscription="+one.ID, collection(notification(one, deviceOne))); status != 202 {
		t.Fatalf("answered %d %s", status, body)
	}
	if m := take(t, queue); m.TenantID != tenantOne || len(m.DeviceIDs) != 1 || m.DeviceIDs[0] != deviceOne {
		t.Errorf("queued %+v", m)
	}
}
