package cipp

import (
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
)

// mapped returns the rows of table CippMapping as text, without what the
// service adds.
func (s *Store) mapped(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, e := range s.all(t, tableMapping) {
		text := e.String("IntegrationId") + e.String("NinjaOne") + " " + e.String("IntegrationName") + e.String("NinjaOneName")
		for _, c := range []string{"lastStatus", "lastStartTime", "lastEndTime"} {
			if e.Has(c) {
				text += " " + e.String(c)
			}
		}
		rows[e.PartitionKey()+"|"+e.RowKey()] = text
	}
	return rows
}

func TestAddOrganizationMapping(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rows  []storage.Entity
		id    string
		added bool
		want  map[string]string
	}{
		{"nothing there", nil, contoso, true, map[string]string{orgPartition + "|" + contoso: "17 Contoso"}},
		{"an id in upper case", nil, strings.ToUpper(contoso), true, map[string]string{orgPartition + "|" + contoso: "17 Contoso"}},
		{"mapped", []storage.Entity{row(orgPartition, contoso, "IntegrationId", "3", "IntegrationName", "Other")}, contoso, false,
			map[string]string{orgPartition + "|" + contoso: "3 Other"}},
		{"mapped under an id in upper case", []storage.Entity{row(orgPartition, strings.ToUpper(contoso), "IntegrationId", "3", "IntegrationName", "Other")}, contoso, false,
			map[string]string{orgPartition + "|" + strings.ToUpper(contoso): "3 Other"}},
		{"mapped by an old version", []storage.Entity{row(legacyOrgPartition, contoso, "NinjaOne", "3", "NinjaOneName", "Other")}, contoso, false,
			map[string]string{legacyOrgPartition + "|" + contoso: "3 Other"}},
		{"a mapping that cannot be used", []storage.Entity{row(orgPartition, contoso, "IntegrationId", "x")}, contoso, false,
			map[string]string{orgPartition + "|" + contoso: "x "}},
		{"the entry offered while NinjaOne was away", []storage.Entity{row(orgPartition, contoso, "IntegrationId", "-1", "IntegrationName", "away")}, contoso, true,
			map[string]string{orgPartition + "|" + contoso: "17 Contoso"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			s.seed(t, tableMapping, tt.rows...)
			added, err := s.AddOrganizationMapping(t.Context(), tt.id, 17, "Contoso")
			must(t, err)
			if added != tt.added {
				t.Errorf("added is %v", added)
			}
			if diff := cmp.Diff(tt.want, s.mapped(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
	s, _ := newStore(t, Deps{})
	for _, bad := range []struct {
		id  string
		org int
	}{{"contoso.example", 1}, {"", 1}, {contoso, 0}, {contoso, -1}} {
		if added, err := s.AddOrganizationMapping(t.Context(), bad.id, bad.org, "x"); err == nil || added {
			t.Errorf("%v was added", bad)
		}
	}
}

func TestAddOrganizationMappingAtOnce(t *testing.T) {
	s, _ := newStore(t, Deps{})
	var added atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			ok, err := s.AddOrganizationMapping(t.Context(), contoso, i+1, "x")
			if err != nil {
				t.Error(err)
			}
			if ok {
				added.Add(1)
			}
		})
	}
	group.Wait()
	if added.Load() != 1 || len(s.mapped(t)) != 1 {
		t.Errorf("added %d times: %v", added.Load(), s.mapped(t))
	}
}

func TestSaveOrganizationMappings(t *testing.T) {
	const excluded = "aaaaaaaa-0000-4000-8000-000000000007"
	key := func(id string) string { return orgPartition + "|" + id }
	ran := []any{"lastStatus", "Completed", "lastStartTime", "2026-08-01T02:45:10.120Z", "lastEndTime", "2026-08-01T02:47:55.001Z"}
	const runText = " Completed 2026-08-01T02:45:10.120Z 2026-08-01T02:47:55.001Z"
	org := func(id, organization, name string, columns ...any) storage.Entity {
		return row(orgPartition, id, append([]any{"IntegrationId", organization, "IntegrationName", name}, columns...)...)
	}
	fields := row(fieldPartition, "TenantLinks", "IntegrationId", "links", "IntegrationName", "Links")
	later := func(now time.Time) time.Time { return now.Add(time.Hour) }
	earlier := func(now time.Time) time.Time { return now.Add(-time.Hour) }
	never := func(time.Time) time.Time { return time.Time{} }
	for _, tt := range []struct {
		name    string
		rows    []storage.Entity
		choices []OrganizationChoice
		read    func(now time.Time) time.Time
		want    map[string]string
		changes MappingChanges
	}{
		{"nothing changes", []storage.Entity{org(contoso, "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso", 17}}, later,
			map[string]string{key(contoso): "17 Contoso" + runText}, MappingChanges{}},
		{"one is added, one removed, one kept", []storage.Entity{org(contoso, "17", "Contoso", ran...), org(fabrikam, "18", "Fabrikam", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso", 17}, {tailspin, 19, "Tailspin", 0}}, later,
			map[string]string{key(contoso): "17 Contoso" + runText, key(tailspin): "19 Tailspin"}, MappingChanges{Added: 1, Removed: 1}},
		{"another organization starts anew", []storage.Entity{org(contoso, "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 20, "Contoso 2", 0}}, later,
			map[string]string{key(contoso): "20 Contoso 2"}, MappingChanges{Changed: 1}},
		{"a row that was edited in place", []storage.Entity{org(contoso, "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 20, "Contoso 2", 17}}, later,
			map[string]string{key(contoso): "20 Contoso 2"}, MappingChanges{Changed: 1}},
		{"the organization was renamed", []storage.Entity{org(contoso, "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso Group", 0}}, later,
			map[string]string{key(contoso): "17 Contoso Group" + runText}, MappingChanges{Changed: 1}},
		{"two tenants share an organization", nil,
			[]OrganizationChoice{{contoso, 17, "Shared", 0}, {fabrikam, 17, "Shared", 0}}, never,
			map[string]string{key(contoso): "17 Shared", key(fabrikam): "17 Shared"}, MappingChanges{Added: 2}},
		{"others changed and removed what the page shows", []storage.Entity{org(contoso, "21", "Contoso 3")},
			[]OrganizationChoice{{contoso, 17, "Contoso", 17}, {fabrikam, 18, "Fabrikam", 18}}, later,
			map[string]string{key(contoso): "21 Contoso 3"}, MappingChanges{}},
		{"others added while the page was open", []storage.Entity{org(contoso, "17", "Contoso", ran...), org(fabrikam, "18", "Fabrikam")},
			[]OrganizationChoice{{contoso, 17, "Contoso", 17}}, earlier,
			map[string]string{key(contoso): "17 Contoso" + runText, key(fabrikam): "18 Fabrikam"}, MappingChanges{}},
		{"a sync ran while the page was open", []storage.Entity{org(contoso, "17", "Contoso", ran...), org(fabrikam, "18", "Fabrikam", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso", 17}}, earlier,
			map[string]string{key(contoso): "17 Contoso" + runText}, MappingChanges{Removed: 1}},
		{"the first page was empty while automap ran", []storage.Entity{org(fabrikam, "18", "Fabrikam")},
			[]OrganizationChoice{{contoso, 17, "Contoso", 0}}, never,
			map[string]string{key(contoso): "17 Contoso", key(fabrikam): "18 Fabrikam"}, MappingChanges{Added: 1}},
		{"everything is taken off", []storage.Entity{org(contoso, "17", "Contoso", ran...), org(fabrikam, "18", "Fabrikam")}, nil, later,
			map[string]string{}, MappingChanges{Removed: 2}},
		{"what the page does not show stays", []storage.Entity{org(excluded, "22", "Excluded"), org("nobody.example", "23", "Nobody"), org(fabrikam, "x", "Broken")}, nil, later,
			map[string]string{key(excluded): "22 Excluded", key("nobody.example"): "23 Nobody", key(fabrikam): "x Broken"}, MappingChanges{}},
		{"a row that cannot be used is mended", []storage.Entity{org(fabrikam, "x", "Broken")},
			[]OrganizationChoice{{fabrikam, 18, "Fabrikam", 0}}, later,
			map[string]string{key(fabrikam): "18 Fabrikam"}, MappingChanges{Changed: 1}},
		{"an id in upper case keeps its row", []storage.Entity{org(strings.ToUpper(contoso), "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso Group", 0}}, later,
			map[string]string{key(strings.ToUpper(contoso)): "17 Contoso Group" + runText}, MappingChanges{Changed: 1}},
		{"an old row that still says so stays", []storage.Entity{row(legacyOrgPartition, contoso, "NinjaOne", "17", "NinjaOneName", "Contoso")},
			[]OrganizationChoice{{contoso, 17, "Contoso", 0}}, later,
			map[string]string{legacyOrgPartition + "|" + contoso: "17 Contoso"}, MappingChanges{}},
		{"unmapping removes every row of a tenant", []storage.Entity{org(contoso, "17", "Contoso", ran...), org("contoso.example", "16", "Domain"), row(legacyOrgPartition, contoso, "NinjaOne", "15")}, nil, later,
			map[string]string{}, MappingChanges{Removed: 1}},
		{"a domain's row gives way and its times stay", []storage.Entity{org("contoso.example", "17", "Contoso", ran...)},
			[]OrganizationChoice{{contoso, 17, "Contoso Group", 0}}, later,
			map[string]string{key("contoso.example"): "17 Contoso" + runText, key(contoso): "17 Contoso Group" + runText}, MappingChanges{Changed: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			s.seed(t, tableTenants, tenantRow(contoso, "Contoso", "contoso.example"), tenantRow(fabrikam, "Fabrikam", "fabrikam.example"),
				tenantRow(tailspin, "Tailspin", "tailspin.example"), tenantRow(excluded, "Excluded", "excluded.example", "Excluded", true))
			s.seed(t, tableMapping, append(tt.rows, fields)...)
			changes, err := s.SaveOrganizationMappings(t.Context(), tt.choices, tt.read(time.Now()))
			must(t, err)
			if n := changes.Added + changes.Changed + changes.Removed; len(changes.What) != n {
				t.Errorf("%d changes are said to be %q", n, changes.What)
			}
			changes.What = nil
			if !reflect.DeepEqual(changes, tt.changes) {
				t.Errorf("changes are %+v, want %+v", changes, tt.changes)
			}
			got := s.mapped(t)
			tt.want[fieldPartition+"|TenantLinks"] = "links Links"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	s, _ := newStore(t, Deps{})
	s.seed(t, tableTenants, tenantRow(contoso, "Contoso", "contoso.example"))
	for name, choices := range map[string][]OrganizationChoice{
		"no organization": {{contoso, 0, "x", 0}}, "minus one": {{contoso, -1, "x", 0}}, "no tenant": {{"", 1, "x", 0}},
		"twice": {{contoso, 1, "x", 0}, {strings.ToUpper(contoso), 2, "y", 0}},
	} {
		if _, err := s.SaveOrganizationMappings(t.Context(), choices, time.Now()); err == nil || !strings.Contains(err.Error(), "nothing was saved") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestFieldChoices(t *testing.T) {
	s, _ := newStore(t, Deps{})
	s.seed(t, tableMapping,
		row(legacyFieldPartition, "TenantLinks", "NinjaOne", " oldLinks ", "NinjaOneName", "Old links"),
		row(legacyFieldPartition, "TenantSummary", "NinjaOne", ""),
		row(fieldPartition, "DeviceNonCompliantSettings"),
		row(legacyFieldPartition, "DeviceLinks", "NinjaOne", "oldDeviceLinks", "NinjaOneName", "Old device links"),
		row(fieldPartition, "DeviceLinks", "IntegrationId", "", "IntegrationName", "none"),
		row(fieldPartition, "UsersSummary", "IntegrationId", "-1", "IntegrationName", "away"),
		row(fieldPartition, "Unknown", "IntegrationId", "x"))
	must(t, s.SaveFieldMapping(t.Context(), []FieldChoice{{"DeviceCompliance", "compliance", "Compliance"}, {"DeviceSummary", "", "none"}}))
	got, err := s.FieldChoices(t.Context())
	must(t, err)
	want := map[string]FieldChoice{}
	for _, c := range []FieldChoice{{"TenantLinks", "oldLinks", "Old links"}, {"UsersSummary", "", "away"}, {"DeviceLinks", "", "none"}, {"DeviceSummary", "", "none"},
		{"DeviceCompliance", "compliance", "Compliance"}, {"TenantSummary", "", ""}, {"DeviceNonCompliantSettings", "", ""}} {
		want[c.Field] = c
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	all, err := s.Mappings(t.Context())
	must(t, err)
	if diff := cmp.Diff(map[string]string{"TenantLinks": "oldLinks", "DeviceCompliance": "compliance", "Unknown": "x"}, all.Fields); diff != "" {
		t.Error(diff)
	}
	before := len(s.all(t, tableMapping))
	if err := s.SaveFieldMapping(t.Context(), []FieldChoice{{"TenantLinks", "x", "x"}, {"RowKey", "x", "x"}}); err == nil || len(s.all(t, tableMapping)) != before {
		t.Errorf("an unknown field gave %v", err)
	}
}
