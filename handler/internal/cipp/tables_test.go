package cipp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestLog(t *testing.T) {
	ctx := t.Context()
	late := time.Date(2026, 8, 1, 23, 30, 0, 0, time.UTC)
	tests := []struct {
		name, setting, stored, day, logged string
	}{
		{"default", "", "", "20260801", ""},
		{"the setting", "Europe/Berlin", "America/New_York", "20260802", ""},
		{"CIPP's own", "", "Europe/Berlin", "20260802", ""},
		{"west of Greenwich", "America/Los_Angeles", "", "20260801", ""},
		{"unknown zone", "", "Middle/Earth", "20260801", "not an IANA name"},
		{"this machine's zone is never meant", "Local", "", "20260801", "not an IANA name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, l := newStore(t, Deps{Timezone: tt.setting, SiteName: "site", Now: func() time.Time { return late }})
			if tt.stored != "" {
				s.seed(t, tableConfig, row("TimeSettings", "TimeSettings", "Timezone", tt.stored))
			}
			must(t, s.Log(ctx, LogEntry{Tenant: "contoso.example", TenantID: contoso, API: "NinjaOneSync", Message: "done", Severity: SeverityWarn, Data: map[string]int{"devices": 3}}))
			must(t, s.Log(ctx, LogEntry{API: "NinjaOneSync", Message: "nothing to do"}))
			got := map[string]storage.Entity{}
			for _, e := range s.all(t, tableLogs) {
				if guid.Parse(e.RowKey()) == "" {
					t.Errorf("row key %q is not a GUID", e.RowKey())
				}
				for _, name := range []string{"RowKey", "Timestamp", "odata.etag"} {
					delete(e, name)
				}
				got[e.String("Tenant")] = e
			}
			want := map[string]storage.Entity{
				"contoso.example": {"PartitionKey": tt.day, "Tenant": "contoso.example", "TenantID": contoso, "API": "NinjaOneSync", "Message": "done", "Username": "CIPP", "Severity": "Warn", "sentAsAlert": false, "FunctionNode": "site", "LogData": `{"devices":3}`},
				"None":            {"PartitionKey": tt.day, "Tenant": "None", "API": "NinjaOneSync", "Message": "nothing to do", "Username": "CIPP", "Severity": "Info", "sentAsAlert": false, "FunctionNode": "site", "LogData": ""},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(l.String(), tt.logged) || (tt.logged == "" && l.Len() > 0) {
				t.Errorf("logged %q", l)
			}
		})
	}
}

func TestLogZoneIsReadAgain(t *testing.T) {
	now := time.Date(2026, 8, 1, 23, 30, 0, 0, time.UTC)
	s, _ := newStore(t, Deps{Now: func() time.Time { return now }})
	if zone := s.logZone(t.Context()); zone.String() != "UTC" {
		t.Errorf("zone is %v", zone)
	}
	s.seed(t, tableConfig, row("TimeSettings", "TimeSettings", "Timezone", "Europe/Berlin"))
	if zone := s.logZone(t.Context()); zone.String() != "UTC" {
		t.Errorf("zone is %v at once", zone)
	}
	now = now.Add(zoneLife)
	if zone := s.logZone(t.Context()); zone.String() != "Europe/Berlin" {
		t.Errorf("zone is %v later", zone)
	}
}

func TestLongLogEntry(t *testing.T) {
	s, _ := newStore(t, Deps{})
	message := strings.Repeat("long ", 20000)
	must(t, s.Log(t.Context(), LogEntry{Message: message}))
	for e, err := range s.rows(t.Context(), tableLogs, "") {
		must(t, err)
		if e.String("Message") != message {
			t.Errorf("the message has %d characters", len(e.String("Message")))
		}
	}
	if err := s.Log(t.Context(), LogEntry{Data: func() {}}); err == nil {
		t.Error("data that is not JSON was logged")
	}
}

