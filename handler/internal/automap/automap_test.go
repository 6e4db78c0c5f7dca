package automap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/ninjasim"
)

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// customers sets up a tenant for each way an automap can go.
func (w *world) customers() {
	w.tenant(1, "Alpine Ski House")                                // exact name
	w.tenant(2, "Bellows College, Inc.")                           // similar name
	w.tenant(3, "Coho", "SN-3001", "SN-3002", "SN-3003")           // devices
	w.tenant(4, "Datum", "SN-4001", "SN-4002")                     // tie
	w.tenant(5, "Fourth Coffee", "SN-5001", "SN-5002")             // thin
	w.tenant(6, "Graphic Design", "SN-6001")                       // nothing
	w.tenant(7, "Humongous <b>Insurance</b>", "SN-7001", "SN-702") // its organization is taken
	w.tenant(8, "Lamna")                                           // cannot be read
	w.tenant(9, "Margie's Travel", "SN-9001", "SN-9002")           // has a mapping
	w.tenant(10, "Northwind", "SN-1001", "SN-1002")                // excluded
	w.row("Tenants", "Tenants", id(10), "customerId", id(10), "displayName", "Northwind", "defaultDomainName", "t10.example", "Excluded", true)
	w.tenant(11, "*Partner Tenant", "SN-1101", "SN-1102") // the partner's own
	w.row("tenantMode", "Setting", "PartnerModeSetting", "state", "PartnerTenantAvailable")
	w.intune.errors[id(8)] = errors.New("signing in to the tenant failed: consent is missing; run CIPP's permission check")

	w.organization(21, "Alpine Ski House")
	w.organization(22, "BELLOWS COLLEGE")
	w.organization(23, "Vineyard", "SN-3001", "sn-3002")
	w.organization(24, "Depot", "SN-3003", "SN-4001")
	w.organization(25, "Shop", "SN-4002", "SN-5001")
	w.organization(27, "Insurer", "SN-7001", "SN-702", "SN-9001", "SN-9002")
	w.organization(28, "Northwind", "SN-1001", "SN-1002")
	w.organization(29, "Partner Tenant", "SN-1101", "SN-1102")
	w.mapped(9, 27, "Insurer as it was called")
}

func TestAutomap(t *testing.T) {
	w := newWorld(t)
	w.customers()
	w.run(Message{})

	same(t, "mappings", []string{
		"0001=21 Alpine Ski House", "0002=22 BELLOWS COLLEGE", "0003=23 Vineyard", "0009=27 Insurer as it was called",
	}, w.mappings())
	same(t, "report", []string{
		"0001=21 exact name", "0002=22 similar name", "0003=23 devices",
		"0004?24,25,", "0005?25,", "0007?27!,", "0006-", "0008-",
	}, w.outcome())
	same(t, "logbook", []string{
		"Info None Automap ended. Mapped: 3 (by exact name 1, by similar name 1, by devices 1). Left for a technician to decide: 3. Without any match: 2. Intune devices not readable: 1.",
		`Info t1.example Mapped "Alpine Ski House" to NinjaOne organization "Alpine Ski House" (21) by exact name: the organization has the tenant's name.`,
		`Info t2.example Mapped "Bellows College, Inc." to NinjaOne organization "BELLOWS COLLEGE" (22) by similar name: the names are equal apart from case, punctuation, accents and legal form, and no other tenant or organization has such a name.`,
		`Info t3.example Mapped "Coho" to NinjaOne organization "Vineyard" (23) by devices: 2 of the 3 devices that the tenant shares with NinjaOne are in the organization.`,
		"Warn t8.example The tenant's Intune devices could not be read, so that only its name was compared: signing in to the tenant failed: consent is missing; run CIPP's permission check.",
	}, w.lines())
	for _, s := range w.report().Suggestions {
		if s.Tenant.ID == id(5) {
			if c := s.Candidates[0]; c.Evidence.Devices != 1 || c.Evidence.Of != 1 || !slices.Equal(c.Evidence.Serials, []string{"SN5001"}) || c.OrganizationName != "Shop" {
				t.Errorf("evidence of a suggestion: %+v", c)
			}
		}
	}
	if strings.Contains(w.logged.String(), "SN-") {
		t.Error("serial numbers are in the log")
	}
	// What its name decides is not read, and NinjaOne is read once for all.
	same(t, "tenants read", []string{"0003:1", "0004:1", "0005:1", "0006:1", "0007:1", "0008:1"}, w.intune.reads())
	if o, d := w.calls(callOrganizations), w.calls(callDevices); o != 1 || d != 1 {
		t.Errorf("%d calls for organizations and %d for devices, want one each", o, d)
	}
	if w.underWay() {
		t.Error("an automap that has ended seems to be under way")
	}
}

