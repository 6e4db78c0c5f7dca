package documents

import (
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestLicencesOfEarlierCIPP adopts licences' documents whose id is the tenant's
// and the SKU's, as CIPP wrote it until March 2026, in an organization that two
// tenants share: the id says whose each is.
func TestLicencesOfEarlierCIPP(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.tenants[0], w.tenants[1]
	template := func() int { _, _ = fromCIPP(w, a); return w.template(licenseBlueprint) }()
	const parts = 14 // more duplicates than the brake lets pass
	names := []string{"SPE_E3", "VISIO", "FLOW_FREE", "EMS", "AAD", "P1", "P2", "X1", "X2", "X3", "X4", "X5", "X6", "X7"}[:parts]
	want := map[string]map[string]int{a.id: {}, b.id: {}}
	for _, m := range w.tenants {
		for _, part := range names {
			sku := m.buy(part)
			for _, name := range []string{"Friendly " + part, "Friendly " + part, part} {
				id := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: name + " of " + m.domain,
					Fields: map[string]string{compose.FieldLicenseID: strings.ToUpper(m.id) + "_" + sku}})
				if want[m.id][sku] == 0 {
					want[m.id][sku] = id
				}
			}
		}
	}
	for _, m := range w.tenants {
		r := w.sync(m)
		w.verify(m)
		if r.Created != 0 || r.Duplicates != 2*parts || r.Archived != 0 || len(r.Notes) != 1 {
			t.Errorf("%s: %+v", m.domain, r)
		}
	}
	for _, m := range w.tenants {
		for sku, d := range w.live(m, licenseBlueprint) {
			if d.ID != want[m.id][sku] {
				t.Errorf("the document of %s is %d, not %d", sku, d.ID, want[m.id][sku])
			}
		}
		w.verifyRelisted(m)
	}
}
