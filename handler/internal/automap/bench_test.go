package automap

import (
	"fmt"
	"testing"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/ninjasim"
)

// BenchmarkAutomap maps 1,000 tenants among 100,000 NinjaOne devices: half of
// them by name, half by their 100 Intune devices each. The tables, the blobs
// and NinjaOne are real HTTP; Intune's answers are made up.
func BenchmarkAutomap(b *testing.B) {
	const tenants, each = 1000, 100
	w := newWorld(b)
	rows := make([]storage.Entity, tenants)
	for n := range tenants {
		rows[n] = storage.Entity{"PartitionKey": "Tenants", "RowKey": id(n), "customerId": id(n), "displayName": fmt.Sprintf("Customer %d Ltd", n),
			"defaultDomainName": fmt.Sprintf("t%d.example", n), "Excluded": false, "GraphErrorCount": int32(0)}
		name := fmt.Sprintf("CUSTOMER %d", n)
		if n%2 == 1 {
			name = fmt.Sprintf("Site %d", n)
		}
		w.ninja.AddOrganization(ninjasim.Organization{ID: n + 1, Name: name})
		for i := range each {
			serial := fmt.Sprintf("SN%04dX%03d", n, i)
			w.intune.serials[id(n)] = append(w.intune.serials[id(n)], serial)
			w.ninja.AddDevice(ninjasim.Device{ID: n*each + i + 1, OrganizationID: n + 1, SystemName: "PC-" + serial, SerialNumber: serial})
		}
	}
	must(b, w.account.Table("Tenants").ReplaceAll(b.Context(), rows))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		w.empty("CippMapping")
		w.ninja.ResetCounters()
		clear(w.intune.asked)
		b.StartTimer()
		w.run(Message{})
		b.StopTimer()
		if n := len(w.report().Mapped); n != tenants {
			b.Fatalf("%d tenants were mapped, want %d", n, tenants)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(w.calls(callOrganizations)), "organization-calls")
	b.ReportMetric(float64(w.calls(callDevices)), "device-calls")
	b.ReportMetric(float64(len(w.intune.reads())), "tenants-read")
}
