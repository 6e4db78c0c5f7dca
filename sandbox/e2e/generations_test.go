package e2e

import (
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// generation is what CIPP's engine keeps and writes since September 2026, beside what
// its earlier versions did.
type generation struct {
	tenantID string
	stale    int // NinjaOne device that complies, and still shows settings that failed
	gone     int // document of a licence that the tenant has no more
	rows     map[string]int
}

// hashColumns are the columns by which that engine skips what it believes unchanged.
var hashColumns = map[string]map[string]any{
	"NinjaOneDeviceMap":  {"FieldsHash": "AB12", "FieldsTime": "2026-11-29T03:00:00.0000000Z", "RelationsKey": "7|1,2", "RelationsTime": "2026-11-29T03:00:00.0000000Z"},
	"NinjaOneUserMap":    {"FieldHashes": "_name=ab", "InputHash": "cd", "DocUpdateTime": "1764385200.5"},
	"NinjaOneLicenseMap": {"DocHash": "ef", "DocUpdateTime": "1764385200.5", "HashTime": "2026-11-29T03:00:00.0000000Z"},
}

// serveNewer leaves behind, in a tenant that was served, what the newer engine does.
func (w *world) serveNewer(t *m365sim.Tenant, s served) generation {
	w.t.Helper()
	if _, err := w.Tables.CreateTable(w.t.Context(), "NinjaOneLicenseMap", nil); err != nil && !strings.Contains(err.Error(), "TableAlreadyExists") {
		w.t.Fatal(err)
	}
	const gone = "9d9d9d9d-0000-4000-8000-00000000000f"
	organization, g := w.Seed.Organization(t.ID), generation{tenantID: t.ID, rows: map[string]int{}}
	var template int
	for _, have := range w.NinjaOne.Templates() {
		if have.Name == "CIPP - Microsoft 365 Licenses" {
			template = have.ID
		}
	}
	g.gone = w.NinjaOne.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: "Gone Licence", Fields: map[string]string{"cippLicenseID": gone}})
	licence := func(sku string, document int) {
		w.merge("NinjaOneLicenseMap", t.ID, sku, map[string]any{"NinjaOneID": fmt.Sprint(document), "NinjaOneID@odata.type": "Edm.Int64"})
	}
	licence(gone, g.gone)
	for sku, ids := range s.licenses {
		licence(sku, ids[0])
	}
	for table, columns := range hashColumns {
		for _, r := range w.rows(table, "PartitionKey eq '"+t.ID+"'") {
			w.merge(table, t.ID, r["RowKey"].(string), columns)
			g.rows[table]++
		}
	}
	t.View(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			id := s.devices[d.String("azureADDeviceId")]
			if id == 0 {
				continue
			}
			w.NinjaOne.SetDeviceField(id, w.Seed.FieldMapping["DeviceNonCompliantSettings"], "Old policy: Old setting\nOld policy: Another (error)")
			if d.String("complianceState") == "compliant" {
				g.stale = id
			}
		}
	})
	w.NinjaOne.SetDeviceField(s.left, w.Seed.FieldMapping["DeviceNonCompliantSettings"], "Old policy: Old setting")
	if g.stale == 0 {
		w.t.Fatal("no matched device of the tenant complies")
	}
	return g
}

// adoptedNewer checks that our first sync read what the newer engine kept, and left
// its columns as they were.
func (w *world) adoptedNewer(g generation, s served) {
	w.t.Helper()
	for _, d := range w.NinjaOne.Documents(w.Seed.Organization(g.tenantID)) {
		if d.ID == g.gone && !d.Archived {
			w.t.Error("the document of a licence that the tenant has no more stays live")
		}
	}
	for _, device := range []int{g.stale, s.undecided, s.left} {
		if text := w.deviceText(device, "DeviceNonCompliantSettings"); text != "" {
			w.t.Errorf("device %d still shows %q as settings that fail", device, text)
		}
	}
	for _, device := range s.devices {
		if text := w.deviceText(device, "DeviceNonCompliantSettings"); strings.Contains(text, "Old policy") {
			w.t.Errorf("device %d shows settings of CIPP's last sync: %q", device, text)
		}
	}
	for table, columns := range hashColumns {
		for _, r := range w.rows(table, "PartitionKey eq '"+g.tenantID+"'") {
			for name, want := range columns {
				if r[name] != nil && r[name] != want {
					w.t.Errorf("%s of row %v in %s became %v", name, r["RowKey"], table, r[name])
				}
			}
		}
	}
}

// givenBackNewer checks that CIPP's engine skips nothing when it runs again.
func (w *world) givenBackNewer(g generation) {
	w.t.Helper()
	for table, columns := range hashColumns {
		rows := w.rows(table, "PartitionKey eq '"+g.tenantID+"'")
		if len(rows) < g.rows[table] {
			w.t.Errorf("of %d rows in %s, %d are left", g.rows[table], table, len(rows))
		}
		for _, r := range rows {
			for name := range columns {
				if r[name] != nil {
					w.t.Errorf("row %v in %s still has %s", r["RowKey"], table, name)
				}
			}
		}
	}
	if slices.ContainsFunc(w.rows("NinjaOneLicenseMap", "PartitionKey eq '"+g.tenantID+"'"), func(r map[string]any) bool { return r["NinjaOneID"] == nil }) {
		w.t.Error("a row of NinjaOneLicenseMap lost its document")
	}
}
