package tenantsync

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// TestKeptNames fetches names that other processes kept more of: a product that
// Microsoft's list has no more keeps its name.
func TestKeptNames(t *testing.T) {
	b := newLab(t, 0)
	blobs := b.account.Container(azuritetest.UniqueName(t))
	names := func(fetched map[string]string) map[string]string {
		k := &KeptNames{Fetch: func(context.Context) map[string]string { return fetched }, Blobs: blobs, Log: slog.New(slog.DiscardHandler)}
		k.Names(t.Context())
		return k.Names(t.Context())
	}
	first := &KeptNames{Fetch: func(context.Context) map[string]string { return nil }, Blobs: blobs, Log: slog.New(slog.DiscardHandler)}
	if got := first.Names(t.Context()); len(got) != 0 {
		t.Errorf("names of nowhere: %v", got)
	}
	for _, step := range []struct{ fetched, want map[string]string }{
		{nil, nil},
		{map[string]string{"a": "Microsoft 365 E3", "b": "Visio"}, map[string]string{"a": "Microsoft 365 E3", "b": "Visio"}},
		{map[string]string{"b": "Visio Plan 2", "c": "Teams"}, map[string]string{"a": "Microsoft 365 E3", "b": "Visio Plan 2", "c": "Teams"}},
		{nil, map[string]string{"a": "Microsoft 365 E3", "b": "Visio Plan 2", "c": "Teams"}},
	} {
		if got := names(step.fetched); !maps.Equal(got, step.want) {
			t.Errorf("fetched %v: the names are %v, want %v", step.fetched, got, step.want)
		}
	}
	if got := first.Names(t.Context()); got["a"] != "Microsoft 365 E3" {
		t.Errorf("a process that had none does not see what others kept since: %v", got)
	}
}

// TestNamesOfLicences looks whence a licence has its name.
func TestNamesOfLicences(t *testing.T) {
	const sku, other = "05e9a617-0261-4cee-bb44-138d3ef5d965", "c5928f49-12ba-48f7-ada3-0d743a3601d5"
	b := newBench(t, 0)
	cached := func(id, license, part string) {
		b.row("CippReportingDB", storage.Entity{"PartitionKey": "ostholm.example", "RowKey": "LicenseOverview-" + id, "Type": "LicenseOverview",
			"Data": `{"skuId":"` + id + `","License":"` + license + `","skuPartNumber":"` + part + `"}`})
	}
	cached("05E9A617-0261-4CEE-BB44-138D3EF5D965", "Microsoft 365 E3", "SPE_E3")
	for name, tt := range map[string]struct {
		known map[string]string
		cache func()
		want  map[string]string
	}{
		"Microsoft's file":                     {known: map[string]string{sku: "E3 by Microsoft"}, want: map[string]string{sku: "E3 by Microsoft"}},
		"CIPP's cache":                         {known: map[string]string{other: "Visio"}, want: map[string]string{sku: "Microsoft 365 E3", other: "Visio"}},
		"CIPP's cache, nothing was ever kept":  {want: map[string]string{sku: "Microsoft 365 E3"}},
		"the name is where the number belongs": {cache: func() { cached(sku, "", "Microsoft 365 E3") }, want: map[string]string{sku: "Microsoft 365 E3"}},
		"the cache has the number alone":       {cache: func() { cached(sku, "", "SPE_E3") }},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.cache != nil {
				must(t, b.account.Table("CippReportingDB").Delete(t.Context(), "ostholm.example", "LicenseOverview-05E9A617-0261-4CEE-BB44-138D3EF5D965"))
				tt.cache()
				defer cached("05E9A617-0261-4CEE-BB44-138D3EF5D965", "Microsoft 365 E3", "SPE_E3")
				defer func() {
					must(t, b.account.Table("CippReportingDB").Delete(context.Background(), "ostholm.example", "LicenseOverview-"+sku))
				}()
			}
			before := maps.Clone(tt.known)
			j := b.job()
			j.CIPP, j.KeepNames = b.CIPP, b.KeepNames
			in := &inputs{assignment: j.assignment, snapshot: snapshot(nil), skuNames: tt.known}
			in.snapshot.SKUs = tenant.Present([]tenant.SKU{{ID: sku, PartNumber: "SPE_E3"}})
			must(t, j.nameLicences(t.Context(), in))
			if !maps.Equal(in.skuNames, tt.want) {
				t.Errorf("names %v, want %v", in.skuNames, tt.want)
			}
			if !maps.Equal(tt.known, before) {
				t.Error("the names that all tenants share were changed")
			}
		})
	}
}

// TestALicenceKeepsItsName has Microsoft's list out of reach for good. The name that
// CIPP's cache gave, or a document, stays when that source is gone.
func TestALicenceKeepsItsName(t *testing.T) {
	const sku = "05e9a617-0261-4cee-bb44-138d3ef5d965"
	cache := storage.Entity{"PartitionKey": "ostholm.example", "RowKey": "LicenseOverview-" + sku, "Type": "LicenseOverview",
		"Data": `{"skuId":"` + sku + `","License":"Microsoft 365 E3","skuPartNumber":"SPE_E3"}`}
	for name, tt := range map[string]struct {
		settings string
		before   func(*bench)
	}{
		"from CIPP's cache": {before: func(b *bench) {
			b.row("CippReportingDB", cache)
			b.sync(Message{})
			must(t, b.account.Table("CippReportingDB").Delete(t.Context(), "ostholm.example", "LicenseOverview-"+sku))
		}},
		"from its document": {settings: `,"LicenseDocumentsEnabled":true`, before: func(b *bench) {
			documents := b.Documents.Ledger.Documents(labOrg, labTenant)
			must(t, documents.Save(t.Context(),
				&ledger.Document{Subject: ledger.Subject{Kind: ledger.KindLicense, ID: sku}, Name: "Microsoft 365 E3"},
				&ledger.Document{Subject: ledger.Subject{Kind: ledger.KindUser, ID: sku}, Name: "nobody"}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.withDocuments(1)
			b.configure(tt.settings)
			b.reader.snapshot = func() (*tenant.Snapshot, error) {
				s := snapshot(devices(1))
				s.SKUs = tenant.Present([]tenant.SKU{{ID: sku, PartNumber: "SPE_E3", Units: tenant.Units{Enabled: 5}}})
				return s, nil
			}
			start := func() {
				names := &KeptNames{Fetch: func(context.Context) map[string]string { return nil }, Blobs: b.Blobs, Log: slog.New(slog.DiscardHandler)}
				b.SKUNames, b.KeepNames = names.Names, names.Keep
			}
			start()
			tt.before(b)
			for range 2 {
				start() // another process
				b.sync(Message{Force: true})
				if got, _ := b.ninja.OrganizationField(labOrganization, "summary"); !strings.Contains(got.Text, "Microsoft 365 E3 (SPE_E3)") {
					t.Errorf("the summary does not name the licence: %s", got.Text)
				}
			}
		})
	}
}
