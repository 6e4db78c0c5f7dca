package settings

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
)

func logEntity(day string, n int, message string, columns ...any) storage.Entity {
	e := storage.Entity{"PartitionKey": day, "RowKey": fmt.Sprintf("cccccccc-0000-4000-8000-%012d", n), "Message": message,
		"Tenant": "contoso.example", "TenantID": contoso, "API": "NinjaOneSync", "Severity": "Info", "Username": "CIPP"}
	for i := 0; i < len(columns); i += 2 {
		e[columns[i].(string)] = columns[i+1]
	}
	return e
}

func TestListLogs(t *testing.T) {
	i := install(t)
	today := time.Now().UTC().Format("20060102")
	i.put("CippLogs", logEntity(today, 1, "today", "LogData", `{"devices":3}`), logEntity(today, 2, "hidden", "Severity", "Debug"),
		logEntity("20260803", 3, "third", "LogData", "plain"), logEntity("20260802", 4, "second", "Severity", "Error"),
		logEntity("20260801", 5, "first", "Username", "robin@contoso.example", "IP", "203.0.113.9"),
		logEntity("20260801", 6, "other", "Tenant", "None", "API", "Scheduler"))
	must(t, i.cipp.Table("CippLogs").Replace(t.Context(), storage.Entity{"PartitionKey": "20260801", "RowKey": "cccccccc-0000-4000-8000-000000000007", "Message": "bare", "Severity": "Info"}))
	for _, tt := range []struct {
		name, query string
		want        []string // the messages, sorted
	}{
		{"today", "", []string{"today"}},
		{"filters count only when asked for", "?DateFilter=20260801&Severity=Debug", []string{"today"}},
		{"a day", "?Filter=true&DateFilter=20260801", []string{"bare", "first", "other"}},
		{"a day as ISO", "?Filter=True&DateFilter=2026-08-01", []string{"bare", "first", "other"}},
		{"a day by its start", "?Filter=true&StartDate=20260802", []string{"second"}},
		{"a day by its end", "?Filter=true&EndDate=2026-08-02T00:00:00.000Z", []string{"second"}},
		{"days", "?Filter=true&StartDate=20260801&EndDate=20260803", []string{"bare", "first", "other", "second", "third"}},
		{"days the wrong way round", "?Filter=true&StartDate=20260803&EndDate=20260801", []string{}},
		{"severity", "?Filter=true&StartDate=20260801&EndDate=20260803&Severity=error,Critical", []string{"second"}},
		{"debug", "?Filter=true&Severity=Debug", []string{"hidden"}},
		{"user", "?Filter=true&DateFilter=20260801&User=robin*", []string{"first"}},
		{"tenant", "?Filter=true&DateFilter=20260801&Tenant=contoso", []string{"first"}},
		{"tenant by id", "?Filter=true&DateFilter=20260801&Tenant=" + strings.ToUpper(contoso), []string{"first", "other"}},
		{"all tenants", "?Filter=true&DateFilter=20260801&Tenant=AllTenants", []string{"bare", "first", "other"}},
		{"API", "?Filter=true&DateFilter=20260801&API=sched", []string{"other"}},
		{"API by a pattern", "?Filter=true&DateFilter=20260801&API=^(Scheduler|NinjaOneSync)$", []string{"first", "other"}},
		{"no text", "?Filter=true&DateFilter=20260801&User=%ff*", []string{}},
		{"API by no text", "?Filter=true&DateFilter=20260801&API=%ff", []string{}},
		{"API by a pattern that is none", "?Filter=true&DateFilter=20260801&API=(", []string{}},
		{"a line of a day", "?logentryid=cccccccc-0000-4000-8000-000000000005&DateFilter=20260801", []string{"first"}},
		{"a line of today", "?logentryid=cccccccc-0000-4000-8000-000000000001", []string{"today"}},
		{"a line of another day", "?logentryid=cccccccc-0000-4000-8000-000000000005", []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := []string{}
			for _, line := range decode[[]map[string]any](t, i.get("ListLogs"+tt.query)) {
				got = append(got, line["Message"].(string))
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	line := decode[[]map[string]any](t, i.get("ListLogs"))[0]
	if _, err := time.Parse(time.RFC3339, line["DateTime"].(string)); err != nil {
		t.Error(err)
	}
	delete(line, "DateTime")
	want := map[string]any{"Tenant": "contoso.example", "API": "NinjaOneSync", "Message": "today", "User": "CIPP", "Severity": "Info",
		"LogData": map[string]any{"devices": 3.0}, "TenantID": contoso, "AppId": nil, "IP": nil, "RowKey": "cccccccc-0000-4000-8000-000000000001",
		"Standard": map[string]any{}, "StandardInfo": map[string]any{}, "DateFilter": today}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Error(diff)
	}
	bare := decode[[]map[string]any](t, i.get("ListLogs?logentryid=cccccccc-0000-4000-8000-000000000007&DateFilter=20260801"))[0]
	if bare["TenantID"] != "None" || bare["LogData"] != nil {
		t.Errorf("a bare line is %v", bare)
	}
	days := decode[[]map[string]string](t, i.get("ListLogs?ListLogs=true"))
	if len(days) != 4 || days[0]["value"] != "20260801" || days[0]["label"] != "20260801" || days[3]["value"] != today {
		t.Errorf("the days are %v", days)
	}
	for _, query := range []string{"?Filter=true&DateFilter=yesterday", "?Filter=true&StartDate=20261301", "?logentryid=x'y", "?logentryid=a&DateFilter=x",
		"?Filter=true&API=" + strings.Repeat("x", 501), "?manualPagination=true&nextLink=x"} {
		if got := i.get("ListLogs" + query); got.status != http.StatusBadRequest || got.results(t) == "" {
			t.Errorf("%s: %+v", query, got)
		}
	}
}

// TestLogPages reads the logbook as newer pages do, day by day.
func TestLogPages(t *testing.T) {
	i := install(t)
	i.put("CippLogs", logEntity("20260801", 1, "first"), logEntity("20260601", 2, "june"), logEntity("20260803", 3, "third"))
	type page struct {
		Results  []map[string]any
		Metadata map[string]string
	}
	var got []string
	next, pages := "", 0
	for {
		p := decode[page](t, i.get("ListLogs?Filter=true&StartDate=20260601&EndDate=20260805&manualPagination=true&nextLink="+next))
		pages++
		for _, line := range p.Results {
			got = append(got, line["Message"].(string))
		}
		if next = p.Metadata["nextLink"]; next == "" {
			break
		}
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
	}
	if diff := cmp.Diff([]string{"third", "first", "june"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestListTenants(t *testing.T) {
	i := install(t)
	direct := aTenant(tailspin, "Tailspin", "tailspin.example")
	direct["delegatedPrivilegeStatus"], direct["GraphErrorCount"] = "directTenant", int32(60)
	i.put("Tenants", direct)
	domains := func(query string) (names []string) {
		for _, row := range decode[[]map[string]any](t, i.get("ListTenants"+query)) {
			names = append(names, row["defaultDomainName"].(string))
		}
		return names
	}
	all := []string{"contoso.example", "fabrikam.example", "tailspin.example"}
	for query, want := range map[string][]string{
		"":                                    all,
		"?AllTenantSelector=false":            all,
		"?AllTenantSelector=true":             append([]string{"AllTenants"}, all...),
		"?tenantFilter=null":                  all,
		"?tenantFilter=fabrikam.example":      {"fabrikam.example"},
		"?TenantFilter=" + contoso:            {"contoso.example"},
		"?tenantFilter=x&AllTenantSelector=1": nil,
	} {
		if diff := cmp.Diff(want, domains(query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	row := decode[[]map[string]any](t, i.get("ListTenants"))[2]
	want := map[string]any{"PartitionKey": "Tenants", "RowKey": tailspin, "customerId": tailspin, "defaultDomainName": "tailspin.example", "initialDomainName": "tailspin.onmicrosoft.example",
		"displayName": "Tailspin", "delegatedPrivilegeStatus": "directTenant", "Excluded": false, "GraphErrorCount": 60.0}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Error(diff)
	}
	for _, e := range []string{contoso, fabrikam, tailspin, excluded} {
		must(t, i.cipp.Table("Tenants").Delete(t.Context(), "Tenants", e))
	}
	if got := i.get("ListTenants"); got.text != "[]" {
		t.Errorf("without tenants the list is %s", got.text)
	}
}

func FuzzParseDay(f *testing.F) {
	for _, seed := range []string{"20260801", "2026-08-01", "2026-08-01T10:00:00Z", "", "0", "99999999", "2-0-2-6-0801"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		day, err := parseDay(text)
		if err == nil && len(day.Format(dayFormat)) != 8 {
			t.Errorf("%q is %v", text, day)
		}
	})
}

// TestLogDataIsAsStored keeps what a line holds, JSON or not.
func TestLogDataIsAsStored(t *testing.T) {
	for text, want := range map[string]string{"": "null", `{"a":1}`: `{"a":1}`, "plain": `"plain"`, `"quoted"`: `"quoted"`, "{": `"{"`, "5": "5"} {
		line := lineOf(cipp.LogLine{Data: text})
		if got := string(mustJSON(t, line.LogData)); got != want {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return data
}
