package automap

import (
	"context"
	"testing"
)

// TestDevicesContradictAName automaps a tenant with the exact name of an
// organization whose devices are another tenant's.
func TestDevicesContradictAName(t *testing.T) {
	for name, tt := range map[string]struct {
		other  func(*world) // makes the devices another tenant's
		only   string       // the one tenant to map; "" for all
		report []string
	}{
		"of a tenant without organization":       {func(w *world) { w.tenant(2, "Coho", "SN-1001", "SN-1002") }, "", []string{"0001?21,", "0002?21,"}},
		"of one, when a single tenant is mapped": {func(w *world) { w.tenant(2, "Coho", "SN-1001", "SN-1002") }, id(1), []string{"0001?21,"}},
		"of a mapped tenant that was never synced": {func(w *world) {
			w.tenant(2, "Coho", "SN-1001", "SN-1002")
			w.mapped(2, 22, "Vineyard")
		}, "", []string{"0001?21,"}},
		"of a mapped tenant that was synced": {func(w *world) {
			w.tenant(2, "Coho")
			w.mapped(2, 22, "Vineyard")
			w.Unmatched = func(_ context.Context, tenantID string) ([]string, bool, error) {
				return []string{"SN-1001", "SN-1002"}, tenantID == id(2), nil
			}
		}, "", []string{"0001?21,"}},
		"of a tenant whose name decides": {func(w *world) {
			w.tenant(2, "Coho", "SN-1001", "SN-1002")
			w.organization(23, "Coho")
		}, "", []string{"0002=23 exact name", "0001?21,"}},
		"of nobody that is known": {func(w *world) { w.tenant(2, "Coho", "SN-7001", "SN-7002") }, "", []string{"0001=21 exact name", "0002-"}},
		"with placeholders for serial numbers": {func(w *world) {
			w.organization(24, "Depot", "SYS-1234567890", "0123456789ABCDEF", "0101010101")
			w.tenant(2, "Coho", "SYS-1234567890", "0123456789ABCDEF", "0101010101")
		}, "", []string{"0001=21 exact name", "0002-"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tenant(1, "Alpine Ski House")
			w.organization(21, "Alpine Ski House", "SN-1001", "SN-1002")
			tt.other(w)
			w.run(Message{TenantID: tt.only})
			same(t, "report", tt.report, w.outcome())
			if n := w.calls(callDevices); n != 1 {
				t.Errorf("NinjaOne's devices were read %d times, want once", n)
			}
		})
	}
}

// TestAMappedTenantThatCannotBeRead does not keep others from being mapped, and
// nothing is said of it.
func TestAMappedTenantThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House", "SN-1001")
	w.organization(21, "Alpine Ski House", "SN-1001", "SN-1002")
	w.tenant(2, "Coho")
	w.mapped(2, 22, "Vineyard")
	w.intune.errors[id(2)] = context.DeadlineExceeded
	w.run(Message{})
	same(t, "report", []string{"0001=21 exact name"}, w.outcome())
	same(t, "logbook", []string{
		"Info None Automap ended. Mapped: 1 (by exact name 1, by similar name 0, by devices 0). Left for a technician to decide: 0. Without any match: 0. Intune devices not readable: 0.",
		`Info t1.example Mapped "Alpine Ski House" to NinjaOne organization "Alpine Ski House" (21) by exact name: the organization has the tenant's name.`,
	}, w.lines())
}
