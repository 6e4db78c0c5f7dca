package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkMonth measures what a month is made of, for the costs in deploy/README.md:
// one execution of each kind for a tenant of 100 users and 100 devices, with the
// calls of tables and blobs that it makes. Those of queues are the host's and a few.
func BenchmarkMonth(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 1, Users: 100, Devices: 100, Groups: 20})
	w := start(b, data, delay)
	tenant := data.Tenants[0].ID
	b.Run("first", func(b *testing.B) { w.sync(b, tenant).report(b, delay) })
	b.Run("unchanged", func(b *testing.B) { w.unchanged(b, tenant).report(b, delay) })
	b.Run("sweep", func(b *testing.B) {
		w.message(b, "ninjaone-compliance", fmt.Sprintf(`{"tenantId":%q}`, tenant))
		w.message(b, "ninjaone-compliance", fmt.Sprintf(`{"tenantId":%q}`, tenant)).report(b, delay)
	})
	b.Run("look", func(b *testing.B) {
		w.message(b, "ninjaone-changes", fmt.Sprintf(`{"tenantId":%q}`, tenant))
		for range 2 { // what follows from the first look: a light run, and a sweep
			<-w.done
		}
		aged := fmt.Sprintf(`{"PartitionKey":"watch","RowKey":"tenant|%s","Looked@odata.type":"Edm.DateTime","Looked":%q}`,
			tenant, time.Now().UTC().Add(-time.Hour).Format(time.RFC3339))
		if _, err := w.Tables.NewClient("NinjaOneChanges").UpdateEntity(context.Background(), []byte(aged), &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
			b.Fatal(err)
		}
		w.message(b, "ninjaone-changes", fmt.Sprintf(`{"tenantId":%q}`, tenant)).report(b, delay)
	})
}
