package cipp

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogFilters(t *testing.T) {
	s, _ := newStore(t, Deps{Timezone: "Pacific/Auckland", Now: func() time.Time {
		return time.Date(2026, 7, 31, 13, 0, 0, 0, time.UTC) // the 1st of August there
	}})
	must(t, s.Log(t.Context(), LogEntry{Tenant: "contoso.example", TenantID: contoso, API: "NinjaOneSync", Message: "synced", Data: map[string]int{"devices": 3}}))
	must(t, s.Log(t.Context(), LogEntry{API: "NinjaOneAutoMap_Queue", Message: "mapped", Severity: SeverityWarn}))
	s.seed(t, tableLogs,
		row("20260801", "bbbbbbbb-0000-4000-8000-000000000003", "API", "Standards", "Message", "debug", "Severity", "Debug", "Username", "CIPP", "Tenant", "None"),
		row("20260801", "bbbbbbbb-0000-4000-8000-000000000004", "API", "Scheduler", "Message", "critical", "Severity", "CRITICAL", "Username", "robin@contoso.example", "Tenant", "fabrikam.example", "IP", "203.0.113.9", "AppId", partner),
		row("20260802", "bbbbbbbb-0000-4000-8000-000000000005", "API", "NinjaOneSync", "Message", "tomorrow", "Severity", "Info"))
	must(t, s.add(t.Context(), tableLogs, row("20260803", "bbbbbbbb-0000-4000-8000-000000000006", "Message", "long", "Severity", "Info", "LogData", strings.Repeat("x", 600_000))))
	for _, tt := range []struct {
		name   string
		filter LogFilter
		want   string
	}{
		{"none", LogFilter{}, "critical mapped synced"},
		{"severities in any case", LogFilter{Severities: []string{"debug", " warn"}}, "debug mapped"},
		{"user", LogFilter{User: UserPattern("ROBIN@contoso.example")}, "critical"},
		{"users by pattern", LogFilter{User: UserPattern("r*@*.example")}, "critical"},
		{"all users", LogFilter{User: UserPattern("*")}, "critical mapped synced"},
		{"part of a user", LogFilter{User: UserPattern("robin")}, ""},
		{"tenant by part of its domain", LogFilter{Tenant: "Contoso"}, "synced"},
		{"tenant by id", LogFilter{Tenant: strings.ToUpper(contoso)}, "synced"},
		{"API", LogFilter{API: regexp.MustCompile("(?i)ninjaone(sync|automap)")}, "mapped synced"},
		{"all at once", LogFilter{API: regexp.MustCompile("Sync"), Tenant: "contoso", User: UserPattern("CIPP"), Severities: []string{"Info"}}, "synced"},
		{"nothing", LogFilter{Severities: []string{"Alert"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := s.LogDay(t.Context(), day("20260801"), tt.filter)
			must(t, err)
			got := []string{}
			for i, l := range lines {
				got = append(got, l.Message)
				if i > 0 && l.Time.After(lines[i-1].Time) {
					t.Error("a later line follows an earlier one")
				}
			}
			wanted := map[string]bool{}
			for _, m := range strings.Fields(tt.want) {
				wanted[m] = true
			}
			if len(got) != len(wanted) {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			for _, m := range got {
				if !wanted[m] {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			}
		})
	}
	days, err := s.LogDays(t.Context())
	must(t, err)
	if diff := cmp.Diff([]string{"20260801", "20260802", "20260803"}, days); diff != "" {
		t.Error(diff)
	}
	if got := s.LogToday(t.Context()); !got.Equal(day("20260801")) {
		t.Errorf("today is %s", got)
	}
	line, ok, err := s.LogEntry(t.Context(), day("20260801"), "bbbbbbbb-0000-4000-8000-000000000004")
	must(t, err)
	if !ok || line.IP != "203.0.113.9" || line.AppID != partner || line.User != "robin@contoso.example" || line.Day != "20260801" || line.Time.IsZero() {
		t.Errorf("got %+v", line)
	}
	line, ok, err = s.LogEntry(t.Context(), day("20260803"), "bbbbbbbb-0000-4000-8000-000000000006")
	must(t, err)
	if !ok || len(line.Data) != 600_000 {
		t.Errorf("a split line came back with %d characters", len(line.Data))
	}
	if _, ok, err := s.LogEntry(t.Context(), day("20260802"), "bbbbbbbb-0000-4000-8000-000000000004"); ok || err != nil {
		t.Errorf("on another day the line is there: %v, %v", ok, err)
	}
	empty, _ := newStore(t, Deps{})
	if days, err := empty.LogDays(t.Context()); len(days) != 0 || err != nil {
		t.Errorf("without a table there are the days %v, %v", days, err)
	}
}

func day(text string) time.Time {
	d, _ := time.Parse(logDay, text)
	return d
}

func TestLogDayOf(t *testing.T) {
	s, _ := newStore(t, Deps{Timezone: "UTC"})
	at := time.Date(2026, 11, 23, 23, 59, 59, 0, time.UTC)
	const ticksTo1970 = 621355968000000000
	id := fmt.Sprintf("%d-0a1b", int64(3155378975999999999)-(at.UnixNano()/100+ticksTo1970))
	if got, err := s.LogDayOf(t.Context(), id); !got.Equal(day("20261123")) || err != nil {
		t.Errorf("%s is of %s, %v", id, got, err)
	}
	for _, bad := range []string{contoso, "", "123-4", fmt.Sprint(uint64(math.MaxUint64))} {
		if got, err := s.LogDayOf(t.Context(), bad); err == nil {
			t.Errorf("%q is of %s", bad, got)
		}
	}
}

func TestUserPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "abcd", false},
		{"*b*", "abc", true}, {"*d*", "abc", false}, {"abc", "abc", true}, {"ab", "abc", false}, {"a*a", "a", false}, {"a**b", "axb", true},
		{"a.*", "abc", false}, {"A*", "ab\nc", true},
	} {
		if got := UserPattern(tt.pattern).MatchString(tt.text); got != tt.want {
			t.Errorf("%q like %q is %v", tt.text, tt.pattern, got)
		}
	}
}

func TestExtensionTasks(t *testing.T) {
	s, _ := newStore(t, Deps{})
	s.seed(t, tableScheduledTasks,
		row("ScheduledTask", "1", "Hidden", true, "Command", "Push-CippExtensionData", "Tenant", "contoso.example", "Name", "Hudu Sync", "SyncType", "Hudu", "ScheduledTime", "1785000000", "Recurrence", "1d", "Results", `["done"]`),
		row("ScheduledTask", "2", "Hidden", true, "Command", "Set-Something"),
		row("ScheduledTask", "3", "Hidden", false, "Command", "Sync-CippExtensionData"))
	got, err := s.ExtensionTasks(t.Context())
	must(t, err)
	want := []Task{{"ScheduledTask", "1", "contoso.example", "Hudu Sync", "Hudu", "1785000000", "", "1d", `["done"]`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
