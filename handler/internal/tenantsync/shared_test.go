package tenantsync

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// sharer is the id of the nth tenant of the lab's organization, from 2 on.
func sharer(n int) string { return fmt.Sprintf("5d0b1c00-0000-4000-8000-%012d", n) }

// large makes a snapshot one that fills a field.
func large(s *tenant.Snapshot) *tenant.Snapshot {
	for n := range 2000 {
		s.Domains.Value = append(s.Domains.Value, tenant.Domain{Name: fmt.Sprintf("d%04d.a-rather-long-name-of-a-company-of-this-group-of-companies.example", n), IsVerified: true})
	}
	return s
}

// share maps so many tenants to the lab's organization, and keeps the sections of
// all but the lab's own, as their syncs do. Every fifth of them is large. They
// differ by their names alone.
func (b *bench) share(tenants int) {
	b.t.Helper()
	var kinds []string
	for _, s := range []*tenant.Snapshot{large(snapshot(nil)), snapshot(nil)} {
		s.Tenant = tenant.Ref{ID: sharer(999), DisplayName: "Sharer 999", DefaultDomain: "sharer.example"}
		var kept section
		kept.Fields, kept.Shorter = compose.Sections(compose.Input{Snapshot: s, NinjaHost: labInstance, Shared: true, Today: b.now()})
		body, err := json.Marshal(kept)
		must(b.t, err)
		kinds = append(kinds, string(body))
	}
	for n := 2; n <= tenants; n++ {
		b.mapSharer(n)
		body := strings.ReplaceAll(kinds[min(n%5, 1)], "Sharer 999", fmt.Sprintf("Sharer %03d", n))
		must(b.t, b.Blobs.Put(b.t.Context(), fmt.Sprintf("sections/%s/%d/%s.json", labInstance, labOrganization, sharer(n)), []byte(body)))
	}
}

func (b *bench) mapSharer(n int) {
	b.remap(sharer(n), "7")
	b.row("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": sharer(n), "customerId": sharer(n),
		"displayName": fmt.Sprintf("Sharer %03d", n), "defaultDomainName": fmt.Sprintf("sharer%d.example", n), "Excluded": false})
}

// syncSharer syncs another tenant of the organization, a small one.
func (b *bench) syncSharer(n int) {
	b.t.Helper()
	read := b.reader.snapshot
	defer func() {
		b.reader.snapshot = read
		if b.Documents != nil {
			b.configure(`,"UserDocumentsEnabled":true`)
		}
	}()
	b.configure("")
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return snapshot(nil), nil }
	must(b.t, b.Run(b.t.Context(), Message{TenantID: sharer(n)}))
}

// organizationWrites counts how often the organization was written.
func (b *bench) organizationWrites() int {
	return b.ninja.Calls()["PATCH /v2/organization/{id}/custom-fields"]
}