// TestAutomapAgain repeats an automap, and checks that what is mapped, in
// whatever form CIPP has stored it, stays as it is to the last bit.
func TestAutomapAgain(t *testing.T) {
	w := newWorld(t)
	w.customers()
	w.tenant(12, "Proseware")
	w.organization(30, "Proseware")
	w.organization(31, "Proseware UK")
	w.row("CippMapping", "NinjaOneMapping", "t12.example", "IntegrationId", "31", "IntegrationName", "By domain", "lastStatus", "Completed")
	w.tenant(13, "Relecloud")
	w.organization(32, "Relecloud")
	w.row("CippMapping", "NinjaOrgsMapping", id(13), "NinjaOne", "31", "NinjaOneName", "Of long ago")
	w.tenant(14, "Tailwind")
	w.organization(33, "Tailwind")
	w.row("CippMapping", "NinjaOneMapping", id(14), "IntegrationId", "no number", "IntegrationName", "Broken")
	before := w.rows("CippMapping")
	w.run(Message{})
	first := w.rows("CippMapping")
	for _, e := range before {
		if !slices.ContainsFunc(first, func(f storage.Entity) bool { return cmp.Equal(e, f) }) {
			t.Errorf("a mapping was changed: %v", e)
		}
	}
	if len(first) != len(before)+3 {
		t.Errorf("%d mappings before, %d after", len(before), len(first))
	}
	w.empty("CippLogs")
	w.run(Message{})
	if diff := cmp.Diff(first, w.rows("CippMapping")); diff != "" {
		t.Errorf("the second automap changed mappings:\n%s", diff)
	}
	same(t, "report", []string{"0004?24,25,", "0005?25,", "0007?27!,", "0006-", "0008-"}, w.outcome())
	if lines := w.lines(); len(lines) != 2 || !strings.HasPrefix(lines[0], "Info None Automap ended. Mapped: 0 (") {
		t.Errorf("logbook: %q", lines)
	}
}

func TestAutomapCosts(t *testing.T) {
	t.Run("everything is mapped", func(t *testing.T) {
		w := newWorld(t)
		w.tenant(1, "Alpine Ski House")
		w.mapped(1, 21, "Alpine")
		w.run(Message{})
		if calls := w.ninja.Calls(); len(calls) != 0 {
			t.Errorf("NinjaOne was called: %v", calls)
		}
		same(t, "logbook", []string{"Info None Automap ended. Mapped: 0 (by exact name 0, by similar name 0, by devices 0). Left for a technician to decide: 0. Without any match: 0. Intune devices not readable: 0."}, w.lines())
	})
	t.Run("names decide everything", func(t *testing.T) {
		w := newWorld(t)
		w.tenant(1, "Alpine Ski House", "SN-1")
		w.organization(21, "Alpine Ski House", "SN-1")
		w.run(Message{})
		same(t, "report", []string{"0001=21 exact name"}, w.outcome())
		same(t, "tenants read", []string{}, w.intune.reads())
		if n := w.calls(callDevices); n != 0 {
			t.Errorf("devices were read %d times for nothing", n)
		}
	})
	t.Run("tenants are read at once, but not all", func(t *testing.T) {
		w := newWorld(t)
		const tenants = 3 * readers
		for n := range tenants {
			w.tenant(1+n, fmt.Sprintf("Customer %d", n), "SN-9999")
		}
		var all sync.WaitGroup
		all.Add(readers)
		var here, most, asked atomic.Int32
		w.intune.hook = func(context.Context, string) error {
			n := here.Add(1)
			defer here.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if asked.Add(1) <= readers {
				all.Done()
				all.Wait() // the first ones wait for each other
			}
			return nil
		}
		w.run(Message{})
		if n := most.Load(); n != readers {
			t.Errorf("%d tenants were read at once, want %d", n, readers)
		}
		if n := len(w.intune.reads()); n != tenants {
			t.Errorf("%d of %d tenants were read", n, tenants)
		}
	})
}

