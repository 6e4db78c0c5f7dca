package tenantsync

import (
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/ninjasim"
)

// syncAs runs the sync of one tenant whose Intune has these devices, and returns
// its problems.
func (b *bench) syncAs(tenantID string, list []tenant.ManagedDevice) string {
	b.t.Helper()
	b.set(b.now().Add(time.Hour))
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(list), nil }
	must(b.t, b.Run(b.t.Context(), Message{TenantID: tenantID}))
	return b.toldOf(tenantID)
}

// TestTwoTenantsClaimADevice lets two tenants of one organization have a device
// of the same serial number in Intune, which comply differently.
func TestTwoTenantsClaimADevice(t *testing.T) {
	b := newBench(t, 2)
	b.row("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": neighbour, "customerId": neighbour,
		"displayName": "Ostholm Labels", "defaultDomainName": "labels.example", "Excluded": false})
	b.remap(neighbour, "7")
	ours, theirs := devices(2), devices(1)
	theirs[0].ID, theirs[0].AzureADDeviceID = "9e9e4ad0-5b57-4e64-9d8c-000000000009", "9e9e4b1e-7a52-4be1-9f0f-000000000009"
	theirs[0].ComplianceState = tenant.StateNoncompliant
	shows := func(step, want string) {
		t.Helper()
		if got := b.sent(device(100), "compliance"); got != want {
			t.Errorf("%s: the device shows %q, want %q", step, got, want)
		}
	}
	writes := func() (n int) {
		for _, w := range b.ninja.Writes() {
			if w.Target == (ninjasim.Target{Kind: ninjasim.DeviceKind, ID: 100}) {
				n++
			}
		}
		return n
	}
	if told := b.syncAs(labTenant, ours); told != "" {
		t.Errorf("the first tenant alone is told %q", told)
	}
	shows("first", "Compliant")
	for range 3 {
		if told := b.syncAs(neighbour, theirs); !strings.Contains(told, "device 100 (OP-000) shows what tenant ostholm.example has") {
			t.Errorf("the second tenant is told %q", told)
		}
		shows("second", "Compliant")
		// The compliance of the second, by sweep or notification, is not written either.
		claim, err := b.Ledger.MarkShared(t.Context(), labOrg, ledger.Reading{TenantID: neighbour, Fields: ledger.Shared{Compliance: "compliance"}, Began: time.Now()},
			ledger.NewSharedSend(100, ninjaone.Fields{"compliance": ninjaone.Text("Non-Compliant")}, false, nil))
		if claim != nil || err != nil {
			t.Errorf("the second tenant claims the field: %v", err)
		}
		if told := b.syncAs(labTenant, ours); !strings.Contains(told, "device 100 shows what this tenant has, and matches a device of tenant labels.example") {
			t.Errorf("the first tenant is told %q", told)
		}
		shows("first again", "Compliant")
	}
	if n := writes(); n != 1 {
		t.Errorf("the device was written %d times", n)
	}
	// The preview of the second tenant does not promise it either.
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(theirs), nil }
	p, err := b.Preview(t.Context(), neighbour)
	must(t, err)
	if len(p.Targets) != 1 {
		t.Errorf("the preview writes %d devices", len(p.Targets)-1)
	}

	// The device leaves the first tenant's Intune: the second's shows.
	if told := b.syncAs(labTenant, ours[1:]); told != "" {
		t.Errorf("the first tenant is still told %q", told)
	}
	shows("gone from the first", "")
	if told := b.syncAs(neighbour, theirs); told != "" {
		t.Errorf("the second tenant is still told %q", told)
	}
	shows("free for the second", "Non-Compliant")

	// It returns to the first: the second holds it by now, until it is unmapped.
	if told := b.syncAs(labTenant, ours); !strings.Contains(told, "labels.example") {
		t.Errorf("the first tenant is told %q", told)
	}
	shows("back in the first", "Non-Compliant")
	must(t, b.account.Table("CippMapping").Delete(t.Context(), "NinjaOneMapping", neighbour))
	b.later(0)
	if told := b.syncAs(labTenant, ours); told != "" {
		t.Errorf("the first tenant is told %q of a tenant that is not mapped", told)
	}
	shows("the second unmapped", "Compliant")
	n := writes()
	b.syncAs(labTenant, ours)
	if writes() != n {
		t.Error("an unchanged run wrote the device")
	}
}
