package documents

import (
	"testing"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestAdoptByLicenseMap: a licence's document names no tenant, and the map of CIPP's
// newer versions says whose it is.
func TestAdoptByLicenseMap(t *testing.T) {
	const sku = "c0000000-0000-4000-8000-000000000001"
	doc := func(id int) ninjaone.Document {
		return ninjaone.Document{ID: id, Name: "Microsoft 365 E3", Fields: []ninjaone.FieldText{{Name: compose.FieldLicenseID, Text: sku}}}
	}
	for name, tt := range map[string]struct {
		own, others map[int]string
		ours        bool // the tenant has the licence
		want        int
	}{
		"both tenants have it, the map names ours": {own: map[int]string{2: sku}, others: map[int]string{3: sku}, ours: true, want: 2},
		"it is gone, the map names ours":           {own: map[int]string{2: sku}, want: 2},
		"both maps name one":                       {own: map[int]string{2: sku}, others: map[int]string{2: sku}, ours: true},
		"the map names one of another licence":     {own: map[int]string{2: "other"}, ours: true},
		"no map":                                   {ours: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := claims{tenantID: "tenant-a", idField: compose.FieldLicenseID, ours: func(string) bool { return tt.ours }, theirs: func(string) bool { return true },
				taken: map[int]bool{}, remembered: map[int]string{}, listed: tt.own, listedElsewhere: map[int]bool{}}
			for id := range tt.others {
				c.listedElsewhere[id] = true
			}
			got := 0
			if one, found := adopt([]ninjaone.Document{doc(2), doc(3)}, c)[sku]; found {
				got = one.document.ID
			}
			if got != tt.want {
				t.Errorf("adopted %d, want %d", got, tt.want)
			}
		})
	}
}

// TestGoneLicenceOfLicenseMap archives the document of a licence that ended before
// the take-over.
func TestGoneLicenceOfLicenseMap(t *testing.T) {
	w, m, _ := small(t)
	const gone = "c0000000-0000-4000-8000-0000000000ff"
	template := w.AddTemplate(ninjasim.Template{Name: licenseBlueprint.name, AllowMultiple: true, AllTechnicians: true, Items: []ninjasim.TemplateItem{
		{Name: compose.FieldLicenseSummary, Type: "WYSIWYG", APIPermission: "READ_WRITE"}, {Name: compose.FieldLicenseUsers, Type: "WYSIWYG", APIPermission: "READ_WRITE"},
		{Name: compose.FieldLicenseID, Type: "TEXT", APIPermission: "READ_WRITE"}}})
	document := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: template, Name: "Gone", Fields: map[string]string{compose.FieldLicenseID: gone}})
	must(t, w.account.Table("NinjaOneLicenseMap").Replace(t.Context(), storage.Entity{"PartitionKey": m.id, "RowKey": gone, "NinjaOneID": int64(document), "DocHash": "ab"}))
	w.sync(m)
	for _, d := range w.Documents(organization) {
		if d.ID == document && !d.Archived {
			t.Error("the document of a licence that CIPP's map names as the tenant's, and that is gone, stays live")
		}
	}
	row, err := w.account.Table("NinjaOneLicenseMap").Get(t.Context(), m.id, gone)
	if err != nil || row.String("DocHash") != "ab" || row.Int("NinjaOneID") != int64(document) {
		t.Errorf("the map was changed: %v, %v", row, err)
	}
}