func TestAutomapOneTenant(t *testing.T) {
	w := newWorld(t)
	w.customers()
	w.run(Message{TenantID: id(3)})
	same(t, "mappings", []string{"0003=23 Vineyard", "0009=27 Insurer as it was called"}, w.mappings())
	same(t, "report", []string{"0003=23 devices"}, w.outcome())
	same(t, "tenants read", []string{"0003:1"}, w.intune.reads())
	if w.underWay() {
		t.Error("the automap of one tenant seems to be one of all")
	}

	// Another tenant a little later shares the devices that were read, and the
	// report keeps both.
	w.now = w.now.Add(recent - time.Second)
	w.run(Message{TenantID: id(5)})
	same(t, "report", []string{"0003=23 devices", "0005?25,"}, w.outcome())
	if n := w.calls(callDevices); n != 1 {
		t.Errorf("devices were read %d times, want once", n)
	}
	// Much later they are read again, and the tenant's new entry takes the
	// place of its old one.
	w.now = w.now.Add(2 * time.Second)
	w.ninja.AddDevice(ninjasim.Device{ID: 25999, OrganizationID: 25, SerialNumber: "SN-5002"})
	w.run(Message{TenantID: id(5)})
	same(t, "report", []string{"0003=23 devices", "0005=25 devices"}, w.outcome())
	if n := w.calls(callDevices); n != 2 {
		t.Errorf("devices were read %d times, want twice", n)
	}
	// An automap of all reads them anew and leaves nothing of the old report.
	w.run(Message{})
	same(t, "report", []string{"0001=21 exact name", "0002=22 similar name", "0004?24,", "0007?27!,", "0006-", "0008-"}, trimmed(w.outcome()))
	if n := w.calls(callDevices); n != 3 {
		t.Errorf("devices were read %d times, want three times", n)
	}
}

// trimmed cuts all but the first candidate of suggestions.
func trimmed(lines []string) []string {
	for i, l := range lines {
		if head, _, found := strings.Cut(l, ","); found {
			lines[i] = head + ","
		}
	}
	return lines
}

// TestAutomapOneTenantAmongNamesakes checks that the name of a single tenant
// is compared with the other tenants' as in an automap of all.
func TestAutomapOneTenantAmongNamesakes(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Lamna Ltd")
	w.tenant(2, "Lamna GmbH")
	w.organization(21, "LAMNA")
	w.run(Message{TenantID: id(1)})
	same(t, "mappings", []string{}, w.mappings())
	same(t, "report", []string{"0001?21,"}, w.outcome())
}

func TestAutomapRefusals(t *testing.T) {
	tests := []struct {
		name    string
		message Message
		prepare func(*world)
		want    string
	}{
		{"unknown tenant", Message{TenantID: id(99)}, nil, "Warn None Not mapped: CIPP knows no tenant with this id. Refresh CIPP's tenant list."},
		{"excluded tenant", Message{TenantID: id(10)}, nil, "Warn t10.example Not mapped: the tenant is excluded in CIPP."},
		{"partner tenant", Message{TenantID: id(11)}, nil, "Warn t11.example Not mapped: the partner's own tenant is not mapped automatically. Map it by hand."},
		{"mapped tenant", Message{TenantID: id(9)}, nil, "Info t9.example The tenant has a mapping to NinjaOne already, which stays as it is."},
		{"turned off", Message{}, func(w *world) {
			w.row("Extensionsconfig", "CippExtensions", "Config", "config", `{"NinjaOne":{"Enabled":false,"Instance":"eu.ninjarmm.com","ClientID":"sync-app"}}`)
		}, "Warn None Nothing was mapped: the NinjaOne integration is turned off in CIPP."},
		{"never set up", Message{}, func(w *world) { w.empty("Extensionsconfig") }, "Warn None Nothing was mapped: the NinjaOne integration is turned off in CIPP."},
		{"bad instance", Message{}, func(w *world) {
			w.row("Extensionsconfig", "CippExtensions", "Config", "config", `{"NinjaOne":{"Enabled":true,"Instance":"fabrikam.example","ClientID":"sync-app"}}`)
		}, "Error None Automap ended early: NinjaOne cannot be called: "},
		{"NinjaOne refuses", Message{}, func(w *world) {
			w.ninja.InjectFault(ninjasim.Fault{Path: "organizations", Status: 403, Body: `{"resultCode":"FAILURE","errorMessage":"no"}`})
		}, "Error None Automap ended early: NinjaOne's organizations could not be read: "},
		{"NinjaOne knows no such application", Message{}, func(w *world) { w.ninja.SetClientSecret("changed") },
			"Error None Automap ended early: NinjaOne's organizations could not be read: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.customers()
			if tt.prepare != nil {
				tt.prepare(w)
			}
			w.run(tt.message)
			if lines := w.lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], tt.want) {
				t.Errorf("logbook: %q\nwant one line beginning %q", lines, tt.want)
			}
			same(t, "mappings", []string{"0009=27 Insurer as it was called"}, w.mappings())
			if strings.Contains(strings.Join(w.lines(), ""), "not-a-real-secret") || strings.Contains(w.logged.String(), "not-a-real-secret") {
				t.Error("the client secret is in a log")
			}
		})
	}
}

