package cipp

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// Invented tenants.
const (
	contoso  = "aaaaaaaa-0000-4000-8000-000000000001"
	fabrikam = "aaaaaaaa-0000-4000-8000-000000000002"
	tailspin = "aaaaaaaa-0000-4000-8000-000000000003"
	partner  = "aaaaaaaa-0000-4000-8000-000000000009"
)

// logged is what a test's Store logs.
type logged struct{ bytes.Buffer }

func newStore(t *testing.T, d Deps) (*Store, *logged) {
	t.Helper()
	l := &logged{}
	d.Account, d.User, d.Log = storagetest.Open(t, azuritetest.ForTest(t).Apart().ConnectionString()), func(context.Context) string { return "" }, slog.New(slog.NewTextHandler(l, nil))
	if d.Now == nil {
		d.Now = time.Now
	}
	return New(d), l
}

var must = fail.If

func row(partition, key string, columns ...any) storage.Entity {
	e := storage.Entity{"PartitionKey": partition, "RowKey": key}
	for i := 0; i < len(columns); i += 2 {
		e[columns[i].(string)] = columns[i+1]
	}
	return e
}

func (s *Store) seed(t *testing.T, table string, rows ...storage.Entity) {
	t.Helper()
	must(t, s.table(table).ReplaceAll(t.Context(), rows))
}

func (s *Store) all(t *testing.T, table string) []storage.Entity {
	t.Helper()
	var all []storage.Entity
	for e, err := range s.table(table).List(t.Context(), "") {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func tenantRow(id, name, domain string, columns ...any) storage.Entity {
	e := row("Tenants", id, "customerId", id, "displayName", name, "defaultDomainName", domain, "Excluded", false, "GraphErrorCount", int32(0))
	for k, v := range row("", "", columns...) {
		if k != "PartitionKey" && k != "RowKey" {
			e[k] = v
		}
	}
	return e
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// TestMissingTables reads everything from an account that CIPP has never used.
func TestMissingTables(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	config, err := s.NinjaOneConfig(ctx)
	must(t, err)
	all, err := s.Mappings(ctx)
	must(t, err)
	mappings, err := s.OrganizationMappings(ctx)
	must(t, err)
	tenants, err := s.Tenants(ctx)
	must(t, err)
	host, err := s.portalHost(ctx)
	must(t, err)
	skus, err := s.excludedSKUs(ctx)
	must(t, err)
	engine, err := s.EngineSettings(ctx)
	must(t, err)
	if config != (ExtensionConfig{}) || len(all.Fields)+len(mappings)+len(tenants)+len(skus) != 0 || host != "" || engine != (EngineSettings{}) {
		t.Errorf("got %+v, %v, %v, %v, %q, %v, %+v", config, all.Fields, mappings, tenants, host, skus, engine)
	}
	for item, err := range s.Reporting(ctx, "contoso.example", "Users") {
		t.Errorf("the cache has %v, %v", item, err)
	}
	must(t, s.RecordRun(ctx, OrganizationMapping{TenantID: contoso}, time.Now(), time.Time{}, "Running"))
	must(t, s.SaveDeviceMap(ctx, contoso, nil, nil))
}
