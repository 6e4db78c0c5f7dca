package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// What the receiver does on real storage, with the rows of package subscriptions.

func own(t testing.TB) *storage.Account {
	t.Helper()
	return storagetest.Open(t, azuritetest.ForTest(t).ConnectionString())
}

func newReceiver(known func(context.Context) (map[string]notify.Subscription, error), queue *storage.Queue) *notify.Receiver {
	return notify.New(notify.Deps{Subscriptions: known, Queue: queue, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

// subscription makes the i-th subscription, and its row.
func subscription(i int) (notify.Subscription, storage.Entity) {
	s := notify.NewSubscription(fmt.Sprintf("%08d-1111-4111-8111-111111111111", i))
	s.SubscriptionID = s.TenantID
	return s, storage.Entity{"PartitionKey": "subscription", "RowKey": s.ID, "TenantId": s.TenantID, "ClientState": s.ClientState, "SubscriptionId": s.SubscriptionID}
}

// take takes messages from a queue until it had so many devices, and returns
// their ids. It waits for messages that are still hidden.
func take(t testing.TB, queue *storage.Queue, devices int) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := queue.Take(t.Context(), 0, func(_ context.Context, q storage.Message) (bool, error) {
			m, err := notify.ParseMessage(q.Body)
			for _, id := range m.DeviceIDs {
				found[id] = true
			}
			return true, err
		})
		if err != nil && !errors.Is(err, storage.ErrNotFound) { // one that was held too long comes again
			t.Fatal(err)
		}
		if len(found) >= devices {
			return found
		}
		if left, err := queue.Length(t.Context()); err != nil || left == 0 {
			t.Fatalf("%d of %d devices were in the queue (%v)", len(found), devices, err)
		}
		<-again.C
	}
}

func TestMessagesAsTheHostTakesThem(t *testing.T) {
	account := own(t)
	table, queue := account.Table(azuritetest.UniqueName(t)), account.Queue(azuritetest.UniqueName(t))
	one, row := subscription(1)
	must(t, table.Replace(t.Context(), row))
	const device = "d1111111-1111-4111-8111-111111111111"
	req := httptest.NewRequest(http.MethodPost, one.URL(""), strings.NewReader(notify.Collection(notify.Notification(one, device))))
	rec := httptest.NewRecorder()
	newReceiver(subscriptions.Known(table), queue).ServeHTTP(rec, req)
	if rec.Code != http.StatusAccepted {
		t.Fatalf("answered %d %s", rec.Code, rec.Body)
	}
	if found := take(t, queue, 1); !found[device] {
		t.Errorf("queued %v", found)
	}
}