func TestEngineSettings(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	want := EngineSettings{SyncTime: 95, LastRun: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	must(t, s.SaveEngineSettings(ctx, want))
	got, err := s.EngineSettings(ctx)
	must(t, err)
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	types := map[string]any{}
	for _, e := range s.all(t, tableNinjaSettings) {
		types[e.PartitionKey()+" "+e.RowKey()] = e["SettingValue"]
	}
	if diff := cmp.Diff(map[string]any{"NinjaConfig NinjaSyncTime": int32(95), "NinjaConfig NinjaLastRunTime": "2100-01-01T00:00:00.000Z"}, types); diff != "" {
		t.Error(diff)
	}
	s.seed(t, tableNinjaSettings, row("NinjaConfig", "NinjaSyncTime", "SettingValue", "12"), row("NinjaConfig", "NinjaLastRunTime", "SettingValue", want.LastRun))
	got, err = s.EngineSettings(ctx)
	must(t, err)
	if got.SyncTime != 12 || !got.LastRun.Equal(want.LastRun) {
		t.Errorf("other types are read as %+v", got)
	}
}

func TestSaveDeviceMap(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	device := func(n string) string { return "dddddddd-0000-4000-8000-00000000000" + n }
	s.seed(t, tableDeviceMap,
		row(contoso, device("1"), "NinjaOneID", int32(1), "M365ID", "intune-1", "Other", "kept"),
		row(contoso, device("2"), "NinjaOneID", int64(2), "M365ID", "intune-2", "Other", "kept"),
		row(contoso, strings.ToUpper(device("3")), "NinjaOneID", int32(3), "M365ID", "intune-3"),
		row(contoso, device("4"), "NinjaOneID", int32(4), "M365ID", "gone"),
		row(fabrikam, device("1"), "NinjaOneID", int32(91), "M365ID", "other tenant"))
	version := func() map[string]string {
		versions := map[string]string{}
		for _, e := range s.all(t, tableDeviceMap) {
			versions[e.PartitionKey()+" "+e.RowKey()] = e.ETag()
		}
		return versions
	}
	before := version()
	must(t, s.SaveDeviceMap(ctx, contoso, []DeviceMapEntry{
		{device("1"), 1, "intune-1"},
		{device("2"), 22, "intune-2"},
		{device("3"), 3, "intune-33"},
		{strings.ToUpper(device("5")), 1 << 40, "intune-5"},
		{device("5"), 6, "a second record"},
		{"", 7, "no Entra id"},
		{zeroGUID, 8, "no Entra id"},
	}, nil))
	after := version()
	if len(after) != 6 {
		t.Errorf("%d rows: %v", len(after), after)
	}
	for key, changed := range map[string]bool{
		contoso + " " + device("1"): false, contoso + " " + device("2"): true, contoso + " " + strings.ToUpper(device("3")): true,
		contoso + " " + device("4"): false, contoso + " " + device("5"): true, fabrikam + " " + device("1"): false,
	} {
		if (before[key] != after[key]) != changed {
			t.Errorf("row %s changed: %v, want %v", key, !changed, changed)
		}
	}
	got, err := s.table(tableDeviceMap).Get(ctx, contoso, device("2"))
	must(t, err)
	if got["NinjaOneID"] != int64(22) || got["Other"] != "kept" {
		t.Errorf("row 2 is %v", got)
	}
	got, err = s.table(tableDeviceMap).Get(ctx, contoso, device("5"))
	must(t, err)
	if got["NinjaOneID"] != int64(1<<40) || got["M365ID"] != "intune-5" {
		t.Errorf("row 5 is %v", got)
	}
}

func TestReporting(t *testing.T) {
	s, l := newStore(t, Deps{})
	long := `{"id":"3","text":"` + strings.Repeat("x", 40000) + `"}`
	s.seed(t, tableReporting,
		row("contoso.example", "Users-1", "Type", "Users", "Data", `{"id":"1"}`),
		row("contoso.example", "Users-2", "Type", "Users", "Data", `{"id":`),
		row("contoso.example", "Users-3", "Type", "Users", "Data_Part0", long[:30000], "OriginalEntityId", "Users-3", "PartIndex", int32(0)),
		row("contoso.example", "Users-3-part1", "Data_Part1", long[30000:], "SplitOverProps", `{"OriginalHeader":"Data","SplitHeaders":["Data_Part0","Data_Part1"]}`, "OriginalEntityId", "Users-3", "PartIndex", int32(1)),
		row("contoso.example", "Users-Count", "Type", "Users", "DataCount", int32(3)),
		row("contoso.example", "UsersOther-1", "Data", `{"id":"9"}`),
		row("fabrikam.example", "Users-1", "Data", `{"id":"9"}`))
	var got []string
	for item, err := range s.Reporting(t.Context(), "contoso.example", "Users") {
		must(t, err)
		got = append(got, string(item.Data))
		if item.Written.IsZero() {
			t.Error("the object's age is unknown")
		}
	}
	if diff := cmp.Diff([]string{`{"id":"1"}`, long}, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(l.String(), "not JSON") {
		t.Errorf("the broken object is not logged: %q", l)
	}
}

func TestStandards(t *testing.T) {
	type m = map[string]any
	choice := func(value, kind string) m { return m{"label": "shown", "value": value, "type": kind} }
	act := func(values ...string) m {
		var actions []m
		for _, v := range values {
			actions = append(actions, m{"label": "shown", "value": v})
		}
		return m{"action": actions, "standards": m{"x": 1}}
	}
	ref := tenant.Ref{ID: contoso, DefaultDomain: "contoso.example", InitialDomain: "contoso.onmicrosoft.example"}
	everyone := []m{choice("AllTenants", "Tenant")}
	group := []m{choice("cccccccc-0000-4000-8000-000000000001", "Group")}
	tests := []struct {
		name      string
		templates []any
		want      []tenant.Standard
		reason    string // a part of it
		logged    string
	}{
		{"no templates", nil, nil, "no standards templates", ""},
		{"for all tenants, actions in every form", []any{m{"templateName": "Base <b>", "tenantFilter": everyone, "standards": m{
			"AuditLog": act("Remediate", "warn", "Report"), "Old": m{"remediate": true, "alert": "false"}, "Bare": m{"action": m{"value": "Report"}}, "Idle": m{"action": []m{}}, "Junk": 5,
			"IntuneTemplate": []m{act("Remediate"), act("Report"), {"action": choice("Report", ""), "TemplateList-Tags": []m{choice("Baseline", ""), {"label": "Pilot", "value": "pilot"}}},
				{"action": choice("Report", ""), "TemplateList": m{"label": "Windows baseline", "value": "dddddddd-0000-4000-8000-000000000001"}},
				{"action": choice("Report", ""), "TemplateList": []m{{"label": "dddddddd-0000-4000-8000-000000000002", "value": "DDDDDDDD-0000-4000-8000-000000000002"}, {"value": "dddddddd-0000-4000-8000-000000000003"}}}}}}},
			[]tenant.Standard{{Template: "Base <b>", Name: "AuditLog", Actions: []string{"Report", "Alert", "Remediate"}}, {Template: "Base <b>", Name: "Bare", Actions: []string{"Report"}},
				{Template: "Base <b>", Name: "IntuneTemplate", Actions: []string{"Remediate"}}, {Template: "Base <b>", Name: "IntuneTemplate", Actions: []string{"Report"}},
				{Template: "Base <b>", Name: "IntuneTemplate", Deploys: []string{"Android baseline"}, Actions: []string{"Report"}}, {Template: "Base <b>", Name: "IntuneTemplate", Deploys: []string{"Windows baseline"}, Actions: []string{"Report"}},
				{Template: "Base <b>", Name: "IntuneTemplate", Deploys: []string{"shown", "Pilot"}, Actions: []string{"Report"}}, {Template: "Base <b>", Name: "Old", Actions: []string{"Remediate"}}}, "", ""},
		{"for the tenant wins over for all", []any{
			m{"templateName": "All", "tenantFilter": everyone, "standards": m{"A": act("Report"), "B": act("Report")}},
			m{"templateName": "Own", "tenantFilter": []m{choice("Contoso.Example", "Tenant")}, "standards": m{"A": act("Remediate")}}},
			[]tenant.Standard{{Template: "All", Name: "B", Actions: []string{"Report"}}, {Template: "Own", Name: "A", Actions: []string{"Remediate"}}}, "", ""},
		{"by id, unwrapped, values alone", []any{m{"templateName": "Own", "tenantFilter": contoso, "standards": m{"A": act("Report")}}},
			[]tenant.Standard{{Template: "Own", Name: "A", Actions: []string{"Report"}}}, "", ""},
		{"excluded, by hand, for others", []any{
			m{"templateName": "1", "tenantFilter": everyone, "excludedTenants": []m{choice("contoso.example", "Tenant")}, "standards": m{"A": act("Report")}},
			m{"templateName": "2", "tenantFilter": everyone, "excludedTenants": []string{"contoso.onmicrosoft.example"}, "standards": m{"A": act("Report")}},
			m{"templateName": "3", "tenantFilter": everyone, "runManually": true, "standards": m{"A": act("Report")}},
			m{"templateName": "4", "tenantFilter": []m{choice("fabrikam.example", "Tenant")}, "standards": m{"A": act("Report")}}},
			nil, "", ""},
		{"only for groups", []any{m{"templateName": "G", "tenantFilter": group, "standards": m{"A": act("Report")}}}, nil, "tenant groups", ""},
		{"for a group beside one that applies", []any{m{"templateName": "G", "tenantFilter": group, "standards": m{"A": act("Report")}}, m{"templateName": "All", "tenantFilter": everyone, "standards": m{"B": act("Report")}}},
			[]tenant.Standard{{Template: "All", Name: "B", Actions: []string{"Report"}}}, "", ""},
		{"a broken template is left out", []any{"no object", m{"templateName": "All", "tenantFilter": everyone, "standards": m{"B": act("Report")}}},
			[]tenant.Standard{{Template: "All", Name: "B", Actions: []string{"Report"}}}, "", "cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, l := newStore(t, Deps{})
			rows := []storage.Entity{row("IntuneTemplate", "x", "JSON", `{"tenantFilter":"AllTenants"}`),
				row("IntuneTemplate", "dddddddd-0000-4000-8000-000000000002", "JSON", `{"Displayname":"Android baseline","RAWJson":"{}"}`)}
			for i, x := range tt.templates {
				rows = append(rows, row("StandardsTemplateV2", string(rune('a'+i)), "JSON", toJSON(t, x)))
			}
			s.seed(t, tableTemplates, rows...)
			common, err := s.Common(t.Context(), time.Time{})
			must(t, err)
			got := s.Standards(t.Context(), common, ref)
			if diff := cmp.Diff(tt.want, got.Value); diff != "" {
				t.Error(diff)
			}
			if got.OK() != (tt.reason == "") || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("reason is %q, want %q", got.Reason, tt.reason)
			}
			if !strings.Contains(l.String(), tt.logged) {
				t.Errorf("logged %q", l)
			}
		})
	}
}

func FuzzStandardsTemplate(f *testing.F) {
	f.Add(`{"templateName":1,"tenantFilter":[{"value":{"value":"AllTenants"}}],"standards":{"A":[null,{"action":[5]}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var template standardsTemplate
		if _, _, err := template.parse(text); err != nil {
			return
		}
		standards := map[string][]tenant.Standard{}
		template.collect(standards, func(_ string, d deployed) string { return string(d.Label) })
		for name, uses := range standards {
			for _, use := range uses {
				if use.Name != name || len(use.Actions) == 0 {
					t.Errorf("%s gave %+v", text, use)
				}
			}
		}
	})
}
