package cipp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestOrganizationMappings(t *testing.T) {
	at := time.Date(2026, 8, 1, 2, 45, 10, 120e6, time.UTC)
	tenants := []storage.Entity{
		tenantRow(contoso, "Contoso", "contoso.example", "initialDomainName", "contoso.onmicrosoft.example"),
		tenantRow(fabrikam, "Fabrikam", "fabrikam.example", "domains", `["fabrikam.example","fab.example"]`, "Excluded", true),
		tenantRow(tailspin, "Tailspin", "tailspin.example"),
	}
	tests := []struct {
		name string
		rows []storage.Entity
		want []OrganizationMapping
	}{
		{"as CIPP writes it after a run",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", "17", "IntegrationName", "Contoso", "lastStartTime", "2026-08-01T02:45:10.120Z", "lastEndTime", "2026-08-01T02:47:55.001Z", "lastStatus", "Completed")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17, OrganizationName: "Contoso", LastStart: at, LastEnd: at.Add(164881 * time.Millisecond), LastStatus: "Completed"}}},
		{"times of type DateTime, absent, or junk; number of type Int32",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", int32(17), "lastStartTime", at, "lastStatus", "Failed"), row(orgPartition, fabrikam, "IntegrationId", "18", "lastStartTime", "yesterday")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17, LastStart: at, LastStatus: "Failed"}, {TenantID: fabrikam, OrganizationID: 18}}},
		{"a GUID in upper case",
			[]storage.Entity{row(orgPartition, strings.ToUpper(contoso), "IntegrationId", "17")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17}}},
		{"two tenants share an organization",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", "17"), row(orgPartition, fabrikam, "IntegrationId", "17")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17}, {TenantID: fabrikam, OrganizationID: 17}}},
		{"keys that are domains",
			[]storage.Entity{row(orgPartition, "Contoso.onmicrosoft.example", "IntegrationId", "17"), row(orgPartition, "fab.example", "IntegrationId", "18"), row(orgPartition, "tailspin.example", "IntegrationId", "19")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17}, {TenantID: fabrikam, OrganizationID: 18}, {TenantID: tailspin, OrganizationID: 19}}},
		{"a GUID row wins over a domain row",
			[]storage.Entity{row(orgPartition, "contoso.example", "IntegrationId", "99"), row(orgPartition, contoso, "IntegrationId", "17")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17}}},
		{"the present partition wins over the legacy one",
			[]storage.Entity{row(legacyOrgPartition, contoso, "NinjaOne", "99", "NinjaOneName", "Old"), row(orgPartition, "contoso.example", "IntegrationId", "17"), row(legacyOrgPartition, fabrikam, "NinjaOne", "18", "NinjaOneName", "Fabrikam")},
			[]OrganizationMapping{{TenantID: contoso, OrganizationID: 17}, {TenantID: fabrikam, OrganizationID: 18, OrganizationName: "Fabrikam"}}},
		{"a row that unmaps wins over an older mapping",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", ""), row(legacyOrgPartition, contoso, "NinjaOne", "99")},
			[]OrganizationMapping{}},
		{"unmapped in every form",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", ""), row(orgPartition, fabrikam, "IntegrationId", "-1"), row(orgPartition, tailspin, "IntegrationName", "x"), row(orgPartition, "nobody.example", "IntegrationId", "-1")},
			[]OrganizationMapping{}},
		{"no number",
			[]storage.Entity{row(orgPartition, contoso, "IntegrationId", "Contoso <b>"), row(orgPartition, fabrikam, "IntegrationId", "99999999999999")},
			[]OrganizationMapping{
				{TenantID: contoso, Problem: "the NinjaOne organization stored for the tenant is not a number: map the tenant again in CIPP"},
				{TenantID: fabrikam, Problem: "the NinjaOne organization stored for the tenant is not a number: map the tenant again in CIPP"}}},
		{"a domain of nobody",
			[]storage.Entity{row(orgPartition, "nobody.example", "IntegrationId", "17", "IntegrationName", "Nobody")},
			[]OrganizationMapping{{OrganizationName: "Nobody", Problem: `the row "nobody.example" is the domain of no tenant that CIPP knows: remove it and map the tenant again in CIPP`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			s.seed(t, tableTenants, tenants...)
			s.seed(t, tableMapping, append(tt.rows, row(fieldPartition, "TenantLinks", "IntegrationId", "x"))...)
			got, err := s.OrganizationMappings(t.Context())
			must(t, err)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(OrganizationMapping{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRecordRun(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	s.seed(t, tableTenants, tenantRow(contoso, "Contoso", "contoso.example"))
	start := time.Date(2026, 8, 1, 4, 45, 10, 120_999_000, time.FixedZone("", 7200))
	for _, key := range [][2]string{{orgPartition, strings.ToUpper(contoso)}, {orgPartition, "contoso.example"}, {legacyOrgPartition, contoso}} {
		t.Run(strings.Join(key[:], " "), func(t *testing.T) {
			column := "IntegrationId"
			if key[0] == legacyOrgPartition {
				column = "NinjaOne"
			}
			s.seed(t, tableMapping, row(key[0], key[1], column, "17", "lastEndTime", "2026-07-31T00:00:00.000Z", "lastStartTime", start))
			mappings, err := s.OrganizationMappings(ctx)
			must(t, err)
			must(t, s.RecordRun(ctx, mappings[0], start, time.Time{}, "Running"))
			got, err := s.table(tableMapping).Get(ctx, key[0], key[1])
			must(t, err)
			if got["lastStartTime"] != "2026-08-01T02:45:10.120Z" || got["lastEndTime"] != "2026-07-31T00:00:00.000Z" || got["lastStatus"] != "Running" || got[column] != "17" {
				t.Errorf("after the start the row is %v", got)
			}
			must(t, s.RecordRun(ctx, mappings[0], start, start.Add(time.Minute), "Completed"))
			got, err = s.table(tableMapping).Get(ctx, key[0], key[1])
			must(t, err)
			if got["lastEndTime"] != "2026-08-01T02:46:10.120Z" || got["lastStatus"] != "Completed" {
				t.Errorf("after the end the row is %v", got)
			}
			must(t, s.table(tableMapping).Delete(ctx, key[0], key[1]))
			must(t, s.RecordRun(ctx, mappings[0], start, start, "Completed"))
			if rows := s.all(t, tableMapping); len(rows) != 0 {
				t.Errorf("a removed mapping is back: %v", rows)
			}
		})
	}
}

func TestTenants(t *testing.T) {
	ctx := t.Context()
	seed := func(t *testing.T, mode ...any) *Store {
		s, _ := newStore(t, Deps{})
		s.seed(t, tableTenants,
			tenantRow(contoso, "Contoso", "contoso.example", "initialDomainName", "contoso.onmicrosoft.example", "delegatedPrivilegeStatus", "granularDelegatedAdminPrivileges", "GraphErrorCount", int32(60), "SharepointAdminUrl", "https://cont-admin.sharepoint.example"),
			tenantRow(fabrikam, "Fabrikam Ltd", "fabrikam.example", "Excluded", true),
			row("Tenants", strings.ToUpper(tailspin), "displayName", "Tailspin", "defaultDomainName", "alpine.example", "delegatedPrivilegeStatus", "directTenant"),
			tenantRow(partner, "*Partner Tenant", "partner.example", "domains", "PartnerTenant"),
			tenantRow("aaaaaaaa-0000-4000-8000-000000000004", "No domain", ""),
			tenantRow("aaaaaaaa-0000-4000-8000-000000000005", "Broken", "Domain Error"),
			row("Tenants", "junk", "defaultDomainName", "junk.example"),
			row("Other", contoso, "defaultDomainName", "other.example"))
		if mode != nil {
			s.seed(t, tableTenantMode, row("Setting", "PartnerModeSetting", mode...))
		}
		return s
	}
	refs := func(t *testing.T, s *Store) (names []string) {
		all, err := s.Tenants(ctx)
		must(t, err)
		for _, x := range all {
			names = append(names, x.DefaultDomain)
		}
		return names
	}
	s := seed(t)
	all, err := s.Tenants(ctx)
	must(t, err)
	want := []Tenant{
		{Ref: tenant.Ref{ID: tailspin, DisplayName: "Tailspin", DefaultDomain: "alpine.example", Direct: true}},
		{Ref: tenant.Ref{ID: contoso, DisplayName: "Contoso", DefaultDomain: "contoso.example", InitialDomain: "contoso.onmicrosoft.example", SharePointAdmin: "https://cont-admin.sharepoint.example"}, ErrorCount: 60},
	}
	if diff := cmp.Diff(want, all, cmpopts.IgnoreUnexported(Tenant{})); diff != "" {
		t.Error(diff)
	}
	got, err := s.Tenant(ctx, strings.ToUpper(fabrikam))
	must(t, err)
	if !got.Excluded || got.ID != fabrikam {
		t.Errorf("an excluded tenant is %+v", got)
	}
	for text, want := range map[string]string{"Contoso.onmicrosoft.example ": contoso, strings.ToUpper(tailspin): tailspin, " ": "", "nobody.example": ""} {
		if got, ok := Named(all, text); got.ID != want || ok != (want != "") {
			t.Errorf("%q names %q", text, got.ID)
		}
	}
	for _, id := range []string{partner, "aaaaaaaa-0000-4000-8000-000000000005", "nobody", ""} {
		if _, err := s.Tenant(ctx, id); !errors.Is(err, ErrNoTenant) {
			t.Errorf("tenant %q: error is %v", id, err)
		}
	}
	for mode, want := range map[string]bool{"default": false, "PartnerTenantAvailable": true, "owntenant": true} {
		if got := strings.Contains(strings.Join(refs(t, seed(t, "state", mode)), " "), "partner.example"); got != want {
			t.Errorf("in mode %s the partner's own tenant is listed: %v, want %v", mode, got, want)
		}
	}
}