// TestManyTenantsShareAnOrganization syncs a tenant of an organization that 2 to
// 100 tenants share: its devices, compliance and documents are written as ever,
// the organization's field names every tenant, how it is cut down is told once,
// and an unchanged run writes nothing.
func TestManyTenantsShareAnOrganization(t *testing.T) {
	for _, tenants := range []int{2, 16, 100} {
		t.Run(fmt.Sprint(tenants), func(t *testing.T) {
			b := newBench(t, 3)
			b.withDocuments(3)
			whole := b.reader.snapshot
			b.reader.snapshot = func() (*tenant.Snapshot, error) {
				s, err := whole()
				s.ManagedDevices = tenant.Present(devices(3))
				return large(s), err
			}
			b.share(tenants)
			lines := b.sync(Message{})
			r := b.last()
			if r.Status != runs.Completed || r.Devices != 3 || r.Documents != 3 || r.OrganizationFields != 1 || len(r.Problems) > 0 {
				t.Fatalf("%+v", r)
			}
			if b.sent(device(102), "compliance") != "Compliant" || !strings.Contains(b.sent(device(102), "details"), "OP-002") {
				t.Error("a device is not shown")
			}
			value := b.sent(organization, "summary")
			if n := ninjaone.JSONLength(value); n > ninjaone.MaxHTML || n < ninjaone.MaxHTML/10 && tenants < 100 {
				t.Errorf("the field has %d characters", n)
			}
			for n := 2; n <= tenants; n++ {
				if name := fmt.Sprintf("Sharer %03d", n); !strings.Contains(value, name) {
					t.Errorf("the field does not name %s", name)
				}
			}
			if !strings.Contains(value, "Ostholm Printing") {
				t.Error("the field does not name the tenant")
			}
			told := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "have no room for all of this one") })
			if told != (r.Cuts != "") || tenants > 2 && !told {
				t.Errorf("it is cut down so: %q; and the logbook says %q", r.Cuts, lines)
			}

			// Nothing changes, so nothing is written or told, by any of the tenants.
			settled := tenants < 100 // with more it takes long, and shows nothing else
			if settled {
				b.syncSharer(2)
				b.sync(Message{})
			}
			before := b.organizationWrites()
			if settled {
				b.syncSharer(2)
			}
			if lines := b.sync(Message{}); len(lines) > 0 {
				t.Errorf("the next run tells %q", lines)
			}
			if r := b.last(); r.Devices+r.OrganizationFields+r.Documents > 0 {
				t.Errorf("the next run wrote %+v", r)
			}
			if n := b.organizationWrites() - before; n != 0 {
				t.Errorf("unchanged syncs wrote the organization %d times", n)
			}

			if !settled {
				return
			}
			// Another tenant shifts the shares: one write, and it is settled.
			b.mapSharer(tenants + 1)
			b.syncSharer(tenants + 1)
			b.syncSharer(2)
			b.sync(Message{})
			b.syncSharer(tenants + 1)
			if n := b.organizationWrites() - before; n != 1 {
				t.Errorf("the syncs after another tenant was mapped wrote the organization %d times, want once", n)
			}
		})
	}
}

// TestSectionsOfAnotherTime shows a tenant beside sections that cannot be cut
// down: of an earlier version, and of a tenant that had the organization to itself.
func TestSectionsOfAnotherTime(t *testing.T) {
	b := newBench(t, 2)
	b.reader.snapshot = func() (*tenant.Snapshot, error) { return large(snapshot(devices(2))), nil }
	b.sync(Message{})
	alone := b.sent(organization, "summary")
	if ninjaone.JSONLength(alone) < ninjaone.MaxHTML/2 || strings.Contains(alone, "<h3>") {
		t.Fatalf("alone it has %d characters", ninjaone.JSONLength(alone))
	}
	// Two more, one with a section as earlier versions kept it.
	b.mapSharer(2)
	b.mapSharer(3)
	old, err := json.Marshal(map[string]any{"tenantId": sharer(2), "fields": map[string]string{"TenantSummary": strings.Repeat("<p>of old</p>", 9000)}})
	must(t, err)
	must(t, b.Blobs.Put(t.Context(), fmt.Sprintf("sections/%s/%d/%s.json", labInstance, labOrganization, sharer(2)), old))
	b.syncSharer(3)
	value := b.sent(organization, "summary")
	if ninjaone.JSONLength(value) > ninjaone.MaxHTML || !strings.Contains(value, "Ostholm Printing") || !strings.Contains(value, "<h3>Sharer 003</h3>") || !strings.Contains(value, "of old") {
		t.Errorf("the field has %d characters: %.300s", ninjaone.JSONLength(value), value)
	}
	// The first one's own sync gives it its share.
	b.sync(Message{})
	if value := b.sent(organization, "summary"); !strings.Contains(value, "<h3>Ostholm Printing</h3>") || ninjaone.JSONLength(value) > ninjaone.MaxHTML {
		t.Errorf("after its own sync: %.300s", value)
	}
}
