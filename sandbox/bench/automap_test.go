package bench

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/seed"
)

// BenchmarkAutomap finds the organizations of 1,000 tenants among as many with
// 100,000 NinjaOne devices: of one half by name, of the other by the devices
// that Intune has too. The memory is that of the handler's process, since the
// simulators run in another one.
func BenchmarkAutomap(b *testing.B) {
	data := seed.Generate(seed.Size{Tenants: 1000, Users: 4, Devices: 100, Groups: 1})
	data.Mappings = nil
	for i := range data.Organizations {
		if i%2 == 1 {
			data.Organizations[i].Name = "Site " + data.Organizations[i].Name[len("Tenant "):]
		}
	}
	w := start(b, data, 0)
	idle, _, _ := usage(w.handler)
	for b.Loop() {
		w.recorder.take()
		enqueue(b, w.Stack, "ninjaone-automap", "{}")
		for function := ""; function != "Automap"; {
			i := <-w.done
			if function = i.Function; i.Err != nil {
				b.Fatal(i.Err)
			}
		}
	}
	mapped := 0
	filter := "PartitionKey eq 'NinjaOneMapping'"
	for pages := w.Tables.NewClient("CippMapping").NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter}); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		mapped += len(page.Entities)
	}
	if mapped != len(data.Tenants) {
		b.Fatalf("%d tenants are mapped, want %d", mapped, len(data.Tenants))
	}
	calls := countOf(w.recorder.take())
	b.ReportMetric(float64(calls.of("ninjaone", "devices")), "device-calls")
	b.ReportMetric(float64(calls.of("ninjaone", "organizations")), "organization-calls")
	b.ReportMetric(float64(calls.of("graph", "managedDevices")), "tenants-read")
	if peak, cpu, ok := usage(w.handler); ok {
		b.ReportMetric(peak, "handler-peak-MB")
		b.ReportMetric(idle, "handler-idle-MB")
		b.ReportMetric(cpu.Seconds(), "handler-cpu-s")
	}
}