func TestAutomapWithoutNinjaOneDevices(t *testing.T) {
	w := newWorld(t)
	w.customers()
	w.ninja.InjectFault(ninjasim.Fault{Path: "devices-detailed", Status: 403, Body: `{"resultCode":"FAILURE","errorMessage":"no"}`})
	w.run(Message{})
	same(t, "report", []string{"0001=21 exact name", "0002=22 similar name", "0003-", "0004-", "0005-", "0006-", "0007-", "0008-"}, w.outcome())
	same(t, "tenants read", []string{}, w.intune.reads())
	lines := w.lines()
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "Error None NinjaOne's devices could not be read, so that only names were compared: ") {
		t.Errorf("logbook: %q", lines)
	}
	if r := w.report().Unmatched[0].Reason; !strings.Contains(r, "NinjaOne's devices could not be read") {
		t.Errorf("reason %q", r)
	}
}

func TestAutomapSlowTenant(t *testing.T) {
	w := newWorld(t)
	w.customers()
	w.intune.errors[id(8)] = fmt.Errorf("reading: %w", context.DeadlineExceeded)
	w.run(Message{})
	if lines := w.lines(); !strings.Contains(lines[len(lines)-1], "Microsoft 365 did not give them within 2m0s; try again later.") {
		t.Errorf("logbook: %q", lines)
	}
}

// TestAutomapMeanwhile maps a tenant by hand, and an organization to another
// tenant, while the devices are read.
func TestAutomapMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Coho", "SN-1001", "SN-1002")
	w.tenant(2, "Datum", "SN-2001", "SN-2002")
	w.tenant(3, "Lamna")
	w.organization(21, "Vineyard", "SN-1001", "SN-1002")
	w.organization(22, "Depot", "SN-2001", "SN-2002")
	w.intune.hook = func(_ context.Context, tenantID string) error {
		if tenantID == id(2) {
			w.mapped(1, 22, "By hand")
			w.mapped(3, 7, "By hand as well")
		}
		return nil
	}
	w.run(Message{})
	same(t, "mappings", []string{"0001=22 By hand", "0003=7 By hand as well"}, w.mappings())
	same(t, "report", []string{"0002?22!,"}, w.outcome())
}

// TestAutomapOvertaken maps a tenant by hand in the last moment: after CIPP's
// mapping was read, and before automap writes its own.
func TestAutomapOvertaken(t *testing.T) {
	w := newWorld(t)
	w.tenant(1, "Alpine Ski House")
	w.organization(21, "Alpine Ski House")
	client := w.NinjaOne
	w.NinjaOne = func(c cipp.ExtensionConfig) (*ninjaone.Client, error) {
		w.mapped(1, 7, "By hand")
		return client(c)
	}
	w.run(Message{})
	same(t, "mappings", []string{"0001=7 By hand"}, w.mappings())
	same(t, "report", []string{}, w.outcome())
}

func TestAutomapBusy(t *testing.T) {
	w := newWorld(t)
	w.customers()
	lease, err := w.Blobs.Lease(t.Context(), leaseBlob, leaseDuration)
	must(t, err)
	for _, m := range []Message{{}, {TenantID: id(3)}} {
		w.run(m)
	}
	lease.Release()
	n, err := w.Queue.Length(t.Context())
	must(t, err)
	if n != 2 {
		t.Errorf("%d messages were put back, want 2", n)
	}
	if got := w.queued(); len(got) != 0 {
		t.Errorf("messages are put back without a delay: %q", got)
	}
	same(t, "mappings", []string{"0009=27 Insurer as it was called"}, w.mappings())
	same(t, "logbook", []string{}, w.lines())
}
