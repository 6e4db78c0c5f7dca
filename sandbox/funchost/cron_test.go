package funchost

import (
	"testing"
	"time"
)

func TestScheduleNext(t *testing.T) {
	tests := []struct {
		name, schedule, from string
		want                 []string
	}{
		{"every quarter of an hour", "0 */15 * * * *", "2026-11-23T10:07:30Z", []string{"2026-11-23T10:15:00Z", "2026-11-23T10:30:00Z"}},
		{"strictly after the base time", "0 */15 * * * *", "2026-11-23T10:15:00Z", []string{"2026-11-23T10:30:00Z"}},
		{"fraction of a second before", "0 0 * * * *", "2026-11-23T09:59:59.5Z", []string{"2026-11-23T10:00:00Z"}},
		{"five fields", "30 2 * * *", "2026-11-23T10:00:00Z", []string{"2026-11-24T02:30:00Z"}},
		{"day and weekday must both match", "0 0 0 13 * Fri", "2026-11-23T00:00:00Z", []string{"2027-08-13T00:00:00Z"}},
		{"sunday is zero", "0 0 0 * * 0", "2026-11-23T00:00:00Z", []string{"2026-11-29T00:00:00Z"}},
		{"names by prefix, any case", "0 0 0 1 JAN monday", "2026-11-23T00:00:00Z", []string{"2029-01-01T00:00:00Z"}},
		{"name range", "0 0 12 * * mon-wed", "2026-11-25T13:00:00Z", []string{"2026-11-30T12:00:00Z"}},
		{"list", "0 5,35 * * * *", "2026-11-23T10:06:00Z", []string{"2026-11-23T10:35:00Z", "2026-11-23T11:05:00Z"}},
		{"start with step", "0 40/7 * * * *", "2026-11-23T10:41:00Z", []string{"2026-11-23T10:47:00Z", "2026-11-23T10:54:00Z", "2026-11-23T11:40:00Z"}},
		{"range with step", "0 0 8-17/3 * * *", "2026-11-23T09:00:00Z", []string{"2026-11-23T11:00:00Z", "2026-11-23T14:00:00Z", "2026-11-23T17:00:00Z", "2026-11-24T08:00:00Z"}},
		{"reversed range is swapped", "0 0 4-2 * * *", "2026-11-23T00:00:00Z", []string{"2026-11-23T02:00:00Z", "2026-11-23T03:00:00Z", "2026-11-23T04:00:00Z", "2026-11-24T02:00:00Z"}},
		{"short months are skipped", "0 0 0 31 * *", "2026-11-23T00:00:00Z", []string{"2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"leap day", "0 0 0 29 2 *", "2026-11-23T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"leap day on a weekday, over the year 2100", "0 0 0 29 2 1", "2072-03-01T00:00:00Z", []string{"2112-02-29T00:00:00Z"}},
		{"never", "0 0 0 31 4 *", "2026-11-23T00:00:00Z", []string{"0001-01-01T00:00:00Z"}},
		{"other zones are read as UTC", "0 0 0 * * *", "2026-11-23T23:30:00-05:00", []string{"2026-11-25T00:00:00Z"}},
		{"time span", "00:30:00", "2026-11-23T10:07:30Z", []string{"2026-11-23T10:37:30Z", "2026-11-23T11:07:30Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parseSchedule(tt.schedule)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				at = s.next(at)
				if got := at.Format(time.RFC3339); got != want {
					t.Fatalf("next = %s, want %s", got, want)
				}
			}
		})
	}
}

func TestScheduleRefused(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                "",
		"four fields":          "* * * *",
		"seven fields":         "* * * * * * *",
		"weekday seven":        "0 0 0 * * 7",
		"second sixty":         "60 * * * * *",
		"day zero":             "0 0 0 0 * *",
		"question mark":        "0 0 0 ? * *",
		"last day":             "0 0 0 L * *",
		"nickname":             "@daily",
		"step zero":            "*/0 * * * * *",
		"negative step":        "*/-1 * * * * *",
		"two steps":            "*/2/2 * * * * *",
		"open range":           "1- * * * * *",
		"empty list element":   "1,,2 * * * * *",
		"name in the wrong":    "mon * * * * *",
		"empty interval":       "00:00:00",
		"interval of 25 hours": "25:00:00",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseSchedule(s); err == nil {
				t.Errorf("parseSchedule(%q) = %v, want an error", s, got)
			}
		})
	}
}

func TestTimeSpan(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"00:10:00":         10 * time.Minute,
		"01:02":            time.Hour + 2*time.Minute,
		"1.02:03:04":       26*time.Hour + 3*time.Minute + 4*time.Second,
		"00:00:00.1":       100 * time.Millisecond,
		"00:00:02.0000001": 2*time.Second + 100,
		"7":                7 * 24 * time.Hour,
	} {
		if got, err := parseTimeSpan(s); err != nil || got != want {
			t.Errorf("parseTimeSpan(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "-00:01:00", "24:00:00", "00:60:00", "00:00:60", "1.2", "00:00:00.12345678"} {
		if got, err := parseTimeSpan(s); err == nil {
			t.Errorf("parseTimeSpan(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"0 */15 * * * *", "30 2 * * *", "0 0 0 29 2 mon-fri/2", "00:30:00", "*/999999999999 * * * * *", "9223372036854775807/9223372036854775807 * * * * *", "1-0,3/59 * * jan-dec * sun"} {
		f.Add(s)
	}
	base := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := parseSchedule(s)
		if err != nil {
			return
		}
		if next := parsed.next(base); !next.IsZero() && !next.After(base) {
			t.Errorf("%q: next occurrence %s is not after %s", s, next, base)
		}
	})
}
