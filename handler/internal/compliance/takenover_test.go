package compliance_test

import (
	"net/http"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestBeforeTheFirstSync lets CIPP's engine have written devices whose state Intune
// does not know, and sweeps the tenant, or hears of the device, before it was ever
// synced.
func TestBeforeTheFirstSync(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(*world, triggertest.Pair)
		named   bool
		want    string // of device 0
	}{
		"a sweep":        {},
		"a notification": {named: true},
		"a technician's word": {happens: func(w *world, p triggertest.Pair) {
			w.NinjaOne.SetDeviceField(p.Ninja, w.Seed.FieldMapping["DeviceCompliance"], "ask Ann")
		}, want: "ask Ann"},
		"it is another organization's now": {happens: func(w *world, p triggertest.Pair) {
			w.NinjaOne.AddOrganization(ninjasim.Organization{ID: 990, Name: "Other"})
			w.NinjaOne.MoveDevice(p.Ninja, 990)
		}, want: "Non-Compliant"},
		"the report's filter is not applied, and it is another organization's": {named: true, happens: func(w *world, p triggertest.Pair) {
			w.NinjaOne.AddOrganization(ninjasim.Organization{ID: 990, Name: "Other"})
			w.NinjaOne.MoveDevice(p.Ninja, 990)
			w.NinjaOne.Ignore("df")
		}, want: "Non-Compliant"},
		"NinjaOne does not tell what it shows": {happens: func(w *world, p triggertest.Pair) {
			w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$", Status: http.StatusForbidden, Body: `{"resultCode":"FORBIDDEN"}`})
		}, want: "Non-Compliant"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, triggertest.Small(1, 4))
			pairs := w.Pairs(w.Seed.Mappings[0].TenantID)
			p, other := pairs[0], pairs[1]
			entra := map[string]string{}
			w.M365.Tenant(p.TenantID).View(func(tn *m365sim.Tenant) {
				for _, d := range tn.ManagedDevices {
					entra[d.ID()] = d.String("azureADDeviceId")
				}
			})
			for _, pair := range pairs {
				w.Set(pair, "compliant")
				w.NinjaOne.SetDeviceField(pair.Ninja, w.Seed.FieldMapping["DeviceCompliance"], "Non-Compliant")
				row := storage.Entity{"PartitionKey": pair.TenantID, "RowKey": entra[pair.Managed], "NinjaOneID": int64(pair.Ninja), "M365ID": pair.Managed}
				must(t, w.App.Table("NinjaOneDeviceMap").Replace(t.Context(), row))
			}
			w.Set(p, "configManager")
			if tt.happens != nil {
				tt.happens(w, p)
			}
			m := notify.Message{TenantID: p.TenantID}
			if tt.named {
				m.DeviceIDs = []string{p.Object, other.Object}
			}
			for range 2 {
				must(t, w.Process.Worker.Update(t.Context(), m, 1))
				w.Clock.Advance(time.Hour)
			}
			if got := w.Field(p.Ninja); got != tt.want {
				t.Errorf("the device of unknown state shows %q, want %q", got, tt.want)
			}
			w.WantField(other, "Compliant")
			want := 1
			if tt.want != "" {
				want = 0
			}
			if n := w.Writes(p.Ninja); n != want {
				t.Errorf("it was written %d times, want %d", n, want)
			}
		})
	}
}
